"""Answers to the exercises of lesson 05."""

from __future__ import annotations

import collections
import copy
import io
import pickle
import sys
import types
from unittest import mock

import torch
from torch import nn

from case import Case
from helpers.exercises import lesson_05


class Net(nn.Module):
    __module__ = "old_project.nets"


def stand_in(net=Net):
    nets = types.ModuleType("old_project.nets")
    nets.Net = net
    return {"old_project": types.ModuleType("old_project"), "old_project.nets": nets}


def model_of(path, guarded=True):
    sys.modules.update(stand_in())
    allowed = [Net, nn.Linear, nn.BatchNorm1d]
    with torch.serialization.safe_globals(allowed if guarded else []):
        return torch.load(path, weights_only=guarded)


def rescue(path):
    return model_of(path).state_dict()


def rescue_without_guard(path):
    return model_of(path, guarded=False).state_dict()


def rescue_for_a_moment(path):
    with mock.patch.dict(sys.modules, stand_in()):
        return dict(torch.load(path, map_location="cpu", weights_only=False).state_dict())


def rescue_as_a_plain_module(path):
    with mock.patch.dict(sys.modules, stand_in(nn.Module)):
        state = torch.load(path, weights_only=False).state_dict()
    return {key: state[key].clone() for key in reversed(state)}


class Finder(pickle.Unpickler):
    def find_class(self, module, name):
        return nn.Module if module == "old_project.nets" else super().find_class(module, name)


def rescue_with_its_own_pickle(path):
    reader = types.SimpleNamespace(Unpickler=Finder, load=lambda file, **_: Finder(file).load(), __name__="reader")
    return copy.deepcopy(torch.load(path, pickle_module=reader, weights_only=False).state_dict())


def rescue_by_collecting(path):
    model = model_of(path)
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in tensors}


def rescue_from_a_seed(path):
    torch.manual_seed(7)
    model = nn.Module()
    model.layer, model.norm = nn.Linear(2, 2), nn.BatchNorm1d(2)
    return model.state_dict()


class Remembering:
    def __init__(self):
        self.state = None

    def __call__(self, path):
        self.state = self.state or rescue(path)
        return self.state


RIGHT = {
    "weights for colleagues who will move the class": "state dict",
    "a checkpoint to resume training": "state dict",
    "weights for strangers, who load with weights_only=True": "state dict",
    "a model for a server that has torch, and none of your code": "exported program",
    "your object with its plain attributes, back in the same code in a minute": "whole model",
    "the encoder of one model, to go into another model": "state dict",
}
COLLEAGUES, RESUME, STRANGERS, SERVER, OBJECT, ENCODER = RIGHT


def save(path, model, optimizer):
    torch.save({"model_state": model.state_dict(), "optimizer_state": optimizer.state_dict()}, path)


def load(path, model, optimizer):
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(checkpoint["model_state"])
    optimizer.load_state_dict(checkpoint["optimizer_state"])


def save_a_list(path, *owners):
    torch.save([owner.state_dict() for owner in owners], path)


def load_a_list(path, *owners):
    for owner, state in zip(owners, torch.load(path, weights_only=True), strict=True):
        owner.load_state_dict(state)


def save_by_stream(path, model, optimizer):
    stream = io.BytesIO()
    torch.save((model.state_dict(), copy.deepcopy(optimizer.state_dict())), stream)
    path.write_bytes(stream.getvalue())


def load_by_stream(path, model, optimizer):
    with open(path, "rb") as file:
        states = torch.load(io.BytesIO(file.read()), weights_only=True)
    return model.load_state_dict(states[0]), optimizer.load_state_dict(states[1])


def save_flat(path, model, optimizer):
    torch.save({**model.state_dict(), "optimizer": optimizer.state_dict()}, path)


def load_flat(path, model, optimizer):
    state = torch.load(path, weights_only=True)
    optimizer.load_state_dict(state.pop("optimizer"))
    model.load_state_dict(state, assign=False)


def load_by_hand(path, model, optimizer):
    checkpoint = torch.load(path, weights_only=True, mmap=True)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            tensor.copy_(checkpoint["model_state"][key])
    optimizer.load_state_dict(checkpoint["optimizer_state"])


class Store:
    def save(self, path, model, optimizer):
        save(str(path), model, optimizer)

    def load(self, path, model, optimizer):
        load(str(path), model, optimizer)


def save_whole(path, model, optimizer):
    torch.save({"model": model, "optimizer": optimizer}, path)


def save_nowhere(path, model, optimizer):
    torch.save(model.state_dict(), io.BytesIO())


def save_and_freeze(path, model, optimizer):
    save(path, model.eval(), optimizer)


def save_in_float64(path, model, optimizer):
    save(path, model.double(), optimizer)


def save_parameters(path, model, optimizer):
    state = {name: parameter.detach() for name, parameter in model.named_parameters()}
    torch.save({"model_state": state, "optimizer_state": optimizer.state_dict()}, path)


def load_loosely(path, model, optimizer):
    checkpoint = torch.load(path, weights_only=True)
    model.load_state_dict(checkpoint["model_state"], strict=False)
    optimizer.load_state_dict(checkpoint["optimizer_state"])


def load_and_assign(path, model, optimizer):
    checkpoint = torch.load(path, weights_only=True)
    model.load_state_dict(checkpoint["model_state"], assign=True)
    optimizer.load_state_dict(checkpoint["optimizer_state"])


