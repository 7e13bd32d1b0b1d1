"""Answers to the exercises of lesson 12."""

from __future__ import annotations

import io
import json
import os
import pickle
import re

import torch
from safetensors.torch import load, load_file

from case import Case
from helpers import clinic
from helpers.exercises import lesson_12

STARTS = {b"PK\x03\x04": "torch", b"\x80\x02\x8a\n": "old torch", b"version": "pointer", b"<": "page"}


def kind(start):
    if start[8:9] == b"{":
        return "safetensors"
    for magic, name in STARTS.items():
        if start.startswith(magic):
            return name
    return None if start else "empty"


def kind_by_table(start):
    found = [name for magic, name in STARTS.items() if start.startswith(magic)]
    return "safetensors" if b"{" in start[8:9] else found[0] if found else "empty"


def kind_by_match(start):
    match start[:4], start[8:9]:
        case _, b"{":
            return "safetensors"
        case b"PK\x03\x04", _:
            return "torch"
        case b"\x80\x02\x8a\n", _:
            return "old torch"
        case b"vers", _:
            return "pointer"
        case b"", _:
            return "empty"
    return "page"


def kind_by_words(start):
    text = start.lower()
    if not text:
        return "empty"
    if b"html" in text[:20]:
        return "page"
    if b"git-lfs" in text:
        return "pointer"
    return {b"PK\x03\x04": "torch", b"\x80\x02\x8a\n": "old torch"}.get(start[:4], "safetensors")


def kind_by_length(start):
    if len(start) > 8 and int.from_bytes(start[:8], "little") < 1 << 24 and start[8] == ord("{"):
        return "safetensors"
    return kind_by_table(start)


def kind_by_two_letters(start):
    return "torch" if start[:2] == b"PK" else kind(start)


def kind_by_first_byte(start):
    return {b"P": "torch", b"\x80": "old torch"}.get(start[:1]) or kind(start)


def kind_by_brace(start):
    return "safetensors" if b"{" in start else kind(start)


def kind_of_capitals(start):
    return "page" if start.startswith(b"<!DOCTYPE") else "empty" if start.startswith(b"<") else kind(start)


def kind_without_old(start):
    return "torch" if start[:1] == b"\x80" else kind(start)


def kind_without_safetensors(start):
    return "torch" if start[8:9] == b"{" else kind(start)


def kind_without_empty(start):
    return kind(start) if start else None


def kind_without_pointer(start):
    return "page" if start.startswith(b"version") else kind(start)


def walk(value, name=""):
    if isinstance(value, dict):
        yield name, value
        for key, inner in value.items():
            yield from walk(inner, f"{name} {key}".lower())


def weights(checkpoint, model):
    own = list(model.state_dict())
    for name, entry in walk(checkpoint):
        for prefix in {str(key).removesuffix(own[0]) for key in entry}:
            fits = all(prefix + key in entry for key in own)
            if fits and "ema" not in re.split("[^a-z]+", name):
                return {key: entry[prefix + key] for key in own}
    return None


PREFIXES = ("module.", "model.", "_orig_mod.", "")


def weights_by_prefixes(checkpoint, model):
    own = model.state_dict()
    waiting = [checkpoint]
    while waiting:
        entry = waiting.pop(0)
        for prefix in PREFIXES:
            if {prefix + key for key in own} <= set(entry):
                return {key: entry[prefix + key] for key in own}
        waiting += [v for k, v in entry.items() if isinstance(v, dict) and not re.search(r"(^|_)ema($|_)", str(k))]
    raise ValueError


def weights_by_first_key(checkpoint, model):
    own = list(model.state_dict())

    def found(value, name):
        if not isinstance(value, dict) or name == "ema" or name.startswith("ema_") or name.endswith("_ema"):
            return []
        prefixes = [str(key)[: -len(own[0])] for key in value if str(key).endswith(own[0])]
        mine = [(value, prefix) for prefix in prefixes if all(prefix + key in value for key in own)]
        return mine + [pair for key, inner in value.items() for pair in found(inner, str(key))]

    entry, prefix = found(checkpoint, "")[0]
    return {key: entry[prefix + key] for key in own}


def weights_by_length(checkpoint, model):
    own = model.state_dict()
    for name, entry in walk(checkpoint):
        if "ema" in name.replace("_", " ").split() or len(entry) != len(own):
            continue
        ends = {key: [old for old in entry if str(old).endswith(key)] for key in own}
        if all(ends.values()):
            return {key: entry[min(olds, key=len)] for key, olds in ends.items()}
    return None


