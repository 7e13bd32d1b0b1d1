"""Scenes of lessons 02, 03 and 04: what moves while a model trains, and after it resumes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import optim

from helpers import draw, lesson
from helpers.draw import Column, Picture
from helpers.scenes.models import signed

KEYS = ["0.weight", "0.bias", "2.weight", "2.bias"]


def photograph_frames(steps: int = 20) -> list[Picture]:
    """The window and the photograph over training: the first moves with the model, the second stands still."""
    frames = []
    moments = lesson.window_and_photograph(steps)
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
        frames.append(
            draw.columns(title, KEYS, parts, alt=alt, scale=1, joined=(0, 1), foot=["", "same storage", "own storage"])
        )
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
        gradient, buffer = now.gradients[0][1, 0].item(), now.buffers[0][1, 0].item()
        title = "Step 1: the buffer is the gradient itself" if step == 1 else f"Step {step}: {_who_pushes(buffer, gradient)}"
        said = f"Lower left of 0.weight: gradient {signed(gradient)}, momentum buffer {signed(buffer)}."
    return draw.columns(
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


def roll(lr: float, momentum: float) -> Picture:
    """Forty steps of SGD down a long valley, from the square towards the cross."""
    path = lesson.roll(lr, momentum)
    crossings = sum(a[1] * b[1] < 0 for a, b in zip(path, path[1:]))
    far = math.hypot(*path[-1])
    end = "it flies out" if not far < 3 else "it arrives" if far < 0.1 else f"{far:.2f} still to go"
    title = f"lr {lr:.2f}, momentum {momentum:.2f}: {crossings} crossings of the floor, {end}"
    return draw.surface(title, lesson.bowl, path, alt="Forty steps from (−1.8, +1.1); the valley floor lies at y = 0.")


def restored(model: bool, optimizer: bool) -> Picture:
    """Ten losses after a resume with only the ticked parts, against the run that never stopped."""
    whole, resumed = lesson.resume(model, optimizer)
    gap = max(abs(a - b) for a, b in zip(whole, resumed))
    parts = " and ".join(name for name, on in (("model", model), ("optimizer", optimizer)) if on) or "nothing"
    title = f"Restored {parts}: " + ("the same run, loss for loss" if gap == 0 else f"the curves part by {gap:.2f}")
    return draw.curves(
        title,
        {"never stopped": whole, "resumed": resumed},
        across="step after the checkpoint",
        up="loss",
        alt=f"Largest gap between the two curves: {gap:.2f}.",
    )
