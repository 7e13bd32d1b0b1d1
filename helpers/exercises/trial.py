"""How an answer is tried: apart from the notebook, and taken as it is meant."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

SEED, CPU = 7, torch.device("cpu")


@contextmanager
def apart() -> Iterator[None]:
    """Random numbers, grad mode, default dtype and device, and folder are the check's own, the notebook's again after it."""
    numpy = sys.modules.get("numpy")
    python, arrays = random.getstate(), numpy and numpy.random.get_state()
    dtype, device, folder = torch.get_default_dtype(), torch.get_default_device(), os.getcwd()
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.set_default_dtype(torch.float32)
            _default(CPU)
            torch.manual_seed(SEED)
            random.seed(SEED)
            yield
    finally:
        os.chdir(folder)
        torch.set_default_dtype(dtype)
        _default(device)
        random.setstate(python)
        if numpy:
            numpy.random.set_state(arrays)


def _default(device: torch.device) -> None:
    torch.set_default_device(None if device == CPU else device)


def unlike(answer: Any, wanted: str) -> str:
    """Says that the answer is of another kind than `wanted`."""
    return f"You gave {type(answer).__name__}; wanted {wanted}."


def plain(value: Any) -> Any:
    """A number or truth value of torch or NumPy as Python's own; anything else as it is."""
    try:
        return value.item()
    except Exception:
        return value


def is_number(value: Any) -> bool:
    """Whether it is a Python number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have one dtype, one shape and one set of numbers."""
    return one.dtype == other.dtype and torch.equal(one, other)


def quarters(*shape: int) -> Tensor:
    """Random quarters between -4 and 4: sums of their products are exact, in whatever order they are taken."""
    return torch.randint(-16, 17, shape) / 4
