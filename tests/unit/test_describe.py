"""Rows of state dicts and files, and one clear sentence for everything else."""

import collections
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn, optim

from helpers import describe, lesson
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
        "empty.pth": "does not open",
        "text.pth": "does not open",
        "whole.pth": "does not open",
    }.items():
        with pytest.raises(ValueError, match=words) as caught:
            describe.read_file(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_an_old_format_file_still_opens(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(describe.read_file(tmp_path / "old.pth")["w"], torch.ones(2))


def test_empty_state_dict():
    assert describe.describe(collections.OrderedDict()) == []


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_figure_has_at_most_six_characters(value):
    assert 1 <= len(figure(value)) <= 6


@given(st.floats(-9.99, 9.99))
def test_a_figure_says_the_number(value):
    assert float(figure(value).replace("−", "-")) == pytest.approx(value, abs=0.0051)


def test_names_of_sizes_and_shapes():
    assert [describe.size_name(n) for n in (0, 999, 1000, 40_800, 4_000_000, 4 * 10**9)] == [
        "0 B",
        "999 B",
        "1 kB",
        "40.8 kB",
        "4 MB",
        "4 GB",
    ]
    assert (describe.shape_name((2, 3)), describe.shape_name(())) == ("2×3", "scalar")
