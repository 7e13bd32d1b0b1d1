"""Folders as torch.distributed.checkpoint writes them, for the exercises of lesson 11."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn

from helpers.exercises.states import difference, reason


def net(seed: int, width: int) -> nn.Module:
    """A small model with buffers."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, 1))


def write(path: Path, seed: int, width: int, name: str) -> dict[str, Tensor]:
    """Writes a checkpoint as DCP does, one file a tensor, and returns its model's state dict."""
    state = dict(net(seed, width).state_dict()) | {"1.num_batches_tracked": torch.tensor(3)}
    writer = dcp.FileSystemWriter(path, single_file_per_rank=False)
    with warnings.catch_warnings(action="ignore"):
        dcp.save({name: state, "epoch": 3, "optimizer": {"lr": 0.1}}, storage_writer=writer, no_dist=True)
    return state


def other_shapes(given: Any, wanted: Mapping[str, tuple]) -> str | None:
    """What is wrong with a dict of shapes, or None."""
    if not isinstance(given, Mapping):
        return f"It gives {type(given).__name__}; wanted a dict of keys and shapes."
    if extra := [key for key in given if key not in wanted]:
        return f"It lists {str(extra[0])[:40]!r}, which is no tensor's key in this folder."
    for key, shape in wanted.items():
        if key not in given:
            return f"It does not list {key!r}."
        if not isinstance(given[key], (tuple, list)) or tuple(given[key]) != shape:
            return f"For {key!r} it gives {str(given[key])[:40]}; the shape is {shape}."
    return None


def not_loadable(path: Path, wanted: dict[str, Tensor], model: nn.Module) -> str | None:
    """What is wrong with the file at the path, which should fill the model with what is wanted, or None."""
    if not path.is_file():
        return "After your function there is no file at the path."
    try:
        loaded = torch.load(path, weights_only=True)
    except Exception as error:
        return f"The file does not open with weights_only=True: {reason(error)}"
    try:
        model.load_state_dict(loaded)
    except Exception as error:
        return f"load_state_dict does not take what the file holds: {reason(error)}"
    key = difference(wanted, dict(model.state_dict()))
    return key and f"The file loads, but {key} has other numbers than the folder."
