"""Lessons as sections of cells, and variants in which the cells of every beat stand twice.

Binder gives 2 GB to a session: a lesson's kernel may take `BINDER_SHARE` megabytes of them.
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import nbformat
from nbformat import NotebookNode

BINDER_SHARE = 800
FIXED = ("You will be able to", "Setup", "You might think …", "Your turn", "In one screen", "Next")


def sections(notebook: NotebookNode) -> list[tuple[str, list[NotebookNode]]]:
    """Heading and cells of each `##` section, in order; the first has no heading."""
    found: list[tuple[str, list[NotebookNode]]] = [("", [])]
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            found.append((cell.source.partition("\n")[0][3:].strip(), []))
        found[-1][1].append(cell)
    return found


def beats(notebook: NotebookNode) -> list[tuple[str, list[NotebookNode]]]:
    """The sections that are not part of the template's frame."""
    return [(name, cells) for name, cells in sections(notebook) if name and name not in FIXED]


def doubled(notebook: NotebookNode) -> NotebookNode:
    """The notebook with the cells of each section, but for setup, standing twice in a row."""
    variant = copy.deepcopy(notebook)
    variant.cells = []
    for name, cells in sections(notebook):
        variant.cells += cells
        if name not in ("", "Setup"):
            variant.cells += [_again(cell) for cell in cells]
    return variant


def _again(cell: NotebookNode) -> NotebookNode:
    twin = copy.deepcopy(cell)
    twin.id = f"{cell.id}-again"
    return twin


def memory_check(most: int) -> str:
    """Code that fails if the process that runs it has ever had more than `most` megabytes of memory."""
    return f"""
import re, sys
if sys.platform == "linux":
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) // 1024
else:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20
assert 0 < peak < {most}, f"{{peak}} MB"
"""


def write_variants(source: Path, target: Path) -> None:
    """Writes into `target` every lesson doubled, with a look at its memory at the end, and the solutions as they are."""
    for folder in ("scripts", "solutions"):
        shutil.copytree(source / folder, target / folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    for path in sorted(source.glob("*.ipynb")):
        variant = doubled(nbformat.read(path, as_version=4))
        variant.cells.append(nbformat.v4.new_code_cell(memory_check(BINDER_SHARE), id="memory"))
        nbformat.write(variant, target / path.name)
