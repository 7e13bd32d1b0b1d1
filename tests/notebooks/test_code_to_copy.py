"""What a learner copies out of a lesson, tried on the cases in which code of this kind usually fails."""

import copy
import os
from collections import OrderedDict
from pathlib import Path

import nbformat
import pytest
import torch
from torch import nn, optim

from helpers import draw, lesson, scenes

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def run(lesson, *signs, **given):
    """The names after the cells of a lesson that hold these signs have been run, one after the other."""
    [path] = NOTEBOOKS.glob(f"{lesson}_*.ipynb")
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    names = {"torch": torch, "nn": nn, "optim": optim, "copy": copy, "os": os, **given}
    for sign in signs:
        [source] = [source for source in cells if sign in source]
        exec(source, names)
    return names


def whole(model):
    return copy.deepcopy(model.state_dict())


def equal(one, other):
    return all(torch.equal(one[key], other[key]) for key in one) and one.keys() == other.keys()


@pytest.mark.parametrize("parent", ["body", "encoder", "bodybody", "net"])
def test_the_hook_renames_its_own_part_of_the_path_only(parent):
    model = nn.ModuleDict({parent: run("06", "def rename_old_keys")["Net"]()})
    old = {f"{parent}.body.weight": torch.full((2, 2), 3.0), f"{parent}.body.bias": torch.full((2,), 4.0)}
    model.load_state_dict(old)
    assert equal(model.state_dict(), dict(zip((f"{parent}.encoder.weight", f"{parent}.encoder.bias"), old.values())))


def test_what_fits_is_found_beside_a_key_that_the_model_lacks():
    clean = {"0.weight": torch.ones(2, 2), "0.bias": torch.ones(2), "2.weight": torch.ones(1, 2), "extra": torch.ones(1)}
    assert list(run("06", "fits = {key: tensor", clean=clean)["fits"]) == ["0.weight", "0.bias"]


@pytest.mark.parametrize("error", [KeyError, TypeError, RuntimeError, KeyboardInterrupt])
def test_the_old_state_is_put_back_whatever_was_raised(error):
    def once(*_):
        hook.remove()
        raise error("in a hook")

    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before, other = whole(model), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).state_dict()
    load = run("06", "def load_or_leave")["load_or_leave"]
    hook = model[1].register_load_state_dict_pre_hook(once)
    with pytest.raises(error):
        load(model, other)
    assert equal(model.state_dict(), before)


def test_renaming_keeps_the_versions_of_modules():
    old_state, new_model, expected = scenes.old_naming()
    given = {"old_state": old_state, "new_model": new_model, "expected": expected, "inputs": lesson.toy_data()[0]}
    names = run("06", "def rename(name)", OrderedDict=OrderedDict, **given)
    assert names["renamed"]._metadata["encoder"] == new_model.state_dict()._metadata["encoder"]


def test_two_savers_never_share_a_temporary_file(tmp_path, monkeypatch):
    moved, rename = [], os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (moved.append(str(old)), rename(old, new)))
    save = run("08", "def save(state, path):", folder=tmp_path)["save"]
    for name in ("run.pth", "run.pt", "run.pth"):
        save({"epoch": 1}, tmp_path / name)
    assert len(set(moved)) == len(moved) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.pth", "run.pt", "run.pth"]


def test_a_new_rate_holds_with_every_scheduler_and_every_group():
    given = {"make": {}, "draw": draw, "group_only": None, "new_scheduler": None}
    change = run("07", "def all_three", **given)["all_three"]
    for make in (
        lambda o: optim.lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
        lambda o: optim.lr_scheduler.StepLR(o, 30),
        lambda o: optim.lr_scheduler.ExponentialLR(o, 0.9),
        lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 100),
    ):
        layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
        optimizer = optim.SGD([{"params": layer.parameters(), "lr": lr} for layer, lr in zip(layers, (0.1, 0.5))])
        scheduler = change(optimizer, make(optimizer), make)
        optimizer.step()
        scheduler.step()
        assert all(0.0005 < group["lr"] <= 0.001 for group in optimizer.param_groups)
