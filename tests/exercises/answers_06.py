"""Answers to the exercises of lesson 06."""

from __future__ import annotations

import contextlib
import copy
import re
from collections import OrderedDict

import torch
from torch import nn

from case import Case
from helpers.exercises import lesson_06

consume = nn.modules.utils.consume_prefix_in_state_dict_if_present


def load_parallel(checkpoint, model):
    state = copy.deepcopy(checkpoint["model_state"])
    consume(state, "module.")
    model.load_state_dict(state)
    return model


def load_in_place(checkpoint, model):
    consume(checkpoint["model_state"], "module.")
    model.load_state_dict(checkpoint["model_state"])
    return model


def load_by_removeprefix(checkpoint, model):
    model.load_state_dict({key.removeprefix("module."): value for key, value in checkpoint["model_state"].items()})
    return model


def load_by_a_loop(checkpoint, model):
    state = OrderedDict()
    for key in checkpoint["model_state"]:
        name = key[len("module.") :] if key.startswith("module.") else key
        state[name] = checkpoint["model_state"][key]
    return model if model.load_state_dict(state) else None


def load_by_replace_once(checkpoint, model):
    state = checkpoint["model_state"]
    if all(key.startswith("module.") for key in state):
        state = {key.replace("module.", "", 1): value for key, value in state.items()}
    model.load_state_dict(state, assign=True)
    return model


def load_through_a_wrapper(checkpoint, model):
    outer = nn.Module()
    outer.module = model
    try:
        outer.load_state_dict(checkpoint["model_state"])
    except RuntimeError:
        model.load_state_dict(checkpoint["model_state"])
    return model


def load_by_hand(checkpoint, model):
    state = {key.removeprefix("module."): value for key, value in checkpoint["model_state"].items()}
    own = model.state_dict()
    assert own.keys() == state.keys()
    with torch.no_grad():
        for key in own:
            own[key].copy_(state[key])
    return model


def with_names(rename, strict=True):
    def load(checkpoint, model):
        state = checkpoint["model_state"]
        model.load_state_dict({rename(key): value for key, value in state.items()}, strict=strict)
        return model

    return load


def load_by_position(checkpoint, model):
    model.load_state_dict(dict(zip(model.state_dict(), checkpoint["model_state"].values())))
    return model


def load_only(checkpoint, model):
    return load_parallel(checkpoint, model).load_state_dict(model.state_dict())


def load_whole(checkpoint, model):
    model.load_state_dict(checkpoint)


def load_in_a_wrapper(checkpoint, model):
    outer = nn.Module()
    outer.module = load_parallel(checkpoint, model)
    return outer


def load_parameters(checkpoint, model):
    for name, parameter in model.named_parameters():
        state = checkpoint["model_state"]
        parameter.data.copy_(state[f"module.{name}" if f"module.{name}" in state else name])
    return model


def load_what_the_model_asks_for(checkpoint, model):
    state = checkpoint["model_state"]
    start = "module." if all(key.startswith("module.") for key in state) else ""
    model.load_state_dict({key: state[start + key] for key in model.state_dict()})
    return model


def load_a_copy(checkpoint, model):
    return load_parallel(checkpoint, copy.deepcopy(model))


def fitting(state, model):
    own = model.state_dict()
    return {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}


def transfer(state, model):
    fits = fitting(state, model)
    model.load_state_dict(fits, strict=False)
    return list(fits)


def transfer_keys(state, model):
    fits = fitting(state, model)
    model.load_state_dict({**model.state_dict(), **fits})
    return fits.keys()


def transfer_by_copying(state, model):
    moved = set()
    for key, tensor in model.state_dict().items():
        if key in state and state[key].size() == tensor.size():
            tensor.copy_(state[key])
            moved.add(key)
    return frozenset(moved)


def transfer_by_report(state, model):
    report = model.load_state_dict(fitting(state, model), strict=False)
    return tuple(key for key in model.state_dict() if key not in report.missing_keys)


def transfer_by_popping(state, model):
    own = model.state_dict()
    for key in list(state):
        if key not in own or tuple(own[key].shape) != tuple(state[key].shape):
            del state[key]
    model.load_state_dict(state, strict=False)
    return state


def transfer_lazily(state, model):
    own = model.state_dict()
    for key, tensor in state.items():
        try:
            if own[key].shape == tensor.shape:
                own[key][...] = tensor
                yield key
        except KeyError:
            continue


def transfer_after_all(state, model):
    return [*transfer_lazily(state, model)]


def transfer_if(fits, report=list):
    def transfer(state, model):
        own = model.state_dict()
        moved = {key: value for key, value in state.items() if fits(key, value, own)}
        model.load_state_dict(moved, strict=False)
        return report(moved)

    return transfer


def by_numel(key, value, own):
    return key in own and own[key].numel() == value.numel()


def reshaped(state, model):
    own = model.state_dict()
    moved = {key: value.reshape(own[key].shape) for key, value in state.items() if by_numel(key, value, own)}
    model.load_state_dict(moved, strict=False)
    return list(moved)


