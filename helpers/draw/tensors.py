"""Tensors as grids of cells, behind their keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from helpers import describe
from helpers.draw import svg
from helpers.draw.corner import Corner, corner
from helpers.draw.labels import clip, shorten
from helpers.draw.svg import Picture

CELL_WIDTH, CELL_HEIGHT = 62, 46
MOST_KEYS, MOST_LISTED = 24, 8
LONGEST_KEY, LONGEST_MODULE = 30, 12
MODULE_WIDTH, KEY_X, GAP = 190, 272, 40


def grid(shown: Corner, kind: str, x: float, y: float, scale: float) -> tuple[str, float, float]:
    """A tensor's cells in their frame at (x, y): SVG, width and height."""
    width, height = CELL_WIDTH * max([len(line) for line in shown.texts] + [1]), CELL_HEIGHT * (len(shown.texts) or 1)
    drawn = [
        _cell(words, value / scale, x + j * CELL_WIDTH, y + i * CELL_HEIGHT)
        for i, (texts, values) in enumerate(zip(shown.texts, shown.values))
        for j, (words, value) in enumerate(zip(texts, values))
    ] or [svg.text(x + width / 2, y + 29, "∅", 17, svg.SOFT, align="middle")]
    return "".join(drawn) + svg.frame(kind, x - 2, y - 2, width + 4, height + 4), width, height


def _cell(words: str, level: float, x: float, y: float) -> str:
    known = math.isfinite(level)
    fill, size = svg.shade(level) if known else "#ffffff", 17 if len(words) < 6 else 15
    slash = f"M{x + 2} {y + CELL_HEIGHT - 2}L{x + CELL_WIDTH - 2} {y + 2}"
    return (
        svg.el("rect", x=x + 0.75, y=y + 0.75, width=CELL_WIDTH - 1.5, height=CELL_HEIGHT - 1.5, fill=fill)
        + ("" if known else svg.el("path", d=slash, stroke="#d3d9de", stroke_width=2))
        + svg.text(x + CELL_WIDTH / 2, y + 29, words, size, svg.ink_on(fill), mono=True, align="middle")
    )


def common_scale(corners: Sequence[Corner]) -> float:
    """One round number that no finite cell exceeds, such as 1, 2, 5 or 10."""
    top = max((abs(v) for shown in corners for line in shown.values for v in line if math.isfinite(v)), default=1.0)
    if top <= 1:
        return 1
    step = 10.0 ** math.floor(math.log10(top))
    return next((step * k for k in (1, 2, 5, 10) if top <= step * k < math.inf), top)


def state_dict(values: Any, model: nn.Module | None = None, *, title: str = "", scale: float | None = None) -> Picture:
    """A state dict as a column of tensors behind their keys, the first 24 of them; with `model`, beside its modules.

    Raises TypeError or ValueError, in one sentence, for anything that is not a model's state dict.
    """
    rows = describe.describe(values, model)
    listed = rows[:MOST_KEYS]
    tall = 6 if len(rows) <= 8 else 2
    shown = {row.key: corner(values[row.key], tall) for row in listed if row.kind != "value"}
    scale = scale or common_scale(list(shown.values()))
    labels = shorten((row.key for row in listed), LONGEST_KEY)
    modules = dict(model.named_modules(remove_duplicate=False)) if model is not None else {}
    groups = _groups(listed, modules)
    owners = {name: label or "(top)" for name, label in shorten((name for name, _ in groups), LONGEST_MODULE).items()}
    module_width = max([MODULE_WIDTH] + [svg.width_of(label, 17, mono=True) + 24 for label in owners.values()])
    key_x = KEY_X + module_width - MODULE_WIDTH
    tensor_x = key_x + max([svg.width_of(label, 17, mono=True) for label in labels.values()] + [60]) + 60
    body, y, right = [], 106.0, tensor_x + 130
    for name, members in groups:
        start, anchors = y, []
        for row in members:
            piece, width, height = _entry(row, labels[row.key], shown.get(row.key), key_x, tensor_x, y, scale)
            body.append(piece)
            anchors.append(y + height / 2)
            right = max(right, tensor_x + width)
            y += height + GAP
        y += 0 if members else 78
        body.append(_module(owners[name], modules.get(name), module_width, (start + y - 30) / 2, anchors))
    if len(rows) > MOST_KEYS:
        body.append(svg.text(key_x, y + 6, f"… {len(rows) - MOST_KEYS:,} more keys", 15, svg.SOFT))
        y += 30
    heads = [(svg.MARGIN, "module"), (key_x, "key in state_dict()"), (tensor_x, "tensor")]
    body += [svg.text(x, 78, words, 13, svg.SOFT) for x, words in heads]
    kinds = [kind for kind in svg.FRAMES if any(row.kind == kind for row in rows)]
    body += [svg.scale_bar(right + 50, 92, scale), svg.legend(right + 50, 150, kinds)]
    bottom = max(y + 4, 170 + svg.LEGEND_STEP * len(kinds))
    return svg.card(right + 250, bottom, title or _count(rows), _list(rows, labels), "".join(body))


