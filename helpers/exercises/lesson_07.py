"""Lesson 07: resume exactly."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn, optim

from helpers import lesson
from helpers.exercises import forgotten, torn
from helpers.exercises.states import difference, runs_code
from helpers.exercises.trial import apart, unlike
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


@apart()
def _resumable(answer: Any) -> str | None:
    if not (isinstance(answer, (tuple, list)) and len(answer) == 2 and all(map(callable, answer))):
        return "Wanted two functions, (save, load)."
    save, load = answer
    never_saved = Training()
    losses = [never_saved.step() for _ in range(12)]
    saved, run, seen = [], Training(), []
    with tempfile.TemporaryDirectory() as folder:
        for done in range(12):
            if done in (2, 5):
                path = Path(folder) / f"run {done}.pth"
                save(run, path)
                if found := _saved_badly(run, path):
                    return found
                saved.append((done, path.rename(path.with_suffix(".moved")), _parts(run)))
            seen.append(run.step())
        if seen != losses:
            return "The run that was saved goes on in another way than one that was not. Does save draw or seed random numbers?"
        for done, path, parts in saved:
            other = Training(seed=1)
            other.step()
            load(other, path)
            if found := _resumed_badly(other, parts, losses[done : done + 7]):
                return found
        if runs_code(lambda path: load(Training(seed=1), path), Path(folder)):
            return "load ran a call that stood in a file: it made a folder. weights_only=True refuses such a file."
    return None


def _parts(run: Training) -> dict[str, Any]:
    parts = {name: getattr(run, name).state_dict() for name in ("model", "optimizer", "scheduler")}
    return copy.deepcopy({**parts, "torch's generator, which dropout uses": torch.get_rng_state(), "best": run.best})


def _saved_badly(run: Training, path: Path) -> str | None:
    if not path.is_file():
        return "save left no file at the path."
    if not run.model.training:
        return "save left the model in eval(): its dropout is off for the rest of the run."
    try:
        torch.load(path, weights_only=True)
    except Exception:
        return "The file does not load with weights_only=True: save state dicts and numbers, not objects."
    return None


def _resumed_badly(run: Training, saved: dict[str, Any], losses: list[float]) -> str | None:
    if not run.model.training:
        return "load left the model in eval(): the run that was saved was training, with dropout."
    loaded = _parts(run)
    best = float(loaded.pop("best"))
    apart_in = [name for name in loaded if difference(saved[name], loaded[name]) is not None]
    going_on = [run.step() for _ in losses]
    first = next((k for k, (one, other) in enumerate(zip(losses, going_on), 1) if one != other), None)
    if first is not None:
        look = ", ".join(apart_in) or "who holds whom: optimizer the parameters of run.model, scheduler run.optimizer"
        return f"The losses part at step {first} after the resume. Look at {look}."
    if best != saved["best"]:
        return f"The losses agree, but best is {best:.3f}, not {saved['best']:.3f}."
    if apart_in:
        name = apart_in[0]
        return f"The losses agree, but {name} is not as it was saved: {difference(saved[name], loaded[name])} differs."
    return None


def scripts() -> str:
    """What each of five scripts trains with, and what it saves."""
    return "\n".join(f"{name}: {trains}\n   {{'epoch': epoch, {saves}}}" for name, (trains, saves) in forgotten.SCRIPTS.items())


@apart()
def _survives(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a state and a path")
    with tempfile.TemporaryDirectory() as folder:
        return torn.fault(answer, Path(folder).resolve() / "run.pth")


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
    "What a script uses and its code does not bring must be in the file, and nothing else must.",
    (
        "For each script: what does the resumed run need that is neither in the dict nor in the code?",
        "Dropout needs random numbers; momentum lives in the optimizer; a decay has a counter; statistics are buffers.",
    ),
    forgotten.fault,
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
