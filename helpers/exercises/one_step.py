"""One step of SGD with momentum, and the steps that are taken for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn, optim

Formula = Callable[[Tensor, Tensor, Tensor], Tensor]
BUFFERS: dict[str, Formula] = {
    "Your buffer is a running average. SGD adds the whole gradient: v = 0.9·v + g.": lambda w, g, v: 0.9 * v + 0.1 * g,
    "There is a learning rate in your buffer. SGD adds the whole gradient: v = 0.9·v + g.": lambda w, g, v: 0.9 * v + 0.01 * g,
    "Your buffer forgets nothing: the old one is multiplied by 0.9 first.": lambda w, g, v: v + g,
    "Your buffer shrinks the new gradient with the old buffer: 0.9 stands before v only.": lambda w, g, v: 0.9 * (v + g),
    "Your buffer is the gradient alone: the old buffer has a part in it.": lambda w, g, v: g,
    "Your buffer is still the old one.": lambda w, g, v: v,
    "You return the buffer first; wanted (weight, buffer).": lambda w, g, v: w - 0.01 * (0.9 * v + g),
}
WEIGHTS: dict[str, Formula] = {
    "You moved the weight by the gradient. It moves by the buffer: w = w − 0.01·v.": lambda w, g, v: w - 0.01 * g,
    "You moved the weight by the old buffer. It moves by the new one.": lambda w, g, v: w - 0.01 * v,
    "Your weight moves uphill: the step is subtracted.": lambda w, g, v: w + 0.01 * (0.9 * v + g),
    "Your weight moves by the whole buffer: the learning rate is missing.": lambda w, g, v: w - (0.9 * v + g),
    "That weight is Nesterov's. SGD moves by the buffer alone, unless nesterov=True.": lambda w, g, v: (
        w - 0.01 * (g + 0.9 * (0.9 * v + g))
    ),
    "Your weight is still the old one.": lambda w, g, v: w,
}


def by_sgd(weight: Tensor, gradient: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and buffer after the step, as SGD itself takes it."""
    parameter = nn.Parameter(weight.clone())
    optimizer = optim.SGD([parameter], lr=0.01, momentum=0.9)
    parameter.grad = gradient.clone()
    optimizer.state[parameter]["momentum_buffer"] = buffer.clone()
    optimizer.step()
    return parameter.detach(), optimizer.state[parameter]["momentum_buffer"]


def step_fault(cases: list[tuple[Tensor, ...]], weights: list[Tensor], buffers: list[Tensor]) -> str | None:
    """What is wrong with the weights and buffers that came of `cases`, up to rounding."""

    def fits(given: list[Tensor], formula: Formula) -> bool:
        return all(torch.allclose(one, formula(*case), atol=1e-6) for one, case in zip(given, cases))

    if not fits(buffers, lambda *case: by_sgd(*case)[1]):
        known = [words for words, formula in BUFFERS.items() if fits(buffers, formula)]
        return known[0] if known else "The buffer is not what SGD has after its step: v = 0.9·v + g."
    if not fits(weights, lambda *case: by_sgd(*case)[0]):
        known = [words for words, formula in WEIGHTS.items() if fits(weights, formula)]
        return known[0] if known else "The buffer is right, the weight is not: w = w − 0.01·v, with the new v."
    return None
