"""Tensors as grids of cells, behind their keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from helpers import describe
from helpers.draw import svg
from helpers.draw.svg import Picture

CELL_WIDTH, CELL_HEIGHT = 62, 46
MOST_KEYS = 24


def grid(cells: describe.Cells, kind: str, x: float, y: float, scale: float) -> tuple[str, float, float]:
    """A tensor's cells in their frame at (x, y): SVG, width and height."""
    high, wide = len(cells.texts) or 1, max((len(line) for line in cells.texts), default=1)
    parts = []
    for i, (texts, values) in enumerate(zip(cells.texts, cells.values)):
        for j, (words, value) in enumerate(zip(texts, values)):
            parts.append(_cell(words, value / scale, x + j * CELL_WIDTH, y + i * CELL_HEIGHT))
    width, height = wide * CELL_WIDTH, high * CELL_HEIGHT
    if not cells.texts:
        parts.append(svg.text(x + width / 2, y + 29, "∅", 17, svg.SOFT, anchor="middle"))
    return ("".join(parts) + svg.frame(kind, x - 2, y - 2, width + 4, height + 4), width, height)


def _cell(words: str, level: float, x: float, y: float) -> str:
    known = math.isfinite(level)
    fill = svg.shade(level) if known else "#ffffff"
    slash = (
        ""
        if known
        else svg.el("path", d=f"M{x + 2} {y + CELL_HEIGHT - 2}L{x + CELL_WIDTH - 2} {y + 2}", stroke="#d3d9de", stroke_width=2)
    )
    return (
        svg.el("rect", x=x + 0.75, y=y + 0.75, width=CELL_WIDTH - 1.5, height=CELL_HEIGHT - 1.5, fill=fill)
        + slash
        + svg.text(
            x + CELL_WIDTH / 2, y + 29, words, 17 if len(words) < 6 else 15, svg.ink_on(fill), mono=True, anchor="middle"
        )
    )


def common_scale(items: Sequence[describe.Cells]) -> float:
    """One round number that no finite cell exceeds: 1, 2, 5, 10, …"""
    top = max((abs(v) for c in items for line in c.values for v in line if math.isfinite(v)), default=1.0)
    if top <= 1:
        return 1
    step = 10.0 ** math.floor(math.log10(top))
    return next(step * k for k in (1, 2, 5, 10) if step * k >= top)


def _foot(cells: describe.Cells) -> str:
    parts = [describe.shape_name(cells.shape), cells.dtype, describe.size_name(cells.bytes), cells.note]
    return " · ".join(part for part in parts if part)


def state_dict(values: Any, model: nn.Module | None = None, *, title: str = "", scale: float | None = None) -> Picture:
    """A state dict as a column of tensors behind their keys, the first 24 of them; with `model`, beside its modules.

    Raises TypeError or ValueError, in one sentence, for anything that is not a model's state dict.
    """
    rows = describe.describe(values, model)
    tall = 6 if len(rows) <= 8 else 2
    shown = {row.key: describe.cells(values[row.key], tall) for row in rows[:MOST_KEYS] if row.kind != "value"}
    scale = scale or common_scale(list(shown.values()))
    key_x = 272
    tensor_x = key_x + max([svg.width_of(svg.clip(r.key, 30), 17, mono=True) for r in rows[:MOST_KEYS]] + [60]) + 60
    body, y, right = [], 106.0, tensor_x + 130
    for name, members in _groups(rows[:MOST_KEYS], model):
        start, anchors = y, []
        for row in members:
            piece, width, height = _entry(row, shown.get(row.key), key_x, tensor_x, y, scale)
            body.append(piece)
            anchors.append(y + height / 2)
            right = max(right, tensor_x + width)
            y += height + 40
        y += 0 if members else 78
        body.append(_module(name, model, start, y, anchors))
    if len(rows) > MOST_KEYS:
        body.append(svg.text(key_x, y + 6, f"… {len(rows) - MOST_KEYS:,} more keys", 15, svg.SOFT))
        y += 30
    heads = [(28, "module"), (key_x, "key in state_dict()"), (tensor_x, "tensor")]
    body += [svg.text(x, 78, words, 13, svg.SOFT) for x, words in heads]
    kinds = [kind for kind in svg.FRAMES if any(row.kind == kind for row in rows)]
    body += [svg.scale_bar(right + 50, 92, scale), svg.legend(right + 50, 150, kinds)]
    return svg.card(right + 250, max(y + 4, 170 + 32 * len(kinds)), title or _count(rows), _list(rows), "".join(body))


