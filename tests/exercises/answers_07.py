"""Answers to the exercises of lesson 07."""

from __future__ import annotations

import collections
import copy
import functools
import io
import os
import shutil
import tempfile
import types
from os import rename
from pathlib import Path

import torch

from case import Case
from helpers.exercises import lesson_07

PARTS = ("model", "optimizer", "scheduler")


def save(run, path):
    states = {name: getattr(run, name).state_dict() for name in PARTS}
    torch.save({**states, "rng": torch.get_rng_state(), "best": run.best}, path)


def load(run, path):
    saved = torch.load(path, map_location="cpu", weights_only=True)
    for name in PARTS:
        getattr(run, name).load_state_dict(saved[name])
    run.best = saved["best"]
    torch.set_rng_state(saved["rng"])


def save_a_list(run, path):
    owners = [run.model, run.optimizer, run.scheduler]
    torch.save([torch.random.get_rng_state(), run.best, *(owner.state_dict() for owner in owners)], path)


def load_a_list(run, path):
    rng, run.best, model, optimizer, scheduler = torch.load(path, weights_only=True)
    run.scheduler.load_state_dict(scheduler)
    run.optimizer.load_state_dict(optimizer)
    run.model.load_state_dict(model, assign=False)
    torch.random.set_rng_state(rng)


def save_with_a_generator(run, path):
    states = copy.deepcopy({name: getattr(run, name).state_dict() for name in PARTS})
    states["generator"] = torch.default_generator.get_state()
    states["best"] = torch.tensor(run.best, dtype=torch.float64)
    torch.save(states, str(path))


def load_with_a_generator(run, path):
    saved = torch.load(str(path), weights_only=True)
    torch.default_generator.set_state(saved.pop("generator"))
    run.best = saved.pop("best").item()
    for name, state in saved.items():
        vars(run)[name].load_state_dict(state)


def save_in_eval(run, path):
    run.model.eval()
    save(run, path)
    run.model.train()


def load_and_train(run, path):
    run.model.eval()
    load(run, path)
    run.model.train()


def save_by_stream(run, path):
    stream = io.BytesIO()
    save(run, stream)
    path.write_bytes(stream.getvalue())


def load_by_stream(run, path):
    load(run, io.BytesIO(path.read_bytes()))


class Keeper:
    def __init__(self, parts=PARTS):
        self.parts = parts

    def save(self, run, path):
        save(run, path)

    def load(self, run, path):
        saved = torch.load(path, weights_only=True, mmap=True)
        for name in self.parts:
            getattr(run, name).load_state_dict(copy.deepcopy(saved[name]))
        run.best, _ = saved["best"], torch.set_rng_state(saved["rng"].clone())


def loads(*parts):
    def load(run, path):
        saved = torch.load(path, weights_only=True)
        for name in PARTS:
            if name in parts:
                getattr(run, name).load_state_dict(saved[name])
        if "best" in parts:
            run.best = saved["best"]
        if "rng" in parts:
            torch.set_rng_state(saved["rng"])

    return load


def save_objects(run, path):
    torch.save({"model": run.model}, path)


def save_nowhere(run, path):
    torch.save({}, io.BytesIO())


def save_and_stay_in_eval(run, path):
    save(run, path)
    run.model.eval()


def load_and_stay_in_eval(run, path):
    load(run, path)
    run.model.eval()


def save_and_seed(run, path):
    save(run, path)
    torch.manual_seed(0)


def load_and_seed(run, path):
    load(run, path)
    torch.manual_seed(0)


def load_trusting(run, path):
    saved = torch.load(path, weights_only=False)
    for name in PARTS:
        getattr(run, name).load_state_dict(saved[name])
    run.best = saved["best"]
    torch.set_rng_state(saved["rng"])


def load_the_counter(run, path):
    loads("model", "optimizer", "best", "rng")(run, path)
    run.scheduler.last_epoch = torch.load(path, weights_only=True)["scheduler"]["last_epoch"]


def load_another_model(run, path):
    load(run, path)
    run.model = copy.deepcopy(run.model)


def load_a_new_optimizer(run, path):
    run.optimizer = torch.optim.SGD(run.model.parameters(), lr=0.1, momentum=0.9)
    load(run, path)


def load_in_any_way(run, path):
    try:
        load(run, path)
    except Exception:
        load_trusting(run, path)


KEPT = {}


def save_in_memory(run, path):
    save(run, path)
    KEPT["bytes"] = path.read_bytes()


def load_from_memory(run, path):
    load(run, io.BytesIO(KEPT["bytes"]))


def beside(path):
    return path.with_name(f"{path.name}.{os.urandom(8).hex()}.part")


