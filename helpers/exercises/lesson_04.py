"""Lesson 04: save and load."""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from helpers.exercises import runs
from helpers.exercises.trial import apart, plain, same, unlike
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


@apart()
def _round_trip(answer: Callable) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a model, an optimizer and a path")
    model, optimizer = runs.run(7)
    before = copy.deepcopy(model.state_dict())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "checkpoint.pth"
        given = answer(model, optimizer, path)
        if not all(map(same, model.state_dict().values(), before.values())):
            return "Your function changed the model that it was given."
        if wrong := runs.file_fault(path, model, optimizer) or runs.pair_fault(given):
            return wrong
        if given[0] is model or given[1] is optimizer:
            return f"You return the {'model' if given[0] is model else 'optimizer'} that you were given; build a new one."
        wrong = runs.state_fault(given, model, optimizer) or runs.from_memory(answer)
    return wrong or runs.same_future((model, optimizer), given)


@apart()
def _shrink(answer: Callable) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a checkpoint")
    for checkpoint in runs.views():
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "small.pth"
            given = answer(dict(checkpoint))
            if not isinstance(given, Mapping):
                return f"Wanted the dict with the same entries; you return {type(given).__name__}."
            torch.save(given, path)
            if (loaded := runs.opened(path)) is None:
                return "Saved, it does not load with weights_only=True: keep every tensor a tensor."
            if wrong := _other_contents(loaded, checkpoint):
                return wrong
            size, wanted = path.stat().st_size, sum(t.nbytes for t in runs.tensors_in(checkpoint))
        if size > wanted + 10_000:
            kept = f"{size / 1000:,.0f} kB, for {wanted / 1000:,.0f} kB of numbers"
            return f"The file still takes {kept}: a view took its whole storage along."
    return None


def _other_contents(loaded: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> str | None:
    if missing := [name for name in checkpoint if name not in loaded]:
        return f"Keep every entry: {missing[0]} is missing."
    if extra := [name for name in loaded if name not in checkpoint]:
        return f"Keep the entries as they are: {extra[0]!r} is a new one."
    for name, value in checkpoint.items():
        if type(loaded[name]) is not type(value):
            return f"{name} was of type {type(value).__name__}; yours is of type {type(loaded[name]).__name__}."
        if isinstance(value, Tensor) and loaded[name].dtype != value.dtype:
            return f"{name} was {value.dtype}; yours is {loaded[name].dtype}: that is another tensor, not a smaller file."
        if not (torch.equal(value, loaded[name]) if isinstance(value, Tensor) else value == loaded[name]):
            return f"{name} is no longer what it was. clone() copies just what a view shows."
    return None


def _casting(answer: Any) -> str | None:
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        return "Wanted two things: (the dtype of the model's weight after loading, whether the numbers are equal)."
    dtype = str(getattr(answer[0], "__name__", answer[0])).removeprefix("torch.")
    equal = plain(answer[1])
    if isinstance(plain(answer[0]), bool):
        return "The dtype comes first, then whether the numbers are equal."
    if dtype in ("float64", "double", "DoubleTensor"):
        return "float64 is the checkpoint's dtype. The model keeps its own; look at model.weight.dtype after loading."
    if dtype not in ("float32", "float", "FloatTensor"):
        return f"Not {dtype[:60]}: print model.weight.dtype after loading."
    if equal is True:
        return "0.1 in float64 is another number than 0.1 in float32: torch.equal after casting back says so."
    return None if equal is False else "The second is True or False: are the numbers still equal?"


@apart()
def _repair(answer: Callable) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a path")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path, marker = Path(folder) / "checkpoint.pth", Path(folder) / "was here"
        for epoch in (10, random.randint(20, 40)):
            model, optimizer = runs.run(epoch)
            runs.save(path, model, optimizer, epoch=epoch)
            given = answer(path)
            wrong = runs.pair_fault(given, ("model", "optimizer", "next_epoch"))
            if wrong := wrong or runs.state_fault(given, model, optimizer):
                return wrong
            if plain(given[2]) != epoch + 1:
                return f"Epoch {epoch} was finished when this was saved; the next one is {epoch + 1}, you say {given[2]!r}."
            if wrong := runs.same_future((model, optimizer), (given[0], given[1])):
                return wrong
        runs.save(path, nn.Sequential(model[0]), optimizer, epoch=epoch)
        if not runs.refuses(answer, path):
            return "At a checkpoint without the last layer your function raises nothing: load strictly."
        runs.save(path, model, optimizer, epoch=epoch, extra=runs.Hostile(marker))
        runs.refuses(answer, path)
        return "A checkpoint that holds code was run: load it with weights_only=True." if marker.exists() else None


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
