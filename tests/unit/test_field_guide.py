"""The scenes of lessons 06 to 08 and 12 really do what they draw."""

from pathlib import Path

import pytest
import torch

from helpers import clinic, lesson, scenes, widgets
from helpers.scenes import damage, keys, resuming

SCRIPT = Path(__file__).resolve().parents[2] / "notebooks" / "scripts" / "train.py"


@pytest.mark.parametrize("name", scenes.CASES)
def test_each_case_is_a_real_mismatch(name):
    state, model = keys.case(name)
    if name == "weight norm, old names":
        assert not set(state) <= set(model.state_dict()) and not model.load_state_dict(state).missing_keys
        return
    with pytest.raises(RuntimeError, match="loading state_dict"):
        model.load_state_dict(state)


def test_rules_rename_as_replace_does():
    assert keys.renamed(["module.a.w", "module.b"], ["module. ->", "a -> c", ""]) == {"module.a.w": "c.w", "module.b": "b"}
    with pytest.raises(ValueError, match="'module' is no rule yet; wanted old -> new"):
        keys.renamed(["module.a"], ["module"])
    with pytest.raises(ValueError, match="two keys became x"):
        keys.renamed(["a", "b"], ["a -> x", "b -> x"])


def load_with(rules):
    state, model, expected = scenes.old_naming()
    *lines, button, page = widgets.rename_lab(state, model, expected).children
    button.click()
    assert "It did not load" in page.value and "fc2.bias" in page.value
    for line, rule in zip(lines, rules):
        line.value = rule
    assert "Every key has its place" in page.value
    button.click()
    return state, model, expected, page.value


def test_the_rename_lab_ends_in_a_load_that_outputs_prove():
    state, model, expected, shown = load_with(["module.net. ->", "fc1 -> encoder", "fc2 -> head"])
    assert "Loaded, and proved by the outputs" in shown
    assert torch.equal(model(lesson.toy_data()[0]), expected)
    assert torch.equal(model.encoder.weight, state["module.net.fc1.weight"])


def test_swapped_layers_of_one_shape_are_told_by_their_outputs_alone():
    state, model, _, shown = load_with(["module.net. ->", "fc1 -> head", "fc2 -> encoder"])
    assert "Loaded, and wrong" in shown and "not those of the old model" in shown
    assert torch.equal(model.head.weight, state["module.net.fc1.weight"])


@pytest.mark.long
@pytest.mark.usefixtures("warm_python")
def test_a_run_killed_anywhere_is_the_same_run(tmp_path):
    runs = scenes.Killed(SCRIPT, tmp_path, steps=24)
    for at in (3, 5, 16, 23):
        picture = runs.compared(at)
        assert picture.alt.count("bit for bit the same") == 6 and "another run" not in picture.alt, at


@pytest.mark.long
@pytest.mark.usefixtures("warm_python")
def test_a_run_that_forgets_is_another_run(tmp_path):
    forgetful = tmp_path / "train.py"
    source = SCRIPT.read_text()
    forgetful.write_text(source)
    runs = scenes.Killed(forgetful, tmp_path, steps=16)
    runs.whole()
    for line, words in (
        ('    torch.set_rng_state(saved["torch"])\n', "losses; no: another run"),
        ('    shuffle.set_state(saved["shuffle"])\n', "order of the rows; no: another run"),
        ("    np.random.set_state((name, key.numpy(), *rest))\n", "random numbers; no: another run"),
    ):
        assert source.count(line) == 1
        forgetful.write_text(source.replace(line, ""))
        scenes.Killed.resumed.cache_clear()
        assert words in runs.compared(12).alt, line


def test_the_script_is_short_and_fits_a_projector():
    lines = SCRIPT.read_text().splitlines()
    assert len(lines) <= 80 and max(map(len, lines)) <= 84


def test_each_part_counts():
    kept = dict.fromkeys(scenes.PARTS, True)
    assert scenes.forgotten(**kept).svg.count("the same run, loss for loss") >= 1
    for part in scenes.PARTS:
        assert f"Without {part}: another run" in scenes.forgotten(**{**kept, part: False}).svg


def test_a_state_is_a_copy():
    run = resuming.Run()
    state = run.state()
    before = state["model"]["0.weight"].clone()
    run.step()
    assert torch.equal(state["model"]["0.weight"], before) and state["position"] == []


@pytest.mark.parametrize("name", damage.DAMAGES)
def test_testzip_notices_all_but_a_swap(name):
    marks = {loader: damage.outcome(name, loader)[0] for loader in damage.LOADERS}
    assert marks["testzip, then torch.load"] == {"nothing": "yes", "swap two files": "wrong"}.get(name, "no")
    assert (marks["safetensors"] == "wrong") == (name in ("flip one bit", "zero a page", "swap two files"))


def test_a_hostile_pickle_is_read_and_not_run(tmp_path):
    from helpers.exercises.states import hostile_file

    hostile_file(tmp_path / "h.pth", tmp_path / "marker")
    program = damage.instructions(tmp_path / "h.pth")
    assert ("GLOBAL", "posix.mkdir", "import") in program and program[-1][0] == "STOP"
    assert len(scenes.instruction_frames(tmp_path / "h.pth")) == len(program)
    assert not (tmp_path / "marker").exists()


def test_each_patient_of_the_ward_has_what_the_clinic_finds(tmp_path):
    ward = scenes.Ward(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == len(scenes.PATIENTS) == 12
    for patient in scenes.PATIENTS:
        name = ward.ill(patient)[0]
        others = [guess for guess in scenes.GUESSES if guess != name]
        assert all("says the clinic" not in ward.visit(patient, guess).alt for guess in others)
        found = clinic.examine(ward.path(patient), ward.model(patient))
        assert any(one.level != "ok" for one in found) and name in ward.visit(patient, name).alt
        model = ward.model(patient)
        if "model.load_state_dict" in found.code:
            exec(found.code, {"model": model})
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="wanted one of 1, 2"):
        ward.visit("13", scenes.NOT_YET)
