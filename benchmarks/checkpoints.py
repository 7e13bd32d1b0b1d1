"""`helpers.checkpoint` against `torch.save` and `torch.load`, with the time of the hash alone beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

from tqdm import tqdm

from benchmarks.measure import Line, middle

SIZES = {"10 kB": (2_500, 600), "10 MB": (2_500_000, 60), "1 GB": (250_000_000, 12)}
RUN = """
import hashlib, json, os, random, sys, time
import torch
from benchmarks.measure import resident
from helpers import checkpoint, family

def flushed(path, contents):
    with open(path + ".part", "wb") as file:
        torch.save(contents, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".part", path)
    family.flush_folder(os.path.dirname(path))

numbers, folder, times, which = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
large = {"model": {f"layer.{k}": torch.randn(numbers // 4) for k in range(4)}}
ours, theirs = os.path.join(folder, "ours.pth"), os.path.join(folder, "theirs.pth")
calls = {"save": lambda c: checkpoint.save(ours, c), "torch.save": lambda c: flushed(theirs, c),
         "bare torch.save": lambda c: torch.save(c, theirs),
         "load": lambda c: checkpoint.load(ours), "torch.load": lambda c: torch.load(theirs, weights_only=True),
         "hash": lambda c: [hashlib.sha256(t.numpy()).digest() for t in c["model"].values()]}
checkpoint.save(ours, large), torch.save(large, theirs)
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


def _child(numbers: int, folder: str, times: int, which: str) -> object:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(numbers), folder, str(times), which], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def measure() -> list[Line]:
    """Save and load at three sizes: time over theirs plus the hash, and peak memory over theirs.

    Each turn is in another order, since what a call finds in the page cache was left by the one before. The promise is
    kept only if it is by the fastest turn and by the median one.
    """
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for size, (numbers, times) in tqdm(SIZES.items(), desc="checkpoints"):
            took = {
                name: (1000 * min(seconds), 1000 * middle(seconds))
                for name, seconds in _child(numbers, folder, times, "time").items()
            }
            for ours, theirs in (("save", "torch.save"), ("load", "torch.load")):
                peak = _child(numbers, folder, 1, ours) / _child(numbers, folder, 1, theirs)
                over = [mine / other for mine, other in zip(took[ours], took[theirs])]
                kept = all(mine <= 1.3 * other + hashed for mine, other, hashed in zip(took[ours], took[theirs], took["hash"]))
                bare = f"; {took[ours][0] / took['bare torch.save'][0]:.1f} × one that does not flush" if ours == "save" else ""
                lines.append(
                    Line(
                        f"checkpoint.{ours}, {size}, fastest and median of {times}",
                        f"{_both(took[ours])} ms, {over[0]:.2f} and {over[1]:.2f} ×",
                        f"{theirs}{', flushed and renamed' if ours == 'save' else ''} {_both(took[theirs])} ms, hash "
                        f"{_both(took['hash'])} ms{bare}; peak memory {peak:.2f} ×",
                        "≤ 1.3 × + hash by both, memory ≤ 1.1 ×",
                        kept and peak <= 1.1,
                    )
                )
    return lines


def _both(values: tuple[float, float]) -> str:
    return f"{values[0]:.3g} and {values[1]:.3g}"
