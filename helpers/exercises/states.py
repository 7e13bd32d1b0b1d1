"""States compared to the last bit, and files that run code if their pickle is run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def difference(one: Any, other: Any, place: str = "") -> str | None:
    """Where two states differ first, in numbers, shape, dtype, keys or kind; None if nowhere."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return None if one.dtype == other.dtype and torch.equal(one.cpu(), other.cpu()) else place
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        one, other = dict(enumerate(one)), dict(enumerate(other))
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return None if type(one) is type(other) and one == other else place
    for name in dict.fromkeys([*one, *other]):
        inner = f"{place}.{name}".lstrip(".")
        if name not in one or name not in other:
            return inner
        if (found := difference(one[name], other[name], inner)) is not None:
            return found
    return None


def reason(error: BaseException) -> str:
    """An error in one line: its class and what it says first, without torch's line about where it stands."""
    said = " ".join(str(error).split())
    said = f"{type(error).__name__}: {said.partition(' state_dict for ')[2].partition(': ')[2] or said}"
    return said if len(said) <= 140 else f"{said[:139]}…"


class Call:
    """An object whose pickle, when it is run, calls `function`; to write it runs nothing."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple:
        return self.reduced


def hostile_file(path: str | Path, marker: str | Path, function: Callable = os.mkdir, *more: object) -> None:
    """Writes a checkpoint that would make `marker` if its pickle were run: by os.mkdir, or by `function`."""
    torch.save({"weight": torch.ones(2), "extra": Call(function, *(more or [str(marker)]))}, path)


def runs_code(load: Callable[[Path], object], folder: Path) -> bool:
    """Whether `load` runs what a hostile file in `folder` asks for."""
    path, marker = folder / "hostile.pth", folder / "was here"
    hostile_file(path, marker)
    with contextlib.suppress(Exception):
        load(path)
    return marker.exists()
