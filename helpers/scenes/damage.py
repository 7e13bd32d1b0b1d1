"""Scenes of lesson 08: a pickle read without being run, and files that are really damaged and really loaded."""

from __future__ import annotations

import pickletools
import re
import tempfile
import textwrap
import zipfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from helpers import draw, files, pickles
from helpers.draw import Picture

_WORDS = {
    "GLOBAL": "import",
    "STACK_GLOBAL": "import",
    "REDUCE": "CALL it with these arguments",
    "STOP": "hand over the result",
    "BUILD": "set its attributes",
    "EMPTY_DICT": "a dict",
    "SETITEM": "put it into the dict",
    "SETITEMS": "put them into the dict",
    "TUPLE1": "wrap as arguments",
    "TUPLE": "wrap as arguments",
    "TUPLE2": "wrap as arguments",
    "BINPERSID": "take a storage from the zip",
    "EMPTY_TUPLE": "no arguments",
}
_SILENT = ("PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "MARK", "BINGET")


def instructions(path: str | Path) -> list[tuple[str, str, str]]:
    """The pickle in a `.pth`, read and never run: (opcode, its argument, what it asks for), without bookkeeping."""
    with files.open_file(path) as file:
        header = files.header_of(file, Path(path).name)
        program = pickles.program_of(header, file)
    found = []
    for opcode, value, _ in pickletools.genops(program):
        if opcode.name not in _SILENT:
            shown = "" if value is None else str(value).replace(" ", ".") if opcode.name == "GLOBAL" else repr(value)
            found.append((opcode.name, shown, _WORDS.get(opcode.name, "a value")))
    return found


def instruction_frames(path: str | Path) -> list[Picture]:
    """The program in a `.pth`, one instruction more on each frame; what calls a function of no tensor is marked."""
    program, frames, last = instructions(path), [], ""
    rows: list[tuple] = []
    for k, (name, value, words) in enumerate(program, 1):
        last = value if name == "GLOBAL" else last
        alarm = name in ("GLOBAL", "REDUCE") and not last.startswith(("torch.", "collections."))
        rows.append((name, ("wrong", words) if alarm else words, value))
        title = f"Instruction {k} of {len(program)}: {words}" + (f" {last}" if alarm else "")
        frames.append(draw.table(title, ["instruction", "what it asks for", "argument"], rows))
    return frames


def _cut(data: bytes, other: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip(data: bytes, other: bytes) -> bytes:
    at = data.index(_MARK) + 2
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def _zero(data: bytes, other: bytes) -> bytes:
    at = data.index(_MARK)
    return data[:at] + bytes(4096) + data[at + 4096 :]


DAMAGES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "nothing": lambda data, other: data,
    "cut it in half": _cut,
    "flip one bit": _flip,
    "zero a page": _zero,
    "swap two files": lambda data, other: other,
    "empty it": lambda data, other: b"",
    "put text into it": lambda data, other: b"these are not the weights you are looking for",
}
_MARK = torch.full((4,), 0.123456789).numpy().tobytes()


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _tested(path: Path) -> dict[str, Tensor]:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"{damaged} is damaged")
    return torch.load(path, weights_only=True)


def _save_safetensors(state: dict[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file(state, path)


LOADERS: dict[str, tuple[Callable, Callable]] = {
    "torch.load": (torch.save, lambda path: torch.load(path, weights_only=True)),
    "torch.load(mmap=True)": (torch.save, lambda path: torch.load(path, weights_only=True, mmap=True)),
    "safetensors": (_save_safetensors, _safetensors),
    "testzip, then torch.load": (torch.save, _tested),
}


def _state(seed: int) -> dict[str, Tensor]:
    state = dict(nn.Linear(64, 64).state_dict())
    state["weight"] = torch.full((64, 64), float(seed))
    state["weight"][0, :4] = 0.123456789
    return state


@lru_cache(maxsize=32)
def outcome(damage: str, loader: str) -> tuple[str, str]:
    """Writes a file, damages it, loads it: the mark and the words of what happened.

    Raises ValueError if there is no such damage or loader.
    """
    if damage not in DAMAGES or loader not in LOADERS:
        raise ValueError(f"Got {damage!r} and {loader!r}; wanted one of {', '.join(DAMAGES)} and one of {', '.join(LOADERS)}.")
    write, read = LOADERS[loader]
    saved = _state(1)
    with tempfile.TemporaryDirectory() as name:
        one, other = Path(name) / "monday.pth", Path(name) / "friday.pth"
        write(saved, one)
        write({**saved, "weight": saved["weight"] + (saved["weight"] == 1)}, other)
        one.write_bytes(DAMAGES[damage](one.read_bytes(), other.read_bytes()))
        try:
            loaded = {key: tensor.clone() for key, tensor in read(one).items()}
        except Exception as error:
            return "no", "refused: " + _short(error, name)
    if all(torch.equal(saved[key], loaded[key]) for key in saved):
        return "yes", "loads, the same numbers"
    return "wrong", "loads other numbers, and says nothing"


def _short(error: Exception, folder: str) -> str:
    words = re.sub(r"\s+", " ", str(error).replace(folder + "/", "")).strip()
    return f"{type(error).__name__}{': ' * bool(words)}{words if len(words) <= 108 else words[:107] + '…'}"


def damaged(damage: str) -> Picture:
    """One kind of damage against each loader."""
    found = {loader: outcome(damage, loader) for loader in LOADERS}
    rows = [(loader, (mark, textwrap.fill(words, 62))) for loader, (mark, words) in found.items()]
    silent = sum(mark == "wrong" for mark, _ in found.values())
    seen = (
        f"{silent} of {len(rows)} load it as if it were right"
        if silent
        else "everybody notices"
        if damage != "nothing"
        else "everybody loads it"
    )
    return draw.table(f"{damage}: {seen}", ["loader", "what happened"], rows)


def promises() -> Picture:
    """Each kind of damage against each loader, all of them tried."""
    words = {"yes": "same numbers", "no": "refused", "wrong": "silently wrong"}
    marks = {damage: [outcome(damage, loader)[0] for loader in LOADERS] for damage in DAMAGES}
    rows: list[Sequence[draw.Cell]] = [
        (damage, *((("yes" if damage != "nothing" else "") if mark == "no" else mark, words[mark]) for mark in found))
        for damage, found in marks.items()
    ]
    silent = {name: [damage for damage in DAMAGES if marks[damage][k] == "wrong"] for k, name in enumerate(LOADERS)}
    best = min(silent, key=lambda name: len(silent[name]))
    where = " and ".join(silent[best])
    return draw.table(f"{best} misses only: {where}", ["damage", *LOADERS], rows)
