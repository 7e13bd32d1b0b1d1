"""Pictures from rows, tensors and histories. Pure: every function returns a Picture and shows nothing."""

from helpers.draw.curves import curves, surface
from helpers.draw.diagrams import Station, bars, key_diff, stations, table, tree
from helpers.draw.motion import Column, Term, columns, flow
from helpers.draw.svg import Picture
from helpers.draw.tensors import state_dict

__all__ = [
    "Column",
    "Picture",
    "Station",
    "Term",
    "bars",
    "columns",
    "curves",
    "flow",
    "key_diff",
    "state_dict",
    "stations",
    "surface",
    "table",
    "tree",
]
