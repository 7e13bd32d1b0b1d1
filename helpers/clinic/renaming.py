"""How the file's keys become the model's: the lines that rename, and the entry that explains them."""

from __future__ import annotations

from collections.abc import Callable

from helpers.clinic.finding import place_of
from helpers.compare import Pair

Change = Callable[[str], str]
_PREFIXES = {
    "module.": "module-prefix-in-the-file",
    "_orig_mod.": "orig-mod-prefix",
    "_orig_mod.module.": "two-wrappers",
    "module._orig_mod.": "two-wrappers",
}


def _taken_off(prefix: str, name: str) -> str:
    return name.removeprefix(prefix) if name.startswith(prefix) else f"{name} (old)"


def renaming(pairs: list[Pair]) -> tuple[list[str], Change, str]:
    """The lines that rename, the same as a function, and the entry that explains it: the shortest that is right."""
    paired = [pair for pair in pairs if pair.relation not in ("missing", "unexpected")]
    new = {(*pair.candidates, pair.source_key or pair.key)[0]: pair.key for pair in paired}
    old, key = next(((old, key) for old, key in new.items() if old != key), ("", ""))
    if not old:
        return [], lambda key: key, ""
    place, choices = place_of("renamed-layers"), list[tuple[str, str, Change]]()
    if old.endswith(key):
        prefix = old.removesuffix(key)
        averaged = prefix == "module." and any(pair.key == "n_averaged" for pair in pairs)
        place = place_of("averaged-model" if averaged else _PREFIXES.get(prefix, "other-wrapper-prefix"))
        choices.append((f"key.removeprefix({prefix!r})", "", lambda name: name.removeprefix(prefix)))
        only = f" if key.startswith({prefix!r})"
        choices.append((f"key.removeprefix({prefix!r})", only, lambda name: _taken_off(prefix, name)))
    if key.endswith(old):
        before = key.removesuffix(old)
        place = place_of("module-prefix-in-the-model" if before == "module." else "other-wrapper-prefix")
        choices.append((f"{before!r} + key", "", lambda name: before + name))
    ours, theirs = old.split("."), key.split(".")
    while len(ours) > 1 and len(theirs) > 1 and ours[-1] == theirs[-1]:
        ours.pop(), theirs.pop()
    start, fresh = ".".join(ours) + ".", ".".join(theirs) + "."
    place = next((place_of(address) for prefix, address in _PREFIXES.items() if start == fresh + prefix), place)
    choices.append((f"key.replace({start!r}, {fresh!r}, 1)", "", lambda name: name.replace(start, fresh, 1)))
    taken, others = set(new.values()), [pair.key for pair in pairs if pair.relation == "unexpected"]
    for words, only, change in choices:
        if all(change(name) == wanted for name, wanted in new.items()) and taken.isdisjoint(map(change, others)):
            return [f"state = {{{words}: value for key, value in state.items(){only}}}"], change, place
    listed = {name: wanted for name, wanted in new.items() if name != wanted}
    if all(name.split(".")[-2:-1] and name.split(".")[-2].isdecimal() for name in listed):
        place = place_of("moved-in-a-sequential")
    clash = [name for name in others if name in taken]
    only = f" if key not in {clash!r}" * bool(clash)
    lines = [f"names = {listed!r}", f"state = {{names.get(key, key): value for key, value in state.items(){only}}}"]
    return lines, lambda name: listed.get(name, f"{name} (old)" if name in clash else name), place
