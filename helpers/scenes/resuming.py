"""Scenes of lesson 07: a run that is killed and goes on, in real processes, and what each forgotten part costs."""

from __future__ import annotations

import copy
import io
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

from helpers import draw, lesson
from helpers.draw import Picture
from helpers.scenes.training import two_runs

PARTS = ("model", "optimizer", "scheduler", "generators", "position")


class Killed:
    """Runs of a training script: one that is never stopped, and others that are killed by SIGKILL and resumed."""

    def __init__(self, script: str | Path, folder: str | Path, steps: int) -> None:
        self.script, self.folder, self.steps = Path(script).resolve(), Path(folder), steps

    @lru_cache(maxsize=1)
    def whole(self) -> tuple[list[list[str]], dict[str, Any]]:
        """The steps of the run that is never stopped, and its last checkpoint."""
        return self._run(self._place("whole"))

    @lru_cache(maxsize=1)
    def resumed(self, at: int) -> tuple[list[list[str]], list[list[str]], dict[str, Any]]:
        """Steps until the kill after step `at`, steps after the resume, and the last checkpoint."""
        place = self._place(f"killed at {at} ")
        first, _ = self._run(place, at)
        second, last = self._run(place)
        return first, second, last

    def compared(self, at: int) -> Picture:
        """What is equal, bit for bit, after a kill at step `at` and a resume."""
        steps, checkpoint = self.whole()
        first, second, last = self.resumed(at)
        joined = {words[0]: words[1:] for words in first + second}
        whole = {words[0]: words[1:] for words in steps}
        said = {
            "losses": all(joined[k][0] == whole[k][0] for k in whole),
            "order of the rows": all(joined[k][1:] == whole[k][1:] for k in whole),
        }
        said |= {name: _same(checkpoint[name], last[name]) for name in checkpoint}
        names = {
            "parameters and buffers": ("model",),
            "optimizer": ("optimizer",),
            "scheduler": ("scheduler",),
            "losses": ("losses",),
            "order of the rows": ("order of the rows",),
            "random numbers": ("torch", "python", "numpy", "shuffle"),
        }
        rows = [
            (what, ("yes", "bit for bit the same") if all(said[k] for k in keys) else ("no", "another run"))
            for what, keys in names.items()
        ]
        again = len(first) + len(second) - self.steps
        twice = f"{again} step{'s' * (again != 1)} done twice"
        return draw.table(
            f"Killed after step {at}, went on from step {int(second[0][0]) - 1}: {twice}",
            ["after the last step", "compared with the run that was never stopped"],
            rows,
        )

    def frames(self, at: int) -> Iterator[Picture]:
        """The losses of both runs, one step more on each frame."""
        whole = [float(words[1]) for words in self.whole()[0]]
        first, second, _ = self.resumed(at)
        path = [(words, "killed run") for words in first] + [(words, "resumed run") for words in second]
        yield from (_race(whole, path[:k]) for k in range(1, len(path) + 1))

    def _place(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=name, dir=self.folder))

    def _run(self, place: Path, *kill_at: int) -> tuple[list[list[str]], dict[str, Any]]:
        ended = subprocess.run(
            [sys.executable, str(self.script), str(place), str(self.steps), *map(str, kill_at)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        if ended.returncode != (-9 if kill_at else 0):
            raise RuntimeError(f"The script ended with {ended.returncode}: {ended.stderr.strip()[-300:]}")
        saved = place / "checkpoint.pth"
        return (
            [line.split() for line in ended.stdout.splitlines()],
            torch.load(saved, weights_only=True) if saved.exists() else {},
        )


def _race(whole: Sequence[float], path: Sequence[tuple[list[str], str]]) -> Picture:
    series: dict[str, list[float]] = {"never stopped": list(whole), "killed run": [], "resumed run": []}
    for words, run in path:
        step = int(words[0])
        series[run] += [float("nan")] * (step - 1 - len(series[run])) + [float(words[1])]
    words, run = path[-1]
    gap = abs(float(words[1]) - whole[int(words[0]) - 1])
    series["difference"] = [
        max(abs(float(w[1]) - whole[int(w[0]) - 1]) for w, _ in path if int(w[0]) == k + 1)
        for k in range(max(int(w[0]) for w, _ in path))
    ]
    title = f"Step {words[0]} of the {run}: difference {gap:.2g}"
    return draw.curves(
        title,
        {name: values for name, values in series.items() if values},
        across="step",
        up="loss",
        alt=f"The {run} lies on the curve of the run that was never stopped.",
    )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


class Run:
    """A small training run with everything that a run remembers: dropout, BatchNorm, a scheduler, a shuffled order."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        random.seed(seed)
        self.inputs, self.targets = (tensor.double() for tensor in lesson.toy_data())
        self.model = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1)).double()
        self.optimizer = optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.scheduler = optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1 / (1 + step / 10))
        self.order: list[int] = []

    def step(self) -> float:
        """One step on the next eight rows; the loss before it."""
        if not self.order:
            self.order = torch.randperm(32).tolist()
        rows, self.order = self.order[:8], self.order[8:]
        inputs = self.inputs[rows] + random.gauss(0, 0.02)
        loss = lesson.train_step(self.model, self.optimizer, inputs, self.targets[rows])
        self.scheduler.step()
        return loss

    def state(self) -> dict[str, Any]:
        """All that a run remembers, as a copy."""
        return copy.deepcopy(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "position": self.order,
                "generators": {"python": random.getstate(), "torch": torch.get_rng_state()},
            }
        )

    def restore(self, state: Mapping[str, Any], parts: Sequence[str] = PARTS) -> None:
        """Puts back the named parts of a state."""
        for name in ("model", "optimizer", "scheduler"):
            if name in parts:
                getattr(self, name).load_state_dict(copy.deepcopy(state[name]))
        if "position" in parts:
            self.order = list(state["position"])
        if "generators" in parts:
            random.setstate(state["generators"]["python"])
            torch.set_rng_state(state["generators"]["torch"])


@lru_cache(maxsize=1)
def _never_stopped(steps: int) -> tuple[dict[str, Any], list[float]]:
    run = Run()
    for _ in range(10):
        run.step()
    state = run.state()
    return state, [run.step() for _ in range(steps)]


def forgotten(steps: int = 20, **kept: bool) -> Picture:
    """Losses after a resume with only the `kept` parts of `PARTS`, against the run that never stopped."""
    state, whole = _never_stopped(steps)
    run = Run(seed=1)
    run.restore(state, [name for name in PARTS if kept[name]])
    resumed = [run.step() for _ in range(steps)]
    apart = next((k for k, (a, b) in enumerate(zip(whole, resumed), 1) if a != b), None)
    lost = [name for name in PARTS if not kept[name]]
    title = (f"Without {', '.join(lost)}: " if lost else "Everything restored: ") + (
        f"another run from step {apart} on" if apart else "the same run, loss for loss"
    )
    return two_runs(title, whole, resumed, f"The two curves {f'part at step {apart}' if apart else 'are one'}.")


def weights() -> Picture:
    """What each part of a small run's state takes in a file of its own."""
    rows = []
    for name, part in Run().state().items():
        page = io.BytesIO()
        torch.save(part, page)
        rows.append((name, [("value", page.getbuffer().nbytes // 100 * 100)]))
    return draw.bars("For a small model, the random numbers weigh most", rows)
