"""Checkpoints whose names or shapes are not the model's, and the models that they are for."""

from __future__ import annotations

import copy
import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from helpers import lesson
from helpers.exercises.states import difference, reason

BARE = "A checkpoint from one GPU, without the prefix,"


def named(**modules: nn.Module) -> nn.Sequential:
    """A chain of modules by name; random numbers stand in its buffers too, and the first layer is frozen."""
    model = nn.Sequential(OrderedDict(modules))
    for buffer in model.buffers():
        buffer.copy_(torch.randint(1, 99, buffer.shape))
    model[0].requires_grad_(False)
    return model


def linear() -> nn.Linear:
    """One layer of the shape that all have here."""
    return nn.Linear(3, 3)


def wrapped(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of the model as a wrapper's child called module, as nn.DataParallel has it."""
    outer = nn.Module()
    outer.module = model
    return outer.state_dict()


def _small() -> nn.Module:
    return named(mlp=linear(), norm=nn.BatchNorm1d(3), module_out=linear())


def _module_inside() -> nn.Module:
    return named(module=linear(), norm=nn.BatchNorm1d(3), inner=nn.Sequential(OrderedDict(module=linear())))


def from_several() -> Iterator[tuple[str, dict[str, Tensor], nn.Module]]:
    """Checkpoints in words, each with a new model of its kind."""
    yield "The running model", wrapped(lesson.build_model(3)), lesson.build_model(8)
    yield "A checkpoint with the key module.mlp.weight", wrapped(_small()), _small()
    state = [*wrapped(_small()).items()]
    random.shuffle(state)
    yield "A checkpoint with its keys in another order", dict(state), _small()
    yield "A checkpoint with the key module.module.weight", wrapped(_module_inside()), _module_inside()
    yield BARE, _small().state_dict(), _small()
    yield "A checkpoint in float64", wrapped(_small().double()), _small().double()


def heads() -> Iterator[tuple[str, dict[str, Tensor], nn.Module]]:
    """Checkpoints in words, each with a model that it fits in part."""
    state, norm = lesson.build_model(3).state_dict(), nn.BatchNorm1d
    torch.manual_seed(9)
    yield "The running model", state, nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3))
    old = named(body=linear(), norm=norm(3), aux=linear(), head=nn.Linear(3, 2))
    yield "A checkpoint with a layer too many", old.state_dict(), named(body=linear(), norm=norm(3), head=nn.Linear(3, 4))
    old = named(out=nn.Linear(3, 2), one=linear(), two=linear(), norm=norm(2))
    new = named(one=linear(), two=linear(), norm=norm(2), classifier=nn.Linear(3, 2))
    yield "A head of another name", old.state_dict(), new
    old, new = named(body=linear(), core=nn.Linear(2, 3)), named(body=linear(), core=nn.Linear(3, 2))
    yield "A (2, 3) weight in place of a (3, 2)", old.state_dict(), new
    old, new = named(**{"0": nn.Linear(3, 5), "2": linear()}), named(**{"0": nn.Linear(3, 4), "2": linear()})
    yield "A first layer of another size", old.state_dict(), new


class Old(nn.Module):
    """The class of the migration, as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(2, 2), nn.Linear(2, 1)


def parents(kind: type[nn.Module]) -> Iterator[tuple[str, nn.Module, tuple[str, ...]]]:
    """Parents of modules of a kind, in words, and the prefixes at which these stand."""
    yield "Inside another module, under 0.", nn.Sequential(kind()), ("0.",)
    deep = nn.Sequential(OrderedDict(body=kind()))
    yield (
        "Inside a module that is itself called body",
        nn.Sequential(OrderedDict(body=deep, last=kind())),
        ("body.body.", "last."),
    )

    class Wider(kind):  # type: ignore[valid-type, misc]
        def __init__(self) -> None:
            super().__init__()
            self.body_norm = nn.BatchNorm1d(2)

    yield "In a subclass with a layer body_norm", Wider(), ("",)


def filled(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of a model, after new random numbers were put into all of it."""
    state = model.state_dict()
    for value in state.values():
        value.copy_(torch.randint(-99, 99, value.shape))
    return state


def today(state: dict[str, Tensor], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """The same numbers under today's names: body. is encoder. behind each of the prefixes."""
    renamed = {}
    for key, value in state.items():
        place = next((prefix for prefix in prefixes if key.startswith(f"{prefix}body.")), None)
        new = key if place is None else f"{place}encoder.{key.removeprefix(f'{place}body.')}"
        renamed[new] = value.clone()
    return renamed


def fault(model: nn.Module, state: Mapping[str, Tensor], right: Mapping[str, Tensor], words: str) -> str | None:
    """What is wrong with the model after it was given the state; None if it holds what is right."""
    right = {key: value.clone() for key, value in right.items()}
    try:
        model.load_state_dict(copy.deepcopy(state))
    except Exception as error:
        return f"{words} does not load: {reason(error)}"
    key = difference(right, dict(model.state_dict()))
    return None if key is None else f"{words} loads, and {key} has other numbers than in it."


def forgives(answer: type[nn.Module]) -> str | None:
    """Which file of another class loads without a word, though it should not; None if none does."""
    old = Old().state_dict()
    lacking: list[tuple[str, dict[str, Tensor]]] = [("An empty dict", {})]
    lacking += [(f"An old file without {key}", {k: v for k, v in old.items() if k != key}) for key in old]
    for words, state in [*lacking, ("An old file with an unknown key", {**old, "tail.weight": torch.ones(2)})]:
        try:
            answer().load_state_dict(state)
        except Exception:
            continue
        return f"{words} loads too: the hook should rename, and forgive nothing."
    return None
