"""What stands on a page or slide where a widget stands in JupyterLab: plain HTML that `page.js` brings to life."""

from __future__ import annotations

import copy
import json
import re
from html import escape

import nbformat

from helpers.quiz import Exercise, Prediction, Verdict
from helpers.scenes import symptoms
from publish.lessons import Flipbook, Lesson

ALIVE = "This picture answers to its controls when it runs: in JupyterLab after <code>make lab</code>, or on Binder."

DRAWS = re.compile(r"(widgets|scenes|draw)\.\w+\(")


def replaced(lesson: Lesson, deck: bool = False) -> nbformat.NotebookNode:
    """A copy of the notebook whose widgets are HTML and whose pictures are SVG; printed outputs stay as they are stored.

    The code that asks a prediction or opens the finder is left out: it teaches nothing where it can not run. In a deck
    that goes for all code that only draws, and for the verdict on a blank, so that the picture has the screen.
    """
    notebook = copy.deepcopy(lesson.notebook)
    for k, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        still = next((output.data["image/svg+xml"] for output in cell.outputs if "image/svg+xml" in output.get("data", {})), "")
        asked, checked = lesson.quiz(cell.source, "ask"), lesson.quiz(cell.source, "check")
        if asked and still:
            html, cell.metadata["transient"] = prediction(asked), {"remove_source": True}
        elif checked and still:
            html = "" if deck else exercise(checked, still)
        elif k in lesson.flipbooks:
            html = flipbook(lesson.flipbooks[k])
        elif "widgets.symptom_finder()" in cell.source:
            html, cell.metadata["transient"] = finder(still), {"remove_source": True}
        elif k in lesson.live:
            html = f"<figure class='live'>{still}<figcaption>{ALIVE}</figcaption></figure>"
        elif still:
            html = still
        else:
            continue
        if deck and DRAWS.match(cell.source):
            cell.metadata["transient"] = {"remove_source": True}
        cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": html})]
    return notebook


def prediction(asked: Prediction) -> str:
    """Question and choices as buttons; each carries its verdict, which is said when it is clicked."""
    buttons = "".join(_button(choice.words, asked.judge(k)) for k, choice in enumerate(asked.choices))
    return (
        f"<div class='predict' role='group' aria-label='Prediction'><p><b>Predict.</b> {escape(asked.question)}</p>"
        f"{buttons}<p class='reply' role='status'>Click what you expect, then read on.</p></div>"
    )


def _button(choice: str, verdict: Verdict) -> str:
    return f"<button type='button' data-state='{verdict.state}' data-reply='{escape(verdict.words)}'>{escape(choice)}</button>"


def exercise(checked: Exercise, still: str) -> str:
    """The stored verdict; below it the hints, folded."""
    folded = "".join(
        f"<details><summary>Hint {k} of {len(checked.hints)}</summary><p>{escape(hint)}</p></details>"
        for k, hint in enumerate(checked.hints, 1)
    )
    return f"<div class='exercise'>{still}{folded}</div>"


def flipbook(book: Flipbook) -> str:
    """The still, a slider and a button; the frames lie beside it as their pieces, each piece once."""
    last, label = len(book.frames) - 1, escape(book.label)
    return (
        f"<figure class='flipbook' data-shown='{book.still}'><div class='bar'><button type='button'>Play</button>"
        f"<label>{label} <input type='range' min='0' max='{last}' value='{book.still}'></label>"
        f"<output>{book.still} of {last}</output></div><div class='frame'>{book.frames[book.still]}</div>"
        f"<script type='application/json'>{_packed(book.frames)}</script></figure>"
    )


def _packed(frames: tuple[str, ...]) -> str:
    """`parts`, and for each frame which of them follow one another; frames share nearly all of their elements."""
    parts: dict[str, int] = {}
    numbers = [[parts.setdefault(part, len(parts)) for part in re.split(r"(?<=>)", frame) if part] for frame in frames]
    return _inside_a_script({"parts": list(parts), "frames": numbers})


def _inside_a_script(value: object) -> str:
    return json.dumps(value, separators=(",", ":")).replace("</", "<\\/")


def finder(still: str) -> str:
    """A line to search in, the table of symptoms for `page.js`, and the whole table as a picture."""
    rows = [
        {"name": s.name, "signs": [*s.signs, s.name.lower()], "advice": s.advice, "lesson": s.lesson, "section": s.section}
        for s in symptoms.SYMPTOMS
    ]
    return (
        "<div class='finder'><label>Symptom <input type='search' placeholder='paste an error, or say what worries you'>"
        f"</label><div class='found' role='status' data-none='{escape(symptoms.NONE)}'>{escape(symptoms.EMPTY)}</div>"
        f"<script type='application/json'>{_inside_a_script(rows)}</script>"
        f"<details><summary>All symptoms</summary>{still}</details></div>"
    )
