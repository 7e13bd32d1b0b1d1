"""Real processes, real signals: only where there are any."""

import sys

import pytest

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]


@pytest.fixture(params=["made in memory", "streamed"])
def way(request, monkeypatch):
    """Both ways in which a file is written and read, whatever its size."""
    from corpus import LIMITS
    from helpers import checkpoint

    monkeypatch.setattr(checkpoint, "SMALL", LIMITS[request.param])
    return request.param
