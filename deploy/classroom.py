"""Opens a class on this machine: a system user, a home and a key for each learner, and JupyterHub; looks at it, and ends it.

`make class USERS=30` calls it. Needs root; touches only users that it made, and its own folder.
"""

from __future__ import annotations

import argparse
import fcntl
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import accounts
from limits import Groups

ROOT = Path(__file__).resolve().parents[1]
PROXY = Path(__file__).parent / "proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
OWN = {"hub", "hub.log", "homes", "images", "keys.json", "lessons", "room.json"}
RANGES = {
    "users": (1, 300, 0, "number of learners"),
    "port": (1024, 65_533, 8000, "port; the two after it are used inside"),
    "memory": (1000, 1_000_000, 2000, "MB of memory of one learner, files in /tmp included"),
    "cores": (0.1, 1000.0, 1.0, "cores that one learner may keep busy"),
    "processes": (50, 10_000, 200, "processes and threads of one learner"),
    "disk": (32, 1_000_000, 1000, "MB of one learner's home; taken at the start"),
    "threads": (1, 1000, 1, "threads that torch takes in one kernel"),
    "idle": (60, 1_000_000, 3600, "seconds after which an idle server is stopped"),
}


def options(arguments: list[str]) -> argparse.Namespace:
    """What the instructor may choose."""
    parser = argparse.ArgumentParser(description="A class on one machine.")
    for name, (least, most, usual, words) in RANGES.items():
        parser.add_argument(f"--{name}", type=type(least), default=usual, help=f"{words}, {least} to {most}; else {usual}")
    parser.add_argument("--prefix", default="learner", help="learners are called learner01, learner02, …")
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen at; loopback unless told otherwise")
    parser.add_argument("--domain", default="", help="name of the class; each learner gets a name below it")
    parser.add_argument("--cert", type=Path, help="certificate for the domain and all names below it")
    parser.add_argument("--key", type=Path, help="its private key")
    parser.add_argument("--behind-tls", default="", help="name of the proxy with TLS that stands in front instead")
    parser.add_argument("--run", type=Path, default=Path("/var/lib") / accounts.MARK, help="the class's own folder")
    parser.add_argument("--no-limits", action="store_true", help="trust the learners: no control groups, no namespaces")
    does = parser.add_mutually_exclusive_group()
    does.add_argument("--status", action="store_true", help="who is in, and what each takes")
    does.add_argument("--stop", metavar="LEARNER", help="end a learner's server, or everybody's: all")
    does.add_argument("--new-key", metavar="LEARNER", help="a new key for one who lost theirs; the old one ends")
    does.add_argument("--remove", action="store_true", help="delete the learners and all their files")
    return parser.parse_args(arguments)


def refusal(chosen: argparse.Namespace) -> str | None:
    """Why what is asked can not be, and what to do; None if it can."""
    if os.geteuid() != 0:
        return "Got no root rights; wanted them, to make system users. Use sudo."
    if not re.fullmatch(r"[a-z][a-z_]{2,20}", chosen.prefix):
        return f"Got the prefix {chosen.prefix!r}; wanted 3 to 21 small letters."
    for folder in chosen.run.absolute().parents:
        if folder.exists() and (folder.stat().st_uid != 0 or folder.stat().st_mode & 0o022 or folder.is_symlink()):
            return f"The class's folder lies in {folder}, which not only root can change. Choose another --run."
    if chosen.run.is_symlink() or (chosen.run.exists() and not {path.name for path in chosen.run.iterdir()} <= OWN):
        return f"{chosen.run} holds what no class made. Choose another --run."
    return None


def unsafe(chosen: argparse.Namespace) -> str | None:
    """Why the class can not be opened in such a room."""
    tls = bool(chosen.cert and chosen.key) or bool(chosen.behind_tls)
    try:
        loopback = ipaddress.IPv4Address(chosen.bind).is_loopback
    except ValueError:
        return f"Got BIND={chosen.bind}; wanted an address such as 127.0.0.1 or 0.0.0.0."
    if not (loopback or (chosen.domain and tls)) or (chosen.domain and not tls):
        return (
            "Whoever listens to a room needs a name for each learner, and TLS. Say one of:\n"
            "  make class USERS=30 BIND=0.0.0.0 DOMAIN=class.school.example CERT=full.pem KEY=private.pem\n"
            "  make class USERS=30 DOMAIN=class.school.example BEHIND_TLS=caddy"
        )
    if not re.fullmatch(r"([a-z0-9-]+\.)+[a-z0-9-]+", chosen.domain or "a.b"):
        return f"Got DOMAIN={chosen.domain}; wanted a name such as class.school.example."
    lost = [path for path in (chosen.cert, chosen.key) if path and not path.is_file()]
    return f"There is no file {lost[0]}." if lost else None


