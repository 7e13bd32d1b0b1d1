"""Scenes of lesson 06: checkpoints whose keys do not match the model's, each really made, and rules that rename keys."""

from __future__ import annotations

import textwrap
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from helpers import draw, lesson
from helpers.compare import compare
from helpers.draw import Picture

CASES = [
    "nn.DataParallel",
    "torch.compile",
    "a wrapper",
    "the whole checkpoint",
    "a new head",
    "a layer inserted",
    "three of one shape",
    "weight norm, old names",
    "a buffer no longer saved",
]
_FAMILY = {
    "nn.DataParallel": "prefix",
    "torch.compile": "prefix",
    "a wrapper": "prefix",
    "the whole checkpoint": "one level too high",
    "a new head": "reshaped",
    "a layer inserted": "rename",
    "three of one shape": "rename, but which",
    "weight norm, old names": "rename",
    "a buffer no longer saved": "extra",
}


class Cached(nn.Module):
    """A linear layer with a table of positions that is in the state dict, or no longer is."""

    def __init__(self, saved: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("positions", torch.arange(4.0), persistent=saved)


def case(name: str) -> tuple[Mapping[str, Tensor], nn.Module]:
    """A checkpoint and the model that it does not fit, in the way called `name`, one of `CASES`."""
    if name not in CASES:
        raise ValueError(f"Got {name!r}; wanted one of {', '.join(CASES)}.")
    model = lesson.build_model()
    if name == "nn.DataParallel":
        return nn.DataParallel(lesson.build_model()).state_dict(), model
    if name == "torch.compile":
        compiled: Any = torch.compile(lesson.build_model(), backend="eager")
        return compiled.state_dict(), model
    if name == "a wrapper":
        wrapper = nn.Module()
        wrapper.net = lesson.build_model()
        return wrapper.state_dict(), model
    if name == "the whole checkpoint":
        return {"model_state": torch.zeros(0), "epoch": torch.tensor(3)}, model
    if name == "a new head":
        return lesson.build_model().state_dict(), nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3))
    if name == "a layer inserted":
        return lesson.build_model().state_dict(), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1), nn.ReLU(), nn.Linear(2, 1))
    if name == "three of one shape":
        return _projections("k_proj", "v_proj", "q_proj").state_dict(), _projections("query", "key", "value")
    if name == "a buffer no longer saved":
        return Cached(saved=True).state_dict(), Cached(saved=False)
    with warnings.catch_warnings(action="ignore"):
        return nn.utils.weight_norm(nn.Linear(2, 2)).state_dict(), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))


def _projections(*names: str) -> nn.Module:
    return nn.ModuleDict({name: nn.Linear(2, 2, bias=False) for name in names})


def mismatch(name: str) -> Picture:
    """The key diff of one of `CASES`, with the renames that would explain it."""
    state, model = case(name)
    pairs = compare(state, model.state_dict(), values=False, explain=True)
    broken = sum(pair.relation != "same" for pair in pairs)
    return draw.key_diff(f"{name}: {_FAMILY[name]}, {broken} of {len(pairs)} rows do not match", pairs)


def renamed(keys: Sequence[str], rules: Sequence[str]) -> dict[str, str]:
    """Old key → new key after rules of the form `old -> new`, applied in order as `key.replace(old, new)`.

    An empty rule does nothing. Raises ValueError for a rule without an arrow, or two keys that become one.
    """
    new = {key: key for key in keys}
    for rule in filter(str.strip, rules):
        old, arrow, fresh = (part.strip() for part in rule.partition("->"))
        if not arrow or not old:
            raise ValueError(f"{rule.strip()!r} is no rule yet; wanted old -> new")
        new = {key: now.replace(old, fresh) for key, now in new.items()}
    twice = sorted({now for now in new.values() if list(new.values()).count(now) > 1})
    if twice:
        raise ValueError(f"two keys became {twice[0]}")
    return new


def rename_diff(state: Mapping[str, Tensor], model: nn.Module, rules: Sequence[str]) -> Picture:
    """The key diff after the rules, as far as they are rules."""
    try:
        new = renamed(list(state), rules)
        pairs = compare({new[key]: value for key, value in state.items()}, model.state_dict(), values=False)
    except ValueError as error:
        pairs = compare(state, model.state_dict(), values=False)
        return draw.key_diff(f"{error}", pairs)
    broken = sum(pair.relation != "same" for pair in pairs)
    return draw.key_diff(f"{broken} of {len(pairs)} rows do not match" if broken else "Every key has its place: load it", pairs)


def rename_and_load(state: Mapping[str, Tensor], model: nn.Module, expected: Tensor, rules: Sequence[str]) -> Picture:
    """Loads the renamed state dict into `model`, strictly, and compares its outputs with those that are `expected`.

    `expected` are the old model's outputs for the lessons' inputs: the names alone prove nothing.
    """
    try:
        new = renamed(list(state), rules)
        model.load_state_dict({new[key]: value for key, value in state.items()})
    except (ValueError, RuntimeError) as error:
        lines = [textwrap.wrap(line, 92) for line in str(error).splitlines()]
        wrong: list[Sequence[draw.Cell]] = [
            ("\u00a0" * 4 + part if k else ("no", part),) for parts in lines for k, part in enumerate(parts)
        ]
        return draw.table("It did not load", ["what it said"], wrong)
    same = torch.equal(model(lesson.toy_data()[0]), expected)
    outputs = ("yes", "those of the old model") if same else ("wrong", "not those of the old model")
    return draw.table(
        "Loaded, and proved by the outputs" if same else "Loaded, and wrong: every name fits, the outputs differ",
        ["in the checkpoint", "in the model"],
        [*new.items(), ("outputs", outputs)],
    )


def old_naming() -> tuple[dict[str, Tensor], nn.Module, Tensor]:
    """A checkpoint of three habits at once: another name for each layer, behind a wrapper, behind DataParallel.

    Beside it the new model that it is for, and what the old model answered to the lessons' inputs.
    """
    torch.manual_seed(4)
    old = nn.Module()
    old.net = nn.Sequential(OrderedDict(fc1=nn.Linear(2, 2), relu=nn.ReLU(), fc2=nn.Linear(2, 2)))
    model = nn.Sequential(OrderedDict(encoder=nn.Linear(2, 2), relu=nn.ReLU(), head=nn.Linear(2, 2)))
    return nn.DataParallel(old).state_dict(), model, old.net(lesson.toy_data()[0])
