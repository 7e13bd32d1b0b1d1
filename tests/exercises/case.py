"""An exercise with the answers it is tried on."""

from __future__ import annotations

from typing import Any, NamedTuple

from helpers.quiz import Exercise


class Case(NamedTuple):
    """An exercise, its right answers in different styles, and (wrong answer, words of its message) pairs."""

    exercise: Exercise
    right: list[Any]
    wrong: list[tuple[Any, str]]
