"""All notebooks together, against starting as many kernels that only run their setup cell."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from tqdm import tqdm

from benchmarks.measure import Line
from helpers import scenes

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def _run(job: tuple[Path, NotebookNode]) -> None:
    path, notebook = job
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}).execute()


def _seconds(jobs: list[tuple[Path, NotebookNode]], label: str) -> float:
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(tqdm(pool.map(_run, jobs), total=len(jobs), desc=label, unit="kernel"))
    return time.monotonic() - start


def _setup_only(path: Path) -> NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [next(cell for cell in notebook.cells if cell.cell_type == "code")]
    return notebook


def processes() -> int:
    """How many processes lessons 05, 07 and 08 start.

    05: its lab saves once, is drawn once and runs every pair, and two of its own. 07: three runs, and three of its lab.
    08: two that are killed.
    """
    book = nbformat.read(NOTEBOOKS / "05_why_not_the_whole_model.ipynb", as_version=4)
    own = sum(
        cell.source.startswith("in_another_process(") or "\n\n\nin_another_process(" in cell.source
        for cell in book.cells
        if cell.cell_type == "code"
    )
    return own + 2 + len(scenes.CHANGES) * len(scenes.FORMATS) + 6 + 2


def measure() -> list[Line]:
    """Seconds on two cores, and their ratio."""
    paths = sorted(NOTEBOOKS.glob("*.ipynb")) + sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))
    extra = [NOTEBOOKS / "05_why_not_the_whole_model.ipynb"] * processes()
    floor = _seconds([(path, _setup_only(path)) for path in paths + extra], "floor")
    whole = _seconds([(path, nbformat.read(path, as_version=4)) for path in paths], "notebooks")
    ratio = whole / floor
    return [
        Line(
            f"all {len(paths)} notebooks, which start {len(extra)} processes",
            f"{whole:.0f} s",
            f"{ratio:.2f} × the {floor:.0f} s of {len(paths) + len(extra)} kernels that only run a setup cell",
            "≤ 1.5 ×",
            ratio <= 1.5,
        )
    ]
