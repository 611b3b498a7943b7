"""A table as Markdown."""

import re

from tabulate import tabulate

from rspose.reporting.table import Table, entry_text, without_repeats


def to_markdown(table: Table) -> str:
    """The table in Markdown, caption above, notes below; column groups are prefixes of the headers."""
    table = table.on("screen")
    body = []
    for row in table.rows:
        labels = [_inert(label) for label in row.stub]
        if row.control:
            labels[-1] = f"*{labels[-1]}*"
        entries = zip(row.values, table.columns, strict=True)
        body.append(labels + [_inert(entry_text(*entry, bold="**{}**")) for entry in entries])
    grid = tabulate(
        without_repeats(body, len(table.stub)),
        [_inert(name) for name in (*table.stub, *(column.header for column in table.columns))],
        "pipe",
        colalign=["left"] * len(table.stub)
        + ["left" if column.text else "right" for column in table.columns],
        disable_numparse=True,
    )
    # Two trailing spaces break the line in Markdown, and one blank line ends the table.
    words = "  \n".join(map(_inert, table.notes))
    return "\n".join([f"**{_inert(table.caption)}**", "", grid, "", words]) + "\n"


def _inert(text: str) -> str:
    """``text`` on one line, as part of one cell, and without HTML or links of its own."""
    text = re.sub(r"<(?=[a-zA-Z/!?])", "&lt;", " ".join(text.split()))
    # A backslash before a bar would take the one that keeps the bar in its cell.
    return re.sub(r"(\\*)\|", r"\1\1\\|", text.replace("](", r"]\("))
