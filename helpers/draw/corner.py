"""The first cells of a tensor, as texts and as numbers."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from helpers.describe import PLAIN, Row, parts, row_of, storage_of, words_of

MOST_UNFOLDED = 10**6


@dataclass(frozen=True)
class Corner:
    """The part of a tensor that fits into a picture: `texts` and `values` by row, and a `note` on what was left out."""

    texts: list[list[str]]
    values: list[list[float]]
    row: Row
    note: str


def corner(tensor: Tensor, rows: int = 6, columns: int = 8) -> Corner:
    """The first rows and columns of any tensor; where there is no number, the text is a dot and the value NaN."""
    row = row_of("", tensor)
    shape = (0, 0) if row.shape is None else (1, 1, *row.shape)
    height, width = min(rows, shape[-2]), min(columns, shape[-1])
    try:
        values, why = _numbers(tensor, height, width), ""
    except Exception as error:
        values, why = [["·"] * width for _ in range(height)], words_of(error)
    slices, some = math.prod(shape[:-2]), 0 not in shape
    notes = [
        "no elements" * (row.shape is not None and not some),
        f"first of {slices} slices" * (some and slices > 1),
        f"first {height}×{width} cells" * (some and (height, width) != shape[-2:]),
        row.note,
        why * (row.shape is not None and not row.note.endswith(why)),
    ]
    texts = [[figure(value) for value in line] for line in values]
    reals = [[_real(value) for value in line] for line in values]
    return Corner(texts, reals, row, ", ".join(filter(None, notes)))


def _numbers(tensor: Tensor, height: int, width: int) -> list[list[Any]]:
    parts(tensor)
    if tensor.numel() == 0:
        return []
    folded = storage_of(tensor) is None
    if folded and type(tensor) not in PLAIN:
        raise ValueError("only its class reads its numbers")
    if (folded or tensor.is_quantized) and tensor.numel() > MOST_UNFOLDED:
        raise ValueError("too large to unfold")
    tensor = tensor.detach()
    tensor = tensor.dequantize() if tensor.is_quantized else tensor.to_dense() if folded else tensor
    while tensor.dim() > 2:
        tensor = tensor[0]
    shown = tensor.reshape(1, -1)[:, :width] if tensor.dim() < 2 else tensor[:height, :width]
    return (shown.to(torch.float64) if shown.is_floating_point() else shown).cpu().tolist()


def _real(value: Any) -> float:
    if isinstance(value, str):
        return math.nan
    return math.hypot(value.real, value.imag) if isinstance(value, complex) else float(value)


def figure(value: Any) -> str:
    """A number in at most six characters: signed floats with a real minus, plain ints and bools."""
    if isinstance(value, (bool, str)):
        return str(value)
    if isinstance(value, complex):
        return _complex_figure(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+∞" if value > 0 else "−∞"
    sign = "" if isinstance(value, int) else "+"
    digits = 0 if not sign or abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    plain = _power(value, sign) if abs(value) >= (99_999 if sign else 10**5) else f"{value:{sign}.{digits}f}"
    return (plain if float(plain) else plain.replace("-", sign)).replace("-", "−")


def _complex_figure(value: complex) -> str:
    size, whole = _real(value), f"{value.real:.0f}{value.imag:+.0f}i"
    if not math.isfinite(size):
        return "≥1e308" if cmath.isfinite(value) else "NaN" if math.isnan(size) else "∞"
    return (whole if len(whole) <= 6 else f"|{size:.0f}|" if size < 9999.5 else f"~{_power(size)}").replace("-", "−")


def _power(value: float, sign: str = "") -> str:
    """One figure and a power of ten."""
    return f"{value:{sign}.0e}".replace("e+0", "e").replace("e+", "e")
