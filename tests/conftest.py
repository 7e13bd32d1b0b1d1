"""What several layers share: patience, one browser for all tests of a run, the way to this tree for other users."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    from publish.chromium import chromium, launch

    if chromium() is None:
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail("no Chromium on the PATH, and BROWSER_TESTS=required")
        pytest.skip("no Chromium on the PATH: install one (Debian: apt install chromium) to run the browser tests")
    with sync_playwright() as playwright:
        running = launch(playwright)
        yield running
        running.close()


@pytest.fixture
def warm_python(monkeypatch):
    """Programs that a test starts begin with torch imported, where `tests/run.py` has such a Python: see `warm.py`."""
    monkeypatch.setattr(sys, "executable", os.environ.get("WARM_PYTHON", sys.executable))


@pytest.fixture(scope="session")
def reachable() -> Iterator[None]:
    """As root on Linux: opens the way to Python and the lessons for other users; whoever leaves last closes it again.

    Two layers may want it at once: each holds a lock on one file, which says how the folders were.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("to become another user takes root on Linux")
    import fcntl

    with open("/run/what-a-model-remembers-way", "a+") as way:
        fcntl.flock(way, fcntl.LOCK_SH)
        for path in (Path(sys.executable).resolve(), ROOT / "notebooks"):
            for folder in (path, *path.parents):
                mode = stat.S_IMODE(folder.stat().st_mode)
                if not mode & 0o001:
                    print(mode, folder, file=way, flush=True)
                    folder.chmod(mode | 0o001)
        yield
        with suppress(BlockingIOError):
            fcntl.flock(way, fcntl.LOCK_EX | fcntl.LOCK_NB)
            way.seek(0)
            for mode, folder in (line.rstrip("\n").split(" ", 1) for line in way):
                if os.path.exists(folder):
                    os.chmod(folder, int(mode))
            way.truncate(0)
