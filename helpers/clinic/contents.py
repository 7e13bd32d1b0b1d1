"""What is in it: state dicts wherever they are nested, optimizers, numbers, and what is odd about the tensors."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from helpers.clinic.finding import Finding, explained, importing, place_of
from helpers.clinic.opening import Opened
from helpers.describe import Row, describe, require_state_dict, shape_name, size_name, total_bytes

MOST_SHOWN = 4
LOOK_AT, LOOK_AT_ALL = 1 << 20, 8 << 20
PACKED = ("_packed_params", ".qweight", ".qzeros", ".weight_packed", ".absmax", ".weight_scale", ".weight_scale_inv")
AVERAGED = re.compile(r"(?<![a-z])(ema|averag|shadow|swa|teacher)")
KINDS = (
    ({"exp_avg", "exp_inf"}, "Adamax"),
    ({"exp_avg", "exp_avg_sq"}, "Adam or AdamW"),
    ({"momentum_buffer", "square_avg"}, "RMSprop with momentum"),
    ({"momentum_buffer"}, "SGD with momentum"),
    ({"acc_delta"}, "Adadelta"),
    ({"square_avg"}, "RMSprop"),
    ({"sum"}, "Adagrad"),
    ({"exp_avg"}, "Lion or another with one average"),
)


@dataclass(frozen=True)
class Part:
    """A state dict in a checkpoint, a model's or an optimizer's, and the keys that lead to it; `odd` were no tensors."""

    path: tuple[str | int, ...]
    value: Mapping[str, Any]
    made: str = ""
    odd: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """What makes it of `checkpoint`: the keys that lead to it, if nothing else."""
        return self.made or "checkpoint" + "".join(f"[{key!r}]" for key in self.path)

    @property
    def name(self) -> str:
        """The keys as words."""
        return ".".join(map(str, self.path)) or "the file itself"

    @property
    def averaged(self) -> bool:
        """Whether it is called a moving average of a model."""
        return any(AVERAGED.search(str(key).lower()) for key in self.path)

    @cached_property
    def rows(self) -> list[Row]:
        """What is in a model's state dict."""
        return describe(self.value)

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return sum(math.prod(row.shape) for row in self.rows if row.shape is not None)


def is_optimizer(value: Mapping) -> bool:
    """Whether it has an optimizer's two entries."""
    return {"state", "param_groups"} <= set(value)


def is_state(value: Mapping) -> bool:
    """Whether a mapping can be a model's state dict: names of tensors, not all of which are bytes of a generator."""
    try:
        require_state_dict(value)
    except (TypeError, ValueError):
        return False
    return any(isinstance(entry, Tensor) and entry.dtype != torch.uint8 for entry in value.values())


def inventory(opened: Opened, states: list[Part], saved: list[Part], chosen: Part | None) -> list[Finding]:
    """What is in it, in order: numbers, state dicts, averages, optimizers, devices, and what is odd about the chosen one."""
    optimizers = [_optimizer(part) for part in saved]
    found = [*_numbers(opened.contents), *(_state(part, opened) for part in states)]
    if chosen is None:
        came = ", ".join(map(str, list(opened.contents)[:8])) if isinstance(opened.contents, Mapping) else ""
        what = f"There is no state dict of a model in it. It is a {type(opened.contents).__name__}{f' of {came}' * bool(came)}."
        return [*found, Finding(what, "A state dict has names of tensors.", level="look" if saved else "bad"), *optimizers]
    if averages := [part.name for part in states if part.averaged]:
        beside = "Beside the model lies an average" if len(averages) < len(states) else "It holds no model but an average"
        what = f"{beside} of it: {', '.join(averages)}."
        why = "It is a moving average of the weights. People evaluate with the average, and go on training from the other."
        found.append(Finding(what, why, sure="likely", level="look"))
    found += optimizers
    if opened.devices:
        why = 'Without map_location="cpu" it does not load where that is not.'
        what = f"It was saved on {', '.join(opened.devices)}."
        found.append(explained(what, why, "cuda-checkpoint-on-cpu", level="look"))
    shared = [] if opened.kind in ("safetensors", "index") else _storages(chosen.rows)
    return [*found, *_oddities(chosen.rows), *shared, *_values(chosen)]


def _state(part: Part, opened: Opened) -> Finding:
    if part.odd:
        odd = f"{counted(len(part.odd), 'value')} of it, such as {part.odd[0]!r}, are no tensors"
        why = "The line below makes tensors of what has a shape, and drops the rest."
        code = importing(f"{opened.head}\nstate = {part.code}")
        return explained(f"{part.name} would be a state dict, but {odd}.", why, "not-a-tensor", code, level="look")
    dtypes = Counter(row.dtype for row in part.rows)
    named = ", ".join(f"{count} {dtype}" for dtype, count in dtypes.most_common(MOST_SHOWN))
    what = f"{part.name} is a state dict: {len(part.rows)} keys, {part.count:,} numbers, {size_name(total_bytes(part.rows))}."
    why = f"First key {part.rows[0].key!r}; {named}."
    if not part.path:
        return Finding(what, why)
    lightning = isinstance(opened.contents, Mapping) and "pytorch-lightning_version" in opened.contents
    place = place_of("lightning-checkpoint" if lightning else "whole-checkpoint-passed")
    return Finding(what, why, f"{opened.head}\nstate = {part.code}", place)


