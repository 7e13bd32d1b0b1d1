"""What every benchmark returns, and the two numbers that it is told by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


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


def resident(which: str) -> float:
    """This process's `VmRSS` or `VmHWM` (the highest so far) in MiB; Linux only."""
    return int(re.search(rf"{which}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8")).group(1)) / 1024
