"""Each lesson in real JupyterLab in a real browser, used by keyboard alone."""

from __future__ import annotations

import importlib
from pathlib import Path

import nbformat
import pytest

from controls import moves
from helpers import symptoms
from helpers.quiz import Exercise, Prediction
from lab import OpenNotebook, serious
from patience import until

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
LESSONS = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(scope="module")
def page(browser):
    """One JupyterLab in which a learner opens one lesson after the other."""
    with browser.new_page(viewport={"width": 1280, "height": 900}) as page:
        yield page


@pytest.fixture(scope="module", params=LESSONS)
def lesson(request, page, lab):
    """A lesson opened, not run yet; the tests below use it in their order."""
    opened = OpenNotebook(page, lab, request.param)
    opened.name = request.param
    yield opened
    opened.shut_down()


def values(name, kind):
    module = importlib.import_module(f"helpers.exercises.lesson_{name[:2]}")
    return {key: value for key, value in vars(module).items() if isinstance(value, kind)}


def test_stored_pictures_show_before_anything_is_run(lesson):
    book = nbformat.read(NOTEBOOKS / f"{lesson.name}.ipynb", as_version=4)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    with_picture = [k for k, cell in enumerate(cells) if any("image/svg+xml" in o.get("data", {}) for o in cell.outputs)]
    assert with_picture
    widths = lesson.page.evaluate(
        "async numbers => { const book = window.jupyterapp.shell.currentWidget.content, widths = [];"
        "const code = book.widgets.filter(c => c.model.type === 'code');"
        "for (const k of numbers) { const seen = () => code[k].node.querySelector('.jp-OutputArea-output img');"
        "for (let tries = 0; !seen() && tries < 600; tries += 1) {"
        "await book.scrollToItem(book.widgets.indexOf(code[k])); await new Promise(requestAnimationFrame); }"
        "await seen().decode(); widths.push(seen().naturalWidth); } return widths; }",
        with_picture,
    )
    assert [cells[k].source for k, width in zip(with_picture, widths) if width <= 300] == []


def test_run_all_leaves_no_error(lesson):
    lesson.run_all()
    assert lesson.output_errors() == [] and lesson.errors == []


def test_each_prediction_answers_each_choice(lesson):
    for name, prediction in values(lesson.name, Prediction).items():
        cell = lesson.cell(f"quiz.{name}.ask()")
        order = sorted(range(len(prediction.choices)), key=lambda k: prediction.choices[k].right)
        for k in order:
            lesson.press(cell, prediction.choices[k].words, "Enter" if k % 2 else "Space")
            lesson.wait_text(cell, "[role=status]", prediction.judge(k).words)


def test_each_exercise_unfolds_its_hints(lesson):
    for name, exercise in values(lesson.name, Exercise).items():
        cell = lesson.cell(f"quiz.{name}.check(")
        lesson.wait_text(cell, "[role=status]", exercise.judge(...).words)
        for k, hint in enumerate(exercise.hints):
            lesson.press(cell, f"Hint {k + 1} of {len(exercise.hints)}", "Space")
            lesson.wait_text(cell, "li:last-child", hint)
        assert cell.locator("li").all_inner_texts() == list(exercise.hints)


def test_each_control_does_what_python_says(lesson):
    wanted = moves(lesson.name[:2])
    assert {(code, label) for code in {move.code for move in wanted} for label in lesson.controls(lesson.cell(code))} == {
        (move.code, move.control) for move in wanted
    }
    for move in wanted:
        cell = lesson.cell(move.code)
        lesson.press(cell, move.control, *move.keys)
        if move.shows:
            lesson.wait_title(cell, move.shows)


def test_play_and_stop(lesson):
    code = {
        "01": "scenes.forward_frames",
        "02": "scenes.photograph_frames",
        "03": "scenes.momentum_frames",
        "04": "scenes.round_trip_frames",
        "05": "scenes.import_frames",
        "07": "runs.frames",
        "08": "scenes.instruction_frames",
        "09": "scenes.ema_frames",
        "10": "scenes.touch_frames",
        "11": "scenes.writing_frames",
    }.get(lesson.name[:2])
    if code is None:
        assert "flipbook" not in (NOTEBOOKS / f"{lesson.name}.ipynb").read_text(encoding="utf-8")
        return
    cell = lesson.cell(code)
    label = cell.locator(".widget-slider label").first.text_content()
    last = cell.locator(".noUi-handle").get_attribute("aria-valuemax").partition(".")[0]
    lesson.press(cell, label, "Home")
    wait_number(cell, "0")
    lesson.press(cell, "Play", "Space")
    wait_number(cell, last)
    cell.locator("button:has-text('Play'):not(.mod-active)").wait_for()
    lesson.number(cell, label, "1")
    handle = cell.locator(".noUi-handle")
    until(lambda: handle.get_attribute("aria-valuenow").partition(".")[0] == "1", lambda: handle.get_attribute("aria-valuenow"))


