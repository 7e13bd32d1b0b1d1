"""N learners at once on this machine: log in, open lesson 03, run all, move a slider. Prints a table for deploy/README.md.

`python -m benchmarks.room 1 5 10 20`, as root. Learners come without browsers, so that only the class is measured.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
from tqdm import tqdm

from benchmarks.visitor import Visitor

CLASSROOM = Path(__file__).resolve().parents[1] / "deploy" / "classroom.py"
PREFIX, LESSON = "measured", "03_inside_the_optimizer"


class OpenClass:
    """A class of so many learners on loopback, ended and removed when the context is left."""

    def __init__(self, users: int, prefix: str, port: int, *more: str) -> None:
        scheme = "https" if any(word.startswith("--cert") for word in more) else "http"
        self.users, self.prefix, self.port, self.hub = users, prefix, port, f"{scheme}://class.localhost:{port}"
        self.folder = tempfile.TemporaryDirectory(prefix="class-", dir="/var/lib")
        Path(self.folder.name).chmod(0o711)
        self.run, self.output = Path(self.folder.name) / "run", Path(self.folder.name) / "output"
        self.command = [sys.executable, str(CLASSROOM), f"--prefix={prefix}", f"--run={self.run}"]
        self.start = [*self.command, f"--users={users}", f"--port={port}", *more]
        self.stdin = subprocess.DEVNULL
        self.keys: dict[str, str] = {}

    def open(self) -> OpenClass:
        """Starts the class, and waits until it answers."""
        with open(self.output, "w") as output:
            self.process = subprocess.Popen(self.start, stdin=self.stdin, stdout=output, stderr=subprocess.STDOUT)
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        end = time.monotonic() + 180
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(
                    f"{self.hub.replace('class.localhost', '127.0.0.1')}/hub/health", timeout=2, context=trusting
                )
                break
            except OSError:
                time.sleep(0.3)
        else:
            said = self.output.read_text() + self.log()[-3000:]
            self.__exit__()
            raise RuntimeError(said)
        lines = [line.split() for line in self.output.read_text().splitlines() if line.startswith(self.prefix)]
        self.keys |= dict(lines)
        return self

    __enter__ = open

    def log(self) -> str:
        """What the hub has said so far."""
        return (self.run / "hub.log").read_text() if (self.run / "hub.log").exists() else ""

    def visitor(self, number: int) -> Visitor:
        """Learner `number`, from 1."""
        name = f"{self.prefix}{number:02d}"
        return Visitor(self.hub, name, self.keys[name])

    def end(self) -> None:
        """Ends the class as Control-C does; `left` is what its learners still run then."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.left = processes(self.prefix)

    def __exit__(self, *error: object) -> None:
        self.end()
        subprocess.run([*self.command, "--remove"], check=True)
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
