"""What would load without an error, and be wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from helpers.compare import same_storage


def untied(state: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Names of one tensor of the model for which the file has different ones."""
    names: dict[int, list[str]] = defaultdict(list)
    for key, value in own.items():
        if _is_plain(value) and _is_plain(state.get(key)):
            names[value.untyped_storage().data_ptr()].append(key)
    pairs = [(first, other) for place, (first, *others) in names.items() if place for other in others]
    same = [(one, other) for one, other in pairs if own[one].shape == own[other].shape]
    return [
        f"{one} and {other}"
        for one, other in same
        if not same_storage(state[one], state[other]) and not torch.equal(state[one], state[other])
    ]


def _is_plain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_meta


def codes(state: Mapping[str, Any], model: nn.Module) -> list[str]:
    """The parameters for which the file has integers, or floats of one byte beside their scale."""
    return [key for key, own in model.named_parameters(remove_duplicate=False) if key in state and _is_coded(key, state, own)]


def _is_coded(key: str, state: Mapping[str, Any], own: Tensor) -> bool:
    value = state[key]
    if not isinstance(value, Tensor) or value.is_quantized or value.shape != own.shape or not own.is_floating_point():
        return False
    if value.is_floating_point():
        return value.element_size() == 1 and any(name.startswith(f"{key}_scale") for name in state)
    return value.dim() > 1 and not value.is_complex()
