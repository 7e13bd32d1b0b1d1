"""A checkpoint that survives: written all or nothing, read back checked, put into its owners all or nothing.

The file is what `torch.save` writes. The dict in it carries its digests as an attribute, as torch's own state dicts carry
`_metadata`: `torch.load(path)` reads the file too, and gives the same contents, in an OrderedDict.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import secrets
import stat
import threading
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from tqdm import tqdm

from helpers import family, owners
from helpers.seal import ATTRIBUTE, CHUNK, Held, Told

try:
    import fcntl
except ImportError:
    fcntl = None

FORMAT, SMALL = 2, 1 << 20
_COPIES = re.compile(
    rb"c(_codecs\nencode|(builtins|__builtin__)\nbytearray|torch[.\w]*\n\w*Tensor|torch\._tensor\n\w+|"
    rb"torch\._utils\n_rebuild_(?!tensor_v[23]\n|parameter\n)\w+)\n"
)


class CheckpointError(Exception):
    """A checkpoint that can not be written, is damaged, or does not fit. The message is one sentence or two."""


def save(path: str | Path, contents: Mapping[str, Any], *, keep: int | None = None, best: bool = False) -> Path:
    """Writes `contents` to `path` so that a crash at any moment leaves the old file or the new one, never half of one.

    A temporary file beside the target is written, flushed to disk and renamed; then the folder is flushed.
    With `keep`, older files whose names differ from this one's only in the last number are deleted, but for the last
    `keep` and the one last saved with `best=True`. A family of such names has one writer at a time.
    Raises TypeError or ValueError for contents that `load` would refuse, CheckpointError if it can not be written.
    """
    if type(contents) not in (dict, OrderedDict):
        raise TypeError(f"Got {type(contents).__name__}; wanted a dict such as {{'model': model.state_dict()}}.")
    if keep is not None and keep < 1:
        raise ValueError(f"Got keep={keep}; wanted at least 1, since the file just written is one of them.")
    held = Held(contents)
    target = _real(Path(path))
    folder, name = target.parent, target.name
    part = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")
    so_far = f"Could not save {name!r}", "What was there before is untouched."
    try:
        mode = _mode(target)
        family.sweep(folder, name)
        with _progress(f"saving {name}", 2 * held.size) as told:
            _write(part, _sealed(contents, held, name, told), told, held.size <= SMALL)
        if mode not in (None, _mode(part)):
            os.chmod(part, mode)
        os.replace(part, target)
        so_far = f"Saved {name!r}, but not all that belongs to it", "No other checkpoint is lost."
        family.flush_folder(folder)
        if best:
            family.point(target)
        if keep is not None:
            family.prune(target, keep)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(part)
        if not isinstance(error, OSError):
            raise
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CheckpointError(f"{so_far[0]}: {reason}. {so_far[1]}") from error
    return target


def load(
    path: str | Path, into: Mapping[str, Any] | None = None, *, fallback: bool = False, name: str | None = None
) -> dict[str, Any]:
    """The contents of a file that `save` wrote, every tensor checked, on the CPU, with `weights_only=True`.

    `into` gives each named part to its owner's `load_state_dict`; if any does not fit, all owners are as before.
    `fallback=True` takes the newest earlier file that is whole if this one is damaged, and warns which.
    `name` is the name that the file was saved under, if somebody renamed it.
    Raises CheckpointError, which names the damaged tensor or the part that does not fit.
    """
    path = Path(path)
    contents = _first_whole(path, name) if fallback else _read(path, name or _real(path).name)
    try:
        owners.restore(contents, into or {})
    except ValueError as error:
        raise CheckpointError(f"{error} Nothing was loaded.") from error
    return contents


class _Bar(tqdm):
    """A bar that shows after two seconds. Its lock is this process's own: tqdm's is shared with forked processes, and
    one that is killed while it holds that would stop every save of the others."""

    _lock = threading.RLock()
    monitor_interval = 0


@contextmanager
def _progress(label: str, total: int) -> Iterator[Told]:
    if total <= SMALL:
        yield lambda size: None
    else:
        with _Bar(desc=label, total=total, unit="B", unit_scale=True, delay=2, leave=False) as bar:
            yield bar.update


class _Out:
    """A file for torch.save that keeps the first error for later: torch's writer can not pass it on."""

    def __init__(self, file: BinaryIO, told: Told) -> None:
        self.file, self.told, self.error = file, told, None

    def write(self, data: Any) -> int:
        try:
            for start in range(0, len(data) if self.error is None else 0, CHUNK):
                self.told(self.file.write(data[start : start + CHUNK]))
        except OSError as error:
            self.error = error
        return len(data)

    def flush(self) -> None:
        """Left to `_write`, which can say what went wrong."""


