"""The clinic: what it says of each kind of file, and its code, run as given, with every tensor compared."""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
import zipfile
from pathlib import Path

import numpy
import pytest
import torch
from safetensors.torch import save_file
from torch import nn, optim
from torch.nn.utils import prune

import corpus
from helpers import checkpoint, lesson, scenes
from helpers.clinic import Finding, examine
from helpers.clinic.__main__ import main
from helpers.clinic.finding import place_of
from helpers.scenes import keys
from helpers.symptoms import table

ROOT = Path(__file__).resolve().parents[2]


def trained(seed=7):
    model = lesson.build_model(seed)
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    lesson.train_step(model, optimizer, *lesson.toy_data())
    return model, optimizer


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


def pasted(found, **names):
    """What stands there after the code was run, as given."""
    assert found.code, str(found)
    exec(compile(found.code, "pasted", "exec"), names)
    return names


def loads(source, model, wanted, **given):
    """Runs what the clinic gives; every tensor that is wanted is in the model, bit for bit."""
    found = examine(source, model, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pasted(found, model=model, contents=source)
    state = model.state_dict()
    for key, value in wanted.items():
        assert torch.equal(state[key], value), key
    return found


def words(found):
    return " ".join(str(found).split())


def test_a_plain_state_dict_loads(tmp_path, capsys):
    model, _ = trained()
    torch.save(model.state_dict(), tmp_path / "plain.pth")
    found = loads(tmp_path / "plain.pth", lesson.build_model(1), model.state_dict())
    assert all(one.level == "ok" for one in found)
    assert "a checkpoint of torch 1.6 or newer" in found[0].what and "every checksum holds" in found[1].what
    assert "It fits: all 4 keys" in words(found)


TRAINERS = {
    "Lightning": lambda s, o: {
        "epoch": 3,
        "global_step": 90,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": prefixed(s, "model."),
        "loops": {},
        "callbacks": {},
        "optimizer_states": [o],
        "lr_schedulers": [],
    },
    "timm": lambda s, o: {
        "epoch": 4,
        "arch": "net",
        "state_dict": s,
        "optimizer": o,
        "state_dict_ema": {key: value * 0.5 for key, value in s.items()},
        "metric": 71.2,
    },
    "Hugging Face": lambda s, o: s,
    "accelerate": lambda s, o: prefixed(s, "module."),
    "nanoGPT": lambda s, o: {
        "model": prefixed(s, "_orig_mod."),
        "optimizer": o,
        "model_args": {"n_layer": 2},
        "iter_num": 2000,
        "best_val_loss": 1.5,
        "config": {"lr": 0.1},
    },
    "DDP": lambda s, o: {"model": prefixed(s, "module."), "optimizer": o, "rng": torch.get_rng_state()},
    "compiled, then DDP": lambda s, o: {"model": prefixed(s, "_orig_mod.module.")},
    "a wrapper": lambda s, o: {"net": prefixed(s, "backbone.net."), "steps": 4},
    "deep": lambda s, o: {"run": {"last": [{"weights": s}]}, "args": {"lr": 0.1}},
}


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("form", ["path", "contents", "old"])
def test_what_each_trainer_writes_loads(name, form, tmp_path):
    model, optimizer = trained()
    contents = TRAINERS[name](dict(model.state_dict()), optimizer.state_dict())
    path = tmp_path / f"it's {name}.pth"
    torch.save(contents, path, _use_new_zipfile_serialization=form != "old")
    found = loads(contents if form == "contents" else path, lesson.build_model(1), model.state_dict())
    assert not any(one.level == "bad" for one in found), words(found)
    if name == "timm":
        assert "Beside the model lies an average of it: state_dict_ema" in words(found)
        assert "epoch = 4, arch = 'net', metric = 71.2" in words(found)
    if name in ("timm", "nanoGPT", "Lightning"):
        assert "an optimizer, SGD with momentum: 1 group, 4 parameters" in words(found)


def test_an_average_that_fits_better_is_not_taken_for_the_model():
    state = dict(lesson.build_model(7).state_dict())
    less = {key: value for key, value in state.items() if key != "2.bias"}
    found = loads({"model": less, "model_ema": {key: value * 2 for key, value in state.items()}}, lesson.build_model(1), less)
    assert "Missing in the file: 2.bias" in words(found)


def test_the_steps_and_the_kind_of_an_optimizer():
    model, _ = trained()
    optimizer = optim.AdamW(model.parameters())
    for _ in range(3):
        lesson.train_step(model, optimizer, *lesson.toy_data())
    found = examine({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    assert "Adam or AdamW: 1 group, 4 parameters, after 3 steps" in words(found)


def big(layers=100, width=4):
    return nn.ModuleDict({f"block{k}": nn.ModuleDict({n: nn.Linear(width, width) for n in "abc"}) for k in range(layers)})


def test_six_hundred_keys_behind_a_prefix(tmp_path):
    model = big()
    assert len(model.state_dict()) == 600
    torch.save({"model": prefixed(model.state_dict(), "module.")}, tmp_path / "big.pth")
    found = loads(tmp_path / "big.pth", big(), model.state_dict())
    assert len(found.code) < 600


class Head(nn.Module):
    def __init__(self, classes=2, rows=5, layers=2, turned=False, names=("body", "head")):
        super().__init__()
        self.embedding = nn.Embedding(rows, 3)
        self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(layers)])
        setattr(self, names[0], nn.Linear(3, 4))
        setattr(self, names[1], nn.Linear(4, classes))
        if turned:
            self.body.weight = nn.Parameter(torch.randn(3, 4))


def rest(state, *without):
    return {key: value for key, value in state.items() if not key.startswith(without)}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_new_head(prefix):
    old = Head(2).state_dict()
    found = loads(prefixed(old, prefix), Head(7), rest(old, "head"))
    assert "A new head: head.weight, head.bias" in words(found) and "to predict, build the model with 2" in words(found)


def test_a_grown_vocabulary():
    old, new = Head(rows=5), Head(rows=8)
    before = new.state_dict()["embedding.weight"][5:].clone()
    found = loads(old.state_dict(), new, rest(old.state_dict(), "embedding"))
    assert torch.equal(new.embedding.weight[:5], old.embedding.weight) and torch.equal(new.embedding.weight[5:], before)
    assert "A table that grew, such as a vocabulary: embedding.weight" in words(found)


def test_a_transposed_weight():
    old, new = Head(turned=True), Head()
    state = copy.deepcopy(old.state_dict())
    loads(state, new, rest(old.state_dict(), "body.weight"))
    assert torch.equal(new.body.weight, old.body.weight.t())


def test_another_number_of_layers():
    old = Head(layers=3).state_dict()
    found = loads(old, Head(layers=2), rest(old, "layers.2"))
    assert "Another number of layers in layers: layers.2.weight, layers.2.bias" in words(found)
    found = loads(Head(layers=2).state_dict(), Head(layers=4), {})
    assert "The file has 2, the model 4" in words(found)


def test_renamed_layers():
    old = Head(names=("trunk", "out")).state_dict()
    renamed = {key.replace("trunk.", "body.").replace("out.", "head."): value for key, value in old.items()}
    one = {key.replace("head.", "out."): value for key, value in Head().state_dict().items()}
    loads(one, Head(), {key.replace("out.", "head."): value for key, value in one.items()})
    assert renamed.keys() == Head().state_dict().keys()


def test_positions_moved():
    old = lesson.build_model(7)
    new = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1), nn.ReLU(), nn.Linear(2, 1))
    wanted = {key.replace("2.", "3."): value for key, value in old.state_dict().items()}
    found = loads(old.state_dict(), new, wanted)
    assert "other names" in words(found)


