"""Whatever has a state: all owners get theirs from a checkpoint, or all are as before, bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.optim.lr_scheduler import LRScheduler

_ANOTHER = "it was saved by another kind of"


def restore(contents: Any, into: Mapping[str, Any]) -> None:
    """Gives each named part of `contents` to its owner. Raises ValueError, in one sentence, and all owners are as before."""
    if not isinstance(into, Mapping):
        raise ValueError(f"Got {type(into).__name__} to load into; wanted a dict such as {{'model': model}}.")
    missing = [name for name in into if not isinstance(contents, Mapping) or name not in contents]
    if missing:
        came = ", ".join(map(str, contents)) if isinstance(contents, Mapping) else type(contents).__name__
        raise ValueError(f"Got a checkpoint of {came}; wanted {', '.join(missing)} too.")
    name = ""
    try:
        with ExitStack() as put_back:
            for name in into:
                put_back.callback(_keeper(into[name]))
            for name in sorted(into, key=lambda name: isinstance(into[name], torch.Generator)):
                _give(into[name], contents[name])
            put_back.pop_all()
    except Exception as error:
        words = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"{name} does not fit: {words if ' ' in words else f'{type(error).__name__} {words}'}.") from error


def _tensors(owner: Any) -> list[Tensor]:
    if isinstance(owner, nn.Module):
        return [*owner.parameters(), *owner.buffers()]
    return [*chain.from_iterable(group["params"] for group in owner.param_groups)] if isinstance(owner, optim.Optimizer) else []


def _keeper(owner: Any) -> Callable[[], object]:
    """A call that puts the owner back to where it stands now. Objects that it only points to are not copied."""
    for tensor in _tensors(owner):
        if isinstance(tensor, (UninitializedParameter, UninitializedBuffer)):
            raise ValueError("it has lazy parameters without a shape; give it one batch first")
        if tensor.is_meta:
            raise ValueError("it lies on the meta device and would stay empty; call to_empty(device='cpu') first")
    if isinstance(owner, torch.Generator):
        return partial(owner.set_state, owner.get_state())
    if isinstance(owner, nn.Module):
        return _keep_module(owner)
    attributes, before, inner = dict(vars(owner)), None, []
    if isinstance(owner, optim.Optimizer):
        memo = {id(value): value for value in [owner, *_tensors(owner)]}
        attributes |= {name: copy.deepcopy(attributes[name], memo) for name in ("state", "param_groups", "defaults")}
    elif isinstance(owner, LRScheduler):
        listed = [part for value in attributes.values() if isinstance(value, list) for part in value]
        inner = [_keeper(part) for part in listed if isinstance(part, LRScheduler) or callable(part) and vars(part)]
    elif hasattr(owner, "state_dict"):
        before = copy.deepcopy(owner.state_dict())

    def put() -> None:
        for part in inner:
            part()
        with suppress(Exception):
            if before is not None:
                owner.load_state_dict(before)
        vars(owner).clear()
        vars(owner).update(attributes)

    return put


def _keep_module(owner: nn.Module) -> Callable[[], object]:
    kept = [(tensor, tensor.detach(), tensor.detach().clone()) for tensor in _tensors(owner)]
    found = [live for part in owner.modules() for live in (vars(part), *vars(part).values()) if isinstance(live, dict)]
    dicts = [(live, dict(live)) for live in found]
    named = [part for part in owner.modules() if type(part).get_extra_state is not nn.Module.get_extra_state]
    extra = [(part, copy.deepcopy(part.get_extra_state())) for part in named]

    @torch.no_grad()
    def put() -> None:
        for live, before in dicts:
            live.clear()
            live.update(before)
        for tensor, window, values in kept:
            if not torch.equal(window, values):
                window.copy_(values)
            tensor.data = window
        for part, state in extra:
            part.set_extra_state(state)

    return put


def _give(owner: Any, part: Any) -> None:
    if isinstance(owner, torch.Generator):
        owner.set_state(part)
    elif isinstance(owner, nn.Module):
        owner.load_state_dict(part)
    elif isinstance(owner, optim.Optimizer):
        if not isinstance(part, Mapping) or not {"state", "param_groups"} <= part.keys():
            raise ValueError("wanted an optimizer's state dict, with 'state' and 'param_groups'")
        wanted = [set(group) & set(owner.defaults) for group in owner.param_groups]
        try:
            owner.load_state_dict(copy.deepcopy(dict(part)))
        except KeyError as error:
            raise ValueError(f"{_ANOTHER} optimizer, without {error}") from error
        _require_kind(owner, wanted)
    else:
        if isinstance(owner, LRScheduler):
            own = owner.state_dict()
            lacking = [name for name in own if not name.startswith("_") and name not in part]
            if lacking and set(part) - set(own) - {"verbose"}:
                raise ValueError(f"{_ANOTHER} scheduler, without {', '.join(lacking)}")
        owner.load_state_dict(copy.deepcopy(part))


def _require_kind(optimizer: optim.Optimizer, wanted: list[set[str]]) -> None:
    """Raises ValueError if options are lacking that each group had, or a parameter's state is not this optimizer's."""
    for group, names in zip(optimizer.param_groups, wanted, strict=True):
        lacking = sorted(names - set(group))
        for parameter in group["params"]:
            state = optimizer.state.get(parameter) or {}
            made = _first_state(optimizer, group, parameter.dim()) if state else {}
            lacking += [name for name in made if name not in state]
            if lacking:
                raise ValueError(f"{_ANOTHER} optimizer, without {', '.join(lacking)}")
            for name in made:
                if made[name] and isinstance(state[name], Tensor) and state[name].shape != parameter.shape:
                    shapes = f"{tuple(state[name].shape)}, its parameter {tuple(parameter.shape)}"
                    raise ValueError(f"{name} has the shape {shapes}")


def _first_state(optimizer: optim.Optimizer, group: Mapping[str, Any], dim: int) -> dict[str, bool]:
    """What one step of a new optimizer of this kind leaves for a parameter of `dim` dimensions: name → shaped like it.

    Empty if it can not be tried, as for a class that is not torch's, or sparse gradients.
    """
    kind: Any = type(optimizer)
    if not kind.__module__.startswith("torch.optim."):
        return {}
    scratch = nn.Parameter(torch.zeros(tuple(range(2, 2 + dim))))
    scratch.grad = torch.zeros_like(scratch)
    try:
        new = kind([scratch])
        new.param_groups[0].update({name: value for name, value in group.items() if name != "params"}, capturable=False)
        getattr(kind.step, "__wrapped__", kind.step)(new, lambda: torch.zeros(()))
    except Exception:
        return {}
    left = new.state[scratch].items()
    return {name: isinstance(value, Tensor) and value.shape == scratch.shape and dim > 0 for name, value in left}
