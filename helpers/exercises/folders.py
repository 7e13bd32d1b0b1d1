"""Folders as torch.distributed.checkpoint writes them, for the exercises of lesson 11."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata

from helpers.exercises.states import difference, reason
from helpers.exercises.trial import forked

SECONDS = 20
MOMENTUM = {"optimizer.state.0.weight.momentum_buffer": (5, 2)}


def net(seed: int, width: int) -> nn.Module:
    """A small model with buffers."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, 1))


def write(path: Path, seed: int, width: int, name: str) -> dict[str, Tensor]:
    """Writes a checkpoint as DCP does, one file a tensor, and returns its model's state dict."""
    state = dict(net(seed, width).state_dict()) | {"1.num_batches_tracked": torch.tensor(3)}
    optimizer = {"lr": 0.1, "state": {"0.weight": {"momentum_buffer": torch.zeros(5, 2)}}}
    writer = dcp.FileSystemWriter(path, single_file_per_rank=False)
    with warnings.catch_warnings(action="ignore"):
        dcp.save({name: state, "epoch": 3, "optimizer": optimizer}, storage_writer=writer, no_dist=True)
    return state


def cut(path: Path, key: str) -> None:
    """Lets the folder's metadata say that a tensor lies in two chunks, as two ranks write it."""
    metadata = dcp.FileSystemReader(path).read_metadata()
    entry = metadata.state_dict_metadata[key]
    rows, *rest = entry.size  # type: ignore[union-attr]
    entry.chunks = [  # type: ignore[union-attr]
        ChunkStorageMetadata(torch.Size((start, *(0 for _ in rest))), torch.Size((end - start, *rest)))
        for start, end in ((0, rows // 2), (rows // 2, rows))
    ]
    (path / ".metadata").write_bytes(pickle.dumps(metadata))


def failure(answer: Callable[[], object]) -> str | None:
    """What to say if `answer` fails, tried in a process of its own that a bus error may kill; in this one where none can fork.

    A forked process has lost the threads of its process group, so the child has none.
    """
    if not hasattr(os, "fork"):
        return _raised(answer)

    def tried() -> str:
        _die_quietly()
        dist.GroupMember.WORLD = None
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            return _raised(answer) or ""

    said, ended = forked(tried, SECONDS)
    if ended == -signal.SIGBUS:
        return "Your function kills its process: it writes over a file that it has mapped, and then reads from the map."
    if ended == -signal.SIGALRM:
        return f"Your function did not end in {SECONDS} seconds."
    return said or (f"Your function ended its process with {ended}." if ended else None)


def _die_quietly() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for one in (signal.SIGALRM, signal.SIGBUS):
        signal.signal(one, signal.SIG_DFL)


def _raised(answer: Callable[[], object]) -> str | None:
    try:
        answer()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"Your answer failed when it was tried: {reason(error)}"
    return None


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
    held = loaded if isinstance(loaded, dict) else {}
    if other := [key for key in wanted if key in held and _kind(held[key]) != _kind(wanted[key])]:
        return f"{other[0]} is {_kind(held[other[0]])} in the file; in the folder it is {_kind(wanted[other[0]])}."
    if beside := [one.name for one in path.parent.iterdir() if one.is_file() and one != path]:
        return f"Beside the file your function leaves {beside[0]}: delete it, or write it into a temporary folder."
    try:
        model.load_state_dict(loaded)
    except Exception as error:
        return f"load_state_dict does not take what the file holds: {reason(error)}"
    key = difference(wanted, dict(model.state_dict()))
    return key and f"The file loads, but {key} has other numbers than the folder."


def _kind(value: Any) -> str:
    return f"{type(value).__name__} of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
