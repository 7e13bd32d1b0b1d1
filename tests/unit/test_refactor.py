"""The refactor lab really runs what it says."""

import pytest

from helpers import scenes
from helpers.scenes.refactor import Change


@pytest.mark.long
def test_every_change_was_run_in_both_formats_and_its_outcome_follows_from_what_each_stores(tmp_path):
    outcomes = {(o.change, o.form): o for o in scenes.Project(tmp_path).run_all()}
    assert set(outcomes) == {(change, form) for change in scenes.CHANGES for form in scenes.FORMATS}
    assert not [o for o in outcomes.values() if str(tmp_path) in o.words or "/tmp" in o.words]
    marks = {key: outcome.mark for key, outcome in outcomes.items()}
    assert marks["rename the class", "whole model"] == marks["move the module", "whole model"] == "no"
    assert marks["rename the class", "state dict"] == marks["move the module", "state dict"] == "yes"
    assert marks["change a default", "state dict"] == marks["reorder the layers", "whole model"] == "wrong"
    assert "Can't get attribute 'Net'" in outcomes["rename the class", "whole model"].words
    assert "No module named 'net'" in outcomes["move the module", "whole model"].words
    assert "Missing key(s)" in outcomes["rename an attribute", "state dict"].words
    assert outcomes["rename an attribute", "whole model"].verdict == "loads, fails when called"


def test_an_outcome_is_not_typed_in(tmp_path, monkeypatch):
    monkeypatch.setitem(scenes.CHANGES, "rename the class", Change("scale=1.0", "scale=1.0 "))
    assert scenes.Project(tmp_path).run("rename the class", "whole model").mark == "yes"


def test_no_such_change(tmp_path):
    with pytest.raises(ValueError, match="wanted one of rename the class"):
        scenes.Project(tmp_path).run("burn it", "state dict")


def test_a_process_that_fails_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.scenes.refactor.SAVE", "raise SystemExit('no space')")
    with pytest.raises(RuntimeError, match="The process failed: no space"):
        scenes.Project(tmp_path).before()