def _numbers(contents: Any) -> list[Finding]:
    named = contents.items() if isinstance(contents, Mapping) else ()
    plain = [f"{key} = {repr(value)[:40]}" for key, value in named if type(value) in (int, float, str, bool)]
    more = f", and {len(plain) - 8} more" if len(plain) > 8 else ""
    what = f"Its numbers: {', '.join(plain[:8])}{more}."
    return [Finding(what, "A trainer writes them beside the weights.")] if plain else []


def counted(number: int, noun: str) -> str:
    """A number and its noun: 1 group, 2 groups."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _entries(optimizer: Mapping[str, Any]) -> tuple[list[Mapping], set[str]]:
    state = optimizer["state"]
    entries = [entry for entry in state.values() if isinstance(entry, Mapping)] if isinstance(state, Mapping) else []
    return entries, {name for entry in entries for name in entry}


def kind_of(optimizer: Mapping[str, Any]) -> str:
    """Which kind of optimizer keeps what is in such a state dict, in words; nothing if it keeps nothing."""
    names = _entries(optimizer)[1]
    return next((kind for wanted, kind in KINDS if wanted <= names), "unknown" if names else "")


def _optimizer(part: Part) -> Finding:
    (entries, names), kind = _entries(part.value), kind_of(part.value)
    steps = [step for entry in entries if isinstance(step := entry.get("step"), (int, float, Tensor))]
    known = [step for step in steps if not isinstance(step, Tensor) or not step.is_meta and step.numel() == 1]
    taken = max(map(int, known), default=0)
    why = f"Its state holds {', '.join(sorted(map(str, names)))}." if names else "It holds no state: no step, or a plain SGD."
    counts = f"{counted(len(part.value['param_groups']), 'group')}, {counted(len(entries), 'parameter')}"
    after = f", after {taken:,} steps" * bool(taken)
    what = f"{part.name} is the state of an optimizer{f', {kind}' * bool(kind)}: {counts}{after}."
    return Finding(what, why, sure="likely" if kind else "certain")


def _oddities(rows: list[Row]) -> list[Finding]:
    found = []
    if empty := [row.key for row in rows if row.shape and 0 in row.shape and row.key.endswith(("weight", "bias"))]:
        what = f"Empty: {counted(len(empty), 'tensor')}, such as {empty[0]!r}."
        why = "ZeRO-3 saves empty tensors; the numbers lie in the folders beside it: DeepSpeed's zero_to_fp32.py joins them."
        found.append(explained(what, why, "empty-tensors", sure="likely"))
    if quantised := [row.key for row in rows if "quantised" in row.note or row.key.endswith(PACKED)]:
        what = f"It is quantised: {counted(len(quantised), 'key')}, such as {quantised[0]!r}."
        why = "Quantise the model in the same way before it loads, or get the file from before."
        found.append(explained(what, why, "quantised-checkpoint", level="look"))
    return found


def _storages(rows: list[Row]) -> list[Finding]:
    shared: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if row.storage is not None:
            shared[row.storage].append(row)
    found = []
    if tied := [group for group in shared.values() if len(group) > 1 and all(row.bytes == row.storage_bytes for row in group)]:
        names = "; ".join(" and ".join(row.key for row in group[:3]) for group in tied[:MOST_SHOWN])
        found.append(Finding(f"Tied, one tensor under more than one key: {names}.", "They share their storage."))
    drags = [(group[0], group[0].storage_bytes - sum(row.bytes for row in group)) for group in shared.values()]
    if wasted := [(row.key, size) for row, size in drags if size > max(1024, row.storage_bytes // 2)]:
        lost = size_name(sum(size for _, size in wasted))
        what = f"A slice drags its whole storage along, in {counted(len(wasted), 'tensor')}: {lost} for nothing."
        why = f"torch.save writes the storage, not the view: {wasted[0][0]!r}, for one. Copy what is there, and save again."
        code = "small = {key: value.clone() for key, value in state.items()}\ntorch.save(small, 'small.pth')"
        found.append(explained(what, why, "slice-saves-the-whole", code, level="look"))
    return found


def _values(part: Part) -> list[Finding]:
    """Tensors that are not finite, or all zero; only small ones are read."""
    found, ill, zero, skipped, read = [], [], [], 0, 0
    for row in part.rows:
        value = part.value[row.key]
        if not isinstance(value, Tensor) or row.note or not value.is_floating_point() or not value.numel():
            continue
        if row.bytes > LOOK_AT or read + row.bytes > LOOK_AT_ALL:
            skipped += 1
            continue
        read += row.bytes
        top = float(value.detach().float().abs().max())
        if not math.isfinite(top):
            ill += [row.key] * ("mask" not in row.key or bool(value.isnan().any()))
        elif top == 0 and value.dim() > 1:
            zero.append(f"{row.key} ({shape_name(row.shape)})")
    if ill:
        what = f"NaN or infinity in {counted(len(ill), 'tensor')}, such as {ill[0]!r}."
        found.append(Finding(what, "The training had diverged before it was saved: take an older file.", level="bad"))
    if zero:
        why = "Some layers begin so; a trained one that is zero was never filled."
        found.append(Finding(f"All zero: {', '.join(zero[:MOST_SHOWN])}.", why, sure="cannot be told", level="look"))
    if skipped:
        why = "Looking would read them whole; large tensors are left on the disk."
        found.append(Finding(f"Not looked at for NaN and zeros: {counted(skipped, 'tensor')}.", why, sure="cannot be told"))
    return found
