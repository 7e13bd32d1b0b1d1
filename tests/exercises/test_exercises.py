"""Every exercise against its table, every prediction against its own rules."""

import ast
import importlib
import os
import pkgutil
import random
import re
from pathlib import Path

import nbformat
import numpy
import pytest
import torch

import helpers.exercises
from helpers.exercises import large, lesson_02
from helpers.exercises.trial import apart
from helpers.quiz import Exercise, Prediction

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
MODULES = [
    importlib.import_module(f"helpers.exercises.{found.name}")
    for found in pkgutil.iter_modules(helpers.exercises.__path__)
    if found.name.startswith("lesson_")
]


def values(kind):
    return [
        pytest.param(value, id=f"{module.__name__[-9:]}.{name}")
        for module in MODULES
        for name, value in vars(module).items()
        if isinstance(value, kind)
    ]


CASES = [
    case
    for found in pkgutil.iter_modules([str(Path(__file__).parent)])
    if found.name.startswith("answers_")
    for case in importlib.import_module(found.name).CASES
]
LONG = ("Save and survive", "Once the weights", "What is in the file", "A kill in the middle", "One layer of a stranger")
EACH = [
    pytest.param(case, id=case.exercise.name, marks=[pytest.mark.long] * case.exercise.name.startswith(LONG)) for case in CASES
]


def test_every_exercise_has_one_table():
    assert sorted(case.exercise.name for case in CASES) == sorted(param.values[0].name for param in values(Exercise))


def around():
    own = [torch.get_rng_state().tolist(), random.getstate(), numpy.random.get_state()[1].tolist(), Path.cwd()]
    return [*own, torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_default_device(), torch.save, torch.load]


@pytest.mark.parametrize("case", EACH)
def test_each_answer_gets_its_verdict_twice_and_the_notebook_stays_as_it_was(case):
    """Right in every style, wrong in words of its own; the table is long enough to be a specification."""
    before, judge = around(), case.exercise.judge
    right, wrong = [judge(answer) for answer in case.right], [judge(answer) for answer, _ in case.wrong]
    assert around() == before
    for k, verdict in enumerate(right):
        assert (verdict.state, verdict.message) == ("right", case.exercise.rule), k
    for verdict, (_, words) in zip(wrong, case.wrong, strict=True):
        assert verdict.state == "wrong" and words in verdict.message, words
        assert "\n" not in verdict.message and len(verdict.message) < 260, words
    assert len({id(answer) for answer in case.right}) == len(case.right) >= 5
    messages = {verdict.message for verdict in wrong}
    assert len(messages) >= 5 and case.exercise.rule not in messages
    torch.manual_seed(1234)
    assert [judge(answer) for answer in case.right] == right
    assert [judge(answer) for answer, _ in case.wrong] == wrong


def test_a_check_has_defaults_of_its_own_and_gives_the_notebook_back_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    dtype = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        with torch.no_grad():
            before = around()
            with pytest.raises(ValueError), apart():
                assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
                assert torch.rand(1).device.type == "cpu"
                torch.set_default_device("meta")
                random.random(), numpy.random.random(), torch.set_grad_enabled(False), os.chdir("..")
                raise ValueError
            assert around() == before
    finally:
        torch.set_default_dtype(dtype)
        torch.set_default_device(None)


@pytest.mark.parametrize("exercise", values(Exercise))
@pytest.mark.parametrize("answer", [None, object(), [], "", 10**100, float("nan"), {1: 2}, lambda *a: None, type])
def test_nothing_at_all_makes_a_check_raise(exercise, answer):
    assert exercise.judge(answer).state in ("wrong", "untried")


@pytest.mark.skipif(not large.STATUS.exists(), reason="VmHWM is Linux's")
def test_memory_that_the_first_call_takes_or_frees_is_not_the_answers():
    """In CI all right answers of lesson 10's first exercise were called too large, once."""
    held = [torch.ones(10**7)]
    for first in (lambda: torch.ones(10**7).sum(), held.clear):
        assert large.taken(lambda: None, first) < 5 * 10**6 < 30 * 10**6 < large.taken(lambda: torch.ones(10**7).sum(), first)


@pytest.mark.skipif(not large.STATUS.exists(), reason="VmHWM is Linux's")
def test_memory_that_the_c_library_keeps_is_not_taken_unseen(monkeypatch):
    """In a whole run a wrong answer of that exercise was called right, twice: it had used what was free and still there."""
    monkeypatch.setattr(large, "_give_back", lambda: None)
    kept = [torch.ones(7 * 10**6), torch.ones(7 * 10**6)]
    kept.clear()
    kept += [torch.ones(4 * 10**6), torch.ones(4 * 10**6)]
    kept.clear()
    assert large.taken(lambda: torch.ones(4 * 10**6).sum(), lambda: None) > 15 * 10**6


@pytest.mark.parametrize("exercise", values(Exercise))
def test_hints_do_not_repeat(exercise):
    assert len(exercise.hints) >= 2 and len(set(exercise.hints)) == len(exercise.hints)


@pytest.mark.parametrize("prediction", values(Prediction))
def test_a_prediction_has_one_right_choice_and_a_reply_of_its_own_for_each(prediction):
    assert sum(choice.right for choice in prediction.choices) == 1
    assert len({choice.reply for choice in prediction.choices}) == len(prediction.choices) >= 3
    assert len({choice.words for choice in prediction.choices}) == len(prediction.choices)
    assert prediction.question.endswith(("?", "."))


def name_in(words):
    return re.match(r"Exercise: [^.?]+", words).group()


def exercise_cells(path):
    return [cell for cell in nbformat.read(path, 4).cells if "exercise" in cell.metadata.get("tags", [])]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_blanks_in_the_lesson_are_not_tried_yet_and_solved_in_the_solutions(path):
    blank, solved = exercise_cells(path), exercise_cells(path.parent / "solutions" / path.name)
    said = [cell.outputs[-1].data["text/plain"] for cell in blank]
    assert said and all("○ Not tried yet." in words for words in said)
    answers = [cell.outputs[-1].data["text/plain"] for cell in solved]
    assert all("✓ Right." in words for words in answers)
    assert [name_in(words) for words in said] == [name_in(words) for words in answers]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__[-9:])
def test_every_exercise_and_prediction_is_used_by_its_lesson(module):
    [path] = NOTEBOOKS.glob(f"{module.__name__[-2:]}_*.ipynb")
    source = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
    for name, value in vars(module).items():
        if isinstance(value, Exercise):
            assert f"quiz.{name}.check(" in source
        if isinstance(value, Prediction):
            assert f"quiz.{name}.ask()" in source


def attributes(source):
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    [init] = [node for node in classes["TenThings"].body if isinstance(node, ast.FunctionDef)]
    return [ast.unparse(statement) for statement in init.body]


def test_the_ten_things_of_the_lesson_are_the_ones_that_are_checked():
    [cell] = [
        cell
        for cell in nbformat.read(NOTEBOOKS / "02_read_the_state_dict.ipynb", 4).cells
        if cell.source.startswith("class TenThings")
    ]
    assert attributes(cell.source) == attributes(Path(lesson_02.__file__).read_text(encoding="utf-8"))
    assert len(attributes(cell.source)) == 1 + len(lesson_02.TEN)
