"""The same table for the lessons of the field guide."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file, save_model
from torch import nn

from helpers.exercises import lesson_06, lesson_07, lesson_08
from wrong_answers import Case


def bare(state):
    return {key.removeprefix("module."): value for key, value in state.items()}


def load_parallel(checkpoint, model):
    model.load_state_dict(bare(checkpoint["model_state"]))
    return model


def load_parallel_loosely(checkpoint, model):
    model.load_state_dict(checkpoint["model_state"], strict=False)
    return model


def load_parallel_wrapped(checkpoint, model):
    wrapped = nn.DataParallel(model)
    wrapped.load_state_dict(checkpoint["model_state"])
    return wrapped


def load_parallel_only(checkpoint, model):
    return model.load_state_dict(bare(checkpoint["model_state"]))


def load_parallel_whole(checkpoint, model):
    model.load_state_dict(checkpoint)


def load_parallel_in_place(checkpoint, model):
    nn.modules.utils.consume_prefix_in_state_dict_if_present(checkpoint["model_state"], "module.")
    return load_parallel(checkpoint, model)


def fitting(state, model):
    own = model.state_dict()
    return {key: value for key, value in state.items() if own[key].shape == value.shape}


def transfer(state, model):
    model.load_state_dict(fitting(state, model), strict=False)
    return list(fitting(state, model))


def transfer_loosely(state, model):
    return model.load_state_dict(state, strict=False)


def transfer_silently(state, model):
    model.load_state_dict(fitting(state, model), strict=False)


def transfer_and_say_what_stayed(state, model):
    return model.load_state_dict(fitting(state, model), strict=False).missing_keys


def transfer_nothing(state, model):
    return ["0.weight", "0.bias"]


def transfer_and_overwrite_the_head(state, model):
    with torch.no_grad():
        model[2].weight.copy_(state["2.weight"])
    return transfer(state, model)


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Linear(2, 2), nn.Linear(2, 1)


class Migrating(Plain):
    def __init__(self):
        super().__init__()
        self.register_load_state_dict_pre_hook(self.rename)

    @staticmethod
    def rename(module, state_dict, prefix, *_):
        for name in ("weight", "bias"):
            if f"{prefix}body.{name}" in state_dict:
                state_dict[f"{prefix}encoder.{name}"] = state_dict.pop(f"{prefix}body.{name}")


class WithoutPrefix(Plain):
    def __init__(self):
        super().__init__()
        self.register_load_state_dict_pre_hook(self.rename)

    @staticmethod
    def rename(module, state_dict, prefix, *_):
        for name in ("weight", "bias"):
            if f"body.{name}" in state_dict:
                state_dict[f"encoder.{name}"] = state_dict.pop(f"body.{name}")


class OnlyOld(Plain):
    def load_state_dict(self, state_dict, strict=True, assign=False):
        return super().load_state_dict(
            {
                key.replace("body", "encoder"): state_dict[key]
                for key in ("body.weight", "body.bias", "head.weight", "head.bias")
            }
        )


class NeverMissing(Migrating):
    def load_state_dict(self, state_dict, strict=True, assign=False):
        return super().load_state_dict(state_dict, strict=False)


class Renamed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(2, 2), nn.Linear(2, 1)


LESSON_06 = [
    Case(
        lesson_06.load_parallel,
        load_parallel,
        [
            (load_parallel_loosely, "other numbers"),
            (load_parallel_wrapped, "wanted the bare model"),
            (load_parallel_only, "returns _IncompatibleKeys"),
            (load_parallel_whole, "failed when it was tried: RuntimeError"),
            ({}, "You gave a dict"),
            (3, "You gave int"),
            (load_parallel_in_place, "changed the checkpoint's own dict"),
        ],
    ),
    Case(
        lesson_06.transfer,
        transfer,
        [
            (transfer_loosely, "failed when it was tried: RuntimeError"),
            (transfer_silently, "Return their names too"),
            (transfer_and_say_what_stayed, "Right tensors, wrong report"),
            (transfer_nothing, "are not those of the checkpoint"),
            (transfer_and_overwrite_the_head, "The new head has changed"),
            (["0.weight"], "You gave list"),
        ],
    ),
    Case(
        lesson_06.migrate,
        Migrating,
        [
            (Plain, "with the old names does not load"),
            (WithoutPrefix, "not inside another module"),
            (OnlyOld, "failed when it was tried: KeyError"),
            (NeverMissing, "an empty dict loads too"),
            (Renamed, "keep encoder and head"),
            (Plain(), "wanted the class itself"),
        ],
    ),
    Case(
        lesson_06.find_layer,
        "layer.3",
        [
            ("layer.1", "holds what the checkpoint holds"),
            ("layers.3", "the name in the checkpoint"),
            (3, "with its name"),
            ("head", "has no layer 'head'"),
            ([3], "You gave list"),
        ],
    ),
]


def all_of(run):
    return {
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "best": run.best,
        "scheduler": run.scheduler.state_dict(),
        "rng": torch.get_rng_state(),
    }


def save(run, path):
    torch.save(all_of(run), path)


def save_objects(run, path):
    torch.save({"model": run.model}, path)


def save_nowhere(run, path):
    all_of(run)


def loads(*parts):
    def load(run, path):
        saved = torch.load(path, weights_only=True)
        for name in ("model", "optimizer", "scheduler"):
            if name in parts:
                getattr(run, name).load_state_dict(saved[name])
        if "best" in parts:
            run.best = saved["best"]
        if "rng" in parts:
            torch.set_rng_state(saved["rng"])

    return load


ALL = ("model", "optimizer", "scheduler", "best", "rng")


def write_beside(state, path):
    beside = path.with_suffix(".part")
    with open(beside, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def write_without_flush(state, path):
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def write_straight(state, path):
    torch.save(state, path)


def write_elsewhere(state, path):
    torch.save(state, path.with_suffix(".other"))


def write_once(state, path):
    if not path.exists():
        write_beside(state, path)


FORGOTTEN = {"a": "scheduler", "b": "generators", "c": "optimizer"}

LESSON_07 = [
    Case(
        lesson_07.resumable,
        (save, loads(*ALL)),
        [
            ((save, loads("model", "optimizer", "scheduler", "best")), "part at step 1 after"),
            ((save, loads("model", "scheduler", "best", "rng")), "Look at the optimizer"),
            ((save, loads("model", "optimizer", "best", "rng")), "Look at the scheduler"),
            ((save, loads("model", "optimizer", "scheduler", "rng")), "losses agree, but best is"),
            ((save_objects, loads(*ALL)), "does not load with weights_only=True"),
            ((save_nowhere, loads(*ALL)), "no file"),
            (save, "Wanted two functions"),
        ],
    ),
    Case(
        lesson_07.find_forgotten,
        FORGOTTEN,
        [
            ({**FORGOTTEN, "a": "generators"}, "its learning rate starts high again"),
            ({**FORGOTTEN, "b": "model"}, "draws other units"),
            ({**FORGOTTEN, "c": "scheduler"}, "first step has no momentum"),
            ({**FORGOTTEN, "c": ...}, "2 of 3 decided. Next: c"),
            ({**FORGOTTEN, "a": "epoch"}, "is none of"),
            ("scheduler", "You gave str"),
        ],
    ),
    Case(
        lesson_07.survives,
        write_beside,
        [
            (write_straight, "the file at the path is torn"),
            (write_elsewhere, "no file at the path"),
            (write_once, "did not arrive"),
            (lambda state, path: None, "no file at the path"),
            ("os.replace", "You gave str"),
        ],
    ),
]


def read(path):
    try:
        assert zipfile.ZipFile(path).testzip() is None
        return torch.load(path, weights_only=True)
    except Exception as error:
        raise ValueError(f"{path.name}: {error}") from error


def read_untested(path):
    try:
        return torch.load(path, weights_only=True)
    except Exception as error:
        raise ValueError(f"{path.name}: {error}") from error


def read_trusting(path):
    try:
        return torch.load(path, weights_only=False)
    except Exception as error:
        raise ValueError(f"{path.name}: {error}") from error


def read_nameless(path):
    try:
        return torch.load(path, weights_only=True)
    except Exception as error:
        raise ValueError("bad file") from error


def read_plainly(path):
    return torch.load(path, weights_only=True)


def read_nothing(path):
    return {}


def to_safetensors(model, path):
    save_model(model, path)


def by_torch(model, path):
    torch.save(model.state_dict(), path)


def cloned(model, path):
    save_file({key: value.clone().contiguous() for key, value in model.state_dict().items()}, path)


def without_the_mask(model, path):
    save_file({"embed.weight": model.embed.weight.detach()}, path)


def zeros(model, path):
    save_file({"embed.weight": torch.zeros(6, 4), "mask": model.mask.contiguous()}, path)


def is_whole(path, digest):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest.lower()


def is_whole_in_small_letters(path, digest):
    return hashlib.sha256(path.read_bytes()).hexdigest() == digest


def has_a_length(path, digest):
    return path.stat().st_size > 8_000


def loads_at_all(path, digest):
    try:
        torch.load(path, weights_only=True)
        return True
    except Exception:
        return False


LESSON_08 = [
    Case(
        lesson_08.refuse,
        read,
        [
            (read_trusting, "was run: a folder was made"),
            (read_nameless, "does not name the file"),
            (read_plainly, "from inside torch"),
            (read_untested, "flipped.pth was not refused. One bit of bias differs"),
            (read_nothing, "come back as its dict"),
            (None, "You gave NoneType"),
        ],
    ),
    Case(
        lesson_08.atomic,
        write_beside,
        [
            (write_straight, "left a torn file"),
            (write_without_flush, "not a power cut"),
            (write_elsewhere, "does not load"),
            (write_once, "written by torch.save"),
            ("rename", "You gave str"),
        ],
    ),
    Case(
        lesson_08.convert,
        to_safetensors,
        [
            (by_torch, "not safetensors"),
            (cloned, "stands in the file twice"),
            (without_the_mask, "does not load into a new"),
            (zeros, "other numbers"),
            (lambda model, path: None, "no file at the path"),
            (8, "You gave int"),
        ],
    ),
    Case(
        lesson_08.verify,
        is_whole,
        [
            (is_whole_in_small_letters, "in capitals"),
            (has_a_length, "a flipped bit gives True"),
            (loads_at_all, "gives True; wanted False"),
            (lambda path, digest: None, "should give True"),
            ("sha", "You gave str"),
        ],
    ),
]

CASES = LESSON_06 + LESSON_07 + LESSON_08
