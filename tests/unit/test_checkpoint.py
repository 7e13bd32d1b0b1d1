"""What goes out comes back equal, ties and storages kept; what can not come back is refused before it is written."""

from __future__ import annotations

from collections import Counter, OrderedDict

import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from corpus import contents, equal
from helpers import checkpoint
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
        "generator": torch.get_rng_state(),
        "device": torch.device("cpu"),
        "layout": torch.strided,
        "conj": torch.ones(2, dtype=torch.complex64).conj(),
    }
    loaded = checkpoint.load(checkpoint.save(tmp_path / "odd.pth", contents))
    assert equal(loaded | {"conj": 0}, contents | {"conj": 0}) and torch.equal(loaded["conj"], contents["conj"])


def labelled(value):
    value.label = "head"
    return value


class Tree(dict):
    """A dict that pickles as a class of its own."""


@pytest.mark.parametrize(
    "contents, words",
    [
        (nn.Linear(1, 1), "Got Linear; wanted a dict"),
        (Counter("ab"), "Got Counter; wanted a dict"),
        ({"best": numpy.float64(0.5)}, r"Got numpy.float64 at best; .*Save float\(value\)."),
        ({"best": [numpy.ones(2)]}, r"Got numpy.ndarray at best.0; .*Save torch.from_numpy\(value\)."),
        ({"run": {"model": nn.Linear(1, 1)}}, "Got torch.nn.modules.linear.Linear at run.model; .*Save its state dict"),
        ({"w": [torch.empty(2, device="meta")]}, r"meta\) at w.0; wanted"),
        ({"f": print}, "Got builtins.builtin_function_or_method at f"),
        ({"f": lambda: 1}, "Got builtins.function at f"),
        ({"b": b"x"}, "Got builtins.bytes at b"),
        ({"b": bytearray(2)}, "Got builtins.bytearray at b"),
        ({numpy.float64(2): 2}, "Got numpy.float64 at the top, as a key"),
        ({"t": Tree(a=1)}, "Got .*Tree at t"),
        ({"i": [1, 10**700]}, "Got builtins.int at i.1"),
        ({10**700: 1}, "Got builtins.int at the top, as a key"),
        ({"a": {10**700}}, "Got builtins.set at a"),
        ({"a": {(10**700, 1): 1}}, "Got builtins.tuple at a, as a key"),
        ({"s": torch.arange(3).untyped_storage()}, "Got torch.storage.UntypedStorage at s"),
        ({"r": numpy.random.RandomState()}, "Got numpy.random.mtrand.RandomState at r"),
        ({"d": numpy.dtype("f4")}, "Got numpy.*dtype.* at d"),
        ({"w": labelled(torch.ones(1))}, "Got a Tensor .* at w; .*what it is made of"),
        ({"w": labelled(nn.Parameter(torch.ones(1)))}, "Got a Parameter .* at w; .*what it is made of"),
        ({"w": torch.empty(2, dtype=torch.uint3)}, "Got a Tensor .*uint3.* at w"),
        ({"w": torch.eye(2).to_mkldnn()}, "Got a Tensor .*mkldnn.* at w"),
        ({"s": frozenset("a")}, "Got builtins.frozenset at s"),
        ({"v": torch.frombuffer(bytearray(10), dtype=torch.uint8)[:8].view(torch.float32)}, "Got a Tensor .* at v"),
    ],
)
def test_what_can_not_come_back_is_refused(tmp_path, contents, words):
    with pytest.raises(TypeError, match=words):
        checkpoint.save(tmp_path / "run.pth", contents)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("outer", [KeyboardInterrupt("stop"), OSError(28, "full"), CheckpointError("outer")])
def test_an_error_that_is_being_handled_is_not_blamed(tmp_path, outer):
    with pytest.raises(TypeError, match="Got builtins.bytes at model"):
        try:
            raise outer
        except BaseException:
            checkpoint.save(tmp_path / "run.pth", {"model": b"x"})


