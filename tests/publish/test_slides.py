"""Decks with the network cut: no slide overflows, what moves on a page moves on a slide."""

from __future__ import annotations

import pytest
from test_site import PAGES, of

OVER = """() => { const box = Reveal.getCurrentSlide().querySelector('.fit');
    const out = [...box.querySelectorAll('*')].filter(e => e.getClientRects().length && !e.closest('pre')).filter(e => {
        const r = e.getBoundingClientRect(); return r.right > 1281 || r.bottom > 721 || r.left < -1 || r.top < -1; });
    return [box.scrollHeight, box.scrollWidth, out.map(e => e.outerHTML.slice(0, 80)), box.textContent.trim().length,
            [...box.querySelectorAll('pre')].filter(e => e.getBoundingClientRect().right > 1281).length,
            Math.min(...[...box.querySelectorAll('svg')].filter(e => e.clientHeight).map(
                e => e.getBoundingClientRect().height / e.viewBox.baseVal.height), 9)]; }"""


@pytest.mark.parametrize("name", PAGES)
def test_no_slide_overflows(page, decks, name):
    page.goto((decks / name).as_uri())
    page.wait_for_selector(".reveal.ready")
    total, seen = page.evaluate("() => Reveal.getTotalSlides()"), 0
    while True:
        height, width, out, words, cut, scale = page.evaluate(OVER)
        where = (name, page.evaluate("() => Reveal.getIndices()"))
        assert height <= 720 and width <= 1280 and out == [] and cut == 0, where
        assert words and scale >= 0.55, where
        seen += 1
        if page.evaluate("() => Reveal.isLastSlide()"):
            break
        page.keyboard.press("Space")
        page.wait_for_function("count => Reveal.getSlidePastCount() === count", arg=seen)
    assert seen == total > 10


def test_a_flipbook_moves_on_its_slide(page, decks, lessons):
    page.goto((decks / "03_inside_the_optimizer.html").as_uri())
    page.wait_for_selector(".reveal.ready")
    while not page.locator(".present .flipbook:visible").count():
        page.keyboard.press("Space")
    slide = page.evaluate("() => Reveal.getIndices()")
    page.locator(".present .flipbook:visible input").focus()
    page.keyboard.press("End")
    frames = next(iter(of(lessons, "03_inside_the_optimizer.html").flipbooks.values())).frames
    assert page.locator(".present .flipbook:visible").get_attribute("data-shown") == str(len(frames) - 1)
    assert page.evaluate("() => Reveal.getIndices()") == slide


def test_a_prediction_is_answered_on_its_slide(page, decks):
    page.goto((decks / "02_read_the_state_dict.html").as_uri())
    page.wait_for_selector(".reveal.ready")
    while not page.locator(".present .predict:visible").count():
        page.keyboard.press("Space")
    page.locator(".present .predict:visible button[data-state=right]").press("Enter")
    assert page.locator(".present .predict:visible .reply").text_content().startswith("✓ Right.")
