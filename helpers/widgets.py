"""The interactive views: flipbooks that need no kernel, and live pictures. No arithmetic of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
from IPython.display import display
from torch import Tensor, nn

from helpers import draw, symptoms
from helpers.clinic import examine
from helpers.draw import Picture
from helpers.scenes import CHANGES, FORMATS, Project, outcome_picture, rename_and_load, rename_diff
from helpers.view import FITTING, View, button, show

LABEL = {"description_width": "initial"}


def flipbook(frames: Sequence[Picture], label: str = "step", still: int = 0) -> View:
    """▶ Frames moved by a slider and a Play button, linked in the browser; the still is frame `still`.

    The kernel only tells Play, when it is pressed, where the slider stands: a link that told it at every key would cost
    as much as all others together.
    """
    if not frames:
        raise ValueError("Got no frames; wanted at least one picture.")
    last = len(frames) - 1
    pages = ipywidgets.Stack([ipywidgets.HTML(frame.svg) for frame in frames], selected_index=still)
    steps = slider(label, 0, last, still, step=1)
    pace = max(60, 3000 // len(frames))
    play = ipywidgets.Play(value=still, min=0, max=last, interval=pace, show_repeat=False, layout={"display": "none"})
    start = ipywidgets.ToggleButton(False, description="Play", icon="play", layout={"width": "90px"})
    ipywidgets.jslink((steps, "value"), (pages, "selected_index"))
    ipywidgets.jsdlink((play, "value"), (steps, "value"))
    start.observe(lambda change: change["new"] and play.set_trait("value", steps.value % max(last, 1)), "value")
    ipywidgets.jslink((start, "value"), (play, "playing"))
    number = _number(steps)
    ipywidgets.jslink((steps, "value"), (number, "value"))
    return View([ipywidgets.HBox([start, play, steps, number]), pages], frames[still])


def _number(control: ipywidgets.Widget) -> ipywidgets.Widget:
    """A field of the slider's name, to stand beside it: a slider's handle has none that a screen reader could say."""
    kind = ipywidgets.BoundedIntText if isinstance(control, ipywidgets.IntSlider) else ipywidgets.BoundedFloatText
    same = {name: getattr(control, name) for name in ("value", "min", "max", "step", "description")}
    return kind(**same, style={"description_width": "0px"}, layout={"width": "80px"})


def _named(control: ipywidgets.Widget) -> ipywidgets.Widget:
    """A slider with its number; linked by the kernel, which hears of each change anyway: the browser would tell it twice."""
    if not isinstance(control, (ipywidgets.IntSlider, ipywidgets.FloatSlider)):
        return control
    number = _number(control)
    ipywidgets.link((control, "value"), (number, "value"), (lambda value: round(value, 6), type(control.value)))
    return ipywidgets.HBox([control, number])


def _drawn(render: Callable[..., Picture], controls: Mapping[str, Any]) -> tuple[ipywidgets.HTML, Picture, Callable[[], None]]:
    """A page with the picture, the picture as it is now, and a call that draws it anew."""

    def picture() -> Picture:
        return render(**{name: control.value for name, control in controls.items()})

    still = picture()
    page = ipywidgets.HTML(still.svg)
    return page, still, lambda: show(page, picture)


def live(render: Callable[..., Picture], **controls: ipywidgets.Widget) -> View:
    """⚙ A picture drawn anew by `render` at every change of a control, which gets the controls' values by name."""
    page, still, anew = _drawn(render, controls)
    for control in controls.values():
        control.observe(lambda _: anew(), "value")
    return View([*map(_named, controls.values()), page], still)


def pressed(render: Callable[..., Picture], label: str, **controls: ipywidgets.Widget) -> View:
    """⚙ Like `live`, for what takes longer than a frame: drawn anew when the button called `label` is pressed."""
    start = button(label)
    bar = ipywidgets.IntProgress(1, 0, 1, bar_style="info", layout={"visibility": "hidden", "width": "200px"})
    page, still, anew = _drawn(render, controls)

    def run(_: object) -> None:
        start.disabled, bar.layout.visibility = True, "visible"
        try:
            anew()
        finally:
            start.disabled, bar.layout.visibility = False, "hidden"

    start.on_click(run)
    return View([*map(_named, controls.values()), ipywidgets.HBox([start, bar]), page], still)


