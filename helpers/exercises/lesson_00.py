"""Lesson 00: one prediction and one exercise that show how a lesson works."""

from __future__ import annotations

from typing import Any

from helpers.quiz import Choice, Exercise, Prediction

another_model = Prediction(
    "A second model is built with other random numbers. Then it loads the saved state dict. What does it answer to the "
    "same inputs?",
    (
        Choice(
            "exactly what the first one answers", "The answers follow from the nine numbers, and those are now the same.", True
        ),
        Choice("something between the two models", "Loading replaces, it does not mix: nothing of the old numbers is left."),
        Choice("what it answered before, until it is trained", "Loading is enough: the numbers are the training."),
    ),
)


def _count(answer: Any) -> str | None:
    if isinstance(answer, bool) or not isinstance(answer, int):
        return f"You gave {type(answer).__name__}; a count is an int, such as len(model.state_dict())."
    if answer == 3:
        return "3 counts the modules. ReLU has nothing to remember, and each Linear has a weight and a bias."
    if answer == 9:
        return "9 counts the numbers inside the tensors. The question is how many tensors have a key."
    return None if answer == 4 else f"{answer} is not the length of the dict. Let Python count: len(...)."


count_keys = Exercise(
    "How many keys?",
    "The state dict of the running model has four keys: a weight and a bias for each Linear.",
    ("model.state_dict() is a dict: it has a length.", "keys = len(model.state_dict())"),
    _count,
)
