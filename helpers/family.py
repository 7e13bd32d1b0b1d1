"""Files of one folder that belong together: their names differ in the last number only."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:
    fcntl = None


def newest(folder: str | Path, pattern: str = "*.pth") -> Path | None:
    """The file with the highest last number in its name, or None; whether it is whole, only `load` can say.

    Raises ValueError if the names differ in more than that number: then `pattern` must say which are meant.
    """
    found = {path: _parted(path.name) for path in Path(folder).glob(pattern)}
    families = sorted({f"{head}*{tail}" for head, number, tail in found.values() if number >= 0})
    if len(families) > 1:
        raise ValueError(f"Got files named {' and '.join(families)} in {Path(folder).name!r}; wanted one kind. Pass pattern=.")
    return max(found, key=lambda path: found[path][1], default=None)


def best(folder: str | Path) -> Path | None:
    """The file last saved with `best=True`, or None."""
    pointer = Path(folder) / "best"
    return pointer.with_name(pointer.read_text(encoding="utf-8")) if pointer.is_file() else None


def up_to(path: Path) -> list[Path]:
    """The files whose names differ from this one's only in a smaller last number, in the order of that; then this one."""
    head, number, tail = _parted(path.name)
    older = {_parted(other.name): other for other in path.parent.glob("*") if number >= 0}
    return [
        other
        for (first, step, last), other in sorted(older.items(), key=lambda item: item[0][1])
        if (first, last) == (head, tail) and 0 <= step < number
    ] + [path]


def prune(target: Path, keep: int) -> None:
    """Deletes the earlier files but for the last `keep`, this one among them, and the best."""
    kept = best(target.parent)
    for old in up_to(target)[:-keep]:
        if old != kept:
            old.unlink(missing_ok=True)


def point(target: Path) -> None:
    """Makes this file the best one: its name is written into the file `best` beside it."""
    part = target.with_name(".best.part")
    part.write_text(target.name, encoding="utf-8")
    os.replace(part, target.with_name("best"))
    flush_folder(target.parent)


def sweep(folder: Path, name: str) -> None:
    """Deletes what a killed `save` of such a name left in the folder; a file that somebody still writes stays."""
    for part in [part for part in os.listdir(folder) if part.endswith(".part")]:
        head, _, tail = _parted(name)
        if part.startswith(f".{head}") and part[: -len(".12345678.part")].endswith(tail):
            with suppress(OSError):
                with open(folder / part, "rb") as file:
                    if fcntl:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (folder / part).unlink()


def flush_folder(folder: Path) -> None:
    """Makes a rename last; does nothing where a folder can not be opened, as on Windows."""
    with suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _parted(name: str) -> tuple[str, int, str]:
    """A name as what stands before its last number, the number (−1 if there is none), and what follows."""
    found = re.fullmatch(r"(.*?)(\d+)(\D*)", name)
    return (found[1], int(found[2]), found[3]) if found else (name, -1, "")
