"""What several layers share: one browser for all tests of a run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "browser"))


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
