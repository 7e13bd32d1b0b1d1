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
def once(tmp_path_factory, worker_id):
    """`once(name, make)`: what `make` made in a folder of that name; with two workers one makes it and the other waits."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def made(name, make):
        out = shared / name
        with FileLock(shared / f"{name}.lock"):
            if not out.exists():
                make(part := shared / f"{name}.part")
                part.rename(out)
        return out

    return made


@pytest.fixture(scope="session")
def lessons(once):
    """The lessons, run once."""
    kept = once("lessons.pickle", lambda out: out.write_bytes(pickle.dumps(read.read_all())))
    return pickle.loads(kept.read_bytes())


@pytest.fixture(scope="session")
def site(lessons, once):
    return once("site", lambda out: build_site.build(lessons, out))


@pytest.fixture(scope="session")
def decks(lessons, once):
    return once("slides", lambda out: build_slides.build(lessons, out))


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
