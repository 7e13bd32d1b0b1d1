"""What a pickle asks for, and why it would be unwise to run it. Read instruction by instruction, never run.

The instructions and what each takes from the stack and leaves on it are those of Python's `pickletools`.
"""

from __future__ import annotations

import io
import os
import pickletools
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from helpers.files import Header, header_of, open_file, read_header

SAFE = re.compile(
    r"collections\.(OrderedDict|Counter)|builtins\.(set|complex)|torch\.(Size|device|serialization\._get_layout)|"
    r"torch\.nn\.parameter\.Parameter|torch\._utils\._rebuild_(parameter|(sparse_|q|nested_)?tensor(_v[23])?)|"
    r"torch\.(\w+\.)?\w*Storage|torch\.(per_tensor_\w+|bool|(b?float|complex|q?u?int|bits)\d\w*)"
)
_FRIENDLY = {
    "numpy": re.compile(r"numpy\.(_?core\.multiarray\.(scalar|_reconstruct)|dtype|ndarray|dtypes\.\w+)"),
    "plain": re.compile(
        r"argparse\.Namespace|types\.SimpleNamespace|collections\.(defaultdict|deque)|pathlib\.\w*Path|datetime\.\w+|"
        r"builtins\.(frozenset|range|slice|list|dict|tuple|int|float|str)|torch\.torch_version\.TorchVersion|"
        r"omegaconf\.(listconfig\.ListConfig|dictconfig\.DictConfig|base\.(Container)?Metadata|nodes\.\w+Node)|typing\.Any"
    ),
    "call": re.compile(
        r"torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2|torch\.(\w+\.)?\w*Tensor|torch\.per_channel_\w+|"
        r"torch\.(nested|distributed\.tensor|distributed\.device_mesh|_dynamo\.decorators)\.[.\w]*|_codecs\.encode|"
        r"builtins\.bytearray"
    ),
}
_WORDS = {
    "code": "asks to import {}, which can run code. It was not loaded: do not trust where it came from.",
    "numpy": "holds a NumPy value ({}). Load it once in torch.serialization.safe_globals; save float(value).",
    "plain": "holds {}. Load it once in torch.serialization.safe_globals; save plain values in its place.",
    "call": "calls {}, which can take any memory. If it is your own, torch.load(path, weights_only=True) reads it.",
}
_MOST_NESTED, _MOST_COPIED, _OLD_PICKLES = 30_000, 100_000, 5
_ENDS, _FOLDER, _LONGEST_PICKLE = 98, 0x10, 1 << 22
_COPIERS = ("builtins.set", "collections.OrderedDict", "collections.Counter", "torch.Size")
_MANY, _SMALL, _MADE = 1 << 30, 1 << 22, object()
_PUTS, _GETS = {"LONG_BINPUT", "BINPUT", "MEMOIZE", "PUT"}, {"BINGET", "LONG_BINGET", "GET"}
_TUPLES, _ASKS = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}, {"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}
_HOLDERS, _FILLS = {"EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"}, {"APPEND", "APPENDS", "ADDITEMS", "SETITEM", "SETITEMS"}
_CALLS = {"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"}
_CONSTANTS = {code.name for code in pickletools.opcodes if not code.stack_before and len(code.stack_after) == 1}
_CONSTANTS -= {"MARK", *_GETS, *_ASKS, *_HOLDERS}


class Refusal(NamedTuple):
    """Why not to run a pickle: `words` of the `kind` code, numpy, plain, call or memory, and the `names` that are refused."""

    kind: str
    words: str
    names: tuple[str, ...] = ()


class _Holding(int):
    """The weight of a tuple that holds what a call made."""


@dataclass
class Program:
    """A pickle, read and never run.

    `names` are what it asks to import, in order; `nested` is how many values hang in its largest tuple of tuples, `copied` how
    many it hands to calls or hashes as keys beyond its instructions, or a great many where a call copies what a call made.

    On the `stack` a value is only its weight, how many values hang in it: a tuple is its weight, a container a list of one
    weight, a string itself, what a call makes `_MADE`, all else None.
    """

    names: list[str] = field(default_factory=list)
    nested: int = 0
    copied: int = 0
    stack: list[Any] = field(default_factory=list, repr=False)
    marks: list[int] = field(default_factory=list, repr=False)

    def read(self, pickled: bytes | BinaryIO) -> None:
        """One instruction after the other."""
        stack, steps = self.stack, 0
        memo: dict[int, Any] = {}
        value: Any
        for opcode, value, _ in pickletools.genops(pickled):
            name = opcode.name
            if name in _PUTS:
                memo[len(memo) if name == "MEMOIZE" else value] = stack[-1]
            elif name in _GETS:
                stack.append(memo[value])
            elif name in _CONSTANTS:
                stack.append(value if type(value) is str else None)
            elif name == "MARK":
                self.marks.append(len(stack))
            elif name in _HOLDERS:
                stack.append([1])
            else:
                steps += 1
                stack += self.left(name, value, self.taken(opcode.stack_before), len(opcode.stack_after))
        self.names = list(dict.fromkeys(self.names))
        self.copied = max(0, self.copied - 10 * steps)

    def taken(self, before: list[pickletools.StackObject]) -> list[Any]:
        """What an instruction takes off the stack."""
        marked = pickletools.markobject in before
        start = self.marks.pop() - before.index(pickletools.markobject) if marked else len(self.stack) - len(before)
        if start < 0:
            raise IndexError
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def left(self, name: str, value: Any, items: list[Any], given: int) -> list[Any]:
        """What an instruction leaves on the stack in place of `items`."""
        if name in _TUPLES:
            weight = min(_MANY, 1 + sum(map(_weight, items)))
            if any(isinstance(item, int) for item in items):
                self.nested = max(self.nested, weight)
            return [_Holding(weight) if _MADE in items else weight]
        if name in _FILLS:
            if type(items[0]) is list:
                items[0][0] = min(_MANY, items[0][0] + sum(map(_weight, items[1:])))
            keys = items[1::2] if name.startswith("SETITEM") else []
            self.copied += sum(key for key in keys if isinstance(key, int))
            return items[:1]
        if name in _ASKS:
            asked = ".".join(map(str, items)) if name == "STACK_GLOBAL" else str(value).replace(" ", ".", 1)
            asked = f"extension {value}" if name.startswith("EXT") else asked.replace("__builtin__", "builtins", 1)
            self.names.append("builtins.int" if asked == "builtins.long" else asked)
            return [asked]
        if name in _CALLS and len(items) > 1:
            self.copied += _MANY if items[0] in _COPIERS and type(items[1]) is _Holding else _weight(items[1])
        return [items[0] if name == "DUP" else _MADE if name in _CALLS else None] * given


def _weight(item: Any) -> int:
    return item if isinstance(item, int) else item[0] if type(item) is list else 1


def read_program(pickled: bytes | BinaryIO) -> Program:
    """Reads a pickle up to its end, and runs nothing. Raises ValueError if it is no pickle."""
    program = Program()
    try:
        program.read(pickled)
    except (IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise ValueError(f"its pickle is broken ({type(error).__name__})") from error
    return program


def programs(header: Header, file: BinaryIO) -> list[Program]:
    """The pickles of a checkpoint that torch wrote: one in a zip, five in a row before torch 1.6.

    Raises ValueError if they are broken, or lie in a zip as torch never writes one, such as entries that unpack to more.
    """
    if header.archive is None:
        file.seek(0)
        return [read_program(file) for _ in range(_OLD_PICKLES)]
    listed = header.archive.infolist()
    stored = all(entry.compress_type == zipfile.ZIP_STORED and not entry.external_attr & _FOLDER for entry in listed)
    distinct = len({entry.filename.lower() for entry in listed}) == len(listed)
    first = min(entry.header_offset for entry in listed)
    if not stored or not distinct or first or sum(entry.file_size for entry in listed) > header.size:
        raise ValueError("its entries are compressed, or not as torch.save writes them")
    if not _one_directory(header, file):
        raise ValueError("it has more than one table of contents")
    return [read_program(program_of(header, file))]


def _one_directory(header: Header, file: BinaryIO) -> bool:
    """Whether the zip's end points to the table of contents that Python found, so that torch reads the same one."""
    file.seek(max(0, header.size - _ENDS))
    ends = file.read().rjust(_ENDS, b"\0")
    start = int.from_bytes(ends[-6:-2], "little")
    if start == 0xFFFFFFFF and int.from_bytes(ends[-34:-26], "little") == header.size - _ENDS:
        start = int.from_bytes(ends[-50:-42], "little")
    return ends[-22:-18] == b"PK\5\6" and start == getattr(header.archive, "start_dir", None)


def program_of(header: Header, file: BinaryIO) -> bytes:
    """The pickle in a zip that torch wrote, else the start of the file. Raises KeyError or BadZipFile if there is none."""
    if header.archive is None:
        file.seek(0)
        return file.read(_LONGEST_PICKLE)
    return header.archive.read(f"{header.entries[0].name.partition('/')[0]}/data.pkl")


def refusal(program: Program) -> Refusal | None:
    """Why not to run it, or None.

    Refused are names that can run code, and what `weights_only=True` lets pass although it can fill the memory or never end:
    calls that multiply what they are given, and tuples of tuples, which are hashed as they unfold.
    """
    refused = tuple(name for name in program.names if not SAFE.fullmatch(name))
    kinds = [next((kind for kind, known in _FRIENDLY.items() if known.fullmatch(name)), "code") for name in refused]
    for kind, words in _WORDS.items():
        if kind in kinds:
            return Refusal(kind, words.format(refused[kinds.index(kind)]), refused)
    if program.copied > _MOST_COPIED:
        return Refusal("memory", "copies the same values again and again, which can fill the memory.")
    if program.nested > _MOST_NESTED:
        return Refusal("memory", f"holds {program.nested} values in a tuple of tuples.")
    return None


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[BinaryIO, Header]]:
    """A checkpoint of tensors, opened once, a small one in memory; and what it says of itself. Raises as `safe_header` does."""
    try:
        file = open_file(path)
    except OSError:
        raise ValueError(read_header(path).words) from None
    with file:
        source = io.BytesIO(file.read()) if os.fstat(file.fileno()).st_size <= _SMALL else file
        yield source, safe_header(source, Path(path).name)


def safe_header(file: BinaryIO, name: str) -> Header:
    """What a checkpoint says of itself; the file stands at its start again.

    Raises ValueError, in one sentence, for a file of another kind and for one that it would be unwise to open.
    """
    header = header_of(file, name)
    if header.kind not in ("torch", "old torch"):
        raise ValueError(header.words)
    try:
        refused = next(filter(None, map(refusal, programs(header, file))), None)
    except Exception as error:
        raise ValueError(f"{name!r} is damaged or no checkpoint: {' '.join(str(error).split())}.") from error
    if refused:
        raise ValueError(f"{name!r} {refused.words}")
    file.seek(0)
    return header
