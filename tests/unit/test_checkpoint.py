"""What goes out comes back equal, ties and storages kept; what can not come back is refused before it is written."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections import Counter, OrderedDict
from hashlib import sha256

import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from corpus import contents, equal
from helpers import checkpoint, owners
from helpers.checkpoint import CheckpointError

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.complex64,
    torch.complex128,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.bool,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
]
shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
tensors = st.builds(
    lambda shape, dtype, grad: (
        torch.randn(shape).to(dtype).requires_grad_(grad and dtype.is_floating_point and dtype.itemsize > 1)
    ),
    shapes,
    st.sampled_from(DTYPES),
    st.booleans(),
)
leaves = (
    tensors
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.complex_numbers()
    | st.sampled_from(DTYPES)
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.integers()
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=3).map(OrderedDict)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(keys, trees, max_size=4))
def test_any_nested_checkpoint_comes_back_equal(tmp_path, contents):
    path = checkpoint.save(tmp_path / "any.pth", contents)
    assert equal(checkpoint.load(path), contents)
    assert equal(dict(torch.load(path, weights_only=True)), contents)


@given(st.permutations(range(6)), st.integers(1, 5))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ties_views_and_strides_stay(tmp_path, order, columns):
    base = torch.arange(60.0).reshape(6, 10)
    views = [base, base, base[:, :columns], base.t(), base[2], base.expand(2, 6, 10)]
    loaded = checkpoint.load(checkpoint.save(tmp_path / "ties.pth", {f"v{k}": views[k] for k in order}))
    assert len({tensor.untyped_storage().data_ptr() for tensor in loaded.values()}) == 1
    for k in order:
        assert torch.equal(loaded[f"v{k}"], views[k]) and loaded[f"v{k}"].stride() == views[k].stride()


def test_what_schedulers_and_generators_hold_comes_back(tmp_path):
    contents = {
        "milestones": Counter([3, 3, 5]),
        "set": {1, 2},
        "shape": torch.Size([2, 3]),
        "p": nn.Parameter(torch.ones(1)),
        "generators": owners.Generators().state_dict(),
        "conj": torch.ones(2, dtype=torch.complex64).conj(),
    }
    loaded = checkpoint.load(checkpoint.save(tmp_path / "odd.pth", contents))
    assert equal(loaded | {"conj": 0}, contents | {"conj": 0}) and torch.equal(loaded["conj"], contents["conj"])


def labelled(value):
    value.label = "head"
    return value


class Tree(dict):
    """A dict that pickles as a class of its own."""


def loop():
    tree: dict = {}
    tree["again"] = tree
    return tree


@pytest.mark.parametrize(
    "contents, words",
    [
        (nn.Linear(1, 1), "Got Linear; wanted a dict"),
        ({"best": numpy.float64(0.5)}, r"Got numpy.float64 at best; .*Save float\(value\)."),
        ({"run": {"model": nn.Linear(1, 1)}}, "Got torch.nn.modules.linear.Linear at run.model; .*Save its state dict"),
        ({"w": torch.eye(2).to_sparse()}, "Got a Tensor .* at w; wanted a plain dense tensor"),
        ({"w": [torch.empty(2, device="meta")]}, r"meta\) at w\[0\]; wanted"),
        ({"w": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, "wanted a plain dense tensor"),
        ({"f": print}, "Got builtins.builtin_function_or_method at f"),
        ({"b": b"x"}, "Got builtins.bytes at b"),
        ({("a", 1): 2}, "Got a key of type tuple at the top"),
        ({"t": loop()}, "contains itself at t.again"),
        ({"t": Tree(a=1)}, "Got .*Tree at t"),
        (Counter("ab"), "Got Counter; wanted a dict"),
        ({"w": labelled(torch.ones(1))}, "Got a Tensor with the attribute label at w; .*detach"),
        ({"w": labelled(nn.Parameter(torch.ones(1)))}, "Got a Parameter with the attribute label at w; .*detach"),
        ({"s": {torch.ones(1)}}, "Got builtins.set at s"),
        ({"s": {(1, 2)}}, "Got builtins.set at s"),
        (
            {"v": torch.frombuffer(bytearray(10), dtype=torch.uint8)[:8].view(torch.float32)},
            "Got a view of 10 bytes, no whole number of torch.float32, at v, .*clone",
        ),
    ],
)
def test_what_can_not_come_back_is_refused(tmp_path, contents, words):
    with pytest.raises((TypeError, ValueError), match=words):
        checkpoint.save(tmp_path / "run.pth", contents)
    assert list(tmp_path.iterdir()) == []


def test_the_digests_are_those_of_the_entries_in_the_zip(tmp_path):
    path = checkpoint.save(tmp_path / "run.pth", contents(0))
    said = json.loads(torch.load(path, weights_only=True)._seal)
    assert (said["torch"], said["name"]) == (torch.__version__, "run.pth")
    with zipfile.ZipFile(path) as book:
        assert said["storages"] == [sha256(book.read(f"archive/data/{k}")).hexdigest() for k in range(len(said["storages"]))]
        assert f"archive/data/{len(said['storages'])}" not in book.namelist()


def test_a_bare_state_dict_keeps_what_it_remembers_beside_its_keys(tmp_path):
    state = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).state_dict()
    for loaded in (checkpoint.load(checkpoint.save(tmp_path / "weights.pth", state)), torch.load(tmp_path / "weights.pth")):
        assert type(loaded) is OrderedDict and equal(loaded, state) and loaded._metadata == state._metadata
    state._metadata["1"]["version"] = 1
    again = checkpoint.load(checkpoint.save(tmp_path / "weights.pth", state))
    assert again._metadata["1"] == {"version": 1} and not hasattr(again, "_seal")


def test_what_torch_has_read_can_be_saved_again(tmp_path):
    one = checkpoint.save(tmp_path / "one.pth", contents(0))
    two = checkpoint.save(tmp_path / "two.pth", torch.load(one, weights_only=True))
    assert equal(dict(checkpoint.load(two)), contents(0))
    changed = torch.load(one, weights_only=True)
    changed["model"]["0.weight"][0, 0] += 1
    torch.save(changed, one)
    with pytest.raises(CheckpointError, match="'one.pth' is damaged: the numbers of model.0.weight differ"):
        checkpoint.load(one)


def test_one_list_in_two_places_stays_one(tmp_path):
    both = [torch.ones(2), (), ()]
    loaded = checkpoint.load(checkpoint.save(tmp_path / "run.pth", {"a": both, "b": both, "c": [both, list(both)]}))
    assert loaded["a"] is loaded["b"] is loaded["c"][0] is not loaded["c"][1]


def test_generators_go_on_where_they_stood():
    held = owners.Generators().state_dict()
    one = (random.random(), numpy.random.rand(), torch.rand(1).item())
    owners.Generators().load_state_dict(held)
    assert (random.random(), numpy.random.rand(), torch.rand(1).item()) == one


def test_a_bare_torch_file_is_told_apart(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match="has no digests to check it by.*weights_only=True"):
        checkpoint.load(tmp_path / "bare.pth")


def test_a_long_save_shows_its_progress(tmp_path, monkeypatch):
    shown = io.StringIO()
    real = checkpoint._Bar

    def bar(**named):
        assert named.pop("delay") == 2
        return real(**named, file=shown, mininterval=0)

    monkeypatch.setattr(checkpoint, "_Bar", bar)
    monkeypatch.setattr(checkpoint, "SMALL", 1000)
    checkpoint.load(checkpoint.save(tmp_path / "run.pth", {"w": torch.ones(1000)}))
    assert "saving run.pth" in shown.getvalue() and "checking run.pth" in shown.getvalue()
