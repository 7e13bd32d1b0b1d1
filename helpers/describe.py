"""A state dict or a checkpoint file as plain rows. Nothing is printed, and no data is read that is not shown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from numbers import Number
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from helpers import pickles

PLAIN = (Tensor, nn.Parameter)
BOOKKEEPING = (Number, str, bytes, Mapping, tuple, list, set, nn.Module, torch.optim.Optimizer, type(None))
NO_DATA = "meta, no data"


@dataclass(frozen=True)
class Row:
    """One entry of a state dict.

    `kind` is `parameter` or `buffer` where a model says so, else `tensor`, or `value` for what is no tensor. `shape` is
    None where there is none. `bytes` is what the entry's own elements take, `storage_bytes` what its whole storage takes;
    rows with the same `storage` share memory (None: nothing allocated). `note` says what is not plain about it.
    """

    key: str
    kind: str
    shape: tuple[int, ...] | None
    dtype: str
    bytes: int
    storage: int | None
    storage_bytes: int
    owner: str
    note: str


def describe(state_dict: Any, model: nn.Module | None = None) -> list[Row]:
    """Rows of a model's state dict, in its order. With `model`, parameters and buffers are told, by each of their names.

    Raises TypeError or ValueError, in one sentence, for anything that is not a model's state dict.
    """
    kinds: dict[str, str] = {}
    if model is not None:
        kinds |= dict.fromkeys((name for name, _ in model.named_parameters(remove_duplicate=False)), "parameter")
        kinds |= dict.fromkeys((name for name, _ in model.named_buffers(remove_duplicate=False)), "buffer")
    return [row_of(key, value, kinds.get(key, "tensor")) for key, value in require_state_dict(state_dict).items()]


def row_of(key: str, value: Any, kind: str = "tensor") -> Row:
    """The row of one entry."""
    memory: tuple[int, int | None, int] = (0, None, 0)
    dtype, shape = type(value).__name__, None
    try:
        memory, note = _memory(value)
        if isinstance(value, Tensor):
            note = ", ".join([*_form(value), *[note] * bool(note)])
            dtype, shape = str(value.dtype).removeprefix("torch."), shape_of(value)
    except Exception as error:
        note = words_of(error)
    return Row(key, kind if isinstance(value, Tensor) else "value", shape, dtype, *memory, key.rpartition(".")[0], note)


def parts(value: Any) -> list[Any]:
    """What a value is made of, as `torch.save` would take it apart: plain tensors, and what stands between them.

    This alone decides what can be read. Raises ValueError with the reason, also for what it has never seen.
    """
    try:
        return list(_parts(value))
    except Exception as error:
        raise ValueError(words_of(error)) from error


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple, Mapping)):
        yield type(value), len(value)
        for part in value.items() if isinstance(value, Mapping) else value:
            yield from _parts(part)
    elif not isinstance(value, Tensor):
        yield value
    elif is_lazy(value):
        raise ValueError("no shape yet")
    elif (storage := storage_of(value)) is None:
        try:
            yield from _parts(value.__reduce_ex__(2)[1:])
        except NotImplementedError:
            yield from _parts(value.to_dense())
    elif gone := _gone(value, storage):
        raise ValueError(gone)
    else:
        yield value


def storage_of(tensor: Tensor) -> torch.UntypedStorage | None:
    """The memory that a tensor reads itself; None where other tensors hold its numbers."""
    try:
        storage = tensor.untyped_storage()
        if storage.device.type != "meta":
            storage.data_ptr()
        return None if tensor.is_nested else storage
    except Exception:
        return None


def _gone(tensor: Tensor, storage: torch.UntypedStorage) -> str:
    """Why there is nothing to read in a tensor's own memory."""
    if storage.device.type == "meta":
        return NO_DATA
    end = tensor.numel()
    if end and not tensor.is_contiguous():
        end = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    return "its storage was freed" if end and storage.nbytes() < (tensor.storage_offset() + end) * _width(tensor.dtype) else ""


@lru_cache(maxsize=64)
def _width(dtype: torch.dtype) -> float:
    """Bytes of one element: a half or a quarter for some."""
    return torch.empty(8, dtype=dtype, device="cpu").untyped_storage().nbytes() / 8


def _memory(value: Any) -> tuple[tuple[int, int | None, int], str]:
    """Bytes of the elements, identity and bytes of the storage; and why nothing can be read."""
    if isinstance(value, Tensor) and (storage := storage_of(value)) is not None:
        own, gone = math.ceil(value.numel() * _width(value.dtype)), _gone(value, storage)
        own = own if gone in ("", NO_DATA) else 0
        return ((own, None, own) if gone else (own, storage.data_ptr() or None, storage.nbytes())), gone
    try:
        tensors = [part for part in parts(value) if isinstance(part, Tensor)]
    except ValueError as error:
        return (0, None, 0), str(error)
    storages = [tensor.untyped_storage() for tensor in tensors]
    place = max(storages, key=torch.UntypedStorage.nbytes).data_ptr() if storages else 0
    own = sum(math.ceil(tensor.numel() * _width(tensor.dtype)) for tensor in tensors)
    return (own, place or None, sum(storage.nbytes() for storage in storages)), ""


