"""Lesson 09: weights as data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from helpers.exercises import averages
from helpers.exercises.states import difference
from helpers.exercises.trial import apart, unlike
from helpers.quiz import Choice, Exercise, Prediction

counter = Prediction(
    "BatchNorm counts its batches in num_batches_tracked, an integer. What is torch.stack([…]).mean(0) of 55 and 60?",
    (
        Choice("an error, no number", "The mean of integers is no integer. torch refuses to guess.", True),
        Choice("57.5, as for all other keys", "mean() makes no float of an integer by itself."),
        Choice("57, rounded down", "torch rounds nothing here: it would have to guess what you want."),
    ),
)
ema_where = Prediction(
    "You train with an EMA beside the model. What does model.state_dict() hold afterwards?",
    (
        Choice("both, the EMA's under ema.…", "The model knows nothing of its EMA. It is another dict."),
        Choice("the EMA of all steps so far", "The EMA lies beside the model, in a dict or a model of its own."),
        Choice("the weights of the last step", "The model does not know that something follows it.", True),
    ),
)
which = Prediction(
    "A checkpoint has model, ema and optimizer. You train on. What goes into the model?",
    (
        Choice("model", "The optimizer's momentum is that of these weights. The EMA goes back beside it.", True),
        Choice(
            "ema, since it is better", "It answers better. But no step was ever taken from there: the momentum does not fit."
        ),
        Choice("either: they are close", "Close is another run, from the first step on."),
    ),
)
halfway = Prediction(
    "Two networks with hidden layers were trained from two random starts, and both are good. How good is their average?",
    (
        Choice("between the two: it lies between them", "So do the weights. The loss on the way does what it likes."),
        Choice("worse than either of them", "Unit 5 of one has nothing to do with unit 5 of the other.", True),
        Choice("better, as averages are", "That holds for averages of answers, and of weights in one valley."),
    ),
)
added = Prediction(
    "One copy learnt the east, one the west. You add both differences to the base. What can it do?",
    (
        Choice("neither: they disturb each other", "They could. These two move the weights in places of their own."),
        Choice("both, nearly as well", "Small steps from one base mostly add up.", True),
        Choice("half of each", "That is the average of the two. Here nothing was divided by two."),
    ),
)
thin = Prediction(
    "A Linear(1000, 1000) has a million weights. How many numbers does a LoRA of rank 4 train?",
    (
        Choice("4,000", "That is one of the two matrices."),
        Choice("8,000", "B is 1000 × 4, A is 4 × 1000.", True),
        Choice("1,000,000", "All of them do change, and only two thin matrices are trained."),
    ),
)
adapter = Prediction(
    "model.load_state_dict(adapter, strict=False), where adapter is a LoRA's file. What is the model now?",
    (
        Choice("the model with the adapter merged in", "Nobody multiplied B and A. The names are unknown, and were left out."),
        Choice("broken: its weights were replaced", "No name of the file is one of the model's. Nothing was replaced."),
        Choice("the same model as before", "Every key is unexpected, and strict=False says so in a report alone.", True),
    ),
)


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


@apart()
def _follow(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of an EMA, a model and a decay")
    for decay in (0.5, 0.75):
        model = averages.net()
        torchs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
        torchs.update_parameters(model)
        ema = _state(model)
        for step in (1, 2):
            averages.moved(model)
            torchs.update_parameters(model)
            before = _state(model)
            answer(ema, model, decay)
            if key := difference(before, _state(model)):
                return f"Your function changed the model's {key}; only the EMA should move."
            if not model.training:
                return "Your function leaves the model in eval mode; it was in train mode."
            if found := averages.unlike_torchs(ema, torchs, before, decay, step):
                return found
        kept = copy.deepcopy(ema)
        averages.moved(model)
        if key := difference(kept, ema):
            return f"ema[{key!r}] is the model's own tensor: a step of the model moves it too. Copy it."
    return None


@apart()
def _merge(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a state dict, an adapter and a scale")
    for scale, names in ((2.0, ("q", "mlp.1")), (0.5, ("mlp.11", "dec.q"))):
        state, adapter, wanted = averages.adapted(scale, names)
        before, given_before = copy.deepcopy(state), copy.deepcopy(adapter)
        given = answer(state, adapter, scale)
        if difference(before, state) or difference(given_before, adapter):
            return "Your function changed what it was given: make a new dict, and W + B·A, not W +=."
        if found := averages.not_merged(given, wanted, before, scale):
            return found
        again = answer(dict(given), adapter, -scale)
        if key := difference(before, dict(again) if isinstance(again, Mapping) else again):
            return f"Merged with {scale} and then with {-scale}, {key} is not what it was."
    return None


@apart()
def _average(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a model, state dicts and batches")
    for training, count in ((True, 3), (False, 4)):
        model, states, batches = averages.runs(count)
        wanted = copy.deepcopy(model)
        wanted.load_state_dict(averages.mean(states))
        at_once = copy.deepcopy(wanted)
        update_bn(batches, wanted)
        update_bn([torch.cat(batches)], at_once)
        before = copy.deepcopy(states)
        model.train(training)
        answer(model, states, batches)
        if any(difference(a, b) for a, b in zip(before, states)):
            return "Your function changed one of the state dicts that it was given."
        found = averages.not_the_average(model, wanted, training, count)
        if found and averages.not_the_average(model, at_once, training, count):
            return found
    return None


@apart()
def _order(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of two state dicts")
    for width in (5, 8):
        first, second, inputs = averages.shuffled(width)
        before = copy.deepcopy((first, second))
        given = answer(first, second)
        if difference(before, (first, second)):
            return "Your function changed a dict that it was given: make a new one."
        if found := averages.out_of_order(given, first, second, inputs):
            return found
    return None


def _exercise(name: str, rule: str, fault: Callable[[Any], str | None], *hints: str) -> Exercise:
    return Exercise(name, rule, hints, fault)


follow = _exercise(
    "An EMA by hand",
    "Parameters follow, buffers are copied: bit for bit what AveragedModel does.",
    _follow,
    "dict(model.named_buffers()) tells which keys are buffers; all others are parameters, a tied one under each of its names.",
    "ema[key].lerp_(weight, 1 - decay), under torch.no_grad(), or ema[key] = ema[key].lerp(…), a new tensor.",
    "A buffer: ema[key].copy_(buffer). Assigning the tensor itself would tie the EMA to the model.",
)
merge = _exercise(
    "Merge an adapter, and take it out",
    "W + scale · B·A goes in, and with −scale comes out again.",
    _merge,
    "Start with merged = dict(state), and replace only the weights that have an adapter.",
    "name = key.removeprefix('base_model.model.').removesuffix('.lora_A.weight')",
    "B @ A has the shape of the weight; A @ B has not.",
)
average = _exercise(
    "Average checkpoints with BatchNorm",
    "Parameters averaged; statistics measured on the batches, with the averaged weights.",
    _average,
    "The mean of torch.stack([state[key] for state in states]) works for what is_floating_point().",
    "model.load_state_dict(mean), then torch.optim.swa_utils.update_bn(batches, model).",
    "update_bn puts the model's train or eval mode back, for all its modules. By hand you have to do so yourself.",
)
order = _exercise(
    "Put the units in order",
    "Rows of the first layer and columns of the second move together; the function stays.",
    _order,
    "Unit i of a model: row i of 0.weight, entry i of 0.bias, column i of 2.weight.",
    "torch.cdist(rows of first, rows of second).argmin(dim=1) says which unit of second is nearest to each of first.",
    "Use one order for 0.weight[order], 0.bias[order] and 2.weight[:, order].",
)
