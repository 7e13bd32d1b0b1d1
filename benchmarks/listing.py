"""Naming what is in a state dict and in a file, against what else names it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from benchmarks.measure import Line, middle
from helpers import describe, draw

GIBIBYTE = 2**30
FILE_LISTING = """
import json, sys, time
import torch
from benchmarks.measure import resident
from helpers import describe

def ours(path):
    return [(row.key, row.shape, row.bytes) for row in describe.describe(describe.read_file(path))]

def baseline(path):
    loaded = torch.load(path, mmap=True, weights_only=True)
    return [(key, tuple(value.shape), value.nbytes) for key, value in loaded.items()]

path, name = sys.argv[1], sys.argv[2]
for warm in (sys.argv[3], sys.argv[3]):
    {"ours": ours, "baseline": baseline}[name](warm)
open("/proc/self/clear_refs", "w").write("5")
before, start = resident("VmRSS"), time.perf_counter()
rows = {"ours": ours, "baseline": baseline}[name](path)
took = time.perf_counter() - start
assert len(rows) == 64 and sum(size for _, _, size in rows) == 4 * 2**30
print(json.dumps([1000 * took, resident("VmHWM") - before]))
"""


def _milliseconds(call: Callable[[], object], times: int = 7) -> float:
    """Milliseconds of the median call."""
    call()
    took = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - start))
    return middle(took)


def ten_thousand() -> list[Line]:
    """Rows and picture of 10,000 meta tensors against three texts of the same."""
    import lovely_tensors
    import torchinfo

    with torch.device("meta"):
        model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(5_000)))
    state = model.state_dict()
    ours = _milliseconds(lambda: draw.state_dict(state))
    rows = _milliseconds(lambda: describe.describe(state))
    others = {
        "`repr`": _milliseconds(lambda: repr(state), 3),
        "torchinfo": _milliseconds(lambda: str(torchinfo.summary(model, verbose=0)), 3),
        "lovely-tensors": _milliseconds(lambda: [str(lovely_tensors.lovely(t)) for t in state.values()], 3),
    }
    said = ", ".join(f"{name} {took / ours:.1f} ×" for name, took in others.items())
    return [
        Line(
            "list and draw 10,000 meta tensors",
            f"{ours:.0f} ms (rows alone {rows:.0f} ms)",
            f"as long: {said}",
            "no longer than any of them",
            ours <= min(others.values()),
        )
    ]


def four_gibibytes(repeats: int = 7) -> list[Line]:
    """Names, shapes and bytes of a 4 GiB file, each time in a fresh process, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "large.pth", Path(folder) / "small.pth"
        torch.save({f"layer.{k}": torch.zeros(GIBIBYTE // 64) for k in range(64)}, path)
        torch.save({"weight": torch.zeros(1)}, small)
        found: dict[str, list[list[float]]] = {"ours": [], "baseline": []}
        for _ in tqdm(range(repeats), desc="4 GiB file"):
            for name, measured in found.items():
                done = subprocess.run(
                    [sys.executable, "-c", FILE_LISTING, str(path), name, str(small)],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                measured.append(json.loads(done.stdout))
    took = {name: middle([ms for ms, _ in values]) for name, values in found.items()}
    memory = {name: max(mb for _, mb in values) for name, values in found.items()}
    ratio = took["ours"] / took["baseline"]
    return [
        Line(
            "names, shapes, bytes of a 4 GiB file",
            f"{took['ours']:.1f} ms, {memory['ours']:.1f} MB",
            f"{ratio:.2f} × the time of `torch.load(mmap=True)`, {took['baseline']:.1f} ms, {memory['baseline']:.1f} MB",
            "≤ 2 ×, ≤ 10 MB",
            ratio <= 2 and memory["ours"] <= 10,
        )
    ]
