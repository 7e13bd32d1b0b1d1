"""The models and state dicts that answers are tried on."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn, optim

from helpers import lesson


class Mixed(nn.Module):
    """Buffers, a frozen layer, a tied weight, and one shape for most of its tensors."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.encoder = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.frozen = nn.Linear(width, width).requires_grad_(False)
        self.tied = nn.Linear(width, width)
        self.tied.weight = self.encoder.weight
        self.head = nn.Linear(width, width)
        self.register_buffer("cache", torch.zeros(width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Every layer has a part in the output."""
        return self.head(self.tied(self.norm(self.encoder(x)).relu()) + self.frozen(x))


class Renamed(nn.Module):
    """The key 2.bias belongs to a module of another name, so that only the state dict leads to it."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.other = nn.Linear(2, 1), nn.Linear(2, 1)
        self.register_state_dict_post_hook(self.rename)

    @staticmethod
    def rename(module: nn.Module, state: OrderedDict, *_: Any) -> None:
        """Gives the bias its key, and a place in the middle."""
        state["2.bias"] = state.pop("last.bias")
        state.move_to_end("last.weight")


def unlike_the_state(kept: Mapping[str, Any], before: Mapping[str, Tensor], model: nn.Module) -> str | None:
    """Where a snapshot is another thing than `before`, the model's state dict as it was."""
    buffers, parameters = dict(model.named_buffers()), dict(model.named_parameters())
    if missing := [key for key in before if key not in kept]:
        key, frozen = missing[0], missing[0] in parameters and not parameters[missing[0]].requires_grad
        named = "a frozen parameter" if frozen else "a parameter" if key in parameters else "the second name of a tied weight"
        return f"{key} is missing. It is {'a buffer' if key in buffers else named}, and the model's state dict has it."
    if extra := [key for key in kept if key not in before]:
        return f"{extra[0]!r} is no key of the model's state dict: load_state_dict would not take it."
    for key, tensor in before.items():
        mine = kept[key]
        if not isinstance(mine, Tensor):
            return f"{key} is a {type(mine).__name__} in your snapshot; load_state_dict wants a tensor."
        if (mine.dtype, mine.shape) != (tensor.dtype, tensor.shape):
            own = f"{mine.dtype} and {tuple(mine.shape)}"
            return f"{key} is {own} in your snapshot; in the model {tensor.dtype} and {tuple(tensor.shape)}."
        if mine.grad_fn is not None:
            return f"{key} hangs on autograd's graph in your snapshot: a copy of a parameter needs detach() too."
        if not torch.equal(mine, tensor):
            return f"{key} has other numbers in your snapshot than in the model."
    return None


def piles() -> Iterator[tuple[str, dict[str, Tensor], str]]:
    """State dicts in words, and what they teach about counting bytes."""
    rows = random.randint(5, 9)
    table, other = torch.randn(rows, 4), torch.randn(rows, 4)
    yield "the running model", lesson.build_model().state_dict(), "numel() and nbytes are of one tensor; sum them."
    yield "two tensors of one shape", {"a": table, "b": other}, "Equal shapes are still two storages."
    yield "two equal tensors", {"a": table, "b": table.clone()}, "Equal numbers are still two storages."
    yield "two keys of one tensor", {"a": table, "b": table.detach()}, "Two keys with one storage count once."
    mixed = {"half": table.half(), "double": table.double(), "count": torch.tensor(3), "mask": table > 0}
    yield "float16, float64, int64 and bool", mixed, "element_size() says how many bytes one number takes."
    slices = {"a": table[:2], "b": table, "c": table[:3]}
    yield "a table and two slices from its start", slices, "A slice looks into the whole storage."
    yield "first and last row of a table", {"a": table[0], "b": table[-1]}, "Both look into one storage, at different places."
    yield "one column of a table", {"a": table[:, 1]}, "The storage behind it is the whole table's."
    yield "an empty tensor beside a table", {"a": torch.zeros(0), "b": table}, "The empty one has a storage of no bytes."


def storages(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """Numbers and bytes of all storages, each counted once and whole."""
    each = {t.untyped_storage().data_ptr(): (t.untyped_storage().nbytes(), t.element_size()) for t in state.values()}
    return sum(size // width for size, width in each.values()), sum(size for size, _ in each.values())


def trained() -> Iterator[tuple[str, nn.Module, optim.SGD]]:
    """Models of three inputs in words, each with its optimizer; most of their tensors have one shape."""
    model: nn.Module
    for words, places in (
        ("a model that is trained whole", range(8)),
        ("an optimizer that has the parameters in another order", (3, 0, 7, 2, 6, 1, 5, 4)),
        ("an optimizer without some of the parameters", (0, 1, 3, 6, 7)),
    ):
        model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(4)))
        chosen = [[*model.parameters()][k] for k in places]
        groups: list[dict[str, Any]] = [{"params": chosen[:3]}, {"params": chosen[3:], "lr": 0.02}]
        yield words, model, optim.SGD(groups, lr=0.01, momentum=0.9)
    model = Mixed(3)
    yield "a model with a frozen layer and a tied weight", model, optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(3)))
    yield "a layer that was frozen after the training", model, optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def kinds() -> Iterator[tuple[str, nn.Module, str]]:
    """Models in words, and what they teach about counting bytes."""
    for _ in range(2):
        rows, columns = random.randint(3, 40), random.randint(3, 40)
        yield f"Linear({columns}, {rows})", nn.Linear(columns, rows), "A float32 takes 4 bytes."
    layers = nn.Sequential(nn.Linear(4, 7), nn.Linear(7, 7), nn.Linear(7, 2))
    yield "three Linears", layers, "Each parameter has a step counter of its own."
    frozen = nn.Sequential(nn.Linear(4, 7).requires_grad_(False), nn.Linear(7, 2))
    yield "a frozen Linear before another", frozen, "The frozen one counts, but Adam keeps nothing for it."
    norm = nn.Sequential(nn.Linear(4, 7), nn.BatchNorm1d(7))
    yield "a Linear with BatchNorm1d", norm, "Buffers count, and Adam keeps nothing for them; one of these is an int64."
    tied = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    tied[1].weight = tied[0].weight
    yield "two Linears with one weight", tied, "A tied weight is one parameter."
    mixed = Mixed(4)
    del mixed.cache
    yield "all of this in one model", mixed, "Add up parameters, buffers, and Adam's state."
