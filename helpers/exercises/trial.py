"""How an answer is tried: apart from the notebook, and taken as it is meant."""

from __future__ import annotations

import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
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


def forked(work: Callable[[], str], seconds: int) -> tuple[str, int]:
    """What `work` says in a process of its own, nothing if it raises, and how that process ended; it has `seconds`.

    The process has one thread: a forked one has lost the others of torch's pool. Raises AttributeError where none can fork.
    """
    reads, writes = os.pipe()
    with warnings.catch_warnings(action="ignore"):
        child = os.fork()
    if child == 0:
        try:
            signal.alarm(seconds)
            torch.set_num_threads(1)
            os.write(writes, work().encode())
        finally:
            os._exit(0)
    os.close(writes)
    with open(reads, "rb") as file:
        told = file.read().decode()
    return told, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


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