def test_a_prefix_is_put_on():
    old = lesson.build_model(7)
    new = nn.Module()
    new.net = lesson.build_model(1)
    loads(old.state_dict(), new, prefixed(old.state_dict(), "net."))


def test_missing_and_unexpected_are_said_and_left():
    old = {**lesson.build_model(7).state_dict(), "aux.weight": torch.ones(2)}
    found = loads(dict(old), lesson.build_model(1), rest(old, "aux"))
    assert "Unexpected in the file: aux.weight" in words(found)
    del old["2.bias"], old["aux.weight"]
    found = loads(dict(old), lesson.build_model(1), old)
    assert "Missing in the file: 2.bias" in words(found) and "strict=False" in found.code


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(5, 3)
        self.lm_head = nn.Linear(3, 5, bias=False)
        self.lm_head.weight = self.wte.weight


def test_tied_weights(tmp_path):
    model = Tied()
    torch.save(model.state_dict(), tmp_path / "tied.pth")
    found = loads(tmp_path / "tied.pth", Tied(), model.state_dict())
    assert "one tensor under more than one key: wte.weight and lm_head.weight" in words(found)
    save_file({"wte.weight": model.wte.weight.detach()}, tmp_path / "tied.safetensors")
    found = loads(tmp_path / "tied.safetensors", Tied(), model.state_dict())
    assert "Missing because tied: lm_head.weight" in words(found)


@pytest.mark.parametrize("name", scenes.CASES)
def test_the_cases_of_lesson_06(name):
    state, model = keys.case(name)
    found = examine(state, model)
    if name in ("the whole checkpoint", "three of one shape"):
        assert found[-1].level == "bad" and not found[-1].code
        return
    pasted(found, contents=state, model=model)
    loaded = [value for key, value in model.state_dict().items() if not key.startswith("2.") or name != "a new head"]
    assert all(any(torch.equal(value, old) for old in state.values()) for value in loaded)
    assert name != "weight norm, old names" or "Weight norm, in the model under its new names: " in words(found)


def test_what_is_ambiguous_gets_no_code():
    def make(*names):
        return nn.ModuleDict({name: nn.Linear(2, 2, bias=False) for name in names})

    found = examine(make("k", "v", "q").state_dict(), make("query", "key", "value"))
    assert found[-1].level == "bad" and found[-1].sure == "cannot be told" and not found[-1].code


def test_a_model_of_another_kind():
    found = examine(lesson.build_model().state_dict(), nn.Conv2d(3, 4, 5))
    assert "Nothing of it fits" in words(found)


def test_safetensors_shards_and_an_index(tmp_path):
    model = big(3)
    items = list(model.state_dict().items())
    save_file(dict(items), tmp_path / "model.safetensors")
    loads(tmp_path / "model.safetensors", big(3), model.state_dict())
    for ending, save in (("safetensors", save_file), ("bin", torch.save)):
        names = {}
        for k in range(2):
            save(dict(items[k::2]), tmp_path / f"model-{k}.{ending}")
            names |= dict.fromkeys((key for key, _ in items[k::2]), f"model-{k}.{ending}")
        index = tmp_path / f"model.{ending}.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
        loads(index, big(3), model.state_dict())
        (tmp_path / f"model-1.{ending}").unlink()
        assert "1 of its 2 shards are not beside it" in words(examine(index, big(3)))


def test_quantised_and_empty_and_odd_tensors(tmp_path):
    with warnings.catch_warnings(action="ignore"):
        small = torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)
    torch.save({"0.weight": small, "0.bias": torch.ones(2)}, tmp_path / "q.pth")
    assert "It is quantised: 1 key, such as '0.weight'" in words(examine(tmp_path / "q.pth"))
    state = {key: torch.empty(0) for key in lesson.build_model().state_dict()}
    found = examine({"module": state}, lesson.build_model())
    assert "Empty: 4 tensors" in words(found) and "ZeRO-3" in words(found)
    ill = lesson.build_model().state_dict()
    ill["0.weight"][0, 0] = float("nan")
    ill["2.weight"].zero_()
    found = words(examine(ill))
    assert "NaN or infinity in 1 tensor," in found and "All zero: 2.weight (1×2)" in found


def test_a_slice_that_drags_its_storage(tmp_path):
    torch.save({"rows": torch.zeros(1_000_000)[:1000] + 0}, tmp_path / "good.pth")
    torch.save({"rows": torch.ones(1_000_000)[:1000]}, tmp_path / "slice.pth")
    assert "slice drags" not in words(examine(tmp_path / "good.pth"))
    found = examine(tmp_path / "slice.pth")
    one = next(one for one in found if "slice drags" in one.what)
    names = {"state": torch.load(tmp_path / "slice.pth", weights_only=True), "torch": torch}
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        exec(one.code, names)
    finally:
        os.chdir(here)
    assert (tmp_path / "small.pth").stat().st_size < 10_000


def test_it_was_saved_on_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
    for new in (True, False):
        path = tmp_path / f"gpu-{new}.pth"
        torch.save(lesson.build_model().state_dict(), path, _use_new_zipfile_serialization=new)
        assert "It was saved on cuda:0" in words(examine(path))
    by_python_2 = path.read_bytes().replace(b"X\x06\0\0\0cuda:0", b"U\x06cuda:0")
    assert by_python_2 != path.read_bytes()
    path.write_bytes(by_python_2)
    assert "It was saved on cuda:0" in words(examine(path))


