"""A class in which one learner is a hog, of each kind: how long another waits, and how many cores the hog has."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import ExitStack

from tqdm import tqdm

from benchmarks.measure import Line, middle
from benchmarks.room import CLASSROOM, OpenClass
from benchmarks.visitor import Visitor

sys.path.insert(0, str(CLASSROOM.parent))

from classroom import groups_of

LESSON = "02_read_the_state_dict"
START = "import subprocess, sys; busy = [subprocess.Popen([sys.executable, '-c', {!r}]) for _ in range({})]"
HOGS = {
    "keeps six processes busy": ("while True: pass", 6),
    "forks without end": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", 1),
    "fills /dev/shm": ("while True:\n    try: open('/dev/shm/x', 'ab').write(bytes(1 << 20))\n    except OSError: pass", 1),
    "fills the home": ("while True:\n    try: open('x', 'ab').write(bytes(1 << 20))\n    except OSError: pass", 1),
}


async def _answers(learner: Visitor, count: int = 40) -> list[float]:
    """Seconds of so many calls that the kernel answers."""
    took = []
    for _ in range(count):
        start = time.perf_counter()
        await learner.run("1 + 1")
        took.append(time.perf_counter() - start)
    return took


async def _story(room: OpenClass, hog: str) -> tuple[list[float], list[float], float]:
    async with room.visitor(1) as quiet, room.visitor(2) as busy:
        for learner in (quiet, busy):
            await learner.log_in()
            await learner.start_kernel(LESSON)
        before = await _answers(quiet)
        await busy.send("execute_request", {"code": START.format(*HOGS[hog]), "silent": False, "allow_stdin": False})
        await asyncio.sleep(10)
        use = groups_of(room.run).use
        spent, start = use(busy.name)[1], time.perf_counter()
        during = await _answers(quiet)
        await asyncio.sleep(5)
        cores = (use(busy.name)[1] - spent) / (time.perf_counter() - start)
    await asyncio.to_thread(subprocess.run, [*room.command, f"--stop={busy.name}"], check=True)
    return before, during, cores


def measure() -> list[Line]:
    """Nothing, and why, where no class can be opened."""
    lines = []
    with ExitStack() as opened:
        try:
            room = opened.enter_context(OpenClass(2, "benched", 18300))
        except RuntimeError as refused:
            tqdm.write(f"The class was not measured: {refused}")
            return []
        for hog in tqdm(HOGS, "hogs", leave=False):
            before, during, cores = asyncio.run(_story(room, hog))
            ratio = middle(during) / middle(before)
            lines.append(
                Line(
                    f"class: a call to one learner's kernel while another {hog}",
                    f"{1000 * middle(during):.0f} ms",
                    f"{ratio:.1f} × the {1000 * middle(before):.0f} ms of a quiet class; the busy one has {cores:.2f} cores",
                    "≤ 3 ×, ≤ 1.1 cores",
                    ratio <= 3 and cores <= 1.1,
                )
            )
    return lines
