"""Small tables for notebooks and pages."""

import html
import re

import numpy as np

from tvae_lib.plots.figures import as_list


class Table:
    """Rows of texts, as notebooks and pages show them; `table` makes one."""

    def __init__(self, columns, rows, caption):
        self.columns, self.rows, self.caption = columns, rows, caption

    def _repr_html_(self):
        numbers = [all(re.match(r"[+−-]?\.?\d|.?$", row[i]) for row in self.rows) for i in range(len(self.columns))]
        styles = [f'style="text-align: {"right" if i and number else "left"}"' for i, number in enumerate(numbers)]

        def line(texts, row):
            cells = ""
            for i, (text, style) in enumerate(zip(texts, styles, strict=True)):
                start = f'th scope="{row}"' if i == 0 or row == "col" else "td"
                cells += f"<{start} {style}>{html.escape(text)}</{start[:2]}>"
            return f"<tr>{cells}</tr>\n"

        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        body = "".join(line(row, "row") for row in self.rows)
        return f'<table class="compact">{caption}\n<thead>{line(self.columns, "col")}</thead>\n<tbody>{body}</tbody>\n</table>'

    def __repr__(self):
        return "\n".join(" | ".join(row) for row in (self.columns, *self.rows))


def table(rows, spec="", caption=None):
    """A small table for the page: rows are a list of dicts of column title to text or number, or a pandas DataFrame.

    The first column says what a row is; what a row lacks is left empty. spec: the format of numbers and intervals, such as
    ".2f" or "+.3f". Columns of numbers are set to the right. ValueError if there is no row.
    """
    if hasattr(rows, "to_dict"):
        rows = rows if rows.index.name is None and rows.index.dtype.kind in "iu" else rows.reset_index()
        rows = rows.to_dict("records")
    rows = as_list("rows", rows)
    if not rows or not all(isinstance(row, dict) and row for row in rows):
        raise ValueError("rows must be at least one dict of column title to text or number")
    columns = list(dict.fromkeys(column for row in rows for column in row))

    def text(value):
        if isinstance(value, str | int | np.integer | type(None)):
            return "" if value is None else str(value)
        return "" if value != value else format(value, spec)

    return Table([str(column) for column in columns], [[text(row.get(column)) for column in columns] for row in rows], caption)
