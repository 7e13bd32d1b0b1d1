"""A checkpoint's file: a torch zip with the digests of its entries, written by `write`, checked and read by `read`."""
from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from tqdm import tqdm

from helpers import entries, imports
from helpers.entries import Entry

try:
    import fcntl
except ImportError:
    fcntl = None

INDEX, SMALL = "digests.json", 1 << 20


class CheckpointError(Exception):
    """A checkpoint that can not be written, is damaged, or does not fit. The message is one sentence or two."""


class _Bar(tqdm):
    """A bar that shows after two seconds. Its lock is this process's own: tqdm's is shared with forked processes, and
    one that is killed while it holds that would stop every save of the others."""

    _lock = threading.RLock()
    monitor_interval = 0


class _Out:
    """A file for torch.save that takes the digest of each piece while it is written, by its place and size, flushes what
    is written meanwhile, and keeps the first error for later: torch's writer can not pass it on."""

    def __init__(self, file: BinaryIO, bar: tqdm, pool: Executor) -> None:
        self.file, self.bar, self.pool, self.error = file, bar, pool, None
        self.at, self.digests, self.flushing = 0, {}, pool.submit(int)

    def write(self, data: Any) -> int:
        size = len(data)
        if self.error is None:
            digest = partial(hashlib.sha256, data)
            if size > entries.CHUNK:
                digest = self.pool.submit(digest).result
            try:
                for k in range(0, size, entries.CHUNK):
                    self.bar.update(self.file.write(data[k:k + entries.CHUNK]))
                if self.flushing.done() and size > entries.CHUNK:
                    self.flushing.result()
                    self.flushing = self.pool.submit(os.fsync, self.file.fileno())
            except OSError as error:
                self.error = error
            finally:
                self.digests[self.at, size] = digest().hexdigest()
        self.at += size
        return size

    def flush(self) -> None:
        """Left to `write` below, which can say what went wrong."""


def write(path: Path, contents: Any, name: str, names: Sequence[Sequence[str]], size: int) -> None:
    """Writes a new file whole, with the digests of what torch gave to be written, and flushes it to disk.

    `name` is what the file will be called, `names` the tensors behind each storage, `size` their bytes: up to 1 MB,
    the file is made in memory and written at once. Raises OSError.
    """
    small = size <= SMALL and len(names) < 10_000
    with open(path, "xb+", buffering=-1 if small else entries.CHUNK) as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX)
        if small:
            memory = io.BytesIO()
            torch.save(contents, memory)
            listed = entries.listed(memory, memory.seek(0, os.SEEK_END))
            entries.append(memory, len(listed), *_seal(listed, name, names, entries.digests(memory, listed)))
            file.write(memory.getbuffer())
        else:
            _write_large(file, contents, name, names)
        file.flush()
        os.fsync(file.fileno())


def _write_large(file: BinaryIO, contents: Any, name: str, names: Sequence[Sequence[str]]) -> None:
    with _bar(f"saving {name}") as bar, ThreadPoolExecutor(2) as pool:
        out = _Out(file, bar, pool)
        torch.save(contents, out)
    if out.error:
        raise out.error
    out.flushing.result()
    with zipfile.ZipFile(file, "a") as book:
        found = {entry.filename.partition("/")[2]: out.digests.get((entries.start(file, entry), entry.file_size))
                 or entries.digest(file, entry) for entry in book.infolist()}
        book.writestr(*_seal(book.infolist(), name, names, found))


def _seal(listed: Sequence[Entry | zipfile.ZipInfo], name: str, names: Sequence[Sequence[str]],
          found: Mapping[str, str]) -> tuple[str, bytes]:
    """The entry that holds the digests: its name and its bytes."""
    said = {"format": 1, "torch": torch.__version__, "name": name, "sha256": found,
            "tensors": {f"data/{k}": list(keys) for k, keys in enumerate(names)}}
    return f"{listed[0].filename.partition('/')[0]}/{INDEX}", json.dumps(said).encode()


