"""Rows of state dicts and files, and one clear sentence for everything else."""

import collections
import warnings
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn, optim

from helpers import describe, lesson
from helpers.compare import compare
from helpers.draw.corner import corner, figure

ODD = {
    "scalar": torch.tensor(3.5),
    "one dimension": torch.arange(4.0),
    "four dimensions": torch.randn(2, 3, 4, 5),
    "no elements": torch.zeros(0, 3),
    "no elements, one dimension": torch.zeros(0),
    "int64": torch.arange(6).reshape(2, 3),
    "large int64": torch.tensor([2**62, -(2**62)]),
    "bool": torch.tensor([True, False]),
    "bfloat16": torch.ones(2, 2, dtype=torch.bfloat16),
    "float8": torch.ones(3).to(torch.float8_e4m3fn),
    "complex": torch.tensor([1 + 2j, 100.5 - 3j]),
    "NaN and infinity": torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0]),
    "all NaN": torch.full((2, 2), float("nan")),
    "meta": torch.empty(1000, 1000, device="meta"),
    "sparse COO": torch.eye(3).to_sparse(),
    "sparse CSR": torch.eye(3).to_sparse_csr(),
    "sparse CSC": torch.eye(3).to_sparse_csc(),
    "large sparse": torch.sparse_coo_tensor([[0], [5]], [1.0], (2000, 2000)),
    "quantised": torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint8),
    "parameter": nn.Parameter(torch.ones(2, 2)),
    "view": torch.arange(12.0).reshape(3, 4)[:, 1:3],
    "expanded": torch.ones(1).expand(100),
    "transposed": torch.randn(3, 2).T,
    "rows of 5,000 cells": torch.randn(3, 5000),
    "tiny and huge": torch.tensor([1e-30, -1e-30, 1e30, -1e30, 99999.0, 9.999, 99.96]),
}


@pytest.mark.parametrize("name", ODD)
def test_any_tensor_becomes_a_row_and_cells(name):
    value = ODD[name]
    (row,) = describe.describe({"t": value})
    assert row.shape == tuple(value.shape)
    assert row.dtype == str(value.dtype).removeprefix("torch.")
    cells = corner(value)
    assert len(cells.texts) <= 6 and all(len(line) <= 8 for line in cells.texts)
    assert all(len(text) <= 6 for line in cells.texts for text in line), cells.texts
    assert [len(line) for line in cells.texts] == [len(line) for line in cells.values]


@pytest.mark.parametrize("name", [n for n, t in ODD.items() if t.layout is torch.strided])
def test_bytes_are_those_of_torch(name):
    (row,) = describe.describe({"t": ODD[name]})
    assert row.bytes == ODD[name].nbytes


def test_cells_show_the_first_numbers():
    cells = corner(torch.tensor([[0.379, -0.582], [float("nan"), -float("inf")]]))
    assert cells.texts == [["+0.38", "−0.58"], ["NaN", "−∞"]]
    assert corner(torch.tensor([-0.001])).texts == [["+0.00"]]
    assert corner(torch.tensor([True, False])).texts == [["True", "False"]]
    assert corner(torch.randn(2, 3, 4, 5)).note == "first of 6 slices"
    assert corner(torch.zeros(0, 3)).note == "no elements"
    assert "first 3×8 cells" in corner(torch.randn(3, 5000)).note


def test_meta_tensors_are_described_without_data():
    cells = corner(torch.empty(10**6, 10**6, device="meta"))
    assert cells.row.bytes == 4 * 10**12 and cells.note.endswith("meta, no data")


def test_buffers_are_told_from_parameters():
    model = nn.BatchNorm1d(2)
    kinds = {row.key: row.kind for row in describe.describe(model.state_dict(), model)}
    assert kinds == {
        "weight": "parameter",
        "bias": "parameter",
        "running_mean": "buffer",
        "running_var": "buffer",
        "num_batches_tracked": "buffer",
    }


def test_extra_state_is_shown_as_what_it_is():
    (row,) = describe.describe({"layer._extra_state": {"a": 1}})
    assert (row.kind, row.dtype, row.bytes) == ("value", "dict", 0)


def test_shared_storage_counts_once():
    one = torch.ones(4, 4)
    rows = describe.describe({"a": one, "b": one, "c": one[:2], "d": torch.ones(2)})
    assert describe.total_bytes(rows) == 64 + 8
    assert describe.total_bytes(describe.describe({"first": one[:1], "second": one[2:3]})) == 32
    assert describe.total_bytes(describe.describe({"m": torch.empty(5, device="meta")})) == 20


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([torch.float32, torch.int64, torch.float16, torch.bool])), max_size=6)
)
def test_total_bytes_are_those_in_the_file(tmp_path_factory, sizes):
    state = {f"k{i}": torch.zeros(size, 3, dtype=dtype) for i, (size, dtype) in enumerate(sizes)}
    path = tmp_path_factory.mktemp("bytes") / "state.pth"
    torch.save(state, path)
    with zipfile.ZipFile(path) as archive:
        stored = sum(e.file_size for e in archive.infolist() if "/data/" in e.filename)
    assert describe.total_bytes(describe.describe(state)) == stored


