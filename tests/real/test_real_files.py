"""What this project says of checkpoints that others made, against what is true of them."""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from torch import nn, optim

from helpers import checkpoint, describe, draw, files, scenes
from helpers.checkpoint import CheckpointError

STATES = [
    ("lpips", "lpips/weights/v0.1/alex.pth", 5, 1_152, "lin0.model.1.weight"),
    ("lpips", "lpips/weights/v0.1/squeeze.pth", 7, 2_240, "lin0.model.1.weight"),
    ("lpips", "lpips/weights/v0.1/vgg.pth", 5, 1_472, "lin0.model.1.weight"),
    ("lpips", "lpips/weights/v0.0/alex.pth", 5, 1_152, "lin0.model.1.weight"),
    ("lpips", "lpips/weights/v0.0/squeeze.pth", 7, 2_240, "lin0.model.1.weight"),
    ("lpips", "lpips/weights/v0.0/vgg.pth", 5, 1_472, "lin0.model.1.weight"),
    ("facenet-pytorch", "facenet_pytorch/data/onet.pt", 21, 389_040, "conv1.weight"),
    ("facenet-pytorch", "facenet_pytorch/data/pnet.pt", 13, 6_632, "conv1.weight"),
    ("facenet-pytorch", "facenet_pytorch/data/rnet.pt", 16, 100_178, "conv1.weight"),
]


def well_formed(picture: draw.Picture) -> bool:
    return ElementTree.fromstring(picture.svg).tag.endswith("svg") and bool(picture.alt)


def numbers(state) -> int:
    return sum(value.numel() for value in state.values())


@pytest.mark.parametrize("package, name, keys, count, first", STATES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_state_dict_from_before_torch_1_6(real, package, name, keys, count, first):
    path = real[package] / name
    assert files.read_header(path).kind == "old torch"
    with pytest.warns(UserWarning, match="carries no checksums: it was loaded, and not verified"):
        loaded = checkpoint.load(path)
    for state in (loaded, describe.read_file(path)):
        assert (len(state), numbers(state), next(iter(state))) == (keys, count, first)
    assert len(describe.describe(loaded)) == keys
    assert well_formed(draw.state_dict(loaded)) and well_formed(scenes.inside(path))


def test_a_checkpoint_whose_optimizer_is_keyed_by_addresses(real):
    path = real["Resemblyzer"] / "resemblyzer/pretrained.pt"
    with warnings.catch_warnings(action="ignore"):
        loaded = checkpoint.load(path)
    assert loaded["step"] == 1_564_501
    state, saved = loaded["model_state"], loaded["optimizer_state"]
    assert (len(state), numbers(state), next(iter(state))) == (16, 1_423_618, "similarity_weight")
    assert well_formed(scenes.inside(path)) and well_formed(draw.state_dict(state))
    addresses = saved["param_groups"][0]["params"]
    assert min(addresses) > 1 << 32 and set(saved["state"]) <= set(addresses)
    optimizer = optim.Adam([nn.Parameter(torch.zeros_like(value)) for value in state.values()])
    with warnings.catch_warnings(action="ignore"):
        checkpoint.load(path, {"optimizer_state": optimizer})
    first = optimizer.param_groups[0]["params"][0]
    assert torch.equal(optimizer.state[first]["exp_avg"], saved["state"][addresses[0]]["exp_avg"])


def test_safetensors_and_torchscript_are_named(real):
    tensors, script = (next(real["silero-vad"].rglob(f"*.{ending}")) for ending in ("safetensors", "jit"))
    header = files.read_header(tensors)
    assert (header.kind, len(header.entries)) == ("safetensors", 15)
    assert sum(entry.size for entry in header.entries) == 4 * 309_633
    assert files.read_header(script).kind == "TorchScript"
    for path, words in (
        (tensors, "is a safetensors file; safetensors"),
        (script, "is a TorchScript archive, .*torch.jit.load"),
    ):
        assert well_formed(scenes.inside(path))
        with pytest.raises(CheckpointError, match=f"^'{path.name}' {words}"):
            checkpoint.load(path)
    with pytest.raises(ValueError, match="is a TorchScript archive"):
        describe.read_file(script)


def test_each_file_cut_in_half_is_refused(real):
    for folder in real.values():
        for path in (
            path for path in folder.rglob("*") if path.suffix in (".pth", ".pt", ".safetensors", ".jit", ".bin", ".ckpt")
        ):
            cut = path.with_name(f"cut-{path.name}")
            cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            try:
                with pytest.raises(CheckpointError, match=f"'{cut.name}' is "):
                    checkpoint.load(cut)
            finally:
                cut.unlink()
