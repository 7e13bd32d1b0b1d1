"""Answers to the exercise of lesson 00."""

from __future__ import annotations

import numpy as np
import torch

from case import Case
from helpers import lesson
from helpers.exercises import lesson_00

CASES = [
    Case(
        lesson_00.count_keys,
        [4, 4.0, np.int64(4), torch.tensor(4), np.array([4]), torch.tensor([4], dtype=torch.uint8)],
        [
            (2, "2 counts the Linears"),
            (3, "3 counts the modules"),
            (9, "9 counts the numbers"),
            (36, "36 counts the bytes"),
            (np.int64(5), "5 is not the length"),
            (4.5, "4.5 is not the length"),
            ("4", "You gave str"),
            (True, "You gave bool"),
            (len, "You gave builtin_function_or_method"),
            (lesson.build_model().state_dict(), "You gave OrderedDict; the question is how many"),
            (lesson.build_model().state_dict().keys(), "You gave odict_keys; the question is how many"),
        ],
    )
]
