"""Widgets without a browser: controls change pictures, stills tell the same story."""

from datetime import UTC, datetime

import ipywidgets
import pytest
import torch
from torch import nn

from helpers import draw, scenes, symptoms, widgets

NOW = datetime.now(UTC)
FRAMES = [draw.table(f"Frame {k}", ["a"], [[str(k)]]) for k in range(4)]


def test_a_flipbook_is_linked_in_the_browser():
    book = widgets.flipbook(FRAMES, still=2)
    (button, play, slider, field), pages = book.children[0].children, book.children[1]
    assert isinstance(pages, ipywidgets.Stack) and [p.value for p in pages.children] == [f.svg for f in FRAMES]
    assert slider.value == pages.selected_index == play.value == field.value == 2
    assert slider.description == field.description == "step" and button.description == "Play"
    assert book.still is FRAMES[2]


@pytest.mark.parametrize("at, begins", [(1, 1), (3, 0)])
def test_play_begins_where_the_slider_stands_and_at_the_end_anew(at, begins):
    (button, play, slider, _) = widgets.flipbook(FRAMES, still=2).children[0].children
    slider.value = at
    button.value = True
    assert play.value == begins
    play.value = 3
    button.value = False
    assert play.value == 3


def test_a_flipbook_of_nothing():
    with pytest.raises(ValueError, match="no frames"):
        widgets.flipbook([])


def test_live_draws_what_the_controls_say():
    view = widgets.live(
        scenes.roll, lr=widgets.slider("lr", 0.01, 0.5, 0.1, step=0.01), momentum=widgets.slider("m", 0, 0.98, 0.9, step=0.02)
    )
    (lr, lr_field), (momentum, field), page = view.children[0].children, view.children[1].children, view.children[2]
    assert page.value == scenes.roll(0.1, 0.9).svg == view.still.svg
    momentum.value = 0.0
    assert page.value == scenes.roll(0.1, 0.0).svg and field.value == 0
    lr_field.value = 0.2
    assert lr.value == 0.2 and page.value == scenes.roll(0.2, 0.0).svg
    lr.value = 0.30000000000000004
    assert lr_field.value == 0.3 and lr.value == 0.30000000000000004


def failing(value):
    if value == "bad":
        raise ValueError("<b>no</b> such thing\nsecond line")
    return draw.table(f"Drawn {value}", ["a"], [[value]])


def test_an_error_in_a_live_picture_is_shown_in_its_place():
    view = widgets.live(failing, value=widgets.choice("c", ["good", "bad"]))
    control, page = view.children
    control.value = "bad"
    assert "could not be drawn" in page.value and "ValueError: &lt;b&gt;no&lt;/b&gt; such thing" in page.value
    assert "second line" not in page.value and "role='status'" in page.value
    control.value = "good"
    assert "Drawn good" in page.value


def test_an_error_behind_a_button_gives_the_button_back():
    view = widgets.pressed(failing, "Run", value=widgets.choice("c", ["good", "bad"]))
    control, row, page = view.children
    start, bar = row.children
    control.value = "bad"
    start.click()
    assert "ValueError" in page.value and not start.disabled and bar.layout.visibility == "hidden"
    control.value = "good"
    start.click()
    assert "Drawn good" in page.value and not start.disabled


def test_an_error_while_loading_in_the_rename_lab_is_shown(monkeypatch):
    state, model, expected = scenes.old_naming()
    monkeypatch.setattr(model, "load_state_dict", lambda state: {}["gone"])
    *_, load, page = widgets.rename_lab(state, model, expected).children
    load.click()
    assert "KeyError: &#x27;gone&#x27;" in page.value


def test_controls():
    assert isinstance(widgets.slider("n", 1, 6, 2, step=1), ipywidgets.IntSlider)
    assert widgets.tick("on", False).value is False
    assert widgets.choice("c", ["x", "y"]).options == ("x", "y")


def test_the_finder_answers_while_one_types():
    line, found = widgets.symptom_finder().children

    def said():
        return found.outputs[0]["data"]["text/markdown"]

    line.value = "Traceback (most recent call last):\nEOFError: Ran out of input"
    assert "errors/opening_a_file.ipynb#" in said()
    line.value = "is state_dict a copy"
    assert "02_read_the_state_dict.ipynb#Which-copies-are-copies?" in said()
    line.value = "<b>zzqq</b>"
    assert "Nothing fits" in said() and "zzqq" not in said()
    line.value = " "
    assert said() == symptoms.EMPTY


def test_the_refactor_lab_runs_what_was_chosen(tmp_path):
    view = widgets.refactor_lab(scenes.Project(tmp_path))
    _, form, row, page = view.children
    assert "rename the class, whole model: fails to load" in page.value
    form.value = "state dict"
    row.children[0].click()
    assert "rename the class, state dict: loads, same outputs" in page.value


def test_progress_yields_everything(capsys):
    assert list(widgets.progress(iter("abc"), 3, "letters")) == ["a", "b", "c"]


def test_ones_own_file_typed_or_uploaded_gets_its_findings(tmp_path):
    model = nn.Linear(2, 1)
    path = tmp_path / "mine.pth"
    torch.save({"module.weight": torch.ones(1, 2), "module.bias": torch.ones(1)}, path)
    view = widgets.own_file(model)
    line, upload, page = view.children
    line.value = f" {path} "
    assert "It fits: all 2 keys" in page.value and "<svg" in page.value
    line.value = str(tmp_path / "none.pth")
    assert "not there" in page.value
    upload.value = (
        {"name": "../sent.pth", "content": memoryview(path.read_bytes()), "type": "", "size": 1, "last_modified": NOW},
    )
    assert "It fits: all 2 keys" in page.value and "torch.load(&#x27;sent.pth&#x27;" in page.value
