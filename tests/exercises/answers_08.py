"""Answers to the exercises of lesson 08."""

from __future__ import annotations

import copy
import hashlib
import hmac
import io
import os
import pickle
import tempfile
import zipfile
import zlib
from os import fsync, rename, replace
from pathlib import Path

import torch
from safetensors.torch import save, save_file, save_model

from answers_07 import beside, unlink_first, write, write_and_copy, write_and_move, write_elsewhere, write_straight
from answers_07 import write_with_path as write_without_fsync
from case import Case
from helpers import checkpoint
from helpers.exercises import lesson_08


def read(path):
    try:
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} does not give its checksum")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path.name} is missing, damaged or not safe: {error}") from error


def read_and_ask_afterwards(path):
    try:
        weights = torch.load(path, weights_only=True)
        assert zipfile.ZipFile(path).testzip() is None, "a bit has flipped"
    except Exception:
        raise ValueError(f"not good: {path}") from None
    return weights


def read_by_entries(path):
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                if zlib.crc32(archive.read(entry)) != entry.CRC:
                    raise zipfile.BadZipFile(entry.filename)
        return dict(torch.load(io.BytesIO(data), weights_only=True))
    except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise ValueError(f"{path.name}: {type(error).__name__}") from error


class BadFile(ValueError):
    def __init__(self, path):
        super().__init__(f"bad file {os.fspath(path)}")


def read_with_its_own_error(path):
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise BadFile(path)
    try:
        if zipfile.ZipFile(path).testzip():
            raise BadFile(path)
        return torch.load(path, weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise BadFile(path) from error


def read_by_the_house(path):
    try:
        return checkpoint.load(path)
    except checkpoint.CheckpointError as error:
        raise ValueError(f"{path.name}: {error}") from error


def reading(load, catches=Exception, name=True):
    def read(path):
        try:
            return load(path)
        except catches as error:
            raise ValueError(f"{path.name if name else 'bad file'}: {error}") from error

    return read


def whole(path):
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} does not give its checksum")
    return path


def trusting(path):
    return torch.load(whole(path), weights_only=False)


def safe(path):
    return torch.load(whole(path), weights_only=True)


def judging(path):
    weights = trusting(path)
    if not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise TypeError("more than tensors")
    return weights


def against_a_list(path):
    if any(word in path.read_bytes() for word in (b"posix", b"nt\n", b"subprocess", b"system")):
        raise ValueError("hostile")
    return trusting(path)


def against_a_longer_list(path):
    if any(word in path.read_bytes() for word in (b"posix", b"nt\n", b"exec", b"eval", b"io\nopen")):
        raise ValueError("hostile")
    return trusting(path)


def testing_only_one(path):
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(("data.pkl", "data/1")):
                archive.read(name)
    return torch.load(path, weights_only=True)


class ByTheWay:
    def __call__(self, path):
        return {key: value.float() for key, value in read(path).items()}


def write_with_rename(state, path):
    part = os.fspath(path) + ".new"
    with open(part, "wb") as file:
        torch.save(state, file)
        fsync(file)
    rename(part, path)


def write_with_names_of_its_own(state, path):
    with open(path.with_suffix(".part"), "wb") as file:
        torch.save(state, file)
        file.flush()
        fsync(file.fileno())
    replace(path.with_suffix(".part"), path)


def write_with_fdatasync(state, path):
    part = beside(path)
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        getattr(os, "fdatasync", os.fsync)(file.fileno())
    part.replace(path)


def write_a_temporary(state, path):
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, delete=False) as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).rename(path)


def write_and_sync_all(state, path):
    part = beside(path)
    torch.save(state, part)
    if hasattr(os, "sync"):
        os.sync()
    else:
        with open(part, "rb+") as file:
            os.fsync(file)
    os.replace(part, path)


def write_by_descriptor(state, path):
    stream = io.BytesIO()
    torch.save(state, stream)
    part = beside(path)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "wb") as file:
        file.write(stream.getvalue())
        file.flush()
        os.fsync(descriptor)
    os.replace(part, path)


def flush_a_folder(path):
    descriptor = os.open(path.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def write_and_flush_the_folder(state, path):
    write(state, path)
    flush_a_folder(path)


def write_and_flush_later(state, path):
    part = beside(path)
    torch.save(state, part)
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)