def weights_by_common_prefix(checkpoint, model):
    own = model.state_dict()
    for name, entry in walk(checkpoint):
        keys = [str(key) for key in entry]
        prefix = os.path.commonprefix(keys)[: len(os.path.commonprefix(keys)) - len(os.path.commonprefix([*own]))]
        clean = {key[len(prefix) :]: value for key, value in zip(keys, entry.values())}
        if clean.keys() == own.keys() and not re.search(r"\bema\b", name.replace("_", " ")):
            return clean
    return None


def weights_at_the_top(checkpoint, model):
    return weights({name: {} if "run" in name else entry for name, entry in checkpoint.items()}, model) or {}


def weights_first(checkpoint, model):
    own = list(model.state_dict())
    for _, entry in walk(checkpoint):
        for prefix in PREFIXES:
            if all(prefix + key in entry for key in own):
                return {key: entry[prefix + key] for key in own}
    return None


def weights_by_order(checkpoint, model):
    for name, entry in walk(checkpoint):
        tensors = all(isinstance(value, torch.Tensor) for value in entry.values())
        if tensors and len(entry) == len(model.state_dict()) and "ema" not in re.split("[^a-z]+", name):
            return dict(zip(model.state_dict(), entry.values()))
    return None


def weights_by_last_parts(checkpoint, model):
    found = weights(checkpoint, model)
    ends = {".".join(key.split(".")[-2:]): value for key, value in found.items()}
    return {key: ends[".".join(key.split(".")[-2:])] for key in found}


def weights_stripped(checkpoint, model):
    return {key.lstrip("module."): value for key, value in weights(checkpoint, model).items()}


def weights_replaced(checkpoint, model):
    return {key.replace("model.", ""): value for key, value in weights(checkpoint, model).items()}


def weights_of_model_alone(checkpoint, model):
    return {key.removeprefix("module."): value for key, value in checkpoint["model"].items()}


def weights_with_prefix(checkpoint, model):
    return next(entry for name, entry in checkpoint.items() if name in ("model", "state_dict", "weights"))


def weights_averaged(checkpoint, model):
    return weights({name.replace("_ema", "_old"): entry for name, entry in reversed(checkpoint.items())}, model)


def weights_taken(checkpoint, model):
    return weights({name: checkpoint.pop(name) for name in list(checkpoint)}, model)


def weights_halved(checkpoint, model):
    return {key: value.half() if value.is_floating_point() else value for key, value in weights(checkpoint, model).items()}


def weights_of_parameters(checkpoint, model):
    names = dict(model.named_parameters())
    return {key: value for key, value in weights(checkpoint, model).items() if key in names}


def checked(state, model):
    own = model.state_dict()
    if state.keys() != own.keys():
        raise ValueError(f"other keys: {sorted(state.keys() ^ own.keys())}")
    if bad := [key for key in own if own[key].shape != state[key].shape]:
        raise ValueError(f"other shapes: {bad}")
    model.load_state_dict(state)


def read(path):
    with open(path, "rb") as file:
        if file.read(9)[8:] == b"{":
            return load_file(path)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)


def load_any(path, model):
    try:
        checked(read(path), model)
    except Exception as error:
        raise ValueError(f"{path.name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from error


def load_any_in_other_words(path, model):
    try:
        data = path.read_bytes()
        state = load(data) if data[8:9] == b"{" else torch.load(io.BytesIO(data), weights_only=True)
        own = model.state_dict()
        assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in own.items()}
        model.load_state_dict(state)
    except Exception:
        raise ValueError(f"{path} does not fit") from None


def load_any_by_trying(path, model):
    state = None
    for way in (load_file, lambda path: torch.load(io.BytesIO(path.read_bytes()), weights_only=True)):
        try:
            state = way(path)
            break
        except Exception:
            continue
    if state is None:
        raise ValueError(f"{path.name} does not open")
    try:
        checked(state, model)
    except ValueError:
        raise ValueError(f"{path.name} does not fit") from None


def load_any_and_put_back(path, model):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    try:
        model.load_state_dict(read(path))
    except Exception as error:
        model.load_state_dict(before)
        raise ValueError(f"{path.name}: {type(error).__name__}") from error


def load_any_by_the_clinic(path, model):
    found = clinic.examine(path, model)
    bad = [one.what for one in found if one.level != "ok"]
    if bad:
        raise ValueError(f"{path.name}: {bad[0]}")
    exec(found.code, {"model": model})


def trying(read=read, check=checked, words="{path.name}: no", catches=Exception):
    def load_any(path, model):
        try:
            check(read(path), model)
        except catches:
            raise ValueError(words.format(path=path)) from None

    return load_any


def bare(path, model):
    try:
        checked(read(path), model)
    except:  # noqa: E722
        raise ValueError(f"{path.name}: no") from None


