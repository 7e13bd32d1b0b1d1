"""Scenes of lessons 04 and 05: the way to a file and back, and what is in the file."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from helpers import checkpoint, describe, draw, files, lesson, pickles
from helpers.compare import same_storage
from helpers.draw import Picture
from helpers.scenes.models import signed
from helpers.scenes.stations import Station, stations

_MOST = 24
_ROLE = {
    "data.pkl": "the names, shapes and dtypes, as a pickle",
    "byteorder": "little or big endian",
    "version": "of the format",
    ".format_version": "of the format",
    ".storage_alignment": "where storages start",
    ".data/serialization_id": "a fingerprint of this save",
}


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
    """The entries of a file with their bytes, and the tensor that each entry of numbers belongs to; the first 24 of them.

    Raises ValueError, in one sentence, where there is no file.
    """
    header = files.read_header(path)
    if header.kind in ("missing", "unreadable", "folder"):
        raise ValueError(header.words)
    entries, keys = list(header.entries), _keys_in(path)
    if header.kind == "torch":
        entries = [files.Entry(entry.name.partition("/")[2], entry.size) for entry in entries]
    numbered = sorted((entry for entry in entries if entry.name.removeprefix("data/").isdigit()), key=lambda e: int(e.name[5:]))
    named = {entry.name: key for entry, key in zip(numbered, keys, strict=False)} if len(numbered) == len(keys) else {}
    others = [entry for entry in entries if entry not in numbered]
    ordered = (
        [entry for entry in others if entry.name == "data.pkl"]
        + numbered
        + sorted((entry for entry in others if entry.name != "data.pkl"), key=lambda entry: entry.name)
    )
    rows = [(entry.name, describe.size_name(entry.size), named.get(entry.name, _ROLE.get(entry.name, ""))) for entry in ordered]
    title = header.words
    if named:
        numbers = describe.size_name(sum(entry.size for entry in numbered))
        title = f"{numbers} of numbers, a small pickle of names, and labels"
    more = [(f"… {len(rows) - _MOST:,} more", "", "")] if len(rows) > _MOST else []
    whole = [(header.name, describe.size_name(header.size), "no entries: one piece")]
    return draw.table(title, ["entry", "bytes", "what it holds"], rows[:_MOST] + more or whole)


def _keys_in(path: str | Path) -> list[str]:
    """The key of each storage; none if the file is not one that torch can open without running it."""
    try:
        return checkpoint.storage_keys(describe.read_file(path))
    except ValueError:
        return []


def import_frames(state: str | Path, whole: str | Path) -> list[Picture]:
    """What each of two files asks to import, one name more on each frame."""
    names = [_imports(state), _imports(whole)]
    return [_import_frame(names, count) for count in range(1, max(map(len, names)) + 1)]


def _imports(path: str | Path) -> tuple[str, ...]:
    with files.open_file(path) as file:
        return pickles.programs(files.header_of(file, Path(path).name), file)[0].names


def _import_frame(names: list[tuple[str, ...]], count: int) -> Picture:
    rows = []
    for k in range(max(map(len, names))):
        cells = [name[k] if k < min(count, len(name)) else "" for name in names]
        marked = (("wrong" if cell.startswith("__main__") else "yes", cell) if cell else "" for cell in cells)
        rows.append((str(k + 1), *marked))
    mine = sum(name.startswith("__main__") for name in names[1][:count])
    title = "The whole model asks for a class of yours" if mine else f"{count} of the names that each file asks for"
    return draw.table(title, ["", "state dict", "whole model"], rows)
