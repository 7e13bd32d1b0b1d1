"""Scenes of lessons 02, 03 and 04: what moves while a model trains, and after it resumes."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, optim

from helpers import draw, lesson
from helpers.draw import Picture, svg
from helpers.scenes.models import signed
from helpers.scenes.motion import Column, columns

KEYS = ["0.weight", "0.bias", "2.weight", "2.bias"]


def window_and_photograph(steps: int) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Training seen through `model.state_dict()` and through its deep copy, both taken before the first step."""
    model = lesson.build_model()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    window, photograph = model.state_dict(), copy.deepcopy(model.state_dict())
    inputs, targets = lesson.toy_data()
    moments = []
    for step in range(steps + 1):
        if step:
            lesson.train_step(model, optimizer, inputs, targets)
        moments.append(([t.clone() for t in window.values()], [t.clone() for t in photograph.values()]))
    return moments


def photograph_frames(steps: int = 20) -> list[Picture]:
    """The window and the photograph over training: the first moves with the model, the second stands still."""
    frames = []
    moments = window_and_photograph(steps)
    for step, (window, photograph) in enumerate(moments):
        equal = all(torch.equal(a, b) for a, b in zip(window, photograph))
        title = (
            "Before training: one look, three equal columns"
            if equal
            else f"Step {step}: best moved with the model, the deep copy did not"
        )
        parts = [
            Column("model", "parameter", window),
            Column("best (window)", "parameter", window),
            Column("deep copy", "parameter", photograph),
        ]
        alt = f"2.bias is {signed(window[3])} in the model and in best, {signed(photograph[3])} in the deep copy."
        frames.append(columns(title, KEYS, parts, alt=alt, scale=1, joined=(0, 1), foot=["", "same storage", "own storage"]))
    return frames


def momentum_frames(steps: int = 60) -> list[Picture]:
    """Sixty steps of SGD with momentum: value, gradient and buffer of each parameter, with the loss so far."""
    model = lesson.build_model()
    moments = lesson.train(model, optim.SGD(model.parameters(), lr=0.01, momentum=0.9), steps)
    return [_momentum(step, moments) for step in range(steps + 1)]


def _momentum(step: int, moments: Sequence[lesson.Step]) -> Picture:
    now, blank = moments[step], [math.nan] * (len(moments) - step - 1)
    parts = [
        Column("parameter", "parameter", now.parameters),
        Column("gradient", "gradient", now.gradients),
        Column("momentum_buffer", "optimizer state", now.buffers),
    ]
    if step == 0:
        title, said = "Before the first step: no gradient, and no buffer", "The optimizer's state is empty."
    else:
        gradient, buffer = (tensors[0][1, 0].item() for tensors in (now.gradients, now.buffers) if tensors[0] is not None)
        title = "Step 1: the buffer is the gradient itself" if step == 1 else f"Step {step}: {_who_pushes(buffer, gradient)}"
        said = f"Lower left of 0.weight: gradient {signed(gradient)}, momentum buffer {signed(buffer)}."
    return columns(
        title,
        KEYS,
        parts,
        alt=f"{said} Loss {now.loss:.3f}.",
        scale=2,
        notes=[f"state[{k}]" for k in range(4)],
        foot=["w ← w − 0.01·v", "", "v ← 0.9·v + g"],
        losses=[m.loss for m in moments[: step + 1]] + blank,
    )


def _who_pushes(buffer: float, gradient: float) -> str:
    if buffer * gradient < 0:
        return "0.weight, lower left: the gradient has turned, the buffer has not"
    larger = "larger" if abs(buffer) > abs(gradient) else "smaller"
    return f"0.weight, lower left: gradient and buffer agree, the buffer is {larger}"


def bowl(x: Any, y: Any) -> Any:
    """A long valley: 0.25·x² + 2.5·y², with its floor at (0, 0)."""
    return 0.25 * x**2 + 2.5 * y**2


def rolled(lr: float, momentum: float, steps: int = 40) -> list[tuple[float, float]]:
    """The points that `optim.SGD` visits from (−1.8, 1.1) down `bowl`, `steps + 1` of them; its gradient is (x / 2, 5·y)."""
    point = torch.tensor([-1.8, 1.1])
    optimizer = optim.SGD([point], lr=lr, momentum=momentum)
    visited = [(point[0].item(), point[1].item())]
    for _ in range(steps):
        x, y = visited[-1]
        point.grad = torch.tensor([x / 2, 5 * y])
        optimizer.step()
        visited.append((point[0].item(), point[1].item()))
    return visited