def slider(label: str, low: float, high: float, value: float, step: float = 0.1) -> ipywidgets.Widget:
    """A slider over whole numbers if `step` is one, else over decimals."""
    kind = ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider
    look = {"style": LABEL, "readout": False, "layout": {"width": "460px"}}
    return kind(value=value, min=low, max=high, step=step, description=label, tooltip=label, **look)


def choice(label: str, options: Sequence[str]) -> ipywidgets.ToggleButtons:
    """Buttons of which one is chosen; not a drop-down list, whose arrow keys JupyterLab takes for its own cells."""
    look = {**LABEL, "button_width": "auto"}
    return ipywidgets.ToggleButtons(options=list(options), description=label, tooltip=label, style=look)


def tick(label: str, value: bool = True) -> ipywidgets.Checkbox:
    """A box to tick."""
    return ipywidgets.Checkbox(value=value, description=label, tooltip=label, indent=False)


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
    """⚙ A place to paste an error or to type a worry; below it the entries and sections that explain it."""
    look = {"style": LABEL, "rows": 3, "layout": {"width": "640px"}}
    box = ipywidgets.Textarea(description="symptom", placeholder="paste an error, or say what worries you", **look)
    found = ipywidgets.Output(outputs=_found(""))
    box.observe(lambda change: setattr(found, "outputs", _found(change["new"])), "value")
    known = [(where, [s.name for s in symptoms.table() if symptoms.group(s) == where]) for where in symptoms.groups()]
    rows = [(where, f"{len(names)}", "\n".join(names[:3])) for where, names in known]
    title = f"The finder knows {len(symptoms.table())} symptoms"
    return View([box, found], draw.table(title, ["where", "how many", "such as"], rows))


def _found(words: str) -> tuple[dict, ...]:
    """Markdown, whose links JupyterLab opens beside this notebook, not instead of it."""
    answer = symptoms.answer(words)
    return ({"output_type": "display_data", "data": {"text/markdown": answer, "text/plain": answer}, "metadata": {}},)


def refactor_lab(project: Project) -> View:
    """⚙ Choose a change and a format, press Run: both the change and the load really happen, in a fresh process."""
    controls = {"change": choice("change", list(CHANGES)), "form": choice("format", list(FORMATS))}
    return pressed(lambda change, form: outcome_picture(project.run(change, form)), "Run it", **controls)


def rename_lab(state: Mapping[str, Tensor], model: nn.Module, expected: Tensor, rules: int = 3) -> View:
    """⚙ Rules `old -> new`, one a line; the key diff follows while one types, and Load it compares outputs with `expected`."""
    look = {"placeholder": "old -> new", "style": LABEL, "layout": {"width": "420px"}}
    lines = {f"rule{k}": ipywidgets.Text(description=f"rule {k}", **look) for k in range(1, rules + 1)}
    view = live(lambda **written: rename_diff(state, model, list(written.values())), **lines)
    load, page = button("Load it"), view.children[-1]

    def loaded() -> Picture:
        return rename_and_load(state, model, expected, [line.value for line in lines.values()])

    load.on_click(lambda _: show(page, loaded))
    view.children = (*lines.values(), load, page)
    return view


def own_file(model: nn.Module | None = None) -> View:
    """⚙ A path typed, or a file uploaded: the clinic's findings, with the key diff if there is a model. All in this kernel."""
    look = {"style": LABEL, "layout": {"width": "560px"}, "continuous_update": False}
    line = ipywidgets.Text(description="path", placeholder="a path, then Enter", tooltip="path", **look)
    upload = ipywidgets.FileUpload(description="upload a file", multiple=False, layout=FITTING)
    page = ipywidgets.HTML()

    def uploaded(change: Mapping) -> None:
        for given in change["new"]:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / Path(given["name"]).name
                path.write_bytes(given["content"])
                page.value = examine(path, model).html.replace(str(path), path.name)

    line.observe(lambda change: setattr(page, "value", examine(change["new"].strip(), model).html), "value")
    upload.observe(uploaded, "value")
    rows = [("a path", "typed, then Enter"), ("a small file", "uploaded: it goes to this kernel, and no further")]
    return View([line, upload, page], draw.table("Your own file, examined where it lies", ["give it", "how"], rows))
