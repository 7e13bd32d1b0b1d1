"""A reveal.js deck of each lesson, from the same cells and their slide metadata, with nothing to fetch from elsewhere."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from nbformat import NotebookNode

from publish import blocks, site
from publish.folder import emptied
from publish.lessons import Lesson
from publish.site import STATIC


def build(lessons: Sequence[Lesson], out: Path) -> list[Path]:
    """Writes a deck for each lesson into `out`, which is emptied first, and returns the decks.

    Raises FileExistsError as `folder.check`.
    """
    deck_of = site.template("deck.html.j2")
    emptied(out)
    decks = []
    for lesson in lessons:
        if "/" in lesson.page:
            continue
        deck = out / lesson.page
        parts = [[site.body(lesson, part) for part in column] for column in columns(lesson)]
        deck.write_text(deck_of.render(title=lesson.title, columns=parts), encoding="utf-8")
        decks.append(deck)
    for name in ("page.css", "page.js", "deck.css", "deck.js"):
        shutil.copy(STATIC / name, out / name)
    for name in ("reveal.js", "reveal.css"):
        shutil.copy(reveal() / name, out / name)
    return decks


def reveal() -> Path:
    """The folder of reveal.js, which sphinx-revealjs ships. Raises RuntimeError without it."""
    found = find_spec("sphinx_revealjs")
    if not found:
        raise RuntimeError("sphinx-revealjs is missing. Install it: pip install -r requirements-dev.txt")
    return Path(found.submodule_search_locations[0]) / "_static" / "revealjs" / "dist"


def columns(lesson: Lesson) -> list[list[list[NotebookNode]]]:
    """The cells of each slide: a column begins at `slide`, a slide below it at `subslide`; `skip` and `notes` are left out."""
    found: list[list[list[NotebookNode]]] = []
    for cell in blocks.replaced(lesson, deck=True).cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type", "-")
        if kind in ("skip", "notes"):
            continue
        if kind == "slide" or not found:
            found.append([])
        if kind in ("slide", "subslide") or not found[-1]:
            found[-1].append([])
        found[-1][-1].append(_without_lines(cell))
    return found


def _without_lines(cell: NotebookNode) -> NotebookNode:
    """The lines that lead to other pages and to Binder belong to a page, not to a slide."""
    if cell.cell_type == "markdown":
        cell.source = re.sub(r"^.*(?:mybinder\.org|\]\(errors/).*$\n?", "", cell.source, flags=re.MULTILINE)
    return cell
