"""The lessons' model, its toy data, and plain training that records what happened."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn, optim

SEED = 0


@dataclass(frozen=True)
class Step:
    """One moment of training: the loss before it, and copies of parameters, gradients and momentum buffers.

    Gradients and buffers are None where there are none yet.
    """

    loss: float
    parameters: list[Tensor]
    gradients: list[Tensor | None]
    buffers: list[Tensor | None]


def build_model(seed: int = SEED) -> nn.Sequential:
    """The running model: nine numbers in four tensors, the same for the same seed."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))


def toy_data(rows: int = 32) -> tuple[Tensor, Tensor]:
    """Inputs (rows, 2) and targets (rows, 1), the same on every machine and call."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(rows, 2, generator=generator)
    return inputs, inputs[:, :1] - inputs[:, 1:].abs() / 2 + 0.5


def train_step(model: nn.Module, optimizer: optim.Optimizer, inputs: Tensor, targets: Tensor) -> float:
    """One plain step on the mean squared error; returns the loss before the step."""
    loss = nn.functional.mse_loss(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def train(model: nn.Module, optimizer: optim.Optimizer, steps: int) -> list[Step]:
    """Trains on the toy data and returns the moments 0 … steps, `steps + 1` in all."""
    inputs, targets = toy_data()
    start = nn.functional.mse_loss(model(inputs), targets).item()
    moments = [_moment(start, model, optimizer)]
    for _ in range(steps):
        train_step(model, optimizer, inputs, targets)
        moments.append(_moment(nn.functional.mse_loss(model(inputs), targets).item(), model, optimizer))
    return moments


def _moment(loss: float, model: nn.Module, optimizer: optim.Optimizer) -> Step:
    parameters = list(model.parameters())
    buffers = [optimizer.state.get(p, {}).get("momentum_buffer") for p in parameters]
    return Step(
        loss,
        [p.detach().clone() for p in parameters],
        [None if p.grad is None else p.grad.clone() for p in parameters],
        [None if b is None else b.clone() for b in buffers],
    )


def window_and_photograph(steps: int) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Training seen through `model.state_dict()` and through its deep copy, both taken before the first step."""
    model = build_model()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    window, photograph = model.state_dict(), copy.deepcopy(model.state_dict())
    inputs, targets = toy_data()
    moments = []
    for step in range(steps + 1):
        if step:
            train_step(model, optimizer, inputs, targets)
        moments.append(([t.clone() for t in window.values()], [t.clone() for t in photograph.values()]))
    return moments


def bowl(x, y):
    """A long valley: 0.25·x² + 2.5·y², with its floor at (0, 0)."""
    return 0.25 * x**2 + 2.5 * y**2


def roll(lr: float, momentum: float, steps: int = 40, height: Callable = bowl) -> list[tuple[float, float]]:
    """The points that `optim.SGD` visits from (−1.8, 1.1) down `height`, `steps + 1` of them."""
    point = torch.tensor([-1.8, 1.1], requires_grad=True)
    optimizer = optim.SGD([point], lr=lr, momentum=momentum)
    visited = [(point[0].item(), point[1].item())]
    for _ in range(steps):
        optimizer.zero_grad()
        height(point[0], point[1]).backward()
        optimizer.step()
        visited.append((point[0].item(), point[1].item()))
    return visited


def resume(restore_model: bool, restore_optimizer: bool, steps: int = 10) -> tuple[list[float], list[float]]:
    """Losses of an uninterrupted run, and of one resumed at step 10 with only the ticked parts restored."""
    saved, whole = _uninterrupted(steps)
    other = build_model(SEED + 1)
    other_optimizer = optim.SGD(other.parameters(), lr=0.01, momentum=0.9)
    if restore_model:
        other.load_state_dict(saved["model_state"])
    if restore_optimizer:
        other_optimizer.load_state_dict(copy.deepcopy(saved["optimizer_state"]))
    inputs, targets = toy_data()
    return list(whole), [train_step(other, other_optimizer, inputs, targets) for _ in range(steps)]


@lru_cache(maxsize=4)
def _uninterrupted(steps: int) -> tuple[dict, list[float]]:
    """What was saved at step 10, and the losses of so many steps after it: the same for every resume."""
    inputs, targets = toy_data()
    model = build_model()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(10):
        train_step(model, optimizer, inputs, targets)
    saved = copy.deepcopy({"model_state": model.state_dict(), "optimizer_state": optimizer.state_dict()})
    return saved, [train_step(model, optimizer, inputs, targets) for _ in range(steps)]


def two_layers(inputs: int, hidden: int, outputs: int, bias: bool) -> nn.Sequential:
    """A `Sequential` of Linear, ReLU and Linear, the same for the same sizes."""
    torch.manual_seed(SEED)
    return nn.Sequential(nn.Linear(inputs, hidden, bias=bias), nn.ReLU(), nn.Linear(hidden, outputs, bias=bias))


def attached(how: str) -> tuple[nn.Module, str]:
    """A module with one more thing attached in the way named `how`, and the line of code that did it."""
    torch.manual_seed(SEED)
    model = nn.Module()
    model.layer = nn.Linear(2, 2)
    code = {
        "nn.Parameter": "model.extra = nn.Parameter(torch.ones(2))",
        "register_buffer": "model.register_buffer('extra', torch.ones(2))",
        "persistent=False": "model.register_buffer('extra', torch.ones(2), persistent=False)",
        "plain tensor": "model.extra = torch.ones(2)",
        "list of modules": "model.extra = [nn.Linear(2, 1)]",
        "nn.ModuleList": "model.extra = nn.ModuleList([nn.Linear(2, 1)])",
        "tied weight": "model.extra = model.layer.weight",
    }[how]
    exec(code, {"torch": torch, "nn": nn, "model": model})
    return model, code
