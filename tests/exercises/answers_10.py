"""Answers to the exercises of lesson 10."""

from __future__ import annotations

import json
import re

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from case import Case
from helpers import describe
from helpers.exercises import lesson_10

INDEX = "model.safetensors.index.json"


def listing(path):
    state = torch.load(path, map_location="meta", weights_only=True)
    return {key: (tuple(tensor.shape), tensor.nbytes) for key, tensor in state.items()}


def listing_mapped(path):
    state = torch.load(path, mmap=True, weights_only=True)
    return {key: (tensor.shape, tensor.numel() * tensor.element_size()) for key, tensor in state.items()}


def listing_by_loop(path):
    found = {}
    for key, tensor in torch.load(path, map_location=torch.device("meta")).items():
        found[key] = [tensor.size(), tensor.nelement() * tensor.dtype.itemsize]
    return found


def listing_by_rows(path):
    return {row.key: (row.shape, row.bytes) for row in describe.describe(describe.read_file(path))}


def listing_on_meta(path):
    with torch.device("meta"):
        state = torch.load(path, map_location="meta", weights_only=True)
    return dict(zip(state, ((tuple(t.shape), t.nbytes) for t in state.values())))


def listing_in_full(path):
    return {key: (tuple(t.shape), t.nbytes) for key, t in torch.load(path, weights_only=True).items()}


def listing_in_copies(path):
    return {key: (tuple(t.shape), t.clone().nbytes) for key, t in torch.load(path, mmap=True, weights_only=True).items()}