def other_kinds(folder):
    made = {
        "empty.pth": b"",
        "zeros.pth": bytes(2048),
        "pointer.pth": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "page.pth": b"<!DOCTYPE html><html></html>",
        "text.pth": b"hello",
        "data.json": b'{"a": 1}',
        "keras.h5": b"\x89HDF\r\n\x1a\n" + bytes(600),
        "llama.gguf": b"GGUF" + bytes(60),
        "a.gz": b"\x1f\x8b" + bytes(60),
        "a.lz4": b"\x04\x22M\x18" + bytes(60),
        "pickle.pth": pickle.dumps({"a": 1}),
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
    numpy.savez(folder / "arrays.npz", a=numpy.ones(3))
    torch.save({"a": torch.ones(1000)}, folder / "whole.pth")
    (folder / "cut.pth").write_bytes((folder / "whole.pth").read_bytes()[:2000])
    (folder / "whole.pth").unlink()
    save_file({"a": torch.ones(100)}, folder / "b.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "b.safetensors").read_bytes()[:200])
    (folder / "b.safetensors").unlink()
    (folder / "folder").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "fifo")


def test_every_other_kind_of_file_has_its_words(tmp_path):
    other_kinds(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        found = examine(path, lesson.build_model())
        fine = path.name in ("keras.h5", "llama.gguf", "arrays.npz")
        assert (found[0].level == "look") == fine, path
        assert repr(path.name) in found[0].what
    for path in (tmp_path / "no such", "/dev/null", "/dev/zero", "a\0b"):
        assert examine(path)[0].level == "bad"


@pytest.mark.parametrize(
    "value, wanted",
    [
        ({"a": 1}, "It asks to import: nothing."),
        ({"a": numpy.ones(3)}, "_reconstruct, numpy.ndarray, numpy.dtype"),
        (argparse.Namespace(), "It asks to import: argparse.Namespace."),
    ],
)
def test_a_plain_pickle_tells_what_it_asks_for(tmp_path, value, wanted):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(value))
    found = examine(path)
    assert wanted in words(found) and found[0].level == "bad" and not found.code
    path.write_bytes(path.read_bytes()[:-1])
    assert "could not be followed to its end" in words(examine(path))


def test_an_archive_of_arrays_names_them(tmp_path):
    numpy.savez(tmp_path / "a.npz", **{f"w{k}": numpy.ones(k) for k in range(6)})
    found = examine(tmp_path / "a.npz")
    assert "Its arrays: w0, w1, w2, w3 and more." in words(found)
    assert pasted(found)["state"]["w5"].numel() == 5


def test_the_ending_does_not_say_what_it_is(tmp_path):
    model = lesson.build_model(7)
    for new in (True, False):
        torch.save(model.state_dict(), tmp_path / "model.safetensors", _use_new_zipfile_serialization=new)
        found = loads(tmp_path / "model.safetensors", lesson.build_model(1), model.state_dict())
        assert "Its ending .safetensors says something else" in found[0].why
    save_file(dict(model.state_dict()), tmp_path / "model.pth")
    loads(tmp_path / "model.pth", lesson.build_model(1), model.state_dict())


def test_a_flipped_bit_is_found_and_nothing_is_opened(tmp_path):
    path = tmp_path / "flipped.pth"
    torch.save({"a": torch.ones(1000)}, path)
    data = bytearray(path.read_bytes())
    data[data.find(bytes.fromhex("0000803f") * 4) + 100] ^= 1
    path.write_bytes(data)
    found = examine(path, lesson.build_model())
    assert "It is damaged: the entry flipped/data/0" in words(found) and "fits" not in words(found)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/clinic-was-run",)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(2, 2)


def test_what_can_run_code_is_never_opened(tmp_path):
    marker = Path("/tmp/clinic-was-run")
    for new in (True, False):
        torch.save({"model": {"a": torch.ones(2)}, "x": Bomb()}, tmp_path / "bomb.pth", _use_new_zipfile_serialization=new)
        found = examine(tmp_path / "bomb.pth", lesson.build_model())
        assert "can run code" in words(found) and found[-1].level == "bad" and not found.code
    assert not marker.exists()


@pytest.mark.long
def test_the_hostile_corpus_is_refused_and_gets_no_code_that_runs_it(tmp_path):
    marker = tmp_path / "marker"
    for name, path in corpus.hostile(tmp_path, marker).items():
        found = examine(path, lesson.build_model())
        assert found[-1].level == "bad" and not marker.exists(), name
        assert "weights_only=False" not in found.code or "a class of the stranger's" in name, name


def test_of_the_damaged_corpus_nothing_wrong_is_called_whole(tmp_path):
    dice, contents = random.Random(18), corpus.contents(2)
    good = checkpoint.save(tmp_path / "good.pth", contents).read_bytes()
    for k in range(120):
        data = bytearray(good[: dice.randrange(len(good))] if k % 2 else good)
        if not k % 2:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path = tmp_path / "damaged.pth"
        path.write_bytes(data)
        found = examine(path)
        if all(one.level != "bad" for one in found):
            assert corpus.equal(torch.load(path, weights_only=True), contents), k
        assert "could not be examined" not in words(found)


@pytest.mark.parametrize("nested", [False, True])
def test_a_whole_model_of_ones_own(tmp_path, nested, monkeypatch):
    net = Net()
    torch.save({"model": net, "epoch": 3} if nested else net, tmp_path / "net.pt")
    found = examine(tmp_path / "net.pt", Net())
    assert "a whole model, saved as a program" in words(found) and found[-1].sure == "likely"
    monkeypatch.chdir(tmp_path)
    names = pasted(found)
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in names["state"].items())
    loads(tmp_path / "state.pth", Net(), net.state_dict())


@pytest.mark.parametrize("value", [numpy.float64(0.5), argparse.Namespace(lr=0.1), numpy.float32(2), numpy.ones(3)])
def test_harmless_names_are_allowed_by_name(tmp_path, value):
    model, _ = trained()
    torch.save({"model": model.state_dict(), "best": value}, tmp_path / "np.pth")
    found = examine(tmp_path / "np.pth", model)
    assert found[-1].level == "bad" and "weights_only=False" not in found.code
    names = pasted(found)
    assert torch.equal(names["checkpoint"]["model"]["0.weight"], model.state_dict()["0.weight"])


def test_torchscript_and_distributed(tmp_path, monkeypatch):
    with warnings.catch_warnings(action="ignore"):
        model, _ = trained()
        torch.jit.script(model).save(str(tmp_path / "script.pt"))
        names = pasted(examine(tmp_path / "script.pt"))
        assert torch.equal(names["state"]["0.weight"], model.state_dict()["0.weight"])
        from torch.distributed import checkpoint as distributed

        distributed.save({"model": model.state_dict()}, checkpoint_id=tmp_path / "many")
        monkeypatch.chdir(tmp_path)
        distributed.save({"weight": torch.ones(3)}, checkpoint_id=tmp_path / "lone")
        for name, state in (("many", model.state_dict()), ("lone", {"weight": torch.ones(3)})):
            for path in (tmp_path / name, tmp_path / name / "__0_0.distcp"):
                pasted(found := examine(path))
                assert [one.level for one in found] == ["bad" if path.suffix else "look"] and "guard" in words(found)
                whole = torch.load(tmp_path / "whole.pth")
                assert all(torch.equal(whole.get("model", whole)[key], value) for key, value in state.items())
                if name == "many":
                    loads(tmp_path / "whole.pth", lesson.build_model(1), state)
                (tmp_path / "whole.pth").unlink()
        with pytest.raises(checkpoint.CheckpointError, match="a shard of a distributed checkpoint"):
            checkpoint.load(tmp_path / "many" / "__0_0.distcp")


