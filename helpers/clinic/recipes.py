"""What a model lacks and can be made of what the file has: a norm or a mask applied or undone, attention in one or three."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as Names
from dataclasses import dataclass, replace
from typing import Any

FUSED = re.compile(r"(|.*\.)(in_proj|qkv|qkv_proj|to_qkv|[wW]qkv)[._](weight|bias)$")
APART = [
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("q", "k", "v"),
    ("to_q", "to_k", "to_v"),
    ("wq", "wk", "wv"),
]
OLD_NAMES = {
    "weight": ("gamma", "scale"),
    "bias": ("beta",),
    "running_mean": ("moving_mean", "mean"),
    "running_var": ("moving_variance", "var"),
}
IN_ORDER = "Query, key and value, in this order along the rows. Some models order them by head: compare an output."
NORM = "torch.linalg.vector_norm"


@dataclass(frozen=True)
class Recipe:
    """Which keys it makes of which keys of the file, by which code, and how to say so."""

    what: str
    why: str
    address: str
    makes: list[str]
    takes: list[str]
    code: str


def recipes(missing: Iterable[str], extra: Iterable[str], state: Mapping[str, Any], own: Mapping[str, Any]) -> list[Recipe]:
    """What makes missing keys of unexpected ones, if the shapes agree; each kind once, with all its keys."""
    found: dict[str, list[Recipe]] = {}
    lacking, left = dict.fromkeys(missing).keys(), dict.fromkeys(extra).keys()
    kinds = (_applied, _attention, _renamed, _called, _without)
    for one in [one for kind in kinds for one in kind(lacking, left, state, own)]:
        found.setdefault(one.what, []).append(one)
    return [
        replace(
            several[0],
            makes=[key for one in several for key in one.makes],
            takes=[key for one in several for key in one.takes],
            code="\n".join(one.code for one in several),
        )
        for several in found.values()
    ]


def _applied(missing: Names[str], extra: Names[str], state: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[Recipe]:
    """Pruning, weight norm and spectral norm: a plain weight of their parts, and the parts of a plain weight."""
    for key in [*missing, *extra]:
        place, _, name = key.rpartition(".")
        inner = f"{place}.parametrizations.{name}.".removeprefix(".")
        known, sought, plain = (state, extra, own[key]) if key in own else (own, missing, state[key])
        orig, mask = f"{key}_orig", f"{key}_mask"
        if {orig, mask} <= sought:
            code = f"state[{key!r}] = state.pop({orig!r}) * state.pop({mask!r})"
            back = f"state[{orig!r}] = state.pop({key!r})\nstate[{mask!r}] = torch.ones_like(state[{orig!r}])"
            yield _either("Pruned", "The mask is applied.", "pruned-checkpoint", key, [orig, mask], code, back, own)
        for g, v in [(f"{key}_g", f"{key}_v"), (f"{inner}original0", f"{inner}original1")]:
            if {g, v} <= sought and known[v].shape == plain.shape and (sizes := known[g].shape).count(1) >= len(sizes) - 1:
                across = tuple(k for k, size in enumerate(sizes) if size == 1) or None
                length = f"dim={across}, keepdim={bool(sizes)}"
                code = f"g, v = state.pop({g!r}), state.pop({v!r})\nstate[{key!r}] = v * (g / {NORM}(v, {length}))"
                back = f"state[{v!r}] = state.pop({key!r})\nstate[{g!r}] = {NORM}(state[{v!r}], {length})"
                why = "Length and direction make the weight."
                yield _either("Under weight norm", why, "weight-norm", key, [g, v], code, back, own)
        for parts in [[f"{key}_orig", f"{key}_u", f"{key}_v"], [f"{inner}original", f"{inner}0._u", f"{inner}0._v"]]:
            if key in own and {*parts} <= extra and (outputs := _outputs(*map(state.get, parts))) is not None:
                flat = f"w.transpose(0, {outputs}).flatten(1)" if outputs else "w.flatten(1)"
                code = f"w, u, v = map(state.pop, {parts!r})\nstate[{key!r}] = w / (u @ {flat} @ v)"
                why = "The weight is divided by its largest singular value."
                yield Recipe("Under spectral norm", why, "weight-norm", [key], parts, code)


def _outputs(weight: Any, u: Any, v: Any) -> int | None:
    """The dimension of the outputs: 1 under a transposed convolution. Of two that fit, the one of the larger singular value."""
    fits = [k for k, size in enumerate(weight.shape[:2]) if (size,) == u.shape and v.shape == (weight.numel() // size,)]
    if len(fits) < 2 or weight.is_meta:
        return next(iter(fits), None)
    return max(fits, key=lambda k: abs(float(u @ weight.transpose(0, k).flatten(1) @ v)))


def _renamed(missing: Names[str], extra: Names[str], state: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[Recipe]:
    for key in missing:
        old = re.sub(r"parametrizations\.(\w+)\.original([01])$", lambda found: f"{found[1]}_{'gv'[int(found[2])]}", key)
        if old != key and old in extra:
            code, why = f"state[{key!r}] = state.pop({old!r})", "The lines below rename them."
            yield Recipe("Weight norm, in the model under its new names", why, "weight-norm", [key], [old], code)


def _called(missing: Names[str], extra: Names[str], state: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[Recipe]:
    for key in missing:
        place, dot, name = key.rpartition(".")
        for old in (f"{place}{dot}{word}" for word in OLD_NAMES.get(name, ())):
            if old in extra and state[old].shape == own[key].shape:
                code = f"state[{key!r}] = state.pop({old!r})"
                yield Recipe(
                    "A norm's names of another maker", "The lines below rename them.", "renamed-layers", [key], [old], code
                )


def _without(missing: Names[str], extra: Names[str], state: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[Recipe]:
    """Biases of layers that were saved without one, as all of their kind in the file: zeros are the same function."""
    weights = {key: f"{key.removesuffix('bias')}weight" for key in [*own, *state] if key.endswith("bias")}
    biased = {state[weight].dim() for key, weight in weights.items() if key in state and weight in state}
    for key, weight in weights.items():
        if key in missing and weight in own and weight in state and 1 < state[weight].dim() not in biased:
            code = f"state[{key!r}] = state[{weight!r}].new_zeros({[*own[key].shape]})"
            why = "The saved layers had none. Zeros give the outputs of the saved model; so does bias=False."
            yield Recipe("Biases that the file has not", why, "missing-only", [key], [], code)


def _either(what: str, why: str, address: str, key: str, parts: list[str], code: str, back: str, own: Mapping) -> Recipe:
    if key in own:
        return Recipe(what, why, address, [key], parts, code)
    return Recipe(f"{what} in the model alone", "The lines below take it apart.", address, parts, [key], back)


def _attention(missing: Names[str], extra: Names[str], state: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[Recipe]:
    for fused, found in [(key, match) for key in [*missing, *extra] if (match := FUSED.match(key))]:
        whole, known, sought = (own, state, extra) if fused in missing else (state, own, missing)
        for names in APART:
            parts = [f"{found[1]}{name}.{found[3]}" for name in names]
            pieces, given = [f"state.pop({part!r})" for part in parts], {*parts} & sought
            if fused in missing and found[3] == "bias" and given == {parts[0], parts[2]}:
                pieces[1] = f"torch.zeros_like(state[{parts[2]!r}])"
                given, known = {*parts}, {**known, parts[1]: known[parts[2]]}
            if len(given) < len(parts):
                continue
            shapes = [known[part].shape for part in parts]
            rows = [shape[0] for shape in shapes]
            if any((sum(rows), *shape[1:]) != whole[fused].shape for shape in shapes):
                continue
            if fused in missing:
                code = f"state[{fused!r}] = torch.cat([{', '.join(pieces)}])"
                yield Recipe("Attention in one tensor", IN_ORDER, "query-key-value-in-one", [fused], parts, code)
            else:
                code = f"{', '.join(f'state[{part!r}]' for part in parts)} = state.pop({fused!r}).split({rows})"
                yield Recipe("Attention in three tensors", IN_ORDER, "query-key-value-in-one", parts, [fused], code)
