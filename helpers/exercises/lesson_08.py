"""Lesson 08: share safely."""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from helpers.exercises import strangers, tied, torn
from helpers.exercises.states import difference
from helpers.exercises.tied import TiedModel
from helpers.exercises.trial import apart, plain, unlike
from helpers.quiz import Choice, Exercise, Prediction, line_of

refuses_when = Prediction(
    "torch.load(path, weights_only=True) meets an instruction that asks for os.system. What does it do?",
    (
        Choice("it loads the rest and leaves that out", "A file that asks for this is not partly good."),
        Choice("it runs it in a sandbox", "There is no sandbox. The name is refused."),
        Choice(
            "it raises before os.system is called",
            "Each name is checked as it is read, before its call. Calls that are on the list, and came earlier, were made.",
            True,
        ),
    ),
)
safe_option = Prediction(
    "Your own old checkpoint holds best = np.float64(0.5), and is refused. What is the least that you have to allow?",
    (
        Choice("the few names that it asks for", "For this one load. Then save float(best), and never need it again.", True),
        Choice("every name in the module numpy", "There is no such switch: names are allowed one by one."),
        Choice("everything: weights_only=False", "Then the file may call anything. A number needs no such power."),
    ),
)
one_bit = Prediction(
    "One bit of the 131,072 in a weight flips on its way to you. What does safetensors say?",
    (
        Choice("that the numbers changed", "It would need a checksum for that, and the format has none."),
        Choice("nothing: it loads", "It checks the header and the length. The numbers are what they are.", True),
        Choice("it loads, with a NaN in it", "A flipped bit is a number like any other, mostly."),
    ),
)
ties = Prediction(
    "A language model's output layer is its embedding: model.head.weight = model.embed.weight. "
    "What does safetensors' save_file(model.state_dict(), path) do?",
    (
        Choice("it saves it twice", "It would come back as two tensors, and train apart. So it refuses."),
        Choice("it saves it once, with two names", "torch.save does that. Here one name is one tensor."),
        Choice("it refuses to save it", '"Some tensors share memory": save_model knows what to do.', True),
    ),
)
killed = Prediction(
    "The process is killed in the middle of torch.save(state, path). A good checkpoint stood at path. What is there now?",
    (
        Choice(
            "none that loads", "An empty file, or a part of the new one: it depends on the moment. The old one is lost.", True
        ),
        Choice("the old checkpoint", "torch.save opens the path for writing: the old file ended at that moment."),
        Choice("the new checkpoint", "What was not yet written is never written."),
    ),
)


@apart()
def _refuse(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a path")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, weights in strangers.good(folder):
            try:
                given = answer(path)
            except Exception as error:
                return f"{path.name} is a good file, and is refused: {line_of(error)}"
            if not isinstance(given, Mapping) or difference(dict(weights), dict(given)) is not None:
                return "A good file should come back as its dict of tensors, as they are."
        for path, why in strangers.bad(folder):
            if found := _not_refused(answer, path, why, folder / strangers.MARKER):
                return found
        if strangers.stops_an_interrupt(answer, path=next(strangers.good(folder))[0]):
            return "An interrupt while it reads comes out as your ValueError: catch Exception, not BaseException."
    return None


def _not_refused(answer: Callable, path: Path, why: str, marker: Path) -> str | None:
    try:
        answer(path)
    except ValueError as error:
        if marker.exists():
            return f"{path.name} was refused, and yet it was run: {why}"
        return None if path.name in str(error) else f"The message for {path.name} does not name it: {str(error)[:60]!r}."
    except Exception as error:
        return f"{path.name} raised {type(error).__name__}; wanted a ValueError that names the file."
    return f"{path.name} was {'run' if marker.exists() else 'not refused'}: {why}"


@apart()
def _atomic(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a state and a path")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name).resolve() / "run.pth"
        return torn.fault(answer, path) or torn.unflushed(answer, path)


@apart()
def _convert(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a model and a path")
    with tempfile.TemporaryDirectory() as name:
        for k, dtype in enumerate((torch.float32, torch.float32, torch.float64)):
            model = TiedModel().to(dtype)
            model.mask.copy_(torch.randn(3, 2))
            path = Path(name) / f"model {k}.safetensors"
            before, tensors = copy.deepcopy(dict(model.state_dict())), [*model.parameters(), *model.buffers()]
            answer(model, path)
            if model.head.weight is not model.embed.weight:
                return "Your function untied the model that it was given: head.weight is a tensor of its own now."
            after = [*model.parameters(), *model.buffers()]
            if difference(before, dict(model.state_dict())) is not None or any(a is not b for a, b in zip(tensors, after)):
                return "Your function changed the model that it was given; it should only write it."
            if found := tied.fault(path, before, dtype):
                return found
    return None


@apart()
def _verify(answer: Any) -> str | None:
    if not callable(answer):
        return unlike(answer, "a function of a path and a digest")
    whole = random.Random(8).randbytes(300_000)
    digest, at = sha256(whole).hexdigest(), len(whole) // 2
    last = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    cases = (
        ("The untouched file", whole, digest, True),
        ("The digest in capitals", whole, digest.upper(), True),
        ("A flipped bit", whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], digest, False),
        ("A flipped bit in the last byte", whole[:-1] + bytes([whole[-1] ^ 1]), digest, False),
        ("A missing last byte", whole[:-1], digest, False),
        ("Another file of the same length", bytes(len(whole)), digest, False),
        ("The digest of another file", whole, sha256(b"").hexdigest(), False),
        ("A digest whose last character differs", whole, last, False),
        ("The first eight characters of the digest", whole, digest[:8], False),
        ("An empty digest", whole, "", False),
        ("Another file, with its own digest", b"another", sha256(b"another").hexdigest(), True),
    )
    with tempfile.TemporaryDirectory() as name:
        for k, (words, data, published, right) in enumerate(cases):
            path = Path(name) / f"download {k}.pth"
            path.write_bytes(data)
            given = answer(path, published)
            if not isinstance(plain(given), (bool, int)) or given != right:
                return f"{words} gives {str(given)[:60]}; wanted {right}."
            if path.read_bytes() != data:
                return "Your function changed the file."
    return None


refuse = Exercise(
    "Refuse a bad file",
    "One kind of error for every bad file, with its name; nothing in it is run.",
    (
        "torch.load(path, weights_only=True) inside try.",
        "Before it, inside the same try: zipfile.ZipFile(path).testzip() names a damaged entry.",
        "Truncated, text, hostile and missing files raise different exceptions: catch Exception.",
        'raise ValueError(f"{path.name}: … {error}") from error',
    ),
    _refuse,
)
atomic = Exercise(
    "Save and survive",
    "Beside, flushed, renamed: a kill leaves the old file, a power cut too.",
    (
        "open(beside, 'wb'), and torch.save into the open file.",
        "file.flush(), then os.fsync(file.fileno()).",
        "os.replace(beside, path) comes last.",
    ),
    _atomic,
)
convert = Exercise(
    "Tied weights to safetensors",
    "save_model keeps one name for the tie; load_model ties again.",
    ("save_file refuses: embed.weight and head.weight are one tensor.", "from safetensors.torch import save_model"),
    _convert,
)
verify = Exercise(
    "Verify a download",
    "The digest of the bytes that you have, against the one that was published.",
    (
        "hashlib.sha256(...).hexdigest() of the file's bytes.",
        "hashlib.file_digest(file, 'sha256') reads piece by piece.",
        "Digests are hexadecimal: compare them in lower case.",
    ),
    _verify,
)
