"""The visual language: ink, hues, frames, signs and the card behind every picture.

Everything here returns SVG text; nothing is shown.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache

from helpers.draw.labels import escape, shown

INK, SOFT, LINE, CARD = "#1f2933", "#5b6770", "#9aa5b1", "#fcfcfa"
BLUE, PAPER, ORANGE = (0x21, 0x66, 0xAC), (0xFA, 0xFA, 0xF8), (0xC8, 0x5A, 0x0A)
FAINT = "#f3f4f1"
MARGIN, LEGEND_STEP = 28, 32
SANS = "DejaVu Sans, Verdana, sans-serif"
MONO = "DejaVu Sans Mono, Menlo, Consolas, monospace"

FRAMES: dict[str, dict[str, object]] = {
    "parameter": {"stroke": INK, "rx": 4},
    "buffer": {"stroke": "#8a4b08", "rx": 4, "stroke_dasharray": "7 4"},
    "optimizer state": {"stroke": "#6b3fa0", "rx": 14},
    "gradient": {"stroke": "#0b7a4b", "rx": 4, "stroke_dasharray": "2 3"},
    "tensor": {"stroke": SOFT, "rx": 0, "stroke_dasharray": "12 3 2 3"},
    "value": {"stroke": LINE, "rx": 4},
}
SIGNS = {
    "same": ("=", "#2f6f4f"),
    "rename": ("≈", "#2a52a8"),
    "ambiguous": ("⁇", "#0b6472"),
    "differs": ("≠", "#a8461a"),
    "unexpected": ("?", "#7a5c00"),
    "missing": ("∅", "#9b1239"),
}
MARKS = {"yes": ("✓", SIGNS["same"][1]), "no": ("✗", SIGNS["missing"][1]), "wrong": ("!", SIGNS["differs"][1])}


@dataclass(frozen=True)
class Picture:
    """A drawn picture: `svg` is the whole image as text, `alt` says what it shows.

    JupyterLab gives an SVG output neither a name nor a greatest width, so it also gets an image in HTML, which has both.
    """

    svg: str
    alt: str

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        data = b64encode(self.svg.encode()).decode()
        image = f'<img alt="{escape(self.alt)}" src="data:image/svg+xml;base64,{data}">'
        return {"text/html": image, "image/svg+xml": self.svg, "text/plain": self.alt}


def el(tag: str, *children: str, **attributes: object) -> str:
    """One SVG element; underscores in attribute names become hyphens, children are SVG already."""
    given = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    named = "".join(f' {name}="{escape(number(value))}"' for name, value in given.items())
    return f"<{tag}{named}>{''.join(children)}</{tag}>" if children else f"<{tag}{named}/>"


def number(value: object) -> str:
    """A coordinate without noise: at most one decimal."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def text(
    x: float, y: float, words: object, size: int = 15, ink: str = INK, mono: bool = False, bold: bool = False, align: str = ""
) -> str:
    """One line of text with its baseline at `y`; nothing for no words."""
    look = {"font_family": MONO if mono else None, "font_weight": "bold" if bold else None, "text_anchor": align or None}
    return el("text", escape(words), x=x, y=y, fill=ink, font_size=size, **look) if str(words) else ""


def width_of(words: object, size: int = 15, mono: bool = False) -> float:
    """Width in pixels that a line takes in the two faces used here; many capitals or an m more make it a tenth wider."""
    return len(str(words)) * size * (0.602 if mono else 0.56)


def shade(value: float) -> str:
    """Fill for a value in −1 … 1 on the diverging scale, brightened by a power of 0.8."""
    level = round(min(1.0, abs(value)) ** 0.8, 2)
    end = ORANGE if value > 0 else BLUE
    return "#" + "".join(f"{round(p + (e - p) * level):02x}" for p, e in zip(PAPER, end))


def ink_on(fill: str) -> str:
    """The calmest ink that keeps a contrast of 4.5 to 1 on `fill` (WCAG 2.2, success criterion 1.4.3)."""
    light = luminance(fill)
    return INK if light >= 4.5 * (luminance(INK) + 0.05) - 0.05 else "#ffffff" if light <= 1.05 / 4.5 - 0.05 else "#000000"


@lru_cache(maxsize=512)
def luminance(color: str) -> float:
    """The relative luminance of a colour like #1f2933, from 0 to 1 (WCAG 2.2)."""
    parts = (int(color[k : k + 2], 16) / 255 for k in (1, 3, 5))
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def frame(kind: str, x: float, y: float, width: float, height: float) -> str:
    """The outline that tells a parameter from a buffer, optimizer state or gradient."""
    return el("rect", x=x, y=y, width=width, height=height, fill="none", stroke_width=2, **FRAMES[kind])


def sign(relation: str, x: float, y: float) -> str:
    """The sign of a relation in its circle, centred on (x, y)."""
    return circled(*SIGNS[relation], x, y)


def circled(glyph: str, color: str, x: float, y: float) -> str:
    """A glyph in a circle of its own colour."""
    circle = el("circle", cx=x, cy=y, r=13, fill=CARD, stroke=color, stroke_width=2)
    return circle + text(x, y + 6, glyph, 17, color, bold=True, align="middle")


def box(x: float, y: float, width: float, height: float, *, fill: str = "#ffffff", dash: str | None = None) -> str:
    """A plain box."""
    size = {"x": x, "y": y, "width": width, "height": height, "rx": 6}
    return el("rect", **size, fill=fill, stroke=LINE, stroke_width=1.4, stroke_dasharray=dash)


def scale_bar(x: float, y: float, scale: float, *, beyond: bool = False) -> str:
    """The colour scale with its ends, 165 px wide; `beyond` says that its ends also stand for what lies further out."""
    blocks = "".join(el("rect", x=x + 18.3 * k, y=y, width=18.4, height=14, fill=shade((k - 4) / 4)) for k in range(9))
    low, high = ("≤ −", "≥ +") if beyond else ("−", "+")
    marks = [(0, f"{low}{scale:g}", ""), (82, "0", "middle"), (165, f"{high}{scale:g}", "end")]
    return (
        text(x, y - 6, "value", 13, SOFT) + blocks + "".join(text(x + k, y + 30, w, 13, SOFT, align=at) for k, w, at in marks)
    )


def legend(x: float, y: float, kinds: list[str]) -> str:
    """One swatch a kind of frame."""
    places = [(y + LEGEND_STEP * k, kind) for k, kind in enumerate(kinds)]
    return "".join(frame(kind, x, top, 36, 20) + text(x + 48, top + 16, kind, 14) for top, kind in places)


def card(width: float, height: float, title: str, alt: str, body: str) -> Picture:
    """The picture as a whole: a light card, the finding as its title, and the words for a screen reader."""
    width = max(width, width_of(title, 20) * 1.04 + 2 * MARGIN)
    inside = (
        el("title", escape(title))
        + el("desc", escape(alt))
        + el("rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=10, fill=CARD, stroke="#e4e7eb")
        + text(MARGIN, 39, title, 20, bold=True)
        + body
    )
    size = {"viewBox": f"0 0 {number(width)} {number(height)}", "width": float(width), "height": float(height)}
    look = {"role": "img", "font_family": SANS, "style": "max-width:100%;height:auto"}
    drawn = el("svg", inside, xmlns="http://www.w3.org/2000/svg", **size, **look)
    return Picture(drawn, shown(f"{title}{'' if title[-1:] in '?.!…' else '.'} {alt}"))
