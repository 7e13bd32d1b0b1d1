"""The template that every lesson follows, and what may stand in a stored output."""

from __future__ import annotations

import ast
import re
from base64 import b64decode
from collections import Counter
from html import unescape
from pathlib import Path

import nbformat
import pytest

from beats import FIXED, beats, sections
from refresh import BINDER, binder_base, normalise, text

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("*.ipynb"))
SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))
ERRORS = sorted((NOTEBOOKS / "errors").glob("*.ipynb"))
PATH = [path for path in LESSONS if path.name >= "01"]
LEAK = re.compile(r"(?<![\w.])/(?:root|home|tmp|work|Users|usr|opt|var)/|[A-Z]:\\\\|\b0x[0-9a-f]{6,}\b|127\.0\.0\.1|localhost")
MOVING = (
    "widgets.flipbook(",
    "widgets.live(",
    "widgets.refactor_lab(",
    "widgets.symptom_finder(",
    "widgets.pressed(",
    "widgets.rename_lab(",
    "widgets.own_file(",
)
MINUTES = {".check(": 4, ".ask()": 0.5} | dict.fromkeys(MOVING, 1.5)
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
each_of_the_path = pytest.mark.parametrize("path", PATH, ids=lambda path: path.stem)
each_notebook = pytest.mark.parametrize(
    "path", LESSONS + SOLUTIONS + ERRORS, ids=lambda path: f"{path.parent.name}/{path.stem}"
)


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_every_lesson_has_its_solution():
    assert [path.name for path in LESSONS] == [path.name for path in SOLUTIONS]


@each_lesson
def test_sections_stand_in_order(path):
    names = [name for name, _ in sections(read(path)) if name]
    assert [name for name in names if name in FIXED] == list(FIXED)
    assert names[:2] == list(FIXED[:2]) and names[-4:] == list(FIXED[2:])


@each_of_the_path
def test_four_to_seven_beats_each_with_its_rule(path):
    found = beats(read(path))
    assert 4 <= len(found) <= 7
    for name, cells in found:
        prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        assert "**So:**" in prose, name
        assert any(cell.cell_type == "code" and cell.outputs for cell in cells), name


@each_of_the_path
def test_enough_to_predict_to_move_and_to_solve(path):
    sources = [cell.source for cell in code(path)]
    assert sum(".ask()" in source for source in sources) >= 4
    assert sum(source.count(call) for source in sources for call in MOVING) >= 2
    assert sum(".check(" in source for source in sources) >= 3


@each_lesson
def test_a_prediction_stands_before_the_cell_that_answers_it(path):
    cells = read(path).cells
    for k, cell in enumerate(cells):
        if ".ask()" in cell.source:
            assert cell.metadata.tags == ["predict"]
            following = [other for other in cells[k + 1 : k + 5] if other.cell_type == "code"]
            assert following and following[-1].outputs


@each_lesson
def test_the_front_page(path):
    first = read(path).cells[0].source
    assert re.match(rf"# {path.name[:2]} · \S", first)
    assert f"{binder_base()}HEAD?urlpath=lab/tree/notebooks/{path.name})" in first
    for k in (LESSONS.index(path) - 1, LESSONS.index(path) + 1):
        if 0 <= k < len(LESSONS):
            assert f"]({LESSONS[k].name})" in first


@each_lesson
def test_the_minutes_are_those_of_a_reader_who_does_everything(path):
    """Aloud, 120 words a minute; four minutes an exercise, half a minute a prediction, a minute and a half what moves.

    Four seconds for each line of code, ten for what it shows. The title may be five minutes off.
    """
    kinds = Counter(kind for cell in code(path) for kind in [next(filter(cell.source.__contains__, MINUTES), "")])
    words = sum(len(cell.source.split()) for cell in read(path).cells if cell.cell_type == "markdown")
    lines = sum(len(cell.source.splitlines()) for cell in code(path))
    needed = words / 120 + lines / 15 + sum(MINUTES.get(kind, 1 / 6) * count for kind, count in kinds.items())
    assert abs(int(re.search(r"^(\d+) minutes · ", read(path).cells[0].source, re.M)[1]) - needed) <= 5, needed


