"""A real class on this machine: needs root and Linux, since it makes system users."""

from __future__ import annotations

import asyncio
import os
import pwd
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
sys.path.insert(0, str(DEPLOY))

PREFIX, USERS = "classtest", 3
ONE, TWO, THREE = (f"{PREFIX}{number:02d}" for number in (1, 2, 3))


def classroom(*arguments):
    """What `classroom.py` answers to that."""
    return subprocess.run([sys.executable, str(DEPLOY / "classroom.py"), *arguments], capture_output=True, text=True)


def play(story):
    """Runs a story to its end, in a thread of its own: the browser's tests keep a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, story).result()


def hub_of(room):
    """The process of JupyterHub."""
    return next(child for child in psutil.Process(room.process.pid).children() if "jupyterhub_config" in str(child.cmdline()))


def uid(name):
    """The learner's user id."""
    return pwd.getpwnam(name).pw_uid


async def a_visitor(room, number):
    """A learner who is in, with a kernel."""
    visitor = room.visitor(number)
    await visitor.log_in()
    await visitor.start_kernel("02_read_the_state_dict")
    return visitor


@pytest.fixture(scope="session")
def room(reachable):
    import checks
    from benchmarks.room import OpenClass

    if not checks.PROXY.exists():
        pytest.skip("the class's proxy is not installed: npm ci --prefix deploy/proxy")
    instructor, terminal = os.openpty()
    opened = OpenClass(USERS, PREFIX, 18200, "--memory=1200", "--cores=0.8", "--disk=64", "--progress")
    opened.stdin = terminal
    with opened:
        yield opened
    os.close(instructor)
    os.close(terminal)
    assert opened.process.returncode == 0 and not opened.left, f"the class did not end by itself: {opened.left}"
