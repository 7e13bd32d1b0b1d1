"""Saving that is killed, interrupted, out of room or out of place: the old file or the new one, never half of one."""

from __future__ import annotations

import builtins
import errno
import os
import random
import resource
import signal
import stat
import subprocess
import tempfile
import threading
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from corpus import equal, in_a_child
from helpers import checkpoint
from helpers.checkpoint import CheckpointError

PARTS = ".*.part"


def state(step):
    return {"step": step, "model": {f"layer.{k}": torch.full((5_000,), float(step)) for k in range(8)}}


def saves_for_ever(path, step, ready):
    while True:
        step += 1
        checkpoint.save(path, state(step))
        os.write(ready, step.to_bytes(4, "little"))


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM])
def test_two_hundred_kills(tmp_path, with_signal):
    dice, last, torn, path = random.Random(3), 0, 0, tmp_path / "run.pth"
    for _ in range(200):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                saves_for_ever(path, last, writer)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        os.close(writer)
        returned = os.read(reader, 4)
        time.sleep(dice.uniform(0, 0.03))
        os.kill(child, with_signal)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -with_signal
        returned += os.read(reader, 1 << 16)
        os.close(reader)
        loaded = checkpoint.load(path)
        assert equal(loaded, state(loaded["step"]))
        assert loaded["step"] >= int.from_bytes(returned[-4:], "little") > last, "a save that had returned was lost"
        last = loaded["step"]
        torn += len(left := list(tmp_path.glob(PARTS)))
        assert len(left) <= 1
        for part in left:
            part.unlink()
    print(f"200 times {with_signal.name}, {torn} temporary files met, {last} saves")
    assert torn > 20


class Interrupted(BaseException):
    """Stands for anything that can come at any moment, such as Control-C."""


STEPS = [(checkpoint.torch, "save"), (checkpoint.os, "fsync"), (checkpoint.os, "replace"), (checkpoint, "_flush_folder"),
         (checkpoint.files, "header_of"), (checkpoint.files, "first_damaged"), (checkpoint.shutil, "copymode"),
         (checkpoint, "_walk")]  # fmt: skip
REPLACED = [("replace", "after"), ("_flush_folder", "before"), ("_flush_folder", "after")]


@pytest.mark.parametrize("owner, name", STEPS, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_exception_inside_a_save(tmp_path, monkeypatch, owner, name, when):
    path = checkpoint.save(tmp_path / "run.pth", state(1))
    for _ in range(25):
        real = getattr(owner, name)

        def interrupt(*arguments, real=real, **named):
            if when == "after":
                real(*arguments, **named)
            raise Interrupted

        with monkeypatch.context() as patched:
            patched.setattr(owner, name, interrupt)
            with pytest.raises(Interrupted):
                checkpoint.save(path, state(2))
        assert checkpoint.load(path)["step"] == (2 if (name, when) in REPLACED else 1)
        assert list(tmp_path.glob(PARTS)) == []
        path = checkpoint.save(path, state(1))


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


def failing(left, *arguments):
    return Failing(builtins.open(*arguments), left)


def test_a_disk_that_fails_at_the_nth_write_for_each_n(tmp_path, monkeypatch):
    path, failed = checkpoint.save(tmp_path / "run.pth", state(1)), 0
    for n in range(10_000):
        opened = partial(failing, [n])
        with monkeypatch.context() as patched:
            patched.setattr(checkpoint, "open", opened, raising=False)
            try:
                checkpoint.save(path, state(2))
                break
            except CheckpointError as error:
                failed += 1
                assert str(error) == ("Could not save 'run.pth': No space left on device. What was there before is untouched.")
        assert checkpoint.load(path)["step"] == 1 and list(tmp_path.glob(PARTS)) == []
    assert failed > 40
    assert checkpoint.load(path)["step"] == 2


@pytest.mark.parametrize("room", [0, 100, 4096, 20_000, 100_000, 160_000])
def test_a_limit_on_the_size_of_files(tmp_path, room):
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


def test_a_disk_that_is_really_full(tmp_path):
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


def test_a_missing_folder_and_what_is_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="Could not save 'run.pth': No such file or directory"):
        checkpoint.save(tmp_path / "nowhere" / "run.pth", state(1))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("folder", "fifo", "null"):
        with pytest.raises(CheckpointError, match="Could not save '.*': no regular file stands there"):
            checkpoint.save(tmp_path / name, state(1))
        with pytest.raises(CheckpointError, match=f"'{name}' is (a folder|no regular file)"):
            checkpoint.load(tmp_path / name)
    with pytest.raises(CheckpointError, match="'other.pth' is not there"):
        checkpoint.load(tmp_path / "other.pth")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo", "folder", "null"]


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