def read(path: Path, name: str) -> Any:
    """The contents of a file that `write` wrote under that `name`.

    What is unpickled is checked before that; every entry is checked before anything is returned, in a large file while
    torch reads it.
    Raises CheckpointError if there is no such file, it is damaged, renamed, or asks for more than tensors.
    """
    try:
        with open(path, "rb") as disk:
            size = os.fstat(disk.fileno()).st_size
            file = io.BytesIO(disk.read()) if size <= SMALL else disk
            listed = zipfile.ZipFile(disk).infolist() if file is disk else entries.listed(file, size)
            index = _index(path, file, listed, size)
            checked = [entry for entry in listed if not entry.filename.endswith(INDEX)]
            program = [entry for entry in listed if entry.filename.endswith("/data.pkl")]
            if len(program) != 1:
                raise ValueError(f"it has {len(program)} entries data.pkl")
            found = entries.digests(file, program if file is disk else checked)
            _check(path, index, {**index["sha256"], **found} if file is disk else found)
            if index["name"] != name:
                raise CheckpointError(f"{path.name!r} holds what was saved as {index['name']!r}: the files were swapped "
                                      f"or renamed. If it was renamed, pass name={index['name']!r}.")
            wanted = imports.refused(entries.content(file, program[0]))
            if wanted:
                raise CheckpointError(f"{path.name!r} asks to import {wanted}, which a checkpoint of tensors never does. "
                                      "It was not loaded: do not trust where it came from.")
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path.name!r}.") from None
    except (OSError, zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, EOFError, RecursionError) as error:
        raise CheckpointError(_damaged(path, error)) from error
    try:
        if file is disk:
            return _read_large(path, index, checked)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(_damaged(path, error)) from error


def _read_large(path: Path, index: Mapping[str, Any], checked: Sequence[zipfile.ZipInfo]) -> Any:
    with _bar(f"checking {path.name}") as bar, ThreadPoolExecutor(2) as pool:
        found = entries.digests_apart(pool, path, checked, bar.update)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        finally:
            _check(path, index, dict(found))


def sweep(folder: Path, head: str, tail: str) -> None:
    """Deletes what a killed `save` of names like `head…tail` left in the folder; a file that somebody still writes stays."""
    for name in os.listdir(folder):
        if name.endswith(".part") and name.startswith(f".{head}") and name[:-len(".12345678.part")].endswith(tail):
            with suppress(OSError):
                with open(folder / name, "rb") as file:
                    if fcntl:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (folder / name).unlink()


def flush_folder(folder: Path) -> None:
    """Makes a rename last; does nothing where a folder can not be opened, as on Windows."""
    with suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _bar(label: str) -> tqdm:
    return _Bar(desc=label, unit="B", unit_scale=True, delay=2, leave=False)


def _index(path: Path, file: BinaryIO, listed: Sequence[Entry | zipfile.ZipInfo], size: int) -> Mapping[str, Any]:
    names = {entry.filename for entry in listed}
    if len(names) < len(listed) or len({name.partition("/")[0] for name in names}) != 1:
        raise ValueError("its list of entries is not torch's")
    if any(e.compress_type or e.flag_bits & 1 or e.header_offset + e.file_size > size for e in listed):
        raise ValueError("its entries are not stored as they are")
    index = next((entry for entry in listed if entry.filename.partition("/")[2] == INDEX), None)
    if index is None:
        raise CheckpointError(f"{path.name!r} has no digests to check it by. If torch.save wrote it and you trust it, "
                              "torch.load(path, weights_only=True) reads it.")
    text = entries.content(file, index)
    if zlib.crc32(text) != index.CRC:
        raise ValueError(f"the checksum of {INDEX} differs")
    said = json.loads(text)
    wanted = {"format": int, "name": str, "sha256": dict, "tensors": dict}
    if not isinstance(said, dict) or not all(isinstance(said.get(key), kind) for key, kind in wanted.items()) \
            or not all(isinstance(keys, list) for keys in said["tensors"].values()):
        raise ValueError("its digests are not as save writes them")
    if said["format"] != 1:
        raise ValueError(f"its digests are of format {said['format']}, not 1")
    return said


def _check(path: Path, index: Mapping[str, Any], found: Mapping[str, str]) -> None:
    for name in {**index["sha256"], **found}:
        if index["sha256"].get(name) != found.get(name):
            tensors = index["tensors"].get(name)
            what = f"the numbers of {' and '.join(map(str, tensors))}" if tensors else f"the entry {name!r}"
            raise CheckpointError(f"{path.name!r} is damaged: {what} differ from what was saved.")


def _damaged(path: Path, error: Exception) -> str:
    reason = str(error).partition("\n")[0][:120] or type(error).__name__
    return f"{path.name!r} is damaged or no checkpoint: {reason}."
