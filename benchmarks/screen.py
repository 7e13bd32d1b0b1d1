"""From key press to painted frame, in JupyterLab in Chromium."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from playwright.sync_api import Locator, Page, sync_playwright
from tqdm import tqdm

from benchmarks.measure import Line, middle, p95
from publish.chromium import launch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "browser"))

from lab import JupyterLab, OpenNotebook

SETUP = """
%matplotlib inline
from functools import partial
import ipywidgets, matplotlib.pyplot as plt
from torch import optim
from helpers import lesson, scenes, widgets
model = lesson.build_model()
"""
FLIPBOOK = "widgets.flipbook(scenes.momentum_frames(60), still=17)"
INTERACT = """
trained = lesson.build_model()
moments = lesson.train(trained, optim.SGD(trained.parameters(), lr=0.01, momentum=0.9), 60)

def draw(step):
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.5))
    for ax, value in zip(axes, moments[step].parameters):
        ax.imshow(value.reshape(-1, value.shape[-1]).detach(), cmap="RdBu", vmin=-1, vmax=1)
    plt.show()

ipywidgets.interact(draw, step=ipywidgets.IntSlider(17, 0, 60))
"""
LIVE = {
    "forward pass (01)": """widgets.live(partial(scenes.forward, model), x1=widgets.slider("input 1", -2, 2, 1.0),
             x2=widgets.slider("input 2", -2, 2, -1.0))""",
    "architecture (01)": """widgets.live(scenes.architecture, inputs=widgets.slider("inputs", 1, 60, 2, step=1),
             hidden=widgets.slider("hidden", 1, 60, 2, step=1), outputs=widgets.slider("outputs", 1, 60, 1, step=1),
             bias=widgets.tick("with bias"))""",
    "valley (03)": """widgets.live(scenes.roll, lr=widgets.slider("learning rate", 0.01, 0.5, 0.1, step=0.005),
             momentum=widgets.slider("momentum", 0.0, 0.98, 0.9, step=0.02))""",
}
TICKS = {
    "resume (04)": """widgets.live(scenes.restored, model=widgets.tick("model"),
             optimizer=widgets.tick("optimizer", False))"""
}
REST = 150
WATCH = """([cell, pictures]) => {
    window.times = [];
    window.watch?.abort();
    window.watch = new AbortController();
    let latest = 0;
    const seen = () => {
        const svg = [...cell.querySelectorAll(`${pictures} svg`)].find(s => s.checkVisibility());
        const img = cell.querySelector(`${pictures} img`);
        return svg || (img && img.complete && img.naturalWidth ? img.src : null);
    };
    document.addEventListener('keydown', () => {
        const start = performance.now(), before = seen(), mine = ++latest;
        const look = () => {
            if (mine !== latest) return;
            const now = seen();
            if (now !== null && now !== before) {
                const channel = new MessageChannel();
                channel.port1.onmessage = () => window.times.push(performance.now() - start);
                channel.port2.postMessage(0);
            } else if (performance.now() - start < 5000) requestAnimationFrame(look);
        };
        requestAnimationFrame(look);
    }, {capture: true, signal: window.watch.signal});
}"""


def press(page: Page, cell: Locator, control: str, key: str, count: int) -> list[float]:
    """Milliseconds from each of so many presses on a control to the painted frame; `WATCH` has to run in the page.

    Each waits for `REST` ms after the frame before, as somebody does who looks at it.
    """
    cell.locator(control).first.focus()
    page.evaluate("() => { window.times = []; }")
    for done in range(1, count + 1):
        page.wait_for_timeout(REST)
        page.keyboard.press(key)
        page.wait_for_function("count => window.times.length >= count", arg=done, polling=5)
    return page.evaluate("() => window.times")


def measure(rounds: int = 10, count: int = 20) -> list[Line]:
    """▶ against `interact` with an inline figure, and every kind of ⚙: `count` key presses each in every round.

    All are in one notebook and take turns, since a machine is not as fast in one minute as in the next.
    """
    controls = {
        **dict.fromkeys((FLIPBOOK, INTERACT, *LIVE.values()), ".noUi-handle"),
        **dict.fromkeys(TICKS.values(), "input[type=checkbox]"),
    }
    times: dict[str, list[float]] = {source: [] for source in controls}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = JupyterLab(Path(folder))
        browser = launch(playwright)
        try:
            book = nbformat.v4.new_notebook(
                cells=[nbformat.v4.new_code_cell(source) for source in (SETUP, *controls)],
                metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
            )
            nbformat.write(book, lab.folder / "notebooks" / "bench.ipynb")
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            opened = OpenNotebook(page, lab, "bench")
            opened.run_all()
            for turn in tqdm(range(rounds), desc="screen", unit="round"):
                for number, (source, control) in enumerate(controls.items(), 1):
                    cell = opened.code_cell(number)
                    if not turn:
                        cell.locator(control).first.press("Home")
                    page.wait_for_timeout(1000)
                    page.evaluate(WATCH, [cell.element_handle(), ".jp-OutputArea-output"])
                    key = "Space" if "checkbox" in control else "ArrowLeft" if turn % 2 else "ArrowRight"
                    times[source] += press(page, cell, control, key, count)
        finally:
            browser.close()
            lab.stop()
    return _lines(times)


def _lines(times: dict[str, list[float]]) -> list[Line]:
    flip, inline = times[FLIPBOOK], times[INTERACT]
    ratio = p95(inline) / p95(flip)
    ratio_middle = middle(inline) / middle(flip)
    lines = [
        Line(
            "▶ flipbook (03), key press to painted frame",
            said(flip),
            f"`interact` + inline matplotlib: {said(inline)}: {ratio_middle:.1f} × at the median, {ratio:.1f} × at p95",
            "≥ 10 × faster at both",
            ratio >= 10 and ratio_middle >= 10,
        )
    ]
    for name, source in {**LIVE, **TICKS}.items():
        lines.append(
            Line(
                f"⚙ {name}",
                said(times[source]),
                f"{p95(inline) / p95(times[source]):.1f} × faster at p95",
                "≥ 9 × faster at p95",
                p95(inline) / p95(times[source]) >= 9,
            )
        )
    return lines


def said(values: list[float]) -> str:
    """Median and p95 in words."""
    return f"median {middle(values):.0f} ms, p95 {p95(values):.0f} ms"
