"""One sheet of paper: what stands under "In one screen" in each lesson, as a PDF to photograph or to hand out."""
from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from pathlib import Path

import jinja2
from nbformat import NotebookNode
from playwright.sync_api import sync_playwright

from publish import cells, site
from publish.lessons import Lesson
from publish.site import STATIC

FLAGS = ["--no-sandbox", "--disable-gpu"]


def build(lessons: Sequence[Lesson], out: Path) -> list[Path]:
    """Writes `recap.pdf`, one page of A3, into `out`. Raises RuntimeError if there is no Chromium on the PATH."""
    template = jinja2.Environment(loader=jinja2.FileSystemLoader(STATIC), autoescape=False).get_template("recap.html.j2")
    out.mkdir(parents=True, exist_ok=True)
    parts = [(lesson.title, site.body(lesson, recap(lesson))) for lesson in lessons if "/" not in lesson.page]
    page = out / "recap.html"
    style = (STATIC / "page.css").read_text(encoding="utf-8") + (STATIC / "recap.css").read_text(encoding="utf-8")
    page.write_text(template.render(parts=parts, style=style), encoding="utf-8")
    _print(page, out / "recap.pdf")
    return [out / "recap.pdf", page]


def recap(lesson: Lesson) -> NotebookNode:
    """The cells under "In one screen", without their code. Raises ValueError if the lesson has no such section."""
    notebook = cells.replaced(lesson, deck=True)
    starts = [k for k, cell in enumerate(notebook.cells) if cell.source.startswith("## In one screen")]
    if not starts:
        raise ValueError(f"{lesson.path.name} has no section 'In one screen'.")
    found = copy.copy(notebook)
    found.cells = []
    for cell in notebook.cells[starts[0]:]:
        if cell.source.startswith("## Next"):
            break
        if cell.cell_type == "code":
            cell.metadata["transient"] = {"remove_source": True}
        else:
            cell.source = cell.source.removeprefix("## In one screen").strip()
        found.cells.append(cell)
    return found


def chromium() -> str | None:
    """The path of Debian's Chromium or another one on the PATH."""
    return next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


def _print(page: Path, pdf: Path) -> None:
    if chromium() is None:
        raise RuntimeError("There is no Chromium on the PATH to print with. Debian: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        opened = browser.new_page()
        opened.goto(page.resolve().as_uri())
        opened.pdf(path=pdf, format="A3", landscape=True, print_background=True, prefer_css_page_size=True)
        browser.close()
