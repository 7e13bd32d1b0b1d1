"""The refactor lab: a tiny project saved both ways, changed, and loaded again, each load in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers import draw
from helpers.draw import Picture

NET = """from torch import nn


class Net(nn.Module):
    def __init__(self, scale=1.0):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2)
        self.scale = scale

    def forward(self, x):
        return self.second(self.first(x)) * self.scale
"""
SAVE = """import torch
from net import Net

torch.manual_seed(0)
model = Net()
torch.save(model, "whole model.pth")
torch.save(model.state_dict(), "state dict.pth")
print(model(torch.ones(2)).tolist())
"""
LOAD = {
    "whole model": """model = torch.load("whole model.pth", weights_only=False)
""",
    "state dict": """from net import Net

model = Net()
model.load_state_dict(torch.load("state dict.pth", weights_only=True))
""",
}
FORMATS = tuple(LOAD)
REPORT = """
import json, os, sys, torch

for folder, code in json.loads(sys.argv[1]):
    child = os.fork() if sys.platform == "linux" else 0
    if child:
        os.waitpid(child, 0)
        continue
    os.chdir(folder)
    result = {"outputs": None, "stage": "load", "error": ""}
    try:
        scope = {"torch": torch}
        exec(code, scope)
        result["stage"] = "call"
        result["outputs"] = scope["model"](torch.ones(2)).tolist()
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        result["error"] = type(error).__name__ + ": " + " ".join(lines)
    print(json.dumps(result), flush=True)
    if sys.platform == "linux":
        os._exit(0)
"""


@dataclass(frozen=True)
class Change:
    """An edit of the project: what is replaced by what in net.py, and where the file and the class stand then."""

    old: str = ""
    new: str = ""
    module: str = "net"
    name: str = "Net"

    @property
    def words(self) -> str:
        """The edit on one line."""
        if self.module != "net":
            return f"net.py → {self.module.replace('.', '/')}.py"
        if self.new.endswith(self.old):
            return "+ " + self.new.removesuffix(self.old).strip().replace("\n", " ").replace("  ", "")
        return f"{self.old} → {self.new}"


CHANGES = {
    "rename the class": Change("class Net", "class Network", name="Network"),
    "move the module": Change(module="models.net"),
    "add a method": Change("    def forward", "    def describe(self):\n        return 'net'\n\n    def forward"),
    "rename an attribute": Change("first", "encoder"),
    "change a default": Change("scale=1.0", "scale=2.0"),
    "reorder the layers": Change("self.second(self.first(x))", "self.first(self.second(x))"),
}


@dataclass(frozen=True)
class Outcome:
    """What one load did: `mark` is yes (same outputs as before), no (an error) or wrong (other outputs, no error)."""

    change: str
    form: str
    edit: str
    mark: str
    verdict: str
    words: str


class Project:
    """A tiny project in `folder`, saved in both formats by a process of its own when first needed."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._before: list[float] | None = None

    def before(self) -> list[float]:
        """The outputs of the model for the input (1, 1) when it was saved."""
        if self._before is None:
            (self.folder / "net.py").write_text(NET)
            self._before = json.loads("".join(_python(SAVE, self.folder)))
        return self._before

    def run(self, change: str, form: str) -> Outcome:
        """Applies one change to a copy of the project and loads one file there, in a fresh process.

        Raises ValueError if there is no such change or format.
        """
        [outcome] = self._outcomes([(change, form)])
        return outcome

    def run_all(self) -> Iterator[Outcome]:
        """Every change in both formats. On Linux one process imports torch, and each load is a fork of it."""
        pairs = [(change, form) for change in CHANGES for form in FORMATS]
        for some in [pairs] if sys.platform == "linux" else [[pair] for pair in pairs]:
            yield from self._outcomes(some)

    def _outcomes(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Outcome]:
        jobs, before = [self._changed(*pair) for pair in pairs], self.before()
        said = _python(REPORT, self.folder, json.dumps(jobs))
        for (change, form), line in zip(pairs, said, strict=True):
            yield _outcome(change, form, CHANGES[change].words, before, json.loads(line))

    def _changed(self, change: str, form: str) -> tuple[str, str]:
        """A folder with the project after the change and one file from before it, and the code that loads it there."""
        if change not in CHANGES or form not in FORMATS:
            raise ValueError(
                f"Got {change!r} and {form!r}; wanted one of {', '.join(CHANGES)} and one of {', '.join(FORMATS)}."
            )
        edit = CHANGES[change]
        self.before()
        place = self.folder / f"{change}, {form}"
        source = place.joinpath(*edit.module.split(".")).with_suffix(".py")
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(NET.replace(edit.old, edit.new) if edit.old else NET)
        (place / f"{form}.pth").write_bytes((self.folder / f"{form}.pth").read_bytes())
        load = LOAD[form].replace("from net", f"from {edit.module}").replace("Net", edit.name)
        return str(place.resolve()), load


def _outcome(change: str, form: str, edit: str, before: list[float], result: dict) -> Outcome:
    error = re.sub(r" from '[^']*'", "", result["error"])
    if error:
        verdict = "fails to load" if result["stage"] == "load" else "loads, fails when called"
        short = error if len(error) <= 84 else error[:83] + "…"
        return Outcome(change, form, edit, "no", verdict, short)
    if all(abs(a - b) < 1e-6 for a, b in zip(before, result["outputs"])):
        return Outcome(change, form, edit, "yes", "loads, same outputs", "nothing")
    return Outcome(change, form, edit, "wrong", "loads, silently other outputs", "nothing")


def _python(code: str, folder: Path, *arguments: str) -> Iterator[str]:
    """The lines that a fresh interpreter prints that runs `code` in `folder`. Raises RuntimeError with its last if it fails."""
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    own = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=folder, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        yield from process.stdout
        last = process.stderr.read().strip().splitlines()[-1:]
    if process.returncode:
        raise RuntimeError(f"The process failed: {''.join(last)}")


def outcome_picture(outcome: Outcome) -> Picture:
    """One outcome of the refactor lab, with the lines that changed and the words of the process."""
    rows: list[Sequence[draw.Cell]] = [
        ("change", outcome.edit),
        ("format", outcome.form),
        ("outcome", (outcome.mark, outcome.verdict)),
        ("it said", outcome.words),
    ]
    return draw.table(f"{outcome.change}, {outcome.form}: {outcome.verdict}", ["", ""], rows)


def outcome_table(outcomes: Sequence[Outcome]) -> Picture:
    """Every change against both formats."""
    changes = list(dict.fromkeys(o.change for o in outcomes))
    cell = {(o.change, o.form): (o.mark, o.verdict) for o in outcomes}
    rows: list[Sequence[draw.Cell]] = [(change, *(cell[change, form] for form in FORMATS)) for change in changes]
    silent = sum(o.mark == "wrong" for o in outcomes)
    return draw.table(f"{len(outcomes)} loads, {silent} of them silently wrong", ["change", *FORMATS], rows)
