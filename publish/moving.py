"""Frames of one picture as a single SVG that moves inside an `<img>`, with no script: for a README.

It stands still where motion is not wanted or not understood (CSS Animations Level 1, `prefers-reduced-motion`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from itertools import groupby

SECONDS, REST = 0.5, 4


def moving(frames: Sequence[str], still: int, title: str, alt: str) -> str:
    """Each element once, with the frames that show it; the last frame rests for as long as `REST` of the others.

    Every frame is an SVG with as many elements as the others, in the same order. Raises ValueError if one is not.
    """
    opening = re.match(r"<svg[^>]*>", frames[0])[0]
    drawn = [_elements(frame) for frame in frames]
    if len({len(elements) for elements in drawn}) > 1:
        raise ValueError(f"Got frames of {sorted({len(elements) for elements in drawn})} elements; wanted as many in each.")
    shown = "".join(_variants(slot, still) for slot in zip(*drawn))
    style = _style(len(frames))
    return f"{opening}<title>{escape(title)}</title><desc>{escape(alt)}</desc><style>{style}</style>{shown}</svg>\n"


def _elements(frame: str) -> list[str]:
    inside = re.sub(r"<(title|desc)>.*?</\1>", "", re.sub(r"^<svg[^>]*>|</svg>$", "", frame))
    return re.findall(r"<\w+[^>]*/>|<text[^>]*>[^<]*</text>", inside)


def _variants(slot: Sequence[str], still: int) -> str:
    """What stands at one place: drawn plainly if it is the same in all frames, else once for each run of equal frames."""
    runs = [[number for number, _ in run] for _, run in groupby(enumerate(slot), key=lambda pair: pair[1])]
    if len(runs) == 1:
        return slot[0]
    drawn = ""
    for run in runs:
        length = len(run) + REST * (run[-1] == len(slot) - 1)
        moves = f'class="m{" s" * (still in run)}" style="animation-name:r{length};animation-delay:{run[0] * SECONDS:g}s"'
        drawn += slot[run[0]].replace(" ", f" {moves} ", 1)
    return drawn


def _style(count: int) -> str:
    places = count + REST
    runs = "".join(
        f"@keyframes r{k}{{0%{{visibility:visible}}{100 * k / places:.3g}%,to{{visibility:hidden}}}}" for k in range(1, places)
    )
    return (
        ".m{visibility:hidden}.s{visibility:visible}@media(prefers-reduced-motion:no-preference){"
        f".m{{visibility:hidden;animation:{places * SECONDS:g}s step-end infinite}}}}{runs}"
    )