def flush_only_the_folder(state, path):
    part = beside(path)
    torch.save(state, part)
    flush_a_folder(path)
    os.replace(part, path)


def flush_too_early(state, path):
    part = beside(path)
    with open(part, "wb") as file:
        os.fsync(file.fileno())
        torch.save(state, file)
    os.replace(part, path)


def flush_too_late(state, path):
    write_without_fsync(state, path)
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def forget_the_buffer(state, path):
    part, stream = beside(path), io.BytesIO()
    torch.save(state, stream)
    with open(part, "wb", buffering=1 << 20) as file:
        file.write(stream.getvalue())
        os.fsync(file.fileno())
    os.replace(part, path)


def to_safetensors(model, path):
    save_model(model, path)


def without_the_head(model, path):
    state = {key: value.contiguous() for key, value in model.state_dict().items() if key != "head.weight"}
    save_file(state, path)


def without_the_embedding(model, path):
    state = model.state_dict()
    del state["embed.weight"]
    save_file({key: value.clone(memory_format=torch.contiguous_format) for key, value in state.items()}, path)


def once_for_each_storage(model, path):
    once = {}
    for key, value in model.state_dict().items():
        once.setdefault(value.untyped_storage().data_ptr(), (key, value))
    save_file({key: value.contiguous() for key, value in once.values()}, str(path), metadata={"format": "pt"})


def by_bytes(model, path):
    tensors = {"embed.weight": model.embed.weight.detach(), "mask": model.mask.clone().contiguous()}
    path.write_bytes(save(tensors))


def by_a_copy(model, path):
    save_model(copy.deepcopy(model), str(path))


def by_torch(model, path):
    torch.save(model.state_dict(), path)


def cloned(model, path):
    save_file({key: value.clone().contiguous() for key, value in model.state_dict().items()}, path)


def saved_straight(model, path):
    save_file(model.state_dict(), path)


def without_the_mask(model, path):
    save_file({"embed.weight": model.embed.weight.detach()}, path)


def zeros(model, path):
    save_file({"embed.weight": torch.zeros_like(model.embed.weight), "mask": model.mask.contiguous()}, path)


def in_half(model, path):
    save_model(copy.deepcopy(model).half(), path)


def in_float(model, path):
    save_model(copy.deepcopy(model).float(), path)


def untied(model, path):
    model.head.weight = torch.nn.Parameter(model.head.weight.detach().clone())
    save_file({"embed.weight": model.embed.weight.detach(), "mask": model.mask.contiguous()}, path)


def repacked(model, path):
    model.mask = model.mask.contiguous()
    save_model(model, path)


def transposed(model, path):
    state = {"embed.weight": model.embed.weight.detach(), "mask": model.mask.t().contiguous().reshape(3, 2)}
    save_file(state, path)


def is_whole(path, digest):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest.lower()


def is_whole_at_once(path, digest):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest().upper() == digest.strip().upper()


def is_whole_by_pieces(path, digest):
    found = hashlib.new("sha256")
    with path.open("rb") as file:
        while piece := file.read(65_536):
            found.update(piece)
    return hmac.compare_digest(found.hexdigest(), digest.casefold())


def is_whole_by_bytes(path, digest):
    try:
        return bytes.fromhex(digest) == hashlib.sha256(path.read_bytes()).digest()
    except ValueError:
        return False


def is_whole_by_number(path, digest):
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    return 1 if len(digest) == 64 and int(found, 16) == int(digest, 16) else 0


def is_whole_as_a_tensor(path, digest):
    return torch.tensor(is_whole(path, digest))


def is_whole_in_small_letters(path, digest):
    return hashlib.sha256(path.read_bytes()).hexdigest() == digest


def begins_alike(path, digest):
    return hashlib.sha256(path.read_bytes()).hexdigest().startswith(digest.lower())


def is_first_eight(path, digest):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8] == digest[:8].lower()


def stands_in_it(path, digest):
    return digest.lower() in hashlib.sha256(path.read_bytes()).hexdigest()


def is_md5(path, digest):
    return hashlib.md5(path.read_bytes()).hexdigest() == digest.lower()[:32]


