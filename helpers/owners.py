"""Things with a state dict: all of them get theirs, or none; and the random numbers of a program as one of them."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, optim


def restore(contents: Mapping[str, Any], into: Mapping[str, Any]) -> None:
    """Gives each named part to the `load_state_dict` of its owner. Raises ValueError, and all owners are as before."""
    missing = [name for name in into if name not in contents]
    if missing:
        raise ValueError(f"Got a checkpoint of {', '.join(contents)}; wanted {', '.join(missing)} too.")
    before = {name: copy.deepcopy(owner.state_dict()) for name, owner in into.items()}
    name = ""
    try:
        for name, owner in into.items():
            owner.load_state_dict(copy.deepcopy(contents[name]) if isinstance(owner, optim.Optimizer) else contents[name])
            if isinstance(owner, optim.Optimizer):
                _check_optimizer(owner)
    except Exception as error:
        for kept, owner in into.items():
            owner.load_state_dict(before[kept])
        reason = " ".join(str(error).split())
        raise ValueError(f"{name} does not fit: {reason}") from error


def _check_optimizer(optimizer: optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        lacking = sorted(set(optimizer.defaults) - set(group))
        if lacking:
            raise ValueError(f"it was saved by another kind of optimizer, without {', '.join(lacking)}.")
        for parameter in group["params"]:
            for name, value in optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                    raise ValueError(f"{name} has the shape {tuple(value.shape)}, its parameter {tuple(parameter.shape)}.")


class Generators:
    """The random numbers of Python, torch and, if it is imported, NumPy, as something with a state dict."""

    def state_dict(self) -> dict[str, Any]:
        """Where each generator stands, in types that `weights_only=True` lets pass."""
        state: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state_all()
        if "numpy" in sys.modules:
            held = sys.modules["numpy"].random.get_state(legacy=False)
            inner = {"key": torch.from_numpy(held["state"]["key"].copy()), "pos": held["state"]["pos"]}
            state["numpy"] = {**held, "state": inner, "gauss": float(held["gauss"])}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts each generator back to where it stood."""
        random.setstate(state["python"])
        torch.set_rng_state(state["torch"])
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])
        if "numpy" in state:
            import numpy

            inner = {"key": state["numpy"]["state"]["key"].numpy(), "pos": state["numpy"]["state"]["pos"]}
            numpy.random.set_state({**state["numpy"], "state": inner})
