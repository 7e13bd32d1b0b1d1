"""Every control of every lesson: the keys that a learner presses on it, and the picture that must then stand there.

What must stand there is computed by the same Python that the lesson runs. Where that would start its processes once more
(05, 07, 11), it is written down.
"""

from __future__ import annotations

import os
import re
import tempfile
from functools import cache, partial
from html import unescape
from pathlib import Path
from typing import NamedTuple

import nbformat
import torch

from helpers import lesson, scenes
from helpers.draw import Picture

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
ENDS = ("a model of its own", "that model, in order", "one from the same start")


class Move(NamedTuple):
    """In the cell with `code`: Tab to the control named `control`, press `keys`; `shows` is the picture's title then."""

    code: str
    control: str
    keys: tuple[str, ...]
    shows: str


def title(picture: Picture) -> str:
    """A picture's title as the page has it."""
    return unescape(re.search("<title>(.*?)</title>", picture.svg).group(1))


def cells_of(number: str, /, *signs: str, **names: object) -> dict:
    """What the code cells of a lesson that hold these signs leave behind, run one after the other."""
    [path] = NOTEBOOKS.glob(f"{number}_*.ipynb")
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    for sign in signs:
        [source] = [source for source in cells if sign in source]
        exec(source, names)
    return names


def flipbook(code: str, label: str, frames: list[Picture], still: int) -> list[Move]:
    """One key to the right, the end, the start, and one page."""
    seen = (frames[min(still + 1, len(frames) - 1)], frames[0], frames[2], frames[-1])
    return turned(code, label, *map(title, seen))


def turned(code: str, label: str, after: str, first: str, third: str, last: str) -> list[Move]:
    """The same, with the titles of the frame after the still, the first, the third and the last one."""
    return [
        Move(code, label, ("ArrowRight",), after),
        Move(code, label, ("Home",), first),
        Move(code, label, ("ArrowRight", "ArrowRight"), third),
        Move(code, label, ("End",), last),
    ]


def lesson_01() -> list[Move]:
    model = lesson.build_model()
    sizes, inputs = "scenes.architecture", "partial(scenes.forward"
    forward = partial(scenes.forward, model)
    return [
        Move(sizes, "inputs", ("ArrowRight",), title(scenes.architecture(3, 2, 1, True))),
        Move(sizes, "hidden units", ("End",), title(scenes.architecture(3, 6, 1, True))),
        Move(sizes, "outputs", ("ArrowRight",) * 2, title(scenes.architecture(3, 6, 3, True))),
        Move(sizes, "with bias", ("Space",), title(scenes.architecture(3, 6, 3, False))),
        *flipbook("scenes.forward_frames", "station", scenes.forward_frames(model, 1.0, -1.0), 3),
        Move(inputs, "input 1", ("Home",), title(forward(-2.0, -1.0))),
        Move(inputs, "input 2", ("End",), title(forward(-2.0, 2.0))),
        Move(inputs, "input 1", ("ArrowRight",) * 3, title(forward(-1.7, 2.0))),
    ]


def lesson_02() -> list[Move]:
    attached = [Move("scenes.attach,", how, ("Space",), title(scenes.attach(how))) for how in reversed(scenes.ATTACH)]
    return [*flipbook("scenes.photograph_frames", "training step", scenes.photograph_frames(20), 12), *attached]


def lesson_03() -> list[Move]:
    code = "widgets.live(scenes.roll"
    return [
        *flipbook("scenes.momentum_frames", "step", scenes.momentum_frames(60), 17),
        Move(code, "momentum", ("Home",), title(scenes.roll(0.1, 0.0))),
        Move(code, "learning rate", ("End",), title(scenes.roll(0.5, 0.0))),
        Move(code, "learning rate", ("ArrowLeft",) * 2, title(scenes.roll(0.48, 0.0))),
        Move(code, "momentum", ("End",), title(scenes.roll(0.48, 0.98))),
    ]


def lesson_04() -> list[Move]:
    code = "scenes.restored"
    return [
        *flipbook("scenes.round_trip_frames", "station", scenes.round_trip_frames(), 4),
        Move(code, "restore the optimizer", ("Space",), title(scenes.restored(True, True))),
        Move(code, "restore the model", ("Space",), title(scenes.restored(False, True))),
        Move(code, "restore the optimizer", ("Space",), title(scenes.restored(False, False))),
    ]


def lesson_05() -> list[Move]:
    ran = {
        ("change a default", "whole model"): "loads, same outputs",
        ("change a default", "state dict"): "loads, silently other outputs",
        ("move the module", "state dict"): "loads, same outputs",
    }
    first = "The whole model asks for a class of yours"
    code = "widgets.refactor_lab"
    return [
        Move("scenes.import_frames", "import", ("Home",), first),
        Move("scenes.import_frames", "import", ("End",), first),
        *(
            move
            for (change, form), verdict in ran.items()
            for move in (
                Move(code, change, ("Space",), ""),
                Move(code, form, ("Space",), ""),
                Move(code, "Run it", ("Space",), f"{change}, {form}: {verdict}"),
            )
        ),
        *(
            Move(code, other, ("Space",), "")
            for other in scenes.CHANGES
            if other not in ("change a default", "move the module")
        ),
    ]


def typed(words: str) -> tuple[str, ...]:
    """The keys that write `words` in place of what stands in a line."""
    return ("Control+a", *("Space" if letter == " " else letter for letter in words))


