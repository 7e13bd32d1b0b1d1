"""Lesson 02: read the state dict."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from typing import Any

import torch
from torch import nn

from helpers import lesson
from helpers.exercises.models import Mixed, Renamed, piles, storages, unlike_the_state
from helpers.exercises.trial import apart, plain, same, unlike
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


@apart()
def _snapshot(answer: Callable) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a model")
    for width in (2, 5):
        model = Mixed(width)
        model(torch.randn(4, width))
        state, before = model.state_dict(), copy.deepcopy(model.state_dict())
        kept = answer(model)
        if not isinstance(kept, Mapping):
            return f"Wanted a dict from key to tensor; you return {type(kept).__name__}."
        if not all(module.training for module in model.modules()):
            return "Your function switched the model's mode, train or eval. A snapshot only reads the model."
        if not all(map(same, model.state_dict().values(), before.values())):
            return "Your function changed the model. A snapshot only reads it."
        if wrong := unlike_the_state(kept, before, model):
            return wrong
        with torch.no_grad():
            for tensor in state.values():
                tensor.add_(1)
        if moved := [key for key in before if not same(kept[key], before[key])]:
            return f"The model went on, and your snapshot moved: {', '.join(moved[:3])} changed with it."
    return None


@apart()
def _keys(answer: Any) -> str | None:
    if isinstance(answer, str) or not isinstance(answer, Collection):
        return unlike(answer, "a set of attribute names")
    right = {key.partition(".")[0] for key in TenThings().state_dict()}
    if isinstance(answer, Mapping):
        answer = [name for name, has_one in answer.items() if has_one is not False]
    given = {name.removeprefix("self.") if isinstance(name, str) else name for name in answer}
    strange = sorted(map(str, given - set(TEN)))
    if strange and strange[0] in TenThings().state_dict():
        return f"{strange[0]} is a key; its attribute is {strange[0].partition('.')[0]}."
    if strange:
        return f"{', '.join(strange[:5])}: not among the ten attributes."
    if given - right:
        return _WHY_OUT[min(given - right)]
    return _WHY_IN[min(right - given)] if right - given else None


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


@apart()
def _bytes(answer: Callable) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a state dict")
    for words, state, why in piles():
        right, given = storages(state), answer(state)
        pair = tuple(map(plain, given)) if isinstance(given, Iterable) and not isinstance(given, (str, Set, Mapping)) else ()
        if len(pair) != 2:
            return f"Wanted two numbers, (numbers, bytes); you return {type(given).__name__}."
        if pair == right[::-1] != right:
            return f"You give bytes first: {pair}. Wanted the numbers first, then the bytes."
        if pair != right:
            return f"For {words} wanted {right}: numbers and bytes. You give {pair}. {why}"
    return None


@apart()
def _write(answer: Callable) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a model")
    model, renamed = lesson.build_model(), Renamed()
    if wrong := _after_writing(answer, model, model[2].get_parameter("bias")):
        return wrong
    away = "Where the key 2.bias leads to a module of another name, your function fails: go by the key in state_dict()."
    try:
        return away if _after_writing(answer, renamed, renamed.last.bias) else None
    except Exception:
        return away


def _after_writing(answer: Callable, model: nn.Module, bias: nn.Parameter) -> str | None:
    calls: list[None] = []
    hook = model.register_load_state_dict_pre_hook(lambda *_: calls.append(None))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    held = [*model.parameters()]
    answer(model)
    hook.remove()
    now = dict(model.named_parameters())
    if calls:
        return "You called load_state_dict. Do without it: the tensors of the state dict are the model's own."
    if [*map(id, now.values())] != [*map(id, held)]:
        return "The model has another bias object now: an optimizer would still hold the old one. Write into it instead."
    [own] = [name for name, p in now.items() if p is bias]
    if others := [name for name in before if name != own and not same(now[name], before[name])]:
        return f"Another tensor changed too: {others[0]} is not what it was."
    if same(bias, before[own]):
        return f"After your function 2.bias is still {bias.item():.2f}: the model never heard of it."
    return None if bias.item() == 5 else f"After your function 2.bias is {bias.item():.2f}, not 5."


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
    "Each storage counts once, and the dtype sets the bytes of a number.",
    (
        "t.untyped_storage() is the memory that t looks into; it has nbytes() and data_ptr().",
        "A dict that is keyed by the storage's data_ptr() keeps one tensor for each storage.",
        "A storage of nbytes() holds nbytes() // t.element_size() numbers.",
    ),
    _bytes,
)
write_through = Exercise(
    "Write through the window",
    "Writing into a tensor of the state dict writes into the model.",
    ("Assigning to a key only changes the dict.", "fill_() and copy_() write into the tensor."),
    _write,
)
