"""The site: one page a lesson, made by nbconvert from the stored notebooks, with nothing to fetch from elsewhere."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import jinja2
import nbformat
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from publish import blocks
from publish.folder import emptied
from publish.lessons import ROOT, Lesson

STATIC = Path(__file__).parent / "static"


def build(lessons: Sequence[Lesson], out: Path) -> list[Path]:
    """Writes the whole site into `out`, which is emptied first, and returns the pages.

    Raises FileExistsError as `folder.check`.
    """
    page_of = template("page.html.j2")
    emptied(out)
    pages = []
    for lesson in lessons:
        page = out / lesson.page
        page.parent.mkdir(parents=True, exist_ok=True)
        up = "../" * lesson.page.count("/")
        menu = [(up + other.page, other.title, other is lesson) for other in lessons if "/" not in other.page]
        page.write_text(page_of.render(title=lesson.title, body=body(lesson), up=up, menu=menu), encoding="utf-8")
        pages.append(page)
    for name in ("page.css", "page.js"):
        shutil.copy(STATIC / name, out / name)
    shutil.copy(ROOT / "docs" / "binder.svg", out / "binder.svg")
    return pages


def template(name: str) -> jinja2.Template:
    """One of the templates beside the style sheets; what it is given is HTML already."""
    return jinja2.Environment(loader=jinja2.FileSystemLoader(STATIC), autoescape=False).get_template(name)


@lru_cache
def _exporter() -> HTMLExporter:
    return HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True, exclude_anchor_links=True)


def body(lesson: Lesson, chosen: Sequence[NotebookNode] | None = None) -> str:
    """The lesson's cells as HTML, or those that are given, with links to pages instead of notebooks."""
    shown = blocks.replaced(lesson).cells if chosen is None else list(chosen)
    html, _ = _exporter().from_notebook_node(nbformat.v4.new_notebook(cells=shown, metadata=lesson.notebook.metadata))
    html = re.sub(r'(?<=href=")(?!https?:)([^"#]*)\.ipynb', lambda m: _page(m[1]), html)
    return re.sub(r'(?<=src=")(?:\.\./)+docs/', "../" * lesson.page.count("/"), html)


def _page(link: str) -> str:
    return re.sub(r"(?<![\w/])00_start_here$|(?<=\.\./)00_start_here$", "index", link) + ".html"
