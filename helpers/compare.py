"""Two state dicts, key by key: what matches, is missing, unexpected, or differs in shape, dtype or value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from helpers.describe import require_state_dict, shape_name


@dataclass(frozen=True)
class Pair:
    """One key of two state dicts. `source` and `target` are what stands on each side (None: nothing).

    `relation` is `same`, `differs`, `missing` (only in the target) or `unexpected` (only in the source);
    `word` says it more closely: equal, shape, dtype, value, missing, unexpected. A pair that a rename explains has
    the relation `rename`, and its name in the source as `source_key`.
    """

    key: str
    source: str | None
    target: str | None
    relation: str
    word: str
    source_key: str = ""


def compare(source: Mapping[str, Any], target: Mapping[str, Any], *, values: bool = True, explain: bool = False) -> list[Pair]:
    """Pairs in the order of the target, then what only the source has. `values=False` compares names and shapes.

    `explain=True` joins a missing and an unexpected key into one pair where `renames` finds that they belong together.

    Raises TypeError or ValueError, in one sentence, if either is not a state dict.
    """
    source, target = require_state_dict(source), require_state_dict(target)
    old = renames(source, target) if explain else {}
    keys = [*target, *(key for key in source if key not in target and key not in old.values())]
    return [
        Pair(key, _label(source[old[key]]), _label(target[key]), "rename", "renamed", old[key])
        if key in old
        else _pair(key, source.get(key), target.get(key), key in source, key in target, values)
        for key in keys
    ]


def renames(source: Mapping[str, Any], target: Mapping[str, Any]) -> dict[str, str]:
    """Target key → source key for keys that stand on one side only, have one shape, and end in the same names.

    Of several candidates the one with the most names in common is taken, then the first in order.
    """
    left = [key for key in source if key not in target]
    found: dict[str, str] = {}
    for key in (key for key in target if key not in source):
        fits = [other for other in left if _label(source[other]) == _label(target[key]) and _common(other, key)]
        if fits:
            found[key] = max(fits, key=lambda other: _common(other, key))
            left.remove(found[key])
    return found


def _common(one: str, other: str) -> int:
    """How many dotted names two keys have in common, counted from their ends."""
    pairs = list(zip(reversed(one.split(".")), reversed(other.split("."))))
    return next((k for k, (a, b) in enumerate(pairs) if a != b), len(pairs))


def _pair(key: str, one: Any, other: Any, in_source: bool, in_target: bool, values: bool) -> Pair:
    left, right = _label(one) if in_source else None, _label(other) if in_target else None
    if left is None or right is None:
        word = "missing" if left is None else "unexpected"
        return Pair(key, left, right, word, word)
    word = _difference(one, other, values)
    return Pair(key, left, right, "differs" if word else "same", word or ("equal" if values else "fits"))


def _label(value: Any) -> str:
    return shape_name(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _difference(one: Any, other: Any, values: bool) -> str:
    if not (isinstance(one, Tensor) and isinstance(other, Tensor)):
        return "" if type(one) is type(other) and (not values or one == other) else "value"
    if one.shape != other.shape:
        return "shape"
    if not values:
        return ""
    if one.dtype != other.dtype:
        return "dtype"
    if one.is_meta or other.is_meta:
        return "" if one.is_meta and other.is_meta else "value"
    return "" if torch.equal(_bits(one), _bits(other)) else "value"


def _bits(tensor: Tensor) -> Tensor:
    """The raw bytes, so that NaN equals itself and no dtype is left out."""
    dense = tensor.detach()
    dense = dense if dense.layout is torch.strided else dense.to_dense()
    if dense.is_quantized:
        dense = dense.int_repr()
    return dense.contiguous().reshape(-1).view(torch.uint8)


def same_storage(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors read and write the same memory."""
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() != 0
