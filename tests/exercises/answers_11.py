"""Answers to the exercises of lesson 11."""

from __future__ import annotations

import os
import pickle
import sys
import time

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, TensorStorageMetadata

from case import Case
from helpers.exercises import lesson_11


def save_once(state, path, rank, wait):
    if rank == 0:
        torch.save(state, path)
    wait()


def save_atomically(state, path, rank, wait):
    if not rank:
        part = path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, path)
    wait()


def save_between_two_barriers(state, path, rank, wait):
    wait()
    if rank == 0:
        torch.save(state, path)
    wait()


def save_with_early_return(state, path, rank, wait):
    if rank > 0:
        wait()
        return
    torch.save(state, path)
    wait()


def save_and_read(state, path, rank, wait):
    if rank == 0:
        with open(path, "wb") as file:
            torch.save(state, file)
    wait()
    return torch.load(path, weights_only=True)


def save_on_all(state, path, rank, wait):
    torch.save(state, path)
    wait()


def save_without_barrier(state, path, rank, wait):
    if rank == 0:
        torch.save(state, path)


def save_after_barrier(state, path, rank, wait):
    wait()
    if rank == 0:
        torch.save(state, path)


def only_0_waits(state, path, rank, wait):
    if rank == 0:
        torch.save(state, path)
        wait()


def only_others_wait(state, path, rank, wait):
    if rank == 0:
        torch.save(state, path)
    else:
        wait()


def save_of_rank_1(state, path, rank, wait):
    if rank == 1:
        torch.save(state, path)
    wait()


def save_of_another_name(state, path, rank, wait):
    save_once(state, path.with_suffix(".pt"), rank, wait)


def save_if_absent(state, path, rank, wait):
    if rank == 0 and not path.exists():
        torch.save(state, path)
    wait()


def save_parts(state, path, rank, wait):
    torch.save(state, path.with_suffix(f".{rank}"))
    wait()
    if rank == 0:
        os.replace(path.with_suffix(".0"), path)
    wait()


def save_by_polling(state, path, rank, wait):
    if rank == 0:
        torch.save(state, path)
    while not path.exists():
        time.sleep(0.01)


def read(folder):
    return dcp.FileSystemReader(folder).read_metadata()


def shapes(folder):
    return {k: tuple(v.size) for k, v in read(folder).state_dict_metadata.items() if hasattr(v, "size")}


def shapes_by_class(folder):
    found = {}
    for key, entry in read(folder).state_dict_metadata.items():
        if isinstance(entry, TensorStorageMetadata):
            found[key] = entry.size
    return found


def shapes_by_pickle(folder):
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    return {k: list(v.size) for k, v in metadata.state_dict_metadata.items() if not isinstance(v, BytesStorageMetadata)}


def shapes_by_trying(folder):
    found = {}
    for key, entry in read(str(folder)).state_dict_metadata.items():
        try:
            found[key] = entry.size
        except AttributeError:
            continue
    return found


def shapes_from_chunks(folder):
    found = {}
    for key, entry in read(folder).state_dict_metadata.items():
        if chunks := getattr(entry, "chunks", None):
            ends = [[a + b for a, b in zip(c.offsets, c.sizes)] for c in chunks]
            found[key] = tuple(map(max, zip(*ends)))
    return found


def shapes_of_all(folder):
    return {key: tuple(getattr(entry, "size", ())) for key, entry in read(folder).state_dict_metadata.items()}


def shapes_by_loading(folder):
    dcp_to_torch_save(folder, folder / "all.pth")
    return {f"model.{k}": tuple(v.shape) for k, v in torch.load(folder / "all.pth")["model"].items()}


def shapes_by_own_names(folder):
    return {key.removeprefix("model."): shape for key, shape in shapes(folder).items()}


def shapes_without_buffers(folder):
    return {key: shape for key, shape in shapes(folder).items() if "running" not in key}


def shapes_of_the_first_chunk(folder):
    return {k: tuple(v.chunks[0].sizes) for k, v in read(folder).state_dict_metadata.items() if hasattr(v, "chunks")}


def shapes_of_the_model(folder):
    return {key: shape for key, shape in shapes(folder).items() if key.startswith(("model.", "net."))}


def shapes_as_numbers(folder):
    return {key: torch.Size(shape).numel() for key, shape in shapes(folder).items()}


def shapes_turned(folder):
    return {key: shape[::-1] for key, shape in shapes(folder).items()}


def one_file(folder, path):
    dcp_to_torch_save(folder, path)
    torch.save(torch.load(path, weights_only=True)["model"], path)


def empty(folder):
    stored = read(folder).state_dict_metadata
    return {key: torch.empty(v.size, dtype=v.properties.dtype) for key, v in stored.items() if key.startswith("model.")}


def one_file_by_metadata(folder, path):
    state = empty(folder)
    dcp.load(state, checkpoint_id=folder, no_dist=True)
    torch.save({key.removeprefix("model."): tensor for key, tensor in state.items()}, path)


