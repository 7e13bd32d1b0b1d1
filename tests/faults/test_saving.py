"""Saving that is killed, interrupted, out of room or out of place: the old file or the new one, never half of one."""

from __future__ import annotations

import builtins
import copy
import errno
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import pytest
import torch
from torch import nn, optim

from corpus import LIMITS, contents, equal, in_a_child
from helpers import checkpoint, family, lesson
from helpers.checkpoint import CheckpointError
from helpers.owners import Generators

PARTS = ".*.part"


def state(step):
    return {"step": step, "model": {f"layer.{k}": torch.full((5_000,), float(step)) for k in range(8)}}


def saves_for_ever(folder, ready):
    step = max([0, *(int(path.stem[5:]) for path in folder.glob("step-*.pth"))])
    while True:
        step += 1
        checkpoint.save(folder / f"step-{step}.pth", state(step), keep=2, best=step % 3 == 0)
        os.write(ready, b".")


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM])
def test_two_hundred_kills(tmp_path, with_signal):
    dice, last, torn, ended, best = random.Random(3), 0, 0, 0, None
    for turn in range(200):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                checkpoint.SMALL = list(LIMITS.values())[turn % 2]
                saves_for_ever(tmp_path, writer)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        os.close(writer)
        assert os.read(reader, 1) == b"."
        time.sleep(dice.uniform(0, 0.03))
        os.kill(child, with_signal)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(reader)
        assert status == -with_signal
        ended += 1
        newest = family.newest(tmp_path)
        loaded = checkpoint.load(newest)
        assert newest.name == f"step-{loaded['step']}.pth" and equal(loaded, state(loaded["step"]))
        assert loaded["step"] > last, "a save that had returned was lost"
        last = loaded["step"]
        before, best = best, family.best(tmp_path)
        assert checkpoint.load(best)["step"] % 3 == 0 if best else before is None and last < 100
        left = list(tmp_path.glob(PARTS))
        torn += len([path for path in left if path.name != ".best.part"])
        assert len(left) <= 2 and len(list(tmp_path.glob("step-*.pth"))) <= 5
    print(f"{ended} times {with_signal.name}, {torn} temporary files met, {last} saves")
    assert torn > 20


class Interrupted(BaseException):
    """Stands for anything that can come at any moment, such as Control-C."""


def steps_of_a_save():
    """The calls inside a save that can be interrupted, and the way of writing that makes them."""
    both = [
        (checkpoint.torch, "save"),
        (checkpoint.os, "fsync"),
        (checkpoint.os, "replace"),
        (family, "flush_folder"),
        (family, "sweep"),
        (checkpoint.Held, "seal"),
        (checkpoint.json, "dumps"),
    ]
    return [(*step, "streamed") for step in [*both, (checkpoint._Out, "write")]] + [
        (*step, "made in memory") for step in [*both, (checkpoint.io, "BytesIO")]
    ]


@pytest.mark.parametrize(
    "owner, name, way", steps_of_a_save(), indirect=["way"], ids=lambda value: value if isinstance(value, str) else ""
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_exception_inside_a_save(tmp_path, monkeypatch, owner, name, way, when):
    path = checkpoint.save(tmp_path / "run.pth", state(1))
    for _ in range(25):
        real = getattr(owner, name)

        def interrupt(*arguments, **named):
            if when == "after":
                real(*arguments, **named)
            raise Interrupted

        with monkeypatch.context() as patched:
            patched.setattr(owner, name, interrupt)
            with pytest.raises((Interrupted, RuntimeError)):
                checkpoint.save(path, state(2))
        assert checkpoint.load(path)["step"] in ((2,) if (name, when) in AFTER else (1, 2) if name == "flush_folder" else (1,))
        assert list(tmp_path.glob(PARTS)) == []
        path = checkpoint.save(path, state(1))


AFTER = [("replace", "after"), ("flush_folder", "before"), ("flush_folder", "after")]


class Failing:
    """A file whose n-th write fails, as a disk does."""

    def __init__(self, file, count):
        self.file, self.left = file, count

    def write(self, data):
        self.left[0] -= 1
        if self.left[0] < 0:
            raise OSError(errno.ENOSPC, "full")
        return self.file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return self.file.__exit__(*error)

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_a_disk_that_fails_at_the_nth_write_for_each_n(tmp_path, monkeypatch, way):
    path, failed = checkpoint.save(tmp_path / "run.pth", state(1)), 0
    for n in range(10_000):
        left = [n]
        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, "open", lambda *a, **k: Failing(builtins.open(*a, **k), left), raising=False)
            try:
                checkpoint.save(path, state(2))
                break
            except CheckpointError as error:
                failed += 1
                assert str(error) == ("Could not save 'run.pth': No space left on device. What was there before is untouched.")
        assert checkpoint.load(path)["step"] == 1 and list(tmp_path.glob(PARTS)) == []
    assert failed == 1 if way == "made in memory" else failed > 40
    assert checkpoint.load(path)["step"] == 2


