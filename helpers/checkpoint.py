"""A checkpoint that survives: written all or nothing, read back checked, put into its owners all or nothing.

The file is what `torch.save` writes, a zip, with one entry more: `digests.json`, the SHA-256 of every other entry, the
names of the tensors behind each storage, the file's own name and torch's version. `torch.load(path)` reads it too.
"""
from __future__ import annotations

import copy
import errno
import os
import random
import re
import secrets
import stat
import sys
import warnings
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

from helpers import archive
from helpers.archive import CheckpointError

PLAIN = (type(None), bool, int, float, str, complex, torch.dtype)
DICTS, LISTS = (dict, OrderedDict, Counter), (list, tuple, set, torch.Size)


def save(path: str | Path, contents: Mapping[str, Any], *, keep: int | None = None, best: bool = False) -> Path:
    """Writes `contents` to `path` so that a crash at any moment leaves the old file or the new one, never half of one.

    A temporary file beside the target is written, flushed to disk and renamed; then the folder is flushed.
    With `keep`, older files whose names differ from this one's only in the last number are deleted, but for the last
    `keep` and the one last saved with `best=True`. A family of such names has one writer at a time.
    Raises TypeError or ValueError for contents that `load` would refuse, CheckpointError if it can not be written.
    """
    if not isinstance(contents, Mapping):
        raise TypeError(f"Got {type(contents).__name__}; wanted a dict such as {{'model': model.state_dict()}}.")
    if keep is not None and keep < 1:
        raise ValueError(f"Got keep={keep}; wanted at least 1, since the file just written is one of them.")
    held = _storages(contents)
    target = _real(Path(path))
    part = target.parent / f".{target.name}.{secrets.token_hex(4)}.part"
    so_far = f"Could not save {target.name!r}", "What was there before is untouched."
    try:
        mode = _mode(target)
        head, _, tail = _parted(target.name)
        archive.sweep(target.parent, head, tail)
        archive.write(part, contents, target.name, [keys for _, keys in held], sum(size for size, _ in held))
        if mode is not None:
            part.chmod(mode)
        os.replace(part, target)
        so_far = f"Saved {target.name!r}, but not all that belongs to it", "No other checkpoint is lost."
        archive.flush_folder(target.parent)
        if best:
            _point(target)
        if keep is not None:
            _prune(target, keep)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if not isinstance(error, OSError):
            raise
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CheckpointError(f"{so_far[0]}: {reason}. {so_far[1]}") from error
    return target


def load(path: str | Path, into: Mapping[str, Any] | None = None, *, fallback: bool = False,
         name: str | None = None) -> dict[str, Any]:
    """The contents of a file that `save` wrote, every tensor checked, on the CPU, with `weights_only=True`.

    `into` gives each named part to its owner's `load_state_dict`; if any does not fit, all owners are as before.
    `fallback=True` takes the newest earlier file that is whole if this one is damaged, and warns which.
    `name` is the name that the file was saved under, if somebody renamed it.
    Raises CheckpointError, which names the damaged tensor or the part that does not fit.
    """
    path = Path(path)
    contents = _first_whole(path, name) if fallback else archive.read(path, name or _real(path).name)
    if into:
        _restore(contents, into)
    return contents


def newest(folder: str | Path, pattern: str = "*.pth") -> Path | None:
    """The file with the highest last number in its name, or None; whether it is whole, only `load` can say.

    Raises ValueError if the names differ in more than that number: then `pattern` must say which are meant.
    """
    found = {path: _parted(path.name) for path in Path(folder).glob(pattern)}
    families = sorted({f"{head}*{tail}" for head, number, tail in found.values() if number >= 0})
    if len(families) > 1:
        raise ValueError(f"Got files named {' and '.join(families)} in {Path(folder).name!r}; wanted one kind. Pass pattern=.")
    return max(found, key=lambda path: found[path][1], default=None)


def best(folder: str | Path) -> Path | None:
    """The file last saved with `best=True`, or None."""
    pointer = Path(folder) / "best"
    return pointer.with_name(pointer.read_text(encoding="utf-8")) if pointer.is_file() else None


