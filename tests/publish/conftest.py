"""Site and decks, built once from one run of the lessons, in a browser whose network is cut."""

from __future__ import annotations

import pickle

import pytest
from filelock import FileLock

from patience import patient
from publish import lessons as read
from publish import site as build_site
from publish import slides as build_slides


@pytest.fixture(scope="session")
def lessons(tmp_path_factory, worker_id):
    """The lessons, run once; with two workers one runs them and the other waits."""
    if worker_id == "master":
        return read.read_all()
    kept = tmp_path_factory.getbasetemp().parent / "lessons.pickle"
    with FileLock(f"{kept}.lock"):
        if not kept.exists():
            kept.write_bytes(pickle.dumps(read.read_all()))
    return pickle.loads(kept.read_bytes())


@pytest.fixture(scope="session")
def site(lessons, tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    build_site.build(lessons, out)
    return out


@pytest.fixture(scope="session")
def decks(lessons, tmp_path_factory):
    out = tmp_path_factory.mktemp("slides")
    build_slides.build(lessons, out)
    return out


@pytest.fixture
def page(browser):
    context = patient(browser, viewport={"width": 1280, "height": 720}, offline=True)
    page = context.new_page()
    page.said = []
    page.on("console", lambda message: page.said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.said.append(request.url) if request.url.startswith("http") else None)
    yield page
    context.close()
    assert page.said == []
