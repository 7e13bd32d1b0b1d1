"""Runs every test, layer by layer, and says at the end what passed. `make test` calls it.

Two layers run at a time: one that computes beside one that mostly waits for a server or a browser, as long as there are both.
With names as arguments only those layers run: `python tests/run.py browser class`. `make check` runs `quick`: what a small
change needs. Threads of torch that have nothing to do sleep: where several processes share the cores, waiting awake takes
half of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "notebooks")]

from beats import write_variants  # noqa: E402
from warm import kernels  # noqa: E402

PYTEST = ["-m", "pytest"]
TWO = ["-n", "2", "--dist", "worksteal"]
NBVAL = [
    *("--nbval", "--nbval-cell-timeout=3600", "--nbval-kernel-startup-timeout=600"),
    *("-n", "2", "--dist", "loadscope", "-p", "no:cacheprovider"),
]
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
KEPT = {"PYTHONDONTWRITEBYTECODE": "", "OMP_WAIT_POLICY": "passive"}
PRINTING, CHOOSING = threading.Lock(), threading.Lock()


@dataclass(frozen=True)
class Layer:
    """What Python is called with, one call after the other, and the environment on top of this one.

    Whether it waits; whether it has run the same notebooks elsewhere too, so that its kernels may begin with torch imported.
    """

    calls: Sequence[Sequence[str]]
    environment: dict[str, str] = field(default_factory=dict)
    waits: bool = False
    warm: bool = False


def layers(variants: Path) -> dict[str, Layer]:
    """Every layer of `make test` by its name; `variants` is the folder of the notebooks in which each beat stands twice."""
    outside = [f"--rootdir={variants}", "-c", os.devnull]
    plainest = {"ATEN_CPU_CAPABILITY": "default", **ONE_THREAD}
    lint = [["-m", "ruff", "check", "."], ["-m", "ruff", "format", "--check", "."], ["-m", "mypy"]]
    return {
        "lint and types": Layer(lint, waits=True),
        "unit": Layer([[*PYTEST, "tests/unit", "tests/exercises", "tests/notebooks", *TWO]], ONE_THREAD, warm=True),
        "notebooks": Layer([[*PYTEST, "notebooks", *NBVAL]]),
        "notebooks, every beat twice, on the plainest CPU kernels": Layer(
            [[*PYTEST, str(variants), *NBVAL, *outside]], plainest, warm=True
        ),
        "faults": Layer([[*PYTEST, "tests/faults", *TWO]]),
        "site and slides": Layer([[*PYTEST, "tests/publish", *TWO]], ONE_THREAD, warm=True),
        "browser": Layer([[*PYTEST, "tests/browser"]], waits=True, warm=True),
        "front door": Layer([[*PYTEST, "tests/front_door"]], waits=True),
        "class": Layer([[*PYTEST, "tests/deploy"]], waits=True),
        "real files": Layer([[*PYTEST, "tests/real"]], waits=True),
    }


def quick(variants: Path) -> dict[str, Layer]:
    """The layers of `make check`: no notebook but those that differ from the last commit, no unit test that is `long`."""
    asked = ("git", "status", "--porcelain", "--no-renames", "-z", "--untracked-files=all", "notebooks")
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    changed = [line[3:] for line in told if line.endswith(".ipynb") and (ROOT / line[3:]).is_file()]
    chosen = {name: layer for name, layer in layers(variants).items() if name in ("lint and types", "unit")}
    chosen["unit"] = replace(chosen["unit"], calls=[[*chosen["unit"].calls[0], "-m", "not long"]], warm=False)
    return chosen | ({"changed notebooks": Layer([[*PYTEST, *changed, *NBVAL]])} if changed else {})


def run(name: str, layer: Layer) -> tuple[str, int, float]:
    """Runs one layer and prints what it said, whole; its name, the first code that is not 0, and the seconds."""
    start, said, codes = time.monotonic(), "", []
    own = {**os.environ, **KEPT, **layer.environment}
    with tempfile.TemporaryDirectory() as folder, kernels(Path(folder), own) if layer.warm else nullcontext(own) as environment:
        for call in layer.calls:
            done = subprocess.run(
                [sys.executable, *call], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            said += done.stdout
            codes.append(done.returncode)
    with PRINTING:
        print(f"\n== {name}\n{said}", flush=True)
    return name, next(filter(None, codes), 0), time.monotonic() - start


def taken(left: list[tuple[str, Layer]], waits: bool) -> tuple[str, Layer] | None:
    """The next layer, taken off the list: one that waits, or computes, as asked, else whatever is left."""
    with CHOOSING:
        item = next((item for item in left if item[1].waits == waits), next(reversed(left), None))
        if item:
            left.remove(item)
    return item


def main(wanted: list[str]) -> int:
    """Runs the layers of these names, or all, or the quick ones; 0 if all of them passed."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as lanes:
        write_variants(ROOT / "notebooks", Path(folder))
        known = quick(Path(folder)) if wanted == ["quick"] else layers(Path(folder))
        chosen = known if wanted == ["quick"] else {name: known[name] for name in wanted or known}
        left = [*chosen.items()]

        def lane(waits: bool) -> list[tuple[str, int, float]]:
            done = []
            while item := taken(left, waits):
                done.append(run(*item))
            return done

        results = [result for both in lanes.map(lane, (False, True)) for result in both]
    for name, code, seconds in results:
        print(f"{'passed' if code == 0 else 'FAILED'}  {seconds:5.0f} s  {name}")
    return int(any(code for _, code, _ in results) or not results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
