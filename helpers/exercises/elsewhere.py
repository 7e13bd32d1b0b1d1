"""A whole model whose class lived in a module that is gone, and what can be wrong with the state dict out of it."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_NAMES = ("old_project", "old_project.nets")
_PARAMETERS = ("layer.weight", "layer.bias", "norm.weight", "norm.bias")


@contextmanager
def put_back() -> Iterator[None]:
    """Whatever is done inside, the module of the class is afterwards there, or not there, as before."""
    before = {name: sys.modules[name] for name in _NAMES if name in sys.modules}
    try:
        yield
    finally:
        for name in _NAMES:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def write(path: str | Path, columns: int, rows: int) -> dict[str, Tensor]:
    """Writes such a file, of random numbers, and returns the state dict in it; in float64 if it has over two columns."""
    Net = type("Net", (nn.Module,), {"__module__": _NAMES[1]})
    model = Net()
    model.layer = nn.Linear(columns, rows)
    model.norm = nn.BatchNorm1d(rows)
    model.layer.weight.requires_grad_(False)
    model.norm.running_mean.normal_()
    with put_back():
        sys.modules.update({name: types.ModuleType(name) for name in _NAMES})
        vars(sys.modules[_NAMES[1]])["Net"] = Net
        torch.save(model.double() if columns > 2 else model, path)
    return model.state_dict()


def fault(answer: Any, given: Mapping[str, Tensor], earlier: Mapping[str, Tensor]) -> str | None:
    """What is wrong with an answer where `given` is in the file, and `earlier` was in the file before it."""
    if isinstance(answer, nn.Module):
        return "Your function returns the whole model again; its state_dict() is what survives."
    if not isinstance(answer, Mapping):
        return f"Your function returns {type(answer).__name__}; wanted a state dict."
    if lost := [key for key in given if key not in answer]:
        said = ", ".join(map(str, answer)) or "none"
        if "layer.weight" not in answer:
            return f"Wanted keys such as layer.weight; yours are {said[:120]}."
        why = " A state dict has the buffers, not only the parameters." if lost[0] not in _PARAMETERS else ""
        return f"The file holds {lost[0]} too; yours lacks it.{why}"
    if more := [key for key in answer if key not in given]:
        return f"The model in the file has no key {str(more[0])[:60]!r}."
    for key, right in given.items():
        value = answer[key]
        if isinstance(value, nn.Parameter) or not isinstance(value, Tensor):
            return f"{key} is a {type(value).__name__}; state_dict() gives a plain tensor."
        if value.dtype != right.dtype:
            return f"{key} is {right.dtype} in the file, {value.dtype} in yours."
        if not torch.equal(value, right):
            old = earlier and value.shape == earlier[key].shape and torch.equal(value, earlier[key])
            if old:
                return f"{key} is that of another file: read the path that is given."
            return f"The keys are right, the numbers are not those in the file: look at {key}."
    return None