def test_a_file_is_listed_as_it_was_saved(tmp_path):
    model = lesson.build_model()
    torch.save(model.state_dict(), tmp_path / "m.pth")
    rows = describe.describe(describe.read_file(tmp_path / "m.pth"))
    assert [(r.key, r.shape, r.bytes) for r in rows] == [
        (r.key, r.shape, r.bytes) for r in describe.describe(model.state_dict())
    ]


DTYPES = sorted({value for value in vars(torch).values() if isinstance(value, torch.dtype)}, key=str)
LAYOUTS = sorted({value for value in vars(torch).values() if isinstance(value, torch.layout)}, key=str)


def laid_out(dtype, layout):
    """A tensor of this dtype in this layout, or None where torch makes none."""
    try:
        dense = torch.ones(4, 4, dtype=torch.float64).to(dtype)
    except (RuntimeError, NotImplementedError):
        dense = torch.empty(4, 4, dtype=dtype)
    try:
        if layout is torch.strided:
            return dense
        if layout is torch.jagged:
            return torch.nested.nested_tensor([dense[0], dense[0, :2]], layout=layout)
        if "mkldnn" in str(layout):
            return dense.to_mkldnn()
        return dense.to_sparse(layout=layout, blocksize=(2, 2) if "bs" in str(layout) else None)
    except (RuntimeError, NotImplementedError):
        return None


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_in_every_layout_has_a_row_and_cells_and_is_compared(dtype, layout):
    with warnings.catch_warnings(action="ignore"):
        value = laid_out(dtype, layout)
    if value is None:
        assert layout is not torch.strided
        return
    (row,) = describe.describe({"t": value})
    assert row.dtype == str(dtype).removeprefix("torch.") and row.bytes > 0
    assert (row.shape is None) == (layout is torch.jagged)
    assert (str(layout).removeprefix("torch.").strip("_") in row.note) == (layout is not torch.strided)
    cells = corner(value)
    assert len(cells.texts) == (0 if row.shape is None else 4)
    assert ("·" in cells.texts[0]) <= bool(cells.note) if cells.texts else cells.note
    (pair,) = compare({"t": value}, {"t": value})
    assert pair.word == "equal" or (value.is_quantized and pair.relation == "differs" and "INTERNAL ASSERT" in pair.word)


def test_most_dtypes_and_layouts_are_really_made():
    with warnings.catch_warnings(action="ignore"):
        made = [(dtype, layout) for dtype in DTYPES for layout in LAYOUTS if laid_out(dtype, layout) is not None]
    assert {layout for _, layout in made} == set(LAYOUTS) and {dtype for dtype, _ in made} == set(DTYPES)
    assert len(made) > 2 * len(DTYPES)


def freed(part=slice(None)):
    tensor = torch.ones(4)
    view = tensor[part]
    tensor.untyped_storage().resize_(0)
    return view


def nested():
    with warnings.catch_warnings(action="ignore"):
        return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


def freed_inside():
    tensor = torch.eye(3).to_sparse_csr()
    tensor.values().untyped_storage().resize_(0)
    return tensor