def load_trusting(path, model, optimizer):
    checkpoint = torch.load(path, weights_only=False)
    model.load_state_dict(checkpoint["model_state"])
    optimizer.load_state_dict(checkpoint["optimizer_state"])


def load_model_only(path, model, optimizer):
    model.load_state_dict(torch.load(path, weights_only=True)["model_state"])


def load_optimizer_only(path, model, optimizer):
    optimizer.load_state_dict(torch.load(path, weights_only=True)["optimizer_state"])


def load_with_its_own_rate(path, model, optimizer):
    rates = [group["lr"] for group in optimizer.param_groups]
    load(path, model, optimizer)
    for group, rate in zip(optimizer.param_groups, rates):
        group["lr"] = rate


def load_without_momentum(path, model, optimizer):
    load(path, model, optimizer)
    for state in optimizer.state.values():
        for value in state.values():
            value.zero_()


KEPT = {}


def save_in_memory(path, model, optimizer):
    save(path, model, optimizer)
    KEPT.update(copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict()}))


def load_from_memory(path, model, optimizer):
    model.load_state_dict(KEPT["model"])
    optimizer.load_state_dict(KEPT["optimizer"])


CASES = [
    Case(
        lesson_05.rescue,
        [
            rescue,
            rescue_without_guard,
            rescue_for_a_moment,
            rescue_as_a_plain_module,
            rescue_with_its_own_pickle,
            rescue_by_collecting,
        ],
        [
            (model_of, "returns the whole model again"),
            (lambda path: {k.removeprefix("layer."): v for k, v in rescue(path).items()}, "yours are weight, bias"),
            (rescue_from_a_seed, "numbers are not those in the file"),
            (lambda path: model_of(path).state_dict(keep_vars=True), "layer.weight is a Parameter"),
            (lambda path: dict(model_of(path).named_parameters()), "has the buffers, not only the parameters"),
            (lambda path: {k: v.double() for k, v in rescue(path).items()}, "torch.float64 in yours"),
            (lambda path: {**rescue(path), "extra": 1}, "has no key 'extra'"),
            (lambda path: list(rescue(path).values()), "returns list"),
            (lambda path: {k: v.numpy() for k, v in rescue(path).items()}, "layer.weight is a ndarray"),
            (lambda path: {}, "yours are none"),
            (lambda path: torch.load(path, weights_only=False, pickle_module=pickle), "ModuleNotFoundError"),
            (Remembering(), "that of another file"),
            ("old.pth", "You gave str"),
            (Net(), "You gave Net"),
        ],
    ),
    Case(
        lesson_05.six,
        [
            RIGHT,
            types.MappingProxyType(dict(reversed(RIGHT.items()))),
            collections.OrderedDict((name, form.upper()) for name, form in RIGHT.items()),
            {name: form.replace(" ", "_") for name, form in RIGHT.items()},
            collections.ChainMap({SERVER: "exported-program"}, RIGHT),
            collections.defaultdict(lambda: "state dict", RIGHT),
        ],
        [
            ({**RIGHT, COLLEAGUES: "whole model"}, "looks for the class at its old place"),
            ({**RIGHT, COLLEAGUES: "exported program"}, "in their own class"),
            ({**RIGHT, RESUME: "whole model"}, "two state dicts load"),
            ({**RIGHT, RESUME: "exported program"}, "holds no optimizer state, and its graph"),
            ({**RIGHT, STRANGERS: "whole model"}, "refuses its class"),
            ({**RIGHT, STRANGERS: "exported program"}, "torch.export.load does"),
            ({**RIGHT, SERVER: "whole model"}, "nothing to import"),
            ({**RIGHT, SERVER: "state dict"}, "the server would need your class"),
            ({**RIGHT, OBJECT: "state dict"}, "no key for a plain attribute"),
            ({**RIGHT, OBJECT: "exported program"}, "not an object of your class"),
            ({**RIGHT, ENCODER: "whole model"}, "comes in one piece"),
            ({**RIGHT, ENCODER: "exported program"}, "comes as one graph"),
            ({**RIGHT, STRANGERS: ...}, "5 of 6 decided. Next: weights for strangers"),
            ({**RIGHT, OBJECT: "jpeg"}, "none of the three"),
            ({}, "0 of 6 decided"),
            ("state dict", "You gave str"),
        ],
    ),
    Case(
        lesson_05.pair,
        [
            (save, load),
            (save_a_list, load_a_list),
            (save_by_stream, load_by_stream),
            (save_flat, load_flat),
            [save, load_by_hand],
            (Store().save, Store().load),
            (lambda path, model, optimizer: save(path, model, optimizer), lambda *arguments: load(*arguments)),
        ],
        [
            ((save_whole, load), "refuses the file that save wrote"),
            ((save_nowhere, load), "left no file"),
            ((save_and_freeze, load), "save left the model in eval()"),
            ((save_in_float64, load), "save changed the model"),
            ((save_parameters, load_loosely), "see the buffer 1.running_mean"),
            ((save, load_and_assign), "does the optimizer hold the model's tensors?"),
            ((save, load_trusting), "load ran a call that stood in a file"),
            ((save, load_model_only), "the optimizer has no state"),
            ((save, load_optimizer_only), "see the parameter 0.weight"),
            ((save, load_with_its_own_rate), "optimizer's param_groups.0.lr is not what was saved"),
            ((save, load_without_momentum), "momentum_buffer is not what was saved"),
            ((save_in_memory, load_from_memory), "what was saved last"),
            ((save, lambda path, model: None), "failed when it was tried: TypeError"),
            (save, "Wanted two functions"),
        ],
    ),
]
