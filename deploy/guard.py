"""Keeps one learner from taking the machine from the others, without systemd or cgroups. The hub starts it.

Whose processes together have more memory than allowed loses the largest of them. Whose processes together keep more cores
busy than allowed for five seconds is held: all threads of theirs run on one core, at the lowest priority, until their
processes have kept less than a tenth of a core busy for five seconds. A learner may widen a process to other cores; the guard
narrows it again, twice a second.
"""

from __future__ import annotations

import os
import sys
import time
import zlib
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
    before, since, held = {}, time.monotonic(), set()
    everywhere = sorted(os.sched_getaffinity(0))
    while True:
        used, spent = measure(learners)
        for name, pid in over(used, megabytes * 2**20):
            with suppress(psutil.Error):
                psutil.Process(pid).kill()
                print(f"{name} was above {megabytes} MB: ended process {pid}.", flush=True)
        passed = time.monotonic() - since
        if passed > 5:
            busy = {name: (spent[name] - before[name]) / passed for name in spent if name in before}
            for name in [name for name in held if busy.get(name, 0) < 0.1]:
                held.remove(name)
                keep_on(used[name], everywhere)
            held |= {name for name in busy if busy[name] > cores}
            before, since = spent, time.monotonic()
        for name in held:
            keep_on(used[name], [everywhere[zlib.crc32(name.encode()) % len(everywhere)]], lowest=True)
        time.sleep(0.5)


def keep_on(pids: Iterable[int], cores: list[int], lowest: bool = False) -> None:
    """Lets each thread of these processes run on these cores only: Linux sets both for each thread by itself."""
    for pid in pids:
        with suppress(OSError):
            for thread in map(int, os.listdir(f"/proc/{pid}/task")):
                os.sched_setaffinity(thread, cores)
                if lowest:
                    os.setpriority(os.PRIO_PROCESS, thread, 19)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), set(sys.argv[3:]))
