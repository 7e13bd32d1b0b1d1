"""The clinic: a file, or a file and a model → findings, each with its cause, the code that cures it, and its lesson.

    from helpers.clinic import examine
    examine("run.pth", model)

It reads and never runs; `python -m helpers.clinic FILE` is the same in a terminal.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn, optim

from helpers.clinic.choosing import best_of, inside
from helpers.clinic.contents import inventory
from helpers.clinic.finding import Finding, Findings, importing
from helpers.clinic.fit import fitting
from helpers.clinic.opening import Opened, open_up
from helpers.clinic.resume import resuming
from helpers.describe import words_of

__all__ = ["Finding", "Findings", "examine"]


def examine(
    path_or_contents: Any,
    model: nn.Module | None = None,
    optimizer: optim.Optimizer | None = None,
    *,
    verify: bool = False,
    report: Callable[[int], object] = lambda size: None,
) -> Findings:
    """What it is, whether it may be opened, what is in it, whether it fits `model`, whether `optimizer` can resume from it.

    Takes a path, or what `torch.load` gave. `verify` reads the checksums of a large file too; `report` hears of each piece.
    Never raises for what it is given, never runs code out of a file, and leaves model and optimizer as they are.
    """
    opened = Opened([], path_or_contents, "checkpoint = contents")
    with warnings.catch_warnings(action="ignore"):
        try:
            if isinstance(path_or_contents, (str, os.PathLike)):
                opened = open_up(Path(path_or_contents), verify, report)
            return _all(opened, model, optimizer)
        except Exception as error:
            what = f"This could not be examined to its end: {type(error).__name__}: {words_of(error)}."
            why = "It is like nothing that the clinic knows."
            return Findings([*opened.findings, Finding(what, why, sure="cannot be told", level="bad")])


def _all(opened: Opened, model: nn.Module | None, optimizer: optim.Optimizer | None) -> Findings:
    if opened.contents is None and opened.findings:
        return Findings(opened.findings)
    states, saved = inside(opened.contents)
    chosen, pairs, equal = best_of(states, model)
    found = [*opened.findings, *inventory(opened, states, saved, chosen)]
    if chosen is None:
        return Findings([*found, *(resuming(saved, optimizer, model, opened.head) if saved and optimizer is not None else [])])
    if model is not None:
        found += fitting(chosen, model, pairs, equal, opened.head)
    else:
        code = importing(f"{opened.head}\nstate = {chosen.code}")
        found.append(Finding("Give a model too, and this says whether it fits.", "examine(path, model)", code))
    if optimizer is not None:
        found += resuming(saved, optimizer, model, opened.head)
    return Findings(found, pairs)
