"""A real class on this machine: needs root and Linux, since it makes system users."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
sys.path.insert(0, str(DEPLOY))

PREFIX, USERS = "classtest", 3


@pytest.fixture(scope="session")
def room(reachable):
    from measure import OpenClass

    subprocess.run(
        [sys.executable, str(DEPLOY / "classroom.py"), f"--users={USERS}", f"--prefix={PREFIX}", "--remove"], check=True
    )
    with OpenClass(USERS, PREFIX, 18200, "--memory=1200") as opened:
        yield opened
    assert opened.process.returncode == 0 and not opened.left, f"the class did not end by itself: {opened.left}"