def _sealed(contents: Mapping[str, Any], held: Held, name: str, told: Told) -> OrderedDict[str, Any]:
    sealed = OrderedDict(contents)
    said = {"format": FORMAT, "torch": torch.__version__, "name": name, "kind": type(contents).__name__}
    vars(sealed).update({**getattr(contents, "__dict__", {}), ATTRIBUTE: json.dumps(held.seal(said, told))})
    return sealed


def _write(part: str, sealed: Mapping[str, Any], told: Told, small: bool) -> None:
    with open(part, "xb") as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX)
        out = io.BytesIO() if small else _Out(file, told)
        torch.save(sealed, out)
        if small:
            file.write(out.getbuffer())
        elif out.error:
            raise out.error
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        source = partial(str, path) if size > SMALL else partial(io.BytesIO, path.read_bytes())
        _look(source, size)
        contents = torch.load(source(), map_location="cpu", weights_only=True)
        text = vars(contents).pop(ATTRIBUTE, None) if type(contents) is OrderedDict else None
        if text is None:
            raise CheckpointError(
                f"{path.name!r} has no digests to check it by. If torch.save wrote it and you trust it, "
                "torch.load(path, weights_only=True) reads it."
            )
        sealed = json.loads(text)
        if (
            not isinstance(sealed, dict)
            or sealed.get("format") != FORMAT
            or not {"name", "kind", "rest", "storages"} <= sealed.keys()
        ):
            raise ValueError(f"its digests are not of format {FORMAT}")
        if sealed["name"] != name:
            raise CheckpointError(
                f"{path.name!r} holds what was saved as {sealed['name']!r}: the files were swapped "
                f"or renamed. If it was renamed, pass name={sealed['name']!r}."
            )
        contents = dict(contents) if sealed["kind"] == "dict" else contents
        held = Held(contents)
        with _progress(f"checking {path.name}", held.size) as told:
            differs = held.differs(sealed, told)
        if differs:
            raise CheckpointError(f"{path.name!r} is damaged: {differs} differ from what was saved.")
        return contents
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path.name!r}.") from None
    except CheckpointError:
        raise
    except Exception as error:
        wanted = re.search(r"GLOBAL ([.\w]+)", str(error))
        if wanted:
            raise CheckpointError(
                f"{path.name!r} asks to import {wanted[1]}, which a checkpoint of tensors never does. "
                "It was not loaded: do not trust where it came from."
            ) from error
        reason = str(error).rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0][:120] or type(error).__name__
        raise CheckpointError(f"{path.name!r} is damaged or no checkpoint: {reason}.") from error


def _look(source: Callable[[], str | BinaryIO], size: int) -> None:
    """Refuses what `weights_only=True` lets pass although it can fill the memory: entries that were compressed, and calls
    that copy, such as forty times `_codecs.encode(…, "hex")`. Many copies of one long list are not recognised."""
    if not zipfile.is_zipfile(source()):
        raise ValueError("it is no zip, or was cut off")
    records = torch._C.PyTorchFileReader(source())
    names = records.get_all_records()
    if len(set(names)) < len(names) or ".." in "".join(names) or sum(map(records.get_record_size, names)) > size:
        raise ValueError("its entries are not as torch.save writes them")
    copies = _COPIES.search(records.get_record("data.pkl"))
    if copies:
        raise ValueError(f"GLOBAL {copies[1].decode().replace(chr(10), '.')}")


def _first_whole(path: Path, name: str | None) -> dict[str, Any]:
    said = []
    for tried in (path, *reversed(family.up_to(_real(path))[:-1])):
        try:
            contents = _read(tried, (name if tried is path else None) or _real(tried).name)
        except CheckpointError as error:
            said.append(str(error))
            continue
        if said:
            warnings.warn(f"{' '.join(said)} Loaded {tried.name!r} in its place.", stacklevel=3)
        return contents
    raise CheckpointError(" ".join(said))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path)) if os.path.islink(path) else path


def _mode(target: str | Path) -> int | None:
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "")
    return stat.S_IMODE(mode)
