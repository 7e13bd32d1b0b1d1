"""The setup cell of each lesson, against `import torch` alone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import nbformat
from tqdm import tqdm

from benchmarks.measure import Line

LESSONS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


def _seconds(code: str) -> float:
    """Of the fastest of three processes that run only this."""
    took = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        took.append(time.perf_counter() - start)
    return min(took)


def measure() -> list[Line]:
    """The slowest lesson."""
    torch = _seconds("import torch")
    slowest, name = 0.0, ""
    for path in tqdm(LESSONS, desc="setup cells"):
        setup = next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
        slowest, name = max((slowest, name), (_seconds(setup), path.name[:2]))
    return [
        Line(
            f"setup cell, the slowest of {len(LESSONS)} lessons ({name})",
            f"{slowest:.1f} s",
            f"{slowest / torch:.2f} × `import torch`, {torch:.1f} s",
            "≤ 1.7 ×",
            slowest <= 1.7 * torch,
        )
    ]
