"""A state dict or a checkpoint file as plain rows. Nothing is printed, and no data is read that is not shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from helpers import files, pickles


@dataclass(frozen=True)
class Row:
    """One entry of a state dict.

    `bytes` is what the entry's own elements take, `storage_bytes` what its whole storage takes;
    rows with the same `storage` share memory (None: nothing allocated).
    """

    key: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    storage: int | None
    storage_bytes: int
    owner: str


@dataclass(frozen=True)
class Cells:
    """The part of a tensor that fits into a picture: `texts` and `values` by row, and what was left out."""

    texts: list[list[str]]
    values: list[list[float]]
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    note: str


def describe(state_dict: Any, model: nn.Module | None = None) -> list[Row]:
    """Rows of a model's state dict, in its order. With `model`, buffers are told from parameters.

    Raises TypeError or ValueError, in one sentence, for anything that is not a model's state dict.
    """
    buffers = {name for name, _ in model.named_buffers()} if model is not None else set()
    return [
        _row(key, value, "buffer" if key in buffers else "parameter") for key, value in require_state_dict(state_dict).items()
    ]


def _row(key: str, value: Any, kind: str) -> Row:
    owner = key.rpartition(".")[0]
    if not isinstance(value, Tensor):
        return Row(key, "value", (), type(value).__name__, 0, None, 0, owner)
    own, storage, whole = _memory(value)
    return Row(key, kind, tuple(value.shape), dtype_name(value), own, storage, whole, owner)


def _memory(tensor: Tensor) -> tuple[int, int | None, int]:
    """Bytes of the elements, identity of the storage, bytes of the storage."""
    if tensor.layout is torch.sparse_coo:
        parts = [tensor._indices(), tensor._values()]
    elif tensor.layout in (torch.sparse_csr, torch.sparse_csc):
        parts = [
            tensor.values(),
            *(
                (tensor.crow_indices(), tensor.col_indices())
                if tensor.layout is torch.sparse_csr
                else (tensor.ccol_indices(), tensor.row_indices())
            ),
        ]
    else:
        own = tensor.numel() * tensor.element_size()
        if tensor.is_meta:
            return own, None, own
        storage = tensor.untyped_storage()
        return own, storage.data_ptr() or None, storage.nbytes()
    size = sum(part.numel() * part.element_size() for part in parts)
    return size, parts[-1].untyped_storage().data_ptr() or None, size


def total_bytes(rows: list[Row]) -> int:
    """Bytes of all entries, each shared storage counted once, at most its own size."""
    shared: dict[int, tuple[int, int]] = {}
    alone = 0
    for row in rows:
        if row.storage is None:
            alone += row.bytes
        else:
            shared[row.storage] = (shared.get(row.storage, (0, 0))[0] + row.bytes, row.storage_bytes)
    return alone + sum(min(used, whole) for used, whole in shared.values())


def read_file(path: str | Path) -> Any:
    """A checkpoint's contents with its tensors mapped from the file, not read; files older than torch 1.6 are read.

    Raises ValueError, in one sentence, that says what lies there if it is no checkpoint of tensors.
    """
    header = files.read_header(path)
    if header.kind not in ("torch", "old torch", "safetensors"):
        raise ValueError(header.words)
    try:
        if header.kind != "safetensors":
            with files.open_file(path) as file:
                for refused in filter(None, map(pickles.refusal, pickles.programs(files.header_of(file, header.name), file))):
                    raise ValueError(f"{header.name!r} {refused}")
        return torch.load(path, mmap=header.kind == "torch", map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        if reason.startswith(repr(header.name)):
            raise
        raise ValueError(f"{header.name!r} is damaged or no checkpoint: {reason[:120] or type(error).__name__}") from error


def require_state_dict(value: Any) -> Mapping[str, Any]:
    """`value` itself if it is a model's state dict; otherwise one sentence that names what came instead."""
    came = _what_came(value)
    if came:
        raise TypeError(f"Got {came}")
    for key, entry in value.items():
        if not isinstance(key, str):
            raise TypeError(
                f"Got a dict with the key {key!r} of type {type(key).__name__}; wanted a state dict, whose keys are strings."
            )
        if not isinstance(entry, Tensor) and not key.endswith("_extra_state"):
            raise ValueError(
                f"Got {type(entry).__name__} under the key {key!r}; wanted a state dict, whose values are tensors."
            )
    return value


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
    inner = [
        key
        for key, entry in value.items()
        if isinstance(entry, Mapping) and entry and all(isinstance(x, Tensor) for x in entry.values())
    ]
    if inner:
        return (
            f"a checkpoint with the entries {', '.join(map(repr, value))}; wanted a state dict: "
            f"{' or '.join(map(repr, inner))} is one."
        )
    return None


