"""What is shown: a widget that leaves a still behind, its buttons, and the words of an error in the place of a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets

from helpers.describe import words_of
from helpers.draw import Picture, svg

FAILED, MOST_WORDS = "#a8461a", 200
FITTING = {"width": "auto", "align_self": "flex-start"}


class View(ipywidgets.VBox):
    """A box of widgets whose stored output is a picture with its alt text.

    The format is Jupyter's `_repr_mimebundle_` protocol; the live view's own entry stays beside the still.
    """

    def __init__(self, children: Sequence[ipywidgets.Widget], still: Picture) -> None:
        super().__init__(children, layout=ipywidgets.Layout(overflow="visible"))
        self.still = still

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, object]:
        return {**super()._repr_mimebundle_(**kwargs), **self.still._repr_mimebundle_()}


def button(label: str) -> ipywidgets.Button:
    """A button as wide as its label."""
    return ipywidgets.Button(description=label, layout=FITTING)


def note(color: str, head: str, words: str) -> str:
    """Words that a screen reader says at once, in HTML, with a bar of their colour."""
    style = f"max-width:46em;margin:4px 0;padding:8px 14px;background:{svg.CARD};color:{svg.INK};border-left:6px solid {color}"
    said = f"<b>{svg.escape(head)}</b> {svg.escape(words)}"
    return f"<p style='font-size:1.1em;line-height:1.45;{style}' role='status'>{said}</p>"


def line_of(error: BaseException) -> str:
    """An error in one line: its class and its first words."""
    name, words = type(error).__name__, words_of(error, MOST_WORDS)
    return name if words == name else f"{name}: {words}"


def show(page: ipywidgets.HTML, render: Callable[[], Picture]) -> None:
    """Puts what `render` draws into the page, or says why it could not be drawn."""
    try:
        page.value = render().svg
    except Exception as error:
        page.value = note(FAILED, "This could not be drawn.", line_of(error))
