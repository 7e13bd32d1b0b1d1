"""Lesson 08: share safely."""

from __future__ import annotations

import copy
import os
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from helpers.exercises import torn
from helpers.quiz import Choice, Exercise, Prediction

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


def hostile_file(path: str | Path, marker: str | Path) -> None:
    """Writes a checkpoint that would make the folder `marker` if its pickle were run; writing it runs nothing."""

    class Hostile:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(marker),)

    torch.save({"weight": torch.ones(2), "extra": Hostile()}, path)


def _weights() -> dict[str, torch.Tensor]:
    return {"weight": torch.arange(2000.0).reshape(40, 50), "bias": torch.ones(40)}


def _refuse(answer: Any) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a path."
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        marker, good = folder / "was here", folder / "good.pth"
        torch.save(_weights(), good)
        hostile_file(folder / "hostile.pth", marker)
        (folder / "cut.pth").write_bytes(good.read_bytes()[:4000])
        (folder / "text.pth").write_text("not weights")
        flipped = bytearray(good.read_bytes())
        flipped[flipped.index(_weights()["bias"].numpy().tobytes())] ^= 1
        (folder / "flipped.pth").write_bytes(flipped)
        given = answer(good)
        if not isinstance(given, dict) or any(not torch.equal(given.get(k, torch.empty(0)), t) for k, t in _weights().items()):
            return "A good file should come back as its dict of tensors."
        for bad in ("hostile.pth", "cut.pth", "text.pth", "missing.pth", "flipped.pth"):
            try:
                answer(folder / bad)
            except ValueError as error:
                if marker.exists():
                    return "The hostile file was run: a folder was made. Load with weights_only=True."
                if bad not in str(error):
                    return f"The message for {bad} does not name the file: {str(error)[:60]!r}."
            except Exception as error:
                return f"{bad} raised {type(error).__name__} from inside torch; wanted your own ValueError."
            else:
                ran = " It was run: a folder was made." if marker.exists() else ""
                bit = " One bit of bias differs: ask testzip() before you load." if bad == "flipped.pth" else ""
                return f"{bad} was not refused.{ran}{bit}"
    return None


def _atomic(answer: Any) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a state and a path."
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "run.pth"
        answer({"step": torch.tensor(1)}, path)
        if torn.step(path) != 1:
            return "After your function the file at the path does not load as what was given."
        if not torn.dies(lambda: answer({"step": torch.tensor(2)}, path)):
            return "Wanted the state to be written by torch.save."
        if torn.step(path) != 1:
            return "Killed in the middle of the save, the process left a torn file at the path."
        calls: list[str] = []
        flush, replace = os.fsync, os.replace
        with (
            mock.patch("os.fsync", lambda *a: (calls.append("fsync"), flush(*a))),
            mock.patch("os.replace", lambda *a: (calls.append("replace"), replace(*a))),
        ):
            answer({"step": torch.tensor(3)}, path)
        if "fsync" not in calls[: calls.index("replace")] if "replace" in calls else True:
            return "It survives a kill, but not a power cut: flush the file to disk (os.fsync) before os.replace."
        return None if torn.step(path) == 3 else "A later save did not arrive at the path."


class TiedModel(nn.Module):
    """An embedding whose weight is the output layer's too, and a tensor that is not contiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("mask", torch.arange(6.0).reshape(2, 3).t())


def _convert(answer: Any) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a model and a path."
    from safetensors.torch import load_file, load_model

    torch.manual_seed(1)
    model = TiedModel()
    before = copy.deepcopy(model.state_dict())
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.safetensors"
        answer(model, path)
        if not path.is_file():
            return "There is no file at the path."
        try:
            stored = load_file(path)
        except Exception:
            return "The file at the path is not safetensors: did torch.save write it?"
        if len([key for key in stored if key in ("embed.weight", "head.weight")]) != 1:
            return "The tied weight stands in the file twice: it would come back as two tensors."
        other = TiedModel()
        try:
            load_model(other, path)
        except Exception as error:
            return f"It does not load into a new model: {' '.join(str(error).split())[:120]}"
    if any(not torch.equal(before[key], value) for key, value in other.state_dict().items()):
        return "The new model has other numbers."
    return None


def download(folder: str | Path) -> tuple[Path, str]:
    """A file of weights in `folder`, and the SHA-256 that its author published for it."""
    path = Path(folder) / "download.pth"
    torch.save(_weights(), path)
    return path, sha256(path.read_bytes()).hexdigest()


def _verify(answer: Any) -> str | None:
    if not callable(answer):
        return f"You gave {type(answer).__name__}; wanted a function of a path and a digest."
    with tempfile.TemporaryDirectory() as name:
        path, digest = download(name)
        whole = path.read_bytes()
        if answer(path, digest) is not True:
            return "The untouched file should give True."
        at = len(whole) // 2
        for words, data in (
            ("a flipped bit", whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]),
            ("a missing last byte", whole[:-1]),
            ("another file of the same length", bytes(len(whole))),
        ):
            path.write_bytes(data)
            if answer(path, digest) is not False:
                return f"{words} gives {answer(path, digest)!r}; wanted False."
        path.write_bytes(whole)
        return None if answer(path, digest.upper()) is True else "Some pages print the digest in capitals: compare in one case."


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
