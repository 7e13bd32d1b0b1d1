"""`helpers.checkpoint` against `torch.save` and `torch.load`, each with the standard library's testzip."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

from tqdm import tqdm

from benchmarks.measure import Line, middle

SIZES = {
    "10 kB": (4, 2_500, 600),
    "10 MB": (4, 2_500_000, 60),
    "1 GB": (4, 250_000_000, 12),
    "10,000 tiny tensors": (10_000, 30_000, 30),
}
RUN = """
import json, os, random, sys, time, zipfile
import torch
from benchmarks.measure import resident
from helpers import checkpoint

def theirs(contents):
    with open(other + ".part", "w+b") as file:
        torch.save(contents, file)
        file.flush()
        os.fsync(file.fileno())
        assert zipfile.ZipFile(file).testzip() is None
    os.replace(other + ".part", other)
    descriptor = os.open(os.path.dirname(other), os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)

def their_load(contents):
    assert zipfile.ZipFile(other).testzip() is None
    torch.load(other, weights_only=True)

count, numbers, folder, times, which = *map(int, sys.argv[1:3]), sys.argv[3], int(sys.argv[4]), sys.argv[5]
large = {"model": {f"layer.{k}": torch.randn(numbers // count) for k in range(count)}}
ours, other = os.path.join(folder, "ours.pth"), os.path.join(folder, "theirs.pth")
calls = {"save": lambda c: checkpoint.save(ours, c), "torch.save": theirs, "bare torch.save": lambda c: torch.save(c, other),
         "load": lambda c: checkpoint.load(ours), "torch.load": their_load}
checkpoint.save(ours, large), torch.save(large, other)
if which == "time":
    took = {name: [] for name in calls}
    dice = random.Random(0)
    for turn in range(times):
        for name in dice.sample(list(calls), len(calls)):
            os.sync()
            start = time.perf_counter()
            calls[name](large)
            took[name].append(time.perf_counter() - start)
    print(json.dumps(took))
else:
    if "load" in which:
        large = None
    open("/proc/self/clear_refs", "w").write("5")
    calls[which](large)
    print(json.dumps(resident("VmHWM")))
"""


def _child(count: int, numbers: int, folder: str, times: int, which: str) -> object:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(count), str(numbers), folder, str(times), which],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def measure() -> list[Line]:
    """Save and load at four sizes: time and peak memory over theirs.

    Each turn is in another order, since what a call finds in the page cache was left by the one before. The promise is
    kept only if it is by the fastest turn and by the median one.
    """
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for size, (count, numbers, times) in tqdm(SIZES.items(), desc="checkpoints"):
            took = {
                name: (1000 * min(seconds), 1000 * middle(seconds))
                for name, seconds in _child(count, numbers, folder, times, "time").items()
            }
            for ours, theirs in (("save", "torch.save"), ("load", "torch.load")):
                peak = _child(count, numbers, folder, 1, ours) / _child(count, numbers, folder, 1, theirs)
                over = [mine / other for mine, other in zip(took[ours], took[theirs], strict=True)]
                bare = f"; {took[ours][0] / took['bare torch.save'][0]:.1f} × one that does not flush" if ours == "save" else ""
                against = (
                    f"{theirs}{', flushed and renamed' if ours == 'save' else ''}, and testzip {_both(took[theirs])} ms{bare}"
                )
                lines.append(
                    Line(
                        f"checkpoint.{ours}, {size}, fastest and median of {times}",
                        f"{_both(took[ours])} ms, {over[0]:.2f} and {over[1]:.2f} ×",
                        f"{against}; peak memory {peak:.2f} ×",
                        "≤ 1.3 × by both, memory ≤ 1.1 ×",
                        max(over) <= 1.3 and peak <= 1.1,
                    )
                )
    return lines


def _both(values: tuple[float, float]) -> str:
    return f"{values[0]:.3g} and {values[1]:.3g}"
