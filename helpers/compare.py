"""Two state dicts, key by key: what matches, is missing, unexpected, or differs in shape, dtype or value."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os.path import commonprefix
from random import Random
from typing import Any

import torch
from torch import Tensor

from helpers.describe import parts, require_state_dict, shape_name, shape_of, words_of

Path = tuple[str, ...]
Name = tuple[Path, tuple[str, str]]
Names = dict[str, Name]
Rule = tuple[str, Path | None, Any, Any]
STAY: Rule = ("source", (), (), ())
MOST_GUESSES, MOST_TRIES, NEAREST, LONGEST_POSITION = 10_000, 60_000, 8, 9


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


def compare(source: Mapping[str, Any], target: Mapping[str, Any], *, values: bool = True, explain: bool = False) -> list[Pair]:
    """Pairs in the order of the target, then what only the source has. `values=False` compares names and shapes.

    `explain=True` looks for the one mapping of module paths, from source to target, that explains the most keys: a prefix
    stripped, added or replaced, a level renamed, positions of a `Sequential` shifted. Two keys are a pair only if their last
    names and shapes agree. What several mappings explain equally is ambiguous; equal names win a draw.

    Raises TypeError or ValueError, in one sentence, if either is not a state dict.
    """
    source, target = require_state_dict(source), require_state_dict(target)
    mappings = _mappings(source, target) if explain else [{key: key for key in target if key in source}]
    choices = {key: tuple(dict.fromkeys(mapping.get(key) for mapping in mappings)) for key in target}
    order = {key: k for k, key in enumerate(source)}
    taken = {old for olds in choices.values() for old in olds}
    pairs = []
    for key, olds in choices.items():
        if len(olds) > 1:
            shape, found = _label(target[key]), sorted(filter(None, olds), key=order.__getitem__)
            pairs.append(Pair(key, shape, shape, "ambiguous", "ambiguous", candidates=tuple(found)))
        else:
            old = olds[0] or (key if key in source and key not in taken else None)
            taken.add(old)
            pairs.append(_pair(key, old, source, target, values))
    return pairs + [Pair(key, _label(source[key]), None, "unexpected", "unexpected") for key in source if key not in taken]


def _pair(key: str, old: str | None, source: Mapping[str, Any], target: Mapping[str, Any], values: bool) -> Pair:
    right = _label(target[key])
    if old is None:
        return Pair(key, None, right, "missing", "missing")
    if old != key:
        return Pair(key, right, right, "rename", "renamed", old)
    word = _difference(source[old], target[key], values)
    return Pair(key, _label(source[old]), right, "differs" if word else "same", word or ("equal" if values else "fits"))


def _label(value: Any) -> str:
    return shape_name(shape_of(value)) if isinstance(value, Tensor) else type(value).__name__


def _difference(one: Any, other: Any, values: bool) -> str:
    if _label(one) != _label(other):
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


def _mappings(source: Mapping[str, Any], target: Mapping[str, Any]) -> list[dict[str, str]]:
    """Target key → source key, once for each of the mappings that explain the most keys and do so most simply.

    That one module has another name, beside others that match, is explained as well by its being another module.
    """
    names = _names(source), _names(target)
    shared = [commonprefix([path for path, _ in side.values()]) for side in names]
    peeled = [{key: (path[len(part) :], rest) for key, (path, rest) in side.items()} for side, part in zip(names, shared)]
    identity = _mapped(*names, STAY)
    best, found = (len(identity), 0), [identity]
    most = min(len(source), len(target))
    for ours, theirs in (names, peeled):
        if best[0] < most and (ours is names[0] or shared[0] != shared[1]):
            for rule in [STAY, *_guesses(ours, theirs)]:
                mapping = _mapped(ours, theirs, rule)
                rank = (len(mapping), -1 if ours is names[0] and () in rule[2:] else -2)
                if rank > best:
                    best, found = rank, []
                if rank == best and mapping not in found:
                    found.append(mapping)
    explained = {key for mapping in found for key in mapping} - identity.keys()
    if 2 * len(explained) < most - len(identity):
        return [identity]
    alone = identity and best[1] == -2 and len({key.rpartition(".")[0] for key in explained}) == 1
    return [*found, identity] if alone else found


def _names(state: Mapping[str, Any]) -> Names:
    split = {key: tuple(key.split(".")) for key in state}
    return {key: (path[:-1], (path[-1], _label(state[key]))) for key, path in split.items()}


def _mapped(ours: Names, theirs: Names, rule: Rule) -> dict[str, str]:
    """Which keys have one name after the rule, and no other key has it."""
    sides = {"source": ours, "target": theirs}
    sides[rule[0]] = {key: (_moved(path, rule), rest) for key, (path, rest) in sides[rule[0]].items()}
    left, right = map(_unique, sides.values())
    return {key: left[name] for name, key in right.items() if name in left}


def _unique(names: Names) -> dict[Name, str]:
    count = Counter(names.values())
    return {name: key for key, name in names.items() if count[name] == 1}


def _moved(path: Path, rule: Rule) -> Path:
    _, place, old, new = rule
    if place is None:
        return tuple(part for name in path for part in (new if name == old[0] else (name,)))
    rest = path[len(place) :]
    if path[: len(place)] != place or not rest and isinstance(old, int):
        return path
    if isinstance(old, int):
        return (*place, str(int(rest[0]) + new), *rest[1:]) if _is_position(rest[0]) and int(rest[0]) >= old else path
    return (*place, *new, *rest[len(old) :]) if rest[: len(old)] == old else path


def _guesses(ours: Names, theirs: Names) -> list[Rule]:
    """Rules that turn a path of the one side into a path of the other: those that most keys suggest."""
    matched = set(ours.values()) & set(theirs.values())
    open_names = [[name for name in side.values() if name not in matched] for side in (ours, theirs)]
    starts = {"source": _starts(ours, open_names[0]), "target": _starts(theirs, open_names[1])}
    votes: Counter[Rule] = Counter()
    for names, others, turned in zip(open_names, (theirs, ours), (False, True)):
        alike = defaultdict(list)
        for path, rest in others.values():
            alike[rest].append(path)
        for path, rest in Random(0).sample(names, min(len(names), MOST_GUESSES // (len(others) or 1) + 1)):
            for other in alike[rest]:
                votes.update([*dict.fromkeys(_reasons(*((other, path) if turned else (path, other)), starts))])
    most = MOST_TRIES // (len(ours) + len(theirs) or 1) + NEAREST
    return sorted(votes, key=lambda rule: (-votes[rule], rule[3] if isinstance(rule[3], int) else 0))[:most]


def _starts(side: Names, open_names: list[Name]) -> dict[Path, list[int]]:
    """For each module with numbered children: the positions from which on they may have been shifted."""
    numbered, first = _positions(side.values()), _positions(open_names)
    return {place: sorted(k for k in numbered[place] if k <= min(open_))[-NEAREST:] for place, open_ in first.items()}


def _positions(names: Iterable[Name]) -> dict[Path, set[int]]:
    found = defaultdict(set)
    for path, _ in names:
        for k, name in enumerate(path):
            if _is_position(name):
                found[path[:k]].add(int(name))
    return found


def _is_position(name: str) -> bool:
    return name.isdecimal() and len(name) <= LONGEST_POSITION


def _reasons(one: Path, other: Path, starts: dict[str, dict[Path, list[int]]]) -> Iterator[Rule]:
    """The rules that turn one path into the other."""
    short = min(len(one), len(other))
    head, tail = len(commonprefix([one, other])), len(commonprefix([one[::-1], other[::-1]]))
    for before, after in ((head, min(tail, short - head)), (min(head, short - tail), tail)):
        place, old, new = one[:before], one[before : len(one) - after], other[before : len(other) - after]
        for side, gone, fresh in (("source", old, new), ("target", new, old)):
            yield side, place, gone, fresh
            if len(gone) == len(fresh) or (len(gone), len(fresh)) == (1, 0):
                yield from ((side, None, gone[k : k + 1], fresh[k : k + 1]) for k in range(len(gone)))
        if len(old) == len(new) == 1 and all(map(_is_position, old + new)):
            by = int(new[0]) - int(old[0])
            side = "source" if by > 0 else "target"
            yield from ((side, place, start, abs(by)) for start in starts[side].get(place, ()))
