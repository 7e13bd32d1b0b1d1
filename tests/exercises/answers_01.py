"""Answers to the exercises of lesson 01."""

from __future__ import annotations

import copy
from collections import OrderedDict
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import linear, relu, relu6

from case import Case
from helpers.exercises import lesson_01


def hidden(state, x):
    return state["0.weight"] @ x + state["0.bias"]


def output(state, values):
    return state["2.weight"] @ values + state["2.bias"]


def by_hand(state, x):
    return output(state, hidden(state, x).relu())


def by_linear(state, x):
    return linear(relu(linear(x, state["0.weight"], state["0.bias"])), state["2.weight"], state["2.bias"])


def by_transposes(state, x):
    weight, bias, weight_2, bias_2 = state.values()
    return (x @ weight.T + bias).clamp(min=0) @ weight_2.T + bias_2


def by_loops(state, x):
    units = []
    for row, bias in zip(state["0.weight"], state["0.bias"]):
        units.append(max(0.0, sum(float(w) * float(v) for w, v in zip(row, x)) + float(bias)))
    return torch.tensor([sum(float(w) * u for w, u in zip(row, units)) + float(b) for row, b in zip(*list(state.values())[2:])])


def by_another_model(state, x):
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    model.load_state_dict(state)
    return model(x)


def by_functional_call(state, x):
    return functional_call(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)), dict(state), x)


def by_sums(state, x):
    x = x[...]
    first = (state["0.weight"] * x).sum(1).add(state["0.bias"])
    return torch.einsum("oi,i->o", state["2.weight"], torch.maximum(first, torch.zeros(()))) + state["2.bias"]


def in_by_out(state, x):
    return output(state, (x @ state["0.weight"] + state["0.bias"]).relu())


def in_place(state, x):
    return output(state, state["0.bias"].add_(state["0.weight"] @ x).relu_())


BY_HAND = Case(
    lesson_01.by_hand,
    [by_hand, by_linear, by_transposes, by_loops, by_another_model, by_functional_call, by_sums],
    [
        (lambda state, x: output(state, hidden(state, x)), "without the ReLU"),
        (lambda state, x: by_hand(state, x).relu(), "with a second ReLU"),
        (lambda state, x: output(state, hidden(state, x)).relu(), "with the ReLU after the last layer"),
        (lambda state, x: output(state, hidden(state, x.relu())), "with the ReLU before the first layer"),
        (lambda state, x: output(state, relu6(hidden(state, x))), "stops at 6"),
        (lambda state, x: output(state, hidden(state, x).tanh()), "Tanh"),
        (lambda state, x: output(state, hidden(state, x).abs()), "the output is"),
        (in_by_out, "the output is"),
        (lambda state, x: state["2.weight"] @ hidden(state, x).relu(), "the output is"),
        (lambda state, x: torch.zeros(1), "you say +0.0000"),
        (lambda state, x: by_hand(state, x).double(), "yours is torch.float64"),
        (lambda state, x: by_hand(state, x).item(), "yours is of type float"),
        (lambda state, x: by_hand(state, x).squeeze(), "yours is of shape ()"),
        (lambda state, x: hidden(state, x), "yours is of shape (2,)"),
        (in_place, "changed the state dict"),
        (lambda state, x: state, "yours is of type OrderedDict"),
        (lambda x: x, "failed when it was tried: TypeError"),
        (0.5, "You gave float"),
    ],
)


def named(*layers):
    return copy.deepcopy(nn.Sequential(OrderedDict(layers)))


FIRST, LAST = ("hidden", nn.Linear(2, 2)), ("output", nn.Linear(2, 1))


class Own(nn.Module):
    def __init__(self, between=nn.functional.relu):
        super().__init__()
        self.output = nn.Linear(2, 1)
        self.hidden = nn.Linear(2, 2)
        self.between = between

    def forward(self, x):
        self.last = self.hidden(x)
        return self.output(self.between(self.last))


