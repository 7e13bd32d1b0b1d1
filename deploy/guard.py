"""Ends the largest process of a learner whose processes together have more memory than allowed. The hub starts it."""
from __future__ import annotations

import sys
import time
from collections import defaultdict
from contextlib import suppress

import psutil


def over(used: dict[str, dict[int, int]], most: int) -> list[tuple[str, int]]:
    """For each learner above `most` bytes, the name and the process that has the most of them."""
    return [(name, max(held, key=held.__getitem__)) for name, held in used.items() if sum(held.values()) > most]


def measure(learners: set[str]) -> dict[str, dict[int, int]]:
    """Learner → process → bytes that are its own (USS)."""
    used: dict[str, dict[int, int]] = defaultdict(dict)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.username() in learners:
                used[process.username()][process.pid] = process.memory_full_info().uss
    return used


def main(megabytes: int, learners: set[str]) -> None:
    """Looks twice a second, for ever."""
    while True:
        for name, pid in over(measure(learners), megabytes * 2**20):
            with suppress(psutil.Error):
                psutil.Process(pid).kill()
                print(f"{name} was above {megabytes} MB: ended process {pid}.", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main(int(sys.argv[1]), set(sys.argv[2:]))