@pytest.mark.parametrize("room", [0, 100, 4096, 20_000, 100_000, 160_000])
def test_a_limit_on_the_size_of_files(tmp_path, room, way):
    path = checkpoint.save(tmp_path / "run.pth", state(1))

    def save():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        with pytest.raises(CheckpointError, match="Could not save 'run.pth': File too large. What was there before"):
            checkpoint.save(path, state(2))

    assert in_a_child(save) == 0
    assert checkpoint.load(path)["step"] == 1 and list(tmp_path.glob(PARTS)) == []


def mounted(folder, options):
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True).returncode == 0


def test_a_disk_that_is_really_full(tmp_path, way):
    disk = tmp_path / "disk"
    disk.mkdir()
    if not mounted(disk, "size=300k"):
        pytest.skip("no right to mount a small disk here; the limit on file sizes above stands for it")
    try:
        path = checkpoint.save(disk / "run.pth", state(1))
        with pytest.raises(CheckpointError, match="No space left on device. What was there before is untouched."):
            checkpoint.save(path, state(2))
        assert checkpoint.load(path)["step"] == 1 and list(disk.glob(PARTS)) == []
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(CheckpointError, match="Read-only file system"):
            checkpoint.save(path, state(2))
        assert checkpoint.load(path)["step"] == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("owner, name", [(family, "point"), (family, "prune")])
def test_what_fails_after_the_rename_says_that_the_file_is_there(tmp_path, monkeypatch, owner, name):
    checkpoint.save(tmp_path / "step-1.pth", state(1), best=True)

    def fail(*arguments):
        raise OSError(errno.EIO, "")

    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(CheckpointError, match="^Saved 'step-2.pth', but not all that belongs to it: Input/output error. No"):
        checkpoint.save(tmp_path / "step-2.pth", state(2), best=True, keep=1)
    assert checkpoint.load(family.newest(tmp_path))["step"] == 2
    assert checkpoint.load(family.best(tmp_path))["step"] == (1 if name == "point" else 2)


def test_the_newest_of_two_families_is_not_guessed(tmp_path):
    assert family.newest(tmp_path) is None
    for name in ("final.pth", "a-2.pth", "a-10.pth", "b-11.pth"):
        checkpoint.save(tmp_path / name, {})
    with pytest.raises(ValueError, match=r"Got files named a-\*.pth and b-\*.pth in '.*'; wanted one kind"):
        family.newest(tmp_path)
    assert family.newest(tmp_path, "a-*.pth").name == "a-10.pth"


def test_no_permission():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = checkpoint.save(folder / "run.pth", state(1))
        folder.chmod(0o555)

        def save():
            if os.getuid() == 0:
                os.setuid(65534)
            with pytest.raises(CheckpointError, match="Could not save 'run.pth': Permission denied. What was there before"):
                checkpoint.save(path, state(2))

        assert in_a_child(save) == 0
        folder.chmod(0o755)
        assert checkpoint.load(path)["step"] == 1 and list(folder.glob(PARTS)) == []


def test_a_missing_folder_and_a_folder_in_the_way(tmp_path):
    with pytest.raises(CheckpointError, match="Could not save 'run.pth': No such file or directory"):
        checkpoint.save(tmp_path / "nowhere" / "run.pth", state(1))
    (tmp_path / "run.pth").mkdir()
    with pytest.raises(CheckpointError, match="Could not save 'run.pth': Is a directory"):
        checkpoint.save(tmp_path / "run.pth", state(1))
    with pytest.raises(CheckpointError, match="There is no file 'other.pth'"):
        checkpoint.load(tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="'run.pth'"):
        checkpoint.load(tmp_path / "run.pth")


