"""What stands on a page or slide where a widget stands in JupyterLab: plain HTML that `page.js` brings to life."""

from __future__ import annotations

import copy
import json
import re
from html import escape

import nbformat

from helpers import symptoms
from helpers.quiz import Exercise, Prediction, Verdict
from helpers.symptoms.finder import messages_said, patterns, words
from publish.lessons import Flipbook, Lesson

ALIVE = "This picture answers to its controls when it runs: in JupyterLab after <code>make lab</code>, or on Binder."

NONE = "Nothing fits, and a wrong lead is worse than none. The index of all messages has them by kind."
DRAWS = re.compile(r"(widgets|scenes|draw)\.\w+\(")
LIVE = re.compile(r"^widgets\.", re.MULTILINE)


def replaced(lesson: Lesson, deck: bool = False) -> nbformat.NotebookNode:
    """A copy of the notebook whose widgets are HTML and whose pictures are SVG; printed outputs stay as they are stored.

    The code that asks a prediction or opens the finder is left out: it teaches nothing where it can not run. In a deck
    that goes for all code that only draws, and for the verdict on a blank, so that the picture has the screen.
    """
    notebook = copy.deepcopy(lesson.notebook)
    to_copy = cures(notebook)
    for k, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        if k in to_copy:
            cell.metadata["tags"] = ["cure"]
        still = next((output.data["image/svg+xml"] for output in cell.outputs if "image/svg+xml" in output.get("data", {})), "")
        asked, checked = lesson.quiz(cell.source, "ask"), lesson.quiz(cell.source, "check")
        if asked and still:
            html, cell.metadata["transient"] = prediction(asked), {"remove_source": True}
        elif checked and still:
            html = "" if deck else exercise(checked, still)
        elif k in lesson.flipbooks:
            html = flipbook(lesson.flipbooks[k])
        elif "widgets.symptom_finder()" in cell.source:
            html, cell.metadata["transient"] = still if deck else finder(still), {"remove_source": True}
        elif LIVE.search(cell.source) and still:
            html = f"<figure class='live'>{still}<figcaption>{ALIVE}</figcaption></figure>"
        elif still:
            html = still
        else:
            continue
        if deck and DRAWS.match(cell.source):
            cell.metadata["transient"] = {"remove_source": True}
        cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": html})]
    return notebook


def cures(notebook: nbformat.NotebookNode) -> set[int]:
    """The numbers of the cells to copy, in a notebook of error by error: the last code of each section."""
    if not notebook.cells[0].source.startswith("# Error by error"):
        return set()
    heads = [k for k, cell in enumerate(notebook.cells) if cell.cell_type == "markdown" and cell.source.startswith("## ")]
    code = [k for k, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    spans = zip(heads[1:], [*heads[2:], len(notebook.cells)])
    return {max(k for k in code if start < k < end) for start, end in spans if any(start < k < end for k in code)}


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


def finder(still: str, up: str = "", whole: bool = True) -> str:
    """A place to search in, with what `finder.js` searches, and what it knows as a picture; links go `up` to the root.

    `whole` is with a link to the index of all messages.
    """
    more = f"<p><a href='{up}errors/index.html'>All messages</a></p>" if whole else ""
    return (
        "<div class='finder'><label>Symptom "
        "<textarea rows='3' placeholder='paste an error, or say what worries you'></textarea></label>"
        f"<div class='found' role='status' data-none='{escape(NONE)}'>{escape(symptoms.EMPTY)}</div>"
        f"<script type='application/json'>{_inside_a_script(search_data(up))}</script>"
        f"{more}{still}</div>"
    )


def search_data(up: str = "") -> dict[str, object]:
    """The finder's table, words and limits, as `finder.js` takes them."""
    rows = [
        {
            "name": entry.name,
            "advice": entry.advice,
            "where": symptoms.title(entry),
            "link": up + address(entry),
            "messages": [[regex.pattern, size] for regex, size in messages],
            "said": said,
            "common": entry.common,
        }
        for entry, messages, said in zip(symptoms.table(), patterns(), messages_said(), strict=True)
    ]
    known = words()
    names = ("endings", "same", "phrases", "weights", "counts", "spelt", "subject", "vague")
    return {
        "table": rows,
        "words": {"silent": sorted(known.silent), **{name: getattr(known, name) for name in names}},
        "limits": symptoms.LIMITS,
    }


def address(entry: symptoms.Symptom) -> str:
    """The page and section of an entry, below the site's root: a short one that never changes, for an error."""
    page = "index" if entry.place == "00_start_here" else entry.place
    return f"{page}.html#{entry.address if '/' in entry.place else entry.section.replace(' ', '-')}"
