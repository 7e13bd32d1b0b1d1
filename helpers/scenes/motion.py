"""Tensors in columns that change from frame to frame, and as terms of a computation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from helpers.draw import svg
from helpers.draw.corner import corner
from helpers.draw.svg import Picture
from helpers.draw.tensors import CELL_HEIGHT, CELL_WIDTH, grid


@dataclass(frozen=True)
class Column:
    """One column of tensors under a heading; None leaves a gap."""

    heading: str
    kind: str
    tensors: Sequence[Tensor | None]


@dataclass(frozen=True)
class Term:
    """One tensor of a computation, with the operator drawn before it and the cells to strike out."""

    heading: str
    tensor: Tensor
    kind: str = "value"
    operator: str = ""
    struck: Sequence[int] = field(default=())
    hidden: bool = False


def columns(
    title: str,
    keys: Sequence[str],
    parts: Sequence[Column],
    *,
    alt: str,
    scale: float,
    notes: Sequence[str] = (),
    foot: Sequence[str] = (),
    joined: tuple[int, int] | None = None,
    losses: Sequence[float] = (),
) -> Picture:
    """Columns of tensors, a row a key: one frame of a flipbook.

    `joined` names two columns whose tensors share storage, which draws a line between them; `foot` is a
    line under each column; `losses` is the curve so far, drawn above.
    """
    left = max([svg.width_of(key, 17, mono=True) for key in keys] + [100]) + 70
    xs = [left + 230 * k for k in range(len(parts))]
    body, y = [svg.text(x, 78, part.heading, 15, svg.SOFT) for x, part in zip(xs, parts)], 94.0
    for i, key in enumerate(keys):
        tall = 0.0
        for x, part in zip(xs, parts):
            if (tensor := part.tensors[i]) is not None:
                drawn, width, height = grid(corner(tensor, 2, 2), part.kind, x, y, scale)
                tall = max(tall, height)
                body.append(drawn)
                if joined and part is parts[joined[0]]:
                    body.append(_join(x + width + 6, xs[joined[1]] - 6, y + height / 2))
        middle, note = y + tall / 2, notes[i] if notes else ""
        body.append(svg.text(svg.MARGIN, middle + (0 if note else 6), key, 17, mono=True, bold=True))
        body.append(svg.text(svg.MARGIN, middle + 20, note, 13, svg.SOFT, mono=True))
        y += tall + 22
    body += [svg.text(x, y + 14, line, 16, mono=True) for x, line in zip(xs, foot)]
    right = xs[-1] + 180
    kinds = list(dict.fromkeys(part.kind for part in parts))
    below = svg.LEGEND_STEP * len(kinds)
    body += [svg.scale_bar(right, 100, scale, beyond=True), svg.legend(right, 158, kinds)]
    body.append(_spark(right, 184 + below, losses) if losses else "")
    return svg.card(right + 193, max(y + 32, 250 + below if losses else 0), title, alt, "".join(body))


def _join(x1: float, x2: float, y: float) -> str:
    return (
        svg.el("path", d=f"M{x1} {y}H{x2}", stroke=svg.INK, stroke_width=3)
        + svg.el("circle", cx=x1, cy=y, r=5, fill=svg.INK)
        + svg.el("circle", cx=x2, cy=y, r=5, fill=svg.INK)
    )


def _spark(x: float, y: float, losses: Sequence[float]) -> str:
    """The losses so far on a fixed axis of `len(losses)` places; NaN marks steps not yet taken."""
    known = [(k, value) for k, value in enumerate(losses) if math.isfinite(value)]
    top = max([value for _, value in known] + [1e-9])
    places = [(x + 165 * k / max(1, len(losses) - 1), y + 52 - 44 * value / top) for k, value in known]
    axis = svg.el("path", d=f"M{x} {y + 54}h165", stroke=svg.LINE, stroke_width=1)
    if not places:
        return svg.text(x, y, "no loss that is a number", 15) + axis
    points = [f"{across:.1f},{up:.1f}" for across, up in places]
    last = points[-1].split(",")
    return (
        svg.text(x, y, f"loss {known[-1][1]:.3f}", 15)
        + axis
        + svg.el("polyline", points=" ".join(points), fill="none", stroke=svg.INK, stroke_width=2)
        + svg.el("circle", cx=last[0], cy=last[1], r=3.5, fill=svg.INK)
    )


def flow(title: str, terms: Sequence[Term], *, alt: str, scale: float, lines: Sequence[str] = ()) -> Picture:
    """A computation from left to right: each tensor as a column or grid, its operator before it.

    A 1-D tensor stands as a column. Struck cells are marked ∅. `lines` is arithmetic written below.
    """
    body, x = [], 36.0
    for term in terms:
        if term.operator:
            body.append(svg.text(x + 14, 150, term.operator, 19, svg.SOFT, mono=True, align="middle"))
            x += 38
        upright = term.tensor.reshape(-1, 1) if term.tensor.dim() < 2 else term.tensor
        shown = corner(upright)
        high, wide = len(shown.texts), len(shown.texts[0])
        y = 144 - high * CELL_HEIGHT / 2
        body.append(svg.text(x, 82, term.heading, 14, svg.SOFT))
        if term.hidden:
            body.append(svg.box(x - 2, y - 2, wide * CELL_WIDTH + 4, high * CELL_HEIGHT + 4, dash="3 5"))
        else:
            body.append(grid(shown, term.kind, x, y, scale)[0])
            body += [svg.sign("missing", x + wide * CELL_WIDTH + 17, y + CELL_HEIGHT * (k + 0.5)) for k in term.struck]
        x += wide * CELL_WIDTH + 14 + 24 * bool(term.struck)
    body += [svg.text(36, 226 + 26 * k, line, 16, mono=True) for k, line in enumerate(lines)]
    return svg.card(x + 20, 216 + 26 * len(lines), title, alt, "".join(body))