def test_the_mode_is_kept_and_a_link_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    path = checkpoint.save(tmp_path / "disk" / "run.pth", state(1))
    path.chmod(0o640)
    link = tmp_path / "link.pth"
    link.symlink_to(path)
    checkpoint.save(link, state(2))
    assert link.is_symlink() and checkpoint.load(link)["step"] == checkpoint.load(path)["step"] == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_has_the_mode_that_other_files_have(tmp_path):
    (tmp_path / "other").write_text("")
    path = checkpoint.save(tmp_path / "run.pth", state(1))
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_the_last_and_the_best_are_kept(tmp_path):
    for step in range(1, 12):
        checkpoint.save(tmp_path / f"step-{step}.pth", {"step": step}, keep=3, best=step == 4)
        (tmp_path / "step-x.pth").write_text("somebody else's")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best",
        "step-10.pth",
        "step-11.pth",
        "step-4.pth",
        "step-9.pth",
        "step-x.pth",
    ]
    assert checkpoint.load(family.best(tmp_path))["step"] == 4
    with pytest.raises(ValueError, match="Got keep=0; wanted at least 1"):
        checkpoint.save(tmp_path / "step-12.pth", {}, keep=0)


def test_other_runs_in_the_folder_are_left_alone(tmp_path):
    for run in (1, 2):
        for step in range(3):
            checkpoint.save(tmp_path / f"run-{run} [a]-step-{step}.pth", {"step": step}, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-1 [a]-step-2.pth", "run-2 [a]-step-2.pth"]


def test_one_name_again_and_again_keeps_nothing_else(tmp_path):
    (tmp_path / "other.pth").write_text("")
    for step in range(3):
        checkpoint.save(tmp_path / "run.pth", {"step": step}, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.pth", "run.pth"]


def test_going_back_to_an_earlier_step_leaves_the_later_ones(tmp_path):
    for step in (5, 6, 7, 3):
        checkpoint.save(tmp_path / f"step-{step}.pth", {"step": step}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-3.pth", "step-6.pth", "step-7.pth"]


def test_a_file_that_is_being_written_is_not_swept_away(tmp_path):
    code = (
        "import os, sys, time, torch; from helpers import checkpoint\n"
        "os.fsync = lambda *a: (print('writing', flush=True), time.sleep(60))\n"
        "checkpoint.save(sys.argv[1], {'w': torch.ones(2)})"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run.pth")], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "writing\n"
        checkpoint.save(tmp_path / "run.pth", state(1))
        assert len(list(tmp_path.glob(PARTS))) == 1
    finally:
        other.kill(), other.wait(), other.stdout.close()
    checkpoint.save(tmp_path / "run.pth", state(2))
    assert list(tmp_path.glob(PARTS)) == []


def owners():
    torch.manual_seed(9)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return {"model": model, "optimizer": optimizer}


def adam(model):
    optimizer = optim.Adam(model.parameters())
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda c: c.pop("optimizer"), "wanted optimizer too. Nothing was loaded."),
        (lambda c: c["model"].pop("0.bias"), "model does not fit: .*Missing key.*Nothing was loaded."),
        (lambda c: c["model"].update({"1.bias": torch.ones(3)}), "model does not fit: .*size mismatch for 1.bias"),
        (lambda c: c["optimizer"]["param_groups"][0]["params"].pop(), "optimizer does not fit: .*match the size"),
        (lambda c: c["optimizer"]["state"][0].update(momentum_buffer=torch.ones(7)), "momentum_buffer has the shape"),
        (lambda c: c.update(optimizer=adam(owners()["model"]).state_dict()), "another kind of optimizer, without .*momentum"),
    ],
)
def test_all_parts_or_none(tmp_path, spoil, words):
    spoilt = copy.deepcopy({name: owner.state_dict() for name, owner in owners().items()})
    for value in spoilt["model"].values():
        value.add_(1)
    spoil(spoilt)
    path = checkpoint.save(tmp_path / "run.pth", spoilt)
    mine = owners()
    before = copy.deepcopy({name: owner.state_dict() for name, owner in mine.items()})
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load(path, mine)
    assert equal({name: owner.state_dict() for name, owner in mine.items()}, before)


def test_all_parts_come_back(tmp_path):
    path = checkpoint.save(tmp_path / "run.pth", contents(0))
    model = lesson.build_model(5)
    optimizer = optim.SGD(model.parameters(), lr=9, momentum=0.1)
    loaded = checkpoint.load(path, {"model": model, "optimizer": optimizer, "generators": Generators()})
    assert equal(model.state_dict(), loaded["model"]) and equal(optimizer.state_dict(), loaded["optimizer"])
    one = (random.random(), torch.rand(1).item())
    checkpoint.load(path, {"generators": Generators()})
    assert (random.random(), torch.rand(1).item()) == one
