"""Situations in which a model is saved, and why one format suits each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from helpers.exercises.trial import unlike

FORMATS = ("state dict", "whole model", "exported program")
SITUATIONS = {
    "weights for colleagues who will move the class": (
        "state dict",
        {
            "whole model": "its pickle looks for the class at its old place",
            "exported program": "its graph is fixed, and they want the weights in their own class",
        },
    ),
    "a checkpoint to resume training": (
        "state dict",
        {
            "whole model": "it holds no optimizer state; two state dicts load into what the script builds",
            "exported program": "it holds no optimizer state, and its graph is fixed",
        },
    ),
    "weights for strangers, who load with weights_only=True": (
        "state dict",
        {
            "whole model": "weights_only=True refuses its class",
            "exported program": "torch.load does not read it, torch.export.load does",
        },
    ),
    "a model for a server that has torch, and none of your code": (
        "exported program",
        {
            "state dict": "it holds no code: the server would need your class",
            "whole model": "it holds the name of the class and not its code, so there is nothing to import",
        },
    ),
    "your object with its plain attributes, back in the same code in a minute": (
        "whole model",
        {
            "state dict": "it has no key for a plain attribute",
            "exported program": "what comes back is a graph, not an object of your class",
        },
    ),
    "the encoder of one model, to go into another model": (
        "state dict",
        {
            "whole model": "it comes in one piece; from a state dict you pick keys",
            "exported program": "it comes as one graph; from a state dict you pick keys",
        },
    ),
}


def fault(answer: Any) -> str | None:
    """What is wrong with a dict from situation to format; None if nothing is."""
    if not isinstance(answer, Mapping):
        return unlike(answer, "a dict from situation to format")
    blank = [name for name in SITUATIONS if answer.get(name, ...) is ...]
    if blank:
        return f"{len(SITUATIONS) - len(blank)} of {len(SITUATIONS)} decided. Next: {blank[0]}."
    for name, (right, why) in SITUATIONS.items():
        given = " ".join(str(answer[name]).lower().replace("_", " ").replace("-", " ").split())
        if given not in FORMATS:
            return f"{name}: {str(answer[name])[:40]!r} is none of the three, {', '.join(FORMATS)}."
        if given != right:
            return f"{name}: not the {given}: {why[given]}."
    return None
