"""What stands between tensors: tables of outcomes, bars of bytes, two sides of a diff."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from helpers import describe
from helpers.compare import Pair
from helpers.draw import svg
from helpers.draw.labels import shorten
from helpers.draw.svg import Picture

Cell = str | tuple[str, str]
LINE_STEP, BAR_STEP, PAIR_STEP = 21, 54, 46
WIDEST_BAR, LONGEST_KEY = 420, 30
MOST_PAIRS, MOST_CANDIDATES = 40, 3


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[Cell]], *, alt: str = "") -> Picture:
    """A table; a cell is text of some lines, or (mark, text) with the mark `yes`, `no` or `wrong` as a sign."""
    lines = [[cell if isinstance(cell, tuple) else ("", cell) for cell in row] for row in rows]
    widths = []
    for k, name in enumerate(head):
        parts = [(34 * bool(row[k][0]), part) for row in lines for part in row[k][1].split("\n")]
        widths.append(34 + max([svg.width_of(name, 14)] + [svg.width_of(part, 15, mono=k == 0) + room for room, part in parts]))
    xs = [svg.MARGIN + sum(widths[:k]) for k in range(len(head))]
    body = [svg.text(x, 80, name, 14, svg.SOFT) for x, name in zip(xs, head)]
    y = 94
    for row in lines:
        body.append(svg.el("path", d=f"M{svg.MARGIN} {y}H{svg.number(sum(widths) + 10)}", stroke="#e4e7eb"))
        for k, (x, (mark, words)) in enumerate(zip(xs, row)):
            if mark:
                body.append(svg.circled(*svg.MARKS[mark], x + 12, y + 20))
            for line, part in enumerate(words.split("\n")):
                body.append(svg.text(x + 34 * bool(mark), y + 26 + LINE_STEP * line, part, 15, mono=k == 0))
        y += 40 + LINE_STEP * max(words.count("\n") for _, words in row)
    alt = alt or " ".join("; ".join(": ".join(filter(None, cell)) for cell in row) + "." for row in lines)
    return svg.card(sum(widths) + 40, y + 18, title, alt.replace("\n", " "), "".join(body))


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
    """Two state dicts side by side, a row a key, with the sign of each pair; of too many, those that do not match."""
    ranked = sorted(range(len(pairs)), key=lambda k: pairs[k].relation == "same")
    rows = [pairs[k] for k in sorted(ranked[:MOST_PAIRS])]
    labels = shorten((key for pair in rows for key in (pair.key, pair.source_key, *pair.candidates)), LONGEST_KEY)
    names = [(_old_name(pair, labels), labels[pair.key]) for pair in rows]
    wide = 150 + max([120] + [svg.width_of(name, 16, mono=True) for ends in names for name in ends])
    middle, second = svg.MARGIN + wide + 90, svg.MARGIN + wide + 180
    body = [svg.text(40, 78, left, 14, svg.SOFT), svg.text(second + 12, 78, right, 14, svg.SOFT)]
    for k, (pair, (old, new)) in enumerate(zip(rows, names)):
        y, color = 92 + PAIR_STEP * k, svg.SIGNS[pair.relation][1]
        look = {"stroke": color, "stroke_width": 2, "stroke_dasharray": None if pair.relation == "same" else "6 4"}
        ends = ((old, pair.source, svg.MARGIN, svg.MARGIN + wide + 4), (new, pair.target, second, middle + 14))
        for name, shape, x, start in ends:
            if shape is not None:
                line = f"M{svg.number(start)} {y + 18}H{svg.number(start + 72)}"
                body += [
                    svg.box(x, y, wide, 36, dash="5 4" if pair.candidates and x == svg.MARGIN else None),
                    svg.text(x + 14, y + 24, name, 16, mono=True),
                    svg.text(x + wide - 14, y + 24, shape, 14, svg.SOFT, align="end"),
                    svg.el("path", d=line, **look),
                ]
        body += [svg.sign(pair.relation, middle, y + 18), svg.text(second + wide + 18, y + 24, pair.word, 15, color)]
    bottom, tally = 110 + PAIR_STEP * len(rows), Counter(pair.relation for pair in pairs)
    more = ", ".join(f"{count:,} {relation}" for relation, count in tally.items())
    more = f"… {len(pairs) - len(rows):,} more: {more} in all" if len(pairs) > len(rows) else ""
    body.append(svg.text(svg.MARGIN, bottom, more, 15, svg.SOFT))
    words = [f"{new}: {pair.word}{f' from {old}' * (old != new)}" for pair, (old, new) in zip(rows, names)]
    width = second + wide + 38 + max([112] + [svg.width_of(pair.word, 15) for pair in rows])
    alt = "; ".join([*words, *filter(None, [more])]) + "."
    return svg.card(width, bottom + 18 * bool(more), title, alt, "".join(body))


def _old_name(pair: Pair, labels: dict[str, str]) -> str:
    names = [labels[key] for key in pair.candidates[:MOST_CANDIDATES]]
    more = len(pair.candidates) - len(names)
    return " or ".join(names) + f" or {more:,} more" * bool(more) if names else labels[pair.source_key or pair.key]
