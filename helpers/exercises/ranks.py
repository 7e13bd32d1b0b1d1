"""Ranks in one process, for the exercises of lesson 11: each is a thread, one runs at a time, the highest number first."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from helpers.exercises.states import reason

RANKS, SECONDS = 3, 5


POLLS = (
    "neither ends nor meets the others, as in a loop that looks for the file: an old file would end it; wait() is the barrier"
)


class Stuck(Exception):
    """Some ranks wait in a call that another one never makes."""


class _Left(BaseException):
    """Ends the thread of a rank that would wait for ever."""


class Meeting:
    """The calls in which all ranks meet: `wait()`, and `mean(number)`."""

    def __init__(self, work: Callable[[int, Meeting], Any], seen: Callable[[int, bool], str | None]) -> None:
        self.work, self.seen = work, seen
        self.go = [threading.Semaphore(0) for _ in range(RANKS)]
        self.back = threading.Semaphore(0)
        self.rank, self.stuck, self.polls, self.mean_of_all = 0, False, False, 0.0
        self.calls: dict[int, tuple[str, Any]] = {}
        self.ended: dict[int, Any] = {}

    def meet(self, name: str, value: Any = None) -> None:
        """Stops the running rank until all others have made the same call."""
        rank = self.rank
        self.calls[rank] = name, value
        self.back.release()
        self.go[rank].acquire()
        if self.stuck:
            raise _Left

    def wait(self) -> None:
        """What `dist.barrier()` does."""
        self.meet("wait")

    def mean(self, number: Any) -> float:
        """The mean over all ranks, as `dist.all_reduce` gives it."""
        self.meet("mean", float(number))
        return self.mean_of_all

    def _live(self, rank: int) -> None:
        self.go[rank].acquire()
        if self.stuck:
            return
        try:
            self.ended[rank] = self.work(rank, self)
        except _Left:
            pass
        except BaseException as error:
            self.ended[rank] = error
        self.back.release()

    def held(self) -> list[Any]:
        """What each rank returned, in order. Raises Stuck, what a rank raised, or ValueError with what `seen` said."""
        threads = [threading.Thread(target=self._live, args=(rank,), daemon=True) for rank in range(RANKS)]
        for thread in threads:
            thread.start()
        try:
            while len(self.ended) < RANKS:
                self._round()
        finally:
            self.stuck = True
            for semaphore in self.go:
                semaphore.release()
            if self.polls:
                ident = ctypes.c_ulong(threads[self.rank].ident or 0)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(_Left))
            for thread in threads:
                thread.join(1)
        return [self.ended[rank] for rank in range(RANKS)]

    def _round(self) -> None:
        self.calls.clear()
        for rank in sorted(set(range(RANKS)) - self.ended.keys(), reverse=True):
            self.rank = rank
            self.go[rank].release()
            if not self.back.acquire(timeout=SECONDS):
                self.polls = True
                raise Stuck(f"rank {rank} {POLLS}")
            if isinstance(self.ended.get(rank), BaseException):
                raise self.ended[rank]
            if said := self.seen(rank, rank in self.ended):
                raise ValueError(said)
        if self.calls and self.ended:
            rank, other = max(self.calls), min(self.ended)
            raise Stuck(f"rank {rank} waits for ever in {self.calls[rank][0]}(), which rank {other} never calls")
        if len(names := {name: rank for rank, (name, _) in self.calls.items()}) > 1:
            raise Stuck(f"rank {names['wait']} is in wait(), and rank {names['mean']} in mean(): both wait for ever")
        if "mean" in names:
            self.mean_of_all = sum(value for _, value in self.calls.values()) / RANKS


def together(work: Callable[[int, Meeting], Any], path: Path, wanted: int) -> tuple[list[Any], str | None]:
    """What each rank returns, and what to say if one of them ends before the file at the path holds the step wanted.

    Raises what a `Meeting` does, and ValueError if another rank than 0 writes.
    """
    early: list[int] = []
    given = Meeting(work, partial(_looked_at, path, wanted, early, [files(path.parent)])).held()
    words = f"Rank {early[0]} goes on before rank 0 has written: it would read no file, or an old one." if early else None
    return given, words


def _looked_at(path: Path, wanted: int, early: list[int], last: list[dict[str, bytes]], rank: int, ended: bool) -> str | None:
    now, before = files(path.parent), last.pop()
    last.append(now)
    early += [rank] * (ended and step(path) != wanted)
    return f"Rank {rank} writes too: only rank 0 should, as the file must be rank 0's." if rank and now != before else None


def files(folder: Path) -> dict[str, bytes]:
    """Every file of the folder with its bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def means(losses: Sequence[float]) -> float:
    """The mean as the ranks compute it."""
    return sum(float(loss) for loss in reversed(losses)) / RANKS


def told(error: BaseException, words: str) -> str:
    """What to say of an error that a rank raised, or of ranks that wait for ever."""
    if isinstance(error, Stuck):
        return f"{words}: {error}."
    return str(error) if type(error) is ValueError and str(error).startswith("Rank") else f"{words} it fails: {reason(error)}"


def step(path: Path) -> int | None:
    """The step of the checkpoint at the path, None if there is no whole one."""
    try:
        return int(torch.load(path, weights_only=True)["step"])
    except Exception:
        return None


def state(step: int) -> dict[str, Tensor]:
    """The checkpoint of a step."""
    return {"step": torch.tensor(step), "weight": torch.full((2, 2), float(step))}
