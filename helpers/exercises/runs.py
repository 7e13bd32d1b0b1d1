"""A run that is saved, and what may happen to its file."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn, optim

from helpers import lesson
from helpers.exercises.trial import same

Pair = tuple[nn.Module, optim.Optimizer]


def run(steps: int) -> tuple[nn.Sequential, optim.SGD]:
    """The running model and its optimizer, with settings of their own, after some steps."""
    model = lesson.build_model()
    optimizer = optim.SGD(model.parameters(), lr=0.02, momentum=0.8)
    for _ in range(steps):
        lesson.train_step(model, optimizer, *lesson.toy_data())
    return model, optimizer


def same_future(old: Pair, new: Pair) -> str | None:
    """Trains both, and says where their losses part."""
    for step in range(1, 6):
        one, two = (lesson.train_step(model, optimizer, *lesson.toy_data()) for model, optimizer in (old, new))
        if one != two:
            return f"Loss {step} after the resume is {two:.6f}; the run that never stopped has {one:.6f}."
    return None


def save(path: Path, model: nn.Module, optimizer: optim.Optimizer, **more: Any) -> None:
    """Writes the checkpoint that the lesson writes."""
    torch.save({"model_state": model.state_dict(), "optimizer_state": optimizer.state_dict(), **more}, path)


def opened(path: Path) -> Any:
    """What the file holds, or None if it does not load with weights_only=True."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, weights_only=True)
        except Exception:
            return None


def refuses(load: Callable[[Path], Any], path: Path) -> bool:
    """Whether `load` raises at the file."""
    try:
        load(path)
    except Exception:
        return True
    return False


class Hostile:
    """Makes a folder where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


def tensors_in(thing: Any) -> Iterator[Tensor]:
    """All tensors in a nest of dicts, lists and tuples."""
    if isinstance(thing, Tensor):
        yield thing
    for part in thing.values() if isinstance(thing, Mapping) else thing if isinstance(thing, (list, tuple)) else ():
        yield from tensors_in(part)


@contextmanager
def other_numbers_on_disk() -> Iterator[list[None]]:
    """While it lasts, torch.save writes other numbers than it is given; the list grows with each call."""
    real, calls = torch.save, list[None]()

    def moved(thing: Any) -> Any:
        if isinstance(thing, Mapping):
            return {key: moved(part) for key, part in thing.items()}
        if isinstance(thing, (list, tuple)):
            return type(thing)(moved(part) for part in thing)
        return thing + 1 if isinstance(thing, Tensor) and thing.is_floating_point() else thing

    def save(obj: Any, *args: Any, **kwargs: Any) -> None:
        calls.append(None)
        real(moved(obj), *args, **kwargs)

    with patch("torch.save", save), patch("torch.serialization.save", save):
        yield calls


def views() -> Iterator[dict[str, Any]]:
    """Checkpoints whose tensors are small views of large tables."""
    table = torch.arange(700_000.0)
    yield {"first": table[:500], "last": table[-500:], "epoch": 3}
    square, counts = torch.randn(700, 1000, dtype=torch.float64), torch.arange(300_000)
    yield {"column": square[:, 7], "rows": square[20:22].T, "counts": counts[::1000], "best": 0.25, "losses": [0.5, 0.25]}


def file_fault(path: Path, model: nn.Module, optimizer: Any) -> str | None:
    """What is wrong with the file that should hold both states."""
    if not path.is_file():
        return "There is no file at the path that your function was given."
    if others := sorted(file.name for file in path.parent.iterdir() if file != path):
        return f"One file was wanted, at the path; you leave {others[0]!r} beside it."
    if (held := opened(path)) is None:
        return "The file does not load with weights_only=True: save the two state dicts with torch.save, and nothing else."
    saved = [*tensors_in(held)]
    buffers = [entry["momentum_buffer"] for entry in optimizer.state.values()]
    for words, wanted in (("the model's numbers", model.state_dict().values()), ("the optimizer's buffers", buffers)):
        if not all(any(same(t, one) for one in saved) for t in wanted):
            return f"The file at the path does not hold {words}: what is not in it can not come back."
    return None


def pair_fault(given: Any, names: tuple[str, ...] = ("model", "optimizer")) -> str | None:
    """What is wrong with a model and its optimizer as things, before their numbers are looked at."""
    wanted = f"Wanted ({', '.join(names)})"
    if not isinstance(given, (tuple, list)):
        return f"{wanted}; you return {type(given).__name__}."
    if len(given) != len(names) or not isinstance(given[0], nn.Module) or not isinstance(given[1], optim.Optimizer):
        return f"{wanted}, in this order; you return ({', '.join(type(part).__name__ for part in given)})."
    held = {id(p) for group in given[1].param_groups for p in group["params"]}
    if held != {id(p) for p in given[0].parameters()}:
        return "The optimizer does not hold the parameters of the model that you return: its steps will not move that model."
    return None


def state_fault(given: Any, model: nn.Module, optimizer: Any) -> str | None:
    """Where the new model and optimizer stand otherwise than the old ones."""
    other, other_optimizer = given[:2]
    if any(one is two for one in model.parameters() for two in other.parameters()):
        return "Old and new model share a parameter: a step of one moves the other too."
    state = other.state_dict()
    if state.keys() != model.state_dict().keys():
        return f"The new model has other keys than the old one: {', '.join([*state][:4])}."
    if any(tensor.dtype != torch.float32 for tensor in state.values()):
        return "The new model is of another dtype than the old one, which is float32."
    if not all(map(same, state.values(), model.state_dict().values())):
        return "The new model has other numbers than the file: was load_state_dict called on it?"
    if not other_optimizer.state_dict()["state"]:
        return "The new optimizer has no momentum buffers: load its state too."
    rates = [[group["lr"] for group in one.param_groups] for one in (optimizer, other_optimizer)]
    return None if rates[0] == rates[1] else f"The learning rate was {rates[0][0]}; the new optimizer has {rates[1][0]}."


def from_memory(answer: Callable[..., Any]) -> str | None:
    """Whether a round trip gives the old numbers also where the file holds others."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, other_numbers_on_disk() as calls:
        old: tuple[Any, Any] = run(5)
        try:
            new = answer(*old, Path(folder) / "checkpoint.pth")
        except Exception:
            return None
    if not calls:
        return None
    for words, one, two in zip(("model", "optimizer"), old, new):
        if any(map(same, tensors_in(one.state_dict()), tensors_in(two.state_dict()))):
            return f"The new {words} was filled from memory: with other numbers in the file it has the old ones all the same."
    return None
