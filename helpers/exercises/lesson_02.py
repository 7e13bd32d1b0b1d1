"""Lesson 02: read the state dict."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn, optim

from helpers import lesson
from helpers.quiz import Choice, Exercise, Prediction

detached = Prediction(
    'model[0].weight is a Parameter and asks for a gradient. What is model.state_dict()["0.weight"]?',
    (
        Choice(
            "the same object, a Parameter",
            "The Parameter stays in the model. Only state_dict(keep_vars=True) would hand it out.",
        ),
        Choice("a tensor without a gradient", "state_dict() detaches: a plain tensor that autograd does not track.", True),
        Choice("a NumPy array of numbers", "State dicts hold tensors, of any dtype and on any device."),
    ),
)
window = Prediction(
    'You keep best = model.state_dict() and train one more step. What does best["0.weight"] hold now?',
    (
        Choice("the weights from before the step", "That is what people hope for. Run the cell: best moved with the model."),
        Choice("an error: it is stale", "No error, and that is the trap: it is always up to date."),
        Choice("the weights from after it", "Its tensors are the model's tensors, so they moved too.", True),
    ),
)
copies = Prediction(
    "Which of these keeps the weights as they are now?",
    (
        Choice("copy.deepcopy(model.state_dict())", "It copies the tensors too, and keeps the metadata.", True),
        Choice("model.state_dict().copy()", "That copies the dict, not the tensors in it."),
        Choice("dict(model.state_dict())", "A new dict, the same tensors."),
    ),
)
batch_norm = Prediction(
    "nn.BatchNorm1d(2) has a weight and a bias. How many keys does its state dict have?",
    (
        Choice("2", "Its running statistics are saved too: they are buffers."),
        Choice("4", "Running mean and variance are two more, but there is also a counter."),
        Choice("5", "Weight, bias, running mean, running variance, and a counter of batches.", True),
    ),
)
nested = Prediction(
    "A model has an attribute encoder, a Sequential whose first module is a Linear. What is the key of its weight?",
    (
        Choice("encoder.Linear.weight", "Classes are not in the path, only attribute names and positions."),
        Choice("encoder.0.weight", "Attribute, position, tensor: the path from the top.", True),
        Choice("0.weight", "Keys start at the model on which you call state_dict()."),
    ),
)
assign = Prediction(
    "sd = model.state_dict(). Which line changes the model?",
    (
        Choice('sd["2.bias"].fill_(1)', "That writes into the tensor, and the tensor is the model's.", True),
        Choice('sd["2.bias"] = torch.ones(1)', "That puts another tensor into the dict. The model never hears of it."),
        Choice("both", "Only one of them writes into a tensor; the other changes the dict."),
    ),
)

TEN = ("weight", "bias", "scale", "running", "cache", "history", "blocks", "layers", "act", "tied")


class TenThings(nn.Module):
    """Ten attributes; some of them have a key in the state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.bias = nn.Parameter(torch.zeros(2), requires_grad=False)
        self.scale = torch.ones(1)
        self.register_buffer("running", torch.zeros(2))
        self.register_buffer("cache", torch.zeros(2), persistent=False)
        self.history = [0.5, 0.25]
        self.blocks = [nn.Linear(2, 2)]
        self.layers = nn.ModuleList([nn.Linear(2, 2)])
        self.act = nn.ReLU()
        self.tied = self.weight


def _snapshot(answer: Callable) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a model."
    model = lesson.build_model()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    before = copy.deepcopy(model.state_dict())
    kept = answer(model)
    if not isinstance(kept, Mapping) or list(kept) != list(before):
        return f"Wanted a state dict with the model's four keys; yours is a {type(kept).__name__}."
    lesson.train_step(model, optimizer, *lesson.toy_data())
    moved = [key for key in before if not torch.equal(kept[key], before[key])]
    if moved:
        return f"After one step your snapshot moved: {', '.join(moved)} changed with the model."
    return None