def test_will_it_resume():
    model, optimizer = trained()
    contents = {"model": model.state_dict(), "optimizer": copy.deepcopy(optimizer.state_dict())}
    fresh = lesson.build_model(1)
    other = optim.SGD(fresh.parameters(), lr=0.5, momentum=0.9)
    found = examine(contents, fresh, other)
    pasted(found, contents=contents, model=fresh, optimizer=other)
    first = next(iter(other.state.values()))["momentum_buffer"]
    assert torch.equal(first, contents["optimizer"]["state"][0]["momentum_buffer"])
    assert "It can resume" in words(found)
    cases = [
        (optim.Adam(fresh.parameters()), "another kind of optimizer than Adam"),
        (optim.SGD([*fresh.parameters()][:2], momentum=0.9), "Its groups have [4] parameters, yours [2]"),
        (optim.SGD([{"params": [p]} for p in fresh.parameters()], momentum=0.9), "has 1 groups, yours 4"),
        (optim.SGD([*fresh.parameters()][::-1], momentum=0.9), "has the shape"),
    ]
    for optimizer, wanted in cases:
        assert wanted in words(examine(contents, fresh, optimizer))
    assert "no optimizer in it" in words(examine(model.state_dict(), fresh, other))


def test_settings_that_a_newer_torch_fills_in_are_no_other_kind_and_another_average_is():
    model, _ = trained()
    for kind, gone in ((optim.AdamW, ["fused"]), (optim.SGD, ["foreach", "fused", "maximize"])):
        saved = kind(model.parameters(), lr=0.1)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        saved.step()
        state = copy.deepcopy(saved.state_dict())
        for name in gone:
            del state["param_groups"][0][name]
        fresh = kind(model.parameters(), lr=0.1)
        found = examine({"optimizer": state}, model, fresh)
        assert "It can resume" in words(found), words(found)
        pasted(found, contents={"optimizer": state}, optimizer=fresh)
        fresh.step()
        if kind is optim.AdamW:
            assert "another kind of optimizer than Adamax" in words(
                examine({"o": state}, model, optim.Adamax(model.parameters()))
            )


def test_of_two_optimizers_the_one_that_fits():
    model, optimizer = trained()
    other = nn.Linear(3, 4)
    first = optim.Adam(other.parameters())
    other(torch.ones(1, 3)).sum().backward()
    first.step()
    contents = {
        "g": other.state_dict(),
        "d": model.state_dict(),
        "g_optim": first.state_dict(),
        "d_optim": optimizer.state_dict(),
    }
    found = examine(contents, model, optim.SGD(model.parameters(), lr=0.5, momentum=0.9))
    assert "checkpoint['d_optim']" in found.code and "It can resume" in words(found)


def test_codes_of_a_quantised_model_are_not_loaded_as_weights():
    model = lesson.build_model()
    state = {**model.state_dict(), "0.weight": torch.ones(2, 2, dtype=torch.int8), "0.SCB": torch.ones(2)}
    found = examine(state, model)
    assert found[-1].level == "bad" and "codes of a quantised model" in words(found) and "load_state_dict" not in found.code


def test_what_would_be_a_state_dict_but_for_some_values():
    model, _ = trained()
    fresh = lesson.build_model(1)
    for contents in (
        {**model.state_dict(), "mask_values": [0, 1]},
        {key: value.numpy() for key, value in model.state_dict().items()},
    ):
        found = examine(contents, fresh)
        assert found[-1].level == "ok" and "no tensors" in words(found)
        loads(pasted(found, contents=contents, model=fresh)["state"], fresh, model.state_dict())
    nested = {"model": {key: value.numpy() for key, value in model.state_dict().items()}, "epoch": 3}
    assert set(pasted(examine(nested), contents=nested)["state"]) == set(model.state_dict())


def test_a_schema_is_no_average():
    model, fresh = lesson.build_model(1), lesson.build_model(2)
    contents = {"ema_model": lesson.build_model(3).state_dict(), "schema_model": dict(reversed(model.state_dict().items()))}
    pasted(examine(contents, fresh), contents=contents, model=fresh)
    assert all(torch.equal(value, fresh.state_dict()[key]) for key, value in model.state_dict().items())


def test_biases_that_one_side_lacks():
    with_bias, without = (nn.Sequential(nn.Linear(4, 4, bias=bias), nn.BatchNorm1d(4)).eval() for bias in (True, False))
    found = examine(without.state_dict(), with_bias)
    assert "Biases that the file has not: 0.bias" in words(found)
    pasted(found, contents=without.state_dict(), model=with_bias)
    x = torch.randn(3, 4)
    assert torch.equal(with_bias(x), without(x))
    found = examine(with_bias.state_dict(), without)
    assert "Biases that the model's layers have not: 0.bias" in words(found) and "bias=True" in words(found)


def test_what_is_deeper_or_has_another_head_or_was_wrapped_in_part():
    deep, shallow = (nn.Sequential(*(nn.Linear(4, 4) for _ in range(layers))) for layers in (6, 3))
    assert "Another number of layers in the model: 3.weight" in words(examine(deep.state_dict(), shallow))
    head = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 5)).state_dict()
    assert "build the model with 5" in words(examine(head, nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1000))))
    model = nn.ModuleDict({"encoder": shallow, "head": nn.Linear(4, 2)})
    for prefix, address in (("module.", "module."), ("_orig_mod.", "_orig_mod")):
        found = examine({key.replace("encoder.", f"encoder.{prefix}"): v for key, v in model.state_dict().items()}, model)
        assert any(address in one.place for one in found) and "It fits: all" in found[-1].what
    flat = {"_fsdp_wrapped_module.flat_param": torch.randn(18)}
    assert "full state dict" in words(examine(flat, model))


def test_a_model_on_meta_is_filled_by_assignment():
    model, _ = trained()
    with torch.device("meta"):
        fresh = lesson.build_model()
    loads(model.state_dict(), fresh, model.state_dict())


def test_an_adapter_is_no_model():
    found = examine({"base_model.model.0.lora_A.weight": torch.ones(1, 2)}, lesson.build_model())
    assert "LoRA adapter" in words(found) and "lora" in found[-1].place.lower()
    adapted = nn.ModuleDict({"lora_A": nn.Linear(2, 1, bias=False)})
    loads({"lora_A.weight": torch.ones(1, 2)}, adapted, {"lora_A.weight": torch.ones(1, 2)})


def test_an_order_that_names_alone_can_tell():
    model = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False), "b": nn.Linear(2, 2, bias=False)})
    saved = optim.SGD(model.named_parameters(), momentum=0.9).state_dict()
    turned = optim.SGD([*model.parameters()][::-1], momentum=0.9)
    assert "stand in another order" in words(examine({"model": model.state_dict(), "optimizer": saved}, model, turned))


class Odd:
    def __repr__(self):
        raise ValueError


LOOP: dict = {}
LOOP["again"] = LOOP
ANYTHING = [None, 3, "", b"", [], {}, (), Odd(), {"a": Odd()}, {1: 2}, LOOP, object, torch.ones(2), nn.Linear(1, 1)]
ANYTHING += [io.BytesIO(), threading.Lock(), {"\ud800": torch.ones(2)}, {"state": 1, "param_groups": 2}]
ANYTHING += [{"a": torch.empty(2, device="meta")}]


@pytest.mark.parametrize("contents", ANYTHING, ids=lambda value: type(value).__name__)
def test_anything_at_all_gets_findings(contents):
    model = lesson.build_model()
    found = examine(contents, model, optim.SGD(model.parameters(), lr=1))
    assert found and all(isinstance(one, Finding) for one in found) and str(found) and found.html


