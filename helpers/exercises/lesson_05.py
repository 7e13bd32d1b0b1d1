"""Lesson 05: why not the whole model."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

from helpers import lesson
from helpers.exercises import elsewhere, situations
from helpers.exercises.states import difference, runs_code
from helpers.exercises.trial import apart, unlike
from helpers.quiz import Choice, Exercise, Prediction

code_in_file = Prediction(
    "torch.save(model, path) pickles the whole model. Is the code of its forward() in the file?",
    (
        Choice("no: only the name of the class", "Whoever loads it must have a class of that name, at that place.", True),
        Choice("yes: the whole model is saved", "Only the name of its class is, and where to import it from."),
        Choice("yes, compiled to Python bytecode", "Look into the file: no code at all, only names and numbers."),
    ),
)
default_refuses = Prediction(
    "What does torch.load(path) do, by default, with a pickled whole model?",
    (
        Choice("it loads it", "Since torch 2.6 the default is weights_only=True, and a model is more than weights."),
        Choice("it warns, then loads it", "It refuses: unpickling a class can run any code."),
        Choice(
            "it refuses to load it",
            "Only tensors, plain Python values and the classes that you allow pass weights_only=True.",
            True,
        ),
    ),
)
other_process = Prediction(
    "class Net is defined in this notebook. A script in another process loads the pickled model. What happens?",
    (
        Choice(
            "it works: the file has all it needs", "The file says: take Net from __main__. The script's __main__ is the script."
        ),
        Choice("it fails: there is no class Net", "__main__ is another module there, and it has no Net.", True),
        Choice("it loads without forward()", "Without the class there is no object at all."),
    ),
)
refactor_default = Prediction(
    "The default scale=1.0 in __init__ becomes scale=2.0. Which format still gives the old outputs?",
    (
        Choice("both: the weights did not change", "One of them is silently wrong: scale is no weight."),
        Choice("the state dict", "scale is no tensor, so the state dict knows nothing of it, and says nothing."),
        Choice("the whole model", "The pickle kept the attribute scale = 1.0; the state dict has no key for it.", True),
    ),
)
flag = Prediction(
    "A file from a stranger is loaded with weights_only=False. When could its code run?",
    (
        Choice("while it is being loaded", "Before you see any object at all.", True),
        Choice("when the model is called", "Too late: a pickle is a program, and loading runs it."),
        Choice("never: it only holds numbers", "A pickle can name any function and call it."),
    ),
)


@apart()
def pickled_elsewhere(path: str | Path) -> None:
    """Writes a whole model whose class lived in `old_project.nets`, a module that is not there."""
    elsewhere.write(path, 2, 2)


@apart()
def _rescue(answer: Any) -> str | None:
    if not callable(answer) or isinstance(answer, nn.Module):
        return unlike(answer, "a function of a path that returns a state dict")
    given: dict[str, Tensor] = {}
    with tempfile.TemporaryDirectory() as folder, elsewhere.put_back():
        for columns, rows in ((2, 2), (2, 2), (3, 5)):
            path = Path(folder) / f"{columns}{rows}{len(given)}.pth"
            earlier, given = given, elsewhere.write(path, columns, rows)
            if found := elsewhere.fault(answer(path), given, earlier):
                return found
    return None


def _build(lr: float, adam: bool) -> tuple[nn.Module, optim.Optimizer]:
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1))
    model[2].requires_grad_(False)
    groups: list[dict[str, Any]] = [{"params": [*model[:3].parameters()]}, {"params": [*model[3:].parameters()], "lr": 2 * lr}]
    return model, optim.Adam(groups, lr=lr) if adam else optim.SGD(groups, lr=lr, momentum=0.9)


def _states(model: nn.Module, optimizer: optim.Optimizer) -> tuple[dict, dict]:
    return copy.deepcopy((dict(model.state_dict()), optimizer.state_dict()))


@apart()
def _pair(answer: Any) -> str | None:
    if not (isinstance(answer, (tuple, list)) and len(answer) == 2 and all(map(callable, answer))):
        return "Wanted two functions, (save, load)."
    save, load = answer
    saved = []
    with tempfile.TemporaryDirectory() as folder:
        for k, adam in enumerate((False, False, True)):
            model, optimizer = _build(0.01, adam)
            for _ in range(2 + k):
                lesson.train_step(model, optimizer, *lesson.toy_data())
            path, before = Path(folder) / f"checkpoint {k}.pth", _states(model, optimizer)
            save(path, model, optimizer)
            if found := _saved_badly(path):
                return found
            if not model.training:
                return "save left the model in eval(); it was training."
            if difference(before, _states(model, optimizer)) is not None:
                return "save changed the model or the optimizer that it was given."
            lesson.train_step(model, optimizer, *lesson.toy_data())
            saved.append((path.rename(path.with_suffix(".moved")), adam, before, _states(model, optimizer)))
        for path, adam, before, after in saved:
            fresh = _build(0.5, adam)
            load(path, *fresh)
            if found := _loaded_badly(before, _states(*fresh), saved[-1][2]):
                return found
            fresh[0].train()
            lesson.train_step(*fresh, *lesson.toy_data())
            if difference(after, _states(*fresh)) is not None:
                return (
                    "After load the numbers are right, and the next step is not: does the optimizer hold the model's tensors?"
                )
        if runs_code(lambda path: load(path, *_build(0.5, False)), Path(folder)):
            return "load ran a call that stood in a file: it made a folder. weights_only=True refuses such a file."
    return None


def _saved_badly(path: Path) -> str | None:
    if not path.is_file():
        return "save left no file at the path."
    try:
        torch.load(path, weights_only=True)
    except Exception:
        return "torch.load with weights_only=True refuses the file that save wrote. Save state dicts, and nothing else."
    return None


def _loaded_badly(saved: tuple[dict, dict], loaded: tuple[dict, dict], last: tuple[dict, dict]) -> str | None:
    if (key := difference(saved[0], loaded[0])) is not None:
        if difference(last[0], loaded[0]) is None:
            return "load gives what was saved last, not what is in the file at the path."
        kind = "buffer" if key.startswith("1.") and key not in ("1.weight", "1.bias") else "parameter"
        return f"After load the model has other numbers than the one that was saved: see the {kind} {key}."
    if not loaded[1]["state"]:
        return "After load the optimizer has no state: no momentum, or no averages."
    if (place := difference(saved[1], loaded[1])) is not None:
        return f"After load the optimizer's {place} is not what was saved; its state dict holds settings and buffers."
    return None


rescue = Exercise(
    "Rescue the weights",
    "A stand-in class at the old place lets the pickle load; its state dict is all you keep.",
    (
        "The pickle looks up old_project.nets.Net. Put a module of that name into sys.modules.",
        "types.ModuleType makes one; an empty nn.Module subclass with __module__ = 'old_project.nets' is enough of a Net.",
        "with torch.serialization.safe_globals([Net, nn.Linear, nn.BatchNorm1d]): "
        "torch.load(path, weights_only=True).state_dict()",
    ),
    _rescue,
)
six = Exercise(
    "Six situations",
    "A state dict, unless code must travel, or the object itself is wanted, and nothing can change in between.",
    (
        "Ask what must come back: numbers by name, the same object, or a program that runs without your class.",
        "Neither of the first two formats carries code. torch.export does.",
    ),
    situations.fault,
)
pair = Exercise(
    "Your own save and load",
    "Ten lines that load with weights_only=True and put both states back.",
    (
        "One dict with both state dicts goes into the file.",
        "torch.load(path, map_location=..., weights_only=True)",
        "load_state_dict on the model, then on the optimizer.",
    ),
    _pair,
)