def _entry(
    row: describe.Row, label: str, shown: Corner | None, key_x: float, x: float, y: float, scale: float
) -> tuple[str, float, float]:
    drawn, width, height, foot = svg.text(x, y + 24, f"a {row.dtype}, not a tensor", 15, svg.SOFT), 200.0, 34.0, row.note
    if shown:
        drawn, width, height = grid(shown, row.kind, x, y, scale)
        foot = " · ".join(filter(None, [describe.shape_name(row.shape), row.dtype, describe.size_name(row.bytes), shown.note]))
    end, middle = key_x + svg.width_of(label, 17, mono=True) + 10, y + height / 2
    drawn += svg.text(x, y + height + 20, foot, 13, svg.SOFT) + svg.text(key_x, middle + 6, label, 17, mono=True, bold=True)
    line = f"M{svg.number(end)} {svg.number(middle)}H{svg.number(x - 10)}"
    drawn += svg.el("path", d=line, stroke=svg.LINE, stroke_width=1.4)
    return drawn, max(width, svg.width_of(foot, 13)), height


def _groups(rows: list[describe.Row], modules: dict[str, nn.Module]) -> list[tuple[str, list[describe.Row]]]:
    """Rows by owner, in order, with the childless modules that own nothing in their places."""
    owners = list(dict.fromkeys(row.owner for row in rows))
    if modules.keys() >= set(owners):
        owners = [name for name, module in modules.items() if name in owners or (name and not list(module.children()))]
    return [(owner, [row for row in rows if row.owner == owner]) for owner in owners[:MOST_KEYS]]


def _module(label: str, module: nn.Module | None, width: float, middle: float, anchors: list[float]) -> str:
    look = {"fill": "#ffffff", "dash": None} if anchors else {"fill": svg.FAINT, "dash": "5 4"}
    x, right = 40 + svg.width_of(label, 17, mono=True) + 10, svg.MARGIN + width
    sizes = f"{module.in_features}, {module.out_features}" if isinstance(module, nn.Linear) else ""
    kind, room = f"{type(module).__name__}({sizes})" if module is not None else "", int((right - 6 - x) / 7.2)
    body = svg.box(svg.MARGIN, middle - 26, width, 52, **look) + svg.text(40, middle + 6, label, 17, mono=True, bold=True)
    body += svg.text(x, middle + (5 if anchors else -2), clip(kind, room) if room > 3 else "", 14)
    body += svg.text(x, middle + 16, "" if anchors else "nothing to remember", 11, svg.SOFT)
    for y in anchors:
        at, to, ends = svg.number(middle), svg.number(y), [svg.number(right + step) for step in (0, 26, 16, 44)]
        line = f"M{ends[0]} {at}C{ends[1]} {at} {ends[2]} {to} {ends[3]} {to}"
        body += svg.el("path", d=line, stroke=svg.LINE, stroke_width=1.4, fill="none")
    return body


def _count(rows: list[describe.Row]) -> str:
    numbers = sum(math.prod(row.shape) for row in rows if row.shape is not None)
    return f"{len(rows):,} keys, {numbers:,} numbers, {describe.size_name(describe.total_bytes(rows))}"


def _list(rows: list[describe.Row], labels: dict[str, str]) -> str:
    listed = ", ".join(f"{labels[row.key]} ({describe.shape_name(row.shape)} {row.kind})" for row in rows[:MOST_LISTED])
    more = f" and {len(rows) - MOST_LISTED:,} more" if len(rows) > MOST_LISTED else ""
    return f"The keys in order: {listed or 'none'}{more}."
