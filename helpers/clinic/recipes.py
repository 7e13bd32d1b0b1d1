"""Tensors that a model lacks and that can be made of what the file has: a norm or a mask applied, attention fused or split."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FUSED = re.compile(r"(|.*\.)(in_proj|qkv|qkv_proj|to_qkv|[wW]qkv|query_key_value)[._](weight|bias)$")
APART = [
    ("q_proj", "k_proj", "v_proj"),
    ("query", "key", "value"),
    ("q", "k", "v"),
    ("to_q", "to_k", "to_v"),
    ("wq", "wk", "wv"),
]


@dataclass(frozen=True)
class Recipe:
    """Which keys it makes of which keys of the file, by which code, and how to say so."""

    what: str
    why: str
    address: str
    makes: list[str]
    takes: list[str]
    code: str


def recipes(missing: Collection[str], extra: Collection[str], state: Mapping[str, Any], own: Mapping[str, Any]) -> list[Recipe]:
    """What makes missing keys of unexpected ones, if the shapes agree; each kind once, with all its keys."""
    found: dict[str, Recipe] = {}
    for one in [*_applied(missing, extra, state), *_attention(missing, extra, state, own)]:
        more = found.get(one.what, Recipe(one.what, one.why, one.address, [], [], ""))
        code = f"{more.code}\n{one.code}".strip()
        found[one.what] = Recipe(one.what, one.why, one.address, more.makes + one.makes, more.takes + one.takes, code)
    return [*found.values()]


def _applied(missing: Collection[str], extra: Collection[str], state: Mapping[str, Any]) -> Iterator[Recipe]:
    for key in missing:
        place, _, name = key.rpartition(".")
        inner = f"{place}.parametrizations.{name}.original".removeprefix(".")
        for one, other in ((f"{key}_orig", f"{key}_mask"), (f"{key}_g", f"{key}_v"), (f"{inner}0", f"{inner}1")):
            if not {one, other} <= set(extra) or not state[one].dim():
                continue
            if other.endswith("_mask"):
                code = f"state[{key!r}] = state.pop({one!r}) * state.pop({other!r})"
                yield Recipe("Pruned", "The mask is applied.", "pruned-checkpoint", [key], [one, other], code)
                continue
            across = tuple(k for k, size in enumerate(state[one].shape) if size == 1)
            code = f"g, v = state.pop({one!r}), state.pop({other!r})\n"
            code += f"state[{key!r}] = v * (g / torch.linalg.vector_norm(v, dim={across}, keepdim=True))"
            yield Recipe("Under weight norm", "Length and direction make the weight.", "weight-norm", [key], [one, other], code)


def _attention(
    missing: Collection[str], extra: Collection[str], state: Mapping[str, Any], own: Mapping[str, Any]
) -> Iterator[Recipe]:
    why = "Query, key and value, in this order along the rows. Some models order them by head: compare an output."
    for keys, others in ((missing, extra), (extra, missing)):
        for fused, found in [(key, match) for key in keys if (match := FUSED.match(key))]:
            for names in APART:
                parts = [f"{found[1]}{name}.{found[3]}" for name in names]
                if not {*parts} <= {*others}:
                    continue
                rows = [len((state if keys is missing else own)[part]) for part in parts]
                if sum(rows) != len((own if keys is missing else state)[fused]):
                    continue
                if keys is missing:
                    listed = ", ".join(f"state.pop({part!r})" for part in parts)
                    code = f"state[{fused!r}] = torch.cat([{listed}])"
                    yield Recipe("Attention in one tensor", why, "query-key-value-in-one", [fused], parts, code)
                else:
                    code = f"{', '.join(f'state[{part!r}]' for part in parts)} = state.pop({fused!r}).split({rows})"
                    yield Recipe("Attention in three tensors", why, "query-key-value-in-one", parts, [fused], code)
