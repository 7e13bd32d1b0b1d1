"""Answers to the exercises of lesson 12."""

from __future__ import annotations

import json

import torch
from safetensors.torch import load, load_file

from case import Case
from helpers import clinic
from helpers.exercises import lesson_12


def kind(start):
    if start[:2] == b"PK":
        return "torch"
    if start[:4] == b"\x80\x02\x8a\n":
        return "old torch"
    if start[8:9] == b"{":
        return "safetensors"
    if start.startswith(b"version"):
        return "pointer"
    return "page" if start[:1] == b"<" else "empty"


STARTS = {b"PK": "torch", b"\x80": "old torch", b"version": "pointer", b"<": "page"}


def kind_by_table(start):
    found = [name for magic, name in STARTS.items() if start.startswith(magic)]
    return found[0] if found else "safetensors" if start else "empty"


def kind_by_match(start):
    match start[:1]:
        case b"P":
            return "torch"
        case b"\x80":
            return "old torch"
        case b"v":
            return "pointer"
        case b"<":
            return "page"
        case b"":
            return "empty"
    return "safetensors"


def kind_by_clinic(start):
    text = start.lower()
    if not text:
        return "empty"
    if b"html" in text[:20]:
        return "page"
    if b"git-lfs" in text:
        return "pointer"
    return {0x50: "torch", 0x80: "old torch"}.get(start[0], "safetensors")


def kind_by_length(start):
    if len(start) > 8 and int.from_bytes(start[:8], "little") < 1 << 24 and start[8] == ord("{"):
        return "safetensors"
    return kind_by_table(start)


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


PREFIXES = ("module.", "model.", "_orig_mod.")


def weights(checkpoint, model):
    own = model.state_dict()
    for name, entry in checkpoint.items():
        if "ema" in name or not isinstance(entry, dict):
            continue
        clean = {}
        for key, value in entry.items():
            for prefix in PREFIXES:
                key = str(key).removeprefix(prefix)
            clean[key] = value
        if clean.keys() == own.keys():
            return clean
    raise ValueError


def weights_by_suffix(checkpoint, model):
    for name, entry in checkpoint.items():
        if name.endswith("_ema") or not isinstance(entry, dict):
            continue
        found = {key: value for key in model.state_dict() for old, value in entry.items() if str(old).endswith(key)}
        if found:
            return found
    return None


def weights_by_first_key(checkpoint, model):
    first = next(iter(model.state_dict()))
    entry = next(
        entry
        for name, entry in checkpoint.items()
        if "ema" not in name and isinstance(entry, dict) and any(str(key).endswith(first) for key in entry)
    )
    prefix = next(iter(entry)).removesuffix(first)
    return {key.removeprefix(prefix): value for key, value in entry.items()}


def weights_by_order(checkpoint, model):
    entry = next(checkpoint[name] for name in ("model", "state_dict", "weights") if name in checkpoint)
    return dict(zip(model.state_dict(), entry.values()))


def weights_by_clinic(checkpoint, model):
    names = {"contents": checkpoint, "model": model}
    exec(clinic.examine(checkpoint, model).code, names)
    return model.state_dict()


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
        safe = file.read(9)[8:] == b"{"
    return load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)


def load_any(path, model):
    try:
        checked(read(path), model)
    except Exception as error:
        raise ValueError(f"{path.name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from error


def load_any_in_other_words(path, model):
    try:
        data = path.read_bytes()
        state = load(data) if data[8:9] == b"{" else torch.load(path, weights_only=True)
        own = model.state_dict()
        assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in own.items()}
        model.load_state_dict(state)
    except Exception:
        raise ValueError(f"{path} does not fit") from None


def load_any_by_trying(path, model):
    state = None
    for way in (load_file, lambda path: torch.load(path, weights_only=True)):
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
        [kind, kind_by_table, kind_by_match, kind_by_clinic, kind_by_length],
        [
            ("torch", "You gave str; wanted a function"),
            (kind_of_capitals, "gives 'empty'; it is 'page'"),
            (kind_without_old, "gives 'torch'; it is 'old torch'"),
            (kind_without_safetensors, "gives 'torch'; it is 'safetensors'"),
            (kind_without_pointer, "gives 'page'; it is 'pointer'"),
            (kind_without_empty, "gives 'None'; wanted one of torch, old torch"),
        ],
    ),
    Case(
        lesson_12.weights,
        [weights, weights_by_suffix, weights_by_first_key, weights_by_order, weights_by_clinic],
        [
            ({}, "You gave dict; wanted a function"),
            (weights_of_model_alone, "failed when it was tried: KeyError: 'model'"),
            (weights_with_prefix, "it gives a dict without '0.weight'"),
            (weights_averaged, "it gives the average"),
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
            (loaded, "Your function loads; it should only compare."),
            (lambda state, model: True, "It gives bool; wanted names of keys"),
        ],
    ),
]


def load_any_unsafe(path):
    with open(path, "rb") as file:
        safe = file.read(9)[8:] == b"{"
    return load_file(path) if safe else torch.load(path, weights_only=False)
