"""The folder that is built into: only one that is empty or that was built before is ever emptied."""

from __future__ import annotations

import shutil
from pathlib import Path

MARK = ".built-by-publish"


def check(out: Path) -> None:
    """Raises FileExistsError, with one sentence, if `out` is anything but a free place, an empty folder or one of ours."""
    if out.is_symlink():
        raise FileExistsError(f"{out} is a link; wanted a folder. Name the folder itself, or another one.")
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; wanted a folder. Name another one.")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise FileExistsError(
            f"{out} holds files that were not built here, and would lose them. Name an empty or a new folder."
        )


def emptied(out: Path) -> Path:
    """`out` as an empty folder with our mark. Raises FileExistsError as `check` does."""
    check(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).write_text("`python -m publish` built this, and empties the folder when it builds again.\n", encoding="utf-8")
    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARK:
            path.unlink()
    return out