def test_the_model_and_the_optimizer_stay_as_they_are():
    model, optimizer = trained()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    examine({"model": prefixed(lesson.build_model(1).state_dict(), "x.")}, model, optimizer)
    assert str(before) == str((model.state_dict(), optimizer.state_dict()))


def test_each_place_is_one_of_the_finder():
    assert all(entry.place in place_of(entry.address) for entry in table())
    with pytest.raises(ValueError, match="wanted an address"):
        place_of("nowhere")


def test_the_card_escapes_and_shows_the_diff(tmp_path):
    found = examine({"<b>": torch.ones(2), "0.weight": torch.ones(2, 2)}, lesson.build_model())
    bundle = found._repr_mimebundle_()
    assert "<svg" in bundle["text/html"] and "<b>'" not in bundle["text/html"] and bundle["text/plain"] == str(found)


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "large.pth"
    with torch.serialization.skip_data():
        torch.save({f"{k}.weight": torch.empty(1 << 20) for k in range(64)}, path)
    found = examine(path)
    assert path.stat().st_size > 250 << 20
    assert "checksums were not looked at" in words(found) and "zeros: 64 tensors" in words(found)


def terminal(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "helpers.clinic", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
    )


def test_the_command_line(tmp_path, capsys):
    torch.save({"a×b": torch.ones(2, 3)}, tmp_path / "good.pth")
    done = terminal(tmp_path / "good.pth", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"") and b"a\\xd7b" in done.stdout and b"\x1b" not in done.stdout
    assert main([str(tmp_path / "good.pth"), "--json", "--verify"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert findings[0].keys() == {"what", "why", "code", "place", "sure", "level"}
    (tmp_path / "cut.pth").write_bytes((tmp_path / "good.pth").read_bytes()[:300])
    assert main([str(tmp_path / "cut.pth")]) == 1
    assert main([str(tmp_path / "none.pth")]) == 2
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as book:
        book.writestr("a", "b")
    assert main([str(tmp_path / "a.zip")]) == 1


def test_checksums_are_read_under_a_bar_in_a_terminal(tmp_path, capsys, monkeypatch):
    path = tmp_path / "good.pth"
    torch.save({"a": torch.ones(1 << 20)}, path)
    for seen in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda seen=seen: seen)
        assert main([str(path), "--verify"]) == 0
        said = capsys.readouterr().err
        assert said.startswith("\rChecksums [") == seen and said.endswith("%\n") == seen and bool(said) == seen
    assert main([str(path)]) == 0 and capsys.readouterr().err == ""
    shown = [int(step.rpartition("] ")[2].rstrip("%\n")) for step in said.split("\r")[1:]]
    assert shown == sorted(shown) and len(shown) > 3 and shown[-1] in (99, 100)


EACH = r"""
import json, os, re, sys
from pathlib import Path
import safetensors.torch
from helpers.clinic import examine
from helpers import lesson

def highest():
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])

os.chdir(sys.argv[1])
assert examine("good.pth", lesson.build_model()).html
if len(sys.argv) > 2:
    os.setgid(65534), os.setuid(65534)
before = highest()
for path in sorted(Path(".").iterdir()):
    found = examine(path, lesson.build_model())
    assert found and str(found) and found.html
    print(json.dumps([path.name, found[0].what, found[-1].level, highest() - before]))
"""


def each_in(folder, *more):
    """Name, first words, last level and memory in KiB after each file of a folder, in a process of its own."""
    torch.save(lesson.build_model().state_dict(), folder / "good.pth")
    done = subprocess.run(
        [sys.executable, "-c", EACH, str(folder), *more],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the highest memory of a process is read from /proc")
def test_no_hostile_file_takes_100_mb_or_runs(tmp_path):
    marker = tmp_path / "marker"
    (tmp_path / "hostile").mkdir()
    corpus.hostile(tmp_path / "hostile", marker)
    told = each_in(tmp_path / "hostile")
    assert len(told) > 20 and not marker.exists()
    for name, _, level, grown in told:
        assert (level == "ok") == (name == "good.pth") and grown < 100_000, (name, grown)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can become a user who may not read")
def test_a_file_that_one_may_not_read(tmp_path):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        folder.chmod(0o755)
        other_kinds(folder)
        for path in folder.iterdir():
            path.chmod(0)
        names = {path.name for path in folder.iterdir()}
        told = each_in(folder, "as nobody")
    finally:
        shutil.rmtree(folder)
    assert {name for name, *_ in told} == names | {"good.pth"}
    for name, what, level, _ in told:
        assert name == "good.pth" or ("not readable for you" in what and level == "bad"), (name, what)


@pytest.mark.parametrize(
    "name", ["été", "модель", "模型", "モデル", "نموذج", "מודל", "मॉडल", "🐛", "a\u202eb", "a\nb", "a'b\"c", " "]
)
def test_names_in_every_script(tmp_path, name):
    model = lesson.build_model(7)
    torch.save(model.state_dict(), tmp_path / f"{name}.pth")
    found = loads(tmp_path / f"{name}.pth", lesson.build_model(1), model.state_dict())
    assert found.html and str(found).encode("ascii", "backslashreplace")


@pytest.mark.skipif(sys.platform != "linux", reason="a name that is no text can be made on Linux alone")
def test_a_name_that_is_no_text(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.pth")
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pth")
    os.rename(tmp_path / "a.pth", path)
    done = terminal(path)
    assert done.returncode == 1 and b"\\udcff" in done.stdout and b"Rename it." in done.stdout


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self, name, nn.Linear(width, width))


def test_attention_in_three_tensors_and_in_one():
    apart, fused = nn.ModuleDict({"attn": Attention(4)}), nn.ModuleDict({"attn": nn.MultiheadAttention(4, 2)})
    parts = [apart["attn"].q_proj.weight, apart["attn"].k_proj.weight, apart["attn"].v_proj.weight]
    found = loads(prefixed(apart.state_dict(), "module."), fused, {"attn.in_proj_weight": torch.cat(parts)})
    assert "Attention in one tensor: attn.in_proj_weight, attn.in_proj_bias. (likely)" in words(found)
    key = fused["attn"].in_proj_weight[4:8].clone()
    found = loads(fused.state_dict(), nn.ModuleDict({"attn": Attention(4)}), {"attn.k_proj.weight": key})
    assert "Attention in three tensors" in words(found) and "It fits by these lines: 2 of 10 keys" in words(found)
    assert "Attention in" not in words(examine(apart.state_dict(), nn.ModuleDict({"attn": nn.MultiheadAttention(8, 2)})))


def test_attention_whose_key_has_no_bias_as_whispers():
    apart, fused = nn.ModuleDict({"attn": Attention(4)}), nn.ModuleDict({"attn": nn.MultiheadAttention(4, 2)})
    query, value = apart["attn"].q_proj.bias, apart["attn"].v_proj.bias
    apart["attn"].k_proj.bias = None
    loads(apart.state_dict(), fused, {"attn.in_proj_bias": torch.cat([query, torch.zeros(4), value])})


def test_what_is_tied_to_what_is_made_is_not_missing():
    with warnings.catch_warnings(action="ignore"):
        normed = nn.utils.weight_norm(nn.Linear(3, 3))
    shared = nn.Linear(3, 3)
    model = nn.ModuleDict({"a": shared, "b": shared})
    found = examine(prefixed(normed.state_dict(), "a."), model)
    assert "Missing because tied: b.weight, b.bias." in words(found) and "Missing in the file" not in words(found)


def test_attention_out_of_a_safetensors_file(tmp_path):
    apart, fused = Attention(4), nn.MultiheadAttention(4, 2)
    save_file(apart.state_dict(), tmp_path / "a.safetensors")
    wanted = torch.cat([apart.q_proj.bias, apart.k_proj.bias, apart.v_proj.bias])
    loads(tmp_path / "a.safetensors", fused, {"in_proj_bias": wanted})


PLAIN = {"linear": nn.Linear(3, 2), "conv": nn.Conv2d(2, 3, 3), "transposed": nn.ConvTranspose2d(2, 3, 3)}
GIVEN = {"linear": torch.ones(1, 3), "conv": torch.ones(1, 2, 4, 4), "transposed": torch.ones(1, 2, 4, 4)}
NORMS = {"old": nn.utils.weight_norm, "new": nn.utils.parametrizations.weight_norm}


def answers_alike(source, model, wanted, given):
    """Runs the clinic's code twice, which leaves the contents as they are; the model answers as wanted."""
    before, found = copy.deepcopy(source), examine(source, model)
    for _ in range(2):
        pasted(found, model=model, contents=source)
    torch.testing.assert_close(model.eval()(given), wanted)
    assert before.keys() == source.keys() and all(torch.equal(before[key], source[key]) for key in before)
    return words(found)


@pytest.mark.parametrize("dim", [0, 1, -1, None])
@pytest.mark.parametrize("style", NORMS)
@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_weight_norm_on_one_side_alone(kind, style, dim):
    plain, given = nn.Sequential(copy.deepcopy(PLAIN[kind])), GIVEN[kind]
    normed, fresh = (nn.Sequential(NORMS[style](copy.deepcopy(PLAIN[kind]), dim=dim)) for _ in range(2))
    with torch.no_grad():
        for value in normed.parameters():
            value.mul_(1.5)
        state = dict(normed.state_dict())
        wanted = normed(given)
        assert "Under weight norm: 0.weight. (likely)" in answers_alike(state, copy.deepcopy(plain), wanted, given)
        told = answers_alike(dict(plain.state_dict()), fresh, plain(given), given)
    assert "Under weight norm in the model alone" in told


@pytest.mark.parametrize("style", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_spectral_norm_into_a_plain_layer(kind, style):
    normed = style(copy.deepcopy(PLAIN[kind]))
    with torch.no_grad():
        normed(GIVEN[kind])
        wanted = normed.eval()(GIVEN[kind])
        told = answers_alike(dict(normed.state_dict()), copy.deepcopy(PLAIN[kind]), wanted, GIVEN[kind])
    assert "Under spectral norm: weight. (likely)" in told


class Sum(nn.Module):
    def forward(self, one, other):
        return one + other

    def right_inverse(self, whole):
        return whole / 2, whole / 2


def test_another_parametrization_of_two_tensors_is_no_weight_norm():
    layer = nn.Linear(4, 6)
    nn.utils.parametrize.register_parametrization(layer, "weight", Sum())
    assert "weight norm" not in words(examine(layer.state_dict(), nn.Linear(4, 6)))


def test_pruning_on_one_side_alone():
    plain, pruned, fresh = nn.Linear(3, 2), nn.Linear(3, 2), prune.identity(nn.Linear(3, 2), "weight")
    prune.random_unstructured(pruned, "weight", amount=2)
    prune.l1_unstructured(pruned, "bias", amount=1)
    given = torch.ones(1, 3)
    with torch.no_grad():
        told = answers_alike(dict(pruned.state_dict()), nn.Linear(3, 2), pruned(given), given)
        assert "Pruned: weight, bias. (likely)" in told
        assert "Pruned in the model alone" in answers_alike(dict(plain.state_dict()), fresh, plain(given), given)


def two_parts():
    return nn.ModuleDict({"encoder": nn.Linear(3, 3), "decoder": nn.Linear(3, 3)})


@pytest.mark.parametrize(
    "shape",
    [
        lambda one, other: {"epoch": 3, "encoder": one.state_dict(), "decoder": other.state_dict()},
        lambda one, other: {"model": {"encoder": one.state_dict(), "decoder": other.state_dict()}},
        lambda one, other: {"encoder_state_dict": one.state_dict(), "decoder_state_dict": other.state_dict()},
        lambda one, other: {"decoder": other, "encoder": one},
        lambda one, other: {"encoder": one, "decoder": other.state_dict()},
    ],
)
def test_pieces_of_one_model_side_by_side(shape):
    parts = two_parts()
    contents = shape(parts["encoder"], parts["decoder"])
    assert "It fits: all 4 keys have their place." in words(loads(contents, two_parts(), parts.state_dict()))
    loads(contents, nn.ModuleDict({"net": two_parts()}), prefixed(parts.state_dict(), "net."))


def test_a_piece_alone_goes_to_its_own_place():
    parts = two_parts()
    found = loads({"decoder": parts["decoder"].state_dict()}, two_parts(), prefixed(parts["decoder"].state_dict(), "decoder."))
    assert "Missing in the file: encoder.weight, encoder.bias." in words(found)


@pytest.mark.parametrize(
    "contents",
    [{"last": two_parts().state_dict(), "best": two_parts().state_dict()}, [two_parts().state_dict() for _ in range(2)]],
    ids=["by name", "in a list"],
)
def test_two_that_fit_alike_are_told(contents):
    first, other = contents if isinstance(contents, dict) else ("0", "1")
    assert f"{other} would fit as well as {first}. (cannot be told)" in words(examine(contents, two_parts()))


def test_a_list_of_layers_goes_into_a_sequential():
    layers = [nn.Linear(4, 6), nn.Linear(6, 3)]
    loads([layer.state_dict() for layer in layers], nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3)), {"1.bias": layers[1].bias})


def test_attention_of_other_widths_or_kinds_is_left_alone():
    names = ("q", "k", "v")
    for part, whole in ((nn.Linear(4, 8), nn.Linear(8, 24)), (nn.Linear(4, 4), nn.Conv2d(4, 12, 1))):
        state = nn.ModuleDict({name: copy.deepcopy(part) for name in names}).state_dict()
        assert "qkv.weight." not in words(examine(state, nn.ModuleDict({"qkv": whole}))).partition("Missing in the file")[0]


def test_what_looks_turned_but_has_another_size():
    file = nn.ModuleDict({"one": nn.ModuleDict({"fc": nn.Linear(4, 6)}), "two": nn.ModuleDict({"fc": nn.Linear(5, 5)})})
    model = nn.ModuleDict({"one": nn.ModuleDict({"fc": nn.Linear(6, 4)}), "two": nn.ModuleDict({"fc": nn.Linear(5, 5)})})
    told = words(examine(file.state_dict(), model))
    assert "Transposed" not in told and "Of another size: one.fc.weight, one.fc.bias." in told


def test_the_square_one_of_gpt2_is_turned_with_the_others():
    state = {"c_attn.weight": torch.randn(4, 12), "c_proj.weight": torch.randn(4, 4)}
    model = nn.ModuleDict({"c_attn": nn.Linear(4, 12, bias=False), "c_proj": nn.Linear(4, 4, bias=False)})
    loads(state, model, {key: value.t() for key, value in state.items()})


def test_positions_are_no_vocabulary():
    state = {"position_embeddings.weight": torch.ones(8, 4), "fc.weight": torch.ones(2, 2)}
    model = nn.ModuleDict({"position_embeddings": nn.Embedding(16, 4), "fc": nn.Linear(2, 2, bias=False)})
    assert "Positions of another length: position_embeddings.weight." in words(examine(state, model))


def test_a_whole_model_among_the_contents():
    model = lesson.build_model(7)
    found = loads({"epoch": 1, "net": model}, lesson.build_model(1), model.state_dict())
    assert "state = checkpoint['net'].state_dict()" in found.code
    loads({"activation": nn.ReLU(), "net": model}, lesson.build_model(1), model.state_dict())
    loads(model, lesson.build_model(1), model.state_dict())


def test_an_average_alone_and_an_averaged_model():
    model = lesson.build_model(7)
    assert "It holds no model but an average of it: ema." in words(examine({"ema": model.state_dict()}))
    found = loads(optim.swa_utils.AveragedModel(model).state_dict(), lesson.build_model(1), model.state_dict())
    assert "n_averaged" in found[1].place


def test_a_vocabulary_larger_than_the_models():
    model = nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 2))
    found = examine(nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2)).state_dict(), model)
    assert "A table larger than the model's, such as a vocabulary: 0.weight." in words(found) and "with 10 rows" in words(found)


