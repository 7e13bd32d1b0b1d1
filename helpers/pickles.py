"""What a pickle asks for, and why it would be unwise to run it. Read instruction by instruction, never run.

The instructions and what each takes from the stack and leaves on it are those of Python's `pickletools`.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from dataclasses import dataclass
from typing import Any, BinaryIO

from helpers.files import Header, header_of

SAFE = re.compile(
    r"collections\.(OrderedDict|Counter)|builtins\.(set|complex)|torch\.(Size|device|serialization\._get_layout)|"
    r"torch\.nn\.parameter\.Parameter|torch\._utils\._rebuild_(parameter|(sparse_|q|nested_)?tensor(_v[23])?)|"
    r"torch\.(\w+\.)?\w*Storage|torch\.(per_\w+|bool|(b?float|complex|q?u?int|bits)\d\w*)"
)
_MULTIPLIES = re.compile(
    r"torch\.(_utils|_tensor|nested|distributed\.tensor|_dynamo)\..*|torch\.(\w+\.)?\w*Tensor|.*(encode|array)"
)
_MOST_NESTED, _OLD_PICKLES = 10_000, 5


@dataclass(frozen=True)
class Program:
    """A pickle, read and never run: the names that it asks to import, in order, and how many tuples its largest holds."""

    names: tuple[str, ...]
    nested: int


_MANY = 1 << 30
_PUTS, _GETS = {"LONG_BINPUT", "BINPUT", "MEMOIZE", "PUT"}, {"BINGET", "LONG_BINGET", "GET"}
_TUPLES, _ASKS = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}, {"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}
_CONSTANTS = {code.name for code in pickletools.opcodes if not code.stack_before and len(code.stack_after) == 1}
_CONSTANTS -= {"MARK", *_GETS, *_ASKS}
_UNTIL_MARK = {
    code.name: code.stack_before.index(pickletools.markobject)
    for code in pickletools.opcodes
    if pickletools.markobject in code.stack_before
}


def read_program(pickled: bytes | BinaryIO) -> Program:
    """Reads a pickle up to its end, and runs nothing.

    Of each value only its place on the stack is known, of a string itself, of a tuple how many it holds. Raises ValueError
    if it is no pickle.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    names: dict[str, None] = {}
    nested = 0
    try:
        argument: Any
        for opcode, argument, _ in pickletools.genops(pickled):
            name, value = opcode.name, argument
            if name in _PUTS:
                memo[len(memo) if name == "MEMOIZE" else value] = stack[-1]
            elif name in _GETS:
                stack.append(memo[value])
            elif name in _CONSTANTS:
                stack.append(value if type(value) is str else None)
            elif name == "MARK":
                marks.append(len(stack))
            else:
                taken = _UNTIL_MARK.get(name)
                start = len(stack) - len(opcode.stack_before) if taken is None else marks.pop() - taken
                if start < 0:
                    raise IndexError
                items = stack[start:]
                del stack[start:]
                if name in _TUPLES:
                    stack.append(min(_MANY, 1 + sum(item for item in items if type(item) is int)))
                    nested = max(nested, stack[-1])
                    continue
                if name in _ASKS:
                    names[_asked(name, value, items)] = None
                stack.extend([items[0] if name == "DUP" else None] * len(opcode.stack_after))
    except (IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise ValueError(f"its pickle is broken ({type(error).__name__})") from error
    return Program(tuple(names), nested)


def _asked(name: str, value: Any, items: list[Any]) -> str:
    if name == "STACK_GLOBAL":
        return ".".join(map(str, items))
    return f"extension {value}" if name.startswith("EXT") else value.replace(" ", ".", 1).replace("__builtin__", "builtins", 1)


def programs(header: Header, file: BinaryIO) -> list[Program]:
    """The pickles of a checkpoint that torch wrote: one in a zip, five in a row before torch 1.6.

    Raises ValueError if they are broken, or lie in a zip as torch never writes one, such as entries that unpack to more.
    """
    if header.archive is None:
        file.seek(0)
        return [read_program(file) for _ in range(_OLD_PICKLES)]
    listed = header.archive.infolist()
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in listed)
    distinct = len({entry.filename for entry in listed}) == len(listed)
    first = min(entry.header_offset for entry in listed)
    if not stored or not distinct or first or sum(entry.file_size for entry in listed) > header.size:
        raise ValueError("its entries are not as torch.save writes them")
    return [read_program(program_of(header))]


def program_of(header: Header) -> bytes:
    """The pickle in a zip that torch wrote. Raises ValueError or zipfile.BadZipFile if there is none."""
    if header.archive is None:
        raise ValueError("it is no zip")
    return header.archive.read(f"{header.entries[0].name.partition('/')[0]}/data.pkl")


def refusal(program: Program) -> str | None:
    """Why not to run it, or None.

    Refused are names that can run code, and what `weights_only=True` lets pass although it can fill the memory or never end:
    calls that multiply what they are given, and tuples of tuples, which are hashed as they unfold.
    """
    name = next((name for name in program.names if not SAFE.fullmatch(name)), None)
    if name is None:
        nested = f"holds {program.nested} tuples in one, which no checkpoint needs."
        return nested if program.nested > _MOST_NESTED else None
    if name.startswith("numpy"):
        return f"holds a NumPy value ({name}). Load it once inside torch.serialization.safe_globals, and save float(value)."
    if _MULTIPLIES.fullmatch(name):
        return f"calls {name}, which can take any memory. If it is your own, torch.load(path, weights_only=True) reads it."
    return f"asks to import {name}, which can run code. It was not loaded: do not trust where it came from."


def safe_header(file: BinaryIO, name: str) -> Header:
    """What a checkpoint says of itself.

    Raises ValueError, in one sentence, for a file of another kind and for one that it would be unwise to open.
    """
    header = header_of(file, name)
    if header.kind not in ("torch", "old torch"):
        raise ValueError(header.words)
    try:
        words = next(filter(None, map(refusal, programs(header, file))), None)
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        words = f"is damaged or no checkpoint: {' '.join(str(error).split())}."
    if words:
        raise ValueError(f"{name!r} {words}")
    return header