def parameters_only(state, model):
    own = dict(model.named_parameters())
    return transfer_if(lambda key, value, _: key in own and own[key].shape == value.shape)(state, model)


def transfer_constants(state, model):
    with contextlib.suppress(RuntimeError):
        model.load_state_dict(state, strict=False)
    return ["0.weight", "0.bias"]


def transfer_by_position(state, model):
    moved = []
    for (key, own), value in zip(model.state_dict().items(), state.values()):
        if own.shape == value.shape:
            own.copy_(value)
            moved.append(key)
    return moved


def transfer_by_shape(state, model):
    moved, left = [], list(state.values())
    for key, own in model.state_dict().items():
        value = state.get(key, next((tensor for tensor in left if tensor.shape == own.shape), None))
        if value is not None and value.shape == own.shape:
            own.copy_(value)
            moved.append(key)
    return moved


def transfer_what_overlaps(state, model):
    for key, own in model.state_dict().items():
        if key in state and own.dim() == state[key].dim() > 0:
            rows = min(len(own), len(state[key]))
            if own[:rows].shape == state[key][:rows].shape:
                own[:rows] = state[key][:rows]
    return list(fitting(state, model))


def transfer_and_say_what_stayed(state, model):
    return model.load_state_dict(fitting(state, model), strict=False).missing_keys


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Linear(2, 2), nn.Linear(2, 1)


def migrating(hook, register="register_load_state_dict_pre_hook"):
    class Migrating(Plain):
        def __init__(self):
            super().__init__()
            getattr(self, register)(hook)

    return Migrating


def by_name(module, state_dict, prefix, *_):
    for name in ("weight", "bias"):
        if f"{prefix}body.{name}" in state_dict:
            old, new = f"{prefix}body.{name}", f"{prefix}encoder.{name}"
            state_dict[new] = state_dict.pop(old)


def by_start(module, state_dict, prefix, *_):
    old, new = f"{prefix}body.", f"{prefix}encoder."
    for key in [key for key in state_dict if key.startswith(old)]:
        state_dict[new + key.removeprefix(old)] = state_dict.pop(key)


def by_building_anew(module, state_dict, prefix, *_):
    start = prefix + "body."
    renamed = {prefix + "encoder." + k[len(start) :] if k.startswith(start) else k: v for k, v in state_dict.items()}
    state_dict.clear()
    state_dict.update(renamed)


class WithMethod(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 1)
        self.encoder = nn.Linear(2, 2)
        self.register_load_state_dict_pre_hook(WithMethod.rename_old_keys)

    def rename_old_keys(self, state_dict, prefix, *_):
        for key in list(state_dict):
            place, name = key[: len(prefix)], key[len(prefix) :]
            if place == prefix and name.split(".")[0] == "body":
                state_dict[prefix + name.replace("body", "encoder", 1)] = state_dict.pop(key)


