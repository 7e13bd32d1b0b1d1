"""One sheet of paper: what stands under "In one screen" in each lesson, as a PDF to photograph or to hand out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nbformat import NotebookNode
from playwright.sync_api import sync_playwright

from publish import blocks, site
from publish.chromium import chromium, launch
from publish.folder import emptied
from publish.lessons import Lesson
from publish.site import STATIC


def build(lessons: Sequence[Lesson], out: Path) -> list[Path]:
    """Writes `recap.pdf`, one page of A3, into `out`, which is emptied first.

    Raises RuntimeError if there is no Chromium on the PATH, and FileExistsError as `folder.check`.
    """
    emptied(out)
    parts = [(lesson.title, site.body(lesson, recap(lesson))) for lesson in lessons if "/" not in lesson.page]
    page = out / "recap.html"
    style = (STATIC / "page.css").read_text(encoding="utf-8") + (STATIC / "recap.css").read_text(encoding="utf-8")
    page.write_text(site.template("recap.html.j2").render(parts=parts, style=style), encoding="utf-8")
    _print(page, out / "recap.pdf")
    return [out / "recap.pdf", page]


def recap(lesson: Lesson) -> list[NotebookNode]:
    """The cells under "In one screen", without their code. Raises ValueError if the lesson has no such section."""
    all_cells, found = blocks.replaced(lesson, deck=True).cells, []
    starts = [k for k, cell in enumerate(all_cells) if cell.source.startswith("## In one screen")]
    if not starts:
        raise ValueError(f"{lesson.path.name} has no section 'In one screen'.")
    for cell in all_cells[starts[0] :]:
        if cell.source.startswith("## Next"):
            break
        if cell.cell_type == "code":
            cell.metadata["transient"] = {"remove_source": True}
        else:
            cell.source = cell.source.removeprefix("## In one screen").strip()
        found.append(cell)
    return found


def _print(page: Path, pdf: Path) -> None:
    if chromium() is None:
        raise RuntimeError("There is no Chromium on the PATH to print with. Debian: apt install chromium")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        opened = browser.new_page()
        opened.goto(page.resolve().as_uri())
        opened.pdf(path=pdf, format="A3", landscape=True, print_background=True, prefer_css_page_size=True)
        browser.close()
