"""Runs every notebook and stores what it shows, without what only a live kernel can use; draws the README's picture.

`make refresh` calls it. Nothing is written to a notebook that did not change.
"""

from __future__ import annotations

import re
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from tqdm import tqdm

from helpers import scenes, symptoms
from publish.moving import moving

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "photograph.svg"
INDEX = ROOT / "notebooks" / "errors" / "README.md"
WIDGET = "application/vnd.jupyter.widget-view+json"
BINDER = re.compile(r"https://mybinder\.org/v2/gh/[^/\s)]+/[^/\s)]+/")


def binder_base() -> str:
    """The start of every Binder link, from the one place that knows the repository's address."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return "https://mybinder.org/v2/gh/" + project["urls"]["Repository"].partition("github.com/")[2] + "/"


def normalise(notebook: NotebookNode) -> NotebookNode:
    """The notebook as it is stored: no live views, no times, no machine's traces; execution counts from 1."""
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    count = 0
    for cell in notebook.cells:
        cell.metadata = {key: cell.metadata[key] for key in ("slideshow", "tags") if cell.metadata.get(key)}
        if cell.cell_type == "markdown":
            cell.source = BINDER.sub(binder_base(), cell.source)
        else:
            count += 1
            cell.execution_count = count
            cell.outputs = [kept for kept in (_output(output, count) for output in cell.outputs) if kept]
    return notebook


def _output(output: NotebookNode, count: int) -> NotebookNode | None:
    if "data" in output:
        output.data.pop(WIDGET, None)
        output.metadata = {}
        if not output.data:
            return None
    if output.output_type == "execute_result":
        output.execution_count = count
    return output


def text(notebook: NotebookNode) -> str:
    """The file's text: one space of indent, characters as they are."""
    return nbformat.writes(notebook, indent=1, ensure_ascii=False) + "\n"


def refresh(path: Path) -> bool:
    """Runs one notebook in a fresh kernel; True if its file had to be written anew."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    after = text(normalise(notebook))
    if after == path.read_text(encoding="utf-8"):
        return False
    path.write_text(after, encoding="utf-8")
    return True


def readdress(page: Path) -> None:
    """Puts the repository's address into a page's Binder links, if they have another one."""
    old = page.read_text(encoding="utf-8")
    new = BINDER.sub(binder_base(), old)
    if new != old:
        page.write_text(new, encoding="utf-8")


def readme_picture() -> str:
    """*A photograph or a window?* of lesson 02, moving by itself."""
    return moving(
        [frame.svg for frame in scenes.photograph_frames()],
        still=12,
        title="A state dict is a window on the model; a deep copy is a photograph",
        alt="Twenty training steps. The numbers of the model move, those of its state dict move with them, "
        "those of a deep copy stand still.",
    )


def main(names: list[str]) -> None:
    """Refreshes the notebooks whose paths are given, or all, and the README's links and picture."""
    readdress(ROOT / "README.md")
    PICTURE.write_text(readme_picture(), encoding="utf-8")
    INDEX.write_text(symptoms.index(), encoding="utf-8")
    paths = [Path(name) for name in names] or sorted((ROOT / "notebooks").rglob("*.ipynb"))
    paths = [path for path in paths if ".ipynb_checkpoints" not in path.parts]
    with ThreadPoolExecutor(2) as pool:
        changed = [path for path, new in zip(paths, tqdm(pool.map(refresh, paths), total=len(paths), unit="notebook")) if new]
    print(f"{len(changed)} of {len(paths)} changed", *(path.name for path in changed), sep="\n  ")


if __name__ == "__main__":
    main(sys.argv[1:])
