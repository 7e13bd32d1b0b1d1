"""Lesson 06: when keys do not match."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from helpers.exercises import renamed
from helpers.exercises.renamed import Old
from helpers.exercises.states import difference, reason
from helpers.exercises.trial import apart, unlike
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


@apart()
def _load_parallel(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function that fills a model and returns it")
    for words, state, model in renamed.from_several():
        bare = {key if words == renamed.BARE else key.removeprefix("module."): value for key, value in state.items()}
        right, before = copy.deepcopy((bare, dict(model.state_dict())))
        try:
            given = answer({"epoch": 7, "model_state": state}, model)
        except Exception as error:
            return f"{words} does not load: {reason(error)}"
        if given is not model:
            more = ": a wrapper or a copy" if isinstance(given, nn.Module) else ""
            return f"Your function returns {type(given).__name__}{more}; wanted the model that it was given."
        if difference(before, dict(model.state_dict())) is None:
            return f"{words}: the model is as it was. Does strict=False hide that no name fitted?"
        if (key := difference(right, dict(model.state_dict()))) is not None:
            return f"{words}: {key} has other numbers than in the checkpoint."
    return _says_nothing(answer)


def _says_nothing(answer: Any) -> str | None:
    for words in ("a tensor too few", "a tensor too many"):
        _, state, model = next(renamed.from_several())
        if words == "a tensor too few":
            state.popitem()
        else:
            state["module.3.weight"] = torch.ones(2)
        try:
            answer({"epoch": 7, "model_state": state}, model)
        except Exception:
            continue
        return f"A checkpoint with {words} loads without a word: load strictly."
    return None


@apart()
def _transfer(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a state dict and a model")
    for words, state, model in renamed.heads():
        kept, before = copy.deepcopy((state, model.state_dict()))
        fits = {key for key in state if key in before and before[key].shape == state[key].shape}
        try:
            moved = answer(state, model)
        except Exception as error:
            return f"{words}: it raises {reason(error)}"
        for key, now in model.state_dict().items():
            if not torch.equal(now, kept[key] if key in fits else before[key]):
                return f"{words}: {_moved_wrongly(key, fits, kept, dict(model.named_buffers()))}"
        if isinstance(moved, str) or not isinstance(moved, Iterable):
            return f"The tensors have moved. Return their names too; you return {type(moved).__name__}."
        names = [*moved]
        if sorted(map(str, names)) != sorted(fits):
            return f"{words}: right tensors, wrong report: {str(names)[:80]}; what moved is {', '.join(sorted(fits))}."
    return None


def _moved_wrongly(key: str, fits: set[str], state: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> str:
    if key in fits:
        more = " A buffer is in the state dict too." if key in buffers else ""
        return f"{key} fits by name and shape, and has not the numbers of the checkpoint.{more}"
    if key not in state:
        return f"{key} has changed, and the checkpoint has no tensor of that name."
    return f"{key} has changed, though its shape in the checkpoint is another, {tuple(state[key].shape)}."


@apart()
def _migrate(answer: Any) -> str | None:
    if not (isinstance(answer, type) and issubclass(answer, nn.Module)):
        return unlike(answer, "the class itself, a subclass of nn.Module")
    model = answer()
    wanted = {name: tuple(value.shape) for name, value in renamed.today(Old().state_dict(), ("",)).items()}
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if shapes != wanted:
        return f"The class has {str(shapes)[:150] if shapes else 'no keys'}; keep encoder and head as they are."
    state = renamed.filled(answer())
    if found := renamed.fault(model, state, state, "Alone, a checkpoint with the new names"):
        return found
    old = renamed.filled(Old())
    if found := renamed.fault(model, old, renamed.today(old, ("",)), "Alone, a checkpoint with the old names"):
        return found
    for (words, parent, prefixes), (_, before, _) in zip(renamed.parents(answer), renamed.parents(Old)):
        state, old = renamed.filled(parent), renamed.filled(before)
        if found := renamed.fault(parent, old, renamed.today(old, prefixes), f"{words} an old checkpoint"):
            return found
        if found := renamed.fault(parent, state, state, f"{words} a new checkpoint"):
            return found
    return renamed.forgives(answer)


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
    if isinstance(answer, int) and answer == 3:
        return "Say it as the model does: with its name, not only its number."
    names = [answer] if isinstance(answer, str) else [*answer] if isinstance(answer, Iterable) else []
    if not names or not all(isinstance(name, str) for name in names):
        given = str(answer)[:40] if isinstance(answer, (list, tuple, set)) else type(answer).__name__
        return f"You gave {given}; wanted the name of a layer, such as 'layer.0'."
    layers = {re.sub(r"\[(\d+)\]", r".\1", name).removeprefix("model.") for name in names}
    layers = {name.removesuffix(".weight").removesuffix(".bias") for name in layers}
    for name in sorted(layers - {"layer.3"}):
        if name.startswith("layers."):
            return f"{name} is a name in the checkpoint. Wanted the layer of the model that was left as it was."
        if name in [f"layer.{k}" for k in range(5)]:
            return f"{name} holds what the checkpoint holds for it."
        if name == "3":
            return "3 is the number of a layer; say its whole name, as the model does."
        return f"The model has no layer {name[:60]!r}."
    return None


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