def one_file_nested(folder, path):
    state = {key.removeprefix("model."): tensor for key, tensor in empty(folder).items()}
    dcp.load({"model": state}, storage_reader=dcp.FileSystemReader(folder), no_dist=True)
    torch.save(state, path)


def one_file_beside(folder, path):
    whole = path.with_suffix(".whole")
    dcp_to_torch_save(folder, whole)
    contents = torch.load(whole, weights_only=True)
    whole.unlink()
    torch.save(dict(contents["model"].items()), path)


def one_file_with_prefix_cut(folder, path):
    one_file_by_metadata(folder, path)
    state = torch.load(path, weights_only=True)
    torch.save({key: state[key].clone() for key in sorted(state)}, path)


def whole_file(folder, path):
    dcp_to_torch_save(folder, path)


def file_with_prefix(folder, path):
    state = empty(folder)
    dcp.load(state, checkpoint_id=folder, no_dist=True)
    torch.save(state, path)


def file_never_filled(folder, path):
    torch.save({key.removeprefix("model."): torch.zeros_like(v) for key, v in empty(folder).items()}, path)


def file_in_the_folder(folder, path):
    dcp_to_torch_save(folder, folder / "all.pth")
    torch.save(torch.load(folder / "all.pth", weights_only=True)["model"], path)


def first_shard(folder, path):
    torch.save(torch.load(sorted(folder.glob("*.distcp"))[0], weights_only=True), path)


def file_of_lists(folder, path):
    one_file(folder, path)
    torch.save(set(torch.load(path, weights_only=True)), path)


def parameters_only(folder, path):
    one_file(folder, path)
    state = torch.load(path, weights_only=True)
    torch.save({key: value for key, value in state.items() if "num_batches" not in key}, path)


def nothing_written(folder, path):
    dcp_to_torch_save(folder, path.with_suffix(".pt"))


def file_of(change):
    def one(folder, path):
        one_file(folder, path)
        torch.save({key: change(value) for key, value in torch.load(path).items()}, path)

    return one


def file_and_another(folder, path):
    whole = path.with_suffix(".whole")
    dcp_to_torch_save(folder, whole)
    torch.save(torch.load(whole, weights_only=True)["model"], path)


def over_its_own_map(folder, path):
    dcp_to_torch_save(folder, path)
    torch.save(torch.load(path, mmap=True, weights_only=True)["model"], path)


def one_file_by_its_map(folder, path):
    whole = path.with_suffix(".whole")
    dcp_to_torch_save(folder, whole)
    torch.save(torch.load(whole, mmap=True, weights_only=True)["model"], path)
    whole.unlink()


def one_file_without_no_dist(folder, path):
    state = empty(folder)
    dcp.load(state, checkpoint_id=folder)
    torch.save({key.removeprefix("model."): tensor for key, tensor in state.items()}, path)


def keep_best(loss, best, state, path, rank, mean, wait):
    loss = mean(loss)
    if loss < best:
        best = loss
        if rank == 0:
            torch.save(state, path)
        wait()
    return best


def keep_best_and_always_wait(loss, best, state, path, rank, mean, wait):
    average = mean(loss)
    if average < best and rank == 0:
        torch.save(state, path)
    wait()
    return min(average, best)


def keep_best_atomically(loss, best, state, path, rank, mean, wait):
    average = mean(torch.tensor(loss))
    better = average < best
    if better and rank == 0:
        torch.save(state, path.with_suffix(".part"))
        os.replace(path.with_suffix(".part"), path)
    wait()
    return average if better else best


def keep_best_by_early_return(loss, best, state, path, rank, mean, wait):
    now = mean(loss)
    if now >= best:
        return best
    if not rank:
        torch.save(state, path)
    wait()
    return torch.tensor(now)


def keep_best_in_one_line(loss, best, state, path, rank, mean, wait):
    now = mean(loss)
    rank == 0 and now < best and torch.save(state, path)
    wait(), wait()
    return now if now < best else best


def every_rank(loss, best, state, path, rank, mean, wait):
    if loss < best:
        torch.save(state, path)
        best = loss
    return best


def rank_0_by_its_own_loss(loss, best, state, path, rank, mean, wait):
    if rank == 0 and loss < best:
        torch.save(state, path)
    wait()
    return min(loss, best)


def mean_inside(loss, best, state, path, rank, mean, wait):
    if loss < best:
        best = mean(loss)
        if rank == 0:
            torch.save(state, path)
    wait()
    return best


def no_wait(loss, best, state, path, rank, mean, wait):
    now = mean(loss)
    if now < best and rank == 0:
        torch.save(state, path)
    return min(now, best)


def only_rank_0_averages(loss, best, state, path, rank, mean, wait):
    if rank == 0:
        now = mean(loss)
        if now < best:
            torch.save(state, path)
        best = min(now, best)
    return best


