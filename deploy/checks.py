"""Why a class can not be opened so, in one sentence and before anything is changed. Each check raises ValueError."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import shutil
import socket
import sys
from pathlib import Path

import accounts
from limits import Groups

ROOT = Path(__file__).resolve().parents[1]
PROXY = Path(__file__).parent / "proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
OWN = {"hub", "hub.log", "homes", "images", "keys.json", "lessons", "progress.json", "progress.sock", "room.json"}
OWN_TO_EACH = ("/tmp", "/var/tmp", "/dev/shm")
RANGES = {
    "users": (1, 300, 0, "number of learners"),
    "port": (1, 65_533, 8000, "port; the two after it are used inside"),
    "memory": (1000, 1_000_000, 2000, "MB of memory of one learner, files in /tmp included"),
    "cores": (0.1, 1000.0, 1.0, "cores that one learner may keep busy"),
    "processes": (50, 10_000, 200, "processes and threads of one learner"),
    "disk": (32, 1_000_000, 1000, "MB of one learner's home, taken at the start"),
    "threads": (1, 1000, 1, "threads that torch takes in one kernel"),
    "idle": (60, 1_000_000, 3600, "seconds after which an idle server is stopped"),
}
TLS = """Whoever listens to a room needs a name for each learner, and TLS. Say one of:
  make class USERS=30 BIND=0.0.0.0 DOMAIN=class.school.example CERT=full.pem KEY=private.pem
  make class USERS=30 DOMAIN=class.school.example BEHIND_TLS=caddy"""


def refuse(when: object, sentence: str) -> None:
    """Raises ValueError with the sentence when that is so."""
    if when:
        raise ValueError(sentence)


def folder(run: Path, prefix: str) -> None:
    """Who may do anything here, and where a class may keep what it makes."""
    refuse(os.geteuid() != 0, "Got no root rights; wanted them, to make system users. Use sudo.")
    refuse(not re.fullmatch(r"[a-z][a-z_]{2,20}", prefix), f"Got the prefix {prefix!r}; wanted 3 to 21 small letters.")
    for above in filter(Path.exists, run.parents):
        others = above.is_symlink() or above.stat().st_uid != 0 or above.stat().st_mode & 0o022
        refuse(others, f"The class's folder lies in {above}, which not only root can change. Choose another --run.")
    foreign = run.is_symlink() or (run.exists() and {path.name for path in run.iterdir()} - OWN)
    refuse(foreign, f"{run} holds what no class made. Choose another --run.")


def room(chosen: argparse.Namespace) -> None:
    """Numbers that make sense, and a room in which nobody reads along."""
    for name, (least, most, _, words) in RANGES.items():
        got = getattr(chosen, name)
        refuse(not least <= got <= most, f"Got {name.upper()}={got} ({words}); wanted {least} to {most}.")
    tls, domain = bool(chosen.cert and chosen.key) or bool(chosen.behind_tls), chosen.domain
    try:
        loopback = ipaddress.IPv4Address(chosen.bind).is_loopback
    except ValueError:
        raise ValueError(f"Got BIND={chosen.bind}; wanted an address such as 127.0.0.1 or 0.0.0.0.") from None
    refuse(not tls if domain else not loopback, TLS)
    named = re.fullmatch(r"([a-z0-9-]+\.)+[a-z0-9-]+", domain or "a.b")
    refuse(not named, f"Got DOMAIN={domain}; wanted a name such as class.school.example.")
    for file in filter(None, (chosen.cert, chosen.key)):
        refuse(not file.is_file(), f"There is no file {file}.")


def machine(chosen: argparse.Namespace, names: list[str]) -> None:
    """What the class needs of this machine."""
    for path in (ROOT, Path(sys.prefix)):
        hidden = [place for place in OWN_TO_EACH if path.is_relative_to(place) and not chosen.no_limits]
        refuse(hidden, f"Learners can not reach {path}: each has another {''.join(hidden)}. Clone into /srv.")
    for path in (Path(sys.executable).resolve(), ROOT / "notebooks", chosen.run.parent):
        for above in filter(Path.exists, (path, *path.parents)):
            way = f"Learners can not reach {path}: {above} is closed to them. Clone into /srv, use a Python outside it."
            refuse(not above.stat().st_mode & 0o001, way)
    node = "The class's proxy needs Node.js 18 or newer. On Debian or Ubuntu: apt install npm, then make class again."
    refuse(not PROXY.exists() or not shutil.which("node"), node)
    taken = accounts.stranger(names, chosen.run)
    refuse(taken, f"There is a user {taken} that no class in {chosen.run} made. Choose another --prefix.")
    for port in range(chosen.port, chosen.port + 3):
        used = f"Port {port} is in use. Choose another CLASS_PORT; the two after it are needed too."
        refuse(in_use(chosen.bind if port == chosen.port else "127.0.0.1", port), used)
    if chosen.no_limits:
        return
    new = sum(not (chosen.run / "images" / name).exists() for name in names)
    free = shutil.disk_usage(next(filter(Path.exists, chosen.run.parents))).free >> 20
    full = f"{new} homes of {chosen.disk} MB do not fit into {free} MB. Take fewer, or CLASS_FLAGS=--disk=100."
    refuse(new * chosen.disk + 500 > free, full)
    absent = Groups.of_this_machine(accounts.MARK + ".probe").missing()
    refuse(absent, f"Nothing holds a learner here: {absent} is missing. --no-limits opens a class for people you trust.")


def in_use(address: str, port: int) -> bool:
    """Whether somebody listens there, or nobody may."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return True
    return False
