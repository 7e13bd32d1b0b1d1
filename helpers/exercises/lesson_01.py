"""Lesson 01: build a model."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Collection
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.module import register_module_parameter_registration_hook

from helpers.exercises.forward import SHAPES, forward, otherwise
from helpers.exercises.trial import apart, is_number, plain, quarters, unlike
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


KEYS = ("0.weight", "0.bias", "2.weight", "2.bias")
NAMES = ("hidden.weight", "hidden.bias", "output.weight", "output.bias")


def _named(value: Any) -> str:
    return f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"of type {type(value).__name__}"


@apart()
def _by_hand(answer: Callable) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of the state dict and an input")
    given: list[Tensor] = []
    cases = [([quarters(*shape) for shape in SHAPES], 2 * quarters(2)) for _ in range(12)]
    for tensors, x in cases:
        state = OrderedDict(zip(KEYS, (t.clone() for t in tensors)))
        given.append(answer(state, x.clone()))
        if not isinstance(given[-1], Tensor) or given[-1].shape != (1,):
            return f"Wanted a tensor of shape (1,); yours is {_named(given[-1])}."
        if given[-1].dtype != torch.float32:
            return f"The model's output is torch.float32; yours is {given[-1].dtype}."
        if [*state] != [*KEYS] or not all(map(torch.equal, state.values(), tensors)):
            return "Your function changed the state dict, and with it the model. Read from it only."
    if words := otherwise(given, cases):
        return f"That is the output {words}."
    for one, (tensors, x) in zip(given, cases):
        if not torch.equal(one, right := forward(tensors, x)):
            return f"For one model and x = {x.tolist()} the output is {right.item():+.4f}, you say {one.item():+.4f}."
    return None


@apart()
def _named_layers(answer: nn.Module) -> str | None:
    if isinstance(answer, type) and issubclass(answer, nn.Module):
        return f"You gave the class {answer.__name__}; wanted a model: {answer.__name__}()."
    if not isinstance(answer, nn.Module):
        return unlike(answer, "a model")
    state = answer.state_dict()
    if {*state} == {*KEYS}:
        return "The keys are still positions. Give nn.Sequential an OrderedDict of name and module."
    if {*state} != {*NAMES}:
        return f"Wanted the keys {', '.join(NAMES)}; yours are {', '.join([*state][:6]) or 'none'}."
    for name, shape in zip(NAMES, SHAPES):
        if state[name].shape != shape or state[name].dtype != torch.float32:
            own = f"{state[name].dtype} and {tuple(state[name].shape)}"
            return f"The names are right, but {name} is {own}; in the running model torch.float32 and {shape}."
    return _runsotherwise(answer)


def _runsotherwise(answer: nn.Module) -> str | None:
    if type(answer).forward is nn.Module.forward:
        return f"The names are right, but {type(answer).__name__} has no forward: it holds the layers and does not run them."
    tensors, x = [quarters(*shape) for shape in SHAPES], 2 * quarters(24, 2)
    given = functional_call(answer, dict(zip(NAMES, tensors)), (x,))
    if not isinstance(given, Tensor) or given.shape != (24, 1):
        return f"The names are right; for 24 inputs the output should be of shape (24, 1), and yours is {_named(given)}."
    if words := otherwise([given], [(tensors, x)]):
        return f"The names are right, but it runs {words}."
    return (
        None if torch.equal(given, forward(tensors, x)) else "The names are right, but with equal numbers it answers otherwise."
    )


_MISCOUNTS: dict[str, Callable[[list[int]], int]] = {
    "the weights. The biases are parameters too": lambda sizes: sum(a * b for a, b in pairwise(sizes)),
    "a bias for each input. A Linear adds one to each output": lambda sizes: sum(a * b + a for a, b in pairwise(sizes)),
    "one bias for each layer. A Linear has one for each output": lambda sizes: sum(a * b + 1 for a, b in pairwise(sizes)),
    "the units. Each pair of them has a weight": sum,
    "a bias for each input of the model too": lambda sizes: sum(a * b for a, b in pairwise(sizes)) + sum(sizes),
}


@apart()
def _count(answer: Callable) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a list of sizes")
    lists = [[2, 2, 1], *([random.randint(2, 60) for _ in range(length)] for length in (2, 3, 4, 6))]
    built: list[str] = []
    hook = register_module_parameter_registration_hook(lambda module, *_: built.append(type(module).__name__))
    try:
        given = [plain(answer([*sizes])) for sizes in lists]
    finally:
        hook.remove()
    right = [sum(a * b + b for a, b in pairwise(sizes)) for sizes in lists]
    for words, count in _MISCOUNTS.items():
        if given == [*map(count, lists)]:
            return f"For {lists[0]} you count {given[0]}: {words}."
    for sizes, wanted, one in zip(lists, right, given):
        if not is_number(one):
            return f"For {sizes} your function returns {type(one).__name__}; wanted a number."
        if one != wanted:
            return f"For {sizes} there are {wanted:,} parameters; you count {one:,}."
    return f"The count is right, but {built[0]} was built for it. The sizes alone are enough." if built else None


_WHY_NOT = {
    "encoder": "encoder is an nn.Linear set as an attribute: it registers itself.",
    "norm": "norm is a LayerNorm set as an attribute, so it is registered, with its weight and bias.",
    "relu": "relu is a module set as an attribute, so it is registered; it has nothing to train.",
    "head": "head is an nn.Linear set as an attribute, so it is registered, and in the state dict.",
    "block": "block is a variable of forward. Which attribute does it come from?",
}


def _unregistered(answer: Any) -> str | None:
    names = [answer] if isinstance(answer, str) else answer
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        return f"You gave {type(answer).__name__}; give the attribute's name as a string."
    if not names:
        return "No name yet: one attribute does hide layers."
    for name in names:
        bare = name.strip().rpartition(".")[2]
        if bare != "blocks":
            return _WHY_NOT.get(bare, f"There is no attribute {name!r} that hides layers.")
    return None


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
