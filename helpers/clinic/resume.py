"""Will it resume: the file's optimizer against the one that is to go on."""

from __future__ import annotations

from torch import Tensor, nn, optim

from helpers.clinic.contents import KINDS, Part, kind_of
from helpers.clinic.finding import Finding, explained

FILLED_IN = {"amsgrad", "capturable", "decoupled_weight_decay", "differentiable", "foreach", "fused", "maximize", "nesterov"}


def resuming(saved: list[Part], optimizer: optim.Optimizer, model: nn.Module | None, head: str) -> list[Finding]:
    """What stands in the way, or the line that loads it: of several optimizers in the file, of one that fits."""
    if not saved:
        why = "Only the weights were saved: training goes on with an empty optimizer."
        return [explained("There is no optimizer in it.", why, "keyerror-optimizer", level="look")]
    found = [_from(part, optimizer, model, head) for part in saved]
    fits = [part.name for part, one in zip(saved, found, strict=True) if one[-1].level != "bad"]
    best = min(found, key=lambda one: one[-1].level == "bad")
    if len(fits) > 1:
        what = f"{', '.join(fits[1:])} would fit as well as {fits[0]}."
        why = "The line below takes the first: say which you want."
        best = [Finding(what, why, sure="cannot be told", level="look"), *best]
    return best


def _from(part: Part, optimizer: optim.Optimizer, model: nn.Module | None, head: str) -> list[Finding]:
    groups, own = part.value["param_groups"], optimizer.param_groups
    sizes = [len(group["params"]) for group in groups], [len(group["params"]) for group in own]
    if len(groups) != len(own):
        what = f"Its optimizer has {len(groups)} groups, yours {len(own)}."
        return [explained(what, "Build the groups as they were when it was saved.", "number-of-groups")]
    if sizes[0] != sizes[1]:
        what = f"Its groups have {sizes[0]} parameters, yours {sizes[1]}."
        return [explained(what, "Give the optimizer the same parameters in the same groups.", "group-size")]
    lacking = sorted(set(optimizer.defaults) & set(own[0]) - set(groups[0]) - FILLED_IN)
    kind, mine = kind_of(part.value), type(optimizer).__name__
    foreign = kind and mine not in kind.split() and any(mine in words.split() for _, words in KINDS)
    if lacking or foreign or ("momentum" in groups[0]) != ("momentum" in own[0]):
        what = f"It was saved by another kind of optimizer than {mine}{f': by {kind}' * bool(kind)}."
        address = "keyerror-momentum" if mine == "SGD" else "keyerror-step"
        return [explained(what, f"It lacks {', '.join(lacking) or 'what yours keeps for each parameter'}.", address)]
    return _in_order(part, optimizer, model, head)


def _in_order(part: Part, optimizer: optim.Optimizer, model: nn.Module | None, head: str) -> list[Finding]:
    """Position by position: names where the file has them, else shapes."""
    names = [name for group in part.value["param_groups"] for name in group.get("param_names", ())]
    places = [place for group in part.value["param_groups"] for place in group["params"]]
    names = names or [place for place in places if isinstance(place, str)]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    known = {id(value): name for name, value in model.named_parameters()} if model is not None else {}
    mine = [known.get(id(parameter), "") for parameter in parameters]
    if names and all(mine) and names != mine and sorted(names) == sorted(mine):
        why = "Loading goes by position, and would swap their buffers without a word. Give the parameters in the saved order."
        return [explained("Its parameters stand in another order.", why, "size-of-tensor-in-step")]
    for place, parameter, name in zip(places, parameters, mine, strict=True):
        entry = part.value["state"].get(place, {})
        for key in ("momentum_buffer", "exp_avg", "square_avg", "sum"):
            value = entry.get(key) if isinstance(entry, dict) else None
            if isinstance(value, Tensor) and value.shape != parameter.shape:
                shapes = f"{tuple(value.shape)}, its parameter {tuple(parameter.shape)}"
                what = f"The {key} at position {place} has the shape {shapes}."
                why = f"The order or the model differs{f' at {name}' * bool(name)}."
                return [explained(what, why, "size-of-tensor-in-step")]
    code = f"{head}\noptimizer.load_state_dict({part.code})"
    sure, why = "likely", "Kind, groups and shapes agree; the order of equal shapes cannot be told."
    if names and names == mine:
        sure, why = "certain", "Kind, groups and shapes agree, and so do the names."
    why += " The file's settings come back too, its learning rate among them."
    return [Finding("It can resume.", why, code, "notebooks/07_resume_exactly.ipynb", sure)]