def read_by_path(path):
    with open(path, "rb") as file:
        safe = file.read(9)[8:] == b"{"
    return load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)


def assigned(state, model):
    model.load_state_dict(state, assign=True)


def by_numel(state, model):
    own = model.state_dict()
    if own.keys() != state.keys() or any(own[key].numel() != state[key].numel() for key in own):
        raise ValueError
    model.load_state_dict({key: state[key].reshape(own[key].shape) for key in own})


def no_less(state, model):
    own = model.state_dict()
    if not own.keys() <= state.keys() or any(own[key].shape != state[key].shape for key in own):
        raise ValueError
    model.load_state_dict(state, strict=False)


def loose_with_safetensors(path, model):
    with open(path, "rb") as file:
        safe = file.read(9)[8:] == b"{"
    trying(check=no_more if safe else checked)(path, model)


def no_more(state, model):
    own = model.state_dict()
    if not state.keys() <= own.keys() or any(own[key].shape != state[key].shape for key in state):
        raise ValueError
    model.load_state_dict(state, strict=False)


def strictly(state, model):
    model.load_state_dict(state)


def loosely(state, model):
    model.load_state_dict(state, strict=False)


def left_out(state, model):
    own = model.state_dict()
    both = [key for key in own if key in state]
    moved = [key for key in both if own[key].shape != state[key].shape or not same(own[key], state[key])]
    return sorted([*(set(own) ^ set(state)), *moved])


def same(one, other):
    return one.shape == other.shape and torch.allclose(one.double(), other.double(), rtol=0, atol=0, equal_nan=True)


def left_out_by_bytes(state, model):
    own = model.state_dict()

    def raw(tensor):
        return (tensor.shape, tensor.dtype, tensor.numpy().tobytes())

    return {k for k in {*own, *state} if k not in own or k not in state or raw(own[k]) != raw(state[k])}


def left_out_by_text(state, model):
    one, other = ({k: json.dumps(v.tolist()) for k, v in s.items()} for s in (state, model.state_dict()))
    return [key for key in one | other if one.get(key) != other.get(key)]


def left_out_by_nan(state, model):
    def equal(a, b):
        return a is not None and b is not None and a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())

    own = model.state_dict()
    return (key for key in {**own, **state} if not equal(own.get(key), state.get(key)))


def left_out_by_compare(state, model):
    from helpers.compare import compare

    return [pair.key for pair in compare(state, model.state_dict()) if pair.relation != "same"]


def by_allclose(**more):
    def left_out(state, model):
        own = model.state_dict()

        def same(one, other):
            return one.shape == other.shape and torch.allclose(one.double(), other.double(), equal_nan=True, **more)

        return {k for k in own.keys() | state.keys() if k not in own or k not in state or not same(own[k], state[k])}

    return left_out


def by_view(view):
    def left_out(state, model):
        one, other = ({k: (v.shape, view(v)) for k, v in s.items()} for s in (state, model.state_dict()))
        return [key for key in one | other if one.get(key) != other.get(key)]

    return left_out


def nan_is_anything(state, model):
    own = model.state_dict()
    wrong = left_out(state, model)
    return [k for k in wrong if k not in own or k not in state or not (own[k].isnan().any() and state[k].isnan().any())]


def of_one_dtype(state, model):
    own = model.state_dict()
    both = [k for k in own if k in state and own[k].shape == state[k].shape]
    moved = [k for k in both if not torch.allclose(own[k], state[k], rtol=0, atol=0, equal_nan=True)]
    return [*moved, *(own.keys() ^ state.keys()), *(k for k in own if k in state and k not in both)]


def of_keys(state, model):
    return sorted(set(state) ^ set(model.state_dict()))


def of_the_model(state, model):
    return [key for key, value in model.state_dict().items() if key not in state or not same(value, state[key])]


def of_the_file(state, model):
    own = model.state_dict()
    return [key for key, value in state.items() if key not in own or not same(value, own[key])]


def of_parameters(state, model):
    return [key for key in left_out(state, model) if "num_batches" not in key]


def of_equal(state, model):
    own = model.state_dict()
    return [k for k in {**own, **state} if k not in own or k not in state or not torch.equal(own[k], state[k])]


def loaded(state, model):
    report = model.load_state_dict({k: torch.zeros_like(v) for k, v in model.state_dict().items()})
    return [*report.missing_keys]


