"""Lesson 04: save and load."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn, optim

from helpers import lesson
from helpers.quiz import Choice, Exercise, Prediction

file_format = Prediction(
    "You save a checkpoint and look at the first bytes of the file. What is a .pth?",
    (
        Choice("a format of PyTorch's own", "Rename it to .zip and any archiver opens it."),
        Choice("one large pickle", "There is a pickle inside, but the numbers are not in it."),
        Choice(
            "a zip of raw tensors",
            "Since torch 1.6: raw tensors as entries, and one small pickle that says what they are.",
            True,
        ),
    ),
)
loaded_buffers = Prediction(
    "You load a checkpoint's optimizer state into an optimizer, and train one step. What does the checkpoint's dict hold now?",
    (
        Choice("the buffers from after the step", "The optimizer kept these very tensors, and trains them.", True),
        Choice("the buffers from before the step", "A model copies what it loads. An optimizer keeps the tensors themselves."),
        Choice("nothing: the state moved out", "The dict still has its tensors. The optimizer has them too."),
    ),
)
ten_rows = Prediction(
    "table has 1,000,000 numbers. You save table[:1000]. How large is the file?",
    (
        Choice("about 4 kB", "A slice is a view. Saving it saves the storage that it looks into."),
        Choice("about 4 MB", "The whole storage goes into the file.", True),
        Choice("it refuses to save a slice", "Views are saved, with all that lies behind them."),
    ),
)
failed_load = Prediction(
    "load_state_dict raises: two of four shapes do not fit. What happened to the model?",
    (
        Choice("nothing: it raised before copying", "It copies key by key, and raises at the end."),
        Choice("all four were replaced", "A tensor of another shape cannot be copied in."),
        Choice("the two that fit were replaced", "So the model is now half one, half the other.", True),
    ),
)
new_lr = Prediction(
    "You build optim.SGD(…, lr=0.001, momentum=0.9) and load the optimizer state of a run with lr=0.01. Which one counts?",
    (
        Choice("0.01, from the file", "Set the learning rate after loading, not before.", True),
        Choice("0.001, as I asked for it", "param_groups are part of the state dict, and loading puts the old ones back."),
        Choice("neither: it raises", "Settings are replaced without a word."),
    ),
)
forgotten = Prediction(
    "You restore the model but not the optimizer. When do the losses part from the run that never stopped?",
    (
        Choice("at the first loss after the resume", "That loss only needs the weights, and they are the same."),
        Choice("at the second loss after the resume", "The first step without momentum already moves less.", True),
        Choice("never: the weights are what counts", "The next step needs the momentum buffer too."),
    ),
)
eval_mode = Prediction(
    "A model with Dropout is saved in eval mode, and loaded into a new model. Does the new one drop units?",
    (
        Choice(
            "no: it was saved in eval mode, and stays in it",
            "training is an attribute, not a tensor; it is not in the state dict.",
        ),
        Choice("yes: a new model is in training mode", "Call eval() after loading, every time.", True),
        Choice("only while an optimizer trains it", "Dropout asks for the mode, not for an optimizer."),
    ),
)


def _round_trip(answer: Callable) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a model, an optimizer and a path."
    model, optimizer = _run(10)
    kept = copy.deepcopy(model.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pth"
        given = answer(model, optimizer, path)
        if not path.is_file():
            return "There is no file at the path that your function was given."
        if not (isinstance(given, tuple) and len(given) == 2):
            return f"Wanted a new model and a new optimizer; you return {type(given).__name__}."
        other, other_optimizer = given
        if other is model:
            return "You return the model that you were given; build a new one and load into it."
        if any(not torch.equal(kept[key], t) for key, t in other.state_dict().items()):
            return "The new model has other numbers: was load_state_dict called on it?"
        if not other_optimizer.state_dict()["state"]:
            return "The new optimizer has no momentum buffers: load its state too."
    return _same_future(model, optimizer, other, other_optimizer)


def _run(steps: int) -> tuple[nn.Sequential, optim.SGD]:
    model = lesson.build_model()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(steps):
        lesson.train_step(model, optimizer, *lesson.toy_data())
    return model, optimizer


def _same_future(model: nn.Module, optimizer: Any, other: nn.Module, other_optimizer: Any) -> str | None:
    for step in range(1, 6):
        one = lesson.train_step(model, optimizer, *lesson.toy_data())
        two = lesson.train_step(other, other_optimizer, *lesson.toy_data())
        if one != two:
            return f"Loss {step} after the resume is {two:.4f}; the run that never stopped has {one:.4f}."
    return None


def _shrink(answer: Callable) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a checkpoint."
    table = torch.arange(700_000.0)
    checkpoint: dict[str, Any] = {"first": table[:500], "last": table[-500:], "epoch": 3}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.pth"
        torch.save(answer(dict(checkpoint)), path)
        size = path.stat().st_size
        loaded = torch.load(path, weights_only=True)
    if not isinstance(loaded, Mapping) or loaded.keys() != checkpoint.keys() or loaded["epoch"] != 3:
        return "Keep all three entries, also the epoch, which is no tensor."
    if not all(torch.equal(loaded[key], checkpoint[key]) for key in ("first", "last")):
        return "The numbers changed. clone() copies just what a view shows."
    return f"The file still takes {size / 1000:,.0f} kB: it holds the whole storage." if size > 20_000 else None


def _casting(answer: Any) -> str | None:
    if not (isinstance(answer, tuple) and len(answer) == 2):
        return "Wanted two things: (the dtype of the model's weight after loading, whether the numbers are equal)."
    if answer[0] == torch.float64:
        return "float64 is the checkpoint's dtype. The model keeps its own; look at model.weight.dtype after loading."
    if answer[0] != torch.float32:
        return f"Not {answer[0]}: print model.weight.dtype after loading."
    if answer[1] is True:
        return "0.1 in float64 is another number than 0.1 in float32: torch.equal after casting back says so."
    return None if answer[1] is False else "The second is True or False: are the numbers still equal?"


def _repair(answer: Callable) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a path."
    model, optimizer = _run(10)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pth"
        torch.save({"model_state": model.state_dict(), "optimizer_state": optimizer.state_dict(), "epoch": 10}, path)
        given = answer(path)
    if not (isinstance(given, tuple) and len(given) == 3):
        return f"Wanted (model, optimizer, next_epoch); you return {type(given).__name__}."
    other, other_optimizer, epoch = given
    held = {id(p) for group in other_optimizer.param_groups for p in group["params"]}
    if held != {id(p) for p in other.parameters()}:
        return "The optimizer holds the parameters of another model: build it from the model that you return."
    if not other_optimizer.state_dict()["state"]:
        return "The momentum buffers were not loaded: the first step would start from nothing."
    if epoch != 11:
        return f"Epoch 10 was finished when this was saved; the next one is 11, you say {epoch}."
    return _same_future(model, optimizer, other, other_optimizer)


round_trip = Exercise(
    "The round trip, proved",
    "A new model and optimizer that go on exactly as the old ones.",
    (
        "Save a dict with both state dicts.",
        "Build model and optimizer anew, then load each.",
        "torch.load(path, weights_only=True) gives the dict back.",
    ),
    _round_trip,
)
shrink = Exercise(
    "A checkpoint that is 700 times too big",
    "clone() gives a view a storage of its own, as large as what it shows.",
    (
        "A slice shares the storage of the whole.",
        "clone() every tensor, keep the rest as it is.",
        "isinstance(value, torch.Tensor) tells them apart.",
    ),
    _shrink,
)
casting = Exercise(
    "Another dtype",
    "Loading casts to the model's dtype; what did not fit into it is gone.",
    (
        "Load the checkpoint into the model and print model.weight.dtype.",
        "Compare model.weight.double() with the checkpoint's tensor.",
    ),
    _casting,
)
repair = Exercise(
    "Repair the resume",
    "Model first, then its optimizer, then both states; go on after the finished epoch.",
    ("Which model does the optimizer hold?", "Which of the three entries is never read?", "epoch + 1"),
    _repair,
)