def _form(tensor: Tensor) -> Iterator[str]:
    """What a tensor is, if it is not a plain one: its class, its layout, quantised, nested."""
    if type(tensor) not in PLAIN:
        yield type(tensor).__name__
        yield from map(repr, getattr(tensor, "placements", ()))
    if tensor.layout is not torch.strided:
        yield str(tensor.layout).removeprefix("torch.").strip("_")
    yield from ["quantised"] * tensor.is_quantized + ["nested"] * tensor.is_nested


def words_of(error: BaseException, most: int = 60) -> str:
    """The first line of an error, also of one that cannot be printed."""
    try:
        return str(error).partition("\n")[0][:most] or type(error).__name__
    except Exception:
        return "its words cannot be printed"


def total_bytes(rows: list[Row]) -> int:
    """Bytes of all entries, each shared storage counted once, at most its own size."""
    used: Counter[int | str] = Counter()
    for row in rows:
        used[row.storage or row.key] += row.bytes
    return sum(min(used[place], whole) for place, whole in {row.storage or row.key: row.storage_bytes for row in rows}.items())


def read_file(path: str | Path) -> Any:
    """A checkpoint's contents with its tensors mapped from the file, not read. Read are files older than torch 1.6.

    Raises ValueError, in one sentence, that says what lies there if it is no checkpoint of tensors.
    """
    path = Path(path)
    with pickles.opened(path) as (file, header):
        mapped = header.kind == "torch" and path.suffix != ".safetensors"
        try:
            return torch.load(path if mapped else file, mmap=mapped, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(f"{path.name!r} is damaged or no checkpoint: {words_of(error)}.") from error


def require_state_dict(value: Any) -> Mapping[str, Any]:
    """`value` itself if it is a model's state dict; otherwise one sentence that names what came instead."""
    if came := _what_came(value):
        raise TypeError(f"Got {came}")
    for key, entry in value.items():
        if not isinstance(key, str):
            came = f"a dict with the key {key!r} of type {type(key).__name__}"
            raise TypeError(f"Got {came}; wanted a state dict, whose keys are strings.")
        if isinstance(entry, Tensor) or _is_extra(value, key):
            continue
        packed = isinstance(entry, tuple) and any(isinstance(part, Tensor) for part in entry)
        if isinstance(entry, BOOKKEEPING) and not packed:
            came = f"{type(entry).__name__} under the key {key!r}"
            raise ValueError(f"Got {came}; wanted a state dict, whose values are tensors.")
    return value


def _is_extra(value: Mapping, key: Any) -> bool:
    """Whether any value may stand under the key: in what `state_dict()` returned itself, or as a module's extra state."""
    return hasattr(value, "_metadata") or str(key).endswith("_extra_state")


def _what_came(value: Any) -> str | None:
    if isinstance(value, (str, Path)):
        return f"the path {str(value)!r}; wanted a state dict: torch.load(path) reads one."
    if isinstance(value, nn.Module):
        return f"a module, {type(value).__name__}; wanted its state dict: call its state_dict()."
    if isinstance(value, torch.optim.Optimizer):
        return f"an optimizer, {type(value).__name__}; wanted a model's state dict: call model.state_dict()."
    if not isinstance(value, Mapping):
        return f"{type(value).__name__}; wanted a state dict: a mapping of names to tensors."
    if set(value) == {"state", "param_groups"}:
        return "an optimizer's state dict ('state', 'param_groups'); wanted a model's: model.state_dict()."
    dicts = {key: list(part.values()) for key, part in value.items() if isinstance(part, Mapping) and not _is_extra(value, key)}
    inner = [key for key, part in dicts.items() if part and all(isinstance(entry, Tensor) for entry in part)]
    came, wanted = ", ".join(map(repr, value)), " or ".join(map(repr, inner))
    return f"a checkpoint with the entries {came}; wanted a state dict: {wanted} is one." if inner else None


def shape_of(tensor: Tensor) -> tuple[int, ...] | None:
    """The shape in plain ints; None for a tensor that has none, or none yet."""
    try:
        return None if tensor.is_nested else tuple(map(int, tensor.shape))
    except Exception:
        return None


def size_name(count: int) -> str:
    """Bytes as people read them, in three digits: B, kB, MB, GB, TB in powers of 1000."""
    for unit, step in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= 0.9995 * step:
            return f"{count / step:.3g} {unit}" if count < 999.5 * step else f"{count / step:,.0f} {unit}"
    return f"{count} B"


def shape_name(shape: tuple[int, ...] | None) -> str:
    """A shape as it is said: 2×3, `scalar`, or `no shape`."""
    return "no shape" if shape is None else "×".join(map(str, shape)) or "scalar"
