"""A class in which one learner keeps six processes busy: how long another waits, and how many cores the busy one has."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from benchmarks.measure import Line, middle

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "deploy"))

from measure import OpenClass, processes
from visitor import Visitor

LESSON = "02_read_the_state_dict"
SPIN = "import subprocess, sys; busy = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(6)]"


async def _answers(learner: Visitor, count: int = 40) -> list[float]:
    """Seconds of so many calls that the kernel answers."""
    took = []
    for _ in range(count):
        start = time.perf_counter()
        await learner.run("1 + 1")
        took.append(time.perf_counter() - start)
    return took


def _spent(name: str) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes(name))


async def _story(room: OpenClass) -> tuple[list[float], list[float], float]:
    async with room.visitor(1) as quiet, room.visitor(2) as busy:
        for learner in (quiet, busy):
            await learner.log_in()
            await learner.start_kernel(LESSON)
        before = await _answers(quiet)
        await busy.run(SPIN)
        await asyncio.sleep(15)
        spent, start = _spent(busy.name), time.perf_counter()
        during = await _answers(quiet)
        await asyncio.sleep(5)
        return before, during, (_spent(busy.name) - spent) / (time.perf_counter() - start)


def measure() -> list[Line]:
    """Nothing, and why, where no class can be opened."""
    with ExitStack() as opened:
        try:
            room = opened.enter_context(OpenClass(2, "benched", 18300))
        except RuntimeError as refused:
            tqdm.write(f"The class was not measured: {refused}")
            return []
        before, during, cores = asyncio.run(_story(room))
    ratio = middle(during) / middle(before)
    return [
        Line(
            "class: a call to one learner's kernel while another keeps six processes busy",
            f"{1000 * middle(during):.0f} ms",
            f"{ratio:.1f} × the {1000 * middle(before):.0f} ms of a quiet class; the busy one has {cores:.2f} cores",
            "≤ 3 ×, ≤ 1.1 cores",
            ratio <= 3 and cores <= 1.1,
        )
    ]
