"""What stands between tensors: stations of a journey, tables of outcomes, trees of names, bars of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from helpers import describe
from helpers.compare import Pair
from helpers.draw import svg
from helpers.draw.svg import Picture
from helpers.draw.tensors import grid

Cell = str | tuple[str, str]
WIDE = 168


@dataclass(frozen=True)
class Station:
    """One stop of a journey: a box with a name, a line below it, and at will a tensor inside."""

    name: str
    note: str = ""
    tensor: Tensor | None = None
    kind: str = "parameter"
    disk: bool = False
    reached: bool = True


def stations(
    title: str,
    stops: Sequence[Station],
    arrows: Sequence[tuple[str, str]],
    *,
    alt: str,
    columns: int = 3,
    hops: int | None = None,
) -> Picture:
    """Boxes from left to right, and back in the row below; an arrow says what is called, and below that what holds.

    Only the first `hops` arrows are drawn, all if it is None; a stop that is not `reached` yet is drawn faint.
    """
    gap = 30 + max([svg.width_of(line, 14, mono=True) for pair in arrows for line in pair] + [60])
    places = []
    for k in range(len(stops)):
        row, column = divmod(k, columns)
        places.append((28 + (column if row % 2 == 0 else columns - 1 - column) * (WIDE + gap), 72 + row * 200))
    body = [_stop(stop, *place) for stop, place in zip(stops, places)]
    body += [_hop(*words, *place, *last) for words, last, place in zip(arrows[:hops], places, places[1:])]
    return svg.card(max(x for x, _ in places) + WIDE + 28, places[-1][1] + 150, title, alt, "".join(body))


def _hop(above: str, below: str, x: float, y: float, last_x: float, last_y: float) -> str:
    if x == last_x:
        middle = x + WIDE / 2
        return (
            svg.arrow(middle, last_y + 130, middle, y - 8)
            + svg.text(middle - 14, y - 46, above, 14, mono=True, anchor="end")
            + svg.text(middle - 14, y - 26, below, 14, svg.SOFT, anchor="end")
        )
    start, end = (last_x + WIDE + 8, x - 8) if x > last_x else (last_x - 8, x + WIDE + 8)
    middle = (start + end) / 2
    return (
        svg.arrow(start, y + 58, end, y + 58)
        + svg.text(middle, y + 46, above, 14, mono=True, anchor="middle")
        + svg.text(middle, y + 82, below, 14, svg.SOFT, anchor="middle")
    )


def _stop(stop: Station, x: float, y: float) -> str:
    if not stop.reached:
        return svg.box(x, y, WIDE, 122, fill="#f3f4f1", dash="5 4") + svg.text(x + 14, y + 26, stop.name, 16, svg.SOFT)
    body = svg.box(x, y, WIDE, 122, disk=stop.disk) + svg.text(x + 14, y + 26, stop.name, 16, bold=True)
    if stop.tensor is not None:
        body += grid(describe.cells(stop.tensor, 1, 2), stop.kind, x + 20, y + 40, 1.0)[0]
    return body + svg.text(x + 14, y + 110, stop.note, 13, svg.SOFT)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[Cell]], *, alt: str = "") -> Picture:
    """A table; a cell is text of some lines, or (mark, text) with the mark `yes`, `no` or `wrong` as a sign."""
    lines = [[cell if isinstance(cell, tuple) else ("", cell) for cell in row] for row in rows]
    widths = [
        max(
            [svg.width_of(name, 14)]
            + [svg.width_of(line, 15, mono=k == 0) + 34 * bool(row[k][0]) for row in lines for line in row[k][1].split("\n")]
        )
        + 34
        for k, name in enumerate(head)
    ]
    xs = [28 + sum(widths[:k]) for k in range(len(head))]
    body = [svg.text(x, 80, name, 14, svg.SOFT) for x, name in zip(xs, head)]
    y = 94
    for row in lines:
        body.append(svg.el("path", d=f"M28 {y}H{svg.number(sum(widths) + 10)}", stroke="#e4e7eb"))
        for k, (x, (mark, words)) in enumerate(zip(xs, row)):
            if mark:
                body.append(_mark(mark, x + 12, y + 20))
            body += [
                svg.text(x + 34 * bool(mark), y + 26 + 21 * line, part, 15, mono=k == 0)
                for line, part in enumerate(words.split("\n"))
            ]
        y += 40 + 21 * max(words.count("\n") for _, words in row)
    said = alt or " ".join("; ".join(": ".join(filter(None, cell)) for cell in row) + "." for row in lines)
    return svg.card(sum(widths) + 40, y + 18, title, said.replace("\n", " "), "".join(body))


def _mark(mark: str, x: float, y: float) -> str:
    glyph = {"yes": "✓", "no": "✗", "wrong": "!"}[mark]
    return svg.circled(glyph, svg.MARKS[mark][1], x, y)


def tree(title: str, model: nn.Module) -> Picture:
    """The modules of a model as a tree, each key at the end of its path."""
    keys = describe.describe(model.state_dict(), model)
    names = [row.key for row in keys]
    key_x = max([300] + [140 + 44 * name.count(".") + svg.width_of(name.rpartition(".")[2], 16, mono=True) for name in names])
    shape_x = key_x + max([svg.width_of(name, 16, mono=True) for name in names] + [160]) + 30
    body, y = [], 100.0
    for name, module in model.named_modules():
        owned = [row for row in keys if row.owner == name]
        body.append(_branch(name, type(module).__name__, y))
        for row in owned:
            y += 34
            body += [
                _leaf(row, y),
                svg.text(key_x, y, row.key, 16, mono=True, bold=True),
                svg.text(shape_x, y, describe.shape_name(row.shape), 15, svg.SOFT),
            ]
        y += 38
    kinds = [kind for kind in svg.FRAMES if any(row.kind == kind for row in keys)]
    body += [
        svg.text(36, 70, "module", 13, svg.SOFT),
        svg.text(key_x, 70, "key in state_dict()", 13, svg.SOFT),
        svg.text(shape_x, 70, "shape", 13, svg.SOFT),
        svg.legend(shape_x + 90, 92, kinds),
    ]
    return svg.card(shape_x + 270, y - 8, title, f"Each key is the path to its tensor: {', '.join(names)}.", "".join(body))


def _elbow(x: float, y: float) -> str:
    return svg.el("path", d=f"M{x} {y}v18h22", stroke=svg.LINE, stroke_width=1.6, fill="none")


def _branch(name: str, kind: str, y: float) -> str:
    x = 36 + 44 * (name.count(".") + 1 if name else 0)
    label = name.rpartition(".")[2]
    after = svg.width_of(label, 17, mono=True) + 12 if label else 0
    return (
        (_elbow(x - 30, y - 24) if name else "")
        + svg.text(x, y, label, 17, mono=True, bold=True)
        + svg.text(x + after, y, kind, 15, svg.SOFT)
    )


def _leaf(row: describe.Row, y: float) -> str:
    x = 36 + 44 * (row.owner.count(".") + 1 if row.owner else 0)
    return (
        _elbow(x + 14, y - 24)
        + svg.frame(row.kind, x + 42, y - 16, 24, 20)
        + svg.text(x + 76, y, row.key.rpartition(".")[2], 16, mono=True)
    )


def bars(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, int]]]]) -> Picture:
    """Bytes as bars: for each label its parts as (kind, bytes), each part in the frame of its kind."""
    top = max(sum(size for _, size in parts) for _, parts in rows)
    left = 60 + max(svg.width_of(label, 16) for label, _ in rows)
    body, said = [], []
    for k, (label, parts) in enumerate(rows):
        x, y = left, 74 + 54 * k
        body.append(svg.text(28, y + 24, label, 16))
        for kind, size in (part for part in parts if part[1]):
            width = 420 * size / top
            body.append(svg.frame(kind, x, y, max(width - 5, 1), 36))
            body.append(svg.text(x + 10, y + 24, describe.size_name(size), 15, mono=True) if width > 70 else "")
            x += width
        total = describe.size_name(sum(size for _, size in parts))
        body.append(svg.text(x + 10, y + 24, total, 16, bold=True))
        said.append(f"{label}: {total}")
    kinds = list(dict.fromkeys(kind for _, parts in rows for kind, _ in parts))
    body.append(svg.legend(left + 560, 78, kinds))
    return svg.card(left + 760, max(90 + 54 * len(rows), 96 + 32 * len(kinds)), title, ", ".join(said) + ".", "".join(body))


def key_diff(title: str, pairs: Sequence[Pair], *, left: str = "in the checkpoint", right: str = "in the model") -> Picture:
    """Two state dicts side by side, a row a key, with the sign of what each pair is."""
    wide = (
        60
        + max([svg.width_of(svg.clip(name, 30), 16, mono=True) for p in pairs for name in (p.key, p.source_key)] + [120])
        + 90
    )
    middle, second = 28 + wide + 90, 28 + wide + 180
    body = [svg.text(40, 78, left, 14, svg.SOFT), svg.text(second + 12, 78, right, 14, svg.SOFT)]
    for k, pair in enumerate(pairs):
        y = 92 + 46 * k
        color = svg.SIGNS[pair.relation][1]
        ends = [
            (28, pair.source_key or pair.key, pair.source, 28 + wide + 4, middle - 14),
            (second, pair.key, pair.target, middle + 14, second - 4),
        ]
        for x, key, shape, start, end in ends:
            if shape is not None:
                body += [
                    svg.box(x, y, wide, 36),
                    svg.text(x + 14, y + 24, svg.clip(key, 30), 16, mono=True),
                    svg.text(x + wide - 14, y + 24, shape, 14, svg.SOFT, anchor="end"),
                    svg.el(
                        "path",
                        d=f"M{svg.number(start)} {y + 18}H{svg.number(end)}",
                        stroke=color,
                        stroke_width=2,
                        stroke_dasharray=None if pair.relation == "same" else "6 4",
                    ),
                ]
        body += [svg.sign(pair.relation, middle, y + 18), svg.text(second + wide + 18, y + 24, pair.word, 15, color)]
    alt = "; ".join(f"{svg.clip(p.key, 30)}: {p.word}{f' from {p.source_key}' * bool(p.source_key)}" for p in pairs) + "."
    return svg.card(second + wide + 150, 110 + 46 * len(pairs), title, alt, "".join(body))
