"""Stations of a journey, with an arrow from each to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from helpers.draw import svg
from helpers.draw.corner import corner
from helpers.draw.svg import Picture
from helpers.draw.tensors import grid

WIDE, FOLD = 168, 18


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
            arrow(middle, last_y + 130, middle, y - 8)
            + svg.text(middle - 14, y - 46, above, 14, mono=True, align="end")
            + svg.text(middle - 14, y - 26, below, 14, svg.SOFT, align="end")
        )
    start, end = (last_x + WIDE + 8, x - 8) if x > last_x else (last_x - 8, x + WIDE + 8)
    middle = (start + end) / 2
    return (
        arrow(start, y + 58, end, y + 58)
        + svg.text(middle, y + 46, above, 14, mono=True, align="middle")
        + svg.text(middle, y + 82, below, 14, svg.SOFT, align="middle")
    )


def _stop(stop: Station, x: float, y: float) -> str:
    if not stop.reached:
        return svg.box(x, y, WIDE, 122, fill=svg.FAINT, dash="5 4") + svg.text(x + 14, y + 26, stop.name, 16, svg.SOFT)
    body = (disk if stop.disk else svg.box)(x, y, WIDE, 122) + svg.text(x + 14, y + 26, stop.name, 16, bold=True)
    if stop.tensor is not None:
        body += grid(corner(stop.tensor, 1, 2), stop.kind, x + 20, y + 40, 1.0)[0]
    return body + svg.text(x + 14, y + 110, stop.note, 13, svg.SOFT)


def disk(x: float, y: float, width: float, height: float) -> str:
    """A box with a folded corner, which means saved to disk."""
    right, bottom = x + width, y + height
    outline = f"M{x} {y}H{right - FOLD}L{right} {y + FOLD}V{bottom}H{x}Z"
    folded = svg.el("path", d=f"M{right - FOLD} {y}V{y + FOLD}H{right}", fill="none", stroke=svg.INK, stroke_width=1.6)
    return svg.el("path", d=outline, fill="#ffffff", stroke=svg.INK, stroke_width=1.6) + folded


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """A straight arrow in one of the four directions."""
    tip = 8 if x2 + y2 > x1 + y1 else -8
    line, head = (
        (f"V{svg.number(y2 - tip)}", f"l-5 {-tip}h10z")
        if x1 == x2
        else (f"L{svg.number(x2 - tip)} {svg.number(y2)}", f"l{-tip} -5v10z")
    )
    look = {"stroke": svg.SOFT, "stroke_width": 1.8, "fill": "none"}
    return svg.el("path", d=f"M{svg.number(x1)} {svg.number(y1)}{line}", **look) + svg.el(
        "path", d=f"M{svg.number(x2)} {svg.number(y2)}{head}", fill=svg.SOFT
    )
