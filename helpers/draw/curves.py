"""Curves, by matplotlib, as SVG that is the same on every run."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from helpers.draw import svg
from helpers.draw.labels import shown
from helpers.draw.svg import Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = (svg.INK, "#a8461a", "#2a52a8", "#6b3fa0")
DASHES = (("-", None, 2.4), ("--", "9 4", 2.4), ("-.", "14 4 2 4", 2.4), (":", "2.4 5", 3.0))
MOST_CURVES, HIGHEST = len(COLORS) * len(DASHES), 1e100
NAME_X, NAME_STEP = 574, 28


def curves(
    title: str,
    series: Mapping[str, Sequence[float]],
    *,
    across: str,
    up: str,
    alt: str,
    room: Sequence[tuple[float, float]] = (),
) -> Picture:
    """Lines over steps 1, 2, …; each has its own colour and dash, and its name beside them.

    Values are drawn to four decimals, so that the picture is the same on every CPU. What is no finite number leaves a gap,
    and is counted beside the name. Axes that hold the places (across, up) of `room` stand still in a flipbook.
    """
    axes = _axes()
    for line in list(axes.lines):
        line.remove()
    series = {name: [float(value) for value in values] for name, values in series.items()}
    names = {name: f"{name}{_gaps(values)}" for name, values in list(series.items())[:MOST_CURVES]}
    drawn = ""
    for k, (name, words) in enumerate(names.items()):
        color, (dash, strokes, width) = COLORS[k % 4], DASHES[(k + k // 4) % 4]
        values = [round(value, 4) if abs(value) < HIGHEST else math.nan for value in series[name]]
        axes.plot(range(1, len(values) + 1), values, color=color, linestyle=dash, linewidth=width)
        y = 80 + NAME_STEP * k
        drawn += svg.el("path", d=f"M520 {y}h44", stroke=color, stroke_width=width, stroke_dasharray=strokes)
        drawn += svg.text(NAME_X, y + 5, words, 15)
    more = f"… {len(series) - len(names):,} more curves" if len(series) > len(names) else ""
    bottom = 80 + NAME_STEP * len(names)
    drawn += svg.text(NAME_X, bottom + 5, more, 15, svg.SOFT)
    axes.relim()
    axes.update_datalim(room)
    axes.autoscale()
    axes.xaxis.set_label_text(shown(across))
    axes.yaxis.set_label_text(shown(up))
    right = NAME_X + max([svg.width_of(words, 15) for words in (*names.values(), more)] + [102])
    plot = svg.el("g", _inner(axes.figure), transform="translate(28 58)", stroke_linejoin="round", stroke_linecap="butt")
    return svg.card(right + svg.MARGIN, max(318, bottom + 28), title, alt, plot + drawn)


def _gaps(values: Sequence[float]) -> str:
    """What of a curve cannot be drawn, in words; a NaN is a gap that needs none."""
    large = sum(abs(value) >= HIGHEST for value in values)
    return f" ({large} too large)" if large else " (no numbers)" * all(map(math.isnan, values))


@lru_cache(maxsize=1)
def _axes() -> Axes:
    """One frame for all curves: to make a new one takes as long as to draw it."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    axes = Figure(figsize=(9, 3.4)).add_axes((0.09, 0.17, 0.65, 0.76))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_label_text("", fontsize=14, color=svg.INK)
        axis.label.set_parse_math(False)
        axis.set_major_locator(MaxNLocator(5, integer=axis is axes.xaxis))
    axes.tick_params(labelsize=13, colors=svg.INK)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _inner(figure: Any) -> str:
    """The drawing inside matplotlib's SVG, its names unlike any other's; without its style, which is for all of a page."""
    from matplotlib import rc_context

    page = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "state dict", "font.family": ["DejaVu Sans"]}):
        figure.savefig(page, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    inside = page.getvalue().partition("</style>")[2].partition("</defs>")[2].rpartition("</svg>")[0]
    return re.sub(r"\n\s*", " ", inside).replace("xlink:href", "href")