def test_a_name_as_long_as_names_can_be(tmp_path):
    assert checkpoint.load(checkpoint.save(tmp_path / ("n" * 255), state(1)))["step"] == 1


@pytest.mark.parametrize("name", ["best", "last.pth", ".model_zoo.tar.gz.part", "resnet18.pth", ".run.pth.0123abcd.part"])
def test_nothing_else_in_the_folder_is_touched(tmp_path, name):
    (tmp_path / name).write_bytes(b"somebody else's")
    for path in ("model", "resnet50.pth", "run.pth"):
        checkpoint.save(tmp_path / path, state(1))
    assert (tmp_path / name).read_bytes() == b"somebody else's"


def test_a_tensor_that_another_thread_changes_never_leaves_a_file_that_does_not_load(tmp_path):
    """The numbers change under torch's hands: between its checksum of them and its writing of them."""
    path, tensor = checkpoint.save(tmp_path / "run.pth", state(1)), torch.zeros(4_000_000)
    going, changed = threading.Event(), 0

    def change():
        while not going.is_set():
            tensor.add_(1)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(20):
            try:
                checkpoint.save(path, {"step": 2, "model": {"w": tensor}})
            except CheckpointError as error:
                assert "the numbers of model.w changed meanwhile. Save a copy." in str(error)
                changed += 1
            assert checkpoint.load(path)["step"] in (1, 2)
    finally:
        going.set()
        thread.join()
    print(f"{changed} of 20 saves met a change")
    assert list(tmp_path.glob(PARTS)) == []


def test_a_change_between_checksum_and_writing_is_noticed(tmp_path, monkeypatch):
    path, real = checkpoint.save(tmp_path / "run.pth", state(1)), torch.save

    def torn(contents, file):
        real(contents, file)
        file.flush()
        at = Path(file.name).read_bytes().index(contents["model"]["layer.3"].numpy().tobytes())
        file.seek(at)
        file.write(b"\x07")

    monkeypatch.setattr(checkpoint.torch, "save", torn)
    changing = {"step": 2, "model": {f"layer.{k}": torch.rand(5_000) for k in range(8)}}
    with pytest.raises(CheckpointError, match="'run.pth': the numbers of model.layer.3 changed meanwhile. Save a copy."):
        checkpoint.save(path, changing)
    assert checkpoint.load(path)["step"] == 1 and list(tmp_path.glob(PARTS)) == []


TURNS = 400


def freely(path, number):
    """Saves and loads one path in turn; every load gets one whole checkpoint, no save fails."""
    for turn in range(TURNS):
        checkpoint.save(path, state(number))
        loaded = checkpoint.load(path)
        assert equal(loaded, state(loaded["step"])), turn
        checkpoint.save(path.with_name(f"own-{number}.pth"), state(number))


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_eight_savers_and_loaders_run_freely(tmp_path, kind):
    pool = {"processes": partial(ProcessPoolExecutor, mp_context=get_context("fork")), "threads": ThreadPoolExecutor}[kind]
    with pool(8) as workers:
        for future in [workers.submit(freely, tmp_path / "run.pth", number) for number in range(8)]:
            future.result()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(f"own-{k}.pth" for k in range(8)), "run.pth"])