def lacking(chosen: argparse.Namespace, names: list[str]) -> str | None:
    """What the class would miss on this machine."""
    for name, (least, most, _, words) in RANGES.items():
        if not least <= getattr(chosen, name) <= most:
            return f"Got {name.upper()}={getattr(chosen, name)} ({words}); wanted {least} to {most}."
    for path in (Path(sys.executable).resolve(), ROOT / "notebooks", chosen.run.absolute().parent):
        for folder in filter(Path.exists, (path, *path.parents)):
            if not os.stat(folder).st_mode & 0o001:
                return f"Learners can not reach {path}: {folder} is closed to them. Clone into /srv, use a Python outside it."
    if not PROXY.exists() or not shutil.which("node"):
        return "The class's proxy needs Node.js 18 or newer. On Debian or Ubuntu: apt install npm, then make class again."
    if taken := accounts.stranger(names, chosen.run):
        return f"There is a user {taken} that no class in {chosen.run} made. Choose another --prefix."
    if used := [port for port in range(chosen.port, chosen.port + 3) if in_use(chosen.bind, port)]:
        return f"Port {used[0]} is in use. Choose another CLASS_PORT; the two after it are needed too."
    new = sum(not (chosen.run / "images" / name).exists() for name in names)
    free = shutil.disk_usage(next(folder for folder in chosen.run.absolute().parents if folder.exists())).free >> 20
    if new * chosen.disk + 500 > free:
        return f"{new} homes of {chosen.disk} MB do not fit into {free} MB. Take fewer, or CLASS_FLAGS=--disk=100."
    absent = None if chosen.no_limits else Groups.of_this_machine(accounts.MARK + ".probe").missing()
    return absent and f"Nothing holds a learner here: {absent} is missing. --no-limits opens a class for people you trust."


