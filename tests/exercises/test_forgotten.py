"""The scripts of lesson 07's second exercise, really run: each goes on as before with its forgotten piece, and not without."""

import copy

import pytest
import torch
from torch import nn, optim

from helpers import lesson
from helpers.exercises.forgotten import FORGOTTEN, SCRIPTS
from helpers.exercises.states import difference


class Run:
    def __init__(self, words, seed):
        torch.manual_seed(seed)
        extra = [layer for name, layer in (("Dropout", nn.Dropout(0.3)), ("BatchNorm", nn.BatchNorm1d(8))) if name in words]
        self.model = nn.Sequential(nn.Linear(2, 8), *extra, nn.Linear(8, 1))
        momentum = 0.9 * ("with momentum" in words)
        parameters = self.model.parameters()
        self.optimizer = optim.Adam(parameters) if "Adam" in words else optim.SGD(parameters, lr=0.1, momentum=momentum)
        self.scheduler = optim.lr_scheduler.StepLR(self.optimizer, 3, 0.5 if "StepLR" in words else 1.0)

    def step(self):
        lesson.train_step(self.model, self.optimizer, *lesson.toy_data())
        self.scheduler.step()

    def saved(self, line):
        pieces = {name: getattr(self, name).state_dict() for name in ("model", "optimizer", "scheduler")}
        pieces["generators"] = torch.get_rng_state()
        pieces["nothing"] = None
        if "named_parameters" in line:
            pieces["parameters"] = dict(self.model.named_parameters())
        return copy.deepcopy(pieces)

    def take(self, name, pieces):
        if name == "generators":
            torch.set_rng_state(pieces[name])
        elif name == "model" and "parameters" in pieces:
            self.model.load_state_dict(pieces["parameters"], strict=False)
        elif name != "nothing":
            getattr(self, name).load_state_dict(copy.deepcopy(pieces[name]))


def go_on(name, with_the_forgotten):
    words, line = SCRIPTS[name]
    run = Run(words, 0)
    for _ in range(4):
        run.step()
    pieces = run.saved(line)
    for _ in range(6):
        run.step()
    resumed = Run(words, 1)
    for piece in [piece for piece in ("model", "optimizer", "scheduler") if f"'{piece}'" in line]:
        resumed.take(piece, pieces)
    if with_the_forgotten:
        pieces.pop("parameters", None)
        resumed.take(FORGOTTEN[name], pieces)
    for _ in range(6):
        resumed.step()
    return difference(run.model.state_dict(), resumed.model.state_dict())


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_goes_on_as_before_with_the_forgotten_piece_and_only_then(name):
    assert go_on(name, with_the_forgotten=True) is None
    assert (go_on(name, with_the_forgotten=False) is None) == (FORGOTTEN[name] == "nothing")
