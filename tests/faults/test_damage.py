"""Damaged and hostile files: nothing wrong is ever loaded as if it were right, and nothing in a file is run."""

from __future__ import annotations

import random
import resource
import shutil
import warnings
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from corpus import contents, equal, hostile, in_a_child, raw
from helpers import checkpoint, family
from helpers.checkpoint import CheckpointError

pytestmark = pytest.mark.usefixtures("way")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return {checkpoint.save(folder / f"run-{k}.pth", contents(k)): contents(k) for k in range(8)}


def outcome(path, expected):
    """`error`, `equal`, or `wrong`: loaded, and not what was saved."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = checkpoint.load(path)
    except CheckpointError as error:
        assert path.name in str(error) and "\n" not in str(error) and len(str(error)) < 400
        return "error"
    return "equal" if equal(loaded, expected) else "wrong"


def test_a_thousand_flipped_bits(corpus, tmp_path):
    dice, counted = random.Random(0), {"error": 0, "equal": 0, "wrong": 0}
    for _ in range(1_000):
        path, expected = dice.choice(list(corpus.items()))
        data = bytearray(path.read_bytes())
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        (tmp_path / path.name).write_bytes(data)
        counted[outcome(tmp_path / path.name, expected)] += 1
    print(counted)
    assert counted["wrong"] == 0 and counted["error"] > 600


def test_every_bit_of_a_tensor_is_watched_and_its_name_is_said(tmp_path):
    path = checkpoint.save(tmp_path / "model.pth", {"model": contents(0)["model"]})
    whole = path.read_bytes()
    weight = raw(contents(0)["model"]["2.weight"])
    start = whole.index(weight)
    for bit in range(8 * len(weight)):
        data = bytearray(whole)
        data[start + bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="'model.pth' is damaged: the numbers of model.2.weight differ"):
            checkpoint.load(path)


def test_three_hundred_truncations(corpus, tmp_path):
    dice = random.Random(1)
    for _ in range(300):
        path, expected = dice.choice(list(corpus.items()))
        whole = path.read_bytes()
        (tmp_path / path.name).write_bytes(whole[: dice.randrange(len(whole))])
        assert outcome(tmp_path / path.name, expected) == "error"


def test_a_hundred_swaps_of_files_of_one_length(tmp_path):
    dice = random.Random(2)
    paths = [
        checkpoint.save(tmp_path / f"step-{k:03d}.pth", {"step": 100 + k, "model": contents(k % 8)["model"]})
        for k in range(0, 32)
    ]
    by_length = {}
    for path in paths:
        by_length.setdefault(path.stat().st_size, []).append(path)
    groups = [group for group in by_length.values() if len(group) > 1]
    assert groups
    for _ in range(100):
        one, other = dice.sample(dice.choice(groups), 2)
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second), other.write_bytes(first)
        for path, holds in ((one, other), (other, one)):
            with pytest.raises(CheckpointError, match=f"'{path.name}' holds what was saved as '{holds.name}'"):
                checkpoint.load(path)
        assert checkpoint.load(one, name=other.name)["step"] == 100 + int(other.stem[-3:])
        one.write_bytes(first), other.write_bytes(second)


def test_a_zeroed_page(corpus, tmp_path):
    for path, expected in corpus.items():
        whole = path.read_bytes()
        for start in range(0, len(whole), 512):
            data = whole[:start] + bytes(len(whole[start : start + 512])) + whole[start + 512 :]
            (tmp_path / path.name).write_bytes(data)
            assert outcome(tmp_path / path.name, expected) != "wrong"


@pytest.mark.parametrize("data", [b"", b"weights", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), bytes(5000), b"\x80\x02}."])
def test_a_file_of_another_kind(tmp_path, data):
    (tmp_path / "model.pth").write_bytes(data)
    assert outcome(tmp_path / "model.pth", None) == "error"


def test_hostile_files_run_nothing_and_take_no_memory(tmp_path):
    marker = tmp_path / "was here"
    files = hostile(tmp_path, marker)
    assert len(files) >= 40
    for name, path in files.items():

        def refuse():
            before = int(Path("/proc/self/statm").read_text().split()[1])
            try:
                loaded = checkpoint.load(path)
            except CheckpointError as error:
                assert path.name in str(error) and "\n" not in str(error), error
            else:
                raise AssertionError(f"loaded {loaded!r}")
            grown = (int(Path("/proc/self/statm").read_text().split()[1]) - before) * resource.getpagesize()
            assert grown < 100_000_000, grown

        assert in_a_child(refuse) == 0, name
    assert not marker.exists() and not (tmp_path.parent / "out").exists()


@pytest.mark.parametrize(
    "said",
    [
        "[1]",
        '{"format": 2}',
        '"x"',
        "[" * 100_000,
        "{",
        5,
        None,
        torch.ones(2),
        '{"format": 3, "name": "run.pth", "kind": "dict"}',
        '{"format": 2, "name": "run.pth", "kind": "dict"}',
        '{"format": 2, "name": "run.pth", "kind": "dict", "rest": "", "storages": 5}',
        '{"format": 2, "name": "run.pth", "kind": "dict", "rest": "", "storages": []}',
    ],
)
def test_digests_that_nobody_would_write(tmp_path, said):
    held = OrderedDict(contents(0))
    held._seal = said
    torch.save(held, tmp_path / "run.pth")
    with pytest.raises(CheckpointError, match="'run.pth' (is damaged|has no digests)"):
        checkpoint.load(tmp_path / "run.pth")


def test_falls_back_only_when_asked(tmp_path):
    for step in (8, 9, 10):
        checkpoint.save(tmp_path / f"step-{step}.pth", {"step": step})
    last = family.newest(tmp_path)
    assert last.name == "step-10.pth"
    for name in ("step-10.pth", "step-9.pth"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-30])
    with pytest.raises(CheckpointError, match="'step-10.pth' is damaged"):
        checkpoint.load(last)
    with pytest.warns(UserWarning, match="'step-10.pth' is damaged.*'step-9.pth' is damaged.*Loaded 'step-8.pth'"):
        assert checkpoint.load(last, fallback=True)["step"] == 8
    checkpoint.save(tmp_path / "step-11.pth", {"step": 11})
    last.unlink()
    with pytest.warns(UserWarning, match="There is no file 'step-10.pth'.*'step-9.pth' is damaged.*Loaded 'step-8.pth'"):
        assert checkpoint.load(last, fallback=True)["step"] == 8
    shutil.copy(tmp_path / "step-9.pth", tmp_path / "step-8.pth")
    with pytest.raises(CheckpointError, match="step-8.pth"):
        checkpoint.load(last, fallback=True)