def roll(lr: float, momentum: float) -> Picture:
    """Forty steps of SGD down a long valley, from the square towards the cross."""
    path = rolled(lr, momentum)
    crossings = sum(a[1] * b[1] < 0 for a, b in zip(path, path[1:]))
    far = math.hypot(*path[-1])
    end = "it flies out" if not far < 3 else "it arrives" if far < 0.1 else f"{far:.2f} still to go"
    title = f"lr {lr:.2f}, momentum {momentum:.2f}: {crossings} crossings of the floor, {end}"
    return _surface(title, path, alt="Forty steps from (−1.8, +1.1); the valley floor lies at y = 0.")


def _surface(title: str, path: Sequence[tuple[float, float]], *, alt: str) -> Picture:
    """Level lines of `bowl` on −2 … 2 by −1.5 … 1.5, and a path across them with its steps as dots."""
    x0, y0, unit = 28 + 330, 60 + 210, 150
    points = [(x0 + unit * max(-2.2, min(2.2, x)), y0 - unit * max(-1.4, min(1.4, y))) for x, y in path]
    line = svg.el(
        "polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), fill="none", stroke=svg.INK, stroke_width=2
    )
    dots = "".join(svg.el("circle", cx=round(x, 1), cy=round(y, 1), r=4, fill="#a8461a") for x, y in points[1:])
    start = svg.el("rect", x=points[0][0] - 6, y=points[0][1] - 6, width=12, height=12, fill=svg.INK)
    goal = svg.el("path", d=f"M{x0 - 8} {y0}h16M{x0} {y0 - 8}v16", stroke=svg.INK, stroke_width=3)
    return svg.card(716, 500, title, alt, _levels(x0, y0, unit) + goal + line + dots + start)


@lru_cache(maxsize=1)
def _levels(x0: float, y0: float, unit: float) -> str:
    import numpy as np
    from contourpy import contour_generator

    xs, ys = np.linspace(-2.2, 2.2, 81), np.linspace(-1.4, 1.4, 61)
    generator = contour_generator(xs, ys, bowl(xs[None, :], ys[:, None]))
    loops: list[Any] = [loop for level in (0.02, 0.1, 0.3, 0.7, 1.3, 2.1, 3.1, 4.3, 6) for loop in generator.lines(level)]
    return "".join(
        svg.el(
            "polyline",
            points=" ".join(f"{x0 + unit * x:.0f},{y0 - unit * y:.0f}" for x, y in loop),
            fill="none",
            stroke=svg.LINE,
            stroke_width=1,
        )
        for loop in loops
    )


def resume(restore_model: bool, restore_optimizer: bool, steps: int = 10) -> tuple[list[float], list[float]]:
    """Losses of an uninterrupted run, and of one resumed at step 10 with only the ticked parts restored."""
    saved, whole = _uninterrupted(steps)
    other = lesson.build_model(lesson.SEED + 1)
    other_optimizer = optim.SGD(other.parameters(), lr=0.01, momentum=0.9)
    if restore_model:
        other.load_state_dict(saved["model_state"])
    if restore_optimizer:
        other_optimizer.load_state_dict(copy.deepcopy(saved["optimizer_state"]))
    inputs, targets = lesson.toy_data()
    return list(whole), [lesson.train_step(other, other_optimizer, inputs, targets) for _ in range(steps)]


@lru_cache(maxsize=4)
def _uninterrupted(steps: int) -> tuple[dict, list[float]]:
    """What was saved at step 10, and the losses of so many steps after it: the same for every resume."""
    inputs, targets = lesson.toy_data()
    model = lesson.build_model()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(10):
        lesson.train_step(model, optimizer, inputs, targets)
    saved = copy.deepcopy({"model_state": model.state_dict(), "optimizer_state": optimizer.state_dict()})
    return saved, [lesson.train_step(model, optimizer, inputs, targets) for _ in range(steps)]


@lru_cache(maxsize=4)
def restored(model: bool, optimizer: bool) -> Picture:
    """Ten losses after a resume with only the ticked parts, against the run that never stopped."""
    whole, resumed = resume(model, optimizer)
    gap = max(abs(a - b) for a, b in zip(whole, resumed))
    parts = " and ".join(name for name, on in (("model", model), ("optimizer", optimizer)) if on) or "nothing"
    title = f"Restored {parts}: " + ("the same run, loss for loss" if gap == 0 else f"the curves part by {gap:.2f}")
    return two_runs(title, whole, resumed, f"Largest gap between the two curves: {gap:.2f}.")


def two_runs(title: str, whole: list[float], resumed: list[float], alt: str) -> Picture:
    """The losses of a resumed run against those of the run that never stopped."""
    series = {"never stopped": whole, "resumed": resumed}
    return draw.curves(title, series, across="step after the checkpoint", up="loss", alt=alt)