def _keys(answer: Any) -> str | None:
    if not isinstance(answer, (set, list, tuple)):
        return f"You gave {type(answer).__name__}; wanted a set of attribute names."
    right = {key.partition(".")[0] for key in TenThings().state_dict()}
    given = set(answer)
    strange = given - set(TEN)
    if strange:
        return f"{', '.join(sorted(map(str, strange)))}: not among the ten attributes."
    if given - right:
        return f"{_WHY_OUT[sorted(given - right)[0]]}"
    return _WHY_IN[sorted(right - given)[0]] if right - given else None


_WHY_OUT = {
    "scale": "scale is a plain tensor: nothing registers it.",
    "cache": "cache is a buffer, but persistent=False keeps it out.",
    "history": "history is a list of floats: only tensors that are registered have a key.",
    "blocks": "blocks is a Python list, so its Linear is not registered.",
    "act": "act is registered, but ReLU has no tensor, so there is no key.",
}
_WHY_IN = {
    "weight": "weight is an nn.Parameter: it has a key.",
    "bias": "bias is an nn.Parameter: a frozen parameter has a key too.",
    "running": "running is a persistent buffer: it has a key.",
    "layers": "layers is an nn.ModuleList: it registers its Linear.",
    "tied": "tied is a second name of weight: both names have a key.",
}


def _bytes(answer: Callable) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a state dict."
    plain = lesson.build_model().state_dict()
    if (given := answer(plain)) != (9, 36):
        return f"For the running model wanted (9, 36): numbers and bytes. You give {given}."
    tied = nn.Module()
    tied.one = nn.Linear(4, 4, bias=False)
    tied.two = nn.Linear(4, 4, bias=False)
    tied.two.weight = tied.one.weight
    given = answer(tied.state_dict())
    if given == (32, 128):
        return "Two keys with one storage were counted twice. data_ptr() tells which tensors share."
    half = {"w": torch.zeros(10, dtype=torch.float16)}
    if given == (16, 64) and (short := answer(half)) != (10, 20):
        return f"Ten float16 numbers take 20 bytes; you say {short}. Use element_size()."
    return None if given == (16, 64) else f"For two keys that share 16 float32 wanted (16, 64); you give {given}."


def _write(answer: Callable) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a model."
    model = lesson.build_model()
    weight, bias = model.get_parameter("0.weight"), model.get_parameter("2.bias")
    before = weight.detach().clone()
    answer(model)
    if model[2].bias is not bias:
        return "The model has another bias object now: an optimizer would still hold the old one. Write into it instead."
    if bias.item() != 5:
        return f"After your function 2.bias is {bias.item():.2f}, not 5: the model never heard of it."
    return (
        None
        if torch.equal(model.get_parameter("0.weight"), before)
        else "Another tensor changed too: 0.weight is not what it was."
    )


snapshot = Exercise(
    "A snapshot that survives training",
    "A snapshot copies the tensors, not only the dict.",
    (
        "dict.copy() and dict() keep the same tensors.",
        "Each tensor has clone(); or copy the whole dict deeply.",
        "return copy.deepcopy(model.state_dict())",
    ),
    _snapshot,
)
which_have_a_key = Exercise(
    "Which of the ten have a key?",
    "Parameters, persistent buffers and registered modules with tensors; nothing else.",
    (
        "A frozen parameter is still a parameter.",
        "A Python list registers nothing, an nn.ModuleList does.",
        "A buffer has a key unless it is persistent=False.",
    ),
    _keys,
)
count_bytes = Exercise(
    "Numbers and bytes",
    "Shared storage counts once, and the dtype sets the bytes.",
    (
        "numel() and element_size() are per tensor.",
        "data_ptr() is equal for tensors that start in the same memory.",
        "unique = {t.data_ptr(): t for t in state_dict.values()}.values()",
    ),
    _bytes,
)
write_through = Exercise(
    "Write through the window",
    "Writing into a tensor of the state dict writes into the model.",
    ("Assigning to a key only changes the dict.", "fill_() and copy_() write into the tensor."),
    _write,
)
