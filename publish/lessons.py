"""A notebook with what its widgets showed: the stored outputs, and the frames of its flipbooks from a fresh run."""

from __future__ import annotations

import copy
import importlib
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

from helpers.quiz import Exercise, Prediction

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
FLIPBOOK = "widgets.flipbook("
VIEW, STATE = "application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json"


@dataclass(frozen=True)
class Flipbook:
    """All frames as SVG, which of them is stored as the still, and what one step is called."""

    frames: tuple[str, ...]
    still: int
    label: str


@dataclass
class Lesson:
    """A notebook as stored, and its flipbooks by the number of their cell."""

    path: Path
    notebook: nbformat.NotebookNode
    flipbooks: dict[int, Flipbook] = field(default_factory=dict)

    @property
    def page(self) -> str:
        """The path of its page below the site's root."""
        name = self.path.relative_to(NOTEBOOKS).with_suffix(".html").as_posix()
        return "index.html" if name == "00_start_here.html" else name

    @property
    def title(self) -> str:
        """Its first heading."""
        return self.notebook.cells[0].source.partition("\n")[0].removeprefix("# ")

    def quiz(self, source: str, call: str) -> Prediction | Exercise | None:
        """The prediction or exercise that a cell asks for by `quiz.name.call(`."""
        found = re.search(rf"quiz\.(\w+)\.{call}\(", source)
        if not found:
            return None
        return getattr(importlib.import_module(f"helpers.exercises.lesson_{self.path.name[:2]}"), found[1])


def read(path: Path) -> Lesson:
    """A notebook as it is stored, without running it."""
    return Lesson(path, nbformat.read(path, as_version=4))


def read_all(run: bool = True) -> list[Lesson]:
    """Lessons, error by error, solutions; the lessons are run for their frames, two at a time, each to its last flipbook."""
    lessons = [read(path) for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    if run:
        with ProcessPoolExecutor(2) as pool:
            for lesson, ran in zip(lessons, tqdm(pool.map(_run, lessons), "running the lessons", len(lessons))):
                _add(lesson, ran)
    return lessons + [read(path) for folder in ("errors", "solutions") for path in sorted((NOTEBOOKS / folder).glob("*.ipynb"))]


def _run(lesson: Lesson) -> dict[int, Flipbook]:
    cells = lesson.notebook.cells
    last = max((k for k, cell in enumerate(cells) if cell.cell_type == "code" and FLIPBOOK in cell.source), default=-1)
    notebook = copy.deepcopy(lesson.notebook)
    notebook.cells = notebook.cells[: last + 1]
    if last >= 0:
        place = {"metadata": {"path": lesson.path.parent}}
        NotebookClient(notebook, timeout=600, resources=place, store_widget_state=True).execute()
    state = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    return {
        k: flipbook
        for k, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
        for output in cell.outputs
        if VIEW in output.get("data", {}) and (flipbook := _flipbook(state, output.data[VIEW]["model_id"]))
    }


def _flipbook(state: Mapping[str, Any], view: str) -> Flipbook | None:
    inside = {model["model_name"]: model["state"] for model in _below(state, view)}
    if "StackModel" not in inside:
        return None
    pages = [state[child.removeprefix("IPY_MODEL_")]["state"]["value"] for child in inside["StackModel"]["children"]]
    slider = inside["IntSliderModel"]
    return Flipbook(tuple(pages), slider.get("value", 0), slider["description"])


def _below(state: Mapping[str, Any], view: str) -> Iterator[Mapping[str, Any]]:
    model = state[view]
    yield model
    if model["model_name"] != "StackModel":
        for child in model["state"].get("children", []):
            yield from _below(state, child.removeprefix("IPY_MODEL_"))


def _add(lesson: Lesson, ran: Mapping[int, Flipbook]) -> None:
    for k, flipbook in ran.items():
        stored = [output.data.get("image/svg+xml") for output in lesson.notebook.cells[k].outputs if "data" in output]
        if flipbook.frames[flipbook.still] not in stored:
            raise RuntimeError(
                f"Cell {k} of {lesson.path.name} shows another still than the one that is stored. "
                "Run `make refresh`, look at it, and publish again."
            )
        lesson.flipbooks[k] = flipbook
