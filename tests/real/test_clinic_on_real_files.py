"""What the clinic says of checkpoints that others made; its code is run as given, and every tensor compared."""

from __future__ import annotations

import sys
import types
import warnings
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import numpy
import pytest
import torch
from torch import nn

from helpers import files, scenes
from helpers.clinic import examine

OLD, NEW, GPU = "old torch", "torch", "cuda:0"


@dataclass(frozen=True)
class State:
    """A file with a model's state dict, and what is true of it."""

    package: str
    name: str
    kind: str
    keys: int
    numbers: int
    first: str
    device: str = ""
    access: str = ""
    words: tuple[str, ...] = ()


LIN, CONV = "lin0.model.1.weight", "conv1.weight"
STATES = [
    *(
        State("lpips", f"lpips/weights/v0.{version}/{net}.pth", OLD, keys, numbers, LIN, GPU)
        for version in (0, 1)
        for net, keys, numbers in (("alex", 5, 1_152), ("squeeze", 7, 2_240), ("vgg", 5, 1_472))
    ),
    State("facenet-pytorch", "facenet_pytorch/data/onet.pt", OLD, 21, 389_040, CONV),
    State("facenet-pytorch", "facenet_pytorch/data/pnet.pt", OLD, 13, 6_632, CONV),
    State("facenet-pytorch", "facenet_pytorch/data/rnet.pt", OLD, 16, 100_178, CONV),
    State("silero-vad", "silero_vad/data/silero_vad_16k.safetensors", "safetensors", 15, 309_633, "stft_conv.weight"),
    State(
        "Resemblyzer",
        "resemblyzer/pretrained.pt",
        OLD,
        16,
        1_423_618,
        "similarity_weight",
        GPU,
        "['model_state']",
        ("step = 1564501", "optimizer_state is the state of an optimizer, Adam or AdamW: 1 group, 16 parameters"),
    ),
    State("attacut", "attacut/artifacts/attacut-c/model.pth", OLD, 11, 173_533, "embeddings.weight", GPU),
    State("attacut", "attacut/artifacts/attacut-sc/model.pth", OLD, 27, 159_380, "ch_embeddings.weight", GPU),
    *(State("BeatNet", f"BeatNet/models/model_{k}_weights.pt", NEW, 14, 402_325, CONV) for k in (1, 2, 3)),
    State("DISTS-pytorch", "DISTS_pytorch/weights.pt", OLD, 2, 2_950, "alpha"),
    State(
        "pesto-pitch",
        "pesto/weights/mir-1k.ckpt",
        NEW,
        16,
        28_887,
        "shift",
        "",
        "['state_dict']",
        ("epoch = 49, global_step = 54800, pytorch-lightning_version = '2.1.3'",),
    ),
    State(
        "rxnmapper",
        "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k/pytorch_model.bin",
        OLD,
        32,
        877_598,
        "albert.embeddings.word_embeddings.weight",
        GPU,
        "",
        ("albert.embeddings.word_embeddings.weight and predictions.decoder.weight",),
    ),
]
OTHERS = [
    ("silero-vad", "silero_vad/data/silero_vad.jit", "TorchScript", "look", "torch.jit.load reads it"),
    ("g2p-en", "g2p_en/checkpoint20.npz", "npz", "look", "Its arrays: enc_emb, enc_w_ih, enc_w_hh, enc_b_ih and more."),
    ("deepcut", "deepcut/weight/cnn_without_ne_ab.h5", "HDF5", "look", "h5py reads it"),
    ("mtcnn", "mtcnn/assets/weights/onet.lz4", "lz4", "bad", "is an lz4 archive; unpack it first"),
    ("mtcnn", "mtcnn/assets/weights/pnet.lz4", "lz4", "bad", "is an lz4 archive; unpack it first"),
    ("mtcnn", "mtcnn/assets/weights/rnet.lz4", "lz4", "bad", "is an lz4 archive; unpack it first"),
    ("g2pM", "g2pM/char2idx.pkl", "pickle", "bad", "It asks to import: nothing."),
    ("g2pM", "g2pM/class2idx.pkl", "pickle", "bad", "It asks to import: nothing."),
    ("g2pM", "g2pM/digest_cedict.pkl", "pickle", "bad", "It asks to import: nothing."),
    ("g2pM", "g2pM/np_ckpt.pkl", "pickle", "bad", "numpy.core.multiarray._reconstruct, numpy.ndarray, numpy.dtype."),
    (
        "alt-profanity-check",
        "profanity_check/data/model.joblib",
        "pickle",
        "bad",
        "sklearn.calibration.CalibratedClassifierCV, sklearn.svm._classes.LinearSVC",
    ),
    ("alt-profanity-check", "profanity_check/data/vectorizer.joblib", "pickle", "bad", "TfidfVectorizer, numpy.float64"),
]


