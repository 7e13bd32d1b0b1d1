"""Scenes of lesson 09: weights that follow weights, the way from one model to another, and an update of low rank."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn, optim

from helpers import describe, draw, lesson
from helpers.draw import Picture
from helpers.scenes.motion import Term, flow

PLACES = 21
State = Mapping[str, Tensor]


def followed(steps: int, decay: float) -> dict[str, list[float]]:
    """Noisy steps: both losses and both values of 2.bias, to two decimals: all machines draw the same."""
    inputs, targets = (tensor.double() for tensor in lesson.toy_data())
    model = lesson.build_model().double()
    ema = copy.deepcopy(model)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    torch.manual_seed(3)
    series: dict[str, list[float]] = {name: [] for name in ("loss", "loss of the EMA", "2.bias", "2.bias in the EMA")}
    for _ in range(steps):
        rows = torch.randperm(len(inputs))[:4]
        lesson.train_step(model, optimizer, inputs[rows], targets[rows])
        with torch.no_grad():
            for average, weight in zip(ema.parameters(), model.parameters()):
                average.lerp_(weight, 1 - decay)
            losses = [nn.functional.mse_loss(one(inputs), targets).item() for one in (model, ema)]
        values = [one.state_dict()["2.bias"].item() for one in (model, ema)]
        for name, value in zip(series, [*losses, *values]):
            series[name].append(round(value, 2))
    return series


def ema_frames(steps: int = 60, decay: float = 0.9) -> list[Picture]:
    """A weight and its moving average, and the loss of either model, one step more on each frame."""
    series, frames = followed(steps, decay), []
    heights = [value for values in series.values() for value in values]
    room = [(1, min(heights)), (steps, max(heights))]
    for step in range(1, steps + 1):
        loss, averaged = (series[name][step - 1] for name in ("loss", "loss of the EMA"))
        better = "less" if averaged < loss else "more"
        title = f"Step {step}: the model's loss is {loss:.2f}; that of its EMA is {better}, {averaged:.2f}"
        value, follower = (series[name][step - 1] for name in ("2.bias", "2.bias in the EMA"))
        alt = f"2.bias is {value:+.2f} in the model and {follower:+.2f} in the EMA, whose curve is the smoother one."
        so_far = {name: values[:step] for name, values in series.items()}
        look = {"across": "step", "up": "loss, and a weight", "alt": alt.replace("-", "−")}
        frames.append(draw.curves(title, so_far, **look, room=room))
    return frames


class Line:
    """The straight way from one state dict to others, and the loss at `PLACES` places of it."""

    def __init__(self, loss: Callable[[State], float], start: State, ends: Mapping[str, State]) -> None:
        shares = [k / (PLACES - 1) for k in range(PLACES)]
        self.losses = {
            name: [loss({key: torch.lerp(start[key], end[key], share) for key in start}) for share in shares]
            for name, end in ends.items()
        }

    def at(self, end: str, place: int) -> Picture:
        """The loss on the way to `end`, walked as far as `place`, from 1 to `PLACES`."""
        losses = self.losses[end]
        here, higher = losses[place - 1], max(losses[0], losses[-1])
        word = "more than twice either end" if here > 2 * higher else "more than either end" if here > higher else "no wall"
        title = f"{100 * (place - 1) // (PLACES - 1)} % of the way to {end}: loss {here:.3f}, {word}"
        walked = losses[:place] + [float("nan")] * (PLACES - place)
        alt = f"Loss {losses[0]:.3f} at the start, {max(losses):.3f} at the most, {losses[-1]:.3f} at the end."
        series = {"walked": walked, **{f"to {name}": values for name, values in self.losses.items()}}
        return draw.curves(title, series, across=f"place: 1 is the start, {PLACES} the end", up="loss", alt=alt)


class Update:
    """What fine-tuning added to one weight, cut to low rank."""

    def __init__(self, base: Tensor, tuned: Tensor, loss: Callable[[Tensor], float]) -> None:
        self.base, self.full, self.loss = base, tuned - base, loss
        self.left, self.sizes, self.right = torch.linalg.svd(self.full)

    def cut(self, rank: int) -> Tensor:
        """The nearest matrix to the update that is a product of two thin ones."""
        return self.left[:, :rank] * self.sizes[:rank] @ self.right[:rank]

    def at(self, rank: int) -> Picture:
        """How much of the update a rank keeps, what its two matrices weigh, and the loss with it."""
        kept = (self.cut(rank).norm() / self.full.norm()).square().item()
        loss, whole = self.loss(self.base + self.cut(rank)), self.base.nbytes
        thin = rank * sum(self.base.shape) * self.base.element_size()
        shape = describe.shape_name(self.base.shape)
        rows: Sequence[tuple[str, Sequence[tuple[str, int]]]] = [
            (f"the weight, {shape}", [("parameter", whole)]),
            ("the full update", [("value", whole)]),
            (f"B and A of rank {rank}", [("value", thin)]),
        ]
        return draw.bars(
            f"Rank {rank}: {100 * kept:.0f} % of the update in {100 * thin / whole:.0f} % of its bytes; loss {loss:.2f}", rows
        )


def low_rank_sum(weight: Tensor, b: Tensor, a: Tensor) -> Picture:
    """`W + B·A`, number by number."""
    terms = [
        Term("W", weight, "parameter"),
        Term("B", b, "parameter", "+"),
        Term("A", a, "parameter", "·"),
        Term("W + B·A", weight + b @ a, "value", "="),
    ]
    first = zip((weight + b @ a)[0], weight[0], a[0])
    lines = [f"{new:.2f} = {old:.2f} + {b[0, 0]:.2f} · {x:.2f}".replace("-", "−") for new, old, x in first]
    title = f"{weight.numel()} numbers in W, {b.numel() + a.numel()} in B and A"
    return flow(title, terms, alt=f"The first row: {'; '.join(lines)}.", scale=4, lines=["the first row:", *lines])
