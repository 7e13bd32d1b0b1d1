"""What kind of file it is by its first bytes, whatever its ending says; and what its pickle asks for, without running it."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections import OrderedDict

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from helpers import files, pickles

STATE = {"w": torch.ones(2, 3), "b": torch.zeros(3)}


def tarred(path):
    with tarfile.open(path, "w") as book:
        book.add(__file__, "inside.py")


MAKERS = {
    "torch": lambda path: torch.save(STATE, path),
    "old torch": lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False),
    "TorchScript": lambda path: torch.jit.save(torch.jit.script(nn.Linear(1, 1)), path),
    "exported": lambda path: torch.export.save(torch.export.export(nn.Linear(1, 1), (torch.ones(1),)), path),
    "npz": lambda path: numpy.savez(path.open("wb"), a=numpy.ones(2)),
    "npy": lambda path: numpy.save(path.open("wb"), numpy.ones(2)),
    "zip": lambda path: zipfile.ZipFile(path, "w").writestr("readme.txt", "weights elsewhere"),
    "safetensors": lambda path: save_file(STATE, path),
    "LFS pointer": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 130\n"),
    "web page": lambda path: path.write_text("\n<!DOCTYPE html><html><title>Sign in</title></html>"),
    "HDF5": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64)),
    "GGUF": lambda path: path.write_bytes(b"GGUF" + bytes(64)),
    "pickle": lambda path: path.write_bytes(pickle.dumps({"a": 1})),
    "index": lambda path: path.write_text(json.dumps({"metadata": {}, "weight_map": {"w": "model-1.safetensors"}})),
    "JSON": lambda path: path.write_text('{"hidden_size": 3}'),
    "gzip": lambda path: path.write_bytes(gzip.compress(b"weights")),
    "tar": tarred,
    "text": lambda path: path.write_text("404: Not Found"),
    "zeros": lambda path: path.write_bytes(bytes(4096)),
    "empty": lambda path: path.touch(),
    "unknown": lambda path: path.write_bytes(b"\x01\x02\x03\x04" + bytes(30)),
}


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.filterwarnings("ignore")
def test_the_kind_is_read_from_the_first_bytes(tmp_path, kind, ending):
    path = tmp_path / f"model{ending}"
    MAKERS[kind](path)
    header = files.read_header(path)
    assert (header.kind, header.size) == (kind, path.stat().st_size)
    assert header.words.startswith(f"'model{ending}' is ") and header.words.endswith(".") and "\n" not in header.words


def test_what_is_no_file(tmp_path):
    (tmp_path / "sharded").mkdir()
    (tmp_path / "sharded" / ".metadata").touch()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    kinds = {"sharded": "distributed", ".": "folder", "fifo": "special", "none": "missing", "loop": "unreadable"}
    assert {name: files.read_header(tmp_path / name).kind for name in kinds} == kinds
    assert files.read_header("/dev/zero").kind == files.read_header("/dev/null").kind == "special"
    assert files.read_header("a\0b").kind == "special"


@pytest.mark.parametrize("kind", ["torch", "old torch", "safetensors", "npz", "TorchScript"])
@pytest.mark.filterwarnings("ignore")
def test_a_cut_file_gets_an_answer_at_every_length(tmp_path, kind):
    path = tmp_path / "model.pth"
    MAKERS[kind](path)
    whole = path.read_bytes()
    allowed = {"torch": {"cut zip"}, "npz": {"cut zip"}, "TorchScript": {"cut zip"}, "old torch": {"old torch", "pickle"},
               "safetensors": {"cut safetensors"}}[kind]  # fmt: skip
    for length in range(0, len(whole), max(1, len(whole) // 300)):
        path.write_bytes(whole[:length])
        assert files.read_header(path).kind in allowed | ({"empty", "unknown", "text"} if length < 20 else set()), length


@given(st.binary(max_size=700), st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x08" + bytes(7) + b"{", b"GGUF"]))
def test_any_bytes_get_an_answer(data, start):
    header = files.header_of(io.BytesIO(start + data), "x")
    assert header.kind in files.KINDS and header.size == len(start + data)


@pytest.mark.parametrize("text", ["{", "[]", '{"w": 3}', '{"w": {"data_offsets": "ab"}}', '{"w": {"data_offsets": [0, null]}}',
                                  "[" * 5_000, '{"w": {"data_offsets": [0, 1e400]}}'])  # fmt: skip
def test_a_header_of_safetensors_that_nobody_would_write(text):
    data = len(text).to_bytes(8, "little") + text.encode() + bytes(20)
    assert files.header_of(io.BytesIO(data), "x").kind in files.KINDS


def test_entries_and_their_checksums(tmp_path):
    torch.save(STATE, tmp_path / "m.pth")
    save_file(STATE, tmp_path / "m.safetensors")
    with files.open_file(tmp_path / "m.pth") as file:
        header, read = files.header_of(file, "m.pth"), []
        assert files.first_damaged(header.archive, read.append) is None and header.checked
        assert sum(read) == sum(entry.size for entry in header.entries)
    assert {entry.name: entry.size for entry in header.entries}["m/data/0"] == 24
    assert {entry.name: entry.size for entry in files.read_header(tmp_path / "m.safetensors").entries} == {"w": 24, "b": 12}
    data = bytearray((tmp_path / "m.pth").read_bytes())
    data[data.index(STATE["w"].numpy().tobytes())] ^= 1
    assert files.first_damaged(files.header_of(io.BytesIO(data), "m").archive) == "m/data/0"


def asked(value, protocol=2):
    return pickles.read_program(pickle.dumps(value, protocol)).names


@pytest.mark.parametrize("protocol", range(6))
def test_names_are_read_in_every_protocol(protocol):
    assert {"collections.OrderedDict"} <= set(asked(OrderedDict(a=1), protocol))
    assert "functools.partial" in asked({"x": [__import__("functools").partial(print, 1)]}, protocol)
    assert set(asked({"a": 1, "b": [2.0, "text", None, True]}, protocol)) == set()


@given(st.recursive(st.integers() | st.text(max_size=3) | st.none() | st.binary(max_size=3),
                    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=2), inner)),
       st.integers(0, 5))  # fmt: skip
def test_any_pickle_is_read_to_its_end(value, protocol):
    assert set(asked(value, protocol)) <= {"_codecs.encode", "builtins.bytes"}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_program_or_a_value_error(data):
    try:
        pickles.read_program(data)
    except ValueError as error:
        assert str(error)


def test_how_many_values_hang_in_a_tuple_of_tuples():
    shared = ()
    for _ in range(5):
        shared = (shared, shared)
    assert pickles.read_program(pickle.dumps(shared, 2)).nested == 2**6 - 1
    assert pickles.read_program(pickle.dumps([(1, 2), (3, (4, 5))], 2)).nested == 5


def test_what_weights_only_refuses_is_refused_here_too():
    """The list of what is safe holds nothing that torch's own does not."""
    for value in (torch.ones(1), torch.eye(2).to_sparse(), nn.Parameter(torch.ones(1)), OrderedDict(), {1}, 1j, torch.bool):
        file = io.BytesIO()
        torch.save(value, file)
        names = pickles.programs(files.header_of(file, "x"), file)[0].names
        assert all(map(pickles.SAFE.fullmatch, names)) and pickles.refusal(pickles.Program(names)) is None
        file.seek(0)
        assert torch.serialization.get_unsafe_globals_in_checkpoint(file) == []


UNSAFE = """torch.load torch.hub.load torch.Tensor torch.FloatTensor os.system builtins.eval torch.storage.os.Storage
torch.nn.modules.linear.Linear torch.utils.data.StorageX"""


@pytest.mark.parametrize("name", UNSAFE.split())
def test_what_is_not_safe(name):
    assert not pickles.SAFE.fullmatch(name)
