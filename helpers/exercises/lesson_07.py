"""Lesson 07: resume exactly."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn, optim

from helpers import lesson
from helpers.exercises import torn
from helpers.quiz import Choice, Exercise, Prediction

goes_on = Prediction(
    "A checkpoint is written after every fifth step. A run is killed after step 12. "
    "How many steps does the resumed run do a second time?",
    (
        Choice("none", "Nobody wrote down steps 11 and 12: they died with the process."),
        Choice("all 12", "The checkpoint of step 10 is on disk, whole."),
        Choice("two", "Steps 11 and 12. And they must come out the same, loss for loss.", True),
    ),
)
without_scheduler = Prediction(
    "You restore everything but the scheduler, which lowers the learning rate. What do the losses do?",
    (
        Choice("they jump at once", "The optimizer's state brought the last rate along, so the first steps are the same."),
        Choice(
            "they agree at first, then part", "The new scheduler counts from 0, and its first step sets another rate.", True
        ),
        Choice("they agree: the optimizer has the rate", "It has the last one. The next ones come from the scheduler."),
    ),
)
seed_again = Prediction(
    "You resume, and call torch.manual_seed(0) as at the start. "
    "Are the next random numbers those of the run that never stopped?",
    (
        Choice("no: they start from the first one", "Restore where it stood: torch.set_rng_state(saved).", True),
        Choice(
            "yes: the same seed gives the same numbers", "The same numbers from the beginning: you get the first ones again."
        ),
        Choice("only on the CPU", "Each device has a generator, and each starts at its beginning."),
    ),
)
shuffled = Prediction(
    "A DataLoader shuffles. You stop in the middle of an epoch, and build it again with the same seed. What comes next?",
    (
        Choice("the rows not seen yet", "Nothing remembers which were seen, unless you save it."),
        Choice("other rows, in another random order", "The same seed gives the same order, from its start."),
        Choice(
            "the first rows of epoch 0 again", "DataLoader has no state dict. Save its generator and how far you came.", True
        ),
    ),
)
forgotten_lambda = Prediction(
    "LambdaLR(optimizer, lambda step: 0.9 ** step) is saved by its state dict. You resume with lambda step: 1.0. "
    "Which one counts?",
    (
        Choice("the new one", "Only the counters are saved. The code has to bring the function.", True),
        Choice("the saved one", "Functions are not in the state dict: lr_lambdas is [None]."),
        Choice("neither: it raises", "Nobody can compare them: one is not there."),
    ),
)
late_lr = Prediction(
    "After loading everything, param_groups[0]['lr'] is set to 0.001. Then LambdaLR takes a step. Which rate counts now?",
    (
        Choice("0.001: it was set last", "LambdaLR computes from base_lrs, which it remembers itself."),
        Choice(
            "one based on base_lrs",
            "LambdaLR computes from them each time. A new rate goes into base_lrs too, and into initial_lr.",
            True,
        ),
        Choice("0.001 × the factor", "ExponentialLR does that: it multiplies the rate in the group. LambdaLR reads base_lrs."),
    ),
)


class Training:
    """A run to make resumable: `model`, `optimizer`, `scheduler`, `best`; `step()` trains on and returns the loss."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))
        self.optimizer = optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.scheduler = optim.lr_scheduler.StepLR(self.optimizer, 3, 0.5)
        self.best = float("inf")

    def step(self) -> float:
        """Trains once; dropout uses torch's generator."""
        loss = lesson.train_step(self.model, self.optimizer, *lesson.toy_data())
        self.scheduler.step()
        self.best = min(self.best, loss)
        return loss


