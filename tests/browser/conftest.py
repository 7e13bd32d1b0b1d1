"""One browser and one JupyterLab for all browser tests."""
from __future__ import annotations

import os

import pytest
from playwright.sync_api import sync_playwright

from lab import Lab, chromium, launch


@pytest.fixture(scope="session")
def browser():
    if chromium() is None:
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail("no Chromium on the PATH, and BROWSER_TESTS=required")
        pytest.skip("no Chromium on the PATH: install one (Debian: apt install chromium) to run the browser tests")
    with sync_playwright() as playwright:
        running = launch(playwright)
        yield running
        running.close()


@pytest.fixture(scope="session")
def lab(browser, tmp_path_factory):
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.stop()