class Wrapper(torch.Tensor):
    """Numbers in another tensor, which no operation reaches."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), keywords=None):
        raise NotImplementedError("nothing works")


class Refusing(torch.Tensor):
    """A class that refuses every question."""

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), keywords=None):
        raise ValueError("not for you")


class Plain(torch.Tensor):
    """A class that adds nothing."""


def fake():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        return torch.ones(2)


STRANGE = {
    "lazy": (lambda: nn.LazyLinear(2).weight, None, 0, "no shape yet", None),
    "freed": (freed, (4,), 0, "its storage was freed", "·"),
    "freed inside": (freed_inside, (3, 3), 0, "its storage was freed", "·"),
    "meta": (lambda: torch.empty(2, device="meta"), (2,), 8, "meta, no data", "·"),
    "fake": (fake, (2,), 8, "FakeTensor, meta, no data", "·"),
    "nested": (nested, None, 68, "nested", None),
    "conjugate": (lambda: torch.tensor([1 + 2j]).conj(), (1,), 8, "", "1−2i"),
    "negative": (lambda: torch.tensor([1 + 2j]).conj().imag, (1,), 4, "", "−2.00"),
    "wrapper": (lambda: Wrapper(torch.ones(2)), (2,), 8, "Wrapper", "·"),
    "refusing": (lambda: torch.ones(2).as_subclass(Refusing), None, 0, "not for you", None),
    "plain class": (lambda: torch.ones(2).as_subclass(Plain), (2,), 8, "Plain", "+1.00"),
    "uncoalesced": (lambda: torch.sparse_coo_tensor([[0, 0]], [1.0, 2.0], (3,)), (3,), 24, "sparse_coo", "+3.00"),
    "quarter of a byte": (lambda: torch.empty(8, dtype=torch.quint2x4), (8,), 2, "quantised", "·"),
    "no storage left for a view": (lambda: freed(slice(2, None)), (2,), 0, "its storage was freed", "·"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_tensors_are_said(name):
    make, shape, size, words, text = STRANGE[name]
    value = make()
    (row,) = describe.describe({"a.t": value})
    assert (row.key, row.owner, row.kind, row.shape, row.bytes) == ("a.t", "a", "tensor", shape, size)
    assert words in row.note and "\n" not in row.note
    cells = corner(value)
    assert (cells.texts[0][0] if cells.texts else None) == text and words in cells.note
    (pair,) = compare({"t": value}, {"t": value})
    assert (pair.word == "equal") == (text != "·" and row.shape is not None or name in ("nested", "wrapper"))
    assert len(pair.word) <= 60 and "\n" not in pair.word


def test_a_distributed_tensor_has_a_row(tmp_path):
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", rank=0, world_size=1, store=store)
    try:
        mesh = init_device_mesh("cpu", (1,))
        whole = distribute_tensor(torch.ones(4, 2), mesh, [Replicate()])
        state = {"w": distribute_tensor(torch.ones(4, 2), mesh, [Shard(0)]), "b": whole}
        rows = describe.describe(state)
        assert [(row.shape, row.dtype, row.bytes) for row in rows] == [((4, 2), "float32", 32)] * 2
        assert [row.note for row in rows] == ["DTensor, Shard(dim=0)", "DTensor, Replicate()"]
        assert [pair.word for pair in compare(state, state)] == ["equal", "equal"]
        assert compare({"w": whole}, {"w": distribute_tensor(torch.zeros(4, 2), mesh, [Replicate()])})[0].word == "value"
        assert corner(whole).texts[0] == ["·", "·"]
    finally:
        distributed.destroy_process_group()


def test_a_quantised_models_packed_parameters_are_rows():
    from torch.ao.quantization import quantize_dynamic

    with warnings.catch_warnings(action="ignore"):
        model = quantize_dynamic(nn.Sequential(nn.Linear(3, 2), nn.LSTM(3, 2)), {nn.Linear, nn.LSTM})
    rows = {row.key: row for row in describe.describe(model.state_dict(), model)}
    assert list(rows) == list(model.state_dict())
    packed = rows["0._packed_params._packed_params"]
    assert (packed.kind, packed.dtype, packed.bytes) == ("value", "tuple", 6 + 8)
    assert rows["0._packed_params.dtype"].dtype == "dtype" and rows["0.scale"].kind == "tensor"
    assert describe.describe(dict(model.state_dict())) != []
    pairs = compare(model.state_dict(), model.state_dict())
    assert [pair.word for pair in pairs if "LSTM" not in pair.word][:4] == ["equal"] * 4


@pytest.mark.parametrize(
    "extra", [{"a": torch.ones(2)}, {}, None, 3, "text", [1], torch.ones(2), object()], ids=lambda value: type(value).__name__
)
def test_extra_state_of_any_kind_has_a_row(extra):
    class Extra(nn.Linear):
        def get_extra_state(self):
            return extra

        def set_extra_state(self, state):
            pass

    model = nn.Sequential(Extra(1, 1))
    for state in (model.state_dict(), dict(model.state_dict())):
        row = describe.describe(state, model)[-1]
        assert (row.key, row.owner) == ("0._extra_state", "0")
        assert row.kind == ("tensor" if isinstance(extra, torch.Tensor) else "value")
        assert row.bytes == (8 if "tensor" in repr(extra) else 0)


def test_a_list_that_holds_itself_is_said():
    endless = []
    endless.append(endless)
    assert "recursion" in describe.describe({"_extra_state": endless})[0].note


def test_a_module_with_two_names_has_its_kinds_under_both():
    shared = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model = nn.ModuleDict({"first": shared, "second": shared})
    model.register_buffer("one", torch.ones(1))
    model.other = model.one
    rows = describe.describe(model.state_dict(), model)
    kinds = {row.key: row.kind for row in rows}
    for key in ("running_mean", "running_var", "num_batches_tracked"):
        assert kinds[f"first.1.{key}"] == kinds[f"second.1.{key}"] == "buffer"
    assert kinds["second.0.weight"] == "parameter" and kinds["one"] == "buffer"
    assert {row.kind for row in describe.describe(model.state_dict())} == {"tensor"}


def test_a_key_may_be_any_text():
    keys = ["", ".", "a..b", "\0", "\x1b[31m", "\ud800", "ключ", "x" * 10_000]
    assert [row.key for row in describe.describe(dict.fromkeys(keys, torch.ones(1)))] == keys


CHECKPOINT = {"model_state": lesson.build_model().state_dict(), "epoch": 3}
BAD = {
    "path": ("model.pth", TypeError, ["the path 'model.pth'", "torch.load(path)"]),
    "module": (nn.Linear(2, 1), TypeError, ["a module, Linear", "state_dict()"]),
    "class instance": (object(), TypeError, ["object", "state dict"]),
    "None": (None, TypeError, ["NoneType", "state dict"]),
    "list": ([torch.ones(1)], TypeError, ["list", "mapping of names to tensors"]),
    "checkpoint": (CHECKPOINT, TypeError, ["'model_state', 'epoch'", "'model_state' is one"]),
    "optimizer": (optim.SGD([nn.Parameter(torch.ones(1))], lr=1), TypeError, ["an optimizer, SGD"]),
    "optimizer's state": (
        optim.SGD([nn.Parameter(torch.ones(1))], lr=1).state_dict(),
        TypeError,
        ["an optimizer's state dict", "wanted a model's"],
    ),
    "the same, in a list": ({"w": torch.ones(1), "rest": [torch.ones(1)]}, ValueError, ["list", "'rest'"]),
    "a module in a dict": ({"model": nn.Linear(2, 1)}, ValueError, ["Linear", "'model'", "values are tensors"]),
    "value that is no tensor": ({"w": torch.ones(1), "epoch": 3}, ValueError, ["int", "'epoch'", "values are tensors"]),
    "key that is no string": ({0: torch.ones(1)}, TypeError, ["the key 0", "int", "strings"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_sentence(name):
    value, kind, words = BAD[name]
    with pytest.raises(kind) as caught:
        describe.describe(value)
    said = str(caught.value)
    assert type(caught.value) is kind and "\n" not in said
    assert all(word in said for word in words), said


def test_files_that_are_none(tmp_path):
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("hello, this is no checkpoint")
    torch.save(lesson.build_model(), tmp_path / "whole.pth")
    for name, words in {
        "missing.pth": "not there",
        ".": "a folder",
        "empty.pth": "is empty",
        "text.pth": "is text",
        "whole.pth": "asks to import torch.nn.modules",
    }.items():
        with pytest.raises(ValueError, match=words) as caught:
            describe.read_file(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_an_old_format_file_still_opens(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(describe.read_file(tmp_path / "old.pth")["w"], torch.ones(2))


@pytest.mark.parametrize("new", [True, False])
def test_a_file_of_torchs_that_is_called_safetensors(tmp_path, new):
    torch.save({"w": torch.ones(2)}, tmp_path / "m.safetensors", _use_new_zipfile_serialization=new)
    assert torch.equal(describe.read_file(tmp_path / "m.safetensors")["w"], torch.ones(2))


def test_empty_state_dict():
    assert describe.describe(collections.OrderedDict()) == []


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_figure_has_at_most_six_characters(value):
    assert 1 <= len(figure(value)) <= 6


@given(st.complex_numbers() | st.integers(-(2**63), 2**64))
def test_a_complex_figure_and_an_integer_too(value):
    assert 1 <= len(figure(value)) <= 6 and "-" not in figure(value)


def test_figures_at_the_ends_of_their_types():
    ends = [1e308 + 1.7e308j, complex("inf"), complex("nan"), 1e200 + 0j, 12345 - 6j, -(2**63), 2**63, -99_999, -100_000]
    assert [figure(value) for value in ends] == ["≥1e308", "∞", "NaN", "~1e200", "~1e4", "−9e18", "9e18", "−99999", "−1e5"]


@given(st.floats(-9.99, 9.99))
def test_a_figure_says_the_number(value):
    assert float(figure(value).replace("−", "-")) == pytest.approx(value, abs=0.0051)


def test_names_of_sizes_and_shapes():
    sizes = (999_499, 999_500, 999_999, 999_999_999, 10**15, 2 * 10**16)
    assert [describe.size_name(n) for n in sizes] == ["999 kB", "1 MB", "1 MB", "1 GB", "1,000 TB", "20,000 TB"]
    assert [describe.size_name(n) for n in (0, 999, 1000, 40_800, 4_000_000, 4 * 10**9)] == [
        "0 B",
        "999 B",
        "1 kB",
        "40.8 kB",
        "4 MB",
        "4 GB",
    ]
    assert [describe.shape_name(shape) for shape in ((2, 3), (), None)] == ["2×3", "scalar", "no shape"]