@pytest.mark.parametrize("path", ["a\0b", "/"])
def test_a_path_that_is_none(path):
    with pytest.raises(CheckpointError, match="Could not save"):
        checkpoint.save(path, {})
    with pytest.raises(CheckpointError):
        checkpoint.load(path)


def test_a_freed_storage_is_refused(tmp_path):
    freed = torch.ones(100)
    freed.untyped_storage().resize_(0)
    with pytest.raises(TypeError, match="Got a Tensor .* at w"):
        checkpoint.save(tmp_path / "run.pth", {"w": freed})


ODD = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "csr": lambda: torch.eye(3).to_sparse_csr(),
    "bsr": lambda: torch.eye(4).to_sparse_bsr((2, 2)),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "a text like a pickle": lambda: "cos\nsystem\n",
    "a lone surrogate": lambda: "\ud800",
    "tuples as keys": lambda: {("a", (1, 2)): 3},
    "many pairs": lambda: tuple((k, k) for k in range(3_000)),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.filterwarnings("ignore")
def test_what_torch_gives_back_is_taken(tmp_path, name):
    value = ODD[name]()
    loaded = checkpoint.load(checkpoint.save(tmp_path / "odd.pth", {"v": value}))["v"]
    if isinstance(value, torch.Tensor):
        assert loaded.layout == value.layout and loaded.dtype == value.dtype and str(loaded) == str(value)
    else:
        assert loaded == value


def test_a_value_that_contains_itself_comes_back_so(tmp_path):
    tree: dict = {"again": []}
    tree["again"].append(tree)
    loaded = checkpoint.load(checkpoint.save(tmp_path / "loop.pth", tree))
    assert loaded["again"][0] is loaded
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(CheckpointError, match="Could not save 'deep.pth': .*recursion"):
        checkpoint.save(tmp_path / "deep.pth", {"deep": deep})


def test_a_bare_state_dict_keeps_what_it_remembers_beside_its_keys(tmp_path):
    state = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).state_dict()
    for loaded in (checkpoint.load(checkpoint.save(tmp_path / "weights.pth", state)), torch.load(tmp_path / "weights.pth")):
        assert type(loaded) is OrderedDict and equal(loaded, state) and loaded._metadata == state._metadata


def test_one_list_in_two_places_stays_one(tmp_path):
    both = [torch.ones(2), (), ()]
    loaded = checkpoint.load(checkpoint.save(tmp_path / "run.pth", {"a": both, "b": both, "c": [both, list(both)]}))
    assert loaded["a"] is loaded["b"] is loaded["c"][0] is not loaded["c"][1]


def test_whatever_torch_wrote_is_loaded(tmp_path):
    for k, written in enumerate((torch.ones(3), [torch.ones(1)], contents(2))):
        torch.save(written, tmp_path / f"{k}.pth")
        assert equal(checkpoint.load(tmp_path / f"{k}.pth"), written)


@pytest.mark.parametrize(
    "save, words",
    [
        (lambda path: torch.save(nn.Linear(1, 1), path), "asks to import torch.nn.modules.linear.Linear, which can run code"),
        (lambda path: torch.save({"best": numpy.float64(1)}, path), r"holds a NumPy value .*save float\(value\)"),
        (lambda path: torch.save({"b": b"x"}, path), "calls _codecs.encode, which can take any memory"),
        (lambda path: torch.jit.save(torch.jit.script(nn.Linear(1, 1)), path), "is a TorchScript archive.*torch.jit.load"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "is a Git LFS pointer"),
        (lambda path: numpy.savez(path.open("wb"), a=numpy.ones(1)), "is an archive of NumPy arrays"),
        (lambda path: path.touch(), "is empty, as a save that was interrupted"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_checkpoint_of_tensors_is_named(tmp_path, save, words):
    save(tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=f"^'model.pth' {words}"):
        checkpoint.load(tmp_path / "model.pth")
