"""Answers to the exercises of lesson 02."""

from __future__ import annotations

import copy
import io
from collections import OrderedDict

import numpy as np
import torch
from torch import nn

from case import Case
from helpers.exercises import lesson_02


def snapshot(model):
    return copy.deepcopy(model.state_dict())


def through_a_file(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def by_loop(model):
    kept = OrderedDict()
    for key, tensor in model.state_dict().items():
        kept[key] = torch.empty_like(tensor).copy_(tensor)
    return kept


def through_numpy(model):
    return {key: torch.from_numpy(tensor.numpy().copy()) for key, tensor in model.state_dict().items()}


def parameters_and_buffers(model, detach):
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
    return {key: (t.detach() if detach else t).clone() for key, t in tensors if key != "cache"}


def with_the_cache(model):
    return {**snapshot(model), "cache": model.cache.clone()}


def floats_only(model):
    return {key: t.clone() if t.is_floating_point() else t for key, t in model.state_dict().items()}


def emptied(model):
    kept = snapshot(model)
    for tensor in model.state_dict().values():
        tensor.zero_()
    return kept


SNAPSHOT = Case(
    lesson_02.snapshot,
    [
        snapshot,
        lambda model: {key: tensor.clone() for key, tensor in model.state_dict().items()},
        lambda model: copy.deepcopy(model).state_dict(),
        lambda model: OrderedDict((key, tensor.detach().clone()) for key, tensor in model.state_dict().items()),
        lambda model: parameters_and_buffers(model, detach=True),
        through_a_file,
        by_loop,
        through_numpy,
    ],
    [
        (lambda model: model.state_dict(), "your snapshot moved"),
        (lambda model: model.state_dict().copy(), "your snapshot moved"),
        (lambda model: {key: tensor.cpu() for key, tensor in model.state_dict().items()}, "your snapshot moved"),
        (floats_only, "norm.num_batches_tracked changed with it"),
        (
            lambda model: {name: p.clone() for name, p in model.named_parameters()},
            "norm.running_mean is missing. It is a buffer",
        ),
        (lambda model: parameters_and_buffers(model, detach=False), "hangs on autograd's graph"),
        (
            lambda model: snapshot(model) | {k: t.double() for k, t in snapshot(model).items()},
            "encoder.weight is torch.float64 and (",
        ),
        (lambda model: {key: t + 1 for key, t in model.state_dict().items()}, "encoder.weight has other numbers"),
        (lambda model: {k: t for k, t in snapshot(model).items() if "frozen" not in k}, "It is a frozen parameter"),
        (lambda model: {k: t for k, t in snapshot(model).items() if k != "tied.weight"}, "the second name of a tied weight"),
        (lambda model: {k: t.tolist() for k, t in snapshot(model).items()}, "encoder.weight is a list"),
        (with_the_cache, "'cache' is no key"),
        (emptied, "changed the model"),
        (lambda model: snapshot(model.eval()), "switched the model's mode"),
        (lambda model: copy.deepcopy(model), "you return Mixed"),
        (lambda model: list(model.parameters()), "you return list"),
        (copy.deepcopy(OrderedDict()), "You gave OrderedDict"),
    ],
)

RIGHT_KEYS = {"weight", "bias", "running", "layers", "tied"}
WHICH = Case(
    lesson_02.which_have_a_key,
    [
        RIGHT_KEYS,
        frozenset(RIGHT_KEYS),
        [*RIGHT_KEYS],
        ("tied", "layers", "running", "bias", "weight"),
        dict.fromkeys(RIGHT_KEYS).keys(),
        [f"self.{name}" for name in RIGHT_KEYS],
        {name: name in RIGHT_KEYS for name in lesson_02.TEN},
        np.array(sorted(RIGHT_KEYS)).tolist(),
    ],
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
        ((RIGHT_KEYS - {"layers"}) | {"layers.0.weight"}, "layers.0.weight is a key; its attribute is layers"),
        ({"Weight"}, "not among the ten"),
        ({5}, "5: not among the ten"),
        ("weight", "You gave str"),
        (5, "You gave int"),
    ],
)


