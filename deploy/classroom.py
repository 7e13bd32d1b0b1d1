"""Opens a class on this machine: a system user, a copy of the lessons and a key for each learner, and JupyterHub.

`make class USERS=30` calls it, with CLASS_PASSWORD in the environment. Needs root; touches only users of its own prefix.
"""

from __future__ import annotations

import argparse
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from learners import key_of

ROOT = Path(__file__).resolve().parents[1]
MARK = "what-a-model-remembers"


def options(arguments: list[str]) -> argparse.Namespace:
    """What the instructor may choose."""
    parser = argparse.ArgumentParser(description="A class on one machine.")
    parser.add_argument("--users", type=int, required=True, help="number of learners, 1 to 300")
    parser.add_argument("--prefix", default="learner", help="learners are called learner01, learner02, …")
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen at; loopback unless told otherwise")
    parser.add_argument("--port", type=int, default=8000, help="port; the two after it are used inside")
    parser.add_argument("--memory", type=int, default=2000, help="MB of memory of one learner")
    parser.add_argument(
        "--cores", type=float, default=1.5, help="busy cores above which a learner is held on one, at the lowest priority"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads that torch takes in one kernel")
    parser.add_argument("--idle", type=int, default=3600, help="seconds after which an idle server is stopped")
    parser.add_argument("--run", type=Path, default=Path("/var/lib/what-a-model-remembers"), help="the hub's own folder")
    parser.add_argument("--remove", action="store_true", help="delete the learners and all their files instead")
    return parser.parse_args(arguments)


def refusal(chosen: argparse.Namespace) -> str | None:
    """Why the class can not be opened so, and what to do; None if it can."""
    if os.geteuid() != 0:
        return "Got no root rights; wanted them, to make system users. Use sudo."
    if not 1 <= chosen.users <= 300:
        return f"Got USERS={chosen.users}; wanted 1 to 300."
    if not re.fullmatch(r"[a-z][a-z_]{2,20}", chosen.prefix):
        return f"Got the prefix {chosen.prefix!r}; wanted 3 to 21 small letters."
    if chosen.remove:
        return None
    if len(os.environ.get("CLASS_PASSWORD", "")) < 12:
        return "Got no CLASS_PASSWORD of at least 12 characters; it has no default. Set it in the environment."
    if chosen.memory < 1000:
        return f"Got {chosen.memory} MB; wanted at least 1000: a lesson's kernel takes up to 800."
    for path in (Path(sys.executable).resolve(), ROOT / "notebooks"):
        for folder in (path, *path.parents):
            if not os.stat(folder).st_mode & 0o001:
                return (
                    f"Learners can not reach {path}: {folder} is closed to them. Clone into /srv and use a Python outside it."
                )
    return None


def account(name: str) -> pwd.struct_passwd:
    """The system user of that name, made if it is not there. Raises ValueError if it is somebody else's."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        subprocess.run(
            ["useradd", "--create-home", "--user-group", "--comment", MARK, "--shell", "/usr/sbin/nologin", name], check=True
        )
        found = pwd.getpwnam(name)
    if found.pw_gecos != MARK:
        raise ValueError(f"There is a user {name} that no class made. Choose another --prefix.")
    os.chmod(found.pw_dir, 0o700)
    return found


def give_lessons(to: pwd.struct_passwd) -> None:
    """A copy of the lessons in the learner's home, trusted; one that is there already stays as it is."""
    for name in ("notebooks", "docs"):
        target = Path(to.pw_dir) / name
        if not target.exists():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
            subprocess.run(["chown", "-R", f"{to.pw_uid}:{to.pw_gid}", str(target)], check=True)
    books = [str(path) for path in (Path(to.pw_dir) / "notebooks").rglob("*.ipynb")]
    subprocess.run(
        [str(Path(sys.executable).parent / "jupyter"), "trust", *books],
        check=True,
        user=to.pw_uid,
        group=to.pw_gid,
        extra_groups=[],
        cwd=to.pw_dir,
        stdout=subprocess.DEVNULL,
        env={"HOME": to.pw_dir, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
    )


def remove(names: list[str]) -> list[str]:
    """Deletes the learners of a class that has ended, with their files; other users stay. Returns those still at work."""
    there = [name for name in names if any(user.pw_name == name and user.pw_gecos == MARK for user in pwd.getpwall())]
    return [name for name in there if subprocess.run(["userdel", "--remove", name], stderr=subprocess.DEVNULL).returncode]


def main(arguments: list[str]) -> int:
    """Opens the class and stays until it is ended by Control-C or a signal."""
    chosen = options(arguments)
    wrong = refusal(chosen)
    if wrong:
        print(wrong, file=sys.stderr)
        return 1
    names = [f"{chosen.prefix}{k:02d}" for k in range(1, chosen.users + 1)]
    if chosen.remove:
        left = remove(names)
        if left:
            print(f"Still at work: {', '.join(left)}. End the class first.", file=sys.stderr)
        return 1 if left else 0
    chosen.run.mkdir(parents=True, exist_ok=True)
    chosen.run.chmod(0o700)
    keys = []
    for name in names:
        give_lessons(account(name))
        keys.append(f"{name}  {key_of(os.environ['CLASS_PASSWORD'], name)}\n")
    sheet = chosen.run / "keys.txt"
    sheet.touch(mode=0o600)
    sheet.write_text("".join(keys), encoding="utf-8")
    print(f"{len(names)} learners; their names and keys are in {sheet}.\nhttp://{chosen.bind}:{chosen.port}", flush=True)
    os.environ.update(
        CLASS_RUN=str(chosen.run),
        CLASS_LEARNERS=" ".join(names),
        CLASS_URL=f"http://{chosen.bind}:{chosen.port}",
        CLASS_HUB_PORT=str(chosen.port + 1),
        CLASS_PROXY_PORT=str(chosen.port + 2),
        CLASS_MEMORY_MB=str(chosen.memory),
        CLASS_CORES=str(chosen.cores),
        CLASS_THREADS=str(chosen.threads),
        CLASS_IDLE_SECONDS=str(chosen.idle),
    )
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.chdir(chosen.run)
    hub = Path(sys.executable).parent / "jupyterhub"
    os.execv(hub, [str(hub), "--config", str(Path(__file__).with_name("jupyterhub_config.py"))])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