def dtype_name(tensor: Tensor) -> str:
    """The dtype without `torch.`."""
    return str(tensor.dtype).removeprefix("torch.")


def size_name(count: int) -> str:
    """Bytes as people read them: B, kB, MB, GB in powers of 1000."""
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return f"{count} B"


def shape_name(shape: tuple[int, ...]) -> str:
    """A shape as it is said: 2×3, or `scalar`."""
    return "×".join(map(str, shape)) if shape else "scalar"


def cells(tensor: Tensor, rows: int = 6, columns: int = 8) -> Cells:
    """The first rows and columns of any tensor, as texts and as numbers (NaN where there is no number)."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"Got {type(tensor).__name__}; wanted a tensor.")
    own, _, _ = _memory(tensor)
    about = (tuple(tensor.shape), dtype_name(tensor), own)
    grid_shape = (1, *tensor.shape)[-2:] if tensor.dim() else (1, 1)
    height, width = min(rows, grid_shape[0]), min(columns, grid_shape[1])
    notes = _notes(tensor, grid_shape, rows, columns)
    if tensor.is_meta:
        return Cells([["·"] * width for _ in range(height)], [[math.nan] * width for _ in range(height)], *about, notes)
    values = _corner(tensor, height, width)
    return Cells([[figure(x) for x in line] for line in values], [[_real(x) for x in line] for line in values], *about, notes)


def _corner(tensor: Tensor, height: int, width: int) -> list[list[Any]]:
    if tensor.numel() == 0:
        return []
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        if tensor.numel() > 10**6:
            return [["*"] * width for _ in range(height)]
        tensor = tensor.to_dense()
    while tensor.dim() > 2:
        tensor = tensor[0]
    corner = tensor.reshape(1, -1)[:, :width] if tensor.dim() < 2 else tensor[:height, :width]
    if corner.is_quantized:
        corner = corner.dequantize()
    if corner.is_floating_point():
        corner = corner.to(torch.float64)
    return corner.cpu().tolist()


def _notes(tensor: Tensor, grid: tuple[int, ...], rows: int, columns: int) -> str:
    notes = []
    if tensor.numel() == 0:
        notes.append("no elements")
    elif tensor.dim() > 2:
        notes.append(f"first of {math.prod(tensor.shape[:-2])} slices")
    if tensor.numel() and (grid[0] > rows or grid[1] > columns):
        notes.append(f"first {min(rows, grid[0])}×{min(columns, grid[1])} cells")
    if tensor.is_meta:
        notes.append("meta, no data")
    if tensor.layout is not torch.strided:
        notes.append("sparse")
    if tensor.is_quantized:
        notes.append("quantised")
    return ", ".join(notes)


def _real(value: Any) -> float:
    if isinstance(value, str):
        return math.nan
    return abs(value) if isinstance(value, complex) else float(value)


def figure(value: Any) -> str:
    """A number in at most six characters: signed floats with a real minus, plain ints and bools."""
    if isinstance(value, (bool, str)):
        return str(value)
    if isinstance(value, complex):
        whole = f"{value.real:.0f}{value.imag:+.0f}i".replace("-", "−")
        return whole if len(whole) <= 6 else f"|{abs(value):.2g}|"
    if isinstance(value, int):
        return str(value).replace("-", "−") if abs(value) < 10**5 else f"{value:.0e}".replace("e+0", "e")
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+∞" if value > 0 else "−∞"
    size = abs(value)
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    plain = f"{value:+.{digits}f}" if size < 99999 else f"{value:+.0e}".replace("e+0", "e").replace("e+", "e")
    return ("+" + plain[1:] if float(plain) == 0 else plain).replace("-", "−")
