"""A widget that leaves a still behind: what a reader without a kernel sees, hears and can compare."""

from __future__ import annotations

import ipywidgets

from helpers.draw.svg import Picture


class View(ipywidgets.VBox):
    """A box of widgets whose stored output is a picture with its alt text.

    The format is Jupyter's `_repr_mimebundle_` protocol; the live view's own entry stays beside the still.
    """

    def __init__(self, children: list[ipywidgets.Widget], still: Picture) -> None:
        super().__init__(children, layout=ipywidgets.Layout(overflow="visible"))
        self.still = still

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, object]:
        return {**super()._repr_mimebundle_(**kwargs), **self.still._repr_mimebundle_()}
