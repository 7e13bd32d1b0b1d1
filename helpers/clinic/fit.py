"""Does it fit: the state dict that fits best, what stands in its way, and the lines that load it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from helpers.clinic.choosing import matched
from helpers.clinic.contents import Part
from helpers.clinic.doubts import codes, untied
from helpers.clinic.finding import Finding, explained, importing
from helpers.clinic.recipes import recipes
from helpers.clinic.renaming import renaming
from helpers.compare import Pair, compare, same_storage

MOST_SHOWN = 4
_POSITIONS = re.compile(r"(^|[._])(pos|position|positional|wpe)($|[._]|emb|enc)")
_OF_GPT2 = ("c_attn", "c_fc", "c_proj")


def fitting(part: Part, model: nn.Module, pairs: list[Pair], equal: list[Part], head: str) -> list[Finding]:
    """What stands in the way, and at the end the lines that load all that fits."""
    own = model.state_dict()
    if 2 * sum("lora_" in key for key in part.value) > len(part.value) and not any("lora_" in key for key in own):
        why = "It is a small change to a model whose own weights are not in it."
        return [explained("It is a LoRA adapter, and fills no model.", why, "lora-keys")]
    unclear = [pair for pair in pairs if len(pair.candidates) > 1]
    if unclear:
        what = f"{len(unclear)} keys are ambiguous, such as {unclear[0].key!r}: {' or '.join(unclear[0].candidates[:3])}."
        why = "More than one mapping explains them equally, and a guess would load, wrong. Its old code alone tells which."
        return [explained(what, why, "renamed-layers", sure="cannot be told")]
    renames, change, place = renaming(pairs)
    moved = {change(key): value for key, value in part.value.items()}
    plain = compare(moved, own, values=False)
    ill = _ailments(moved, model, own, plain)
    if not ill.cures and not any(pair.relation == "same" or pair.word == "shape" for pair in plain):
        return [_of_another_model(part)]
    if coded := codes(moved, model):
        why = "They are codes of a quantised model: as weights they would load, and be wrong."
        return [explained(f"Codes stand where the model has floats, such as at {coded[0]!r}.", why, "quantised-checkpoint")]
    why, sure = "One mapping explains them, and the lines below rename them.", "certain"
    if lone := [f"{pair.candidates[0]} for {pair.key}" for pair in pairs if pair.candidates]:
        why, sure = f"{lone[0]}: the shapes agree, but it may as well be another layer. Compare outputs.", "likely"
    found = [Finding("Its keys have other names.", why, "", place, sure, "look")] if renames else []
    if equal:
        what = f"{', '.join(other.name for other in equal)} would fit as well as {part.name}."
        found.append(Finding(what, "The lines below take the first: say which you want.", sure="cannot be told", level="look"))
    assign = ", assign=True" * any(isinstance(value, Tensor) and value.is_meta for value in own.values())
    start = f"dict({part.code})" if ill.cures and not renames else part.code
    lines = [f"{head}\nstate = {start}", *renames, *ill.cures, *(load := _load(plain, ill.cures, assign))]
    if not matched(plain) and not ill.cures:
        return [*found, *ill.findings]
    why = "The names and shapes agree; whether the numbers are the right ones, outputs alone can tell."
    last = Finding(
        _in_words(plain, load),
        why,
        importing("\n".join(lines)),
        "notebooks/06_when_keys_do_not_match.ipynb, 'Rename, load, verify'",
    )
    return [*found, *ill.findings, last]


def _of_another_model(part: Part) -> Finding:
    why = "No key and no shape of the one explains the other: it is of another model, or all names in it are others."
    address = "quantised-checkpoint" if any(key.endswith("_packed_params") for key in part.value) else "renamed-layers"
    if any(key.endswith("flat_param") for key in part.value):
        why, address = "FSDP laid whole layers into one tensor: save its full state dict where it was trained.", "empty-tensors"
    return explained("Nothing of it fits the model.", why, address, sure="likely")


def _in_words(plain: list[Pair], load: list[str]) -> str:
    fits, count = matched(plain), len(plain)
    how = "in part" if load[1:] or "strict=False" in load[0] else "by these lines"
    part = f"It fits {how}: {fits} of {count} keys as they are."
    return f"It fits: all {fits} keys have their place." if fits == count else part


@dataclass
class Ailments:
    """What does not fit after renaming, each with its cause, and the lines that cure what can be cured."""

    findings: list[Finding] = field(default_factory=list)
    cures: list[str] = field(default_factory=list)

    def add(self, what: str, keys: Collection[str], why: str, address: str, cure: str = "", sure: str = "certain") -> None:
        """One more, if there are keys that have it."""
        if keys:
            named = ", ".join([*keys][:MOST_SHOWN]) + f" and {len(keys) - MOST_SHOWN} more" * (len(keys) > MOST_SHOWN)
            self.findings.append(explained(f"{what}: {named}.", why, address, sure=sure, level="look"))
            self.cures += [cure] * bool(cure)


def _ailments(state: dict[str, Any], model: nn.Module, own: Mapping[str, Any], pairs: list[Pair]) -> Ailments:
    ill = Ailments()
    reshaped = [pair.key for pair in pairs if pair.word == "shape" and state[pair.key].numel()]
    shapes = {key: (tuple(state[key].shape), tuple(own[key].shape)) for key in reshaped}
    flat = [key for key, (one, other) in shapes.items() if [n for n in one if n > 1] == [n for n in other if n > 1]]
    cure = f"for key in {flat!r}:\n    state[key] = state[key].reshape(model.state_dict()[key].shape)"
    ill.add("Of the same size, in another shape", flat, "Only dimensions of size 1 differ.", "another-model-size", cure)
    shapes = {key: both for key, both in shapes.items() if key not in flat}
    turned = [key for key, (one, other) in shapes.items() if len(one) == 2 and one == other[::-1] and not _biased(key, shapes)]
    tables = [key for key, (one, other) in shapes.items() if key not in turned and _is_table(key, one, other, model, shapes)]
    grown = [key for key in tables if shapes[key][0] < shapes[key][1]]
    last = [key.split(".")[-2:-1] for key in turned if "." in key]
    last += [[name] for name in _OF_GPT2] * any(name in _OF_GPT2 for [name] in last)
    square = [key for key, value in state.items() if key.split(".")[-2:-1] in last and _is_square(value)]
    why = "A layer with in × out weights, as GPT-2's Conv1D, became a Linear."
    why += f" {len(square)} square ones of the same name are turned too: nothing in their shape could tell." * bool(square)
    cure = f"for key in {turned + square!r}:\n    state[key] = state[key].t()"
    ill.add("Transposed", turned, why, "transposed-weight", cure, "likely")
    why = "The model has more rows; the new ones keep their first numbers."
    cure = f"own = model.state_dict()\nfor key in {grown!r}:\n    rows = own[key].clone()\n"
    cure += "    rows[: len(state[key])] = state[key]\n    state[key] = rows"
    ill.add("A table that grew, such as a vocabulary", grown, why, "larger-vocabulary", cure, "likely")
    shrunk = [key for key in tables if key not in grown]
    why = "".join(f"Build the model with {shapes[key][0][0]} rows, as the file has." for key in shrunk[:1])
    ill.add("A table larger than the model's, such as a vocabulary", shrunk, why, "larger-vocabulary", sure="likely")
    _resized([key for key in shapes if key not in turned + tables], shapes, ill)
    _absent(state, own, pairs, ill)
    apart = untied(state, own)
    ill.add("Tied in the model, two in the file", apart, "The last one loaded stays for both.", "tied-weights")
    return ill


def _biased(key: str, shapes: Mapping[str, Any]) -> bool:
    """Whether the bias beside a weight has another length too: then the layer has another size."""
    return f"{key.rpartition('.')[0]}.bias" in shapes


def _is_square(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 2 and value.shape[0] == value.shape[1]


def _is_table(key: str, one: tuple[int, ...], other: tuple[int, ...], model: nn.Module, shapes: dict[str, Any]) -> bool:
    """Whether it is a table of other many rows: an embedding, or what is tied to one, or as long as one."""
    if len(one) != 2 or one[1:] != other[1:] or _POSITIONS.search(key):
        return False
    tables = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Embedding)}
    return key in tables or any(shapes[name] == (one, other) for name in tables & shapes.keys())


def _resized(keys: list[str], shapes: dict[str, Any], ill: Ailments) -> None:
    placed = [key for key in keys if _POSITIONS.search(key)]
    why = "Interpolate them, or begin anew."
    ill.add("Positions of another length", placed, why, "positional-embedding", sure="likely")
    keys = [key for key in keys if key not in placed]
    rows_alone = all(one and other and one[1:] == other[1:] for one, other in map(shapes.__getitem__, keys))
    what, why, address = "Of another size", "Build the model with the sizes that the file has.", "another-model-size"
    if all(len(one) > 2 and (one[0], *one[2:]) == (other[0], *other[2:]) for one, other in map(shapes.__getitem__, keys)):
        address = "other-number-of-channels"
    if rows_alone and len({key.rpartition(".")[0] for key in keys}) == 1:
        what, address = "A new head", "other-number-of-classes"
        why = f"Another number of classes: to predict, build the model with {shapes[keys[0]][0][0]}; or train this one's."
    ill.add(what, keys, why, address, sure="likely")


def _absent(state: dict[str, Any], own: Mapping[str, Any], pairs: list[Pair], ill: Ailments) -> None:
    """What only one side has: the second name of a tied tensor, another number of layers, and the rest."""
    missing = [pair.key for pair in pairs if pair.relation == "missing"]
    extra = [pair.key for pair in pairs if pair.relation == "unexpected"]
    known = {*state}
    for one in recipes(missing, extra, state, own):
        ill.add(one.what, one.makes, one.why, one.address, one.code, "likely")
        done = {*one.makes, *one.takes}
        missing, extra = ([key for key in keys if key not in done] for keys in (missing, extra))
        known |= {*one.makes}
    filled = [key for key in own if key in known]
    twins = {key: other for key in missing for other in filled if same_storage(own[key], own[other])}
    cure = "\n".join(f"state[{key!r}] = state[{other!r}]" for key, other in twins.items())
    ill.add("Missing because tied", twins, "The file keeps one name of two.", "tied-weights", cure)
    missing = [key for key in missing if key not in twins]
    ours = _numbered(state)
    for place, there in _numbered(own).items():
        here = ours.get(place, set())
        odd = tuple(f"{place}.{k}.".lstrip(".") for k in here ^ there) if len(here) != len(there) and here & there else ()
        layers = [key for key in missing + extra if key.startswith(odd)]
        why = f"The file has {len(here)}, the model {len(there)}. Build the model with {len(here)}."
        ill.add(f"Another number of layers in {place or 'the model'}", layers, why, "missing-only")
        missing, extra = ([key for key in keys if key not in layers] for keys in (missing, extra))
    address = "num-batches-tracked" if all(key.endswith("num_batches_tracked") for key in missing) else "missing-only"
    why, sure = "The file has nothing for them: they keep the numbers that the model was made with.", "certain"
    if alike := [key for key in extra if any(_alike(state[key], key, own[lacks], lacks) for lacks in missing)]:
        why, sure = f"They keep the numbers that the model was made with, unless {alike[0]} is one of them.", "cannot be told"
    ill.add("Missing in the file", missing, why, address, sure=sure)
    added = [key for key in extra if "lora_" in key]
    why = "Without them it is the model from before its fine-tuning: merge them where they were trained."
    ill.add("LoRA's changes, not merged", added, why, "lora-keys")
    extra = [key for key in extra if key not in added]
    biases = [key for key in extra if key.endswith("bias") and f"{key.removesuffix('bias')}weight" in own]
    why = "The saved layers had them, and without them the outputs are others: build these layers with bias=True."
    ill.add("Biases that the model's layers have not", biases, why, "unexpected-only")
    extra = [key for key in extra if key not in biases]
    address = "position-ids" if all(key.endswith("position_ids") for key in extra) else "unexpected-only"
    ill.add("Unexpected in the file", extra, "The model has no place for them; they are left out.", address)


def _alike(value: Any, key: str, other: Any, name: str) -> bool:
    both = isinstance(value, Tensor) and isinstance(other, Tensor) and value.shape == other.shape
    return both and key.split(".")[-1] == name.split(".")[-1]


def _numbered(keys: Iterable[str]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    for key in keys:
        names = key.split(".")
        for k, name in enumerate(names[:-1]):
            if name.isdecimal() and len(name) < 9:
                found[".".join(names[:k])].add(int(name))
    return found


def _load(pairs: list[Pair], cures: list[str], assign: str) -> list[str]:
    """The last lines: strict where all has its place, and what is left out said where not."""
    cured = "\n".join(cures)
    open_ = [pair for pair in pairs if pair.relation != "same" and repr(pair.key) not in cured]
    extra = [pair.relation == "unexpected" for pair in open_]
    resized = any(pair.word == "shape" for pair in open_)
    keep = "own = model.state_dict()\nstate = {key: value for key, value in state.items() if key in own"
    keep += " and value.shape == own[key].shape}" if resized else "}"
    load = (
        f"model.load_state_dict(state{assign})" if all(extra) else f"print(model.load_state_dict(state, strict=False{assign}))"
    )
    return [*[keep] * (resized or any(extra)), load]