def lesson_06() -> list[Move]:
    state, model, expected = scenes.old_naming()
    rules, code = ["module.net. ->", "fc1 -> encoder", "fc2 -> head"], "widgets.rename_lab"
    return [
        *(Move("scenes.mismatch", name, ("Space",), title(scenes.mismatch(name))) for name in reversed(scenes.CASES)),
        Move(code, "rule 1", typed("module"), title(scenes.rename_diff(state, model, ["module"]))),
        *(
            Move(code, f"rule {k}", typed(rule), title(scenes.rename_diff(state, model, rules[:k])))
            for k, rule in enumerate(rules, 1)
        ),
        Move(code, "Load it", ("Space",), title(scenes.rename_and_load(state, model, expected, rules))),
    ]


def lesson_07() -> list[Move]:
    code, again = "runs.compared", "Killed after step 35, went on from step 35: 0 steps done twice"
    steps = ("25 of the resumed", "1 of the killed", "3 of the killed", "40 of the resumed")
    race = turned("runs.frames", "moment", *(f"Step {step} run: difference 0" for step in steps))
    killed = [Move(code, "kill after step", keys, "") for keys in (("End",), ("ArrowLeft",) * 4)]
    killed.append(Move(code, "Kill and resume", ("Space",), again))
    kept, labels = dict.fromkeys(scenes.PARTS, True) | {"scheduler": False}, {"position": "position in the data"}
    moves = []
    for part in scenes.PARTS:
        kept = kept | {part: not kept[part]}
        moves.append(Move("scenes.forgotten,", labels.get(part, part), ("Space",), title(scenes.forgotten(**kept))))
    return [*race, *killed, *moves]


def lesson_08() -> list[Move]:
    class Hostile:
        def __reduce__(self):
            return os.system, ("echo your keys are mine now",)

    with tempfile.TemporaryDirectory() as folder:
        torch.save({"step": 3, "extra": Hostile()}, Path(folder) / "stranger.pth")
        frames = scenes.instruction_frames(Path(folder) / "stranger.pth")
    return [
        *flipbook("scenes.instruction_frames", "instruction", frames, len(frames) - 1),
        *(Move("scenes.damaged", damage, ("Space",), title(scenes.damaged(damage))) for damage in scenes.DAMAGES),
    ]


def lesson_09() -> list[Move]:
    names = cells_of("09", "import copy", "def train(", "def loss_of", "def build", "start = build", "def units", "ordered = ")
    line = scenes.Line(
        lambda state: names["loss_of"](names["start"], state),
        names["first"],
        {end: names[name] for end, name in zip(ENDS, ("own", "ordered", "second"))},
    )
    names |= cells_of("09", "tasks = ", "class LoRA", "plain = ", "update = ", "def loss_with", **names)
    cut, way, rank = names["cut"], "scenes.Line(", "scenes.Update("
    return [
        *flipbook("scenes.ema_frames", "step", scenes.ema_frames(60, 0.9), 22),
        Move(way, "place", ("ArrowRight",) * 2, title(line.at(ENDS[0], 13))),
        *(Move(way, end, ("Space",), title(line.at(end, 13))) for end in reversed(ENDS)),
        Move(way, "place", ("Home",), title(line.at(ENDS[0], 1))),
        Move(rank, "rank", ("ArrowRight",), title(cut.at(3))),
        Move(rank, "rank", ("End",), title(cut.at(8))),
        Move(rank, "rank", ("Home",), title(cut.at(1))),
    ]


def lesson_10() -> list[Move]:
    code, names = "scenes.Loads(", cells_of("10", "MODEL, META = ", "ways = {")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pth"
        torch.save({f"{k}.weight": torch.rand(2048, 2048) for k in range(12)}, path)
        frames, loads = scenes.touch_frames(path), scenes.Loads(names["ways"], path)
        tried = {way: title(loads.run(way)) for way in ("mmap", "meta + mmap + assign")}
    others = [way for way in names["ways"] if way not in ("plain", *tried)]
    return [
        *flipbook("scenes.touch_frames", "tensors touched", frames, 3),
        *(Move(code, way, ("Space",), "") for way in others),
        *(
            move
            for way, shown in tried.items()
            for move in (Move(code, way, ("Space",), ""), Move(code, "Load it", ("Space",), shown))
        ),
        Move(code, "plain", ("Space",), ""),
    ]


def lesson_11() -> list[Move]:
    code, same = "scenes.Regrouped(", "8 of 8 tensors are the same"
    writing = "each rank writes what it holds into a file of its own"
    ends = ("Nothing is written yet", f"Piece 2: {writing}", "Last, rank 0 writes the table of contents")
    return [
        *turned("scenes.writing_frames", "piece", f"Piece 5: {writing}", *ends),
        *(Move(code, saved, ("Space",), f"Saved {saved}, loaded on 1: {same}") for saved in ("by 4", "by 1", "by 2")),
        *(Move(code, loaded, ("Space",), f"Saved by 2, loaded {loaded}: {same}") for loaded in ("on 4", "on 1", "on 2")),
    ]


def lesson_12() -> list[Move]:
    code = "scenes.Ward"
    with tempfile.TemporaryDirectory() as folder:
        ward = scenes.Ward(folder)
        moves, guess = [], scenes.NOT_YET
        for patient in reversed(scenes.PATIENTS):
            moves.append(Move(code, patient, ("Space",), title(ward.visit(patient, guess))))
            guess = ward.ill(patient)[0]
            moves.append(Move(code, guess, ("Space",), title(ward.visit(patient, guess))))
        moves.append(Move(code, scenes.NOT_YET, ("Space",), title(ward.visit(scenes.PATIENTS[0], scenes.NOT_YET))))
    return moves


MADE = {name[-2:]: made for name, made in globals().items() if re.fullmatch(r"lesson_\d\d", name)}


@cache
def moves(number: str) -> list[Move]:
    """The moves of the lesson of this number, made once."""
    return MADE[number]() if number in MADE else []
