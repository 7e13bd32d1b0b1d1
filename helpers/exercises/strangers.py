"""Good and bad files, as they come from strangers."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from helpers.exercises.states import hostile_file

MARKER = "was here"


def good(folder: Path) -> Iterator[tuple[Path, dict[str, Tensor]]]:
    """Paths in the folder, and what lies there."""
    model = nn.Sequential(nn.Linear(50, 40), nn.BatchNorm1d(40))
    mixed = OrderedDict(half=torch.randn(3, 5).half(), count=torch.tensor(7), flags=torch.randn(9) > 0, empty=torch.zeros(0))
    for name, weights in (("good.pth", model.state_dict()), ("kinds.pth", mixed), ("one.bin", {"bias": torch.randn(2000)})):
        torch.save(weights, folder / name)
        yield folder / name, weights


def bad(folder: Path) -> Iterator[tuple[Path, str]]:
    """Paths in the folder, and why a file there is refused."""
    marker = folder / MARKER
    calls: dict[str, tuple[Callable, tuple]] = {
        "os.mkdir": (os.mkdir, (str(marker),)),
        "exec": (exec, (f"import os\nos.mkdir({str(marker)!r})",)),
        "io.open": (io.open, (str(marker), "w")),
    }
    for name, (function, arguments) in calls.items():
        path = folder / f"hostile {name}.pth"
        hostile_file(path, marker, function, *arguments)
        yield path, f"it asks for {name}. Load with weights_only=True; a list of bad names is never long enough."
    torch.save(nn.Linear(2, 2), folder / "whole model.pth")
    yield folder / "whole model.pth", "it is a whole model, and asks for its class. Load with weights_only=True."
    whole = (folder / "good.pth").read_bytes()
    weight, bias = (tensor.numpy().tobytes() for tensor in list(torch.load(folder / "good.pth").values())[:2])
    for name, data, why in (
        ("cut.pth", whole[:4000], "its end is missing."),
        ("shorter.pth", whole[:-9], "its end is missing."),
        ("empty.pth", b"", "there is nothing in it."),
        ("text.pth", b"not weights", "it is text."),
        ("pointer.pth", b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer."),
        ("flipped.pth", _flipped(whole, whole.index(bias)), "one bit of bias differs: ask testzip() before you load."),
        ("bits.pth", _flipped(whole, whole.index(weight) + 999), "one bit of weight differs: ask testzip() for every entry."),
    ):
        (folder / name).write_bytes(data)
        yield folder / name, why
    yield folder / "missing.pth", "there is no such file."


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def stops_an_interrupt(answer: Callable, path: Path) -> bool:
    """Whether Ctrl-C, while `answer` opens the path, comes out as a ValueError."""

    class Interrupted(type(path)):  # type: ignore[misc]
        def __fspath__(self) -> str:
            raise KeyboardInterrupt

    try:
        answer(Interrupted(path))
    except ValueError:
        return True
    except BaseException:
        return False
    return False