def count(state_dict):
    storages = {t.untyped_storage().data_ptr(): t for t in state_dict.values()}
    sizes = [t.untyped_storage().nbytes() for t in storages.values()]
    widths = [t.element_size() for t in storages.values()]
    return sum(size // width for size, width in zip(sizes, widths)), sum(sizes)


def count_by_loop(state_dict):
    seen, numbers, nbytes = set(), 0, 0
    for tensor in state_dict.values():
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            numbers += storage.nbytes() // tensor.itemsize
            nbytes += storage.nbytes()
    return [numbers, nbytes]


def count_each(state_dict, key, numbers=torch.Tensor.numel, width=torch.Tensor.element_size):
    kept = {key(t): t for t in state_dict.values()}.values()
    return sum(numbers(t) for t in kept), sum(numbers(t) * width(t) for t in kept)


def place(tensor):
    return tensor.untyped_storage().data_ptr()


def length(tensor):
    return tensor.untyped_storage().nbytes() // tensor.element_size()


def count_from_the_file(state_dict):
    file = io.BytesIO()
    torch.save({key: tensor.cpu() for key, tensor in state_dict.items()}, file)
    file.seek(0)
    return torch.tensor(count(torch.load(file, weights_only=True)))


def count_and_empty(state_dict):
    pair = count(state_dict)
    state_dict.clear()
    return pair


BYTES = Case(
    lesson_02.count_bytes,
    [
        count,
        count_by_loop,
        count_from_the_file,
        lambda state: count_each(state, place, length),
        lambda state: np.array(count(state)),
        count_and_empty,
        lambda state: tuple(
            map(sum, zip(*{place(t): (length(t), length(t) * t.element_size()) for t in state.values()}.values()))
        ),
    ],
    [
        (lambda state: count_each(state, id), "two keys of one tensor"),
        (lambda state: count_each(state, lambda t: t.shape), "two tensors of one shape"),
        (lambda state: count_each(state, lambda t: t.sum().item()), "two equal tensors"),
        (lambda state: count_each(state, torch.Tensor.data_ptr, width=lambda t: 4), "element_size() says"),
        (lambda state: count_each(state, torch.Tensor.data_ptr), "two slices from its start"),
        (
            lambda state: count_each(state, place),
            "two slices from its start wanted (28, 112): numbers and bytes. You give (12, 48)",
        ),
        (lambda state: count_each(state, torch.Tensor.data_ptr, length), "first and last row of a table"),
        (lambda state: count(state)[::-1], "You give bytes first: (36, 9)"),
        (lambda state: len(state), "you return int"),
        (lambda state: (len(state), 36), "You give (4, 36)"),
        (lambda state: (9, 36), "You give (9, 36). Equal shapes"),
        (lambda state: {"numbers": 9, "bytes": 36}, "you return dict"),
        (lambda state: "ab", "you return str"),
        ((9, 36), "You gave tuple"),
    ],
)


def fill(model):
    model.state_dict()["2.bias"].fill_(5)


def by_index(model):
    state = model.state_dict()
    state["2.bias"][...] = 5
    return state


def by_slice(model):
    model.state_dict()["2.bias"][:] = torch.tensor([5.0])


def by_init(model):
    return nn.init.constant_(model.state_dict()["2.bias"], 5)


def by_numpy(model):
    model.state_dict()["2.bias"].numpy()[0] = 5


def by_arithmetic(model):
    bias = model.state_dict()["2.bias"]
    bias -= bias - 5


def with_vars(model):
    with torch.no_grad():
        model.state_dict(keep_vars=True)["2.bias"].copy_(torch.tensor(5))


def new_bias(model):
    model[2].bias = nn.Parameter(torch.full((1,), 5.0))


def assigned(model):
    model.state_dict()["2.bias"] = torch.full((1,), 5.0)


def set_elsewhere(model):
    model.state_dict()["2.bias"].set_(torch.full((1,), 5.0))


def everything(model):
    for tensor in model.state_dict().values():
        tensor.fill_(5)


def all_biases(model):
    for key, tensor in model.state_dict().items():
        if key.endswith("bias"):
            tensor.fill_(5)


def loaded(model, assign=False):
    model.load_state_dict({**model.state_dict(), "2.bias": torch.full((1,), 5.0)}, assign=assign)


def loaded_loosely(model):
    nn.Module.load_state_dict(model, {"2.bias": torch.full((1,), 5.0)}, strict=False)


def through_the_module(model):
    model[2].bias.data.fill_(5)


def through_the_names(model):
    dict(model.named_parameters())["2.bias"].data.fill_(5)


def the_last_one(model):
    [*model.parameters()][-1].data.fill_(5)


def on_the_leaf(model):
    model[2].bias.fill_(5)


BY_MODULE = "leads to a module of another name"
WRITE = Case(
    lesson_02.write_through,
    [
        fill,
        by_index,
        by_slice,
        by_init,
        by_numpy,
        by_arithmetic,
        with_vars,
        lambda model: model.state_dict()["2.bias"].data.copy_(torch.tensor(5)),
    ],
    [
        (assigned, "still -0.06: the model never heard of it"),
        (set_elsewhere, "the model never heard of it"),
        (lambda model: model.state_dict()["2.bias"].add_(5), "2.bias is 4.94, not 5"),
        (new_bias, "another bias object"),
        (everything, "Another tensor changed too: 0.weight"),
        (all_biases, "Another tensor changed too: 0.bias"),
        (loaded, "You called load_state_dict"),
        (lambda model: loaded(model, assign=True), "You called load_state_dict"),
        (loaded_loosely, "You called load_state_dict"),
        (through_the_module, BY_MODULE),
        (through_the_names, BY_MODULE),
        (the_last_one, BY_MODULE),
        (lambda model: [*model.state_dict().values()][-1].fill_(5), BY_MODULE),
        (lambda model: model[2].state_dict()["bias"].fill_(5), BY_MODULE),
        (on_the_leaf, "failed when it was tried: RuntimeError"),
        (5, "You gave int"),
    ],
)

CASES = [SNAPSHOT, WHICH, BYTES, WRITE]
