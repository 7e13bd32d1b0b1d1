"""Lesson 12: your own file."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from helpers.exercises import unknown
from helpers.exercises.states import difference, reason
from helpers.exercises.strangers import stops_an_interrupt
from helpers.exercises.trial import apart, unlike
from helpers.quiz import Choice, Exercise, Prediction

ending = Prediction(
    "A colleague calls her file weights.h5. She wrote it with torch.save. What reads it?",
    (
        Choice("Keras: .h5 is its ending", "It finds no header of its own format there, and refuses."),
        Choice("torch.load: its bytes are a zip", "The bytes are what torch.save wrote. This ending counts for nothing.", True),
        Choice("nothing: name and bytes disagree", "Only the ending .safetensors would keep torch.load from these bytes."),
    ),
)
refused = Prediction(
    "Your own file from two years ago does not open: Weights only load failed. What do you do first?",
    (
        Choice("read which names it asks for", "They are in the file as text. They say whether it is a model or a trap.", True),
        Choice("weights_only=False: it is mine", "You believe that it is yours. A look at the names costs nothing."),
        Choice("train again: it is lost", "The numbers are in it, and most often you get them out."),
    ),
)
biggest = Prediction(
    "A checkpoint has a model, all of it trained, and its AdamW. Which of the two entries holds more numbers?",
    (
        Choice("the model: it is what counts", "AdamW keeps two numbers for each of the model's."),
        Choice("both hold the same", "There are two averages for each parameter, and a count of steps."),
        Choice("the optimizer", "Two averages for each parameter, and a count of steps: more than twice the model.", True),
    ),
)
all_there = Prediction(
    "load_state_dict(state, strict=False) returns, and raises nothing. What do you know about the model now?",
    (
        Choice("all of the file is in it", "Keys that the model does not know were left out, and nothing was said."),
        Choice("nothing that you have not compared", "The report says which keys; comparing says which numbers.", True),
        Choice("all of the model is filled", "Keys that the file does not have were forgiven too."),
    ),
)
opens = Prediction(
    "torch.load(path, weights_only=True) returns a dict. Is it a state dict?",
    (
        Choice(
            "yes: weights_only gives weights alone", "It allows numbers, strings and dicts too, such as a whole checkpoint."
        ),
        Choice("yes: a dict of names is a state dict", "A state dict is names of tensors. Names of dicts are something else."),
        Choice("look at its values first", "Tensors under dotted names: a state dict. Dicts and numbers: a checkpoint.", True),
    ),
)


@apart()
def _kinds(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of the first bytes")
    for start, kind in unknown.starts():
        given = answer(start)
        if given not in unknown.KINDS:
            return f"{start[:12]!r} gives {str(given)[:40]!r}; wanted one of {', '.join(unknown.KINDS)}."
        if given != kind:
            return f"{start[:12]!r} gives {given!r}; it is {kind!r}."
    return None


@apart()
def _weights(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a checkpoint and a model")
    for words, checkpoint, wanted, model in unknown.trainers():
        before = copy.deepcopy(checkpoint)
        given = answer(checkpoint, model)
        if difference(before, checkpoint) is not None:
            return f"Your function changed {words}: make a new dict."
        if found := _not_the_weights(given, wanted, words):
            return found
    return None


def _not_the_weights(given: Any, wanted: Mapping[str, Tensor], words: str) -> str | None:
    if not isinstance(given, Mapping):
        return f"Of {words} it gives {type(given).__name__}; wanted a dict of the model's keys."
    missing, extra = [key for key in wanted if key not in given], [key for key in given if key not in wanted]
    if missing or extra:
        named = f"without {missing[0]!r}" if missing else f"with {str(extra[0])[:40]!r}"
        return f"Of {words} it gives a dict {named}: the model's keys, all of them and no other."
    if all(isinstance(given[key], Tensor) and not given[key].any() for key in wanted):
        return f"Of {words} it gives the average, which is all zero here; wanted the weights themselves."
    if key := difference(dict(wanted), {key: given[key] for key in wanted}):
        return f"Of {words} it gives another {key} than was saved."
    return None


@apart()
def _load_any(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a path and a model")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, wanted in unknown.good(folder):
            model = unknown.net(9)
            parameters = [*model.parameters()]
            try:
                answer(path, model)
            except Exception as error:
                return f"{path.name} is a good file, and is refused: {reason(error)}"
            if any(one is not other for one, other in zip(parameters, model.parameters())):
                return "The model has other parameters now, as with assign=True: an optimizer would go on with the old ones."
            if key := difference(wanted, dict(model.state_dict())):
                return f"{path.name} was loaded, and {key} is not the file's."
        for path, why in unknown.bad(folder):
            if found := _not_said(answer, path, why):
                return found
            if (folder / "was here").exists():
                return f"{path.name} was run: {why}. Load with weights_only=True."
        if stops_an_interrupt(lambda path: answer(path, unknown.net(9)), folder / "torch.weights"):
            return "Ctrl-C while your function reads comes out as a ValueError: write except Exception, not a bare except."
    return None


def _not_said(answer: Callable, path: Path, why: str) -> str | None:
    model = unknown.net(9)
    before = copy.deepcopy(dict(model.state_dict()))
    try:
        answer(path, model)
    except ValueError as error:
        if path.name not in str(error) or "\n" in str(error).strip():
            return f"What {path.name} raises should be one line that names the file, not {str(error)[:50]!r}."
        if key := difference(before, dict(model.state_dict())):
            return f"{path.name} was refused, and yet it changed {key}: compare before you load."
        return None
    except Exception as error:
        return f"{path.name} raised {type(error).__name__}; wanted a ValueError in one line."
    return f"{path.name} was not refused: {why}."


@apart()
def _left_out(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a state dict and a model")
    for words, state, model, wanted in _pairs():
        before = _numbers(model)
        given = answer(state, model)
        if difference(before, _numbers(model)) is not None:
            return "Your function loads; it should only compare."
        try:
            listed = sorted(given)
        except TypeError:
            return f"It gives {type(given).__name__}; wanted names of keys."
        if listed != wanted:
            return f"{words}: it gives {listed}; wanted {wanted}."
    return None


def _numbers(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone().nan_to_num(nan=0.5) for key, value in model.state_dict().items()}


def _pairs() -> list[tuple[str, dict[str, Tensor], nn.Module, list[str]]]:
    model = unknown.net()
    with torch.no_grad():
        model[0].bias[0] = 0.0  # type: ignore[index]
    same = copy.deepcopy(dict(model.state_dict()))
    less = {key: value for key, value in same.items() if key != "2.bias"}
    other = same | {"0.weight": same["0.weight"] + 1}
    little = copy.deepcopy(same)
    little["0.weight"][-1, -1] += 1e-6
    counted = same | {"1.num_batches_tracked": same["1.num_batches_tracked"] + 1}
    ill = copy.deepcopy(model)
    with torch.no_grad():
        ill[0].bias[0] = torch.nan  # type: ignore[index]
    nan = copy.deepcopy(dict(ill.state_dict()))
    beside = copy.deepcopy(nan)
    beside["0.bias"][-1] += 1
    return [
        ("All there", same, model, []),
        ("A key that only the model has", less, model, ["2.bias"]),
        ("A key that only the file has", same | {"aux": torch.ones(1)}, model, ["aux"]),
        ("Other numbers in one weight", other, model, ["0.weight"]),
        ("Another count in a buffer", counted, model, ["1.num_batches_tracked"]),
        ("Another shape", same | {"2.weight": torch.ones(2, 3)}, model, ["2.weight"]),
        ("A change of a millionth in the last number", little, model, ["0.weight"]),
        ("The numbers of one weight in another order", same | {"0.weight": same["0.weight"].flip(0)}, model, ["0.weight"]),
        ("One weight in half precision", same | {"0.weight": same["0.weight"].half()}, model, ["0.weight"]),
        ("The file's NaN in the model", nan, ill, []),
        ("The file's NaN where the model has 0", nan, model, ["0.bias"]),
        ("NaN in both, and another number beside it", beside, ill, ["0.bias"]),
    ]


kinds = Exercise(
    "Six files",
    "Four bytes, or the ninth: that is all it takes.",
    (
        "start.startswith(b'PK') is a zip, which torch has written since 1.6.",
        "safetensors: eight bytes of length, then b'{'. So look at start[8:9], and first: a length may look like anything.",
        "Pages differ in case: start.lower(). Nothing at all is b''.",
    ),
    _kinds,
)
weights = Exercise(
    "The weights of a trainer's checkpoint",
    "Found by its values, cut to the model's names, and the average left where it is.",
    (
        "The model's keys are known: model.state_dict(). Look for the entry whose keys end with them.",
        "Leave out every entry that has ema in its name. It may come first, and the weights may lie a dict deeper.",
        "If a key ends with one of the model's keys, what stands before it is the prefix: removeprefix.",
    ),
    _weights,
)
load_any = Exercise(
    "Load any file",
    "One kind of error, in one line, before a number of the model has moved.",
    (
        "with open(path, 'rb') as file: start = file.read(9). start[8:9] == b'{' is safetensors: load_file(path).",
        "All else: file.seek(0), torch.load(file, weights_only=True), inside try. Of a path, torch.load asks the ending too.",
        "Compare keys and shapes with model.state_dict() before load_state_dict: a failed load leaves half behind.",
        'raise ValueError(f"{path.name}: … ") from error, with the first line of the error alone.',
    ),
    _load_any,
)
left_out = Exercise(
    "Nothing was left out",
    "Every key of either side, and every number.",
    (
        "set(state) ^ set(own) is what only one of them has.",
        "torch.equal(one, other) is False for another shape, too.",
        "NaN is not equal to NaN: torch.allclose(…, rtol=0, atol=0, equal_nan=True), or compare bytes.",
    ),
    _left_out,
)
