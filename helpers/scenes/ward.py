"""Scenes of lesson 12: twelve kinds of file by their first bytes, and a ward of twelve broken checkpoints, really made."""

from __future__ import annotations

import copy
import io
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from helpers import clinic, describe, draw, files, lesson
from helpers.draw import Picture

NOT_YET = "not yet"
MARKS = {"ok": "yes", "look": "wrong", "bad": "no"}
_PREFIXES = {
    "empty": b"",
    "LFS pointer": b"version https://git-lfs.github.com/spec/v1\n",
    "web page": b"<!DOCTYPE html>",
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(600),
    "GGUF": b"GGUF\3" + bytes(600),
    "npy": b"\x93NUMPY\1" + bytes(600),
    "gzip": b"\x1f\x8b\x08" + bytes(600),
    "pickle": b"\x80\x04\x95" + bytes(600),
    "zeros": bytes(600),
}


def first_bytes() -> Picture:
    """Twelve kinds of file, each read by its bytes, and what reads each."""
    state, samples = {"weight": torch.ones(2)}, {}
    for name, new in (("torch", True), ("old torch", False)):
        page = io.BytesIO()
        torch.save(state, page, _use_new_zipfile_serialization=new)
        samples[name] = page.getvalue()
    samples |= {"safetensors": safetensors.torch.save(state)} | _PREFIXES
    rows = []
    for sample in samples.values():
        kind = files.header_of(io.BytesIO(sample), "").kind
        shown = f"{sample[8:9]!r} after eight" if kind == "safetensors" else f"{sample[:4]!r}"
        rows.append((shown if sample else "nothing", "\n".join(textwrap.wrap(files.KINDS[kind], 72))))
    return draw.table("Twelve kinds of file, told by their first bytes", ["first bytes", "what it is"], rows)


class Whole(nn.Sequential):
    """A model that is saved whole: its file asks for this class."""


class _Hostile:
    def __reduce__(self) -> tuple:
        return os.system, ("echo your keys are mine now",)


def _net(classes: int = 1, rows: int = 4, turned: bool = False) -> nn.Module:
    torch.manual_seed(classes + rows)
    middle = nn.Linear(3, 2)
    if turned:
        middle.weight = nn.Parameter(middle.weight.detach().t().contiguous())
    return nn.ModuleDict({"embed": nn.Embedding(rows, 3), "middle": middle, "head": nn.Linear(2, classes)})


def _trainer() -> Any:
    state = {f"model.{key}": value for key, value in _net().state_dict().items()}
    return {"epoch": 9, "global_step": 900, "pytorch-lightning_version": "2.5.0", "state_dict": state}


def _prefixed() -> Any:
    return {f"module.{key}": value for key, value in _net().state_dict().items()}


def _diverged() -> Any:
    state = copy.deepcopy(_net().state_dict())
    state["middle.weight"][0, 0] = float("nan")
    return state


def _slice() -> Any:
    state = copy.deepcopy(_net().state_dict())
    table = torch.zeros(100_000, 3)
    table[:4] = state["embed.weight"]
    return state | {"embed.weight": table[:4]}


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flipped(data: bytes) -> bytes:
    at = data.index(_bytes_of(_net().state_dict()["middle.weight"]))
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _bytes_of(tensor: Tensor) -> bytes:
    return bytes(tensor.contiguous().view(torch.uint8).flatten().tolist())


def _pointer(data: bytes) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 2000\n"


def _as_it_is(data: bytes) -> bytes:
    return data


_ILLS: dict[str, tuple[str, Callable[[], Any], Callable[[bytes], bytes], Callable[[], nn.Module]]] = {
    "one level too high": ("Every key is missing. It has an epoch in it.", _trainer, _as_it_is, _net),
    "a new head": ("size mismatch for head.weight.", lambda: _net().state_dict(), _as_it_is, lambda: _net(classes=3)),
    "cut off": ("failed finding central directory.", lambda: _net().state_dict(), _cut, _net),
    "a prefix": ("Missing and unexpected, as many of each.", _prefixed, _as_it_is, _net),
    "hostile": ("Weights only load failed. They say: just switch it off.",
                lambda: _net().state_dict() | {"extra": _Hostile()}, _as_it_is, _net),
    "a slice": ("A model of 23 numbers, and the file has a megabyte.", _slice, _as_it_is, _net),
    "a flipped bit": ("It loads. The answers are not those of last week.", lambda: _net().state_dict(), _flipped, _net),
    "turned round": ("size mismatch for middle.weight: 3 × 2 against 2 × 3.",
                     lambda: _net(turned=True).state_dict(), _as_it_is, _net),
    "a pointer": ("invalid load key, 'v'. It came with git clone.", lambda: _net().state_dict(), _pointer, _net),
    "diverged": ("It loads, and every answer is nan.", _diverged, _as_it_is, _net),
    "a whole model": ("Weights only load failed. It is my own file.", lambda: Whole(nn.Linear(3, 2)), _as_it_is, _net),
    "a grown vocabulary": ("size mismatch for embed.weight.", lambda: _net().state_dict(), _as_it_is, lambda: _net(rows=6)),
}  # fmt: skip
GUESSES = [NOT_YET, *sorted(_ILLS)]
PATIENTS = [f"{number}" for number in range(1, len(_ILLS) + 1)]


