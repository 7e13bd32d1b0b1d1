"""One JupyterLab for all browser tests."""

from __future__ import annotations

import pytest

from lab import Lab


@pytest.fixture(scope="session")
def lab(browser, tmp_path_factory):
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.stop()
