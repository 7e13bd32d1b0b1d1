"""A model with a tied weight, and what can be wrong with the file that it was written to."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from helpers.exercises.states import difference, reason


class TiedModel(nn.Module):
    """An embedding whose weight is the output layer's too, and a tensor that is not contiguous."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("mask", torch.arange(6.0).reshape(2, 3).t())


def fault(path: Path, before: dict[str, Tensor], dtype: torch.dtype) -> str | None:
    """What is wrong with the file of a model that held `before`; None if a new one is filled from it."""
    from safetensors.torch import load_file, load_model

    if not path.is_file():
        return "There is no file at the path."
    try:
        stored = load_file(path)
    except Exception:
        return "The file at the path is not safetensors: did torch.save write it?"
    if len([key for key in stored if key in ("embed.weight", "head.weight")]) > 1:
        return "The tied weight stands in the file twice: it would come back as two tensors."
    for key, value in stored.items():
        if key in before and value.dtype != before[key].dtype:
            return f"{key} is {value.dtype} in the file, {before[key].dtype} in the model."
    other = TiedModel().to(dtype)
    try:
        load_model(other, path)
    except Exception as error:
        return f"It does not load into a new model: {reason(error)}"
    place = difference(before, dict(other.state_dict()))
    return None if place is None else f"The new model has other numbers in {place}."
