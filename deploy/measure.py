"""N learners at once on this machine: log in, open lesson 03, run all, move a slider. Prints a table for deploy/README.md.

`python deploy/measure.py 1 5 10 20`, as root. Learners come without browsers, so that only the class is measured.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
from tqdm import tqdm

from visitor import Visitor

PREFIX, LESSON = "measured", "03_inside_the_optimizer"


class OpenClass:
    """A class of so many learners on loopback, ended and removed when the context is left."""

    def __init__(self, users: int, prefix: str, port: int, *more: str) -> None:
        self.users, self.prefix, self.hub = users, prefix, f"http://127.0.0.1:{port}"
        self.folder = tempfile.TemporaryDirectory(prefix="class-", dir="/var/tmp")
        self.run = Path(self.folder.name) / "run"
        self.command = [
            sys.executable,
            str(Path(__file__).with_name("classroom.py")),
            f"--users={users}",
            f"--prefix={prefix}",
            f"--port={port}",
            f"--run={self.run}",
            *more,
        ]
        self.environment = {**os.environ, "CLASS_PASSWORD": secrets.token_hex(12)}

    def __enter__(self) -> OpenClass:
        with open(Path(self.folder.name) / "log", "w") as log:
            self.process = subprocess.Popen(self.command, env=self.environment, stdout=log, stderr=subprocess.STDOUT)
        end = time.monotonic() + 180
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.hub}/hub/health", timeout=2)
                break
            except OSError:
                time.sleep(0.3)
        else:
            said = self.log()[-3000:]
            self.__exit__()
            raise RuntimeError(said)
        self.keys = dict(line.split() for line in (self.run / "keys.txt").read_text().splitlines())
        return self

    def log(self) -> str:
        """What the hub has said so far."""
        return (Path(self.folder.name) / "log").read_text()

    def visitor(self, number: int) -> Visitor:
        """Learner `number`, from 1."""
        name = f"{self.prefix}{number:02d}"
        return Visitor(self.hub, name, self.keys[name])

    def __exit__(self, *error: object) -> None:
        below = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            for process in [*below, self.process]:
                process.kill()
            self.process.wait()
        self.left = [one for one in processes(self.prefix) if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        for process in self.left:
            with suppress(psutil.Error):
                process.kill()
        subprocess.run([*self.command, "--remove"], env=self.environment, check=True)
        self.folder.cleanup()


async def visit(visitor: Visitor) -> list[float]:
    """Seconds to: a server, all cells run, a moved slider's picture."""
    async with visitor:
        start = time.monotonic()
        await visitor.log_in()
        there = time.monotonic()
        await visitor.start_kernel(LESSON)
        await visitor.run_lesson(LESSON)
        ran = time.monotonic()
        moved = [await visitor.move("learning rate", 0.02 + 0.01 * k) for k in range(10)]
        return [there - start, ran - there, sorted(moved)[len(moved) // 2]]


def processes(prefix: str) -> list[psutil.Process]:
    """All processes of the learners."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.username().startswith(prefix) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def memory(prefix: str) -> float:
    """MB of all processes of the learners, shared pages divided among those that share them (PSS)."""
    total = 0
    for process in processes(prefix):
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total / 2**20


async def together(room: OpenClass) -> list[list[float]]:
    """All learners of the room at the same time."""
    return await asyncio.gather(*(visit(room.visitor(k + 1)) for k in range(room.users)))


def main(counts: list[int]) -> None:
    """One table line for each number of learners."""
    columns = ("learners at once", *(f"{what}, median / last" for what in ("server ready", "lesson 03 run", "slider")))
    print(f"| {' | '.join(columns)} | memory a learner |\n|---|---|---|---|---|")
    for count in tqdm(counts, "classes"):
        with OpenClass(count, PREFIX, 18100) as room:
            columns = list(zip(*asyncio.run(together(room))))
            cells = [f"{sorted(c)[len(c) // 2]:.2g} s / {max(c):.2g} s" for c in columns]
            tqdm.write(f"| {count} | {' | '.join(cells)} | {memory(PREFIX) / count:.0f} MB |")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1, 5, 10, 20])