class ByHand(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = {}
        for name, rows in (("hidden", 2), ("output", 1)):
            layer = nn.Module()
            layer.weight, layer.bias = nn.Parameter(torch.randn(rows, 2)), nn.Parameter(torch.zeros(rows))
            self.add_module(name, layer)

    def forward(self, x):
        x = (x @ self.hidden.weight.T + self.hidden.bias).clamp_min(0)
        return x @ self.output.weight.T + self.output.bias


class Runs(nn.ModuleDict):
    def forward(self, x):
        return self["output"](torch.relu(self["hidden"](x)))


def added():
    model = nn.Sequential()
    model.add_module("hidden", nn.Linear(2, 2))
    model.add_module("relu", nn.ReLU())
    model.add_module("output", nn.Linear(2, 1))
    return model


def run_before():
    model = Own()
    model(torch.ones(2))
    return model


class Squeezed(Own):
    def forward(self, x):
        return super().forward(x).squeeze(-1)


NAMED = Case(
    lesson_01.named_layers,
    [
        named(FIRST, ("relu", nn.ReLU()), LAST),
        added(),
        run_before(),
        Own(nn.ReLU()),
        ByHand(),
        Runs({"hidden": nn.Linear(2, 2), "output": nn.Linear(2, 1)}),
        named(FIRST, ("act", nn.ReLU(inplace=True)), LAST).eval(),
    ],
    [
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)), "still positions"),
        (named(("first", nn.Linear(2, 2)), ("relu", nn.ReLU()), ("second", nn.Linear(2, 1))), "yours are first.weight"),
        (named(FIRST, ("relu", nn.ReLU()), ("norm", nn.BatchNorm1d(2)), LAST), "norm.weight"),
        (named(("hidden", nn.Linear(2, 3)), ("relu", nn.ReLU()), ("output", nn.Linear(3, 1))), "and (3, 2)"),
        (named(FIRST, LAST).double(), "is torch.float64"),
        (named(FIRST, LAST), "without the ReLU"),
        (named(FIRST, LAST, ("relu", nn.ReLU())), "with the ReLU after the last layer"),
        (named(("relu", nn.ReLU()), FIRST, LAST), "with the ReLU before the first layer"),
        (named(FIRST, ("act", nn.ReLU()), LAST, ("last", nn.ReLU())), "with a second ReLU"),
        (named(FIRST, ("act", nn.ReLU6()), LAST), "stops at 6"),
        (named(FIRST, ("act", nn.Tanh()), LAST), "Tanh"),
        (named(FIRST, ("act", nn.GELU()), LAST), "answers otherwise"),
        (named(FIRST, ("act", nn.ReLU()), ("drop", nn.Dropout()), LAST), "answers otherwise"),
        (nn.ModuleDict({"hidden": nn.Linear(2, 2), "relu": nn.ReLU(), "output": nn.Linear(2, 1)}), "ModuleDict has no forward"),
        (Squeezed(), "is of shape (24,)"),
        (Own, "You gave the class Own"),
        (OrderedDict(hidden=nn.Linear(2, 2)), "You gave OrderedDict"),
        (OrderedDict, "You gave type"),
        (nn.ReLU(), "yours are none"),
    ],
)


def count(sizes):
    return sum(i * o + o for i, o in zip(sizes, sizes[1:]))


def count_by_index(sizes):
    total = 0
    for k in range(1, len(sizes)):
        total += (sizes[k - 1] + 1) * sizes[k]
    return total


def count_from_the_front(sizes):
    return 0 if len(sizes) < 2 else (sizes[0] + 1) * sizes[1] + count_from_the_front(sizes[1:])


def count_by_emptying(sizes):
    total, inputs = 0, sizes.pop(0)
    while sizes:
        outputs = sizes.pop(0)
        total, inputs = total + outputs + inputs * outputs, outputs
    return total


def build_and_count(sizes):
    return sum(p.numel() for i, o in pairwise(sizes) for p in nn.Linear(i, o).parameters())


def build_on_meta(sizes):
    with torch.device("meta"):
        return sum(p.numel() for p in nn.Sequential(*(nn.Linear(i, o) for i, o in pairwise(sizes))).parameters())


COUNT = Case(
    lesson_01.count_parameters,
    [
        count,
        count_by_index,
        count_from_the_front,
        count_by_emptying,
        lambda sizes: np.dot(np.array(sizes[:-1]) + 1, sizes[1:]),
        lambda sizes: (torch.tensor(sizes[:-1]) * torch.tensor(sizes[1:])).sum() + torch.tensor(sizes[1:]).sum(),
        lambda sizes: float(count(sizes)),
    ],
    [
        (lambda sizes: sum(i * o for i, o in pairwise(sizes)), "The biases are parameters too"),
        (lambda sizes: sum(i * o + i for i, o in pairwise(sizes)), "a bias for each input."),
        (lambda sizes: sum(i * o + 1 for i, o in pairwise(sizes)), "one bias for each layer"),
        (lambda sizes: sum(i * o for i, o in pairwise(sizes)) + sum(sizes), "input of the model too"),
        (sum, "you count 5: the units"),
        (lambda sizes: 9, "you count 9."),
        (lambda sizes: sizes[0] * sizes[1] + sizes[1] + (sizes[1] * sizes[-1] + sizes[-1]) * (len(sizes) > 2), "there are"),
        (lambda sizes: 2 * (len(sizes) - 1), "you count 4."),
        (lambda sizes: print(end=""), "returns NoneType"),
        (lambda sizes: str(count(sizes)), "returns str"),
        (build_and_count, "Linear was built for it"),
        (build_on_meta, "Linear was built for it"),
        (9, "You gave int"),
    ],
)

LOST = Case(
    lesson_01.unregistered,
    ["blocks", "self.blocks", ["blocks"], ("blocks",), {"blocks"}, " blocks ", {"blocks": 2}.keys(), "Broken.blocks"],
    [
        ("head", "head is an nn.Linear"),
        ("encoder", "encoder is an nn.Linear"),
        ("self.relu", "relu is a module set as an attribute"),
        ("norm", "norm is a LayerNorm"),
        ("block", "a variable of forward"),
        ("layers", "no attribute 'layers'"),
        ("blocks.0", "no attribute 'blocks.0'"),
        (["blocks", "head"], "head is an nn.Linear"),
        (set(), "No name yet"),
        ([nn.Linear(4, 4)], "You gave list; give the attribute's name"),
        (nn.ModuleList, "You gave type"),
        (3, "You gave int"),
    ],
)

CASES = [BY_HAND, NAMED, COUNT, LOST]
