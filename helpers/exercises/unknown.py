"""Files and checkpoints that somebody else made, for lesson 12: of six kinds, of four trainers, good and bad."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from helpers.exercises.states import hostile_file

KINDS = ("torch", "old torch", "safetensors", "pointer", "page", "empty")


def starts() -> Iterator[tuple[bytes, str]]:
    """The first 64 bytes of files, and which of `KINDS` each is."""
    for count in (1, 300):
        state = {f"layer{k}.weight": torch.ones(2) for k in range(count)}
        for kind in KINDS[:2]:
            page = io.BytesIO()
            torch.save(state, page, _use_new_zipfile_serialization=kind == "torch")
            yield page.getvalue()[:64], kind
        yield safetensors.torch.save(state)[:64], "safetensors"
    for length in (128, 336, 19280):
        yield length.to_bytes(8, "little") + b'{"__metadata__":{"format":"pt"},"embed.weight":{"dtype":', "safetensors"
    yield b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "pointer"
    yield b"<!DOCTYPE html><html><title>Sign in</title>", "page"
    yield b"<html><body>404</body></html>", "page"
    yield b"<!doctype html>", "page"
    yield b"<!doctype html><style>body{margin:0}</style>", "page"
    yield b"", "empty"


def net(seed: int = 7) -> nn.Module:
    """A model with a buffer that is an integer."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    model(torch.randn(4, 2))
    return model


def deep(seed: int) -> nn.Module:
    """A model whose keys end alike, begin with letters of a prefix, or have one inside."""
    torch.manual_seed(seed)
    body = nn.ModuleDict({"model": nn.Linear(2, 2), "old_model": nn.Linear(2, 2)})
    return nn.ModuleDict({"embed": nn.Linear(2, 2), "body": body, "old_body": copy.deepcopy(body), "model": nn.BatchNorm1d(2)})


def trainers() -> Iterator[tuple[str, dict[str, Any], dict[str, Tensor], nn.Module]]:
    """What six trainers write: in words, the checkpoint, the weights that are wanted, and a model to be filled."""
    for entry, prefix, build in (
        ("model", "module.", net),
        ("state_dict", "model.", net),
        ("model", "_orig_mod.", deep),
        ("weights", "", net),
        ("network", "model.", deep),
        ("schema_model", "", deep),
    ):
        model = build(7)
        wanted = {key: torch.full_like(value, k + 1) for k, (key, value) in enumerate(model.state_dict().items())}
        average = {key: torch.zeros_like(value) for key, value in wanted.items()}
        named, averaged = ({prefix + key: value for key, value in state.items()} for state in (wanted, average))
        optimizer = torch.optim.Adam(model.parameters())
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        saved: dict[str, Any] = {"optimizer": optimizer.state_dict(), "epoch": 3}
        words = f"a checkpoint with {entry!r} and {f'the prefix {prefix!r}' if prefix else 'no prefix'}"
        if entry == "network":
            saved = {"callbacks": {}, "loops": {0: 3}, "ema": {"network": averaged}, "run": {entry: named, "epoch": 3}}
            words = f"a checkpoint with {entry!r} one dict deeper and the prefix {prefix!r}"
        elif entry == "schema_model":
            saved = {"ema_model": averaged, entry: dict(reversed(named.items())), **saved}
        else:
            saved |= {entry: named, f"{entry}_ema": averaged}
        yield words, saved, wanted, build(1)


def good(folder: Path) -> Iterator[tuple[Path, dict[str, Tensor]]]:
    """Files that fit `net()`: of torch, from before 1.6, and safetensors, each with an ending that says nothing or is wrong."""
    for seed, form in ((1, "torch"), (2, "old"), (3, "safetensors"), (4, "torch")):
        state = net(seed).state_dict()
        path = folder / f"{form}{'.safetensors' if seed == 4 else '.weights'}"
        if form == "safetensors":
            safetensors.torch.save_file(state, path)
        else:
            torch.save(state, path, _use_new_zipfile_serialization=form == "torch")
        yield path, {key: value.clone() for key, value in state.items()}


def bad(folder: Path) -> Iterator[tuple[Path, str]]:
    """Files that do not, and why; the hostile one makes `was here` if it is run."""
    state = net().state_dict()
    less = {key: value for key, value in state.items() if not key.startswith("2.")}
    torch.save(less, folder / "half.pth")
    yield folder / "half.pth", "two of the model's tensors are missing in it"
    torch.save({f"x.{key}": value for key, value in state.items()}, folder / "other.pth")
    yield folder / "other.pth", "no key of it fits"
    torch.save(state | {"2.weight": torch.ones(5, 3)}, folder / "reshaped.pth")
    yield folder / "reshaped.pth", "one shape is another"
    torch.save(state | {"2.weight": state["2.weight"].T.contiguous()}, folder / "turned.pth")
    yield folder / "turned.pth", "one shape is another"
    torch.save(state | {"3.weight": torch.ones(1, 1)}, folder / "more.pth")
    yield folder / "more.pth", "it has a tensor for which the model has no place"
    safetensors.torch.save_file(less, folder / "half.safetensors")
    yield folder / "half.safetensors", "two of the model's tensors are missing in it"
    (folder / "cut.pth").write_bytes((folder / "half.pth").read_bytes()[:900])
    yield folder / "cut.pth", "its end is missing"
    (folder / "cut.safetensors").write_bytes((folder / "half.safetensors").read_bytes()[:-9])
    yield folder / "cut.safetensors", "its end is missing"
    (folder / "pointer.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    yield folder / "pointer.pth", "it is a Git LFS pointer"
    hostile_file(folder / "hostile.pth", folder / "was here")
    yield folder / "hostile.pth", "it asks for code to be run"
    yield folder / "missing.pth", "there is no such file"
