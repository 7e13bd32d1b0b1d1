"""Files and models for lesson 10, and how much memory an answer takes, measured in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from helpers.exercises.states import difference
from helpers.exercises.trial import forked

STATUS = Path("/proc/self/status")
SECONDS = 60
INDEX = "model.safetensors.index.json"
State = dict[str, Tensor]


def taken(answer: Callable[[], Any], first: Callable[[], Any]) -> int | None:
    """Bytes by which `answer` raises the most memory that a process of its own has; None where nobody can tell.

    `first` does the same with little, so that the code is in memory before; its own most is forgotten (proc_pid_clear_refs(5)).
    What is free is given back, and what the C library keeps all the same is taken before, or it would be used unseen.
    """
    if not (STATUS.exists() and hasattr(os, "fork")):
        return None
    _give_back()

    def grown() -> str:
        first()
        _give_back()
        kept = _kept()
        with contextlib.suppress(OSError):
            STATUS.with_name("clear_refs").write_text("5")
        before = _memory("VmRSS")
        answer()
        used = _memory("VmHWM") - before
        kept.clear()
        return str(used)

    told, _ = forked(grown, SECONDS)
    return int(told) if told else None


def _give_back() -> None:
    """Memory that was freed, and that the C library keeps for later, goes back to the system, or it would be used unseen."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _kept() -> list[Tensor]:
    """All that is free in this process, in pieces of 1 MB, untouched: it is taken when eight of them made the process grow."""
    pieces, grew = [], 0
    while grew < 8:
        size = _memory("VmSize")
        pieces.append(torch.empty(1 << 20, dtype=torch.uint8, device="cpu"))
        grew += _memory("VmSize") > size
    return pieces


def _memory(line: str) -> int:
    found = re.search(rf"{line}:\s+(\d+)", STATUS.read_text(encoding="utf-8"))
    return 1024 * int(found[1]) if found else 0


def listed(folder: Path) -> Iterator[tuple[Path, dict[str, tuple[tuple[int, ...], int]]]]:
    """Checkpoints, and shape and bytes of each tensor in them; the last has 64 MB."""
    kinds = {"count": torch.tensor(3), "flags": torch.zeros(9, dtype=torch.bool), "none": torch.zeros(0, 4)}
    for name, state in (
        ("small.pth", {"a": torch.zeros(3, 5), "b.c": torch.zeros(7, dtype=torch.float16)}),
        ("kinds.pth", {**kinds, "rows": torch.ones(9, 4)[:2]}),
        ("large.pth", {f"{k}.weight": torch.ones(1000, 2000) for k in range(8)}),
    ):
        torch.save(state, folder / name)
        yield folder / name, {key: (tuple(tensor.shape), tensor.nbytes) for key, tensor in state.items()}


def build(layers: int = 16, width: int = 1000) -> nn.Module:
    """A model whose weights take 64 MB."""
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))


def sharded(folder: Path, state: State, count: int) -> None:
    """Writes the state as safetensors in so many shards, with an index."""
    keys = list(state)
    where: dict[str, str] = {}
    for k in range(count):
        name = f"model-{k + 1:05d}-of-{count:05d}.safetensors"
        mine = keys[k::count]
        save_file({key: state[key] for key in mine}, folder / name)
        where |= dict.fromkeys(mine, name)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": {key: where[key] for key in keys}}), encoding="utf-8")


def not_the_model(given: nn.Module, state: State) -> str | None:
    """What of a model is not as it should be, filled with the state."""
    if torch.get_default_device().type == "meta":
        return "After your function new tensors are on meta: set_default_device has no end, as with torch.device('meta') has."
    if any(tensor.is_meta for tensor in given.state_dict().values()):
        return "Parameters of the model are still on meta: without assign=True nothing gets into them."
    if key := difference(state, dict(given.state_dict())):
        return f"{key} of the model is not what the shards have."
    if odd := [name for name, parameter in given.named_parameters() if not parameter.requires_grad]:
        return f"{odd[0]} cannot be trained any more: its requires_grad is False."
    return None