class FromState(Plain):
    def _load_from_state_dict(self, state_dict, prefix, *rest):
        by_name(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Versioned(Plain):
    _version = 2

    def __init__(self):
        super().__init__()
        self.register_load_state_dict_pre_hook(self.rename)

    @staticmethod
    def rename(module, state_dict, prefix, local_metadata, *_):
        if (local_metadata.get("version") or 1) < 2:
            by_start(module, state_dict, prefix)


def without_prefix(module, state_dict, prefix, *_):
    by_name(module, state_dict, "")


def replaced(module, state_dict, prefix, *_):
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[key.replace("body.", "encoder.")] = state_dict.pop(key)


def everywhere(module, state_dict, prefix, *_):
    for key in [key for key in state_dict if "body." in key]:
        state_dict[key.replace("body.", "encoder.", 1)] = state_dict.pop(key)


def without_dot(module, state_dict, prefix, *_):
    for key in [key for key in state_dict if key.startswith(prefix + "body")]:
        state_dict[prefix + "encoder" + key.removeprefix(prefix + "body")] = state_dict.pop(key)


def filling(module, state_dict, prefix, *_):
    by_name(module, state_dict, prefix)
    for name, value in module.state_dict().items():
        state_dict.setdefault(prefix + name, torch.zeros_like(value))


def dropping(module, state_dict, prefix, *_):
    by_name(module, state_dict, prefix)
    for key in [key for key in state_dict if key.startswith(f"{prefix}tail")]:
        del state_dict[key]


def zeroing(module, state_dict, prefix, *_):
    for name in ("weight", "bias"):
        if f"{prefix}body.{name}" in state_dict:
            value = state_dict.pop(f"{prefix}body.{name}")
            state_dict[f"{prefix}encoder.{name}"] = torch.zeros_like(value) if prefix else value


def always_popping(module, state_dict, prefix, *_):
    for name in ("weight", "bias"):
        state_dict[f"{prefix}encoder.{name}"] = state_dict.pop(f"{prefix}body.{name}")


class Alone(Plain):
    def load_state_dict(self, state_dict, strict=True, assign=False):
        state = {key.replace("body", "encoder"): value for key, value in state_dict.items()}
        return super().load_state_dict(state, strict, assign)


class NeverMissing(migrating(by_name)):
    def load_state_dict(self, state_dict, strict=True, assign=False):
        return super().load_state_dict(state_dict, strict=False)


class StillBody(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(2, 2), nn.Linear(2, 1)


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Linear(2, 3), nn.Linear(3, 1)
        self.register_load_state_dict_pre_hook(by_name)


CASES = [
    Case(
        lesson_06.load_parallel,
        [
            load_parallel,
            load_in_place,
            load_by_removeprefix,
            load_by_a_loop,
            load_by_replace_once,
            load_through_a_wrapper,
            load_by_hand,
        ],
        [
            (with_names(lambda key: key, strict=False), "the model is as it was"),
            (with_names(lambda key: key), "The running model does not load"),
            (with_names(lambda key: key.lstrip("module.")), "key module.mlp.weight does not load"),
            (load_by_position, "its keys in another order does not load"),
            (with_names(lambda key: key.replace("module.", "")), "key module.module.weight does not load"),
            (with_names(lambda key: re.sub(r"^(module\.)+", "", key)), "key module.module.weight does not load"),
            (load_what_the_model_asks_for, "with a tensor too many loads"),
            (with_names(lambda key: key[7:]), "from one GPU, without the prefix, does not load"),
            (with_names(lambda key: key.removeprefix("module."), strict=False), "with a tensor too few loads"),
            (load_parameters, "norm.running_mean has other numbers"),
            (load_only, "returns _IncompatibleKeys; wanted"),
            (load_in_a_wrapper, "returns Module: a wrapper"),
            (load_a_copy, "a wrapper or a copy; wanted the model that it was given"),
            (load_whole, "does not load: RuntimeError"),
            ({}, "You gave dict"),
            (3, "You gave int"),
        ],
    ),
    Case(
        lesson_06.transfer,
        [transfer, transfer_keys, transfer_by_copying, transfer_by_report, transfer_by_popping, transfer_after_all],
        [
            (lambda state, model: model.load_state_dict(state, strict=False), "The running model: it raises RuntimeError"),
            (transfer_if(lambda key, value, own: own[key].shape == value.shape), "a layer too many: it raises KeyError"),
            (transfer_if(lambda key, value, own: not key.startswith("2.")), "a layer too many: it raises RuntimeError"),
            (transfer_if(by_numel), "(2, 3) weight in place of a (3, 2): it raises RuntimeError"),
            (reshaped, "core.weight has changed, though its shape"),
            (parameters_only, "norm.running_mean fits by name and shape"),
            (transfer_constants, "a layer too many: right tensors, wrong report: ['0.weight', '0.bias']"),
            (transfer_by_position, "another name: one.weight fits"),
            (transfer_by_shape, "classifier.weight has changed, and the checkpoint has no tensor of that name"),
            (transfer_what_overlaps, "has changed, though its shape"),
            (transfer_if(lambda *_: False), "0.weight fits by name and shape"),
            (lambda state, model: transfer(state, model) and None, "Return their names too; you return NoneType"),
            (transfer_and_say_what_stayed, "wrong report: ['2.weight', '2.bias']"),
            (["0.weight"], "You gave list"),
        ],
    ),
    Case(
        lesson_06.migrate,
        [migrating(by_name), migrating(by_start), migrating(by_building_anew), WithMethod, FromState, Versioned],
        [
            (Plain, "Alone, a checkpoint with the old names does not load"),
            (migrating(without_prefix), "under 0. an old checkpoint does not load"),
            (Alone, "under 0. an old checkpoint does not load"),
            (migrating(everywhere), "itself called body an old checkpoint does not load"),
            (migrating(zeroing), "0.encoder.weight has other numbers"),
            (migrating(replaced), "itself called body an old checkpoint does not load"),
            (migrating(without_dot), "subclass with a layer body_norm an old checkpoint does not load"),
            (migrating(always_popping), "new names does not load: KeyError"),
            (migrating(filling), "An empty dict loads too"),
            (NeverMissing, "An empty dict loads too"),
            (migrating(dropping), "An old file with an unknown key loads too"),
            (StillBody, "keep encoder and head"),
            (Wide, "'encoder.weight': (3, 2)"),
            (Plain(), "You gave Plain; wanted the class itself"),
        ],
    ),
    Case(
        lesson_06.find_layer,
        ["layer.3", {"layer.3"}, ["layer.3.weight", "layer.3.bias"], ("layer.3",), "model.layer[3]", {"layer.3": 1}.keys()],
        [
            ("layer.1", "layer.1 holds what the checkpoint holds"),
            (["layer.3", "layer.0"], "layer.0 holds what the checkpoint holds"),
            ("layers.3", "a name in the checkpoint"),
            (3, "with its name"),
            ("3", "3 is the number"),
            ("head", "has no layer 'head'"),
            ("layer", "has no layer 'layer'"),
            ([3], "You gave [3]"),
            ([], "You gave []"),
        ],
    ),
]
