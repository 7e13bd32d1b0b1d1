"""A checkpoint's file: a torch zip with the digests of its entries, written by `write`, checked and read by `read`."""
from __future__ import annotations

import hashlib
import json
import os
import pickletools
import struct
import threading
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from tqdm import tqdm

try:
    import fcntl
except ImportError:
    fcntl = None

INDEX, CHUNK, SMALL = "digests.json", 1 << 18, 1 << 20
IMPORTS = {f"torch._utils {name}" for name in ("_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter")} | {
    "collections OrderedDict", "collections Counter", "__builtin__ set", "__builtin__ complex", "builtins set",
    "builtins complex", "torch Size", "torch.storage UntypedStorage"} | {
    f"torch {name}" for name, value in vars(torch).items() if isinstance(value, torch.dtype) or name.endswith("Storage")}


class CheckpointError(Exception):
    """A checkpoint that can not be written, is damaged, or does not fit. The message is one sentence or two."""


class _Bar(tqdm):
    """A bar that shows after two seconds. Its lock is this process's own: tqdm's is shared with forked processes, and
    one that is killed while it holds that would stop every save of the others."""

    _lock = threading.RLock()
    monitor_interval = 0


class _Out:
    """A file for torch.save that counts, and keeps the first error for later: torch's writer can not pass it on."""

    def __init__(self, file: BinaryIO, bar: tqdm) -> None:
        self.file, self.bar, self.error = file, bar, None

    def write(self, data: Any) -> int:
        size = len(data)
        if self.error is None:
            try:
                self.file.write(data)
            except OSError as error:
                self.error = error
            self.bar.update(size)
        return size

    def flush(self) -> None:
        """Left to `write` below, which can say what went wrong."""


def write(path: Path, contents: Any, name: str, names: Sequence[Sequence[str]]) -> None:
    """Writes a new file whole, with the digests of what was really written, and flushes it to disk.

    `name` is what the file will be called, `names` the tensors behind each storage. Raises OSError.
    """
    with open(path, "xb+", buffering=CHUNK) as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX)
        with _bar(f"saving {name}") as bar:
            out = _Out(file, bar)
            torch.save(contents, out)
            if out.error:
                raise out.error
            file.flush()
            with zipfile.ZipFile(file, "a") as book, ThreadPoolExecutor(1) as pool:
                early = pool.submit(os.fsync, file.fileno()) if file.tell() > SMALL else None
                found = _digests(path, book.infolist(), bar)
                if early:
                    early.result()
                said = {"format": 1, "torch": torch.__version__, "name": name, "sha256": found,
                        "tensors": {f"data/{k}": list(keys) for k, keys in enumerate(names)}}
                book.writestr(f"{book.filelist[0].filename.partition('/')[0]}/{INDEX}", json.dumps(said))
            file.flush()
        os.fsync(file.fileno())


def read(path: Path, name: str) -> Any:
    """The contents of a file that `write` wrote under that `name`, each entry checked before anything is unpickled.

    Raises CheckpointError if there is no such file, it is damaged, renamed, or asks for more than tensors.
    """
    try:
        with zipfile.ZipFile(path) as book, _bar(f"checking {path.name}") as bar:
            entries = book.infolist()
            index = _index(path, book, entries)
            _check(path, index, _digests(path, [e for e in entries if not e.filename.endswith(INDEX)], bar))
            if index["name"] != name:
                raise CheckpointError(f"{path.name!r} holds what was saved as {index['name']!r}: the files were swapped "
                                      f"or renamed. If it was renamed, pass name={index['name']!r}.")
            _check_imports(path, book)
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path.name!r}.") from None
    except (OSError, zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, EOFError) as error:
        raise CheckpointError(_damaged(path, error)) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(_damaged(path, error)) from error


def sweep(folder: Path, pattern: str) -> None:
    """Deletes what a killed `save` left in the folder; a file that somebody still writes stays."""
    for left in folder.glob(f".{pattern}.????????.part"):
        with suppress(OSError):
            with open(left, "rb") as file:
                if fcntl:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


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


def _digests(path: Path, entries: Sequence[zipfile.ZipInfo], bar: tqdm) -> dict[str, str]:
    """SHA-256 of the bytes of each entry, as they lie in the file, by the entry's name without its folder."""
    def digest(entry: zipfile.ZipInfo) -> str:
        with open(path, "rb", buffering=0) as file:
            return _digest(file, entry, bar)

    names = [entry.filename.partition("/")[2] for entry in entries]
    if sum(entry.file_size for entry in entries) > SMALL:
        with ThreadPoolExecutor(2) as pool:
            return dict(zip(names, pool.map(digest, entries)))
    with open(path, "rb") as file:
        return {name: _digest(file, entry, bar) for name, entry in zip(names, entries)}


def _digest(file: BinaryIO, entry: zipfile.ZipInfo, bar: tqdm) -> str:
    file.seek(entry.header_offset + 26)
    file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
    seen, left, piece = hashlib.sha256(), entry.file_size, memoryview(bytearray(min(CHUNK, entry.file_size)))
    while left:
        got = file.readinto(piece[:left])
        if not got:
            raise EOFError("it ends too early")
        seen.update(piece[:got])
        left -= got
        bar.update(got)
    return seen.hexdigest()


def _index(path: Path, book: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo]) -> Mapping[str, Any]:
    size, names = path.stat().st_size, {entry.filename for entry in entries}
    if len(names) < len(entries) or len({name.partition("/")[0] for name in names}) != 1:
        raise ValueError("its list of entries is not torch's")
    if any(e.compress_type or e.flag_bits & 1 or e.header_offset + e.file_size > size for e in entries):
        raise ValueError("its entries are not stored as they are")
    index = next((name for name in names if name.partition("/")[2] == INDEX), None)
    if index is None:
        raise CheckpointError(f"{path.name!r} has no digests to check it by. If torch.save wrote it and you trust it, "
                              "torch.load(path, weights_only=True) reads it.")
    said = json.loads(book.read(index))
    if said.get("format") != 1:
        raise ValueError(f"its digests are of format {said.get('format')!r}, not 1")
    return said


def _check(path: Path, index: Mapping[str, Any], found: Mapping[str, str]) -> None:
    for name in {**index["sha256"], **found}:
        if index["sha256"].get(name) != found.get(name):
            tensors = index["tensors"].get(name)
            what = f"the numbers of {' and '.join(tensors)}" if tensors else f"the entry {name!r}"
            raise CheckpointError(f"{path.name!r} is damaged: {what} differ from what was saved.")


def _check_imports(path: Path, book: zipfile.ZipFile) -> None:
    """Reads the pickle's instructions without running one, and compares what it wants to import with what `save` uses."""
    program = book.read(next(name for name in book.namelist() if name.endswith("/data.pkl")))
    for opcode, value, _ in pickletools.genops(program):
        name = value if opcode.name == "GLOBAL" else opcode.name
        if opcode.name in ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4") \
                or opcode.name == "GLOBAL" and value not in IMPORTS:
            raise CheckpointError(f"{path.name!r} asks to import {name.replace(' ', '.')}, which a checkpoint of tensors "
                                  "never does. It was not loaded: do not trust where it came from.")


def _damaged(path: Path, error: Exception) -> str:
    reason = str(error).partition("\n")[0][:120] or type(error).__name__
    return f"{path.name!r} is damaged or no checkpoint: {reason}."
