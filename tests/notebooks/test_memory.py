"""Binder gives 2 GB: what the kernel of each lesson takes at its peak, run from top to bottom."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

LESSONS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
PEAK = """
import os, re, sys
if sys.platform == "linux":
    print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) // 1024)
else:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20)
"""


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_kernel_stays_below_800_megabytes(path):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK))
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": path.parent}})
    client.execute()
    peak = int(notebook.cells[-1].outputs[0].text)
    assert 100 < peak < 800, f"{peak} MB"
