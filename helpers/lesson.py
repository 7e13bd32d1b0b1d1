"""The lessons' model, its toy data, and plain training that records what happened."""

from __future__ import annotations

from dataclasses import dataclass

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
    parameters, moments = list(model.parameters()), []
    for step in range(steps + 1):
        if step:
            train_step(model, optimizer, inputs, targets)
        loss = nn.functional.mse_loss(model(inputs), targets).item()
        values = [p.detach().clone() for p in parameters]
        gradients = [None if p.grad is None else p.grad.clone() for p in parameters]
        buffers = [optimizer.state.get(p, {}).get("momentum_buffer") for p in parameters]
        moments.append(Step(loss, values, gradients, [None if b is None else b.clone() for b in buffers]))
    return moments
