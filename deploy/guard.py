"""Keeps one learner from taking the machine from the others, without systemd or cgroups. The hub starts it.

Whose processes together have more memory than allowed loses the largest of them. Whose processes together keep more cores
busy than allowed has all of them at the lowest priority, for good: only root could raise it again.
"""
from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

import psutil


def over(used: dict[str, dict[int, int]], most: int) -> list[tuple[str, int]]:
    """For each learner above `most` bytes, the name and the process that has the most of them."""
    return [(name, max(held, key=held.__getitem__)) for name, held in used.items() if sum(held.values()) > most]


def measure(learners: set[str]) -> tuple[dict[str, dict[int, int]], dict[str, float]]:
    """Learner → process → bytes that are its own (USS); learner → seconds of CPU of all processes that live."""
    used: dict[str, dict[int, int]] = defaultdict(dict)
    spent: dict[str, float] = defaultdict(float)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            name = process.username()
            if name in learners:
                used[name][process.pid] = process.memory_full_info().uss
                spent[name] += sum(process.cpu_times()[:2])
    return used, spent


def main(megabytes: int, cores: float, learners: set[str]) -> None:
    """Looks twice a second at memory, and at what was spent on CPU in the last five seconds, for ever."""
    before, since = {}, time.monotonic()
    while True:
        used, spent = measure(learners)
        for name, pid in over(used, megabytes * 2**20):
            with suppress(psutil.Error):
                psutil.Process(pid).kill()
                print(f"{name} was above {megabytes} MB: ended process {pid}.", flush=True)
        passed = time.monotonic() - since
        if passed > 5:
            for name in [name for name in spent if name in before and spent[name] - before[name] > cores * passed]:
                lower(used[name])
            before, since = spent, time.monotonic()
        time.sleep(0.5)


def lower(pids: Iterable[int]) -> None:
    """Gives processes the lowest priority."""
    for pid in pids:
        with suppress(psutil.Error):
            psutil.Process(pid).nice(19)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), set(sys.argv[3:]))
