"""Curves and surfaces, by matplotlib, as SVG that is the same on every run."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from helpers.draw import svg
from helpers.draw.svg import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STROKES = [(svg.INK, "-", 2.4), ("#a8461a", "--", 2.4), ("#2a52a8", "-.", 2.4), ("#6b3fa0", ":", 3.0)]


def curves(title: str, series: Mapping[str, Sequence[float]], *, across: str, up: str, alt: str) -> Picture:
    """Lines over steps 1, 2, …; each has its own colour and dash, and its name beside them.

    Values are drawn to four decimals, so that the picture is the same on every CPU.
    """
    axes = _axes()
    for line in list(axes.lines):
        line.remove()
    names = ""
    for k, ((name, values), (color, dash, width)) in enumerate(zip(series.items(), STROKES)):
        axes.plot(
            range(1, len(values) + 1), [round(value, 4) for value in values], color=color, linestyle=dash, linewidth=width
        )
        strokes = {"-": None, "--": "9 4", "-.": "14 4 2 4", ":": "2.4 5"}[dash]
        y = 80 + 28 * k
        names += svg.el("path", d=f"M520 {y}h44", stroke=color, stroke_width=width, stroke_dasharray=strokes)
        names += svg.text(574, y + 5, name, 15)
    axes.relim()
    axes.autoscale()
    axes.xaxis.set_label_text(across)
    axes.yaxis.set_label_text(up)
    right = 574 + max(svg.width_of(name, 15) for name in series)
    return svg.card(
        max(704, right + 28), 318, title, alt, svg.el("g", _inner(axes.figure), transform="translate(28 58)") + names
    )


@lru_cache(maxsize=1)
def _axes() -> Axes:
    """One frame for all curves: to make a new one takes as long as to draw it."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    axes = Figure(figsize=(9, 3.4)).add_axes((0.09, 0.17, 0.65, 0.76))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_label_text("", fontsize=14, color=svg.INK)
        axis.set_major_locator(MaxNLocator(5, integer=axis is axes.xaxis))
    axes.tick_params(labelsize=13, colors=svg.INK)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def surface(title: str, height: Callable, path: Sequence[tuple[float, float]], *, alt: str) -> Picture:
    """Level lines of `height(x, y)` on −2 … 2 by −1.5 … 1.5, and a path across them with its steps as dots."""
    x0, y0, unit = 28 + 330, 60 + 210, 150
    points = [(x0 + unit * max(-2.2, min(2.2, x)), y0 - unit * max(-1.4, min(1.4, y))) for x, y in path]
    line = svg.el(
        "polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), fill="none", stroke=svg.INK, stroke_width=2
    )
    dots = "".join(svg.el("circle", cx=round(x, 1), cy=round(y, 1), r=4, fill="#a8461a") for x, y in points[1:])
    start = svg.el("rect", x=points[0][0] - 6, y=points[0][1] - 6, width=12, height=12, fill=svg.INK)
    goal = svg.el("path", d=f"M{x0 - 8} {y0}h16M{x0} {y0 - 8}v16", stroke=svg.INK, stroke_width=3)
    return svg.card(716, 500, title, alt, _levels(height, x0, y0, unit) + goal + line + dots + start)


@lru_cache(maxsize=4)
def _levels(height: Callable, x0: float, y0: float, unit: float) -> str:
    import numpy as np
    from contourpy import contour_generator

    xs, ys = np.linspace(-2.2, 2.2, 81), np.linspace(-1.4, 1.4, 61)
    generator = contour_generator(xs, ys, height(xs[None, :], ys[:, None]))
    loops = [loop for level in (0.02, 0.1, 0.3, 0.7, 1.3, 2.1, 3.1, 4.3, 6) for loop in generator.lines(level)]
    return "".join(
        svg.el(
            "polyline",
            points=" ".join(f"{x0 + unit * x:.0f},{y0 - unit * y:.0f}" for x, y in loop),
            fill="none",
            stroke=svg.LINE,
            stroke_width=1,
        )
        for loop in loops
    )


def _inner(figure) -> str:
    """The drawing inside matplotlib's SVG, its definitions renamed so that two pictures on a page do not clash."""
    from matplotlib import rc_context

    page = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "state dict", "font.family": ["DejaVu Sans"]}):
        figure.savefig(page, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    whole = page.getvalue()
    inside = whole[whole.index("<defs>") : whole.rindex("</svg>")]
    return re.sub(r"\n\s*", " ", inside).replace("xlink:href", "href")