def _entry(
    row: describe.Row, cells: describe.Cells | None, key_x: float, x: float, y: float, scale: float
) -> tuple[str, float, float]:
    if cells is None:
        drawn, width, height = svg.text(x, y + 24, f"a {row.dtype}, not a tensor", 15, svg.SOFT), 200.0, 34.0
    else:
        drawn, width, height = grid(cells, row.kind, x, y, scale)
        foot = _foot(cells)
        drawn += svg.text(x, y + height + 20, foot, 13, svg.SOFT)
        width = max(width, svg.width_of(foot, 13))
    key = svg.clip(row.key, 30)
    end = key_x + svg.width_of(key, 17, mono=True) + 10
    middle = y + height / 2
    return (
        drawn
        + svg.text(key_x, middle + 6, key, 17, mono=True, bold=True)
        + svg.el("path", d=f"M{svg.number(end)} {svg.number(middle)}H{svg.number(x - 10)}", stroke=svg.LINE, stroke_width=1.4),
        width,
        height,
    )


def _groups(rows: list[describe.Row], model: nn.Module | None) -> list[tuple[str, list[describe.Row]]]:
    """Rows by owner, in order, with the childless modules that own nothing in their places."""
    owners = list(dict.fromkeys(row.owner for row in rows))
    if model is not None:
        names = [n for n, m in model.named_modules() if n in owners or (n and not list(m.children()))]
        owners = (names if set(owners) <= set(names) else owners)[:MOST_KEYS]
    return [(owner, [row for row in rows if row.owner == owner]) for owner in owners]


def _module(name: str, model: nn.Module | None, start: float, end: float, anchors: list[float]) -> str:
    middle = (start + end - 30) / 2
    kind = _module_kind(model, name)
    label = svg.clip(name or "(top)", 12)
    body = svg.box(28, middle - 26, 190, 52, fill="#ffffff" if anchors else "#f3f4f1", dash=None if anchors else "5 4")
    body += svg.text(40, middle + 6, label, 17, mono=True, bold=True)
    x = 40 + svg.width_of(label, 17, mono=True) + 10
    body += svg.text(x, middle + (5 if anchors else -2), svg.clip(kind, int((212 - x) / 7.2)) if x < 190 else "", 14)
    if not anchors:
        body += svg.text(x, middle + 16, "nothing to remember", 11, svg.SOFT)
    for y in anchors:
        body += svg.el(
            "path",
            d=f"M218 {svg.number(middle)}C244 {svg.number(middle)} 234 {svg.number(y)} 262 {svg.number(y)}",
            stroke=svg.LINE,
            stroke_width=1.4,
            fill="none",
        )
    return body


def _module_kind(model: nn.Module | None, name: str) -> str:
    if model is None:
        return ""
    module = model.get_submodule(name)
    sizes = f"{module.in_features}, {module.out_features}" if isinstance(module, nn.Linear) else ""
    return f"{type(module).__name__}({sizes})"


def _count(rows: list[describe.Row]) -> str:
    numbers = sum(math.prod(row.shape) for row in rows if row.kind != "value")
    return f"{len(rows):,} keys, {numbers:,} numbers, {describe.size_name(describe.total_bytes(rows))}"


def _list(rows: list[describe.Row]) -> str:
    listed = ", ".join(f"{svg.clip(r.key, 30)} ({describe.shape_name(r.shape)} {r.kind})" for r in rows[:8])
    more = f" and {len(rows) - 8:,} more" if len(rows) > 8 else ""
    return f"The keys in order: {listed or 'none'}{more}."
