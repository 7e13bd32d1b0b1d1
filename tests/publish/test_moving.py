"""The README's picture: what `make refresh` draws, moving inside an `<img>`, still for who wants no motion."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from helpers import scenes
from patience import patient, until
from publish.chromium import FLAGS, chromium
from publish.moving import SECONDS, moving
from refresh import PICTURE, readme_picture

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
HOLD = """moment => Promise.all(document.querySelector('svg').getAnimations({subtree: true}).map(each => {
    each.pause(); each.currentTime = moment; return each.ready; }))"""
SEEN = """() => [...document.querySelectorAll('svg text')].filter(e => getComputedStyle(e).visibility === 'visible')
    .map(e => e.textContent)"""


def words(frame):
    return [element.text for element in ElementTree.fromstring(frame).iter("{http://www.w3.org/2000/svg}text")]


def test_the_stored_picture_is_the_one_that_refresh_draws():
    assert PICTURE.read_text(encoding="utf-8") == readme_picture()
    assert PICTURE.stat().st_size < 150_000
    alt = re.search(r"!\[([^]]+)\]\(docs/photograph\.svg\)", README)[1]
    assert alt.startswith("Twenty training steps") and "<script" not in readme_picture()


def test_it_shows_each_frame_in_its_turn_and_nothing_of_another(browser):
    page = patient(browser, reduced_motion="no-preference").new_page()
    page.set_content(readme_picture())
    frames = [words(frame.svg) for frame in scenes.photograph_frames()]
    for number, frame in [*enumerate(frames), (len(frames) + 2, frames[-1])]:
        page.evaluate(HOLD, 1000 * SECONDS * (number + 0.5))
        assert sorted(page.evaluate(SEEN)) == sorted(frame), number
    page.context.close()


def test_it_stands_still_on_one_frame_for_who_wants_no_motion(browser):
    page = patient(browser, reduced_motion="reduce").new_page()
    page.set_content(readme_picture())
    assert page.evaluate(SEEN) == words(scenes.photograph_frames()[12].svg)
    page.context.close()


@pytest.mark.parametrize("flag, moves", [("--no-sandbox", True), ("--force-prefers-reduced-motion", False)])
def test_it_moves_inside_an_image_too(browser, tmp_path, flag, moves):
    another = browser.browser_type.launch(executable_path=chromium(), args=[*FLAGS, flag])
    page = patient(another, viewport={"width": 1003, "height": 444}).new_page()
    (tmp_path / "page.html").write_text(f"<img src='{PICTURE.as_uri()}' style='position:fixed;inset:0'>")
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_function("() => document.querySelector('img').complete")
    first = page.screenshot()
    if moves:
        until(lambda: page.screenshot() != first)
    else:
        page.wait_for_timeout(4000 * SECONDS)
        assert page.screenshot() == first
    another.close()


def test_frames_of_another_build_are_refused():
    frames = [frame.svg for frame in scenes.photograph_frames(1)]
    with pytest.raises(ValueError, match=r"Got frames of \[103, 104\] elements"):
        moving([frames[0], re.sub(r"<circle[^>]*/>", "", frames[1], count=1)], 0, "title", "alt")