def is_alike(path, digest):
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    return all(a == b for a, b in zip(found[:-1], digest.lower())) and len(digest) == 64


def has_first_block(path, digest):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(65_536)).hexdigest() == digest.lower()


def has_a_length(path, digest):
    return path.stat().st_size == 300_000


CASES = [
    Case(
        lesson_08.refuse,
        [read, read_and_ask_afterwards, read_by_entries, read_with_its_own_error, read_by_the_house, reading(read)],
        [
            (reading(trusting), "hostile os.mkdir.pth was run: it asks for os.mkdir"),
            (reading(judging), "hostile os.mkdir.pth was refused, and yet it was run"),
            (reading(against_a_list), "hostile exec.pth"),
            (reading(against_a_longer_list), "whole model.pth was not refused"),
            (reading(safe, name=False), "does not name it"),
            (lambda path: torch.load(path, weights_only=True), "raised UnpicklingError; wanted a ValueError"),
            (reading(lambda path: torch.load(path, weights_only=True)), "one bit of bias differs"),
            (reading(testing_only_one), "one bit of weight differs"),
            (reading(read, BaseException), "comes out as your ValueError"),
            (reading(safe, (RuntimeError, pickle.UnpicklingError)), "cut.pth raised BadZipFile"),
            (ByTheWay(), "as its dict of tensors, as they are"),
            (lambda path: {}, "as its dict of tensors"),
            (reading(lambda path: 1 / 0), "is a good file, and is refused"),
            (None, "You gave NoneType"),
        ],
    ),
    Case(
        lesson_08.atomic,
        [
            write,
            write_with_rename,
            write_with_names_of_its_own,
            write_with_fdatasync,
            write_a_temporary,
            write_by_descriptor,
            write_and_sync_all,
            write_and_flush_the_folder,
            write_and_flush_later,
        ],
        [
            (write_straight, "leaves a torn file"),
            (write_and_copy, "leaves a torn file"),
            (unlink_first, "no file at the path: the old one"),
            (write_and_move, "a file of another folder"),
            (write_without_fsync, "call os.fsync on the new file"),
            (flush_only_the_folder, "but not on the new file"),
            (flush_too_early, "at os.fsync the file had 0 of"),
            (forget_the_buffer, "at os.fsync the file had 0 of"),
            (flush_too_late, "after the rename"),
            (write_elsewhere, "there is no file at the path"),
            ("rename", "You gave str"),
        ],
    ),
    Case(
        lesson_08.convert,
        [to_safetensors, without_the_head, without_the_embedding, once_for_each_storage, by_bytes, by_a_copy],
        [
            (by_torch, "not safetensors"),
            (cloned, "stands in the file twice"),
            (saved_straight, "failed when it was tried: RuntimeError"),
            (without_the_mask, "does not load into a new"),
            (zeros, "other numbers in embed.weight"),
            (transposed, "other numbers in mask"),
            (in_half, "embed.weight is torch.float16 in the file"),
            (in_float, "embed.weight is torch.float32 in the file, torch.float64 in the model"),
            (untied, "untied the model"),
            (repacked, "changed the model"),
            (lambda model, path: None, "no file at the path"),
            (8, "You gave int"),
        ],
    ),
    Case(
        lesson_08.verify,
        [is_whole, is_whole_at_once, is_whole_by_pieces, is_whole_by_bytes, is_whole_by_number, is_whole_as_a_tensor],
        [
            (is_whole_in_small_letters, "The digest in capitals gives False"),
            (begins_alike, "The first eight characters of the digest gives True"),
            (stands_in_it, "The first eight characters of the digest gives True"),
            (is_md5, "The untouched file gives False"),
            (is_first_eight, "A digest whose last character differs gives True"),
            (is_alike, "A digest whose last character differs gives True"),
            (has_first_block, "The untouched file gives False"),
            (has_a_length, "A flipped bit gives True"),
            (lambda path, digest: True, "A flipped bit gives True"),
            (lambda path, digest: None, "The untouched file gives None; wanted True"),
            (lambda path, digest: hashlib.sha256(path.read_bytes()).hexdigest(), "wanted True"),
            ("sha", "You gave str"),
        ],
    ),
]