def write(state, path):
    part = beside(path)
    with open(part, "xb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def write_with_path(state, path):
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def write_with_rename(state, path):
    torch.save(state, str(path) + ".new")
    rename(str(path) + ".new", path)


def write_bytes_beside(state, path):
    stream = io.BytesIO()
    torch.save(state, stream)
    part = beside(path)
    part.write_bytes(stream.getbuffer())
    shutil.move(part, path)


def write_a_temporary(state, path):
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        torch.save(state, file)
    os.replace(file.name, path)


def write_in_a_folder(state, path):
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        torch.save(state, Path(folder) / "new")
        os.replace(Path(folder) / "new", path)


def write_verify_and_keep_the_old(state, path):
    part = path.parent / f".{path.stem}-{os.getpid()}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "wb") as file:
        torch.save(state, file)
    torch.load(part, weights_only=True)
    if path.exists():
        shutil.copy2(path, path.with_suffix(".old"))
    os.replace(os.fsencode(part), os.fsencode(path))


def swap(state, path):
    part = beside(path)
    torch.save(state, part)
    if path.exists():
        os.replace(path, path.with_suffix(".old"))
    os.replace(part, path)


def write_straight(state, path):
    torch.save(state, path)


def write_from_memory(state, path):
    stream = io.BytesIO()
    torch.save(state, stream)
    path.write_bytes(stream.getvalue())


def write_and_copy(state, path):
    part = beside(path)
    torch.save(state, part)
    shutil.copyfile(part, path)
    part.unlink()


def write_after_a_backup(state, path):
    if path.exists():
        os.replace(path, path.with_suffix(".old"))
    torch.save(state, path)


def unlink_first(state, path):
    part = beside(path)
    torch.save(state, part)
    path.unlink(missing_ok=True)
    part.rename(path)


def rename_too_early(state, path):
    part = beside(path)
    stream = io.BytesIO()
    torch.save(state, stream)
    with open(part, "wb", buffering=1 << 20) as file:
        file.write(stream.getvalue())
        os.replace(part, path)


def write_and_move(state, path):
    with tempfile.NamedTemporaryFile(delete=False) as file:
        torch.save(state, file)
    shutil.move(file.name, path)


def write_exclusively(state, path):
    part = path.with_suffix(".part")
    with open(part, "xb") as file:
        torch.save(state, file)
    os.replace(part, path)


def write_elsewhere(state, path):
    torch.save(state, path.with_suffix(".other"))


def write_once(state, path):
    if not path.exists():
        write(state, path)


def write_the_step(state, path):
    write({"step": state["step"]}, path)


RIGHT = {"a": "generators", "b": "optimizer", "c": "scheduler", "d": "nothing", "e": "model"}

CASES = [
    Case(
        lesson_07.resumable,
        [
            (save, load),
            (save_a_list, load_a_list),
            (save_with_a_generator, load_with_a_generator),
            [save_in_eval, load_and_train],
            (save_by_stream, load_by_stream),
            (Keeper().save, Keeper().load),
        ],
        [
            ((save, loads("model", "optimizer", "scheduler", "best")), "part at step 1 after the resume. Look at torch's gen"),
            ((save, loads("optimizer", "scheduler", "best", "rng")), "Look at model"),
            ((save, loads("model", "scheduler", "best", "rng")), "Look at optimizer"),
            ((save, loads("model", "optimizer", "best", "rng")), "Look at scheduler"),
            ((save, loads("model", "optimizer", "scheduler", "rng")), "losses agree, but best is"),
            ((save, load_the_counter), "losses agree, but scheduler is not as it was saved"),
            ((save, load_another_model), "who holds whom"),
            ((save, load_a_new_optimizer), "who holds whom"),
            ((save_and_stay_in_eval, load_and_stay_in_eval), "save left the model in eval()"),
            ((save, load_and_stay_in_eval), "load left the model in eval()"),
            ((save_and_seed, load_and_seed), "Does save draw or seed random numbers?"),
            ((save, load_and_seed), "Look at torch's generator"),
            ((save, load_trusting), "load ran a call that stood in a file"),
            ((save, load_in_any_way), "load ran a call that stood in a file"),
            ((save_in_memory, load_from_memory), "The losses part at step 1"),
            ((save_objects, load), "does not load with weights_only=True"),
            ((save_nowhere, load), "no file"),
            (save, "Wanted two functions"),
        ],
    ),
    Case(
        lesson_07.find_forgotten,
        [
            RIGHT,
            {**RIGHT, "a": "rng", "d": None},
            types.MappingProxyType(dict(reversed(RIGHT.items()))),
            collections.OrderedDict((name, piece.upper()) for name, piece in RIGHT.items()),
            {**RIGHT, "a": "random numbers", "c": "lr_scheduler", "d": "none"},
            collections.ChainMap({"a": "generator"}, RIGHT),
        ],
        [
            ({**RIGHT, "a": "optimizer"}, "a: optimizer in the file would change nothing: plain SGD"),
            ({**RIGHT, "a": "scheduler"}, "a: scheduler in the file would change nothing: its rate"),
            ({**RIGHT, "a": "nothing"}, "its dropout draws other units"),
            ({**RIGHT, "b": "generators"}, "b: generators in the file would change nothing: nothing in it is random"),
            ({**RIGHT, "b": "nothing"}, "first step has no momentum"),
            ({**RIGHT, "c": "nothing"}, "its decay counts from 0"),
            ({**RIGHT, "c": "optimizer"}, "c: the optimizer is in the file"),
            ({**RIGHT, "d": "optimizer"}, "d: optimizer in the file would change nothing"),
            ({**RIGHT, "e": "nothing"}, "BatchNorm's statistics"),
            ({**RIGHT, "c": ...}, "4 of 5 decided. Next: c"),
            ({**RIGHT, "a": "epoch"}, "is none of"),
            ("scheduler", "You gave str"),
        ],
    ),
    Case(
        lesson_07.survives,
        [
            write,
            write_with_path,
            write_with_rename,
            write_bytes_beside,
            write_a_temporary,
            write_in_a_folder,
            write_verify_and_keep_the_old,
        ],
        [
            (write_straight, "leaves a torn file at the path"),
            (functools.partial(write_from_memory), "leaves a torn file at the path"),
            (write_and_copy, "leaves a torn file at the path"),
            (rename_too_early, "leaves a torn file at the path"),
            (write_after_a_backup, "neither the old nor the new state"),
            (swap, "no file at the path: the old one"),
            (unlink_first, "no file at the path: the old one"),
            (write_and_move, "a file of another folder"),
            (write_exclusively, "what that one left: FileExistsError"),
            (write_elsewhere, "there is no file at the path"),
            (write_the_step, "does not load as what was given"),
            (write_once, "did not arrive"),
            (lambda state, path: None, "there is no file at the path"),
            ("os.replace", "You gave str"),
        ],
    ),
]