def badly_filled(answer: Callable[..., nn.Module], folder: Path) -> str | None:
    """What goes wrong where a shard of an older save lies beside the others, or where one key lies in no shard."""

    def small() -> nn.Module:
        return build(2, 3)

    (folder / "stale").mkdir()
    state = dict(small().state_dict())
    sharded(folder / "stale", state, 2)
    for name in ("model-00000-of-00001.safetensors", "model-00009-of-00009.safetensors"):
        save_file({"1.weight": torch.ones(3, 3)}, folder / "stale" / name)
    given = answer(small, folder / "stale")
    if difference(state["1.weight"], given.state_dict()["1.weight"], "it") is not None:
        return "1.weight is that of an older shard, which lies in the folder too: the index does not name it."
    (folder / "lacking").mkdir()
    sharded(folder / "lacking", {key: value for key, value in state.items() if key != "1.bias"}, 2)
    try:
        answer(small, folder / "lacking")
    except Exception:
        return None
    return "Where no shard has 1.bias, your function raises nothing, and the model is not whole."


def states() -> Iterator[tuple[str, State, int]]:
    """States to be split, each with the most bytes that a shard may have."""
    yield "Six equal tensors, two a shard", {f"{k}.weight": torch.randn(10, 10) for k in range(6)}, 800
    mixed = {
        "embed": torch.randn(30, 10),
        "a.weight": torch.randn(5, 5),
        "a.count": torch.tensor(3),
        "head": torch.randn(12, 10).half(),
    }
    yield "Tensors of several sizes", mixed, 1300
    yield "Tensors of float64", {f"{k}": torch.randn(20, dtype=torch.float64) for k in range(4)}, 200
    yield "A tensor larger than a shard", {"small": torch.randn(4), "large": torch.randn(100), "last": torch.randn(4)}, 100
    yield "All in one shard", {"a": torch.randn(3), "b": torch.randn(3)}, 10**6


def badly_split(folder: Path, state: State, most: int) -> str | None:
    """What is wrong with the shards in the folder, and their index."""
    if not (folder / INDEX).is_file():
        return f"there is no {INDEX} in the folder."
    try:
        where = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
    except Exception:
        return "the index is no JSON with a weight_map."
    if odd := set(where) ^ set(state):
        return f"the weight_map should name all keys and no other; {min(odd)!r} differs."
    shards, there = sorted(set(where.values())), sorted(path.name for path in folder.iterdir() if path.name != INDEX)
    if shards != there:
        return f"the index names {', '.join(shards)}; in the folder are {', '.join(there)}."
    for name in shards:
        held = load_file(folder / name)
        if odd := set(held) ^ {key for key, file in where.items() if file == name}:
            return f"{name} does not hold what the index says of it: {min(odd)!r}."
        size = sum(tensor.nbytes for tensor in held.values())
        if size > most and len(held) > 1:
            return f"{name} has {size} bytes of tensors; {most} were allowed."
        if any(not torch.equal(tensor, state[key]) or tensor.dtype != state[key].dtype for key, tensor in held.items()):
            return f"{name} has other numbers than the state."
    total = sum(tensor.nbytes for tensor in state.values())
    return f"{len(shards)} shards are many for {total} bytes." if len(shards) > 1 - (-total // most) else None


def stranger(path: Path, width: int = 4000) -> State:
    """Writes a file with layers whose names begin alike; of width 4000 it has 64 MB, nearly all in the last."""
    state = {f"encoder.{k}.{name}": torch.randn(4, 4) for k in (1, 10, 11) for name in ("weight", "bias")}
    state |= {"encoder.1.norm.weight": torch.randn(4), "encoder.1.norm.count": torch.tensor(3)}
    others = ("decoder.encoder.1.scale", "encoder.1.encoder.1.scale", "encoder-1.scale")
    state |= {key: torch.randn(4) for key in others} | {"head.weight": torch.ones(width, width)}
    save_file(state, path)
    return state
