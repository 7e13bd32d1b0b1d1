"""One JupyterLab for all browser tests."""

from __future__ import annotations

import pytest

from lab import JupyterLab


@pytest.fixture(scope="session")
def lab(browser, tmp_path_factory):
    server = JupyterLab(tmp_path_factory.mktemp("lab"))
    yield server
    server.stop()
