"""Lesson 05: why not the whole model."""

from __future__ import annotations

import sys
import tempfile
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn, optim

from helpers import lesson
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

FORMATS = ("state dict", "whole model", "exported program")
SITUATIONS = {
    "weights for colleagues who will refactor": "state dict",
    "a checkpoint to resume training": "state dict",
    "a release on the internet": "state dict",
    "a model for a server that has no Python code of yours": "exported program",
    "a scratch file, read back by the same process in a minute": "either",
    "an archive to be read in five years": "state dict",
}
WHY = {
    "weights for colleagues who will refactor": "names of tensors survive a moved class; a pickled class does not.",
    "a checkpoint to resume training": "the optimizer's state dict is needed beside the model's, and both load in place.",
    "a release on the internet": "people should be able to load it with weights_only=True.",
    "a model for a server that has no Python code of yours": "neither holds code; torch.export writes a program that does.",
    "an archive to be read in five years": "the code will have moved; names and tensors can still be read.",
}


def pickled_elsewhere(path: str | Path) -> None:
    """Writes a whole model whose class lived in `old_project.nets`, a module that is gone again afterwards."""
    module = types.ModuleType("old_project.nets")
    Net = type("Net", (nn.Module,), {"__module__": "old_project.nets"})
    vars(module)["Net"] = Net
    sys.modules.update({"old_project": types.ModuleType("old_project"), "old_project.nets": module})
    try:
        torch.manual_seed(5)
        model = Net()
        model.layer = nn.Linear(2, 2)
        torch.save(model, path)
    finally:
        del sys.modules["old_project.nets"], sys.modules["old_project"]


def _rescue(answer: Any) -> str | None:
    if isinstance(answer, nn.Module):
        return "That is the whole model again; its state_dict() is what survives."
    if not isinstance(answer, Mapping):
        return f"You gave {type(answer).__name__}; wanted a state dict."
    torch.manual_seed(5)
    right = nn.Linear(2, 2).state_dict()
    if list(answer) != [f"layer.{key}" for key in right]:
        return f"Wanted the keys layer.weight and layer.bias; yours are {', '.join(map(str, answer)) or 'none'}."
    if all(torch.equal(answer[f"layer.{key}"], value) for key, value in right.items()):
        return None
    return "The keys are right, the numbers are not those in the file."


def _six(answer: Any) -> str | None:
    if not isinstance(answer, Mapping):
        return f"You gave {type(answer).__name__}; wanted a dict from situation to format."
    blank = [name for name in SITUATIONS if answer.get(name, ...) is ...]
    if blank:
        return f"{6 - len(blank)} of 6 decided. Next: {blank[0]}."
    for name, right in SITUATIONS.items():
        if answer[name] not in FORMATS:
            return f"{name}: {answer[name]!r} is none of the three, {', '.join(FORMATS)}."
        if answer[name] != right and right != "either":
            return f"{name}: not {answer[name]!r}, for {WHY[name]}"
    return None


def _pair(answer: Any) -> str | None:
    if not (isinstance(answer, tuple) and len(answer) == 2 and all(map(callable, answer))):
        return "Wanted two functions, (save, load)."
    save, load = answer
    model = lesson.build_model()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    lesson.train_step(model, optimizer, *lesson.toy_data())
    other = lesson.build_model(1)
    other_optimizer = optim.SGD(other.parameters(), lr=0.5, momentum=0.9)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pth"
        save(path, model, optimizer)
        if not path.is_file():
            return "save left no file at the path."
        try:
            torch.load(path, weights_only=True)
        except Exception:
            return "The file holds more than weights: torch.load with weights_only=True refuses it. Save state dicts."
        load(path, other, other_optimizer)
    if any(not torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters())):
        return "After load the model has other numbers than the one that was saved."
    if other_optimizer.state_dict()["state"].keys() != optimizer.state_dict()["state"].keys():
        return "After load the optimizer has no momentum buffers."
    return None


rescue = Exercise(
    "Rescue the weights",
    "A stand-in class at the old place lets the pickle load; its state dict is all you keep.",
    (
        "The pickle looks up old_project.nets.Net. Put a module of that name into sys.modules.",
        "types.ModuleType makes one; an empty nn.Module subclass with __module__ = 'old_project.nets' is enough of a Net.",
        "with torch.serialization.safe_globals([Net, nn.Linear]): torch.load(path, weights_only=True).state_dict()",
    ),
    _rescue,
)
six = Exercise(
    "Six situations",
    "A state dict, unless code must travel, or nothing can change in between.",
    ("Ask: will the code be the same when it is read?", "Neither format carries code. torch.export does."),
    _six,
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
