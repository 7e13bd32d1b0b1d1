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


_STOPS = {
    "model A": ("parameters", "Model A remembers four tensors; here is one of them"),
    "state dict": ("a window", "state_dict() opens a window: same storage"),
    "file": ("bytes on disk", "torch.save copies the bytes out"),
    "loaded dict": ("new tensors", "torch.load makes new tensors"),
    "model B": ("its own tensors", "load_state_dict copies into B's own"),
}
_CALLS = ("state_dict()", "torch.save", "torch.load", "load_state_dict")


def round_trip_frames() -> list[Picture]:
    """Model to dict to file to dict to model, station by station, with the tie that holds at each."""
    one, other = lesson.build_model(), lesson.build_model(lesson.SEED + 1)
    live = one.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pth"
        torch.save(live, path)
        loaded = torch.load(path, weights_only=True)
    key = "2.weight"
    old = copy.deepcopy(other.state_dict())[key]
    other.load_state_dict(loaded)
    chain = [one.state_dict()[key], live[key], loaded[key], loaded[key], other.state_dict()[key]]
    ties = [_tie(chain[hop], chain[hop + 1], hop) for hop in range(4)]
    frames = []
    for k, (name, (_, title)) in enumerate(_STOPS.items()):
        shown = [
            Station(stop, note, tensor, disk=stop == "file", reached=i <= k)
            for i, ((stop, (note, _)), tensor) in enumerate(zip(_STOPS.items(), chain, strict=True))
        ]
        if k < 4:
            shown[4] = Station("model B", "before loading", old)
        alt = f"2.weight at {name}: {signed(chain[k][0, 0])}, {signed(chain[k][0, 1])}."
        frames.append(stations(title, shown, list(zip(_CALLS, ties, strict=True)), hops=k, alt=alt))
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


def _imports(path: str | Path) -> list[str]:
    with files.open_file(path) as file:
        return pickles.programs(files.header_of(file, Path(path).name), file)[0].names


def _import_frame(names: list[list[str]], count: int) -> Picture:
    rows = []
    for k in range(max(map(len, names))):
        cells = [name[k] if k < min(count, len(name)) else "" for name in names]
        marked = (("wrong" if cell.startswith("__main__") else "yes", cell) if cell else "" for cell in cells)
        rows.append((str(k + 1), *marked))
    mine = sum(name.startswith("__main__") for name in names[1][:count])
    title = "The whole model asks for a class of yours" if mine else f"{count} of the names that each file asks for"
    return draw.table(title, ["", "state dict", "whole model"], rows)
