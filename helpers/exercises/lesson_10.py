"""Lesson 10: bigger than memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from helpers.exercises import large
from helpers.exercises.states import difference, runs_code
from helpers.exercises.trial import apart, unlike
from helpers.quiz import Choice, Exercise, Prediction

opening = Prediction(
    "torch.load(path, mmap=True) opens a file of 200 MB. How much of it is in memory then?",
    (
        Choice("nearly nothing", "Names and shapes. The numbers are read when somebody looks at them.", True),
        Choice("all of it, as always", "That is what torch.load does without mmap=True."),
        Choice("half of it", "The system reads a page when it is touched, and nobody has touched one."),
    ),
)
meta_loads = Prediction(
    "torch.load(path, map_location='meta') returns. What is state['0.weight']?",
    (
        Choice("zeros of the right shape", "Zeros would be numbers, and would need memory. On meta there are none."),
        Choice("the numbers, read when they are needed", "That is mmap=True. From meta nothing ever comes."),
        Choice("a shape and a dtype, no numbers", "Enough to list a file or to build a model; not enough to compute.", True),
    ),
)
taken_over = Prediction(
    "The file is bfloat16, the model float32. load_state_dict(state, assign=True): what is the model then?",
    (
        Choice("float32: loading casts", "It does where it copies. assign=True takes the file's tensors as they are."),
        Choice("bfloat16: as the file", "The model's own tensors are gone. Their dtype went with them.", True),
        Choice("an error: dtypes differ", "Shapes are checked, dtypes are not."),
    ),
)
doubles = Prediction(
    "You build a model, then model.load_state_dict(torch.load(path)). How much memory does it need at the most?",
    (
        Choice("once the weights", "The model has its own, and the dict from the file lies beside it until all is copied."),
        Choice("twice the weights", "Once the model's own, random ones; once the file's.", True),
        Choice("three times the weights", "Copying goes from one into the other. Nothing third is made."),
    ),
)
one_shard = Prediction(
    "A model lies in four shards. model.load_state_dict(load_file(first shard)): what happens?",
    (
        Choice("an error names what is missing", "A shard is a part: strict loading misses the keys of the others.", True),
        Choice("the others are found by the index", "load_state_dict takes a dict. It knows of no folder and no index."),
        Choice("a quarter is loaded, no error", "With strict=False it is so, and then nobody tells you."),
    ),
)
sliced = Prediction(
    "A safetensors file has a weight of 2048 × 2048. You want its first two rows. What must be read?",
    (
        Choice("the whole file", "The header says where each tensor begins. All else can stay where it is."),
        Choice("the whole weight", "get_slice reads the rows that you ask for: they lie one after the other."),
        Choice("the header and two rows", "get_slice takes them out of the middle of the file.", True),
    ),
)


@apart()
def _listing(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a path")
    with tempfile.TemporaryDirectory() as name:
        for path, wanted in large.listed(Path(name)):
            given = answer(path)
            if not isinstance(given, Mapping) or set(given) != set(wanted):
                return f"Of {path.name} it gives {str(given)[:60]}; wanted a dict with the keys {', '.join(wanted)}."
            for key, row in wanted.items():
                if not isinstance(given[key], (tuple, list)) or len(given[key]) != 2:
                    return f"{key} of {path.name} gives {str(given[key])[:40]}; wanted a pair: shape as a tuple, and bytes."
                if tuple(given[key]) != row:
                    return f"{key} of {path.name} gives {given[key]}; wanted {row}: shape as a tuple, and bytes."
        if runs_code(answer, Path(name)):
            return "hostile.pth was run, though it was only to be listed. Load with weights_only=True."
        used = large.taken(lambda: answer(path), lambda: answer(path.with_name("small.pth")))
        if used is not None and used > 20 * 10**6:
            return f"It took more than 20 MB of memory to list {path.name}: names and shapes need no numbers."
    return None


@apart()
def _fill(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of build and a folder")
    with tempfile.TemporaryDirectory() as name:
        folder, model = Path(name), large.build()
        state = {key: value.clone() for key, value in model.state_dict().items()}
        weights = sum(value.nbytes for value in state.values())
        large.sharded(folder, state, 16)
        del model
        given = answer(large.build, folder)
        if not isinstance(given, nn.Module):
            return f"It gives {type(given).__name__}; wanted the model."
        if found := large.not_the_model(given, state):
            return found
        del given
        (folder / "few").mkdir()
        few = partial(large.build, 2)
        large.sharded(folder / "few", dict(few().state_dict()), 2)
        if found := large.badly_filled(answer, folder):
            return found
        used = large.taken(lambda: _use(answer(large.build, folder)), lambda: _use(answer(few, folder / "few")))
        if used is not None and used > 1.3 * weights:
            return "The peak was far more than 1.1 × the weights. What lies there twice, and when?"
    return None


def _use(model: nn.Module) -> None:
    with torch.no_grad():
        model(torch.ones(1, model.get_parameter("0.weight").shape[1]))


@apart()
def _split(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a state, a number of bytes and a folder")
    for words, state, most in large.states():
        with tempfile.TemporaryDirectory() as name:
            before = {key: value.clone() for key, value in state.items()}
            answer(state, most, Path(name))
            if difference(before, state):
                return f"{words}: your function changed the state that it was given."
            if found := large.badly_split(Path(name), state, most):
                return f"{words}: {found}"
    return None


@apart()
def _layer(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a path and a name")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "stranger.safetensors"
        state = large.stranger(path)
        for layer in ("encoder.1", "encoder.10", "encoder.1.norm"):
            wanted = {key[len(layer) + 1 :]: value for key, value in state.items() if key.startswith(f"{layer}.")}
            given = answer(path, layer)
            if not isinstance(given, Mapping) or set(given) != set(wanted):
                keys = ", ".join(given) if isinstance(given, Mapping) else type(given).__name__
                return f"Of {layer} it gives {keys[:80] or 'nothing'}; wanted {', '.join(wanted)}."
            if odd := [key for key in wanted if not isinstance(given[key], Tensor)]:
                return f"{odd[0]} of {layer} is {type(given[odd[0]]).__name__}; wanted tensors of torch: safe_open(path, 'pt')."
            if key := difference(wanted, dict(given)):
                return f"{key} of {layer} has other numbers than the file."
        small = path.with_name("small.safetensors")
        large.stranger(small, 4)
        used = large.taken(lambda: answer(path, "encoder.1"), lambda: answer(small, "encoder.1"))
        if used is not None and used > 30 * 10**6:
            return "It took more than 30 MB of memory to read 0.2 kB: leave the other tensors in the file."
    return None


def _exercise(name: str, rule: str, fault: Callable[[Any], str | None], *hints: str) -> Exercise:
    return Exercise(name, rule, hints, fault)


listing = _exercise(
    "What is in the file",
    "Names, shapes and bytes, and not one number read.",
    _listing,
    "torch.load(path, map_location='meta', weights_only=True) gives tensors without numbers.",
    "tuple(tensor.shape) and tensor.nbytes work on meta.",
)
fill = _exercise(
    "Once the weights, and little more",
    "Built on meta, filled by assignment, one shard after the other.",
    _fill,
    "with torch.device('meta'): model = build() takes no memory.",
    "Each shard: model.load_state_dict(load_file(shard), strict=False, assign=True).",
    "strict=False forgives too much. At the end no parameter and no buffer may be on meta: tensor.is_meta.",
)
split = _exercise(
    "Shards with an index",
    "Each key in one shard, each shard within its bytes, and an index that says where.",
    _split,
    "Collect keys until the next tensor would be too much; then begin a new shard.",
    "A tensor larger than a shard stands alone in one.",
    "The index is JSON: {'metadata': {…}, 'weight_map': {key: file name}}. save_file writes a shard.",
)
layer = _exercise(
    "One layer of a stranger's file",
    "The header says where it lies; the rest stays in the file.",
    _layer,
    "with safe_open(path, 'pt') as file: file.keys() and file.get_tensor(key).",
    "encoder.1 is no beginning of encoder.10: compare with the dot behind it.",
)
