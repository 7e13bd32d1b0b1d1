"""Which of the state dicts in a checkpoint is the model's: one of them, or several as the pieces of it."""

from __future__ import annotations

import re

from torch import nn

from helpers.clinic.contents import Part
from helpers.compare import Pair, compare

_OF_A_DICT = re.compile(r"_?(state_?dict|state|sd|weights|params)$")


def best_of(states: list[Part], model: nn.Module | None) -> tuple[Part | None, list[Pair], list[Part]]:
    """The state dict that explains most of the model, with its pairs, and those that do as well. An average comes last."""
    if model is None or not states:
        return (states[0] if states else None), [], []
    own = model.state_dict()
    parts = [*states, *_joined(states, model)]
    found = [compare(part.value, own, values=False, explain=True) for part in parts]
    ranks = [
        (matched(pairs) > 0, not part.averaged, matched(pairs), sum(pair.relation == "same" for pair in pairs))
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
            pieces |= {fits[0]: part} if len(fits) == 1 else {}
    whole = {f"{place}.{key}": value for place, part in pieces.items() for key, value in part.value.items()}
    listed = "".join(f"        {place!r}: {part.code},\n" for place, part in pieces.items())
    code = f"{{\n    f'{{place}}.{{key}}': value\n    for place, piece in {{\n{listed}    }}.items()\n"
    return [Part((), whole, f"{code}    for key, value in piece.items()\n}}")] if whole else []


def matched(pairs: list[Pair]) -> int:
    """How many keys of the model have found theirs."""
    return sum(pair.relation in ("same", "rename") for pair in pairs)