def listing_numbers(path):
    return {key: (shape, size // 4) for key, (shape, size) in listing(path).items()}


def listing_floats(path):
    return {key: (shape, torch.Size(shape).numel() * 4) for key, (shape, _) in listing(path).items()}


def listing_storages(path):
    state = torch.load(path, map_location="meta", weights_only=True)
    return {key: (tuple(t.shape), t.untyped_storage().nbytes()) for key, t in state.items()}


def listing_unsafe(path):
    return {key: (tuple(t.shape), t.nbytes) for key, t in torch.load(path, mmap=True, weights_only=False).items()}


def weight_map(folder):
    return json.loads((folder / INDEX).read_text())["weight_map"]


def on_meta(build):
    with torch.device("meta"):
        return build()


def fill(build, folder):
    model = on_meta(build)
    for name in sorted(set(weight_map(folder).values())):
        model.load_state_dict(load_file(folder / name), strict=False, assign=True)
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    return model


def fill_unseen(build, folder):
    model = on_meta(build)
    for name in sorted(set(weight_map(folder).values())):
        model.load_state_dict(load_file(folder / name), strict=False, assign=True)
    return model


def fill_by_glob(build, folder):
    model = on_meta(build)
    for path in sorted(folder.glob("*.safetensors")):
        model.load_state_dict(load_file(path), strict=False, assign=True)
    assert not any(tensor.is_meta for tensor in model.state_dict().values())
    return model


def fill_frozen(build, folder):
    return fill(build, folder).requires_grad_(False)


def fill_and_stay_on_meta(build, folder):
    torch.set_default_device("meta")
    model = build()
    for name in sorted(set(weight_map(folder).values())):
        model.load_state_dict(load_file(folder / name, device="cpu"), strict=False, assign=True)
    return model


def fill_from_one_dict(build, folder):
    model, state = on_meta(build), {}
    for name in set(weight_map(folder).values()):
        state |= load_file(folder / name)
    model.load_state_dict(state, assign=True)
    return model


def fill_by_copy(build, folder):
    model = on_meta(build).to_empty(device="cpu")
    assert weight_map(folder).keys() == model.state_dict().keys()
    for name in set(weight_map(folder).values()):
        model.load_state_dict(load_file(folder / name), strict=False)
    return model


def fill_by_keys(build, folder):
    model = on_meta(build).to_empty(device="cpu")
    where = weight_map(folder)
    for key, tensor in model.state_dict().items():
        with safe_open(folder / where[key], "pt") as file:
            tensor.copy_(file.get_tensor(key))
    return model


def fill_with_a_real_model(build, folder):
    model, missing = build(), None
    for name in set(weight_map(folder).values()):
        report = model.load_state_dict(load_file(folder / name), strict=False)
        missing = set(report.missing_keys) if missing is None else missing & set(report.missing_keys)
    if missing:
        raise KeyError(*missing)
    return model


def fill_twice(build, folder):
    model, state = build(), {}
    for name in set(weight_map(folder).values()):
        state |= load_file(folder / name)
    model.load_state_dict({key: tensor.clone() for key, tensor in state.items()})
    return model


def fill_in_halves(build, folder):
    model, paths = build(), [folder / name for name in sorted(set(weight_map(folder).values()))]
    if weight_map(folder).keys() != model.state_dict().keys():
        raise KeyError
    state = {key: tensor + 0 for path in paths[::2] for key, tensor in load_file(path).items()}
    model.load_state_dict(state, strict=False)
    for path in paths[1::2]:
        model.load_state_dict(load_file(path), strict=False)
    return model


def fill_without_assign(build, folder):
    model = on_meta(build)
    for path in folder.glob("*.safetensors"):
        state = {key: tensor.to("meta") for key, tensor in load_file(path).items()}
        model.load_state_dict(state, strict=False)
    return model


def fill_with_one_shard(build, folder):
    model = build()
    model.load_state_dict(load_file(sorted(folder.glob("*.safetensors"))[0]), strict=False)
    return model


def fill_strictly(build, folder):
    model = on_meta(build)
    for path in folder.glob("*.safetensors"):
        model.load_state_dict(load_file(path), assign=True)
    return model


def written(shards, folder):
    index = {}
    for k, shard in enumerate(shards, 1):
        name = f"model-{k:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / name)
        index |= dict.fromkeys(shard, name)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": index}))


def split(state, most, folder):
    shards = [{}]
    for key, tensor in state.items():
        if shards[-1] and sum(t.nbytes for t in shards[-1].values()) + tensor.nbytes > most:
            shards.append({})
        shards[-1][key] = tensor
    written(shards, folder)


def split_largest_first(state, most, folder):
    shards = []
    for key, tensor in sorted(state.items(), key=lambda pair: -pair[1].nbytes):
        room = [s for s in shards if sum(t.nbytes for t in s.values()) + tensor.nbytes <= most]
        if room:
            room[0][key] = tensor
        else:
            shards.append({key: tensor})
    written(shards, folder)


def split_as_it_comes(state, most, folder):
    index, shard, size = {}, {}, 0

    def flush():
        name = f"part{len(set(index.values()))}.safetensors"
        save_file(shard, folder / name)
        index.update(dict.fromkeys(shard, name))

    for key, tensor in state.items():
        if shard and size + tensor.nbytes > most:
            flush()
            shard, size = {}, 0
        shard[key] = tensor
        size += tensor.nbytes
    flush()
    (folder / INDEX).write_text(json.dumps({"weight_map": index}))


def split_by_clones(state, most, folder):
    split({key: tensor.clone().contiguous() for key, tensor in state.items()}, most, folder)


def split_backwards(state, most, folder):
    split(dict(reversed(state.items())), most, folder)


def split_one_each(state, most, folder):
    written([{key: tensor} for key, tensor in state.items()], folder)


def split_in_one(state, most, folder):
    written([state], folder)


def split_by_numbers(state, most, folder):
    split(state, 4 * most, folder)


def split_as_float32(state, most, folder):
    shards = [{}]
    for key, tensor in state.items():
        if shards[-1] and 4 * sum(t.numel() for t in shards[-1].values()) + 4 * tensor.numel() > most:
            shards.append({})
        shards[-1][key] = tensor
    written(shards, folder)


def split_without_index(state, most, folder):
    split(state, most, folder)
    (folder / INDEX).unlink()


def split_flat_index(state, most, folder):
    split(state, most, folder)
    (folder / INDEX).write_text(json.dumps(weight_map(folder)))


def split_half_an_index(state, most, folder):
    split(state, most, folder)
    where = weight_map(folder)
    where.pop(next(iter(where)))
    (folder / INDEX).write_text(json.dumps({"weight_map": where}))


def split_in_halves(state, most, folder):
    split({key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()}, most, folder)


def split_and_take(state, most, folder):
    split(state, most, folder)
    state.clear()


def layer(path, name):
    with safe_open(path, "pt") as file:
        return {key[len(name) + 1 :]: file.get_tensor(key) for key in file.keys() if key.startswith(f"{name}.")}  # noqa: SIM118


def layer_by_prefix(path, name):
    found, prefix = {}, name + "."
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118
            if key.startswith(prefix):
                found[key.removeprefix(prefix)] = file.get_tensor(key)
    return found


def layer_by_partition(path, name):
    with safe_open(path, framework="pt", device="cpu") as file:
        keys = [key for key in file.keys() if key.partition(f"{name}.")[0] == ""]  # noqa: SIM118
        return {key.partition(f"{name}.")[2]: file.get_tensor(key) for key in keys}


def layer_by_slices(path, name):
    with safe_open(path, framework="pt", device="cpu") as file:
        keys = [key for key in file.keys() if key.startswith(f"{name}.")]  # noqa: SIM118
        return {key.removeprefix(f"{name}."): file.get_slice(key)[:] for key in keys}


def layer_anywhere(path, name):
    with safe_open(path, "pt") as file:
        keys = [key for key in file.keys() if f"{name}." in key]  # noqa: SIM118
        return {key.partition(f"{name}.")[2]: file.get_tensor(key) for key in keys}


def layer_by_pattern(path, name):
    with safe_open(path, "pt") as file:
        return {key[len(name) + 1 :]: file.get_tensor(key) for key in file.keys() if re.match(name + r"\.", key)}  # noqa: SIM118


def layer_by_replace(path, name):
    with safe_open(path, "pt") as file:
        keys = [key for key in file.keys() if key.startswith(f"{name}.")]  # noqa: SIM118
        return {key.replace(f"{name}.", ""): file.get_tensor(key) for key in keys}


def layer_as_arrays(path, name):
    return {key: tensor.numpy() for key, tensor in layer(path, name).items()}


def layer_mapped(path, name):
    return {k.removeprefix(f"{name}."): tensor for k, tensor in load_file(path).items() if f"{name}." == k[: len(name) + 1]}


def layer_by_parts(path, name):
    wanted = name.split(".")
    with safe_open(path, "pt") as file:
        paths = [key.split(".") for key in file.keys()]  # noqa: SIM118
        inside = [parts for parts in paths if parts[: len(wanted)] == wanted]
        return {".".join(parts[len(wanted) :]): file.get_tensor(".".join(parts)).clone() for parts in inside}


def layer_without_dot(path, name):
    with safe_open(path, "pt") as file:
        return {key[len(name) :].lstrip("."): file.get_tensor(key) for key in file.keys() if key.startswith(name)}  # noqa: SIM118


def layer_under_full_names(path, name):
    return {f"{name}.{key}": tensor for key, tensor in layer(path, name).items()}


def layer_of_all_in_memory(path, name):
    state = {key: tensor.clone() for key, tensor in load_file(path).items()}
    return {key.removeprefix(f"{name}."): tensor for key, tensor in state.items() if key.startswith(f"{name}.")}


def layer_without_what_is_in_it(path, name):
    return {key: tensor for key, tensor in layer(path, name).items() if "." not in key}


def layer_of_zeros(path, name):
    return {key: torch.zeros_like(tensor) for key, tensor in layer(path, name).items()}


CASES = [
    Case(
        lesson_10.listing,
        [listing, listing_mapped, listing_by_loop, listing_by_rows, listing_on_meta],
        [
            ({}, "You gave dict; wanted a function"),
            (listing_in_full, "more than 20 MB of memory to list large.pth"),
            (listing_in_copies, "more than 20 MB of memory to list large.pth"),
            (listing_numbers, "a of small.pth gives ((3, 5), 15); wanted ((3, 5), 60)"),
            (listing_floats, "b.c of small.pth gives ((7,), 28); wanted ((7,), 14)"),
            (listing_storages, "rows of kinds.pth gives ((2, 4), 144); wanted ((2, 4), 32)"),
            (listing_unsafe, "hostile.pth was run"),
            (lambda path: {key: size for key, (_, size) in listing(path).items()}, "a of small.pth gives 60; wanted a pair"),
            (lambda path: [*listing(path)], "wanted a dict with the keys a, b.c"),
        ],
    ),
    Case(
        lesson_10.fill,
        [fill, fill_from_one_dict, fill_by_copy, fill_by_keys, fill_with_a_real_model],
        [
            (None, "You gave NoneType; wanted a function"),
            (fill_twice, "The peak was far more than 1.1 × the weights"),
            (fill_in_halves, "What lies there twice"),
            (fill_without_assign, "still on meta"),
            (fill_with_one_shard, "of the model is not what the shards have"),
            (fill_unseen, "Where no shard has 1.bias, your function raises nothing"),
            (fill_by_glob, "1.weight is that of an older shard"),
            (fill_frozen, "0.weight cannot be trained any more"),
            (fill_and_stay_on_meta, "After your function new tensors are on meta"),
            (fill_strictly, "failed when it was tried: RuntimeError"),
            (lambda build, folder: weight_map(folder), "It gives dict; wanted the model"),
        ],
    ),
    Case(
        lesson_10.split,
        [split, split_largest_first, split_as_it_comes, split_by_clones, split_backwards],
        [
            (3, "You gave int; wanted a function"),
            (split_in_one, "has 2400 bytes of tensors; 800 were allowed"),
            (split_by_numbers, "bytes of tensors; 800 were allowed"),
            (split_as_float32, "has 320 bytes of tensors; 200 were allowed"),
            (split_one_each, "6 shards are many for 2400 bytes"),
            (split_without_index, "there is no model.safetensors.index.json"),
            (split_flat_index, "the index is no JSON with a weight_map"),
            (split_half_an_index, "the weight_map should name all keys"),
            (split_in_halves, "has other numbers than the state"),
            (split_and_take, "changed the state that it was given"),
        ],
    ),
    Case(
        lesson_10.layer,
        [layer, layer_by_prefix, layer_by_partition, layer_mapped, layer_by_parts],
        [
            ("", "You gave str; wanted a function"),
            (layer_without_dot, "Of encoder.1 it gives"),
            (layer_under_full_names, "Of encoder.1 it gives encoder.1."),
            (layer_of_all_in_memory, "more than 30 MB of memory to read"),
            (layer_without_what_is_in_it, "Of encoder.1 it gives"),
            (layer_by_slices, "Your answer failed when it was tried"),
            (layer_anywhere, "Of encoder.1 it gives"),
            (layer_by_pattern, "Of encoder.1 it gives"),
            (layer_by_replace, "Of encoder.1 it gives"),
            (layer_as_arrays, "is ndarray; wanted tensors of torch"),
            (layer_of_zeros, "of encoder.1 has other numbers than the file"),
        ],
    ),
]
