"""The interactive views: flipbooks that need no kernel, and live pictures. No arithmetic of their own."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape

import ipywidgets
from IPython.display import display

from helpers import draw
from helpers.draw import Picture
from helpers.scenes import CHANGES, FORMATS, Lab, outcome_picture, symptoms
from helpers.view import View

LABEL = {"description_width": "initial"}


def flipbook(frames: Sequence[Picture], label: str = "step", still: int = 0) -> View:
    """▶ Frames moved by a slider and a Play button, linked in the browser; the still is frame `still`."""
    if not frames:
        raise ValueError("Got no frames; wanted at least one picture.")
    last = len(frames) - 1
    pages = ipywidgets.Stack([ipywidgets.HTML(frame.svg) for frame in frames], selected_index=still)
    slider = ipywidgets.IntSlider(still, 0, last, description=label, style=LABEL, layout={"width": "520px"})
    play = ipywidgets.Play(value=still, min=0, max=last, interval=max(60, 3000 // len(frames)))
    ipywidgets.jslink((slider, "value"), (pages, "selected_index"))
    ipywidgets.jslink((play, "value"), (slider, "value"))
    return View([ipywidgets.HBox([play, slider]), pages], frames[still])


def live(render: Callable[..., Picture], **controls: ipywidgets.Widget) -> View:
    """⚙ A picture drawn anew by `render` at every change of a control, which gets the controls' values by name."""
    def picture() -> Picture:
        return render(**{name: control.value for name, control in controls.items()})

    still = picture()
    page = ipywidgets.HTML(still.svg)

    def redraw(_: object) -> None:
        page.value = picture().svg

    for control in controls.values():
        control.observe(redraw, "value")
    return View([*controls.values(), page], still)


def slider(label: str, low: float, high: float, value: float, step: float = 0.1) -> ipywidgets.Widget:
    """A slider over whole numbers if `step` is one, else over decimals."""
    if isinstance(step, int):
        return ipywidgets.IntSlider(value, low, high, step, description=label, style=LABEL, layout={"width": "520px"})
    return ipywidgets.FloatSlider(value=value, min=low, max=high, step=step, description=label, style=LABEL,
                                  readout_format=".2f", layout={"width": "520px"})


def choice(label: str, options: Sequence[str]) -> ipywidgets.Dropdown:
    """A list to choose one from."""
    return ipywidgets.Dropdown(options=list(options), description=label, style=LABEL, layout={"width": "420px"})


def tick(label: str, value: bool = True) -> ipywidgets.Checkbox:
    """A box to tick."""
    return ipywidgets.Checkbox(value=value, description=label, indent=False)


def progress(items: Iterable, total: int, label: str) -> Iterator:
    """The items one by one, under a bar that leaves nothing in the stored notebook."""
    bar = ipywidgets.IntProgress(0, 0, total, description=label, style=LABEL)
    view = "application/vnd.jupyter.widget-view+json"
    display({view: bar._repr_mimebundle_()[view]}, raw=True)
    for item in items:
        bar.value += 1
        yield item
    bar.close()


def symptom_finder() -> View:
    """⚙ A line to type an error or a worry into; below it the lessons and sections that explain it."""
    line = ipywidgets.Text(placeholder="paste an error, or say what worries you", description="symptom", style=LABEL,
                           layout={"width": "640px"})
    found = ipywidgets.HTML(_found(""))
    line.observe(lambda change: setattr(found, "value", _found(change["new"])), "value")
    rows = [(s.name, f"{s.lesson[:2]} · {s.section}") for s in symptoms.SYMPTOMS]
    return View([line, found], draw.table("Where each symptom is explained", ["symptom", "lesson · section"], rows))


def _found(words: str) -> str:
    if not words.strip():
        return "<p>Type at least a word. A whole traceback works too.</p>"
    hits = symptoms.find(words)
    if not hits:
        return "<p>Nothing fits. Try the last line of the error, or the name of the call that failed.</p>"
    lines = "".join(f"<li><b>{escape(hit.name)}</b><br>{escape(hit.advice)}<br>"
                    f"<a href='{hit.lesson}.ipynb#{hit.section.replace(' ', '-')}'>Lesson {hit.lesson[:2]}: "
                    f"{escape(hit.section)}</a></li>" for hit in hits)
    return f"<ol style='line-height:1.5' role='status'>{lines}</ol>"


def refactor_lab(lab: Lab) -> View:
    """⚙ Choose a change and a format, press Run: both the change and the load really happen, in a fresh process."""
    change = choice("change", list(CHANGES))
    form = choice("format", list(FORMATS))
    button = ipywidgets.Button(description="Run it", layout={"width": "auto"})
    bar = ipywidgets.IntProgress(0, 0, 1, layout={"visibility": "hidden", "width": "200px"})
    still = outcome_picture(lab.run(change.value, form.value))
    page = ipywidgets.HTML(still.svg)

    def run(_: object) -> None:
        button.disabled, bar.layout.visibility, bar.bar_style = True, "visible", "info"
        bar.value = 1
        page.value = outcome_picture(lab.run(change.value, form.value)).svg
        button.disabled, bar.layout.visibility = False, "hidden"

    button.on_click(run)
    return View([change, form, ipywidgets.HBox([button, bar]), page], still)