def test_another_size_of_the_whole_model():
    small, large = (nn.Sequential(*[nn.Linear(width, width) for _ in range(4)]) for width in (2, 3))
    assert "size mismatch for 0.weight, for 0.bias" in words(examine(small.state_dict(), large))


def layered(*sizes, places=None):
    """Linear layers in a row, under their numbers or those that are given."""
    layers = [nn.Linear(one, other) for one, other in zip(sizes, sizes[1:])]
    return nn.ModuleDict(dict(zip(map(str, places or range(len(layers))), layers)))


@pytest.mark.parametrize(
    "old, new", [((0, 2, 4), (0, 1, 2)), ((0, 2, 3), (0, 1, 2)), ((1, 3, 5), (0, 1, 2)), ((0, 1, 2), (0, 3, 6))]
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_layers_that_are_numbered_anew_keep_their_order(old, new, prefix):
    saved, model = layered(4, 8, 8, 8, places=old), layered(4, 8, 8, 8, places=new)
    wanted = {f"{place}.weight": saved[str(was)].weight for was, place in zip(old, new)}
    found = loads(prefixed(saved.state_dict(), prefix), model, wanted)
    assert "Its keys have other names." in words(found)


def test_blocks_that_are_numbered_anew_keep_their_order():
    saved = {f"layers.{k}.{name}.weight": torch.rand(8, 8) for k in (0, 2, 4) for name in "ab"}
    model = nn.ModuleDict({"layers": nn.ModuleList(nn.ModuleDict({n: nn.Linear(8, 8, False) for n in "ab"}) for _ in range(3))})
    found = loads(
        saved, model, {"layers.1.a.weight": saved["layers.2.a.weight"], "layers.2.b.weight": saved["layers.4.b.weight"]}
    )
    assert "(likely)" in words(found)


def test_a_norm_between_the_layers_gets_no_layers_bias():
    saved = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    layers = [nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)]
    model = nn.Sequential(*layers)
    loads(saved.state_dict(), model, {"3.weight": saved[2].weight, "3.bias": saved[2].bias, "4.bias": torch.zeros(8)})


