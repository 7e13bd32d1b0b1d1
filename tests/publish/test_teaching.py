"""The teaching guide names what the lessons have: their minutes, their predictions, and wrong answers that can be given."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
KINDS = {"slide", "subslide", "-", "skip"}


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_each_lesson_has_its_part(path):
    title, minutes = nbformat.read(path, as_version=4).cells[0].source.split("\n")[0][2:], None
    minutes = re.search(r"^(\d+) minutes", nbformat.read(path, as_version=4).cells[0].source, re.M)[1]
    part = re.search(rf"^## {re.escape(title)} \({minutes} minutes\)\n(.*?)(?=^## )", GUIDE, re.M | re.S)[1]
    assert "**Land:**" in part and "**Ask**" in part and "**Goes wrong live:**" in part
    module = importlib.import_module(f"helpers.exercises.lesson_{path.name[:2]}")
    asked = getattr(module, re.search(r"\*\*Ask\*\*.*?`(\w+)`", part, re.S)[1])
    wrong = [choice.words for choice in asked.choices if not choice.right]
    quoted = re.findall(r'^  - "([^"]+)"', part, re.M)
    assert len(quoted) == len(wrong)
    for words in quoted:
        assert any(words in choice for choice in wrong), words


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_cell_knows_its_slide(path):
    kinds = [cell.metadata["slideshow"]["slide_type"] for cell in nbformat.read(path, as_version=4).cells]
    assert kinds[0] == "slide" and set(kinds) <= KINDS and kinds.count("slide") >= 8


def test_the_plans_fit_their_time():
    for name, most in (("45 minutes", 45), ("2 hours", 120)):
        plan = re.search(rf"\*\*{name}.*?(?=\n\n)", GUIDE, re.S)[0]
        assert most - 5 <= sum(map(int, re.findall(r"\((\d+)\)", plan))) <= most, name
