"""The site: from key press to painted frame with no kernel behind it, and how large its pages are."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from tqdm import tqdm

from benchmarks.measure import Line, p95
from benchmarks.screen import WATCH, press, said
from publish import lessons, site
from publish.chromium import launch


def measure() -> list[Line]:
    """The largest flipbook of each page, up and down its frames, and the size of the largest page."""
    lines = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        pages = site.build(lessons.read_all(), Path(folder))
        browser = launch(playwright)
        times: dict[str, list[float]] = {}
        for path in tqdm(pages, "pages"):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(path.as_uri())
            figures = page.locator(".flipbook").all()
            if figures:
                largest = max(figures, key=lambda figure: int(figure.locator("input").get_attribute("max")))
                last = int(largest.locator("input").get_attribute("max"))
                page.evaluate(WATCH, [largest.element_handle(), ".frame"])
                times[path.stem] = []
                while len(times[path.stem]) < 100:
                    largest.locator("input").press("Home")
                    page.wait_for_timeout(200)
                    for key in ("ArrowRight", "ArrowLeft"):
                        times[path.stem] += press(page, largest, "input", key, last)
            page.close()
        browser.close()
        slowest = max(times, key=lambda name: p95(times[name]))
        size = max(path.stat().st_size for path in pages)
        lines.append(
            Line(
                f"▶ on the site, the slowest of {len(times)} pages ({slowest[:2]})",
                said(times[slowest]),
                "all together: " + said([value for name in times for value in times[name]]),
                "p95 ≤ 33 ms",
                p95(times[slowest]) <= 33,
            )
        )
        lines.append(Line("largest page of the site", f"{size / 1e3:.0f} kB", f"{len(pages)} pages", "≤ 1,000 kB", size <= 1e6))
    return lines
