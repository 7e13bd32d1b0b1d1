"""The state dicts in a checkpoint, and which of them is the model's: one of them, or several as the pieces of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from helpers.clinic.contents import Part, is_optimizer, is_state
from helpers.compare import Pair, compare

DEEPEST, MOST_PARTS = 6, 10_000
_OF_A_DICT = re.compile(r"_?(state_?dict|state|sd|weights|params)$")


def inside(contents: Any) -> tuple[list[Part], list[Part]]:
    """The models' state dicts, largest first, an average behind what it is an average of; and the optimizers'."""
    parts = list(_walk(contents, (), set()))
    states = [part for part in parts if not is_optimizer(part.value)]
    return sorted(states, key=lambda part: (part.averaged, -part.count)), [part for part in parts if is_optimizer(part.value)]


def _walk(value: Any, path: tuple[str | int, ...], seen: set[int]) -> Iterator[Part]:
    """Every state dict, from the outside in, and nothing within one; a module has its own."""
    if isinstance(value, nn.Module) and is_state(state := value.state_dict()):
        yield Part(path, state, f"{Part(path, {}).code}.state_dict()")
    if id(value) in seen or len(path) > DEEPEST or len(seen) > MOST_PARTS or not isinstance(value, (Mapping, list, tuple)):
        return
    seen.add(id(value))
    if isinstance(value, Mapping) and (is_optimizer(value) or is_state(value)):
        yield Part(path, value)
        return
    if isinstance(value, Mapping) and (shaped := _shaped(value)):
        code = f"{{key: torch.as_tensor(value) for key, value in {Part(path, {}).code}.items() if hasattr(value, 'shape')}}"
        yield Part(path, shaped, code, tuple(str(key) for key in value if not isinstance(value[key], Tensor)))
        return
    for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
        if isinstance(key, (str, int)):
            yield from _walk(inner, (*path, key), seen)


def _shaped(named: Mapping) -> dict[str, Tensor]:
    """What has a shape, as tensors, if half of it at least has one and a name with a dot; nothing if some can be none."""
    shaped = {key: value for key, value in named.items() if hasattr(value, "shape")}
    half = 2 * sum("." in str(key) for key in shaped) >= len(named)
    try:
        return {key: torch.as_tensor(value) for key, value in shaped.items()} if half else {}
    except (TypeError, ValueError, RuntimeError):
        return {}


def best_of(states: list[Part], model: nn.Module | None) -> tuple[Part | None, list[Pair], list[Part]]:
    """The state dict that explains most of the model, with its pairs, and those that do as well. An average comes last."""
    if model is None or not states:
        return (states[0] if states else None), [], []
    own = model.state_dict()
    parts = [*states, *_joined(states, model)]
    found = [compare(part.value, own, values=False, explain=True, in_order=True) for part in parts]
    most = max(map(matched, found))
    ranks = [
        (2 * matched(pairs) > most, not part.averaged, matched(pairs), sum(pair.relation == "same" for pair in pairs))
        for part, pairs in zip(parts, found, strict=True)
    ]
    best = ranks.index(max(ranks))
    equal = [
        part for part, rank in zip(states, ranks, strict=False) if rank == ranks[best] and rank[2] and part is not parts[best]
    ]
    return parts[best], found[best], equal


def _joined(states: list[Part], model: nn.Module) -> list[Part]:
    """The state dicts that lie side by side under names of the model's own modules, as one: `encoder` and `decoder`."""
    pieces: dict[str, Part] = {}
    inside = [name for name, _ in model.named_modules() if name]
    for part in states:
        if part.path and part.path[:-1] == states[0].path[:-1]:
            called = _OF_A_DICT.sub("", str(part.path[-1]))
            fits = [name for name in inside if name == called] or [name for name in inside if name.endswith(f".{called}")]
            short = (name for name in inside if "." not in name and (name.startswith(called) or called.endswith(name)))
            fits = fits or [*short] * bool(called)
            pieces |= {fits[0]: part} if len(fits) == 1 else {}
    whole = {f"{place}.{key}": value for place, part in pieces.items() for key, value in part.value.items()}
    listed = "".join(f"        {place!r}: {part.code},\n" for place, part in pieces.items())
    code = f"{{\n    f'{{place}}.{{key}}': value\n    for place, piece in {{\n{listed}    }}.items()\n"
    return [Part((), whole, f"{code}    for key, value in piece.items()\n}}")] if whole else []


def matched(pairs: list[Pair]) -> int:
    """How many keys of the model have found theirs."""
    return sum(pair.relation in ("same", "rename") for pair in pairs)
