"""Scripts that save too little, and what a wrong guess about them is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from helpers.exercises.trial import unlike

PIECES = ("model", "optimizer", "scheduler", "generators", "nothing")
MEANT = {"none": "nothing", "lr scheduler": "scheduler"} | dict.fromkeys(
    ("rng", "rng state", "generator", "random numbers", "torch.get rng state()"), "generators"
)
SCRIPTS = {
    "a": ("Linear, Dropout; SGD without momentum, one rate, all rows at once", "'model': model.state_dict()"),
    "b": ("Linear; SGD with momentum, one rate, all rows at once", "'model': model.state_dict()"),
    "c": ("Linear; Adam, StepLR, all rows at once", "'model': model.state_dict(), 'optimizer': optimizer.state_dict()"),
    "d": ("Linear; SGD without momentum, one rate, all rows at once", "'model': model.state_dict()"),
    "e": (
        "Linear, BatchNorm; SGD with momentum, one rate, all rows at once",
        "'model': dict(model.named_parameters()), 'optimizer': optimizer.state_dict()",
    ),
}
FORGOTTEN = {"a": "generators", "b": "optimizer", "c": "scheduler", "d": "nothing", "e": "model"}
_SHOWS = {
    "a": "its dropout draws other units",
    "b": "its first step has no momentum",
    "c": "its decay counts from 0",
    "e": "BatchNorm's statistics, which are buffers, start anew",
}
_NEEDS_NONE = {
    "optimizer": "plain SGD keeps nothing, and its rate stands in the code",
    "scheduler": "its rate never changes",
    "generators": "nothing in it is random",
}


def fault(answer: Any) -> str | None:
    """What is wrong with a dict from script to forgotten piece; None if nothing is."""
    if not isinstance(answer, Mapping):
        return unlike(answer, "a dict from script to the piece that it forgets")
    for name, right in FORGOTTEN.items():
        said = answer.get(name, ...)
        if said is ...:
            return f"{sum(answer.get(k, ...) is not ... for k in FORGOTTEN)} of 5 decided. Next: {name}."
        given = str(said).strip().lower().replace("_", " ")
        given = MEANT.get(given, given)
        if given not in PIECES:
            return f"{name}: {str(said)[:40]!r} is none of {', '.join(PIECES)}."
        if given == right:
            continue
        if given == "nothing":
            return f"{name}: something is forgotten. After a resume {_SHOWS[name]}."
        if f"'{given}'" in SCRIPTS[name][1]:
            return f"{name}: the {given} is in the file."
        return f"{name}: {given} in the file would change nothing: {_NEEDS_NONE[given]}."
    return None