def wait_number(cell, wanted):
    field = cell.locator("input[type=number]").first
    until(lambda: field.input_value() == wanted, field.input_value, pause=0.03)


def test_axe_finds_nothing_serious_in_what_the_lesson_shows(lesson):
    handles = lesson.page.locator(".jp-Notebook .jp-OutputArea .noUi-handle").count()
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        lesson.page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        lesson.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
        found = serious(lesson.page, ".jp-Notebook .jp-OutputArea", rules="Light" in theme)
        assert set(found) <= {"aria-input-field-name"} and all("noUi-handle" in html for html in found.values())
    for cell in lesson.page.locator(".jp-Notebook .jp-Cell:has(.noUi-handle)").all():
        names = cell.locator(".widget-slider label").all_text_contents()
        fields = cell.locator("input[type=number]").evaluate_all("all => all.map(e => e.labels[0].textContent)")
        assert names and names == fields, (names, fields, handles)


def test_nothing_was_logged_as_an_error(lesson):
    assert lesson.errors == [] and lesson.output_errors() == []


def test_after_a_restart_controls_live_again(lesson):
    name, prediction = next(iter(values(lesson.name, Prediction).items()))
    asked, first = f"quiz.{name}.ask()", moves(lesson.name[:2])[:1]
    codes = [asked, *(move.code for move in first)]
    lesson.restart_and_run_to(lesson.code_cell(max(map(lesson.number_of, codes))))
    assert lesson.output_errors() == [] and lesson.errors == []
    lesson.press(lesson.cell(asked), prediction.choices[0].words, "Space")
    lesson.wait_text(lesson.cell(asked), "[role=status]", prediction.judge(0).words)
    for move in first:
        lesson.press(lesson.cell(move.code), move.control, *move.keys)
        lesson.wait_title(lesson.cell(move.code), move.shows)


@pytest.fixture(scope="module")
def start(browser, lab):
    with browser.new_page(viewport={"width": 1280, "height": 900}) as page:
        opened = OpenNotebook(page, lab, "00_start_here")
        opened.run_all()
        yield opened


@pytest.mark.parametrize("words", ["Missing key(s) in state_dict", "loss jumped after resume", "file is huge"])
def test_the_symptom_finder_finds_while_one_types(start, words):
    cell = start.cell("symptom_finder()")
    start.press(cell, "symptom", "Control+a", "Delete")
    start.wait_text(cell, "p", symptoms.EMPTY)
    start.page.keyboard.type(words, delay=15)
    found = symptoms.find(words)
    start.wait_text(cell, "ol", "".join(f"{hit.name}{hit.advice}{symptoms.title(hit)}" for hit in found))


@pytest.mark.parametrize("words", ["works in the notebook, fails in the script", "EOFError: Ran out of input"])
def test_a_symptom_leads_to_its_section(start, words):
    cell = start.cell("symptom_finder()")
    start.press(cell, "symptom", "Control+a", "Delete")
    start.page.keyboard.type(words, delay=5)
    hit = symptoms.find(words)[0]
    start.wait_text(cell, "li strong", hit.name)
    for _ in range(2):
        start.press(cell, symptoms.title(hit), "Enter")
        start.page.wait_for_function(
            "name => window.jupyterapp.shell.currentWidget.title.label === name", arg=f"{hit.place.rpartition('/')[2]}.ipynb"
        )
        start.page.wait_for_selector(f".jp-NotebookPanel:not(.lm-mod-hidden) h2:has-text('{hit.section}')")
        start.show("00_start_here.ipynb")
    start.show(f"{hit.place.rpartition('/')[2]}.ipynb")
    start.page.wait_for_function(
        "words => [...document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) h2')].some("
        "h => h.textContent.startsWith(words) && h.getBoundingClientRect().top >= 0 "
        "&& h.getBoundingClientRect().top < innerHeight)",
        arg=hit.section,
    )
    start.show("00_start_here.ipynb")


def test_a_learner_is_wrong_then_right(start):
    cell = start.cell("quiz.count_keys.check(")
    for code, words in (("keys = 3", "✗ Not yet. 3 counts the modules."), ("keys = len(model.state_dict())", "✓ Right.")):
        start.rewrite("quiz.count_keys.check(", f"{code}\n\nquiz.count_keys.check(keys)")
        start.page.wait_for_function(
            "([cell, words]) => [...cell.querySelectorAll('[role=status]')].some(e => e.textContent.startsWith(words))",
            arg=[cell.element_handle(), words],
        )
    assert cell.locator(".jp-OutputArea-output button").count() == 0