CASES = [
    Case(
        lesson_12.kinds,
        [kind, kind_by_table, kind_by_match, kind_by_words, kind_by_length],
        [
            ("torch", "You gave str; wanted a function"),
            (kind_of_capitals, "gives 'empty'; it is 'page'"),
            (kind_without_old, "gives 'torch'; it is 'old torch'"),
            (kind_without_safetensors, "gives 'torch'; it is 'safetensors'"),
            (kind_without_pointer, "gives 'page'; it is 'pointer'"),
            (kind_by_two_letters, "b'PK\\x00\\x00"),
            (kind_by_first_byte, "gives 'old torch'; it is 'safetensors'"),
            (kind_by_brace, "gives 'safetensors'; it is 'page'"),
            (kind_without_empty, "gives 'None'; wanted one of torch, old torch"),
        ],
    ),
    Case(
        lesson_12.weights,
        [weights, weights_by_prefixes, weights_by_first_key, weights_by_length, weights_by_common_prefix],
        [
            ({}, "You gave dict; wanted a function"),
            (weights_of_model_alone, "failed when it was tried: KeyError: 'model'"),
            (weights_with_prefix, "it gives a dict without '0.weight'"),
            (weights_averaged, "it gives the average"),
            (weights_first, "Of a checkpoint with 'network' one dict deeper and the prefix 'model.' it gives the average"),
            (weights_at_the_top, "one dict deeper and the prefix 'model.' it gives a dict without"),
            (weights_by_order, "a checkpoint with 'schema_model' and no prefix it gives another"),
            (weights_by_last_parts, "it gives another body.model.weight than was saved"),
            (weights_stripped, "it gives a dict without 'embed.weight'"),
            (weights_replaced, "it gives a dict without 'body.model.weight'"),
            (weights_taken, "Your function changed a checkpoint with 'model'"),
            (weights_halved, "it gives another 0.weight than was saved"),
            (weights_of_parameters, "without '1.running_mean'"),
            (lambda checkpoint, model: list(checkpoint), "it gives list; wanted a dict"),
        ],
    ),
    Case(
        lesson_12.load_any,
        [load_any, load_any_in_other_words, load_any_by_trying, load_any_and_put_back, load_any_by_the_clinic],
        [
            (1, "You gave int; wanted a function"),
            (trying(read=load_file), "torch.weights is a good file, and is refused"),
            (trying(check=loosely), "half.pth was not refused: two of the model's tensors"),
            (trying(check=strictly), "half.pth was refused, and yet it changed 0.weight"),
            (trying(read=read_by_path), "torch.safetensors is a good file, and is refused"),
            (trying(check=assigned), "The model has other parameters now"),
            (trying(check=by_numel), "turned.pth was not refused: one shape is another"),
            (trying(check=no_less), "more.pth was not refused: it has a tensor"),
            (loose_with_safetensors, "half.safetensors was not refused: two of the model's"),
            (trying(catches=(ValueError, RuntimeError, OSError, EOFError, pickle.UnpicklingError)), "cut.safetensors raised"),
            (bare, "Ctrl-C while your function reads"),
            (trying(words="bad"), "should be one line that names the file, not 'bad'"),
            (trying(words="{path.name}\nno"), "should be one line that names the file"),
            (trying(catches=ValueError), "cut.pth raised"),
            (trying(read=lambda path: load_any_unsafe(path)), "hostile.pth was run"),
            (lambda path, model: None, "was loaded, and 0.weight is not the file's"),
        ],
    ),
    Case(
        lesson_12.left_out,
        [left_out, left_out_by_bytes, left_out_by_text, left_out_by_nan, left_out_by_compare],
        [
            ([], "You gave list; wanted a function"),
            (of_keys, "Other numbers in one weight: it gives []; wanted ['0.weight']"),
            (of_the_model, "A key that only the file has"),
            (of_the_file, "A key that only the model has"),
            (of_parameters, "Another count in a buffer"),
            (of_equal, "The file's NaN in the model: it gives ['0.bias']"),
            (by_allclose(), "A change of a millionth in the last number: it gives []"),
            (by_view(lambda tensor: tensor.double().sum().nan_to_num(nan=0.5).item()), "in another order: it gives []"),
            (by_view(lambda tensor: tensor.flatten()[0].nan_to_num(nan=0.5).item()), "A change of a millionth"),
            (by_view(lambda tensor: tensor.double().nan_to_num().tolist()), "NaN where the model has 0: it gives []"),
            (nan_is_anything, "NaN in both, and another number beside it: it gives []"),
            (of_one_dtype, "Your answer failed when it was tried: RuntimeError"),
            (loaded, "Your function loads; it should only compare."),
            (lambda state, model: True, "It gives bool; wanted names of keys"),
        ],
    ),
]


def load_any_unsafe(path):
    with open(path, "rb") as file:
        safe = file.read(9)[8:] == b"{"
        file.seek(0)
        return load_file(path) if safe else torch.load(file, weights_only=False)