def _resumable(answer: Any) -> str | None:
    if not (isinstance(answer, tuple) and len(answer) == 2 and all(map(callable, answer))):
        return "Wanted two functions, (save, load)."
    save, load = answer
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.pth"
        run = Training()
        for _ in range(5):
            run.step()
        save(run, path)
        if not path.is_file():
            return "save left no file at the path."
        try:
            torch.load(path, weights_only=True)
        except Exception:
            return "The file does not load with weights_only=True: save state dicts and numbers, not objects."
        best, going_on = run.best, [run.step() for _ in range(7)]
        other = Training(seed=1)
        load(other, path)
        best_then, resumed = other.best, [other.step() for _ in range(7)]
    apart = next((k for k, (a, b) in enumerate(zip(going_on, resumed), 1) if a != b), None)
    if apart is None:
        return None if best_then == best else f"The losses agree, but best is {best_then:.3f}, not {best:.3f}."
    hint = {1: "the model, or torch's random numbers, which dropout uses", 2: "the optimizer"}.get(apart, "the scheduler")
    return f"The losses part at step {apart} after the resume. Look at {hint}."


FORGOTTEN = {"a": "scheduler", "b": "generators", "c": "optimizer"}
SCRIPTS = {
    "a": "{'model': …, 'optimizer': …, 'rng': torch.get_rng_state(), 'epoch': …}   # the learning rate decays by StepLR",
    "b": "{'model': …, 'optimizer': …, 'scheduler': …, 'epoch': …}                 # the model has Dropout",
    "c": "{'model': …, 'scheduler': …, 'rng': torch.get_rng_state(), 'epoch': …}   # SGD with momentum",
}
_SHOWS = {
    "a": "its learning rate starts high again",
    "b": "its dropout draws other units",
    "c": "its first step has no momentum",
}


def scripts() -> str:
    """What each of three scripts saves, and what it trains with."""
    return "\n".join(f"{name}: {line}" for name, line in SCRIPTS.items())


def _forgotten(answer: Any) -> str | None:
    if not isinstance(answer, Mapping):
        return f"You gave {type(answer).__name__}; wanted a dict from script to the piece that it forgets."
    for name, right in FORGOTTEN.items():
        given = answer.get(name, ...)
        if given is ...:
            return f"{sum(answer.get(k, ...) is not ... for k in FORGOTTEN)} of 3 decided. Next: {name}."
        if given not in ("model", "optimizer", "scheduler", "generators"):
            return f"{name}: {given!r} is none of 'model', 'optimizer', 'scheduler', 'generators'."
        if given != right:
            return f"{name}: it does not forget the {given}, or it needs none; after a resume {_SHOWS[name]}."
    return None


def _survives(answer: Any) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a state and a path."
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.pth"
        answer({"step": torch.tensor(1)}, path)
        if not path.is_file():
            return "After your function there is no file at the path."
        torn.dies(lambda: answer({"step": torch.tensor(2)}, path))
        if torn.step(path) != 1:
            return "Killed in the middle of torch.save, the file at the path is torn, and step 1 is lost too."
        answer({"step": torch.tensor(3)}, path)
        return None if torn.step(path) == 3 else "A later save did not arrive at the path."


resumable = Exercise(
    "A resumable run",
    "Model, optimizer, scheduler, generator, best: seven losses, bit for bit.",
    (
        "Four things have a state: model, optimizer, scheduler, and torch's generator.",
        "torch.get_rng_state() is a tensor, and torch.set_rng_state(tensor) puts it back.",
        "run.best is a number: save it as it is.",
    ),
    _resumable,
)
find_forgotten = Exercise(
    "The forgotten piece",
    "What moves the next step must be in the file: rate, random numbers, momentum.",
    (
        "For each script: what does the next step need that is not in the dict?",
        "Dropout needs random numbers; momentum lives in the optimizer; a decay has a counter.",
    ),
    _forgotten,
)
survives = Exercise(
    "A kill in the middle of a save",
    "Write beside it, then rename: the path always holds a whole file.",
    (
        "Never write to the path itself.",
        "torch.save to another name in the same folder.",
        "os.replace(new, path) is one step for everybody who looks.",
    ),
    _survives,
)
