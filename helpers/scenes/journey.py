"""The map of lesson 00: from one model to another, what is called on the way, and which lesson explains it."""

from __future__ import annotations

from helpers.draw import Picture, svg
from helpers.scenes.stations import arrow, disk

WIDE, HIGH, GAP, LINE = 200, 150, 190, 25
LAYERS = [("", "0 Linear"), ("parameter", "weight"), ("parameter", "bias"), ("", "1 ReLU, 2 Linear")]
TENSORS = [("parameter", key) for key in ("0.weight", "0.bias", "2.weight", "2.bias")]
BUFFERS = [*(("optimizer state", f"state[{k}]") for k in range(3)), ("", "…, param_groups")]
PLACES = {
    "model": (0, 0, LAYERS),
    "state dict": (1, 0, TENSORS),
    "file": (2, 0, [("", name) for name in ("data.pkl", "data/0 … data/3", "version, …")]),
    "loaded dict": (2, 1, TENSORS),
    "another model": (1, 1, LAYERS),
    "optimizer": (0, 1, BUFFERS),
}
GUIDE = {
    "06": "keys do\nnot match",
    "07": "resume\nexactly",
    "08": "share\nsafely",
    "09": "weights\nas data",
    "10": "bigger than\nmemory",
    "11": "many\nprocesses",
    "12": "your own\nfile",
}
WRITTEN = ("06", "07", "08", "09", "10", "11", "12")


def journey() -> Picture:
    """Six places and the five calls between them, each with its lesson; below, the lessons of the field guide."""
    (left, middle, right), (top, bottom) = (28 + k * (WIDE + GAP) for k in range(3)), (64 + k * (HIGH + 84) for k in range(2))
    level = HIGH // 2
    body = [_place(name, *place) for name, place in PLACES.items()]
    for calls, lessons, start, end, y in (
        ("state_dict()", "lesson 02", left + WIDE + 8, middle - 8, top + level),
        ("torch.save", "lessons 04, 05", middle + WIDE + 8, right - 8, top + level),
        ("load_state_dict", "lesson 04", right - 8, middle + WIDE + 8, bottom + level),
    ):
        body += [arrow(start, y, end, y), *_words(calls, lessons, (start + end) / 2, y - 12, y + 24, "middle")]
    body += [
        svg.text(left + WIDE - 16, top + 28, "lesson 01", 14, svg.SOFT, align="end"),
        arrow(right + 60, top + HIGH + 8, right + 60, bottom - 8),
        *_words("torch.load", "lesson 04", right + 76, top + HIGH + 38, top + HIGH + 58, "start"),
        arrow(left + 60, bottom - 8, left + 60, top + HIGH + 8),
        *_words("step()", "lesson 03", left + 76, top + HIGH + 38, top + HIGH + 58, "start"),
    ]
    y = bottom + HIGH + 44
    body.append(svg.text(28, y, "The field guide, for what you meet on the way", 15, svg.SOFT))
    body += [_chip(number, words.split("\n"), 28 + 141 * k, y + 16) for k, (number, words) in enumerate(GUIDE.items())]
    listed = {number: f"{number} {words}".replace("\n", " ") for number, words in GUIDE.items()}
    there, coming = ([listed[number] for number in GUIDE if (number in WRITTEN) == is_there] for is_there in (True, False))
    return svg.card(
        right + WIDE + 28,
        y + 124,
        "What a model remembers, and where it goes",
        "Model (lesson 01), state_dict (lesson 02), state dict, torch.save (lessons 04 and 05), file, torch.load (lesson 04), "
        "loaded dict, load_state_dict (lesson 04), another model. The optimizer beside the model moves it by step (lesson 03). "
        f"The field guide: {', '.join(there)}. Coming: {', '.join(coming)}.",
        "".join(body),
    )


def _place(name: str, column: int, row: int, lines: list[tuple[str, str]]) -> str:
    x, y = 28 + column * (WIDE + GAP), 64 + row * (HIGH + 84)
    drawn = (disk if name == "file" else svg.box)(x, y, WIDE, HIGH) + svg.text(x + 16, y + 28, name, 16, bold=True)
    for k, (kind, words) in enumerate(lines):
        base = y + 58 + LINE * k
        if kind:
            drawn += svg.frame(kind, x + 18, base - 14, 22, 17)
        drawn += svg.text(x + (50 if kind else 18), base, words, 14, mono=True)
    return drawn


def _words(call: str, lesson: str, x: float, above: float, below: float, anchor: str) -> list[str]:
    return [svg.text(x, above, call, 14, mono=True, align=anchor), svg.text(x, below, lesson, 14, svg.SOFT, align=anchor)]


def _chip(number: str, words: list[str], x: float, y: float) -> str:
    written = number in WRITTEN
    ink, head = (svg.INK, number) if written else (svg.SOFT, f"{number} coming")
    box = svg.box(x, y, 131, 86) if written else svg.box(x, y, 131, 86, fill="#f3f4f1", dash="5 4")
    lines = [svg.text(x + 14, y + 50 + 21 * k, line, 14, ink) for k, line in enumerate(words)]
    return box + svg.text(x + 14, y + 26, head, 15, ink, bold=written) + "".join(lines)