@each_notebook
def test_links_lead_to_files(path):
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\((?!https?:)([^)#]+)", cell.source):
                assert (path.parent / target).exists(), target


@each_notebook
def test_cells_are_short_and_need_no_comment(path):
    short = {cell.id for _, cells in beats(read(path)) for cell in cells}
    for cell in code(path):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert 0 < len(lines) <= (12 if cell.id in short else 15), cell.source
        assert max(map(len, lines)) <= 84, cell.source
        assert not any(line.lstrip().startswith("#") for line in lines), cell.source


@each_notebook
def test_only_public_names_no_star_and_no_path_tricks(path):
    for cell in code(path):
        assert "sys.path" not in cell.source and "import *" not in cell.source
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                helper = node.value.id in ("draw", "widgets", "scenes", "lesson", "quiz", "compare", "describe")
                assert not (helper and node.attr.startswith("_")), cell.source


@each_notebook
def test_stored_outputs_are_those_of_a_run_from_the_top(path):
    assert [cell.execution_count for cell in code(path)] == list(range(1, len(code(path)) + 1))
    notebook = read(path)
    assert text(normalise(read(path))) == text(notebook) == path.read_text(encoding="utf-8")
    assert "widgets" not in notebook.metadata


@each_notebook
def test_outputs_hold_no_error_no_live_view_no_trace_of_a_machine(path):
    for cell in code(path):
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr"
            for mime, value in {"stream": output.get("text", ""), **output.get("data", {})}.items():
                assert mime in ("stream", "text/plain", "image/svg+xml", "text/html"), mime
                assert not LEAK.search(value), LEAK.search(value)


@each_notebook
def test_every_picture_has_its_words(path):
    for cell in code(path):
        for output in cell.outputs:
            svg = output.get("data", {}).get("image/svg+xml")
            assert bool(svg) == ("text/html" in output.get("data", {}))
            if svg:
                title, told = (re.search(f"<{tag}>([^<]+)</{tag}>", svg) for tag in ("title", "desc"))
                assert 'role="img"' in svg and title and told
                named = re.fullmatch(
                    r'<img alt="([^"]+)" src="data:image/svg\+xml;base64,([\w+/=]+)">', output.data["text/html"]
                )
                assert unescape(named[1]) == output.data["text/plain"] and b64decode(named[2]).decode() == svg
                assert len(output.data["text/plain"]) > 20 and "<" not in output.data["text/plain"][:1]


def test_the_worked_example_stands_there_in_full():
    source = {path.name[:2]: "\n".join(cell.source for cell in code(path)) for path in LESSONS}
    shown = {
        path.name[:2]: "\n".join(
            output.get("text", "") + output.get("data", {}).get("text/plain", "")
            for cell in code(path)
            for output in cell.outputs
        )
        for path in LESSONS
    }
    for name in ("02", "03", "04"):
        assert "nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))" in source[name]
        assert "optim.SGD(model.parameters(), lr=0.01, momentum=0.9)" in source[name]
    for key in ("0.weight tensor(", "0.bias tensor(", "2.weight tensor(", "2.bias tensor("):
        assert key in shown["02"]
    assert shown["03"].count("'param_groups': [{'lr': 0.01") == 2 and "{'state': {}," in shown["03"]
    for line in (
        '"model_state": model.state_dict(), "optimizer_state": optimizer.state_dict()}',
        '"checkpoint.pth")',
        'other.load_state_dict(checkpoint["model_state"])',
        'other_optimizer.load_state_dict(checkpoint["optimizer_state"])',
    ):
        assert line in " ".join(source["04"].split())


def test_binder_links_stand_on_the_one_address():
    for path in (*LESSONS, *ERRORS, NOTEBOOKS.parent / "README.md"):
        content = path.read_text(encoding="utf-8")
        assert BINDER.findall(content) == [binder_base()]
