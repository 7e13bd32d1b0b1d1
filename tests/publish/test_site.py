"""The site with the network cut: every page opens, moves, answers, and can be used without eyes or mouse."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

import test_finder
from helpers import symptoms
from helpers.quiz import Exercise, Prediction
from lab import serious
from patience import patient

LESSONS = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
PAGES = [f"{name}.html".replace("00_start_here", "index") for name in LESSONS]
SAME = """(figure, svg) => { const wanted = document.createElement('div'); wanted.innerHTML = svg;
    return figure.querySelector('.frame').innerHTML === wanted.innerHTML; }"""


def of(lessons, name):
    return next(lesson for lesson in lessons if lesson.page == name)


def opened(page, site, name):
    page.goto((site / name).as_uri())
    return page


ELSEWHERE = {"mybinder.org", "docs.pytorch.org", "nvd.nist.gov"}  # where a reader may follow a link to; nothing is fetched


def test_a_page_is_small_and_fetches_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    errors = {entry.place for entry in symptoms.table() if "/" in entry.place}
    assert len(pages) == 2 * len(LESSONS) + len(errors) + 1
    for path in pages:
        html = path.read_text(encoding="utf-8")
        assert path.stat().st_size <= 1_000_000, path.name
        assert not re.findall(r'(?:src|srcset|data)="https?:|<link[^>]*https?:|@import|url\((?!#)', html)
        assert {link.split("/")[2] for link in re.findall(r'href="(https?:[^"]*)"', html)} <= ELSEWHERE


def test_no_link_is_broken(site):
    for path in site.rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        for link in re.findall(r'(?:href|src)="([^"]+)"', html):
            if link.startswith(("http", "data:")):
                continue
            name, _, anchor = unquote(unescape(link)).partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.is_file(), f"{path.name} → {link}"
            assert not anchor or f'id="{anchor}"' in unescape(target.read_text(encoding="utf-8")), f"{path.name} → {link}"


@pytest.mark.parametrize("name", PAGES)
def test_every_flipbook_moves_by_keys_and_shows_the_right_frame(page, site, lessons, name):
    books = list(of(lessons, name).flipbooks.values())
    figures = opened(page, site, name).locator(".flipbook").all()
    assert len(figures) == len(books) and (books or name[:2] in ("in", "06", "12"))
    for figure, book in zip(figures, books):
        slider, last = figure.get_by_role("slider", name=book.label), len(book.frames) - 1
        slider.focus()
        title = re.search("<title>(.*?)</title>", book.frames[book.still])[1]
        assert figure.locator("svg > title").first.text_content() == unescape(title)
        for keys, wanted in ((["Home"], 0), (["ArrowRight"], 1), (["Home"], 0), (["ArrowRight"] * 2, 2), (["End"], last)):
            for key in keys:
                page.keyboard.press(key)
            assert figure.evaluate(SAME, book.frames[wanted])
            assert slider.get_attribute("aria-valuetext") == f"{wanted} of {last}"
        if name[:2] != "03":
            page.keyboard.press("ArrowLeft")
        figure.get_by_role("button", name="Play").press("Space")
        page.wait_for_function("([f, last]) => f.dataset.shown === last", arg=[figure.element_handle(), str(last)])
        assert figure.evaluate(SAME, book.frames[last])
        figure.get_by_role("button", name="Play").wait_for()


@pytest.mark.parametrize("name", PAGES)
def test_every_prediction_is_answered(page, site, lessons, name):
    lesson = of(lessons, name)
    asked = [quiz for cell in lesson.notebook.cells if isinstance(quiz := lesson.quiz(cell.source, "ask"), Prediction)]
    boxes = opened(page, site, name).locator(".predict").all()
    assert len(boxes) == len(asked) > 0
    for box, prediction in zip(boxes, asked):
        for k, choice in enumerate(prediction.choices):
            box.get_by_role("button", name=choice.words, exact=True).press("Enter")
            assert box.get_by_role("status").text_content() == prediction.judge(k).words
    checked = [quiz for cell in lesson.notebook.cells if isinstance(quiz := lesson.quiz(cell.source, "check"), Exercise)]
    hints = [details.text_content() for details in page.locator(".exercise details").all()]
    assert hints == [f"Hint {k} of {len(quiz.hints)}{hint}" for quiz in checked for k, hint in enumerate(quiz.hints, 1)]


def test_live_pictures_say_how_to_run_them(page, site, lessons):
    seen = 0
    for lesson in lessons:
        sources = [cell.source for cell in lesson.notebook.cells if cell.cell_type == "code"]
        lines = [line for source in sources for line in source.splitlines() if re.match(r"widgets\.(?!flipbook|symptom)", line)]
        if lines:
            opened(page, site, lesson.page)
            assert page.locator("figure.live figcaption:has-text('make lab')").count() == len(lines)
            seen += len(lines)
    assert seen > 10


def corpus():
    """What the finder is tried on: words, messages, real errors as they are pasted, and errors of other kinds."""
    return list(texts({"__name__": "__main__"}))


def texts(entry_names):
    for entry in symptoms.table():
        yield from (entry.name, *entry.words[:3], *(f"RuntimeError: {message}" for message in entry.messages))
    for code in test_finder.UNRELATED:
        with contextlib.redirect_stderr(io.StringIO()):
            yield test_finder.in_frames(test_finder.told(test_finder.raised(code, {})))
    for entry in test_finder.TOLD:
        names = dict(entry_names)
        test_finder.run(entry.setup, names)
        pasted = dict(test_finder.pasted(test_finder.raised(test_finder.bare(entry.see), names)))
        yield from (pasted[way] for way in ("after another error", "of a rank", "in a notebook"))
    yield from ("my loss is different after loading", "  Missing KEY(s)\n in state_dict ", "zzz", "no", "frezing layers", "")


def test_the_page_finds_what_python_finds(page, site):
    opened(page, site, "index.html")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
        tried = other.submit(corpus).result()
    page.evaluate("window.ours = new Finder(JSON.parse(document.querySelector('.finder script').textContent))")
    found = []
    for start in range(0, len(tried), 50):
        found += page.evaluate("texts => texts.map(text => ours.find(text).map(hit => hit.name))", tried[start : start + 50])
    assert len(tried) > 1000
    for text, names in zip(tried, found):
        assert names == [hit.name for hit in symptoms.find(text)], text


@pytest.mark.parametrize("start", ["index.html", "errors/index.html"])
def test_an_error_is_pasted_and_the_link_followed_by_keyboard(page, site, start):
    opened(page, site, start)
    page.get_by_label("Symptom").fill('Traceback (most recent call last):\n  File "x.py", line 1\nEOFError: Ran out of input')
    [hit] = symptoms.find("EOFError: Ran out of input")
    assert page.locator(".found b").all_text_contents() == [hit.name]
    page.locator(".found").get_by_role("link").press("Enter")
    page.wait_for_url(f"**/{hit.place}.html#{hit.address}")
    assert page.locator(f"#{hit.address}").evaluate("e => e.getBoundingClientRect().top") < 720


def test_each_entry_has_its_address_its_words_for_a_search_engine_and_a_cure_to_copy(page, site):
    for name in dict.fromkeys(entry.place for entry in symptoms.table() if "/" in entry.place):
        entries = [entry for entry in symptoms.table() if entry.place == name]
        opened(page, site, f"{name}.html")
        assert page.locator("h2[id]").evaluate_all("all => all.map(e => e.id)")[1:] == [entry.address for entry in entries]
        told = json.loads(page.locator("script[type='application/ld+json']").text_content())["mainEntity"]
        assert [(q["name"], q["acceptedAnswer"]["text"]) for q in told] == [(e.name, e.advice) for e in entries]
        assert page.locator("meta[name=description]").get_attribute("content")
        buttons = page.get_by_role("button", name="Copy the cure")
        assert buttons.count() == len(entries)
        buttons.first.press("Enter")
        page.wait_for_function("() => [...document.querySelectorAll('.copy')].some(e => e.textContent !== 'Copy the cure')")


def test_the_addresses_are_those_that_were_given_out():
    kept = (Path(__file__).parent / "addresses.txt").read_text(encoding="utf-8").split()
    assert kept == [f"{entry.place}.html#{entry.address}" for entry in symptoms.table() if "/" in entry.place]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, site, theme):
    context = patient(browser, viewport={"width": 1280, "height": 900}, color_scheme=theme, offline=True)
    page = context.new_page()
    for path in sorted(site.rglob("*.html")):
        page.goto(path.as_uri())
        assert serious(page, rules=theme == "light") == {}, path.name
        unnamed = page.locator("svg").evaluate_all(
            "all => all.filter(e => e.getAttribute('role') !== 'img' || !e.querySelector(':scope > title')).length"
        )
        assert unnamed == 0, path.name
    context.close()


def test_the_theme_is_a_choice_that_stays(page, site):
    opened(page, site, "index.html")
    background = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Dark page").press("Enter")
    dark = page.evaluate(background)
    opened(page, site, "02_read_the_state_dict.html")
    assert light == "rgb(255, 255, 255)" and dark != light and page.evaluate(background) == dark
    page.get_by_role("button", name="Light page").press("Enter")
    assert page.evaluate(background) == light


def test_paper_shows_the_stills_and_no_controls(page, site):
    opened(page, site, "03_inside_the_optimizer.html").emulate_media(media="print")
    assert page.locator(".bar:visible, header:visible, .reply:visible, details:visible").count() == 0
    assert page.locator(".flipbook .frame svg:visible").count() == page.locator(".flipbook").count() > 0
    assert page.pdf(format="A4").startswith(b"%PDF")
