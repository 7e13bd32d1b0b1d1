"""Where the right answers of the predictions stand, and how long they are: who clicks blindly must not pass."""

import importlib
import math
import pkgutil
from collections import Counter

import pytest

import helpers.exercises
from helpers.quiz import Prediction

LESSONS = {
    found.name: [value for value in vars(importlib.import_module(f"helpers.exercises.{found.name}")).values()
                 if isinstance(value, Prediction)]
    for found in pkgutil.iter_modules(helpers.exercises.__path__)
    if found.name.startswith("lesson_")
}  # fmt: skip
ALL = [prediction for predictions in LESSONS.values() for prediction in predictions]


def position(prediction):
    return [choice.right for choice in prediction.choices].index(True)


def test_no_position_is_right_in_more_than_two_of_five():
    assert max(Counter(map(position, ALL)).values()) <= 0.4 * len(ALL)


@pytest.mark.parametrize("lesson", LESSONS)
def test_no_position_is_right_in_more_than_half_of_a_lesson(lesson):
    assert max(Counter(map(position, LESSONS[lesson])).values()) <= math.ceil(len(LESSONS[lesson]) / 2)


@pytest.mark.parametrize("longest", [True, False])
def test_the_length_of_a_choice_does_not_give_it_away(longest):
    """Of several that are equally long, one is picked by chance."""
    found = 0.0
    for prediction in ALL:
        lengths = [len(choice.words) for choice in prediction.choices]
        extreme = max(lengths) if longest else min(lengths)
        found += (lengths[position(prediction)] == extreme) / lengths.count(extreme)
    by_chance = sum(1 / len(prediction.choices) for prediction in ALL)
    assert found <= by_chance, f"{found:.1f} of {len(ALL)}; {by_chance:.1f} by chance"