class Generators:
    """The random numbers of Python, torch and, if it is imported, NumPy, as something with a state dict."""

    def state_dict(self) -> dict[str, Any]:
        """Where each generator stands, in types that `weights_only=True` lets pass."""
        state: dict[str, Any] = {"python": random.getstate(), "torch": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state_all()
        if "numpy" in sys.modules:
            held = sys.modules["numpy"].random.get_state(legacy=False)
            inner = {"key": torch.from_numpy(held["state"]["key"].copy()), "pos": held["state"]["pos"]}
            state["numpy"] = {**held, "state": inner, "gauss": float(held["gauss"])}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts each generator back to where it stood."""
        random.setstate(state["python"])
        torch.set_rng_state(state["torch"])
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])
        if "numpy" in state:
            import numpy

            inner = {"key": state["numpy"]["state"]["key"].numpy(), "pos": state["numpy"]["state"]["pos"]}
            numpy.random.set_state({**state["numpy"], "state": inner})


def _storages(contents: Any) -> list[tuple[int, list[str]]]:
    """Each storage, in the order in which torch.save meets it: its bytes and the names of the tensors that look into it."""
    found: dict[int, tuple[int, list[str]]] = {}
    for key, tensor in _tensors(contents, "", ()):
        storage = tensor.untyped_storage()
        found.setdefault(storage._cdata, (storage.nbytes(), []))[1].append(key)
    return list(found.values())


def _tensors(value: Any, key: str, above: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        if type(value) not in (Tensor, nn.Parameter) or value.layout is not torch.strided or value.is_quantized \
                or value.is_meta:
            raise TypeError(f"Got a {type(value).__name__} ({value.layout}, {value.dtype}, {value.device}) at {key}; "
                            "wanted a plain dense tensor with data. Save what it is made of.")
        yield key, value
    elif id(value) in above:
        raise ValueError(f"Got a {type(value).__name__} that contains itself at {key}; wanted a tree.")
    elif type(value) in DICTS:
        for name, inner in value.items():
            if not isinstance(name, PLAIN):
                raise TypeError(f"Got a key of type {type(name).__name__} at {key or 'the top'}; wanted a string.")
            yield from _tensors(inner, f"{key}.{name}" if key else str(name), (*above, id(value)))
    elif type(value) in LISTS:
        for k, inner in enumerate(value):
            yield from _tensors(inner, f"{key}[{k}]", (*above, id(value)))
    elif type(value) not in PLAIN:
        cure = f"{type(value.item()).__name__}(value)" if hasattr(value, "item") else "its state dict, or plain values"
        raise TypeError(f"Got {type(value).__module__}.{type(value).__name__} at {key}; wanted tensors, numbers and "
                        f"strings in dicts and lists. Save {cure}.")


def _first_whole(path: Path, name: str | None) -> dict[str, Any]:
    said = []
    for tried in (path, *reversed(_up_to(_real(path))[:-1])):
        try:
            contents = archive.read(tried, (name if tried is path else None) or _real(tried).name)
        except CheckpointError as error:
            said.append(str(error))
            continue
        if said:
            warnings.warn(f"{' '.join(said)} Loaded {tried.name!r} in its place.", stacklevel=3)
        return contents
    raise CheckpointError(" ".join(said))


def _restore(contents: Mapping[str, Any], into: Mapping[str, Any]) -> None:
    missing = [name for name in into if name not in contents]
    if missing:
        raise CheckpointError(f"Got a checkpoint of {', '.join(contents)}; wanted {', '.join(missing)} too. "
                              "Nothing was loaded.")
    before = {name: copy.deepcopy(owner.state_dict()) for name, owner in into.items()}
    name = ""
    try:
        for name, owner in into.items():
            owner.load_state_dict(copy.deepcopy(contents[name]) if isinstance(owner, optim.Optimizer) else contents[name])
            if isinstance(owner, optim.Optimizer):
                _check_optimizer(owner)
    except Exception as error:
        for kept, owner in into.items():
            owner.load_state_dict(before[kept])
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{name} does not fit: {reason} Nothing was loaded.") from error


def _check_optimizer(optimizer: optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        lacking = sorted(set(optimizer.defaults) - set(group))
        if lacking:
            raise ValueError(f"it was saved by another kind of optimizer, without {', '.join(lacking)}.")
        for parameter in group["params"]:
            for name, value in optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                    raise ValueError(f"{name} has the shape {tuple(value.shape)}, its parameter "
                                     f"{tuple(parameter.shape)}.")


def _parted(name: str) -> tuple[str, int, str]:
    """A name as what stands before its last number, the number (−1 if there is none), and what follows."""
    found = re.fullmatch(r"(.*?)(\d+)(\D*)", name)
    return (found[1], int(found[2]), found[3]) if found else (name, -1, "")


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path)) if os.path.islink(path) else path


def _up_to(path: Path) -> list[Path]:
    """The files whose names differ from this one's only in a smaller last number, in the order of that; then this one."""
    head, number, tail = _parted(path.name)
    older = {_parted(other.name): other for other in path.parent.glob("*") if number >= 0}
    return [other for (first, step, last), other in sorted(older.items(), key=lambda item: item[0][1])
            if (first, last) == (head, tail) and 0 <= step < number] + [path]


def _prune(target: Path, keep: int) -> None:
    kept = best(target.parent)
    for old in _up_to(target)[:-keep]:
        if old != kept:
            old.unlink(missing_ok=True)


def _mode(target: Path) -> int | None:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "")
    return stat.S_IMODE(mode)


def _point(target: Path) -> None:
    part = target.with_name(".best.part")
    part.write_text(target.name, encoding="utf-8")
    os.replace(part, target.with_name("best"))
    archive.flush_folder(target.parent)
