"""A file as it lies on disk: what kind it is by its first bytes, its entries and whether they are whole. Reads, never runs.

Formats: PKWARE's APPNOTE for the zip, the README of safetensors for its header.
"""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

KINDS = {
    "torch": "a checkpoint of torch 1.6 or newer; torch.load reads it",
    "old torch": "a checkpoint from before torch 1.6; torch.load reads it, and it carries no checksums",
    "TorchScript": "a TorchScript archive, a program with its weights; torch.jit.load reads it",
    "exported": "an exported program; torch.export.load reads it",
    "cut zip": "a zip whose end is missing, as a broken download or a killed save leaves it; get it again",
    "zip": "a zip, and no checkpoint of torch; unpack it and look inside",
    "npz": "an archive of NumPy arrays; numpy.load reads it",
    "npy": "a NumPy array; numpy.load reads it",
    "safetensors": "a safetensors file; safetensors.torch.load_file reads it",
    "cut safetensors": "a safetensors file whose end is missing; get it again",
    "LFS pointer": "a Git LFS pointer: text that stands for the real file; run git lfs pull, or download the file itself",
    "web page": "a web page in place of the file: its address led to a page, or asked for a login",
    "HDF5": "an HDF5 file, as Keras writes it; h5py reads it",
    "GGUF": "a GGUF file; llama.cpp and the package gguf read it",
    "pickle": "a pickle that torch.save did not write; it can run any code, so open it only if it is your own",
    "index": "an index of shards: the numbers lie in the files that it names",
    "lz4": "an lz4 archive; unpack it first",
    "JSON": "JSON, not tensors",
    "text": "text, not a checkpoint",
    "zeros": "nothing but zeros, as a crash leaves it; the numbers are lost",
    "empty": "empty, as a save that was interrupted leaves it",
    "unknown": "of no kind that is known here",
    "folder": "a folder; name a file in it",
    "distributed": "a distributed checkpoint, a folder; torch.distributed.checkpoint reads it",
    "shard": "a shard of a distributed checkpoint, one zip after another; it is read with its folder",
    "special": "no regular file",
    "unreadable": "not readable for you",
    "missing": "not there",
} | {kind: f"a {kind} archive; unpack it first" for kind in ("gzip", "tar", "xz", "bzip2", "zstd", "7z", "rar")}
_STARTS = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19": "old torch",
    b"version https://git-lfs": "LFS pointer",
    b"\x89HDF": "HDF5",
    b"GGUF": "GGUF",
    b"\x93NUMPY": "npy",
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ": "xz",
    b"BZh91AY&SY": "bzip2",
    b"(\xb5/\xfd": "zstd",
    b"\x04\x22M\x18": "lz4",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}
_PROBE, _LONGEST_HEADER, _CHUNK = 512, 1 << 24, 1 << 20


class Entry(NamedTuple):
    """One entry of a zip, or one tensor of a safetensors file, and its `size` in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class Header:
    """What a file says of itself: one of `KINDS`, its size in bytes, its entries, and the zip that it is."""

    name: str
    kind: str
    size: int = 0
    entries: tuple[Entry, ...] = ()
    archive: zipfile.ZipFile | None = field(default=None, repr=False, compare=False)

    @property
    def checked(self) -> bool:
        """Whether it carries checksums of its entries; torch can be told to leave them out."""
        return self.archive is not None and any(entry.CRC for entry in self.archive.infolist())

    @property
    def words(self) -> str:
        """The file's name, what it is, and what to do about it: one sentence."""
        return f"{self.name!r} is {KINDS[self.kind]}."


def open_file(path: str | Path) -> BinaryIO:
    """The file, opened once and never waited for. Raises OSError, also for a folder, and ValueError for a device or a FIFO."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise IsADirectoryError(path) if stat.S_ISDIR(mode) else ValueError(Header(Path(path).name, "special").words)
    return os.fdopen(descriptor, "rb")


def read_header(path: str | Path) -> Header:
    """What lies at `path`; any file, folder, device or nothing at all gets an answer."""
    path = Path(path)
    try:
        if path.is_dir():
            return Header(path.name, "distributed" if (path / ".metadata").is_file() else "folder")
        with open_file(path) as file:
            return header_of(file, path.name)
    except ValueError:
        return Header(path.name, "special")
    except OSError as error:
        return Header(path.name, "missing" if isinstance(error, FileNotFoundError) else "unreadable")


def header_of(file: BinaryIO, name: str) -> Header:
    """What an open file says of itself."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(_PROBE)
    kind = next((kind for magic, kind in _STARTS.items() if start.startswith(magic)), "")
    if kind == "zip":
        try:
            archive = zipfile.ZipFile(file)
        except Exception:
            return Header(name, "cut zip", size)
        entries = tuple(Entry(one.filename, one.file_size) for one in archive.infolist())
        if not any(one.CRC for one in archive.infolist()):
            for one in archive.infolist():
                one.CRC = None  # type: ignore[assignment]
        kind = _zip_kind([entry.name for entry in entries])
        if kind == "torch" and (name.endswith(".distcp") or min(one.header_offset for one in archive.infolist())):
            return Header(name, "shard", size)
        return Header(name, kind, size, entries, archive)
    if not kind and start[8:9] == b"{":
        entries, end = _tensors(file, int.from_bytes(start[:8], "little"), size)
        if end is not None:
            return Header(name, "safetensors" if end <= size else "cut safetensors", size, entries)
    if not start.strip(b"\0") and size > _PROBE:
        file.seek(-_PROBE, os.SEEK_END)
        start = file.read()
    return Header(name, kind or _kind_of(start), size)


def _kind_of(start: bytes) -> str:
    words = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.strip(b"\0"):
        return "zeros" if start else "empty"
    if start[:1] == b"\x80":
        return "pickle"
    if start[257:262] == b"ustar":
        return "tar"
    if words[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "web page"
    if words[:1] in (b"{", b"["):
        return "index" if b'"weight_map"' in words else "JSON"
    return "unknown" if any(byte < 32 and byte not in b"\t\r\n\f\x1b" for byte in start) else "text"


def _zip_kind(names: list[str]) -> str:
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner:
        return "TorchScript"
    if "data.pkl" in inner:
        return "torch"
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        return "exported"
    return "npz" if names and all(name.endswith(".npy") for name in names) else "zip"


def _tensors(file: BinaryIO, length: int, size: int) -> tuple[tuple[Entry, ...], int | None]:
    """The tensors that a safetensors header lists, and where the last one ends; None if it is no such header."""
    if length > _LONGEST_HEADER:
        return (), None
    file.seek(8)
    text = file.read(length)
    if len(text) < length:
        return (), size + 1
    try:
        listed = {key: one["data_offsets"] for key, one in json.loads(text).items() if key != "__metadata__"}
        ends = [int(end) for _, end in listed.values()]
        return tuple(Entry(key, int(end - start)) for key, (start, end) in listed.items()), 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return (), None


def first_damaged(archive: zipfile.ZipFile, report: Callable[[int], object] = lambda size: None) -> str | None:
    """The first entry whose bytes do not give its CRC-32, or None; `report` hears of each piece that is read."""
    for entry in archive.infolist():
        try:
            with archive.open(entry) as stream:
                while piece := stream.read(_CHUNK):
                    report(len(piece))
        except Exception:
            return entry.filename
    return None
