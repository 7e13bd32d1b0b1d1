"""Lesson 03: inside the optimizer."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn, optim

from helpers import lesson
from helpers.exercises.models import kinds, trained
from helpers.exercises.one_step import step_fault
from helpers.exercises.trial import apart, is_number, plain, same, unlike
from helpers.quiz import Choice, Exercise, Prediction

before_step = Prediction(
    "optim.SGD(model.parameters(), lr=0.01, momentum=0.9) has just been built. What is in optimizer.state_dict()['state']?",
    (
        Choice("nothing at all, until a step", "No gradient has come, so there is nothing to remember.", True),
        Choice("a buffer of zeros for each parameter", "Buffers are made when they are first needed, in the first step."),
        Choice("the four weights", "Weights are the model's. The optimizer holds references to them, and saves none."),
    ),
)
first_buffer = Prediction(
    "After the first step, what is in the momentum buffer of a parameter?",
    (
        Choice("0.1 times its gradient", "That would be a running average, (1 − momentum)·grad. SGD keeps a running sum."),
        Choice("its gradient", "The running sum has one term so far.", True),
        Choice("its change, lr times its gradient", "The learning rate comes in later, when the weight is moved."),
    ),
)
kept_state = Prediction(
    "You keep kept = optimizer.state_dict() and train one more step. What do the buffers in kept hold?",
    (
        Choice("the sums from before the step", "They would, in a copy: copy.deepcopy(optimizer.state_dict())."),
        Choice("zeros, until it is loaded", "Nothing empties them. They are the optimizer's own tensors."),
        Choice("the sums from after the step", "As with the model's: the tensors in the dict are the live ones.", True),
    ),
)
sixty = Prediction(
    "At some step the gradient of one weight changes its sign. When does the momentum buffer of this weight change its sign?",
    (
        Choice("at the same step", "The gradient is one term of the sum. The older terms still have the other sign."),
        Choice("some steps after that", "The older terms fade first; until then the weight moves as before.", True),
        Choice("never: 0.9 keeps it alive", "Older terms fade, each step by a tenth. Newer ones win in the end."),
    ),
)
swapped = Prediction(
    "Two weights of equal shape. You save the optimizer, and rebuild it with the two in the other order. What does loading do?",
    (
        Choice("the buffers are swapped, silently", "Position 0 gets what position 0 had.", True),
        Choice("each buffer finds its weight by name", "State keys are numbers. Even param_names are not used to match."),
        Choice("an error about the order", "The state dict holds positions 0 and 1. They fit, so nothing is said."),
    ),
)
valley = Prediction(
    "Same valley, same learning rate of 0.10, forty steps. Momentum goes from 0.9 to 0. How often is the floor crossed?",
    (
        Choice("as often: the learning rate decides", "Momentum carries the point past the floor. Take it away, and look."),
        Choice(
            "less often, or not at all",
            "At this rate a step without momentum ends before the floor. At 0.30 it would jump over it.",
            True,
        ),
        Choice("more often", "Momentum smooths across noisy gradients, but on a slope it overshoots."),
    ),
)
adam = Prediction(
    "A model of 40 kB is trained with Adam. How much do model and optimizer weigh together in a checkpoint?",
    (
        Choice("about 40 kB", "That is the model alone."),
        Choice("about 80 kB", "That is SGD with momentum: one buffer a parameter."),
        Choice("about 120 kB", "Adam keeps two buffers a parameter.", True),
        Choice("about 160 kB", "That would be with the gradients too. No state dict holds them."),
    ),
)


@apart()
def _step(answer: Callable) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of weight, gradient and buffer")
    cases = [tuple(torch.randn(3, *shape) for _ in "wgv") for shape in ((), (4,), (4,), (2, 3))]
    cases += [tuple(t.double() for t in case) for case in cases[:2]]
    given: tuple[list[Tensor], list[Tensor]] = [], []
    for case in cases:
        pair = answer(*(t.clone() for t in case))
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(t, Tensor) for t in pair):
            return "Wanted two tensors, (weight, buffer), after the step."
        for name, one, kept in zip(("weight", "buffer"), pair, given):
            if (one.shape, one.dtype) != (case[0].shape, case[0].dtype):
                own, was = f"{tuple(one.shape)}, {one.dtype}", f"{tuple(case[0].shape)}, {case[0].dtype}"
                return f"The {name} was {was}; after your step it is {own}."
            kept.append(one.detach())
    return step_fault(cases, *given)


@apart()
def _lr(answer: Callable) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of an optimizer's state dict and a group number")
    for count in (2, 3, 6):
        rates = [random.uniform(0.01, 0.5) for _ in range(count)]
        groups = [{"params": [*nn.Linear(2, 2).parameters()], "lr": rate} for rate in rates]
        optimizer = optim.SGD(groups, lr=0.9, momentum=0.8)
        for group, start in zip(optimizer.param_groups, random.sample(range(1, 9), count)):
            group["initial_lr"] = start
        given = [plain(answer(optimizer.state_dict(), k)) for k in range(count)]
        for k, (rate, one) in enumerate(zip(rates, given)):
            if not is_number(one):
                return f"For group {k} your function returns {type(one).__name__}; wanted its lr, a number."
            if not math.isclose(one, rate, rel_tol=1e-6):
                return _other_rate(k, one, rate, rates, optimizer.param_groups[k])
    return None


def _other_rate(k: int, given: float, rate: float, rates: list[float], group: Mapping[str, Any]) -> str:
    of = [j for j, other in enumerate(rates) if math.isclose(given, other, rel_tol=1e-6)]
    names = [name for name in ("initial_lr", "momentum") if given == group[name]]
    what = f"that is the lr of group {of[0]}" if of else f"that is its {names[0]}" if names else "no group has it"
    return f"Of {len(rates)} groups, group {k} has lr {rate:.4f}; you give {given:.4g}: {what}."


@apart()
def _names(answer: Callable) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a model and its optimizer")
    for words, model, optimizer in trained():
        for _ in range(2):
            lesson.train_step(model, optimizer, torch.randn(8, 3), torch.randn(8, 3))
        if "after the training" in words:
            model.get_submodule("1").requires_grad_(False)
        named = dict(model.named_parameters(remove_duplicate=False))
        right = {name: optimizer.state[p]["momentum_buffer"].clone() for name, p in named.items() if p in optimizer.state}
        given = answer(model, optimizer)
        if not isinstance(given, Mapping) or any(not isinstance(key, str) for key in given):
            return "Wanted a dict from parameter name to buffer."
        if wrong := _other_buffers(given, right, {name for name, _ in model.named_parameters()}):
            return f"With {words}: {wrong}"
    return None


def _other_buffers(given: Mapping[str, Any], right: Mapping[str, Tensor], firsts: set[str]) -> str | None:
    if extra := [name for name in given if name not in right]:
        return f"{extra[0]} has no momentum buffer, or is no parameter; leave it out."
    if missing := [name for name in right if name in firsts and name not in given]:
        return f"{missing[0]} is missing; it has a momentum buffer."
    for name, buffer in given.items():
        if not isinstance(buffer, Tensor):
            return f"{name} leads to a {type(buffer).__name__}; wanted its momentum buffer, a tensor."
        if same(buffer, right[name]):
            continue
        owner = [other for other in right if same(buffer, right[other])]
        return f"{name} got the buffer of {owner[0]}." if owner else f"{name} got a tensor that is no momentum buffer."
    return None


@apart()
def _adam(answer: Callable) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a model")
    for words, model, why in kinds():
        given = plain(answer(copy.deepcopy(model)))
        if not is_number(given):
            return f"For {words} your function returns {type(given).__name__}; wanted a number of bytes."
        optimizer = optim.Adam(model.parameters())
        weights = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
        model(torch.randn(4, next(model.parameters()).shape[1])).sum().backward()
        optimizer.step()
        added = sum(t.nbytes for entry in optimizer.state.values() for t in entry.values())
        known = {
            weights: "That is the model alone.",
            added: "That is Adam's state alone.",
            2 * weights: "That is one buffer for each parameter. Adam keeps exp_avg and exp_avg_sq.",
            3 * weights: "Adam also keeps a step counter of 4 bytes for each parameter.",
            2 * weights + added: "That is one tensor too many for each parameter: gradients are not counted.",
            (weights + added) // 4: "That counts numbers, of four bytes each.",
        }
        if given != weights + added:
            return f"For {words} the tensors take {weights + added:,} bytes; you give {given:,}. {known.get(given, why)}"
    return None


momentum_step = Exercise(
    "One momentum step by hand",
    "v = 0.9·v + g, then w = w − 0.01·v, with the new v.",
    (
        "First the buffer, then the weight.",
        "The learning rate is used only when the weight moves.",
        "return weight - 0.01 * buffer, buffer: both with the new buffer.",
    ),
    _step,
)
learning_rate = Exercise(
    "Read a learning rate",
    "param_groups is a list; each group carries its own settings.",
    ("print(state['param_groups']) shows a list of dicts.", "state['param_groups'][group] is one of them."),
    _lr,
)
buffers_by_name = Exercise(
    "Buffers by name",
    "Parameters lead from name to buffer; positions only count what the optimizer was given.",
    (
        "optimizer.state is keyed by the parameter itself.",
        "model.named_parameters() gives name and parameter.",
        "Leave out a parameter that has no state.",
    ),
    _names,
)
adam_bytes = Exercise(
    "What Adam adds",
    "Two buffers as large as the parameter, and a step counter, for each parameter that is trained.",
    (
        "t.nbytes is what a tensor takes; model.parameters() and model.buffers() are the model's.",
        "Adam keeps exp_avg and exp_avg_sq, each as large as its parameter.",
        "step is one float32 more for each parameter that gets a gradient.",
    ),
    _adam,
)
