"""Each exercise with its reference answer, its untouched blank, and the wrong answers that people give.

Beside a wrong answer stand words that only its message has. Answers are made by calls, so that none is shared.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn, optim

from helpers.exercises import lesson_00, lesson_01, lesson_02, lesson_03, lesson_04
from helpers.quiz import Exercise


class Case(NamedTuple):
    """An exercise, its right answer, and (wrong answer, words of its message) pairs."""

    exercise: Exercise
    right: Any
    wrong: list[tuple[Any, str]]


def hidden(state, x):
    return state["0.weight"] @ x + state["0.bias"]


def output(state, values):
    return state["2.weight"] @ values + state["2.bias"]


def in_by_out(state, x):
    return output(state, (x @ state["0.weight"] + state["0.bias"]).relu())


def model_of(*names: str) -> nn.Sequential:
    return nn.Sequential(OrderedDict(zip(names, (nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)))))


LESSON_00 = [
    Case(
        lesson_00.count_keys,
        4,
        [
            (3, "3 counts the modules"),
            (9, "9 counts the numbers"),
            (5, "5 is not the length"),
            ("four", "You gave str"),
            (True, "You gave bool"),
        ],
    )
]

LESSON_01 = [
    Case(
        lesson_01.by_hand,
        lambda state, x: output(state, hidden(state, x).relu()),
        [
            (lambda state, x: output(state, hidden(state, x)), "without the ReLU"),
            (in_by_out, "the model says"),
            (lambda state, x: output(state, hidden(state, x).relu()).item(), "yours is a float"),
            (lambda state, x: hidden(state, x), "yours is of shape (2,)"),
            (lambda state: state, "failed when it was tried: TypeError"),
            (0.5, "You gave float"),
        ],
    ),
    Case(
        lesson_01.named_layers,
        model_of("hidden", "relu", "output"),
        [
            (nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)), "still positions"),
            (model_of("first", "relu", "second"), "yours are first.weight"),
            (nn.Sequential(OrderedDict(hidden=nn.Linear(2, 3), relu=nn.ReLU(), output=nn.Linear(3, 1))), "shapes are not"),
            (OrderedDict(hidden=nn.Linear(2, 2)), "You gave OrderedDict"),
            (nn.ReLU(), "yours are none"),
        ],
    ),
    Case(
        lesson_01.count_parameters,
        lambda sizes: sum(i * o + o for i, o in zip(sizes, sizes[1:])),
        [
            (lambda sizes: sum(i * o for i, o in zip(sizes, sizes[1:])), "The biases are parameters too"),
            (lambda sizes: sum(sizes), "there are 9 parameters; you count 5"),
            (9, "You gave int"),
        ],
    ),
    Case(
        lesson_01.unregistered,
        "blocks",
        [
            ("head", "head is an nn.Linear"),
            ("relu", "relu is a module set as an attribute"),
            ("layers", "no attribute 'layers'"),
            (["blocks"], "no attribute ['blocks']"),
        ],
    ),
]


def twice(state):
    tensors = state.values()
    return sum(t.numel() for t in tensors), sum(t.numel() * t.element_size() for t in tensors)


def unique(state, width=None):
    tensors = {t.data_ptr(): t for t in state.values()}.values()
    return sum(t.numel() for t in tensors), sum(t.numel() * (width or t.element_size()) for t in tensors)


def new_bias(model):
    model[2].bias = nn.Parameter(torch.full((1,), 5.0))


def assigned(model):
    model.state_dict()["2.bias"] = torch.full((1,), 5.0)


def everything(model):
    for tensor in model.state_dict().values():
        tensor.fill_(5)


RIGHT_KEYS = {"weight", "bias", "running", "layers", "tied"}
LESSON_02 = [
    Case(
        lesson_02.snapshot,
        lambda model: copy.deepcopy(model.state_dict()),
        [
            (lambda model: model.state_dict(), "your snapshot moved"),
            (lambda model: model.state_dict().copy(), "your snapshot moved"),
            (lambda model: copy.deepcopy(model), "yours is a Sequential"),
            (lambda model: list(model.parameters()), "yours is a list"),
            (copy.deepcopy(OrderedDict()), "You gave OrderedDict"),
        ],
    ),
    Case(
        lesson_02.which_have_a_key,
        RIGHT_KEYS,
        [
            (RIGHT_KEYS | {"scale"}, "scale is a plain tensor"),
            (RIGHT_KEYS | {"cache"}, "persistent=False keeps it out"),
            (RIGHT_KEYS | {"history"}, "list of floats"),
            (RIGHT_KEYS | {"blocks"}, "blocks is a Python list"),
            (RIGHT_KEYS | {"act"}, "ReLU has no tensor"),
            (RIGHT_KEYS - {"bias"}, "a frozen parameter has a key too"),
            (RIGHT_KEYS - {"weight"}, "weight is an nn.Parameter"),
            (RIGHT_KEYS - {"running"}, "persistent buffer: it has"),
            (RIGHT_KEYS - {"layers"}, "it registers its Linear"),
            (RIGHT_KEYS - {"tied"}, "both names have a key"),
            ({"Weight"}, "not among the ten"),
            ("weight", "You gave str"),
        ],
    ),
    Case(
        lesson_02.count_bytes,
        unique,
        [
            (twice, "counted twice"),
            (lambda state: unique(state, 4), "Use element_size()"),
            (lambda state: len(state), "You give 4"),
            (lambda state: (9, 36), "share 16 float32"),
            ((9, 36), "You gave tuple"),
        ],
    ),
    Case(
        lesson_02.write_through,
        lambda model: model.state_dict()["2.bias"].fill_(5),
        [
            (assigned, "the model never heard of it"),
            (new_bias, "another bias object"),
            (everything, "Another tensor changed too"),
            (5, "You gave int"),
        ],
    ),
]


def average(weight, gradient, buffer):
    buffer = 0.9 * buffer + 0.1 * gradient
    return torch.add(weight, buffer, alpha=-0.01), buffer


def lr_inside(weight, gradient, buffer):
    buffer = 0.9 * buffer + 0.01 * gradient
    return weight - buffer, buffer


def by_gradient(weight, gradient, buffer):
    return weight - 0.01 * gradient, 0.9 * buffer + gradient


def old_buffer(weight, gradient, buffer):
    return torch.add(weight, buffer, alpha=-0.01), 0.9 * buffer + gradient


def one_rounding_more(weight, gradient, buffer):
    buffer = 0.9 * buffer + gradient
    return (weight.double() - 0.01 * buffer.double()).float().nextafter(torch.full_like(weight, 9.0)), buffer


def momentum_step(weight, gradient, buffer):
    buffer = 0.9 * buffer + gradient
    return torch.add(weight, buffer, alpha=-0.01), buffer


def by_position(model, optimizer):
    state = optimizer.state_dict()["state"]
    names = [name for name, _ in model.named_parameters()]
    return {names[position]: entry["momentum_buffer"] for position, entry in state.items()}


def among_trainable(model, optimizer):
    return {name: optimizer.state[p]["momentum_buffer"] for name, p in model.named_parameters() if p in optimizer.state}


def swapped(model, optimizer):
    named = among_trainable(model, optimizer)
    return dict(zip(named, reversed(named.values())))


def times(factor: int) -> Callable:
    return lambda model: factor * sum(p.numel() * 4 for p in model.parameters())


LESSON_03 = [
    Case(
        lesson_03.momentum_step,
        momentum_step,
        [
            (average, "running average"),
            (lr_inside, "no learning rate in it"),
            (by_gradient, "moves by the buffer"),
            (old_buffer, "with the new v"),
            (one_rounding_more, "up to the last bit"),
            (lambda weight, gradient, buffer: weight, "Wanted two tensors"),
            (0.9, "You gave float"),
        ],
    ),
    Case(
        lesson_03.learning_rate,
        lambda state, group: state["param_groups"][group]["lr"],
        [
            (lambda state, group: state["param_groups"][0]["lr"], "group 0 both times"),
            (lambda state, group: 0.01, "you give [0.01, 0.01]"),
            (lambda state, group: state["lr"], "failed when it was tried: KeyError"),
            (0.01, "You gave float"),
        ],
    ),
    Case(
        lesson_03.buffers_by_name,
        among_trainable,
        [
            (by_position, "Wanted the names 0.weight, 2.weight, 2.bias; yours are 0.weight, 0.bias, 2.weight"),
            (swapped, "another parameter's buffer"),
            (lambda model, optimizer: optimizer.state_dict()["state"], "Wanted a dict"),
            (
                lambda model, optimizer: {name: optimizer.state[p]["momentum_buffer"] for name, p in model.named_parameters()},
                "failed when it was tried: KeyError",
            ),
            ({}, "You gave dict"),
        ],
    ),
    Case(
        lesson_03.adam_bytes,
        lambda model: sum(12 * p.numel() + 4 for p in model.parameters()),
        [
            (times(2), "keeps exp_avg and exp_avg_sq"),
            (times(3), "step counter"),
            (times(1), "the tensors take"),
            (122_000, "You gave int"),
        ],
    ),
]


def build():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    return model, optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def save(path, model, optimizer):
    torch.save({"model_state": model.state_dict(), "optimizer_state": optimizer.state_dict()}, path)


def load(path, model, optimizer):
    checkpoint = torch.load(path, weights_only=True)
    model.load_state_dict(checkpoint["model_state"])
    optimizer.load_state_dict(checkpoint["optimizer_state"])


def round_trip(model, optimizer, path):
    save(path, model, optimizer)
    pair = build()
    load(path, *pair)
    return pair


def only_the_model(model, optimizer, path):
    save(path, model, optimizer)
    other, other_optimizer = build()
    other.load_state_dict(torch.load(path, weights_only=True)["model_state"])
    return other, other_optimizer


def only_the_optimizer(model, optimizer, path):
    save(path, model, optimizer)
    other, other_optimizer = build()
    other_optimizer.load_state_dict(torch.load(path, weights_only=True)["optimizer_state"])
    return other, other_optimizer


def another_lr(model, optimizer, path):
    pair = round_trip(model, optimizer, path)
    pair[1].param_groups[0]["lr"] = 0.1
    return pair


def nothing_saved(model, optimizer, path):
    return build()


def the_same_back(model, optimizer, path):
    save(path, model, optimizer)
    return model, optimizer


def saved_only(model, optimizer, path):
    save(path, model, optimizer)


def cloned(checkpoint):
    return {name: v.clone() if isinstance(v, torch.Tensor) else v for name, v in checkpoint.items()}


def without_epoch(checkpoint):
    return {name: v.clone() for name, v in checkpoint.items() if isinstance(v, torch.Tensor)}


def halved(checkpoint):
    return {name: v.half() if isinstance(v, torch.Tensor) else v for name, v in checkpoint.items()}


def resume(path, model_first=True, own=True, state=True, after=1):
    checkpoint = torch.load(path, weights_only=True)
    model, optimizer = build()
    if not own:
        model, _ = build()
    if model_first:
        model.load_state_dict(checkpoint["model_state"])
    if state:
        optimizer.load_state_dict(checkpoint["optimizer_state"])
    return model, optimizer, checkpoint["epoch"] + after


LESSON_04 = [
    Case(
        lesson_04.round_trip,
        round_trip,
        [
            (only_the_model, "no momentum buffers"),
            (only_the_optimizer, "was load_state_dict called on it"),
            (another_lr, "the run that never stopped has"),
            (nothing_saved, "no file at the path"),
            (the_same_back, "the model that you were given"),
            (saved_only, "you return NoneType"),
            (3, "You gave int"),
        ],
    ),
    Case(
        lesson_04.shrink,
        cloned,
        [
            (lambda checkpoint: checkpoint, "it holds the whole storage"),
            (without_epoch, "also the epoch"),
            (halved, "The numbers changed"),
            (lambda checkpoint: {k: v.clone() for k, v in checkpoint.items()}, "failed when it was tried: AttributeError"),
            ({}, "You gave dict"),
        ],
    ),
    Case(
        lesson_04.casting,
        (torch.float32, False),
        [
            ((torch.float64, True), "The model keeps its own"),
            ((torch.float32, True), "another number than 0.1 in float32"),
            ((torch.float16, False), "Not torch.float16"),
            ((torch.float32, "no"), "The second is True or False"),
            (torch.float32, "Wanted two things"),
        ],
    ),
    Case(
        lesson_04.repair,
        resume,
        [
            (lambda path: resume(path, own=False), "parameters of another model"),
            (lambda path: resume(path, state=False), "were not loaded"),
            (lambda path: resume(path, after=0), "the next one is 11, you say 10"),
            (lambda path: resume(path, model_first=False), "the run that never stopped has"),
            (lambda path: resume(path)[:2], "you return tuple"),
            (11, "You gave int"),
        ],
    ),
]

CASES = LESSON_00 + LESSON_01 + LESSON_02 + LESSON_03 + LESSON_04
