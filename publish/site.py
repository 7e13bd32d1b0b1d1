"""The site: one page a lesson, made by nbconvert from the stored notebooks, with nothing to fetch from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from functools import lru_cache
from html import escape, unescape
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from helpers import symptoms
from publish import blocks
from publish.folder import emptied
from publish.lessons import ROOT, Lesson

STATIC = Path(__file__).parent / "static"
INDEX = "errors/index.html"


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
        entries = [entry for entry in symptoms.table() if f"{entry.place}.html" == lesson.page and "/" in entry.place]
        shown = {"title": lesson.title, "body": addressed(body(lesson), entries), **findable(lesson, entries)}
        page.write_text(page_of.render(**shown, **around(lesson.page, lessons)), encoding="utf-8")
        pages.append(page)
    listed = {"title": "Error by error: all messages", "description": "Every message, what it means, and its cure."}
    (out / INDEX).parent.mkdir(exist_ok=True)
    (out / INDEX).write_text(page_of.render(**listed, body=index(), **around(INDEX, lessons)), encoding="utf-8")
    pages.append(out / INDEX)
    for name in ("page.css", "page.js", "finder.js"):
        shutil.copy(STATIC / name, out / name)
    shutil.copy(ROOT / "docs" / "binder.svg", out / "binder.svg")
    return pages


def around(page: str, lessons: Sequence[Lesson]) -> dict[str, Any]:
    """The way `up` from a page to the root, and the menu of all lessons, seen from there."""
    up = "../" * page.count("/")
    menu = [(up + other.page, other.title, other.page == page) for other in lessons if "/" not in other.page]
    return {"up": up, "menu": [*menu, (up + INDEX, "Error by error", page.startswith("errors/"))]}


def addressed(html: str, entries: Sequence[symptoms.Symptom]) -> str:
    """The page with an address on each section: JupyterLab's, its words with dashes; for an entry also its short one."""
    short = {entry.section: entry.address for entry in entries}

    def head(found: re.Match[str]) -> str:
        words = unescape(re.sub("<[^>]*>", "", found[1]))
        long = escape(words.replace(" ", "-"))
        return (
            f'<h2 id="{short[words]}"><span id="{long}">{found[1]}</span></h2>'
            if words in short
            else f'<h2 id="{long}">{found[1]}</h2>'
        )

    return re.sub("<h2>(.*?)</h2>", head, html)


def findable(lesson: Lesson, entries: Sequence[symptoms.Symptom]) -> dict[str, str]:
    """What a search engine shows: the page in a sentence, and each entry as question and answer (schema.org's FAQPage)."""
    promise = next(
        (line.strip("*") for line in lesson.notebook.cells[0].source.split("\n") if line.startswith("**")), lesson.title
    )
    asked = [
        {"@type": "Question", "name": e.name, "url": f"#{e.address}", "acceptedAnswer": {"@type": "Answer", "text": e.advice}}
        for e in entries
    ]
    page = {"@context": "https://schema.org", "@type": "FAQPage", "mainEntity": asked}
    return {"description": escape(promise), "data": json.dumps(page).replace("</", "<\\/") if asked else ""}


def index() -> str:
    """All messages by kind, under a place to search in."""
    parts = [f"<h1>Error by error: all messages</h1>{blocks.finder('', '../', whole=False)}"]
    for where in symptoms.groups():
        rows = "".join(
            f'<li><a href="../{blocks.address(s)}">{escape(s.name)}</a>: {escape(s.advice)}</li>'
            for s in symptoms.table()
            if symptoms.group(s) == where
        )
        parts.append(f"<h2>{escape(where.removeprefix('Error by error: ').capitalize())}</h2><ul>{rows}</ul>")
    return "".join(parts)


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
