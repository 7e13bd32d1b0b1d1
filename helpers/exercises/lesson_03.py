"""Lesson 03: inside the optimizer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn, optim

from helpers import lesson
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


def _trained(steps: int = 5) -> tuple[nn.Sequential, optim.SGD]:
    model = lesson.build_model()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(steps):
        lesson.train_step(model, optimizer, *lesson.toy_data())
    return model, optimizer


def _step(answer: Callable) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of weight, gradient and buffer."
    model, optimizer = _trained()
    old = [(p.detach().clone(), optimizer.state[p]["momentum_buffer"].clone()) for p in model.parameters()]
    lesson.train_step(model, optimizer, *lesson.toy_data())
    for (weight, buffer), parameter in zip(old, model.parameters()):
        gradient = torch.as_tensor(parameter.grad)
        given = answer(weight.clone(), gradient.clone(), buffer.clone())
        if not isinstance(given, tuple) or len(given) != 2 or not all(isinstance(t, Tensor) for t in given):
            return "Wanted two tensors, (weight, buffer), after the step."
        right = optimizer.state[parameter]["momentum_buffer"]
        if torch.allclose(given[1], 0.9 * buffer + 0.1 * gradient) and not torch.equal(given[1], right):
            return "Your buffer is a running average. SGD adds the whole gradient: v = 0.9·v + g."
        if not torch.equal(given[1], right):
            return "The buffer is not what SGD has after its step. It is v = 0.9·v + g, and no learning rate in it."
        if torch.allclose(given[0], weight - 0.01 * gradient) and not torch.allclose(given[0], parameter):
            return "You moved the weight by the gradient. It moves by the buffer: w = w − 0.01·v."
        if not torch.allclose(given[0], parameter):
            return "The buffer is right, the weight is not: w = w − 0.01·v, with the new v."
        if not torch.equal(given[0], parameter):
            return (
                "Right up to the last bit: two roundings instead of one. "
                "torch.add(weight, buffer, alpha=-0.01) rounds as SGD does."
            )
    return None


def _lr(answer: Callable) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of an optimizer's state dict and a group number."
    model = lesson.build_model()
    groups: list[dict[str, Any]] = [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[2].parameters()}]
    state = optim.SGD(groups, lr=0.01).state_dict()
    given = [answer(state, 0), answer(state, 1)]
    if given == [0.5, 0.5]:
        return "You read group 0 both times; the second argument says which group."
    return None if given == [0.5, 0.01] else f"Wanted 0.5 for group 0 and 0.01 for group 1; you give {given}."


def _names(answer: Callable) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a model and its optimizer."
    model, optimizer = _trained()
    model[0].bias.requires_grad_(False)
    frozen = optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
    lesson.train_step(model, frozen, *lesson.toy_data())
    for opt in (optimizer, frozen):
        right = {name: opt.state[p]["momentum_buffer"] for name, p in model.named_parameters() if p in opt.state}
        given = answer(model, opt)
        if not isinstance(given, Mapping) or any(not isinstance(key, str) for key in given):
            return "Wanted a dict from parameter name to buffer."
        if given.keys() != right.keys():
            return f"Wanted the names {', '.join(right)}; yours are {', '.join(given)}."
        wrong = [name for name in right if not torch.equal(given[name], right[name])]
        if wrong:
            return (
                f"{wrong[0]} got another parameter's buffer: with a frozen parameter left out, "
                "positions are not places in the model."
            )
    return None


def _adam(answer: Callable) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a model."
    for sizes in ((2, 2), (10, 30)):
        model = nn.Linear(*sizes)
        optimizer = optim.Adam(model.parameters())
        model(torch.ones(sizes[0])).sum().backward()
        optimizer.step()
        weights = sum(p.numel() * 4 for p in model.parameters())
        right = weights + sum(t.numel() * t.element_size() for s in optimizer.state.values() for t in s.values())
        given = answer(copy.deepcopy(model))
        if given == 2 * weights:
            return f"For Linear{sizes} you give {given}: one buffer each. Adam keeps exp_avg and exp_avg_sq."
        if given == 3 * weights:
            return f"For Linear{sizes} {given} is close: Adam also keeps a step counter of 4 bytes for each parameter."
        if given != right:
            return f"For Linear{sizes} the tensors take {right} bytes; you give {given}."
    return None


momentum_step = Exercise(
    "One momentum step by hand",
    "v = 0.9·v + g, then w = w − 0.01·v, bit for bit what SGD does.",
    (
        "First the buffer, then the weight.",
        "The learning rate is used only when the weight moves.",
        "torch.add(weight, buffer, alpha=-0.01) rounds once, as SGD does.",
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
    "Two buffers as large as the parameter, and a step counter, for each parameter.",
    (
        "A float32 takes 4 bytes.",
        "Parameters, exp_avg, exp_avg_sq: three times the model.",
        "step is one float32 for each parameter.",
    ),
    _adam,
)