def in_use(address: str, port: int) -> bool:
    """Whether somebody listens there, or nobody may."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return True
    return False


def alone(run: Path) -> bool:
    """Whether no other class has this folder; from now on this one has it, until it ends."""
    name = f"{accounts.MARK}{str(run.absolute()).replace('/', '-')}.lock"
    try:
        fcntl.flock(os.open(f"/run/{name}", os.O_CREAT | os.O_RDWR, 0o600), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def end(run: Path) -> list[str]:
    """Ends what learners of this folder still run, and every token and session; who could not be ended."""
    groups = Groups(json.loads((run / "room.json").read_text())["groups"] if (run / "room.json").exists() else {})
    left = [name for name, uid in accounts.of_class(run).items() if not groups.end(name, uid)]
    shutil.rmtree(run / "hub", ignore_errors=True)
    return left


def prepare(chosen: argparse.Namespace, names: list[str]) -> dict[str, object]:
    """Lessons, users, homes and keys, as far as they are not there yet; what the hub has to know."""
    run, label = chosen.run, f"{accounts.MARK}.{chosen.prefix}"
    for folder, mode in ((run, 0o711), (run / "homes", 0o711), (run / "images", 0o700), (run / "hub", 0o700)):
        folder.mkdir(mode=mode, exist_ok=True)
        folder.chmod(mode)
    shutil.rmtree(run / "lessons", ignore_errors=True)
    for name in ("notebooks", "docs"):
        shutil.copytree(ROOT / name, run / "lessons" / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    subprocess.run(["chmod", "-R", "a+rX,go-w", str(run / "lessons")], check=True)
    ids = accounts.new_ids()
    for name in names:
        accounts.make(name, run, ids, None if chosen.no_limits else chosen.disk)
    host, scheme = chosen.domain or "class.localhost", "https" if chosen.domain else "http"
    port = "" if chosen.behind_tls or (scheme, chosen.port) == ("https", 443) else f":{chosen.port}"
    room = {which: getattr(chosen, which) for which in (*RANGES, "bind")}
    room |= {"run": str(run), "label": label, "url": f"{scheme}://{host}{port}", "proxy": str(PROXY), "learners": names}
    room |= {"cert": str(chosen.cert or ""), "key": str(chosen.key or ""), "limits": not chosen.no_limits}
    room["groups"] = {} if chosen.no_limits else Groups.of_this_machine(label).places
    (run / "room.json").write_text(json.dumps(room))
    return room


def hold(chosen: argparse.Namespace, room: dict[str, object]) -> int:
    """Runs the hub until it ends, by Control-C, a signal or itself, and then ends all that is left of the class."""
    bin_folder = Path(sys.executable).parent
    command = ["setpriv", "--pdeathsig=TERM", str(bin_folder / "jupyterhub"), "--config"]
    with open(chosen.run / "hub.log", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
        hub = subprocess.Popen(
            [*command, str(Path(__file__).with_name("jupyterhub_config.py"))],
            cwd=chosen.run / "hub",
            env=os.environ | {"CLASS_ROOM": json.dumps(room)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, lambda *_: hub.terminate())
    code = hub.wait()
    left = end(chosen.run)
    if code or left:
        print(
            f"The hub ended with {code}; see {chosen.run}/hub.log. Still at work: {', '.join(left) or 'nobody'}.",
            file=sys.stderr,
        )
    return 1 if code or left else 0


def status(groups: Groups, learners: dict[str, int]) -> None:
    """A line for each learner who is in: processes, memory, and the cores kept busy in the last second."""
    before = {name: groups.use(name)[1] for name in learners}
    time.sleep(1)
    print(f"{'learner':22}{'processes':>10}{'memory':>10}{'cores':>8}")
    for name, uid in learners.items():
        if count := len(groups.processes(name, uid)):
            memory, seconds = groups.use(name)
            print(f"{name:22}{count:10}{memory >> 20:7} MB{max(seconds - before[name], 0):8.2f}")


def removed(run: Path) -> int:
    """Deletes the learners, their files and all that the class made."""
    if left := end(run):
        raise ValueError(f"Still at work: {', '.join(left)}; nothing was removed.")
    for name in accounts.of_class(run):
        accounts.remove(name, run)
    shutil.rmtree(run, ignore_errors=True)
    return 0


def manage(chosen: argparse.Namespace) -> int:
    """Looks at a class, ends a learner's server, or gives a new key, which ends the server too."""
    run, learners = chosen.run, accounts.of_class(chosen.run)
    name = chosen.stop or chosen.new_key
    if name not in (None, "all", *learners) or not (run / "room.json").exists():
        raise ValueError(f"There is no {name or 'class'} in {run}.")
    groups = Groups(json.loads((run / "room.json").read_text())["groups"])
    if chosen.status:
        status(groups, learners)
    if chosen.new_key:
        print(f"{name}  {accounts.give_keys([name], run / 'keys.json')[name]}")
    ended = [groups.end(one, learners[one]) for one in learners if name in (one, "all")]
    return 0 if all(ended) else 1


def main(arguments: list[str]) -> int:
    """Opens the class and stays until it is ended by Control-C or a signal; or does what else is asked."""
    chosen = options(arguments)
    os.umask(0o077)
    manages = chosen.status or chosen.stop or chosen.new_key
    names = [f"{chosen.prefix}{k:02d}" for k in range(1, chosen.users + 1)]
    wrong = refusal(chosen) or (not manages and not chosen.remove and unsafe(chosen)) or None
    if not wrong and not manages and not alone(chosen.run):
        wrong = f"A class is open in {chosen.run}. End it first, or choose another --run."
    try:
        if wrong or manages or chosen.remove:
            return fail(wrong) if wrong else manage(chosen) if manages else removed(chosen.run)
        if left := end(chosen.run):
            return fail(f"Still at work: {', '.join(left)}.")
        if wrong := lacking(chosen, names):
            return fail(wrong)
        room = prepare(chosen, names)
        known = json.loads((chosen.run / "keys.json").read_text()) if (chosen.run / "keys.json").exists() else {}
        for name, key in accounts.give_keys([name for name in names if name not in known], chosen.run / "keys.json").items():
            print(f"{name}  {key}")
        print(f"{len(names)} learners; keys are shown once, above, when they are new.\n{room['url']}", flush=True)
        return hold(chosen, room)
    except ValueError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        return fail("Stopped before the class was open; the next start goes on from here.")


def fail(sentence: str) -> int:
    """Says why."""
    print(sentence, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