class Ward:
    """Twelve broken checkpoints in a folder, `patient 1.pth` to `patient 12.pth`, each ill in one way."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        with torch.random.fork_rng(devices=[]):
            for patient, (_, make, spoil, _) in zip(PATIENTS, _ILLS.values()):
                page = io.BytesIO()
                torch.save(make(), page)
                self.path(patient).write_bytes(spoil(page.getvalue()))

    def path(self, patient: str) -> Path:
        """The patient's file."""
        return self.folder / f"patient {patient}.pth"

    def model(self, patient: str) -> nn.Module:
        """The model that it should fill."""
        with torch.random.fork_rng(devices=[]):
            return self.ill(patient)[1][3]()

    def ill(self, patient: str) -> tuple[str, Any]:
        """What it has, and how it was made. Raises ValueError for a patient that there is not."""
        if patient not in PATIENTS:
            raise ValueError(f"Got {patient!r}; wanted one of {', '.join(PATIENTS)}.")
        return list(_ILLS.items())[int(patient) - 1]

    def visit(self, patient: str, guess: str) -> Picture:
        """The patient's chart; after the right guess, what the clinic finds."""
        name, (complaint, *_) = self.ill(patient)
        if guess == name:
            return self.findings(patient, name)
        path = self.path(patient)
        rows: list[tuple[draw.Cell, draw.Cell]] = [("complaint", complaint), ("first bytes", f"{path.read_bytes()[:8]!r}")]
        rows += [("in the file", _listed(_state_in(path))), ("in the model", _listed(self.model(patient).state_dict()))]
        if guess != NOT_YET:
            rows.append((("no", guess), "That is not it: look at the chart again."))
        return draw.table(f"Patient {patient}: what is it?", ["chart", ""], rows)

    def findings(self, patient: str, name: str) -> Picture:
        """What the clinic says, but for what is well, and the code that it gives."""
        path = self.path(patient)
        found = clinic.examine(path, self.model(patient))
        rows: list[tuple[draw.Cell, draw.Cell]] = [
            ((MARKS[one.level], "\n".join(textwrap.wrap(one.what, 44))), "\n".join(textwrap.wrap(one.why, 58)))
            for one in found
            if one.level != "ok"
        ]
        if found.code:
            code = found.code.replace(repr(str(path)), repr(path.name)).replace("    ", "\u00a0" * 4)
            rows.append(("the cure", code))
        return draw.table(f"Patient {patient}: {name}, says the clinic too", ["it found", "why, and what to do"], rows)


def _state_in(path: Path) -> Any:
    try:
        return describe.read_file(path)
    except ValueError:
        return None


def _listed(state: Any) -> str:
    if state is None:
        return "nobody knows: it does not open"
    lines = [
        f"{key}  {describe.shape_name(describe.shape_of(value))}" if isinstance(value, Tensor) else f"{key}"
        for key, value in state.items()
    ]
    return "\n".join(lines)


def example() -> tuple[dict[str, Any], nn.Module]:
    """A trainer's checkpoint, prefix, average, optimizer and all, and the model that it is for."""
    model = lesson.build_model()
    optimizer = torch.optim.AdamW(model.parameters())
    for _ in range(3):
        lesson.train_step(model, optimizer, *lesson.toy_data())
    state = {f"module.{key}": value.clone() for key, value in model.state_dict().items()}
    average = {key: value / 2 for key, value in state.items()}
    contents = {"epoch": 3, "model": state, "model_ema": average, "optimizer": optimizer.state_dict()}
    return contents, lesson.build_model(lesson.SEED + 1)
