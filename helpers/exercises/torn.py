"""A save that is killed at every moment, and what it leaves, for the exercises of lessons 07 and 08."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

Save = Callable[[dict[str, torch.Tensor], Path], object]
MOMENTS, PIECE, SECONDS, ELSEWHERE = 40, 20_000, 10, 99
TORN = "Killed in the middle of the save, your function leaves a torn file at the path, and neither the old nor the new state."


def state(step: int) -> dict[str, torch.Tensor]:
    """The checkpoint of a step; to write it takes several pieces."""
    return {"step": torch.tensor(step), "weight": torch.full((30_000,), float(step))}


def step(path: Path) -> int | None:
    """The step of the whole checkpoint at `path`, or None if there is none."""
    try:
        loaded = torch.load(path, weights_only=True)
        number = int(loaded["step"])
        return number if torch.equal(loaded["weight"], state(number)["weight"]) else None
    except Exception:
        return None


def fault(save: Save, path: Path) -> str | None:
    """What is wrong with the file at `path`, whenever `save` is killed; None if nothing is."""
    save(state(1), path)
    if not path.is_file():
        return "After your function there is no file at the path."
    if step(path) != 1:
        return "After your function the file at the path does not load as what was given."
    if found := (_killed_at_every_moment if hasattr(os, "fork") else _written_over)(save, path):
        return found
    try:
        save(state(3), path)
    except Exception as error:
        return f"A save after one that was killed fails on what that one left: {type(error).__name__}."
    return None if step(path) == 3 else "A later save did not arrive at the path."


def _killed_at_every_moment(save: Save, path: Path) -> str | None:
    whole, ended = path.read_bytes(), -1
    for moment in range(MOMENTS):
        for writing in (True, False):
            ended = _killed(lambda: save(state(2), path), path, moment, writing)
            if ended == ELSEWHERE:
                return "You rename a file of another folder. That may be another disk, where it fails or is a slow copy."
            if ended == -signal.SIGALRM:
                return f"Your function did not end in {SECONDS} seconds."
            if not path.exists():
                return "Killed between two of its steps, your function leaves no file at the path: the old one goes too early."
            if step(path) not in (1, 2):
                return TORN
            path.write_bytes(whole)
        if ended == 0:
            break
    return None


def _written_over(save: Save, path: Path) -> str | None:
    """Where nothing can fork: whether the file that stood at the path is still whole under a second name."""
    second, whole = path.with_name("second name"), path.read_bytes()
    try:
        os.link(path, second)
    except OSError:
        return None
    save(state(2), path)
    return None if second.read_bytes() == whole else TORN


def _killed(work: Callable[[], object], path: Path, moment: int, writing: bool) -> int:
    """Runs `work` in a process of its own that is killed; its exit code, ELSEWHERE if it moves in a file of another folder.

    The kill comes at the `moment`th call about the folder of `path`; if `writing`, in the middle of the next write after it.
    """
    with warnings.catch_warnings(action="ignore"):
        child = os.fork()
    if child == 0:
        try:
            _die(work, path, moment, writing)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _die(work: Callable[[], object], path: Path, moment: int, writing: bool) -> None:
    import resource

    calls, folder = 0, str(path.parent)

    def strike() -> None:
        if not writing:
            os.kill(os.getpid(), signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (PIECE, PIECE))

    def look(event: str, arguments: tuple) -> None:
        nonlocal calls
        paths = [os.fsdecode(part) for part in arguments if isinstance(part, (str, bytes, os.PathLike))]
        if not any(name.startswith(folder) for name in paths):
            return
        if event == "os.rename" and paths[1] == str(path) and not paths[0].startswith(folder):
            os._exit(ELSEWHERE)
        calls += 1
        if calls == moment:
            strike()

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        sys.addaudithook(look)
        if moment == 0:
            strike()
        work()


@contextlib.contextmanager
def _watched(real: Any, spy: Callable) -> Iterator[None]:
    """Whoever holds the function `real`, under whatever name, holds `spy` meanwhile."""
    holders = [holder for holder in gc.get_referrers(real) if isinstance(holder, dict)]
    names = [(holder, name) for holder in holders for name, value in holder.items() if value is real]
    for holder, name in names:
        holder[name] = spy
    try:
        yield
    finally:
        for holder, name in names:
            holder[name] = real


def unflushed(save: Save, path: Path) -> str | None:
    """What would be lost in a power cut, though not in a kill; None if the new file is on disk before its rename."""
    flushed: list[tuple[os.stat_result, bool]] = []

    def spy(real: Callable) -> Callable:
        def call(*one: Any) -> None:
            files = one or [file for file in path.parent.iterdir() if file.is_file()]
            found = [os.stat(file if isinstance(file, (int, Path)) else file.fileno()) for file in files]
            flushed.extend((file, os.path.samestat(file, path.stat())) for file in found)
            real(*one)

        return call

    with contextlib.ExitStack() as stack:
        for name in ("fsync", "fdatasync", "sync"):
            if real := getattr(os, name, None):
                stack.enter_context(_watched(real, spy(real)))
        save(state(4), path)
    new, before = path.stat(), "After a power cut the file at the path may be empty: "
    ours = [(file.st_size, there) for file, there in flushed if os.path.samestat(file, new)]
    if not flushed:
        return f"{before}call os.fsync on the new file before the rename."
    if not ours:
        return f"{before}os.fsync was called, but not on the new file."
    if all(there for _, there in ours):
        return f"{before}os.fsync came after the rename; it comes before."
    most = max(size for size, there in ours if not there)
    if most < new.st_size:
        return f"{before}at os.fsync the file had {most} of its {new.st_size} bytes. Write, flush(), then os.fsync."
    return None if step(path) == 4 else "A later save did not arrive at the path."
