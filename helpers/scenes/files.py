"""Scenes of lessons 00, 04 and 05: the way to a file and back, and what is in the file."""

from __future__ import annotations

import copy
import pickletools
import tempfile
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from helpers import describe, draw, lesson
from helpers.compare import same_storage
from helpers.draw import Picture
from helpers.scenes.models import signed
from helpers.scenes.stations import Station, stations

_ROLE = {
    "data.pkl": "the names, shapes and dtypes, as a pickle",
    "byteorder": "little or big endian",
    "version": "of the format",
    ".format_version": "of the format",
    ".storage_alignment": "where storages start",
    ".data/serialization_id": "a fingerprint of this save",
}


def journey() -> Picture:
    """The map of the path: model, state dict, file, another model, with the lesson number on each arrow."""
    stops = [
        Station("model", "01: tensors in modules"),
        Station("state dict", "02: names and tensors"),
        Station("file", "04: bytes on disk", disk=True),
        Station("another model", "same answers"),
    ]
    arrows = [("state_dict()", "lesson 02"), ("torch.save", "lessons 04, 05"), ("load_state_dict", "lesson 04")]
    return stations(
        "What a model remembers, and where it goes",
        stops,
        arrows,
        columns=2,
        alt="Model, state_dict (lesson 02), state dict, torch.save (lessons 04 and 05), file, "
        "load_state_dict (lesson 04), another model. The optimizer beside it is lesson 03.",
    )


def round_trip_frames() -> list[Picture]:
    """Model to dict to file to dict to model, station by station, with the tie that holds at each."""
    one, other = lesson.build_model(), lesson.build_model(lesson.SEED + 1)
    live = one.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pth"
        torch.save(live, path)
        loaded = torch.load(path, weights_only=True)
    old = copy.deepcopy(other.state_dict())
    other.load_state_dict(loaded)
    key = "2.weight"
    chain = [one.state_dict()[key], live[key], loaded[key], loaded[key], other.state_dict()[key]]
    stops = [
        ("model A", "parameters"),
        ("state dict", "a window"),
        ("file", "bytes on disk"),
        ("loaded dict", "new tensors"),
        ("model B", "its own tensors"),
    ]
    calls = ["state_dict()", "torch.save", "torch.load", "load_state_dict"]
    titles = [
        "Model A remembers four tensors; here is one of them",
        "state_dict() opens a window: same storage",
        "torch.save copies the bytes out",
        "torch.load makes new tensors",
        "load_state_dict copies into B's own",
    ]
    frames = []
    for k, title in enumerate(titles):
        shown = [
            Station(name, note, tensor, disk=name == "file", reached=i <= k)
            for i, ((name, note), tensor) in enumerate(zip(stops, chain))
        ]
        if k < 4:
            shown[4] = Station("model B", "before loading", old[key])
        ties = [_tie(chain[i], chain[i + 1], i) for i in range(4)]
        frames.append(
            stations(
                title,
                shown,
                list(zip(calls, ties)),
                hops=k,
                alt=f"2.weight at {stops[k][0]}: {signed(chain[k][0, 0])}, {signed(chain[k][0, 1])}.",
            )
        )
    return frames


def _tie(one: Tensor, other: Tensor, hop: int) -> str:
    if hop in (1, 2):
        return "equal, copied" if torch.equal(one, other) else "different"
    return "same storage" if same_storage(one, other) else "equal, copied" if torch.equal(one, other) else "different"


def inside(path: str | Path) -> Picture:
    """The entries of a `.pth` file with their bytes, and the tensor that each data entry belongs to."""
    contents = describe.read_file(path)
    names = {}
    for part, values in contents.items():
        for key, tensor in values.items() if "param_groups" not in values else _buffers(values):
            names.setdefault(tensor.untyped_storage().data_ptr(), f"{part}: {key}")
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename.partition("/")[2], entry.file_size) for entry in archive.infolist()]
    order = iter(names.values())
    rows = [
        (name, describe.size_name(size), next(order, "") if name.startswith("data/") else _ROLE.get(name, ""))
        for name, size in sorted(entries, key=_entry_order)
    ]
    numbers = sum(size for name, size in entries if name.startswith("data/"))
    return draw.table(
        f"{describe.size_name(numbers)} of numbers, a small pickle of names, and labels",
        ["entry of the zip", "bytes", "what it holds"],
        rows,
    )


def _entry_order(entry: tuple[str, int]) -> tuple[bool, int, str]:
    name = entry[0].removeprefix("data/")
    return (not entry[0].startswith("data"), int(name) if name.isdigit() else -1, entry[0])


def _buffers(values: dict) -> list[tuple[str, Tensor]]:
    return [
        (f"state[{k}] {name}", value)
        for k, entry in values["state"].items()
        for name, value in entry.items()
        if isinstance(value, Tensor)
    ]


def import_frames(state: str | Path, whole: str | Path) -> list[Picture]:
    """What each of two files asks to import, one name more on each frame."""
    names = [_imports(state), _imports(whole)]
    return [_import_frame(names, count) for count in range(1, max(map(len, names)) + 1)]


def _imports(path: str | Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        program = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    asked = [str(value) for opcode, value, _ in pickletools.genops(program) if opcode.name == "GLOBAL"]
    return [name.replace(" ", ".") for name in dict.fromkeys(asked)]


def _import_frame(names: list[list[str]], count: int) -> Picture:
    rows = []
    for k in range(max(map(len, names))):
        cells = [name[k] if k < min(count, len(name)) else "" for name in names]
        marked = (("wrong" if cell.startswith("__main__") else "yes", cell) if cell else "" for cell in cells)
        rows.append((str(k + 1), *marked))
    mine = sum(name.startswith("__main__") for name in names[1][:count])
    title = "The whole model asks for a class of yours" if mine else f"{count} of the names that each file asks for"
    return draw.table(title, ["", "state dict", "whole model"], rows)