def test_no_number_is_dropped_out_of_all_names():
    saved = {f"blocks.{c}.{k}.norm.{w}": torch.rand(8) for c, k in ((0, 0), (0, 1), (1, 2), (1, 3)) for w in ("weight", "bias")}
    model = nn.ModuleDict({"blocks": nn.ModuleList(nn.ModuleDict({"norm": nn.LayerNorm(8)}) for _ in range(4))})
    loads(saved, model, {f"blocks.{k}.norm.weight": saved[f"blocks.{c}.{k}.norm.weight"] for c, k in ((0, 1), (1, 2), (1, 3))})


def test_turned_matrices_are_not_exchanged():
    model = nn.ModuleDict({"fc1": nn.Linear(8, 32, False), "fc2": nn.Linear(32, 8, False)})
    saved = {"fc1.weight": torch.rand(8, 32), "fc2.weight": torch.rand(32, 8)}
    loads(saved, model, {key: value.t() for key, value in saved.items()})


def test_an_average_that_fits_whole_is_taken_before_a_piece_that_fits_in_one_key():
    model = nn.ModuleDict({"conv1": nn.Conv2d(3, 4, 3), "fc": nn.Linear(8, 5)})
    average = {key: torch.rand_like(value) for key, value in model.state_dict().items()}
    loads({"d": {"conv1.weight": torch.rand(4, 3, 3, 3), "out.weight": torch.rand(1, 8)}, "g_ema": average}, model, average)


def test_a_key_that_has_the_name_already_does_not_take_its_place():
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "fc": nn.Linear(8, 5)})
    wanted = {key: torch.rand_like(value) for key, value in model.state_dict().items()}
    loads({**prefixed(wanted, "model."), "fc.weight": torch.rand(5, 8), "fc.bias": torch.rand(5)}, model, wanted)
    shifted = layered(4, 8, 8, 6, places=(1, 2, 3))
    saved = {
        "0.weight": torch.rand(8, 4),
        "1.weight": torch.rand(8, 8),
        "2.weight": torch.rand(6, 8),
        "3.weight": torch.rand(4, 6),
    }
    loads(saved, shifted, {"1.weight": saved["0.weight"], "3.weight": saved["2.weight"]})


def test_codes_of_one_byte_beside_their_scale_are_no_weights():
    model = nn.ModuleDict({"fc": nn.Linear(8, 5)})
    codes = {
        "fc.weight": torch.rand(5, 8).to(torch.float8_e4m3fn),
        "fc.weight_scale_inv": torch.ones(1, 1),
        "fc.bias": torch.rand(5),
    }
    assert "Codes stand where the model has floats" in words(examine(codes, model)) and not examine(codes, model).code


def test_a_mask_of_another_kind_is_no_code():
    model = nn.ModuleDict({"fc": nn.Linear(4, 4)})
    model.register_buffer("mask", torch.zeros(4, 4))
    saved = {**nn.ModuleDict({"fc": nn.Linear(4, 4)}).state_dict(), "mask": torch.ones(4, 4).tril().bool()}
    loads(saved, model, {"mask": torch.ones(4, 4).tril()})


