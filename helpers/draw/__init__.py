"""Pictures from rows, tensors and histories. Pure: every function returns a Picture and shows nothing."""

from helpers.draw.curves import curves
from helpers.draw.diagrams import Cell, bars, key_diff, table
from helpers.draw.svg import Picture
from helpers.draw.tensors import state_dict

__all__ = ["Cell", "Picture", "bars", "curves", "key_diff", "state_dict", "table"]
