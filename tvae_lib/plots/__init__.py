"""Figures, tables and settings used by more than one chapter."""

from tvae_lib.plots.figures import (
    GAUSSIAN,
    GREY,
    OTHER,
    STUDENT_T,
    T_GAUSSIAN,
    colour,
    intervals,
    loss_curves,
    set_style,
    show_digits,
)
from tvae_lib.plots.tables import Table, table

__all__ = [
    "GAUSSIAN",
    "GREY",
    "OTHER",
    "STUDENT_T",
    "T_GAUSSIAN",
    "Table",
    "colour",
    "intervals",
    "loss_curves",
    "set_style",
    "show_digits",
    "table",
]
