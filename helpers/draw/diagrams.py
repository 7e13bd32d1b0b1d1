"""What stands between tensors: tables of outcomes, trees of names, bars of bytes, two sides of a diff."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import nn

from helpers import describe
from helpers.compare import Pair
from helpers.draw import svg
from helpers.draw.labels import shorten
from helpers.draw.svg import Picture

Cell = str | tuple[str, str]
STEP, BAR_STEP, PAIR_STEP = 44, 54, 46
WIDEST_BAR, LONGEST_KEY = 420, 30
MOST_PAIRS, MOST_CANDIDATES = 40, 3


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
    words = alt or " ".join("; ".join(": ".join(filter(None, cell)) for cell in row) + "." for row in lines)
    return svg.card(sum(widths) + 40, y + 18, title, words.replace("\n", " "), "".join(body))


def _mark(mark: str, x: float, y: float) -> str:
    glyph = {"yes": "✓", "no": "✗", "wrong": "!"}[mark]
    return svg.circled(glyph, svg.MARKS[mark][1], x, y)


def tree(title: str, model: nn.Module) -> Picture:
    """The modules of a model as a tree, each key at the end of its path, a module with two names at both."""
    rows = describe.describe(model.state_dict(), model)
    modules = {name: type(module).__name__ for name, module in model.named_modules(remove_duplicate=False)}
    keys, leaves = [row.key for row in rows], [row.key.rpartition(".")[2] for row in rows]
    depths = [STEP * key.count(".") + svg.width_of(leaf, 16, mono=True) for key, leaf in zip(keys, leaves)]
    key_x = max([300] + [140 + depth for depth in depths])
    shape_x = key_x + max([svg.width_of(key, 16, mono=True) for key in keys] + [160]) + 30
    body, y = [], 100.0
    for name in [*modules, *dict.fromkeys(row.owner for row in rows if row.owner not in modules)]:
        body.append(_branch(name, modules.get(name, ""), y))
        for row in (row for row in rows if row.owner == name):
            y += 34
            body += [
                _leaf(row, y),
                svg.text(key_x, y, row.key, 16, mono=True, bold=True),
                svg.text(shape_x, y, describe.shape_name(row.shape), 15, svg.SOFT),
            ]
        y += 38
    kinds = [kind for kind in svg.FRAMES if any(row.kind == kind for row in rows)]
    heads = [(36, "module"), (key_x, "key in state_dict()"), (shape_x, "shape")]
    body += [svg.text(x, 70, words, 13, svg.SOFT) for x, words in heads] + [svg.legend(shape_x + 90, 92, kinds)]
    return svg.card(shape_x + 270, y - 8, title, f"Each key is the path to its tensor: {', '.join(keys)}.", "".join(body))


def _elbow(x: float, y: float) -> str:
    return svg.el("path", d=f"M{x} {y}v18h22", stroke=svg.LINE, stroke_width=1.6, fill="none")


def _branch(name: str, kind: str, y: float) -> str:
    x = 36 + STEP * (name.count(".") + 1 if name else 0)
    label = name.rpartition(".")[2]
    after = svg.width_of(label, 17, mono=True) + 12 if label else 0
    return (
        (_elbow(x - 30, y - 24) if name else "")
        + svg.text(x, y, label, 17, mono=True, bold=True)
        + svg.text(x + after, y, kind, 15, svg.SOFT)
    )


def _leaf(row: describe.Row, y: float) -> str:
    x = 36 + STEP * (row.owner.count(".") + 1 if row.owner else 0)
    return (
        _elbow(x + 14, y - 24)
        + svg.frame(row.kind, x + 42, y - 16, 24, 20)
        + svg.text(x + 76, y, row.key.rpartition(".")[2], 16, mono=True)
    )


def bars(title: str, rows: Sequence[tuple[str, Sequence[tuple[str, int]]]]) -> Picture:
    """Bytes as bars: for each label its parts as (kind, bytes), each part in the frame of its kind."""
    top = max([sum(size for _, size in parts) for _, parts in rows] + [1])
    left = 60 + max([svg.width_of(label, 16) for label, _ in rows] + [0])
    body, words = [], []
    for k, (label, parts) in enumerate(rows):
        x, y = left, 74 + BAR_STEP * k
        body.append(svg.text(svg.MARGIN, y + 24, label, 16))
        for kind, size in (part for part in parts if part[1]):
            width = WIDEST_BAR * size / top
            body.append(svg.frame(kind, x, y, max(width - 5, 1), 36))
            body.append(svg.text(x + 10, y + 24, describe.size_name(size), 15, mono=True) if width > 70 else "")
            x += width
        total = describe.size_name(sum(size for _, size in parts))
        body.append(svg.text(x + 10, y + 24, total, 16, bold=True))
        words.append(f"{label}: {total}")
    kinds = list(dict.fromkeys(kind for _, parts in rows for kind, _ in parts))
    body.append(svg.legend(left + WIDEST_BAR + 140, 78, kinds))
    height = max(90 + BAR_STEP * len(rows), 96 + svg.LEGEND_STEP * len(kinds))
    return svg.card(left + WIDEST_BAR + 340, height, title, f"{', '.join(words)}.", "".join(body))


def key_diff(title: str, pairs: Sequence[Pair], *, left: str = "in the checkpoint", right: str = "in the model") -> Picture:
    """Two state dicts side by side, a row a key, with the sign of what each pair is; what does not match comes first
    where there are too many.
    """
    ranked = sorted(range(len(pairs)), key=lambda k: pairs[k].relation == "same")
    rows = [pairs[k] for k in sorted(ranked[:MOST_PAIRS])]
    labels = shorten((key for pair in rows for key in (pair.key, pair.source_key, *pair.candidates)), LONGEST_KEY)
    ends = {pair: (_old_name(pair, labels), labels[pair.key]) for pair in rows}
    widths = [svg.width_of(name, 16, mono=True) for names in ends.values() for name in names]
    wide = max(widths + [120]) + 150
    middle, second = svg.MARGIN + wide + 90, svg.MARGIN + wide + 180
    body = [svg.text(40, 78, left, 14, svg.SOFT), svg.text(second + 12, 78, right, 14, svg.SOFT)]
    for k, pair in enumerate(rows):
        y, (old, new), color = 92 + PAIR_STEP * k, ends[pair], svg.SIGNS[pair.relation][1]
        dash = None if pair.relation == "same" else "6 4"
        sides = [
            (svg.MARGIN, old, pair.source, svg.MARGIN + wide + 4, middle - 14),
            (second, new, pair.target, middle + 14, second - 4),
        ]
        for x, name, shape, start, end in sides:
            if shape is not None:
                line = f"M{svg.number(start)} {y + 18}H{svg.number(end)}"
                body += [
                    svg.box(x, y, wide, 36, dash="5 4" if pair.candidates and name is old else None),
                    svg.text(x + 14, y + 24, name, 16, mono=True),
                    svg.text(x + wide - 14, y + 24, shape, 14, svg.SOFT, anchor="end"),
                    svg.el("path", d=line, stroke=color, stroke_width=2, stroke_dasharray=dash),
                ]
        body += [svg.sign(pair.relation, middle, y + 18), svg.text(second + wide + 18, y + 24, pair.word, 15, color)]
    bottom = 110 + PAIR_STEP * len(rows)
    more = f"… {len(pairs) - len(rows):,} more: {_tally(pairs)} in all" if len(pairs) > len(rows) else ""
    body.append(svg.text(svg.MARGIN, bottom, more, 15, svg.SOFT))
    words = [f"{new}: {pair.word}{f' from {old}' * (old != new)}" for pair, (old, new) in ends.items()] + [more] * bool(more)
    last = max([svg.width_of(pair.word, 15) for pair in rows] + [112])
    return svg.card(second + wide + last + 38, bottom + 18 * bool(more), title, "; ".join(words) + ".", "".join(body))


def _old_name(pair: Pair, labels: dict[str, str]) -> str:
    names = [labels[key] for key in pair.candidates[:MOST_CANDIDATES]]
    more = len(pair.candidates) - len(names)
    return " or ".join(names) + f" or {more:,} more" * bool(more) if names else labels[pair.source_key or pair.key]


def _tally(pairs: Sequence[Pair]) -> str:
    return ", ".join(f"{count:,} {relation}" for relation, count in Counter(pair.relation for pair in pairs).items())
