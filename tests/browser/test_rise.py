"""RISE in the same JupyterLab: a lesson as live slides, whose widgets work."""

from __future__ import annotations

from controls import title
from helpers import scenes
from lab import OpenNotebook
from patience import patient


def test_a_flipbook_and_a_prediction_work_on_their_slides(browser, lab):
    context = patient(browser, viewport={"width": 1280, "height": 720})
    lesson = OpenNotebook(context.new_page(), lab, "02_read_the_state_dict")
    lesson.run_all()
    lesson.command("docmanager:save")
    lesson.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    slides = context.new_page()
    slides.goto(f"{lab.url}/rise/notebooks/02_read_the_state_dict.ipynb")
    slides.wait_for_selector("section.present:not(:has(section)) h1:visible")
    slides.wait_for_selector("section .noUi-handle", state="attached")
    on(slides, ".widget-button")
    press(slides, slides.locator("section.present:not(:has(section)) button:visible", has_text="a tensor without a gradient"))
    slides.locator("section.present:not(:has(section)) [role=status]:visible", has_text="Right").wait_for()
    on(slides, ".noUi-handle")
    press(slides, slides.locator("section.present:not(:has(section)) .noUi-target:visible"), 0.02)
    wanted = title(scenes.photograph_frames(20)[0])
    slides.locator("section.present:not(:has(section)) svg:visible > title", has_text=wanted).wait_for(state="attached")
    page, handle = slides.url, slides.locator("section.present:not(:has(section)) .noUi-handle:visible").first
    handle.focus()
    for key, step in (("ArrowLeft", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("End", 20), ("Home", 0)):
        slides.keyboard.press(key)
        wanted = title(scenes.photograph_frames(20)[step])
        slides.locator("section.present:not(:has(section)) svg:visible > title", has_text=wanted).wait_for(state="attached")
    slides.wait_for_timeout(1000)
    assert slides.url == page and handle.is_visible(), "a key for the slider turned the page"
    slides.mouse.click(5, 5)
    slides.keyboard.press("Space")
    handle.wait_for(state="hidden")
    lesson.shut_down()
    context.close()


def on(slides, selector):
    """Turns the pages until one shows the selector, each when the one before has gone."""
    for _ in range(40):
        if slides.locator(f"section.present:not(:has(section)) {selector}:visible").count():
            return
        here = slides.locator("section.present:not(:has(section))").element_handle()
        slides.keyboard.press("Space")
        slides.wait_for_function("slide => !slide.classList.contains('present')", arg=here)
    raise AssertionError(f"no slide shows {selector}")


def press(slides, element, part=0.5):
    """A click with the mouse, once the slide stands still: `part` is how far from the left."""
    element.click(trial=True)
    box = element.bounding_box()
    slides.mouse.click(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