def test_lora_that_is_not_merged_is_told():
    saved = {
        "fc.weight": torch.rand(5, 8),
        "fc.bias": torch.rand(5),
        "fc.lora_A": torch.rand(2, 8),
        "fc.lora_B": torch.rand(5, 2),
    }
    assert "LoRA's changes, not merged: fc.lora_A, fc.lora_B." in words(examine(saved, nn.ModuleDict({"fc": nn.Linear(8, 5)})))


@pytest.mark.parametrize("width", [4, 6])
def test_spectral_norm_of_a_transposed_convolution(width):
    from torch.nn.utils import spectral_norm

    with warnings.catch_warnings(action="ignore"):
        saved = nn.Sequential(spectral_norm(nn.ConvTranspose2d(4, width, 3)))
    for _ in range(20):
        saved(torch.rand(1, 4, 5, 5))
    saved.eval()(torch.rand(1, 4, 5, 5))
    model = nn.Sequential(nn.ConvTranspose2d(4, width, 3))
    pasted(examine(saved.state_dict(), model), model=model, contents=saved.state_dict())
    torch.testing.assert_close(model[0].weight, saved[0].weight)


def test_two_tensors_for_one_are_told():
    model = nn.ModuleDict({"e": nn.Embedding(10, 4), "o": nn.Linear(4, 10, False)})
    model["o"].weight = model["e"].weight
    saved = {"e.weight": torch.rand(10, 4), "o.weight": torch.rand(10, 4)}
    assert "Tied in the model, two in the file: e.weight and o.weight." in words(examine(saved, model))
    assert "Tied in the model, two" not in words(examine({key: torch.ones(10, 4) for key in saved}, model))


def test_a_lone_rename_stays_likely_under_a_prefix():
    model = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 8), "fc": nn.Linear(8, 5)})
    saved = {key.replace("fc", "aux"): value for key, value in model.state_dict().items()}
    assert "it may as well be another layer" in words(examine(prefixed(saved, "module."), model))


def test_one_number_in_a_row_of_one_is_that_number():
    model = nn.ModuleDict({"fc": nn.Linear(4, 4)})
    model.t = nn.Parameter(torch.zeros(1))
    saved = {**nn.ModuleDict({"fc": nn.Linear(4, 4)}).state_dict(), "t": torch.tensor(3.0)}
    loads(saved, model, {"t": torch.tensor([3.0])})
    square = nn.ModuleDict({"proj": nn.Linear(4, 6)})
    convolution = {"proj.weight": torch.rand(6, 4, 1, 1), "proj.bias": torch.rand(6)}
    loads(convolution, square, {"proj.weight": convolution["proj.weight"].flatten(1)})


def test_a_norm_of_another_makers_names():
    model = nn.ModuleDict({"fc": nn.Linear(4, 4), "ln": nn.LayerNorm(4)})
    saved = {"fc.weight": torch.rand(4, 4), "fc.bias": torch.rand(4), "ln.gamma": torch.rand(4), "ln.beta": torch.rand(4)}
    loads(saved, model, {"ln.weight": saved["ln.gamma"], "ln.bias": saved["ln.beta"]})


def test_what_begins_with_pos_is_no_position():
    model = nn.ModuleDict({"post_quant_conv": nn.Conv2d(8, 8, 1), "k": nn.Linear(3, 3)})
    saved = {
        "post_quant_conv.weight": torch.rand(4, 4, 1, 1),
        "post_quant_conv.bias": torch.rand(4),
        "k.weight": torch.rand(3, 3),
    }
    found = words(examine({**saved, "k.bias": torch.rand(3)}, model))
    assert "Interpolate" not in found and "Of another size: post_quant_conv" in found


def test_minus_infinity_in_a_mask_is_no_divergence():
    saved = {"a.weight": torch.rand(2, 2), "attn_mask": torch.full((2, 2), -torch.inf)}
    assert "diverged" not in words(examine(saved)) and "diverged" in words(examine({"a.weight": saved["attn_mask"]}))


def test_what_lies_there_under_another_name_is_not_nothing():
    model = nn.ModuleDict({"encoder": nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 8)}), "head": nn.Linear(8, 5)})
    saved = {key.removeprefix("encoder.").replace("head", "fc"): value for key, value in model.state_dict().items()}
    found = words(examine(saved, model))
    assert "The file has nothing for them" not in found and "fc.weight" in found


def test_pieces_under_short_names_are_joined():
    model = nn.ModuleDict({"encoder": nn.Linear(4, 4), "decoder": nn.Linear(4, 2)})
    wanted = {key: torch.rand_like(value) for key, value in model.state_dict().items()}
    pieces = {name[:3]: {k: wanted[f"{name}.{k}"] for k in ("weight", "bias")} for name in ("encoder", "decoder")}
    loads(pieces, model, wanted)


class Settings:
    def __init__(self):
        self.width = 3


def test_a_config_beside_the_weights_is_no_model(tmp_path):
    torch.save({"config": Settings(), "model": {"weight": torch.rand(2, 3), "bias": torch.rand(2)}}, tmp_path / "a.pth")
    found = examine(tmp_path / "a.pth")
    assert "such as a config" in words(found) and "whole model" not in words(found)
    names = pasted(found)
    loads(names["checkpoint"], nn.Linear(3, 2), names["checkpoint"]["model"])


def test_an_optimizer_by_names_in_another_order():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(2, 3)).sum().backward()
    optimizer.step()
    saved, names = optimizer.state_dict(), [name for name, _ in model.named_parameters()]
    turned = [{**saved["param_groups"][0], "params": [names[k] for k in (2, 3, 0, 1)]}]
    named = {"state": {names[k]: saved["state"][k] for k in range(4)}, "param_groups": turned}
    found = examine({"model": model.state_dict(), "optimizer": named}, model, torch.optim.Adam(model.parameters()))
    assert "Its parameters stand in another order." in words(found)


def test_of_two_optimizers_that_fit_neither_is_taken_without_a_word():
    model = nn.Linear(3, 2)
    saved = torch.optim.SGD(model.parameters(), lr=0.1).state_dict()
    found = words(
        examine({"opt_g": saved, "opt_d": {**saved}, "model": model.state_dict()}, model, torch.optim.SGD(model.parameters()))
    )
    assert "opt_d would fit as well as opt_g." in found and "its learning rate among them" in found


def test_what_has_no_storage_or_no_numbers_is_examined_too():
    model = nn.ModuleDict({"fc": nn.Linear(4, 4)})
    model.register_buffer("table", torch.eye(4).to_sparse())
    assert "could not be examined" not in words(examine(model.state_dict(), model))
    parts = {"w_orig": (4, 4), "w_u": (4,), "w_v": (4,)}
    lacking = nn.Module()
    lacking.w = nn.Parameter(torch.zeros(4, 4))
    found = words(examine({key: torch.empty(shape, device="meta") for key, shape in parts.items()}, lacking))
    assert "could not be examined" not in found and "Under spectral norm" in found
    tied = nn.ModuleDict({"e": nn.Embedding(4, 4), "o": nn.Linear(4, 4, False)})
    tied["o"].weight = tied["e"].weight
    assert "could not be" not in words(examine({f"{k}.weight": torch.empty(4, 4, device="meta") for k in "eo"}, tied))
