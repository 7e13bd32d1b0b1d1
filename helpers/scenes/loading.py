"""Scenes of lesson 10: what a way to load takes, in a real process of its own, against the weights themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from helpers import draw
from helpers.draw import Picture

LAYERS, WIDTH = 12, 2048
WEIGHTS = LAYERS * WIDTH * WIDTH * 4
MEASURE = f"""
import json, re, sys
from pathlib import Path
import torch
from safetensors.torch import load_file
from torch import nn

path, status = Path(sys.argv[1]), Path("/proc/self/status")

def build():
    return nn.Sequential(*(nn.Linear({WIDTH}, {WIDTH}, bias=False) for _ in range({LAYERS})))

def memory(line):
    if status.exists():
        return 1024 * int(re.search(line + r":\\s+(\\d+)", status.read_text())[1])
    try:
        import resource
    except ImportError:
        import psutil
        return psutil.Process().memory_info().peak_wset
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

base, pages = memory("VmHWM"), memory("RssFile")
measured = []

def look():
    share = (memory("VmHWM") - base) / {WEIGHTS}
    measured.append([share, (memory("RssFile") - pages) / {WEIGHTS} if status.exists() else share])
"""
ONE_USE = """
look()
if "model" in globals():
    model(torch.ones(1, model[0].in_features, dtype=model[0].weight.dtype))
look()
print(json.dumps(measured))
"""
TOUCH = """
state = torch.load(path, weights_only=True, mmap=True)
look()
for tensor in state.values():
    tensor.sum()
    look()
print(json.dumps(measured))
"""


@lru_cache
def _run(code: str, path: Path) -> list[list[float]]:
    ended = subprocess.run([sys.executable, "-c", MEASURE + code, str(path)], capture_output=True, text=True, timeout=120)
    if ended.returncode:
        raise RuntimeError(f"The process ended with {ended.returncode}: {ended.stderr.strip()[-300:]}")
    return json.loads(ended.stdout)


def _quarters(share: float) -> float:
    """A share of the weights to the next quarter, which is the same on every machine."""
    return round(4 * share) / 4


def measured(codes: Iterable[str], path: Path) -> Iterator[tuple[float, float]]:
    """Most memory that a process had after each code, and after one use of its `model`, in weights; two run at a time.

    `path` is the file of weights, `build()` makes the model. What the process had before is not counted. Linux counts
    pages of mapped files too.
    """
    with ThreadPoolExecutor(2) as pool:
        for (loaded, _), (used, _) in pool.map(lambda code: _run(code + ONE_USE, path), codes):
            yield _quarters(loaded), _quarters(used)


def touch_frames(path: Path) -> list[Picture]:
    """A file is mapped, and one tensor after the other is summed: how much of it is in memory then."""
    frames = []
    for touched, (_, share) in enumerate(_run(TOUCH, path)):
        there = round(LAYERS * share) * WEIGHTS // LAYERS
        title = f"{touched} of {LAYERS} tensors touched: {100 * there // WEIGHTS} % of the file is in memory"
        frames.append(draw.bars(title, [("the file", [("value", WEIGHTS)]), ("in memory", [("parameter", there)])]))
    return frames


class Loads:
    """Ways to load, as code; each is run in a process of its own, once."""

    def __init__(self, ways: Mapping[str, str], path: str | Path) -> None:
        self.ways, self.path = ways, Path(path)

    def run(self, way: str) -> Picture:
        """The peaks of one way, as bars against the weights."""
        [(loaded, used)] = measured([self.ways[way]], self.path)
        rows: Sequence[tuple[str, Sequence[tuple[str, int]]]] = [
            ("twice the weights", [("value", WEIGHTS), ("value", WEIGHTS)]),
            ("peak, loaded", [("parameter", int(loaded * WEIGHTS))]),
            ("peak, used once", [("parameter", int(used * WEIGHTS))]),
        ]
        return draw.bars(f"{way}: {loaded:g} × the weights to load, {used:g} × to use", rows)

    def rows(self) -> Iterator[tuple[draw.Cell, ...]]:
        """All ways, each with what it takes, to be drawn as a table."""
        for way, (loaded, used) in zip(self.ways, measured(self.ways.values(), self.path)):
            yield way, ("yes" if loaded < 2 else "no", f"{loaded:g} ×"), f"{used:g} ×"
