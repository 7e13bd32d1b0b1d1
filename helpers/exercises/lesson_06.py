"""Lesson 06: when keys do not match."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from helpers import lesson
from helpers.quiz import Choice, Exercise, Prediction

which_side = Prediction(
    "A model wrapped in nn.DataParallel is saved, and loaded into the bare model. What will the error list?",
    (
        Choice(
            "missing and unexpected keys",
            "Each name is on one side only: with module. in the file, without it in the model.",
            True,
        ),
        Choice(
            "missing keys, nothing unexpected",
            "The file has as many keys as the model. Each has a name that the model does not know.",
        ),
        Choice("a size mismatch", "Shapes are compared only where the names are equal."),
    ),
)
compiled = Prediction(
    "You train compiled = torch.compile(model). What are the keys of compiled.state_dict()?",
    (
        Choice("the keys of model", "The compiled module is a wrapper, and a wrapper's child adds its name to the path."),
        Choice("there are none: it is compiled code", "The parameters are still there, and still trained."),
        Choice(
            "_orig_mod. before each key",
            "compiled holds the model as its child _orig_mod. model.state_dict() has the bare names, and the same tensors.",
            True,
        ),
    ),
)
not_strict = Prediction(
    "All four keys have a wrong prefix. load_state_dict(state, strict=False) raises nothing. How many tensors were loaded?",
    (
        Choice("four: it worked", "It raised nothing, which is all that strict=False promises."),
        Choice("none", "Every missing and every unexpected key was forgiven. The model is as random as before.", True),
        Choice("the ones with equal shapes", "Names decide, not shapes."),
    ),
)
new_head = Prediction(
    "The new head has three outputs, the checkpoint's has one. Does strict=False load the rest?",
    (
        Choice(
            "no: a size mismatch raises", "A size mismatch raises with strict=False too. Leave the head out of the dict.", True
        ),
        Choice("yes: it skips what does not fit", "It forgives missing and unexpected keys, never a size."),
        Choice("yes: it loads the overlap", "A tensor is copied whole or not at all."),
    ),
)
order = Prediction(
    "You give load_state_dict the same dict with its keys in reverse order. What happens?",
    (
        Choice("the tensors are swapped", "Loading looks up each name; the order of a dict does not matter."),
        Choice("the same as before", "Names decide. With the optimizer's parameters it is the other way round.", True),
        Choice("an error", "Order is not compared."),
    ),
)


def parallel_checkpoint() -> dict[str, Any]:
    """What a training script on several GPUs may have saved: an epoch, and the state of a wrapped model."""
    model = nn.DataParallel(lesson.build_model(3))
    return {"epoch": 7, "model_state": model.state_dict()}


def _load_parallel(answer: Any) -> str | None:
    if isinstance(answer, Mapping):
        return "You gave a dict; wanted a function that fills a model and returns it."
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a checkpoint and a model."
    checkpoint = parallel_checkpoint()
    keys = list(checkpoint["model_state"])
    right = copy.deepcopy(list(checkpoint["model_state"].values()))
    model = answer(checkpoint, lesson.build_model(8))
    if not isinstance(model, nn.Module):
        return f"Your function returns {type(model).__name__}; wanted the model."
    if list(model.state_dict()) != list(lesson.build_model().state_dict()):
        return f"Your model has the keys {', '.join(model.state_dict())}; wanted the bare model, without a wrapper."
    if any(not torch.equal(a, b) for a, b in zip(right, model.state_dict().values())):
        return "The model has other numbers than the checkpoint. Was strict=False hiding that nothing was loaded?"
    return "You changed the checkpoint's own dict; build a new one." if keys != list(checkpoint["model_state"]) else None


def _transfer(answer: Any) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a state dict and a model."
    state = lesson.build_model(3).state_dict()
    torch.manual_seed(9)
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 3))
    before = copy.deepcopy(model.state_dict())
    moved = answer(state, model)
    after = model.state_dict()
    if any(not torch.equal(after[key], before[key]) for key in ("2.weight", "2.bias")):
        return "The new head has changed; it should keep its own numbers."
    if any(not torch.equal(after[key], state[key]) for key in ("0.weight", "0.bias")):
        return "0.weight and 0.bias are not those of the checkpoint."
    if not isinstance(moved, (list, set, tuple)):
        return f"The tensors have moved. Return their names too; you return {type(moved).__name__}."
    return None if set(moved) == {"0.weight", "0.bias"} else f"Right tensors, wrong report: {sorted(map(str, moved))}."


def _migrate(answer: Any) -> str | None:
    if not (isinstance(answer, type) and issubclass(answer, nn.Module)):
        return f"You gave {type(answer).__name__}; wanted the class itself."
    model = answer()
    if list(model.state_dict()) != ["encoder.weight", "encoder.bias", "head.weight", "head.bias"]:
        return f"The class has the keys {', '.join(model.state_dict()) or 'none'}; keep encoder and head."
    torch.manual_seed(2)
    new = {key: torch.randn_like(value) for key, value in model.state_dict().items()}
    old = {key.replace("encoder", "body"): value.clone() for key, value in new.items()}
    for name, state in (("new", new), ("old", old)):
        try:
            model.load_state_dict(state)
        except RuntimeError:
            return f"A checkpoint with the {name} names does not load."
        if any(not torch.equal(new[key], value) for key, value in model.state_dict().items()):
            return f"A checkpoint with the {name} names loads other numbers."
    nested = nn.Sequential(answer())
    try:
        nested.load_state_dict({f"0.{key}": value for key, value in old.items()})
    except RuntimeError:
        return "It works alone, but not inside another module. The hook is given a prefix: use it."
    try:
        model.load_state_dict({})
    except RuntimeError:
        return None
    return "Now an empty dict loads too: the hook should rename, and leave missing keys missing."


def half_loaded() -> tuple[dict[str, Tensor], nn.Module]:
    """A checkpoint, and a model into which somebody loaded it with strict=False; one layer was not loaded."""
    torch.manual_seed(6)
    layers = [nn.Linear(2, 2) for _ in range(5)]
    state = {
        f"{'layers' if k == 3 else 'layer'}.{k}.{name}": value
        for k, layer in enumerate(layers)
        for name, value in layer.state_dict().items()
    }
    model = nn.Module()
    model.layer = nn.ModuleList(nn.Linear(2, 2) for _ in range(5))
    model.load_state_dict(state, strict=False)
    return state, model


def _find(answer: Any) -> str | None:
    if answer == 3 and isinstance(answer, int):
        return "Say it as the model does: with its name, not only its number."
    if not isinstance(answer, str):
        return f"You gave {type(answer).__name__}; wanted the name of a layer, such as 'layer.0'."
    if answer.startswith("layers"):
        return "That is the name in the checkpoint. Wanted the layer of the model that was left as it was."
    if answer.removesuffix(".weight").removesuffix(".bias") == "layer.3":
        return None
    return (
        f"{answer} holds what the checkpoint holds for it."
        if answer in [f"layer.{k}" for k in range(5)]
        else f"The model has no layer {answer!r}."
    )


load_parallel = Exercise(
    "A checkpoint from several GPUs",
    "Take the right entry, take the prefix off, and load strictly.",
    (
        "The state dict is one entry of the checkpoint.",
        "key.removeprefix('module.') in a dict comprehension.",
        "Leave strict alone: it says which name is missing or left over.",
    ),
    _load_parallel,
)
transfer = Exercise(
    "All but the head",
    "What fits by name and shape moves; the report says what did.",
    (
        "Compare shapes with model.state_dict().",
        "Build a dict of what fits; load it with strict=False.",
        "The keys of that dict are what moved.",
    ),
    _transfer,
)
migrate = Exercise(
    "A migration",
    "The class itself knows its old names, so every old file loads, strictly.",
    (
        "self.register_load_state_dict_pre_hook(hook) in __init__.",
        "hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)",
        "state_dict[prefix + 'encoder.weight'] = state_dict.pop(prefix + 'body.weight'), if it is there.",
    ),
    _migrate,
)
find_layer = Exercise(
    "The layer that was not loaded",
    "One letter in a name, and strict=False said nothing.",
    ("Compare every tensor of the model with the checkpoint's.", "Which keys of the model has the checkpoint not?"),
    _find,
)
