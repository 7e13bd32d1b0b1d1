"""Lesson 01: build a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from helpers import lesson
from helpers.quiz import Choice, Exercise, Prediction

how_many_tensors = Prediction(
    "nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)): how many tensors does it register?",
    (
        Choice("2, one for each Linear", "A Linear registers two: its weight and its bias."),
        Choice("3, one for each layer", "ReLU registers none, and each Linear registers two."),
        Choice("4, two for each Linear", "A weight and a bias each; ReLU has nothing to remember.", True),
        Choice("9, one for each number", "Nine numbers is right, but they live together in fewer tensors."),
    ),
)
weight_shape = Prediction(
    "What shape has the weight of nn.Linear(3, 5)?",
    (
        Choice("5 × 3, out × in", "One row for each output; a row meets the whole input.", True),
        Choice("3 × 5, in × out", "It reads like that in the call, but the tensor is stored out × in."),
        Choice("15, one after the other", "It is two-dimensional: rows are outputs, columns are inputs."),
    ),
)
which_line = Prediction(
    "The forward pass has three modules. Which of them reads no tensor of the model?",
    (
        Choice("the first Linear", "It reads 0.weight and 0.bias."),
        Choice("the ReLU", "It cuts below zero, whatever the model has learnt.", True),
        Choice("the last Linear", "It reads 2.weight and 2.bias."),
    ),
)
plain_attribute = Prediction(
    "A module sets self.scale = torch.ones(1) in its __init__. Is scale among its parameters?",
    (
        Choice("no: it is not an nn.Parameter", "So no optimizer sees it, and no state dict holds it.", True),
        Choice("yes: every tensor attribute is", "Only nn.Parameter registers itself; a plain tensor is just an attribute."),
        Choice("yes, if requires_grad is set", "requires_grad makes autograd track it, but registers nothing."),
    ),
)
dropout_shifts = Prediction(
    "You put nn.Dropout() between the ReLU and the last Linear. What is the key of the last weight now?",
    (
        Choice("2.weight: Dropout has no weights", "The number is the position, and Dropout takes one."),
        Choice("1.weight: it is the second layer with weights", "Layers with weights are not counted; places are."),
        Choice(
            "3.weight: the Linear moved one place",
            "Keys of a Sequential count all modules, also those with nothing to save.",
            True,
        ),
    ),
)


def _by_hand(answer: Callable) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of the state dict and an input."
    for seed in range(3):
        model = lesson.build_model(seed)
        x = torch.linspace(-1, 1, 2) * (seed + 1)
        with torch.no_grad():
            right = model(x)
        given = answer(model.state_dict(), x)
        if not isinstance(given, torch.Tensor) or given.shape != right.shape:
            return f"Wanted a tensor of shape {tuple(right.shape)}; yours is {_named(given)}."
        no_relu = model[2](model[0](x))
        if not torch.equal(given, right):
            return (
                "That is the output without the ReLU between the two layers."
                if torch.allclose(given, no_relu)
                else f"For seed {seed} the model says {right.item():+.4f}, you say {given.item():+.4f}."
            )
    return None


def _named(value: Any) -> str:
    return f"of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"


def _named_layers(answer: nn.Module) -> str | None:
    if not isinstance(answer, nn.Module):
        return f"You gave {type(answer).__name__}; wanted a model."
    wanted = ["hidden.weight", "hidden.bias", "output.weight", "output.bias"]
    keys = list(answer.state_dict())
    if keys == ["0.weight", "0.bias", "2.weight", "2.bias"]:
        return "The keys are still positions. Give nn.Sequential an OrderedDict of name and module."
    if keys != wanted:
        return f"Wanted the keys {', '.join(wanted)}; yours are {', '.join(keys) or 'none'}."
    shapes = [tuple(t.shape) for t in answer.state_dict().values()]
    return None if shapes == [(2, 2), (2,), (1, 2), (1,)] else f"The names are right, the shapes are not: {shapes}."


def _count(answer: Callable) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a list of sizes."
    for sizes in ([2, 2, 1], [784, 64, 10], [3, 5], [4, 4, 4, 4]):
        pairs = list(zip(sizes, sizes[1:]))
        weights, right = sum(a * b for a, b in pairs), sum(a * b + b for a, b in pairs)
        given = answer(sizes)
        if given == weights:
            return f"For {sizes} you count {given}: the weights. The biases are parameters too."
        if given != right:
            return f"For {sizes} there are {right:,} parameters; you count {given}."
    return None


def _unregistered(answer: str) -> str | None:
    if answer in ("encoder", "head"):
        return f"{answer} is an nn.Linear set as an attribute: it registers itself. Look for one that hides in a list."
    if answer in ("norm", "relu"):
        return f"{answer} is a module set as an attribute, so it is registered."
    return None if answer == "blocks" else f"There is no attribute {answer!r} that hides layers. Give its name as a string."


by_hand = Exercise(
    "The forward pass by hand",
    "The output follows from four tensors and one max with zero.",
    (
        "A Linear is weight @ x + bias.",
        "Between the two layers, relu() cuts below zero.",
        "hidden = (state['0.weight'] @ x + state['0.bias']).relu()",
    ),
    _by_hand,
)
named_layers = Exercise(
    "Names instead of positions",
    "Named layers keep their keys when a layer is added between them.",
    ("nn.Sequential also takes one OrderedDict.", "OrderedDict(hidden=..., relu=..., output=...)"),
    _named_layers,
)
count_parameters = Exercise(
    "Count without building",
    "in × out weights and out biases for each Linear.",
    ("zip(sizes, sizes[1:]) gives the pairs of in and out.", "A Linear has in × out weights, and how many biases?"),
    _count,
)
unregistered = Exercise(
    "Find the lost layers",
    "A Python list hides its modules; nn.ModuleList registers them.",
    ("Compare the attributes in __init__ with the keys of the state dict.", "A Python list is no module."),
    _unregistered,
)
