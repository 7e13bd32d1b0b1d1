"""The mapping of module paths that explains the most keys of two state dicts, or all that explain as many."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from os.path import commonprefix
from random import Random
from typing import Any

from torch import Tensor

from helpers.describe import shape_name, shape_of

Path = tuple[str, ...]
Name = tuple[Path, tuple[str, str]]
Names = dict[str, Name]
Rule = tuple[str, Path | None, Any, Any]
STAY: Rule = ("source", (), (), ())
MOST_GUESSES, MOST_TRIES, NEAREST, LONGEST_POSITION = 10_000, 60_000, 8, 9


def label(value: Any) -> str:
    """What is compared of a value beside its name: a tensor's shape, else its type."""
    return shape_name(shape_of(value)) if isinstance(value, Tensor) else type(value).__name__


def mappings(source: Mapping[str, Any], target: Mapping[str, Any], in_order: bool) -> list[dict[str, str]]:
    """Target key → source key, once for each of the mappings that explain the most keys and do so most simply.

    That one module has another name, beside others that match, is explained as well by its being another module. With
    `in_order`: the one that numbers modules anew and keeps their order, if it is among them, and what of it all have.
    """
    names = _names(source), _names(target)
    shared = [commonprefix([path for path, _ in side.values()]) for side in names]
    peeled = [{key: (path[len(part) :], rest) for key, (path, rest) in side.items()} for side, part in zip(names, shared)]
    identity = _mapped(*names, STAY)
    best, found, plain, ordered = (len(identity), 0), [identity], identity, list[dict[str, str]]()
    most = min(len(source), len(target))
    for ours, theirs in (names, peeled):
        whole = ours is names[0]
        if best[0] < most and (whole or shared[0] != shared[1]):
            ours, theirs = _unturned(ours, theirs)
            stays = _mapped(ours, theirs, STAY)
            again = _realigned(ours, theirs)
            ordered += [_mapped(ours, theirs, rule) for rule in again]
            for rule in [STAY, *again, *_guesses(ours, theirs)]:
                mapping = _mapped(ours, theirs, rule)
                rank = (len(mapping), -1 if whole and () in rule[2:] and rule not in again else -2)
                if rank > best:
                    best, found, plain = rank, [], stays
                if rank == best and mapping not in found:
                    found.append(mapping)
    explained = {key for mapping in found for key in mapping}
    if 2 * len(explained - identity.keys()) < most - len(identity):
        return [identity]
    if in_order and (kept := next((mapping for mapping in ordered if mapping in found), None)):
        return [kept, {key: old for key, old in kept.items() if all(mapping.get(key) == old for mapping in found)}]
    alone = plain and best[1] == -2 and len({key.rpartition(".")[0] for key in explained - plain.keys()}) == 1
    return [*found, plain] if alone else found


def _unturned(ours: Names, theirs: Names) -> list[Names]:
    """Both sides without the matrices that have one name and turned shapes: no other key is theirs."""
    shapes = {(path, last): shape for path, (last, shape) in ours.values()}
    turned = {
        (path, last)
        for path, (last, shape) in theirs.values()
        if shape.count("×") == 1 and (size := shape.split("×")) != size[::-1] == shapes.get((path, last), "").split("×")
    }
    return [{key: name for key, name in side.items() if (name[0], name[1][0]) not in turned} for side in (ours, theirs)]


def _realigned(ours: Names, theirs: Names) -> list[Rule]:
    """The rule that numbers modules anew and keeps their order, where each side has as many of those that both have."""
    moves: dict[Path, dict[str, str]] = {}
    sides = [_children(side.values()) for side in (ours, theirs)]
    for place in sides[0].keys() & sides[1].keys():
        known = [{name: frozenset(inside) for name, inside in side[place].items()} for side in sides]
        both = {*known[0].values()} & {*known[1].values()}
        old, new = ([name for name in sorted(side, key=int) if side[name] in both] for side in known)
        if [known[0][name] for name in old] == [known[1][name] for name in new] and old != new:
            moves[place] = dict(zip(old, new, strict=True))
    return [("source", None, moves, ())] if moves else []


def _children(names: Iterable[Name]) -> dict[Path, dict[str, set[Name]]]:
    """For each module with numbered children, what is in each of them."""
    found: dict[Path, dict[str, set[Name]]] = defaultdict(lambda: defaultdict(set))
    for path, rest in names:
        for k, name in enumerate(path):
            if _is_position(name):
                found[path[:k]][name].add((path[k + 1 :], rest))
    return found


def _names(state: Mapping[str, Any]) -> Names:
    split = {key: tuple(key.split(".")) for key in state}
    return {key: (path[:-1], (path[-1], label(state[key]))) for key, path in split.items()}


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
    if isinstance(old, dict):
        return tuple(old.get(path[:k], {}).get(name, name) for k, name in enumerate(path))
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
    least = {place: min(open_) for place, open_ in first.items()}
    return {place: sorted(k for k in numbered[place] if k <= most)[-NEAREST:] for place, most in least.items()}


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
            if len(gone) == len(fresh) or len(gone) == 1 and not fresh and not _is_position(gone[0]):
                yield from ((side, None, gone[k : k + 1], fresh[k : k + 1]) for k in range(len(gone)))
        if len(old) == len(new) == 1 and all(map(_is_position, old + new)):
            by = int(new[0]) - int(old[0])
            side = "source" if by > 0 else "target"
            yield from ((side, place, start, abs(by)) for start in starts[side].get(place, ()))