class Shaped(nn.Module):
    """A model with the parameters and buffers that a state dict names, all zero."""

    def __init__(self, state):
        super().__init__()
        for key, value in state.items():
            *names, last = key.split(".")
            place = self
            for name in names:
                if name not in dict(place.named_children()):
                    place.add_module(name, nn.Module())
                place = place.get_submodule(name)
            if value.is_floating_point():
                place.register_parameter(last, nn.Parameter(torch.zeros_like(value)))
            else:
                place.register_buffer(last, torch.zeros_like(value))


def words(found):
    return " ".join(str(found).split())


def pasted(found, **names):
    exec(compile(found.code, "pasted", "exec"), names)
    return names


def picture(path):
    drawn = scenes.inside(path)
    return ElementTree.fromstring(drawn.svg).tag.endswith("svg") and bool(drawn.alt)


@pytest.mark.parametrize("true", STATES, ids=lambda true: f"{true.package}-{true.name.rpartition('/')[2]}")
def test_a_state_dict_is_told_and_its_code_loads_it(real, true, capsys):
    path = real[true.package] / true.name
    assert files.read_header(path).kind == true.kind
    found = examine(path)
    said = words(found)
    assert not any(one.level == "bad" for one in found)
    where = true.access.strip("[']") or "the file itself"
    assert f"{where} is a state dict: {true.keys} keys, {true.numbers:,} numbers" in said
    assert f"First key {true.first!r}" in said
    assert ("It was saved on" in said) == bool(true.device) and true.device in said
    assert all(fact in said for fact in true.words)
    wanted = pasted(found)["state"]
    model = Shaped(wanted)
    found = examine(path, model)
    assert f"It fits: all {true.keys} keys have their place" in words(found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pasted(found, model=model)
    loaded = model.state_dict()
    assert loaded.keys() == wanted.keys() and len(wanted) == true.keys
    assert all(torch.equal(loaded[key], value) for key, value in wanted.items())
    assert picture(path)


@pytest.mark.parametrize("package, name, kind, level, fact", OTHERS, ids=lambda value: value if isinstance(value, str) else "")
def test_what_torch_did_not_write_is_told(real, package, name, kind, level, fact):
    path = real[package] / name
    assert files.read_header(path).kind == kind
    found = examine(path)
    assert found[0].level == level and fact in words(found)
    assert picture(path)


def test_the_code_for_an_archive_of_arrays_and_for_a_program(real):
    path = real["g2p-en"] / "g2p_en/checkpoint20.npz"
    state, arrays = pasted(examine(path))["state"], numpy.load(path)
    assert len(state) == 12 and sum(value.numel() for value in state.values()) == 834_890
    assert all(numpy.array_equal(value.numpy(), arrays[key]) for key, value in state.items())
    with warnings.catch_warnings(action="ignore"):
        script = pasted(examine(real["silero-vad"] / "silero_vad/data/silero_vad.jit"))["state"]
    assert all(isinstance(value, torch.Tensor) for value in script.values()) and script


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_whole_model_gets_code_that_saves_its_state(real, k, tmp_path, monkeypatch):
    path = real["BeatNet"] / f"BeatNet/models/model-{k}.pt"
    found = examine(path)
    assert "It asks for model.BDA" in words(found) and found[-1].level == "bad" and found[-1].sure == "likely"
    monkeypatch.setitem(sys.modules, "model", types.SimpleNamespace(BDA=type("BDA", (nn.Module,), {"__module__": "model"})))
    monkeypatch.chdir(tmp_path)
    state = pasted(found)["state"]
    twin = torch.load(real["BeatNet"] / f"BeatNet/models/model_{k}_weights.pt", weights_only=True)
    assert state.keys() == twin.keys() and all(torch.equal(state[key], value) for key, value in twin.items())
    assert all(one.level == "ok" for one in examine("state.pth"))


def test_harmless_settings_beside_the_weights_are_allowed_by_name(real, monkeypatch):
    path = real["rxnmapper"] / "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k/training_args.bin"
    assert pasted(examine(path))["checkpoint"].__class__.__name__ == "Namespace"
    path = real["pesto-pitch"] / "pesto/weights/mir-1k_g7.ckpt"
    found = examine(path)
    assert "It holds omegaconf.listconfig.ListConfig" in words(found) and "weights_only=False" not in found.code
    shape = {"listconfig": ["ListConfig"], "dictconfig": ["DictConfig"], "base": ["ContainerMetadata", "Metadata"]}
    package = types.ModuleType("omegaconf")
    monkeypatch.setitem(sys.modules, "omegaconf", package)
    for name, classes in {**shape, "nodes": ["AnyNode"]}.items():
        module = types.ModuleType(f"omegaconf.{name}")
        for one in classes:
            setattr(module, one, type(one, (), {"__module__": module.__name__}))
        setattr(package, name, module)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    state = pasted(found)["checkpoint"]["state_dict"]
    assert len(state) == 22 and sum(value.numel() for value in state.values()) == 130_575