def all_write_the_mean(loss, best, state, path, rank, mean, wait):
    now = mean(loss)
    if now < best:
        torch.save(state, path)
    wait()
    return min(now, best)


def last_one(loss, best, state, path, rank, mean, wait):
    now = mean(loss)
    if rank == 0:
        torch.save(state, path)
    wait()
    return min(now, best)


def returns_nothing(loss, best, state, path, rank, mean, wait):
    keep_best(loss, best, state, path, rank, mean, wait)


CASES = [
    Case(
        lesson_11.save_once,
        [save_atomically, save_once, save_between_two_barriers, save_with_early_return, save_and_read],
        [
            (1, "You gave int; wanted a function"),
            (save_on_all, "Rank 2 writes too"),
            (save_without_barrier, "Rank 2 goes on before rank 0 has written"),
            (save_after_barrier, "Rank 2 goes on before rank 0 has written"),
            (only_0_waits, "In save 1: rank 0 waits for ever in wait(), which rank 1 never calls"),
            (only_others_wait, "In save 1: rank 2 waits for ever in wait(), which rank 0 never calls"),
            (save_of_rank_1, "Rank 1 writes too"),
            (save_of_another_name, "After save 1 the file at the path is not rank 0's state"),
            (save_if_absent, "After save 2 the file at the path is not rank 0's state"),
            (save_parts, "Rank 2 writes too: only rank 0 should"),
            (save_by_polling, "In save 1: rank 2 neither ends nor meets the others"),
            (lambda state: None, "In save 1 it fails: TypeError"),
        ],
    ),
    Case(
        lesson_11.contents,
        [shapes, shapes_by_class, shapes_by_pickle, shapes_by_trying, shapes_from_chunks],
        [
            ({}, "You gave dict; wanted a function"),
            (shapes_of_all, "It lists 'epoch', which is no tensor's key"),
            (shapes_by_loading, "It needs more than .metadata"),
            (shapes_by_own_names, "It lists '0.weight', which is no tensor's key"),
            (shapes_without_buffers, "It does not list 'model.1.running_mean'"),
            (shapes_of_the_first_chunk, "For 'model.0.weight' it gives (2, 2); the shape is (4, 2)"),
            (shapes_of_the_model, "It does not list 'optimizer.state.0.weight.momentum_buffer'"),
            (shapes_as_numbers, "For 'model.0.weight' it gives 8; the shape is (4, 2)"),
            (shapes_turned, "For 'model.0.weight' it gives (2, 4)"),
            (lambda folder: sorted(shapes(folder)), "It gives list; wanted a dict"),
        ],
    ),
    Case(
        lesson_11.one_file,
        [
            one_file,
            one_file_by_metadata,
            one_file_nested,
            one_file_beside,
            one_file_with_prefix_cut,
            one_file_by_its_map,
            one_file_without_no_dist,
        ],
        [
            ("model.pth", "You gave str; wanted a function"),
            (whole_file, "load_state_dict does not take what the file holds"),
            (file_with_prefix, "load_state_dict does not take what the file holds"),
            (file_never_filled, "The file loads, but 0.weight has other numbers"),
            (file_in_the_folder, "Your function changed the folder"),
            (first_shard, "load_state_dict does not take what the file holds: TypeError"),
            (parameters_only, "1.num_batches_tracked has other numbers"),
            (file_of(torch.Tensor.double), "0.weight is Tensor of torch.float64 in the file; in the folder it is Tensor of"),
            (file_of(lambda value: torch.nn.Parameter(value, False)), "0.weight is Parameter of torch.float32 in the file"),
            (file_and_another, "Beside the file your function leaves model.whole"),
            (over_its_own_map, "it writes over a file that it has mapped"),
            (lambda folder, path: sys.exit(1), "SystemExit"),
            (nothing_written, "After your function there is no file at the path"),
            (
                lambda folder, path: dcp.load({"a": torch.ones(1)}, checkpoint_id=folder, no_dist=True),
                "failed when it was tried",
            ),
        ],
    ),
    Case(
        lesson_11.keep_best,
        [keep_best_atomically, keep_best, keep_best_and_always_wait, keep_best_by_early_return, keep_best_in_one_line],
        [
            (None, "You gave NoneType; wanted a function"),
            (every_rank, "Rank 2 writes too"),
            (rank_0_by_its_own_loss, "After epoch 2 rank 0 returns 1.0; wanted 3"),
            (mean_inside, "In epoch 2: rank 1 is in wait(), and rank 0 in mean()"),
            (no_wait, "Rank 2 goes on before rank 0 has written"),
            (only_rank_0_averages, "In epoch 1: rank 0 waits for ever in mean(), which rank 1 never calls"),
            (all_write_the_mean, "Rank 2 writes too"),
            (last_one, "After epoch 2 the file holds epoch 2; the best mean was that of epoch 1"),
            (returns_nothing, "After epoch 1 rank 0 returns None; wanted 3"),
        ],
    ),
]
