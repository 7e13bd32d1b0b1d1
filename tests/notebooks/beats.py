"""Lessons as sections of cells, and variants in which the cells of every beat stand twice."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import nbformat
from nbformat import NotebookNode

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


def write_doubled(source: Path, target: Path) -> None:
    """Writes the doubled variant of every lesson, not of the solutions, into `target`, beside the scripts they run."""
    shutil.copytree(source / "scripts", target / "scripts")
    for path in sorted(source.glob("*.ipynb")):
        nbformat.write(doubled(nbformat.read(path, as_version=4)), target / path.name)
