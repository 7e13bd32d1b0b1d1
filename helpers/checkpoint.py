"""A checkpoint that survives: written all or nothing, looked at before it is loaded, given to its owners all or nothing.

The file is what `torch.save` writes, and whatever torch wrote is loaded. What verifies it is the CRC-32 that torch stores
with each entry and does not look at. Needs torch alone: copy it with `owners.py`, `files.py` and `pickles.py`.
"""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import sys
import warnings
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from helpers import files, owners, pickles

_CONTAINERS = (dict, OrderedDict, Counter, list, tuple, torch.Size)
_LONGEST_INT, _LONGEST_REASON = 2_032, 160


class CheckpointError(Exception):
    """A checkpoint that can not be written, is damaged, or does not fit. The message is one sentence or two."""


def save(path: str | Path, contents: Mapping[str, Any]) -> Path:
    """Writes `contents` to `path` so that a crash at any moment leaves the old file or the new one, never half of one.

    A file of its own beside the target is written, flushed, verified and renamed; a kill can leave it, as `.….part`.
    Raises TypeError, which names the key, for what `torch.load(weights_only=True)` would not give back equal, and
    CheckpointError if the file can not be written; then what was there before is untouched.
    """
    if type(contents) not in (dict, OrderedDict):
        raise TypeError(f"Got {type(contents).__name__}; wanted a dict such as {{'model': model.state_dict()}}.")
    outer, part = sys.exc_info()[1], Path()
    try:
        target = Path(os.path.realpath(path))
        part = target.with_name(f".{secrets.token_hex(8)}.part")
        if target.exists() and not target.is_file():
            raise OSError("no regular file stands there")
        with open(part, "x+b") as file:
            torch.save(contents, file)
            file.flush()
            os.fsync(file.fileno())
            _verify(file, target.name, contents)
        with suppress(FileNotFoundError):
            shutil.copymode(target, part)
        os.replace(part, target)
        _flush_folder(target.parent)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(part)
        cause, name = _first_cause(error, outer), os.path.basename(path)
        if not isinstance(cause, Exception) or isinstance(cause, CheckpointError):
            raise cause from None
        if not isinstance(cause, OSError):
            with suppress(RecursionError):
                _find_fault(contents)
        reason = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else _one_line(cause)
        raise CheckpointError(f"Could not save {name!r}: {reason}. What was there before is untouched.") from error
    return target


def load(path: str | Path, into: Mapping[str, Any] | None = None) -> Any:
    """The contents of a checkpoint that torch wrote, verified, on the CPU, read with `weights_only=True`.

    `into` gives each named part to its owner: a module, an optimizer, a `torch.Generator`, or whatever has
    `load_state_dict`. If one does not fit, all of them are as before. Warns if the file carries no checksums. Raises
    CheckpointError, which names the damaged tensor, the part that does not fit, or what the file is instead.
    """
    try:
        with pickles.opened(path) as (file, header):
            contents = _read(file, header)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    try:
        owners.restore(contents, into or {})
    except ValueError as error:
        raise CheckpointError(f"{error} Nothing was loaded.") from error
    return contents


def _read(file: BinaryIO, header: files.Header) -> Any:
    name = header.name
    try:
        contents = torch.load(file, map_location="cpu", weights_only=True)
        damaged = _damaged(header, contents) if header.checked else None
    except Exception as error:
        raise CheckpointError(f"{name!r} is damaged or no checkpoint: {_one_line(error)}.") from error
    if damaged:
        raise CheckpointError(f"{name!r} is damaged: {damaged} differ from what was saved.")
    if not header.checked:
        warnings.warn(f"{name!r} carries no checksums: it was loaded, and not verified.", stacklevel=3)
    return contents


def _damaged(header: files.Header, contents: Any) -> str | None:
    """The tensor, or else the entry, whose bytes do not give its checksum. torch numbers the entries."""
    entry = files.first_damaged(header.archive) if header.archive else "its end"
    if entry is None or "/data/" not in entry:
        return entry
    keys = storage_keys(contents)
    folder, _, number = entry.rpartition("/")
    stored = {one.name for one in header.entries if one.name.startswith(f"{folder}/")}
    known = stored == {f"{folder}/{k}" for k in range(len(keys))}
    return f"the numbers of {keys[int(number)]}" if known else f"those of {entry}"


