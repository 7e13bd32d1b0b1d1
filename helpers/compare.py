"""Two state dicts, key by key: what matches, is missing, unexpected, or differs in shape, dtype or value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from helpers.describe import parts, require_state_dict, words_of
from helpers.mapping import label, mappings


@dataclass(frozen=True)
class Pair:
    """One key of two state dicts. `source` and `target` are what stands on each side (None: nothing).

    `relation` is `same`, `differs`, `missing` (only in the target) or `unexpected` (only in the source); `word` says it
    more closely: equal, fits, shape, dtype, value, missing, unexpected, or why the values cannot be read. Explained:
    `rename` has its name in the source as `source_key`, `ambiguous` has in `candidates` each that it may be.
    """

    key: str
    source: str | None
    target: str | None
    relation: str
    word: str
    source_key: str = ""
    candidates: tuple[str, ...] = ()


def compare(
    source: Mapping[str, Any], target: Mapping[str, Any], *, values: bool = True, explain: bool = False, in_order: bool = False
) -> list[Pair]:
    """Pairs in the order of the target, then what only the source has. `values=False` compares names and shapes.

    `explain=True` looks for the one mapping of module paths, from source to target, that explains the most keys: a prefix
    stripped, added or replaced, a level renamed, positions of a `Sequential` shifted. Two keys are a pair only if their last
    names and shapes agree. What several mappings explain equally is ambiguous; equal names win a draw. `in_order` leaves one
    candidate where one of these mappings numbers modules anew and keeps their order, as whoever took out an activation did.

    Raises TypeError or ValueError, in one sentence, if either is not a state dict.
    """
    source, target = require_state_dict(source), require_state_dict(target)
    known = mappings(source, target, in_order) if explain else [{key: key for key in target if key in source}]
    choices = {key: tuple(dict.fromkeys(mapping.get(key) for mapping in known)) for key in target}
    order = {key: k for k, key in enumerate(source)}
    taken = {old for olds in choices.values() for old in olds}
    pairs = []
    for key, olds in choices.items():
        if len(olds) > 1:
            shape, found = label(target[key]), sorted(filter(None, olds), key=order.__getitem__)
            pairs.append(Pair(key, shape, shape, "ambiguous", "ambiguous", candidates=tuple(found)))
        else:
            old = olds[0] or (key if key in source and key not in taken else None)
            taken.add(old)
            pairs.append(_pair(key, old, source, target, values))
    return pairs + [Pair(key, label(source[key]), None, "unexpected", "unexpected") for key in source if key not in taken]


def _pair(key: str, old: str | None, source: Mapping[str, Any], target: Mapping[str, Any], values: bool) -> Pair:
    right = label(target[key])
    if old is None:
        return Pair(key, None, right, "missing", "missing")
    if old != key:
        return Pair(key, right, right, "rename", "renamed", old)
    word = _difference(source[old], target[key], values)
    return Pair(key, label(source[old]), right, "differs" if word else "same", word or ("equal" if values else "fits"))


def _difference(one: Any, other: Any, values: bool) -> str:
    if label(one) != label(other):
        return "shape" if isinstance(one, Tensor) and isinstance(other, Tensor) else "value"
    if not values:
        return ""
    try:
        if isinstance(one, Tensor) and one.dtype != other.dtype:
            return "dtype"
        mine, yours = parts(one), parts(other)
        return "" if len(mine) == len(yours) and all(map(_equal, mine, yours)) else "value"
    except Exception as error:
        return words_of(error)


def _equal(one: Any, other: Any) -> bool:
    """Whether two parts are equal, tensors bit for bit, so that NaN equals itself and no dtype is left out."""
    if isinstance(one, Tensor) != isinstance(other, Tensor):
        return False
    if not isinstance(one, Tensor):
        if one is not other and hasattr(one, "__dict__") and type(one).__eq__ is object.__eq__:
            raise ValueError(f"{type(one).__name__}: cannot be compared")
        return one is other or bool(one == other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.is_quantized:
        return _equal(one.int_repr(), other.int_repr()) and _equal(one.dequantize(), other.dequantize())
    return torch.equal(_bits(one), _bits(other))


def _bits(tensor: Tensor) -> Tensor:
    """The raw bytes of a tensor."""
    tensor = tensor.detach().resolve_conj().resolve_neg().cpu()
    return tensor.contiguous().as_strided((tensor.numel(),), (1,)).view(torch.uint8)


def same_storage(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors read and write the same memory."""
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr() != 0
