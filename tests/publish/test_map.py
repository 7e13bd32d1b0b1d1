"""The map of lesson 00 as a browser draws it: every box says something, no word touches its frame, no lesson is missing."""

from __future__ import annotations

import re
from pathlib import Path

from helpers import scenes
from patience import patient

LESSONS = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
BOXES = """() => { const card = document.querySelector('svg > rect'), of = e => { const b = e.getBBox();
        return [b.x, b.y, b.x + b.width, b.y + b.height]; };
    const large = e => e.getBBox().width > 100 && e.getBBox().height > 60 && e !== card;
    return [[...document.querySelectorAll('svg > rect, svg > path')].filter(large).map(of), of(card),
            [...document.querySelectorAll('svg > text')].map(e => [e.textContent, ...of(e)])]; }"""


def measured(browser):
    page = patient(browser).new_page()
    page.set_content(scenes.journey().svg)
    found = page.evaluate(BOXES)
    page.context.close()
    return found


def test_every_box_says_something_and_no_word_touches_a_frame(browser):
    boxes, card, words = measured(browser)
    inside = {tuple(box): [] for box in boxes}
    for text, left, top, right, bottom in words:
        for x1, y1, x2, y2 in [*boxes, card]:
            apart = right < x1 - 4 or left > x2 + 4 or bottom < y1 or top > y2
            within = x1 + 8 <= left and right <= x2 - 8 and y1 + 4 <= top and bottom <= y2 - 4
            assert apart or within, text
            if within and [x1, y1, x2, y2] != card:
                inside[x1, y1, x2, y2].append(text)
    assert len(boxes) == 6 + 7 and all(len(texts) >= 3 for texts in inside.values())


def test_no_two_words_overlap(browser):
    words = measured(browser)[2]
    for k, (text, left, top, right, bottom) in enumerate(words):
        for other, x1, y1, x2, y2 in words[k + 1 :]:
            assert right < x1 or x2 < left or bottom <= y1 + 4 or y2 <= top + 4, (text, other)


def test_each_lesson_has_its_place_and_what_is_not_written_is_coming():
    picture = scenes.journey()
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", picture.svg)
    numbers = {name[:2] for name in LESSONS} - {"00"}
    coming = {words[:2] for words in shown if words.endswith(" coming")}
    assert coming == {f"{k:02d}" for k in range(1, 13)} - numbers
    named = {number for words in shown for number in re.findall(r"\b\d\d\b", words)}
    assert named == {f"{k:02d}" for k in range(1, 13)} == set(re.findall(r"\b\d\d\b", picture.alt))
    for call in ("state_dict", "torch.save", "torch.load", "load_state_dict", "step"):
        assert any(words.startswith(call) for words in shown) and call in picture.alt