def storage_keys(contents: Any) -> list[str]:
    """For each storage in a checkpoint the dotted key of the first tensor in it, in the order in which torch numbers them.

    Empty where that order can not be known: beside sparse and such tensors, and if more than one storage is empty.
    """
    keys: dict[int, str] = {}
    tensors = [(key, value) for key, value in _walk(contents, "", set()) if isinstance(value, Tensor)]
    empty = [key for key, value in tensors if not _dense(value) or not value.untyped_storage().nbytes()]
    for key, value in tensors if all(_dense(value) for _, value in tensors) and len(empty) < 2 else []:
        keys.setdefault(value.untyped_storage().data_ptr(), key)
    return list(keys.values())


def _walk(value: Any, key: str, done: set[int]) -> Iterator[tuple[str, Any]]:
    """Each value with its dotted key, in the order in which pickle writes them, and each key that is no string."""
    yield key, value
    if type(value) not in _CONTAINERS or id(value) in done:
        return
    done.add(id(value))
    named = value.items() if isinstance(value, Mapping) else enumerate(value)
    for name, inner in [*named, *getattr(value, "__dict__", {}).items()]:
        if isinstance(value, Mapping) and type(name) is not str:
            yield f"{key or 'the top'}, as a key", name
        yield from _walk(inner, f"{key}.{name}" if key else str(name), done)


def _verify(file: BinaryIO, name: str, contents: Any) -> None:
    """What was written is whole, and `load` will take it. A name in a text can only cause a second look."""
    header = files.header_of(file, name)
    if damaged := _damaged(header, contents):
        raise CheckpointError(f"Could not save {name!r}: {damaged} changed meanwhile. Save a copy.")
    asked = set(re.findall(r"c([\w.]+\n[\w.]+)\n", pickles.program_of(header, file).decode("latin1")))
    safe = all(pickles.SAFE.fullmatch(name.replace("\n", ".").replace("__builtin__", "builtins")) for name in asked)
    if not safe or any(_doubtful(value) for _, value in _walk(contents, "", set())):
        _find_fault(contents)


def _doubtful(value: Any) -> bool:
    if not isinstance(value, Tensor):
        if type(value) in (tuple, set):
            return any(type(part) is tuple or _doubtful(part) for part in value)
        if isinstance(value, (torch.UntypedStorage, torch.TypedStorage)):
            return True
        return type(value) is int and value.bit_length() > _LONGEST_INT
    if not _dense(value) or not _dtype_comes_back(value.dtype):
        return True
    size = value.untyped_storage().nbytes()
    last = value.storage_offset() + sum((n - 1) * step for n, step in zip(value.shape, value.stride(), strict=True))
    return bool(size % value.itemsize) or value.numel() > 0 and (last + 1) * value.itemsize > size


def _find_fault(contents: Any) -> None:
    """Saves and loads each value by itself, in memory. Raises TypeError for the first that does not come back."""
    for key, value in _walk(contents, "", set()):
        if (type(value) in _CONTAINERS and not _doubtful(value)) or _comes_back(value):
            continue
        what, cure = f"{type(value).__module__}.{type(value).__qualname__}", "its state dict, or plain values"
        if isinstance(value, Tensor):
            what, cure = f"a {type(value).__name__} ({value.layout}, {value.dtype}, {value.device})", "what it is made of"
        elif what.startswith("numpy.") and hasattr(value, "ndim") and hasattr(value, "item"):
            cure = "torch.from_numpy(value)" if value.ndim else f"{type(value.item()).__name__}(value)"
        raise TypeError(f"Got {what} at {key}; wanted tensors, numbers and strings in dicts and lists. Save {cure}.")


def _dense(value: Tensor) -> bool:
    return value.layout is torch.strided and not value.is_quantized and not value.is_nested


@lru_cache
def _dtype_comes_back(dtype: torch.dtype) -> bool:
    return _comes_back(torch.empty(0, dtype=dtype))


def _comes_back(value: Any) -> bool:
    file = io.BytesIO()
    try:
        torch.save(value, file)
        return type(_read(file, pickles.safe_header(file, ""))) is type(value)
    except Exception:
        return False


def _one_line(error: BaseException) -> str:
    words = " ".join(str(error).split()).rpartition("WeightsUnpickler error: ")[2][:_LONGEST_REASON].rstrip(". ")
    return words if " " in words else f"{type(error).__name__} {words}".strip()


def _first_cause(error: BaseException, outer: BaseException | None) -> BaseException:
    """torch's writer hides a full disk and Control-C behind an error of its own; this is what came first, after `outer`."""
    cause: BaseException | None = error
    while isinstance(cause, Exception) and cause is not outer and not isinstance(cause, (OSError, CheckpointError)):
        cause = cause.__context__
    return cause if cause and cause is not outer else error


def _flush_folder(folder: Path) -> None:
    """Makes a rename last; does nothing where a folder can not be opened, as on Windows."""
    with suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
