"""The system users of a class, their homes, and what is left of them when they are removed."""

from __future__ import annotations

import base64
import grp
import hashlib
import json
import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

MARK = "what-a-model-remembers"
OPEN_TO_ALL = ("/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/var/crash", "/var/spool", "/var/mail", "/home")


def of_class(run: Path) -> dict[str, int]:
    """Name → user id of those whom a class with this folder made."""
    return {
        user.pw_name: user.pw_uid
        for user in pwd.getpwall()
        if user.pw_gecos == MARK and Path(user.pw_dir).parent == run / "homes"
    }


def stranger(names: list[str], run: Path) -> str | None:
    """The first of these names that is somebody else's already; None if there is none."""
    taken = {user.pw_name for user in pwd.getpwall()} - of_class(run).keys()
    return next((name for name in names if name in taken), None)


def owners() -> set[int]:
    """The user ids that own a file where everybody may write."""
    find = ["find", *filter(os.path.isdir, OPEN_TO_ALL), "-xdev", "-printf", "%U\\n"]
    return {int(line) for line in subprocess.run(find, capture_output=True, text=True).stdout.split()}


def new_ids() -> Iterator[int]:
    """User ids that nobody has, and that own nothing that was left behind."""
    used = {user.pw_uid for user in pwd.getpwall()} | {group.gr_gid for group in grp.getgrall()} | owners()
    return (uid for uid in range(20_000, 60_000) if uid not in used)


def make(name: str, run: Path, ids: Iterator[int], megabytes: int | None) -> None:
    """The system user and an empty home: a file with a file system of so many MB, or a plain folder if that is None."""
    home, image = run / "homes" / name, run / "images" / name
    if name not in of_class(run):
        new = ["useradd", "--no-create-home", "--user-group", "--comment", MARK, "--shell", "/usr/sbin/nologin"]
        subprocess.run([*new, "--home-dir", str(home), "--uid", str(next(ids)), name], check=True)
    uid = pwd.getpwnam(name).pw_uid
    if not home.exists():
        home.mkdir(mode=0o700)
        os.chown(home, uid, uid)
    if megabytes and not image.exists():
        new = image.with_suffix(".new")
        new.write_bytes(b"")
        os.truncate(new, megabytes << 20)
        subprocess.run(
            ["mkfs.ext4", "-q", "-m", "0", "-E", f"nodiscard,lazy_itable_init=0,root_owner={uid}:{uid}", str(new)], check=True
        )
        subprocess.run(["debugfs", "-wR", "rmdir lost+found", str(new)], check=True, stderr=subprocess.DEVNULL)
        subprocess.run(["fallocate", "--length", f"{megabytes}MiB", str(new)], check=True)
        new.rename(image)


def give_keys(names: list[str], file: Path, again: bool = True) -> dict[str, str]:
    """Random keys of 80 bits, of which only seals are kept: for these learners, or if not `again` for those without one."""
    seals = json.loads(file.read_text()) if file.exists() else {}
    wanted = [name for name in names if again or name not in seals]
    new = {name: base64.b32encode(secrets.token_bytes(10)).decode().lower() for name in wanted}
    fresh = file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(seals | {name: seal(key) for name, key in new.items()}))
    fresh.rename(file)
    return new


def seal(key: str) -> str:
    """What is kept of a key. A plain hash is enough for 80 random bits, and leaves a flood of log-ins nothing to burn."""
    return hashlib.sha256(key.strip().lower().encode()).hexdigest()


def remove(name: str, run: Path) -> None:
    """Deletes a learner who runs nothing any more: home, files elsewhere, system user."""
    uid = of_class(run)[name]
    shutil.rmtree(run / "homes" / name, ignore_errors=True)
    (run / "images" / name).unlink(missing_ok=True)
    subprocess.run(
        ["find", *filter(os.path.isdir, OPEN_TO_ALL), "-xdev", "-uid", str(uid), "-delete"], stderr=subprocess.DEVNULL
    )
    if uid in owners():
        raise ValueError(f"{name} owns files outside the home that can not be deleted; the user stays, and so does its id.")
    subprocess.run(["userdel", name], check=True)
