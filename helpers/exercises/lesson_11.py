"""Lesson 11: many processes."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp

from helpers.exercises import folders, ranks
from helpers.exercises.states import reason
from helpers.exercises.trial import apart, plain, unlike
from helpers.quiz import Choice, Exercise, Prediction

holds = Prediction(
    "Two processes train one model with DistributedDataParallel, each on its own rows. What differs between them afterwards?",
    (
        Choice("all weights: each saw other rows", "Gradients are averaged before each step, so each takes the same step."),
        Choice("nothing at all", "BatchNorm's statistics do: before each pass all get rank 0's, and each adds its batch."),
        Choice(
            "BatchNorm's statistics", "Rank 0's, and one batch of each rank's own. The weights are the same to the bit.", True
        ),
    ),
)
rank_0 = Prediction(
    "Two ranks shard a model with fully_shard. Rank 0 writes the numbers that it has. What is in the file?",
    (
        Choice("the model", "A sharded rank has only its rows of each tensor."),
        Choice("some or all rows of each tensor", "Rank 1 has the others, and nobody wrote them.", True),
        Choice("the first layers", "Each tensor is cut, not the list of layers."),
    ),
)
other_count = Prediction(
    "Two ranks wrote a folder. Now there is one process. What does dcp.load do?",
    (
        Choice("it refuses: it wants two ranks", "torch.save for each rank would. The folder has a table of contents."),
        Choice("it fills half of the model", "It asks the table which file holds which rows, and reads them all."),
        Choice("it fills all of the model", "It asks which rows this process needs, and reads them from both files.", True),
    ),
)
one_shard = Prediction(
    "torch.load opens __0_0.distcp, one of the files of the folder. What does it return?",
    (
        Choice("rank 0's part of the state dict", "The file is many small files in a row, and torch.load reads one of them."),
        Choice("an error: it is no checkpoint", "Of __1_0.distcp it is one. This file is read, and nothing is said."),
        Choice("one tensor, or a part of one", "It reads one piece of many and says nothing of the others.", True),
    ),
)
killed = Prediction(
    "One rank is killed in the middle of training. What do the others do?",
    (
        Choice("they go on without it", "The next gradient is an average over all ranks, and one never answers."),
        Choice("torchrun ends them", "It watches its processes: when one dies, it ends all of them.", True),
        Choice(
            "they wait for ever", "With gloo they fail at once: the line is closed. With others they may; torchrun ends them."
        ),
    ),
)
wrapped = Prediction(
    "model = torch.compile(DistributedDataParallel(net)). How do the keys of model.state_dict() begin?",
    (
        Choice("module.", "That is DDP's own. Compiling wraps once more."),
        Choice("_orig_mod.module.", "One prefix a wrapper, the outermost first.", True),
        Choice("module._orig_mod.", "The other way round: compiled first, then wrapped in DDP."),
    ),
)


def _saved(answer: Callable, path: Path, step: int, rank: int, meeting: ranks.Meeting) -> Any:
    return answer(ranks.state(step + rank), path, rank, meeting.wait)


def _epoch(answer: Callable, path: Path, losses: tuple, best: float, epoch: int, rank: int, meeting: ranks.Meeting) -> Any:
    return answer(losses[rank], best, ranks.state(epoch), path, rank, meeting.mean, meeting.wait)


@apart()
def _save_once(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a state, a path, a rank and wait")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.pth"
        for save in (1, 2):
            wanted = 10 * save
            try:
                _, early = ranks.together(partial(_saved, answer, path, wanted), path, wanted)
            except Exception as error:
                return ranks.told(error, f"In save {save}")
            if ranks.step(path) != wanted:
                return f"After save {save} the file at the path is not rank 0's state."
            if early:
                return early
    return None


LOSSES = ((3.0, 3.0, 3.0), (1.0, 3.0, 5.5), (2.75, 2.5, 2.25), (2.0, 2.5, 3.5), (2.5, 2.5, 2.25))


@apart()
def _keep_best(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of loss, best, state, path, rank, mean and wait")
    best, kept = float("inf"), 0
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "best.pth"
        for epoch, losses in enumerate(LOSSES, 1):
            before, mean = best, ranks.means(losses)
            best, kept = (mean, epoch) if mean < best else (best, kept)
            try:
                given, early = ranks.together(partial(_epoch, answer, path, losses, before, epoch), path, kept)
            except Exception as error:
                return ranks.told(error, f"In epoch {epoch}")
            if found := _not_best([plain(value) for value in given], best, epoch):
                return found
            if ranks.step(path) != kept:
                return f"After epoch {epoch} the file holds epoch {ranks.step(path)}; the best mean was that of epoch {kept}."
            if early:
                return early
    return None


def _not_best(given: list[Any], best: float, epoch: int) -> str | None:
    for rank, value in enumerate(given):
        if not isinstance(value, (int, float)) or abs(value - best) > 1e-6:
            mean = f"wanted {best:g}, the lowest mean over the ranks so far"
            return f"After epoch {epoch} rank {rank} returns {str(value)[:20]}; {mean}."
    return None


@apart()
def _contents(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a folder")
    for width, key in ((4, "model"), (3, "net")):
        with tempfile.TemporaryDirectory() as name, warnings.catch_warnings(action="ignore"):
            state = folders.write(Path(name), 0, width, key)
            folders.cut(Path(name), f"{key}.0.weight")
            for shard in Path(name).glob("*.distcp"):
                shard.write_bytes(b"")
            try:
                given = answer(Path(name))
            except (Exception, dcp.CheckpointException) as error:
                return f"It needs more than .metadata: the shards are empty here, and it fails: {reason(error)}"
            wanted = {f"{key}.{own}": tuple(value.shape) for own, value in state.items()} | folders.MOMENTUM
            if found := folders.other_shapes(given, wanted):
                return found
    return None


@apart()
def _one_file(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a folder and a path")
    for seed in (1, 2):
        with tempfile.TemporaryDirectory() as name, warnings.catch_warnings(action="ignore"):
            folder, path = Path(name) / "folder", Path(name) / "model.pth"
            wanted, before = folders.write(folder, seed, 3 + seed, "model"), ranks.files(folder)
            if found := folders.failure(partial(answer, folder, path)):
                return found
            if ranks.files(folder) != before:
                return "Your function changed the folder."
            if found := folders.not_loadable(path, wanted, folders.net(9, 3 + seed)):
                return found
    return None


save_once = Exercise(
    "One rank writes",
    "One writes, all wait, and only then does anybody read.",
    (
        "if rank == 0: torch.save(state, path). The others write nothing.",
        "wait() is a barrier: nobody leaves it before all have come. Every rank has to call it, so it stands outside the if.",
        "Before the save it would let the others go too early.",
    ),
    _save_once,
)
contents = Exercise(
    "The table of contents",
    "Names and shapes of any size of model, from one small file.",
    (
        "dcp.FileSystemReader(folder).read_metadata().state_dict_metadata is a dict: a key, and what is known of it.",
        "Tensors have a size. What is not a tensor, such as an epoch, has none: leave it out.",
        "chunks are the parts, one a rank. size is the whole.",
    ),
    _contents,
)
one_file = Exercise(
    "One .pth of the folder",
    "One process reads the folder, and what is left is a file like any other.",
    (
        "dcp_to_torch_save(folder, path), from torch.distributed.checkpoint.format_utils, writes all of it into one file.",
        "That file holds model, epoch and optimizer. Load it with weights_only=True, and save its entry 'model' alone.",
    ),
    _one_file,
)
keep_best = Exercise(
    "The best one",
    "All ranks know one number, so all take one decision, and one of them writes.",
    (
        "Each rank has a loss of its own. mean(loss) is one number for all of them: decide by that.",
        "mean and wait are calls in which all ranks meet. Inside an if that only some ranks enter, they wait for ever.",
        "if rank == 0: torch.save(state, path), and after it wait() on every rank.",
    ),
    _keep_best,
)
