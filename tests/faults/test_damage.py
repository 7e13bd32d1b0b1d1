"""Damaged and hostile files: nothing wrong is ever loaded as if it were right, and nothing in a file is run."""

from __future__ import annotations

import random
import resource
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from corpus import contents, equal, hostile, in_a_child, raw
from helpers import checkpoint, describe, files, pickles
from helpers.checkpoint import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore:.*carries no checksums")


def by_torch(path, values):
    torch.save(values, path)
    return path


@pytest.fixture(scope="module", params=["helpers", "torch"])
def corpus(request, tmp_path_factory):
    """Eight checkpoints, written by `checkpoint.save` or by `torch.save` alone."""
    folder = tmp_path_factory.mktemp("corpus")
    save = checkpoint.save if request.param == "helpers" else by_torch
    return {save(folder / f"run-{k}.pth", contents(k)): contents(k) for k in range(8)}


def outcome(path, expected):
    """`error`, `equal`, or `wrong`: loaded, and not what was saved."""
    try:
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
    path = by_torch(tmp_path / "model.pth", {"model": contents(0)["model"]})
    whole = path.read_bytes()
    weight = raw(contents(0)["model"]["2.weight"])
    start = whole.index(weight)
    for bit in range(8 * len(weight)):
        data = bytearray(whole)
        data[start + bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="'model.pth' is damaged: the numbers of model.2.weight differ"):
            checkpoint.load(path)


def test_each_tensor_of_many_is_named(tmp_path):
    torch.manual_seed(0)
    tied = torch.rand(3)
    values = {"a": {"w": torch.rand(3), "none": torch.zeros(0)}, "list": [torch.rand(2), (tied, torch.rand(4))], "tied": tied}
    path = by_torch(tmp_path / "many.pth", values)
    whole = path.read_bytes()
    wanted = {"a.w": values["a"]["w"], "list.0": values["list"][0], "list.1.0": tied, "list.1.1": values["list"][1][1]}
    for key, tensor in wanted.items():
        at = whole.index(raw(tensor))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match=f"the numbers of {key} differ"):
            checkpoint.load(path)


def test_every_bit_of_the_headers(tmp_path):
    values = {"v": torch.arange(5.0)}
    whole = by_torch(tmp_path / "g.pth", values).read_bytes()
    for at in [*range(100), *range(whole.index(b"PK\1\2"), len(whole))]:
        for bit in range(8):
            data = bytearray(whole)
            data[at] ^= 1 << bit
            (tmp_path / "g.pth").write_bytes(data)
            assert outcome(tmp_path / "g.pth", values) != "wrong"
            with suppress(ValueError):
                describe.read_file(tmp_path / "g.pth")


def test_three_hundred_truncations(corpus, tmp_path):
    dice = random.Random(1)
    for _ in range(300):
        path, expected = dice.choice(list(corpus.items()))
        whole = path.read_bytes()
        (tmp_path / path.name).write_bytes(whole[: dice.randrange(len(whole))])
        assert outcome(tmp_path / path.name, expected) == "error"


def test_a_zeroed_page(corpus, tmp_path):
    for path, expected in corpus.items():
        whole = path.read_bytes()
        for start in range(0, len(whole), 512):
            data = whole[:start] + bytes(len(whole[start : start + 512])) + whole[start + 512 :]
            (tmp_path / path.name).write_bytes(data)
            assert outcome(tmp_path / path.name, expected) != "wrong"


def test_two_whole_files_that_were_swapped_look_whole(corpus):
    """The limit of any checksum inside a file: nobody can tell."""
    path, other = list(corpus)[:2]
    one = path.read_bytes()
    path.write_bytes(other.read_bytes())
    assert equal(checkpoint.load(path), corpus[other])
    path.write_bytes(one)


def test_a_file_without_checksums_is_loaded_and_said_to_be_unverified(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        by_torch(tmp_path / "bare.pth", contents(0))
    finally:
        torch.serialization.set_crc32_options(True)
    torch.save(contents(1), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for k, name in enumerate(("bare.pth", "old.pth")):
        with pytest.warns(UserWarning, match=f"'{name}' carries no checksums: it was loaded, and not verified"):
            assert equal(checkpoint.load(tmp_path / name), contents(k))


def test_three_hundred_cuts_of_the_old_format(tmp_path):
    dice, counted = random.Random(4), {"error": 0, "equal": 0, "wrong": 0}
    torch.save(contents(0), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "old.pth").read_bytes()
    for _ in range(300):
        (tmp_path / "cut.pth").write_bytes(whole[: dice.randrange(len(whole))])
        counted[outcome(tmp_path / "cut.pth", contents(0))] += 1
    assert counted["error"] == 300


@pytest.mark.parametrize("data", [b"", b"weights", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), bytes(5000), b"\x80\x02}."])
def test_a_file_of_another_kind(tmp_path, data):
    (tmp_path / "model.pth").write_bytes(data)
    assert outcome(tmp_path / "model.pth", None) == "error"


def test_hostile_files_run_nothing_take_no_memory_and_end(tmp_path):
    marker = tmp_path / "was here"
    made = hostile(tmp_path, marker)
    assert len(made) >= 100
    torch.load(checkpoint.save(tmp_path / "warm.pth", {"w": torch.ones(1)}), weights_only=True)

    def refuse_all():
        before = int(Path("/proc/self/statm").read_text().split()[1])
        for name, path in made.items():
            resource.setrlimit(
                resource.RLIMIT_CPU, (int(resource.getrusage(resource.RUSAGE_SELF).ru_utime) + 20, resource.RLIM_INFINITY)
            )
            assert files.read_header(path).words, name
            try:
                with warnings.catch_warnings(action="ignore"):
                    loaded = checkpoint.load(path)
            except CheckpointError as error:
                assert path.name in str(error) and "\n" not in str(error), error
            else:
                raise AssertionError(f"{name}: loaded {loaded!r}")
            grown = (int(Path("/proc/self/statm").read_text().split()[1]) - before) * resource.getpagesize()
            assert grown < 100_000_000, (name, grown)

    assert in_a_child(refuse_all) == 0
    assert not marker.exists() and not (tmp_path.parent / "out").exists()


def test_do_not_trust_is_kept_for_what_can_run_code(tmp_path):
    marker = tmp_path / "was here"
    for name in ("os.system", "builtins.eval", "a class of the stranger's", "torch.load", "by name from the stack"):
        assert "do not trust" in pickles.refusal(pickles.read_program(made_by(name, marker))).words, name
    assert "do not trust" in pickles.refusal(pickles.Program(["numpy.dtype", "os.system"])).words
    assert "do not trust" in pickles.refusal(pickles.Program(["numpy.testing._private.utils.runstring"])).words
    for name in ("argparse.Namespace", "collections.defaultdict", "pathlib.PosixPath", "torch.torch_version.TorchVersion"):
        assert f"holds {name}. Load it once" in pickles.refusal(pickles.Program([name])).words
    for name in ("codecs.encode", "numpy scalar", "a tensor of another device", "a subclass", "bytearray bomb"):
        words = pickles.refusal(pickles.read_program(made_by(name, marker))).words
        assert words and "do not trust" not in words, name


def made_by(name, marker):
    from corpus import pickles as programs

    return programs(marker)[name]
