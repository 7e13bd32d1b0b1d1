"""Scenes of lesson 11: a tensor's rows on the ranks, who writes what into the folder, and what arrives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from helpers import draw
from helpers.draw import Picture, svg
from helpers.draw.corner import corner
from helpers.draw.tensors import CELL_HEIGHT, CELL_WIDTH, grid
from helpers.scenes.stations import disk

if TYPE_CHECKING:
    from torch.distributed.checkpoint.metadata import MetadataIndex

RANKS = (("●", "#2a52a8"), ("▲", "#a8461a"), ("■", "#0b6472"), ("◆", "#6b3fa0"))
LINE, TOP = 26, 112


def rows_on_ranks(weight: Tensor, counts: Sequence[int] = (2, 4)) -> Picture:
    """A tensor, its rows on the ranks that save it, the folder, and its rows on the ranks that load it."""
    step, height = weight.shape[1] * CELL_WIDTH + 60, len(weight) * CELL_HEIGHT
    on = [(f"on {n} ranks", _parts(len(weight), n)) for n in counts]
    groups = [("the tensor", [(0, len(weight))]), on[0], (f"in the folder of {counts[0]}", on[0][1]), on[1]]
    body, below = [], TOP + height + 106
    for number, (name, parts) in enumerate(groups):
        left, top = svg.MARGIN + 20 + (number % 2) * (counts[0] * step + 20), below if number > 1 else TOP
        body.append(svg.text(left - 20, top - 34, name, 15, bold=True))
        for rank, (start, stop) in enumerate(parts):
            x = left + rank * step
            if number == 2:
                body.append(disk(x - 20, top - 18, step - 20, height + 64))
                body.append(svg.text(x, top + height + 32, f"__{rank}_0.distcp", 13, mono=True))
            body.append(_shard(weight, start, stop, x, top, rank if number else None))
    alt = "; ".join(f"{name}: {', '.join(_rows(*part) for part in parts)}" for name, parts in groups)
    title, width = "Each rank holds some rows, and the folder holds all of them", svg.MARGIN + 40 + sum(counts[:2]) * step
    return svg.card(width, below + height + 66, title, f"{alt}.", "".join(body))


def _parts(rows: int, ranks: int) -> list[tuple[int, int]]:
    each = -(-rows // ranks)
    return [(min(k * each, rows), min((k + 1) * each, rows)) for k in range(ranks)]


def _rows(start: int, stop: int) -> str:
    return "no row" if start == stop else f"row {start}" if stop == start + 1 else f"rows {start} to {stop - 1}"


def _shard(weight: Tensor, start: int, stop: int, x: float, y: float, rank: int | None) -> str:
    wide, high = weight.shape[1] * CELL_WIDTH, len(weight) * CELL_HEIGHT
    drawn = svg.box(x - 2, y - 2, wide + 4, high + 4, fill=svg.FAINT, dash="5 4")
    drawn += grid(corner(weight[start:stop]), "parameter", x, y + start * CELL_HEIGHT, 1.0)[0] if stop > start else ""
    return drawn if rank is None else drawn + svg.circled(*RANKS[rank], x - 2, y - 2)


def writing_frames(folder: str | Path) -> list[Picture]:
    """Who writes what into a folder that ranks saved, piece by piece, as its `.metadata` tells it."""
    from torch.distributed.checkpoint import FileSystemReader

    files: dict[str, list[str]] = {}
    metadata = FileSystemReader(folder).read_metadata()
    for index, place in sorted(metadata.storage_data.items(), key=lambda item: item[1].offset):
        piece, pieces = _piece(metadata.state_dict_metadata[index.fqn], index), files.setdefault(place.relative_path, [])
        if piece not in pieces:
            pieces.append(piece)
    files = dict(sorted(files.items()))
    steps = max(map(len, files.values()))
    return [_written(files, k, done=False) for k in range(steps + 1)] + [_written(files, steps, done=True)]


def _piece(stored: Any, index: MetadataIndex) -> str:
    if index.offset is None:
        return "param_groups"
    chunk = next(chunk for chunk in stored.chunks if chunk.offsets == index.offset)
    name = index.fqn.replace("optimizer.state.", "").replace("model.", "").replace("momentum_buffer", "momentum")
    return f"{name} {_rows(chunk.offsets[0], chunk.offsets[0] + chunk.sizes[0])}"


def _written(files: Mapping[str, Sequence[str]], count: int, *, done: bool) -> Picture:
    wide, most = 380, max(map(len, files.values()))
    body, told = [], []
    for rank, (name, pieces) in enumerate(files.items()):
        x, glyph = svg.MARGIN + 16 + rank * (wide + 34), RANKS[rank]
        body += [disk(x, 74, wide, 60 + LINE * most), svg.circled(*glyph, x, 74), svg.text(x + 22, 104, name, 16, mono=True)]
        for k, piece in enumerate(pieces[:count]):
            body.append(svg.text(x + 22, 134 + LINE * k, piece, 14, glyph[1] if k == count - 1 and not done else svg.INK))
        told.append(f"rank {rank} has written {min(count, len(pieces))} of {len(pieces)} pieces into {name}")
    y = 160 + LINE * most
    if done:
        body += [disk(svg.MARGIN + 16, y, 2 * wide + 34, 62), svg.circled(*RANKS[0], svg.MARGIN + 16, y)]
        body.append(svg.text(svg.MARGIN + 38, y + 38, ".metadata", 16, mono=True))
        body.append(svg.text(svg.MARGIN + 160, y + 38, "rank 0: which rows of which tensor lie in which file", 15))
    title = (
        "Last, rank 0 writes the table of contents"
        if done
        else f"Piece {count}: each rank writes what it holds into a file of its own"
        if count
        else "Nothing is written yet"
    )
    alt = f"{'; '.join(told)}; .metadata {'lists them all' if done else 'is not there yet'}."
    return svg.card(svg.MARGIN * 2 + 16 + 2 * wide + 50, y + 84, title, alt, "".join(body))


class Regrouped:
    """What was recorded when folders saved by some ranks were loaded by others: tensor, sum saved, sum loaded, bits equal."""

    def __init__(self, recorded: Sequence[Mapping]) -> None:
        self.recorded = {(f"by {one['saved']}", f"on {one['loaded']}"): one["tensors"] for one in recorded}

    def at(self, saved: str, loaded: str) -> Picture:
        """The sums of one pair, tensor by tensor."""
        tensors = self.recorded[saved, loaded]
        rows = [
            (key, f"{before:+.4f}", f"{after:+.4f}", ("yes", "every bit") if same else ("no", "other numbers"))
            for key, before, after, same in tensors
        ]
        equal = sum(same for *_, same in tensors)
        title = f"Saved {saved}, loaded {loaded}: {equal} of {len(tensors)} tensors are the same"
        return draw.table(title, ["tensor", "sum when saved", "sum when loaded", "the same"], rows)
