"""Saving that is killed half way, for the exercises of lessons 07 and 08."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch


def step(path: Path) -> int | None:
    """The step that a checkpoint holds, or None if it can not be loaded."""
    try:
        return int(torch.load(path, weights_only=True)["step"])
    except Exception:
        return None


def dies(work: Callable[[], object]) -> bool:
    """Runs `work` with a torch.save that stops half way: killed, in a process of its own, where there is fork.

    False if `work` ended without having called torch.save.
    """
    forks = hasattr(os, "fork")

    def half(state: object, file: Any, *rest: object, **named: object) -> None:
        if isinstance(file, (str, Path)):
            Path(file).write_bytes(b"PK\x03\x04 half a file")
        else:
            file.write(b"PK\x03\x04 half a file"), file.flush()
        if forks:
            os.kill(os.getpid(), signal.SIGKILL)
        raise KeyboardInterrupt

    with mock.patch("torch.save", half):
        if forks:
            child = os.fork()
            if child == 0:
                try:
                    work()
                finally:
                    os._exit(0)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        try:
            work()
        except KeyboardInterrupt:
            return True
    return False
