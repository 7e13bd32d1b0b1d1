"""What every benchmark returns, and the two numbers that it is told by."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One line of the table: what was measured, how it came out, against what, and what was promised."""

    what: str
    ours: str
    against: str
    promised: str
    kept: bool


def middle(values: Sequence[float]) -> float:
    """The median."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed: the nearest rank."""
    return sorted(values)[-(-95 * len(values) // 100) - 1]
