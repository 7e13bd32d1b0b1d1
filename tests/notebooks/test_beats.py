"""The variants that the notebook layer runs: every beat twice, and a look at the memory that can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from beats import BINDER_SHARE, beats, memory_check, write_variants

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.mark.parametrize("most, passes", [(1, False), (BINDER_SHARE, True)])
def test_the_look_at_the_memory_can_fail(most, passes):
    done = subprocess.run([sys.executable, "-c", memory_check(most)], capture_output=True, text=True)
    assert (done.returncode == 0) == passes and ("AssertionError" in done.stderr) != passes


def test_each_lesson_is_doubled_and_each_solution_is_there(tmp_path):
    write_variants(NOTEBOOKS, tmp_path)
    lessons = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
    assert sorted(path.name for path in tmp_path.glob("*.ipynb")) == lessons
    assert sorted(path.name for path in (tmp_path / "solutions").glob("*.ipynb")) == lessons
    for name in lessons:
        variant = nbformat.read(tmp_path / name, as_version=4)
        found = [(heading, [cell.source for cell in cells]) for heading, cells in beats(variant)]
        assert found and found[::2] == found[1::2]
        assert variant.cells[-1].source == memory_check(BINDER_SHARE)
