"""The entries of the zip that `torch.save` writes: where their bytes lie, the digests of them, and one entry more."""
from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 1 << 18


def append(memory: io.BytesIO, count: int, name: str, text: bytes) -> None:
    """One more entry in a small zip of `count`; `ZipFile.writestr` would write the whole list anew.

    Format: PKWARE's APPNOTE.TXT, 4.3.7 (entry), 4.3.12 (its line in the list), 4.3.16 (the end of the list).
    """
    memory.seek(-10, os.SEEK_END)
    size, start = struct.unpack("<LL", memory.read(8))
    memory.seek(start)
    listed = memory.read(size)
    about = struct.pack("<HHHHLLLHH", 0, 0, 0, 33, zlib.crc32(text), len(text), len(text), len(name), 0)
    entry = b"PK\3\4" + struct.pack("<H", 20) + about + name.encode() + text
    listed += b"PK\1\2" + struct.pack("<HH", 20, 20) + about + struct.pack("<HHHLL", 0, 0, 0, 0, start) + name.encode()
    end = struct.pack("<HHHHLLH", 0, 0, count + 1, count + 1, len(listed), start + len(entry), 0)
    memory.seek(start)
    memory.write(entry + listed + b"PK\5\6" + end)
    memory.truncate()


def digests(file: BinaryIO, entries: Sequence[zipfile.ZipInfo]) -> dict[str, str]:
    """SHA-256 of the bytes of each entry, as they lie in a small file, by the entry's name without its folder."""
    return {entry.filename.partition("/")[2]: hashlib.sha256(content(file, entry)).hexdigest() for entry in entries}


def digests_apart(path: Path, entries: Sequence[zipfile.ZipInfo], told: Callable[[int], Any]) -> dict[str, str]:
    """The same of a large file, by two threads, each with the file open for itself."""
    def apart(entry: zipfile.ZipInfo) -> str:
        with open(path, "rb", buffering=0) as file:
            return digest(file, entry, told)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip((entry.filename.partition("/")[2] for entry in entries), pool.map(apart, entries)))


def digest(file: BinaryIO, entry: zipfile.ZipInfo, told: Callable[[int], Any] = lambda _: None) -> str:
    """SHA-256 of one entry, read piece by piece. Raises EOFError where the file ends before it."""
    file.seek(start(file, entry))
    seen, left, piece = hashlib.sha256(), entry.file_size, memoryview(bytearray(min(CHUNK, entry.file_size)))
    while left:
        size = file.readinto(piece[:left])
        if not size:
            raise EOFError("it ends too early")
        seen.update(piece[:size])
        left -= size
        told(size)
    return seen.hexdigest()


def start(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where the bytes of an entry begin, after the name and the padding that stand before them."""
    file.seek(entry.header_offset + 26)
    return entry.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))


def content(file: BinaryIO, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of one entry, which are stored as they are. Raises EOFError where the file ends before them."""
    file.seek(start(file, entry))
    found = file.read(entry.file_size)
    if len(found) < entry.file_size:
        raise EOFError("it ends too early")
    return found
