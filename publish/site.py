"""The site: one page a lesson, made by nbconvert from the stored notebooks, with nothing to fetch from elsewhere."""
from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import jinja2
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from publish import cells
from publish.lessons import ROOT, Lesson

STATIC = Path(__file__).parent / "static"


def build(lessons: Sequence[Lesson], out: Path) -> list[Path]:
    """Writes the whole site into `out`, which is emptied first, and returns the pages."""
    template = jinja2.Environment(loader=jinja2.FileSystemLoader(STATIC), autoescape=False).get_template("page.html.j2")
    shutil.rmtree(out, ignore_errors=True)
    pages = []
    for lesson in lessons:
        page = out / lesson.page
        page.parent.mkdir(parents=True, exist_ok=True)
        up = "../" * lesson.page.count("/")
        menu = [(up + other.page, other.title, other is lesson) for other in lessons if "/" not in other.page]
        page.write_text(template.render(title=lesson.title, body=body(lesson), up=up, menu=menu), encoding="utf-8")
        pages.append(page)
    for name in ("page.css", "page.js"):
        shutil.copy(STATIC / name, out / name)
    shutil.copy(ROOT / "docs" / "binder.svg", out / "binder.svg")
    return pages


def body(lesson: Lesson, notebook: NotebookNode | None = None) -> str:
    """The lesson's cells as HTML, or those of a part of it, with links to pages instead of notebooks."""
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True,
                            exclude_anchor_links=True)
    html, _ = exporter.from_notebook_node(notebook or cells.replaced(lesson))
    html = re.sub(r'(?<=href=")(?!https?:)([^"#]*)\.ipynb', lambda m: _page(m[1]), html)
    return re.sub(r'(?<=src=")(?:\.\./)+docs/', "../" * lesson.page.count("/"), html)


def _page(link: str) -> str:
    return re.sub(r"(?<![\w/])00_start_here$|(?<=\.\./)00_start_here$", "index", link) + ".html"
