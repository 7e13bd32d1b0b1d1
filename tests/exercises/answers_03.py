"""Answers to the exercises of lesson 03."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import nn, optim

from case import Case
from helpers.exercises import lesson_03


def momentum_step(weight, gradient, buffer):
    buffer = 0.9 * buffer + gradient
    return weight - 0.01 * buffer, buffer


def step_with_alpha(weight, gradient, buffer):
    buffer = torch.add(gradient, buffer, alpha=0.9)
    return [torch.add(weight, buffer, alpha=-0.01), buffer]


def step_in_place(weight, gradient, buffer):
    buffer.mul_(0.9).add_(gradient)
    weight.sub_(buffer, alpha=0.01)
    return weight, buffer


def step_by_sgd(weight, gradient, buffer):
    parameter = nn.Parameter(weight.clone())
    optimizer = optim.SGD([parameter], lr=0.01, momentum=0.9)
    optimizer.state[parameter]["momentum_buffer"] = buffer.clone()
    parameter.grad = gradient
    optimizer.step()
    return parameter, optimizer.state[parameter]["momentum_buffer"]


def step_by_loop(weight, gradient, buffer):
    steps = [(w.item(), 0.9 * b.item() + g.item()) for w, g, b in zip(weight.flatten(), gradient.flatten(), buffer.flatten())]
    moved = torch.tensor([w - 0.01 * b for w, b in steps], dtype=weight.dtype).reshape(weight.shape)
    return moved, torch.tensor([b for _, b in steps], dtype=weight.dtype).reshape(weight.shape)


def step_by_numpy(weight, gradient, buffer):
    with np.errstate(all="raise"):
        buffer = np.asarray(0.9 * buffer.numpy() + gradient.numpy())
        return torch.from_numpy(np.asarray(weight.numpy() - 0.01 * buffer)), torch.from_numpy(buffer)


def step(weight_of=lambda w, g, v, new: w - 0.01 * new, buffer_of=lambda w, g, v: 0.9 * v + g):
    def answer(weight, gradient, buffer):
        new = buffer_of(weight, gradient, buffer)
        return weight_of(weight, gradient, buffer, new), new

    return answer


STEP = Case(
    lesson_03.momentum_step,
    [momentum_step, step_with_alpha, step_in_place, step_by_sgd, step_by_loop, step_by_numpy],
    [
        (step(buffer_of=lambda w, g, v: 0.9 * v + 0.1 * g), "running average"),
        (step(lambda w, g, v, new: w - new, lambda w, g, v: 0.9 * v + 0.01 * g), "learning rate in your buffer"),
        (step(buffer_of=lambda w, g, v: v + g), "forgets nothing"),
        (step(buffer_of=lambda w, g, v: 0.9 * (v + g)), "0.9 stands before v only"),
        (step(buffer_of=lambda w, g, v: g), "the gradient alone"),
        (step(lambda w, g, v, new: w - 0.01 * (0.9 * v + g), lambda w, g, v: v), "still the old one"),
        (step(buffer_of=lambda w, g, v: 0.9 * v - g), "v = 0.9·v + g"),
        (step(lambda w, g, v, new: w - 0.01 * g), "by the gradient"),
        (step(lambda w, g, v, new: w - 0.01 * v), "by the old buffer"),
        (step(lambda w, g, v, new: w + 0.01 * new), "uphill"),
        (step(lambda w, g, v, new: w - new), "the learning rate is missing"),
        (step(lambda w, g, v, new: w - 0.01 * (g + 0.9 * new)), "Nesterov"),
        (step(lambda w, g, v, new: w), "Your weight is still the old one"),
        (step(lambda w, g, v, new: w - 0.1 * new), "the weight is not"),
        (lambda weight, gradient, buffer: momentum_step(weight, gradient, buffer)[::-1], "the buffer first"),
        (
            lambda weight, gradient, buffer: [t.sum() for t in momentum_step(weight, gradient, buffer)],
            "after your step it is ()",
        ),
        (lambda weight, gradient, buffer: [t.float() for t in momentum_step(weight, gradient, buffer)], "torch.float32"),
        (lambda weight, gradient, buffer: weight, "Wanted two tensors"),
        (0.9, "You gave float"),
    ],
)


def rate(state, group):
    return state["param_groups"][group]["lr"]


def rate_by_loop(state, group):
    for number, settings in enumerate(state["param_groups"]):
        if number == group:
            return settings.get("lr")


def rate_by_loading(state, group):
    groups = [{"params": [nn.Parameter(torch.zeros(1)) for _ in old["params"]]} for old in state["param_groups"]]
    optimizer = optim.SGD(groups, lr=1.0)
    optimizer.load_state_dict(state)
    return optimizer.param_groups[group]["lr"]


def rate_by_popping(state, group):
    return copy.deepcopy(state["param_groups"]).pop(group)["lr"]


RATE = Case(
    lesson_03.learning_rate,
    [
        rate,
        rate_by_loop,
        rate_by_loading,
        rate_by_popping,
        lambda state, group: [settings["lr"] for settings in state["param_groups"]][group],
        lambda state, group: np.float64(rate(state, group)),
        lambda state, group: torch.tensor(rate(state, group)),
        lambda optimizer_state, index: dict(enumerate(optimizer_state["param_groups"]))[index]["lr"],
    ],
    [
        (lambda state, group: rate(state, 0), "that is the lr of group 0"),
        (lambda state, group: rate(state, -group), "that is the lr of group 2"),
        (lambda state, group: rate(state, -1 if group else 0), "group 1 has lr"),
        (lambda state, group: sorted(rate(state, k) for k in range(len(state["param_groups"])))[group], "the lr of group 1"),
        (lambda state, group: rate(state, group - 1), "Of 2 groups, group 0"),
        (lambda state, group: 0.5 if group == 0 else 0.01, "no group has it"),
        (lambda state, group: state["param_groups"][group]["initial_lr"], "that is its initial_lr"),
        (lambda state, group: state["param_groups"][group]["momentum"], "that is its momentum"),
        (lambda state, group: state["param_groups"][group], "returns dict"),
        (lambda state, group: print(end=""), "returns NoneType"),
        (lambda state, group: rate(state, group) * 1.001, "no group has it"),
        (lambda state, group: state["lr"], "failed when it was tried: KeyError"),
        (0.01, "You gave float"),
    ],
)


def buffers(model, optimizer):
    return {name: optimizer.state[p]["momentum_buffer"] for name, p in model.named_parameters() if p in optimizer.state}


def buffers_by_loop(model, optimizer):
    names, found = {id(p): name for name, p in model.named_parameters()}, {}
    for parameter, entry in optimizer.state.items():
        found[names[id(parameter)]] = entry["momentum_buffer"].clone()
    return found


def buffers_by_groups(model, optimizer):
    given = [p for group in optimizer.param_groups for p in group["params"]]
    state = optimizer.state_dict()["state"]
    return {
        name: state[k]["momentum_buffer"]
        for name, parameter in model.named_parameters()
        for k, own in enumerate(given)
        if own is parameter and k in state
    }


def buffers_by_get(model, optimizer):
    found = ((name, optimizer.state.get(p, {}).get("momentum_buffer")) for name, p in model.named_parameters())
    return {name: buffer for name, buffer in found if buffer is not None}


def buffers_by_trying(model, optimizer):
    found = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        try:
            found[name] = optimizer.state[parameter]["momentum_buffer"]
        except KeyError:
            continue
    return found


def by_position(model, optimizer):
    state = optimizer.state_dict()["state"]
    names = [name for name, _ in model.named_parameters()]
    return {names[position]: entry["momentum_buffer"] for position, entry in state.items()}


def among_the_trained(model, optimizer):
    state = optimizer.state_dict()["state"]
    names = [name for name, p in model.named_parameters() if p in optimizer.state]
    return dict(zip(names, (entry["momentum_buffer"] for entry in state.values())))


def by_shape(model, optimizer):
    entries = optimizer.state.values()
    shapes = {entry["momentum_buffer"].shape: entry["momentum_buffer"] for entry in entries}
    return {name: shapes[p.shape] for name, p in model.named_parameters() if p in optimizer.state}


def first_group(model, optimizer):
    first = {id(p) for p in optimizer.param_groups[0]["params"]}
    return {name: optimizer.state[p]["momentum_buffer"] for name, p in model.named_parameters() if id(p) in first}


NAMES = Case(
    lesson_03.buffers_by_name,
    [buffers, buffers_by_loop, buffers_by_groups, buffers_by_get, buffers_by_trying],
    [
        (by_position, "got the buffer of"),
        (among_the_trained, "got the buffer of"),
        (by_shape, "got the buffer of 3.weight"),
        (first_group, "1.bias is missing"),
        (
            lambda model, optimizer: {
                n: b for n, b in buffers(model, optimizer).items() if model.get_parameter(n).requires_grad
            },
            "frozen after the training: 1.weight is missing",
        ),
        (lambda model, optimizer: {n: p.grad for n, p in model.named_parameters()}, "no momentum buffer"),
        (lambda model, optimizer: {n: p.detach() for n, p in model.named_parameters()}, "a tensor that is no momentum buffer"),
        (lambda model, optimizer: {n: optimizer.state.get(p) for n, p in model.named_parameters()}, "leads to a dict"),
        (lambda model, optimizer: {n: None for n, p in model.named_parameters()}, "leads to a NoneType"),
        (lambda model, optimizer: buffers(model, optimizer) | {"norm": torch.zeros(3)}, "norm has no momentum buffer"),
        (lambda model, optimizer: optimizer.state_dict()["state"], "Wanted a dict"),
        (lambda model, optimizer: [*buffers(model, optimizer).values()], "Wanted a dict"),
        (
            lambda model, optimizer: {n: optimizer.state[p]["momentum_buffer"] for n, p in model.named_parameters()},
            "failed when it was tried: KeyError",
        ),
        ({}, "You gave dict"),
    ],
)


def adam_bytes(model):
    held = [*model.parameters(), *model.buffers()]
    trained = [p for p in model.parameters() if p.requires_grad]
    return sum(t.nbytes for t in held) + sum(2 * t.nbytes + 4 for t in trained)


def adam_by_loop(model):
    total = 0
    for parameter in model.parameters():
        total += parameter.numel() * 4
        if parameter.requires_grad:
            total += 4 + 2 * math.prod(parameter.shape) * parameter.element_size()
    for buffer in model.buffers():
        total += buffer.numel() * buffer.element_size()
    return total


def adam_by_training(model):
    optimizer = optim.Adam(model.parameters())
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    own = [t for entry in optimizer.state_dict()["state"].values() for t in entry.values()]
    return sum(t.nbytes for t in [*model.parameters(), *model.buffers(), *own])


def adam_by_state_dict(model):
    unique = {t.data_ptr(): t for t in model.state_dict().values()}.values()
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.tensor(sum(t.nbytes for t in unique) + sum(8 * p.numel() + 4 for p in trained))


def adam(held=lambda m: [*m.parameters(), *m.buffers()], trained=lambda p: p.requires_grad, each=2, counter=4):
    def answer(model):
        own = [p for p in model.parameters() if trained(p)]
        return sum(t.nbytes for t in held(model)) + sum(each * p.nbytes + counter for p in own)

    return answer


ADAM = Case(
    lesson_03.adam_bytes,
    [
        adam_bytes,
        adam_by_loop,
        adam_by_training,
        adam_by_state_dict,
        lambda model: float(adam_bytes(model)),
        lambda model: np.int64(adam_bytes(model)),
    ],
    [
        (adam(each=1, counter=0), "keeps exp_avg and exp_avg_sq"),
        (adam(counter=0), "step counter"),
        (adam(each=0, counter=0), "the model alone"),
        (adam(each=3), "gradients are not counted"),
        (adam(held=lambda model: []), "Adam's state alone"),
        (lambda model: adam_bytes(model) // 4, "counts numbers"),
        (lambda model: adam(counter=0)(model) + 8, "step counter of its own"),
        (lambda model: adam(counter=0)(model) + 4, "A float32 takes 4 bytes"),
        (adam(trained=lambda p: True), "Adam keeps nothing for it"),
        (adam(held=lambda model: [p for p in model.parameters() if p.requires_grad]), "The frozen one counts"),
        (adam(held=lambda model: model.parameters()), "Buffers count"),
        (
            lambda model: (
                adam(held=lambda model: model.parameters())(model) + sum(4 * buffer.numel() for buffer in model.buffers())
            ),
            "one of these is an int64",
        ),
        (adam(held=lambda model: model.state_dict().values()), "A tied weight is one parameter"),
        (lambda model: None if model else 0, "returns NoneType"),
        (122_000, "You gave int"),
    ],
)

CASES = [STEP, RATE, NAMES, ADAM]
