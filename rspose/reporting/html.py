"""A table as HTML: the same words as in Markdown, and what a browser sorts by and links to."""

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rspose.reporting.statistics import CellKey
from rspose.reporting.style import SIDE_COLOURS, loss_colour
from rspose.reporting.table import Column, Entry, Table, Value, entry_text

_LAST = -9.0  # sorts before every number: what has none
_TEMPLATES = Environment(
    loader=PackageLoader("rspose.reporting.report", "assets"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals["side_colours"] = SIDE_COLOURS


def render(template: str, **values: Any) -> Markup:
    """A template of the report, filled; what is not markup is escaped."""
    return Markup(_TEMPLATES.get_template(template).render(**values))


def to_html(table: Table, linked: Collection[CellKey] = (), name: str = "") -> Markup:
    """The table as a ``<table>``: caption and numbers; the notes are the page's to place.

    Numbers link to those cells that are ``linked``; ``name`` in place of its own tells it from others.
    """
    table = table.on("screen")
    rows, above = [], None
    for row in table.rows:
        entries = []
        for j, (entry, column) in enumerate(zip(row.values, table.columns, strict=True)):
            cell = row.cells[j] if row.cells else None
            address = address_of(cell) if cell in linked and cell and entry is not None else None
            entries.append({**_shown(entry, column), "address": address})
        kind = "control" if row.control else "first" if above not in (None, row.block) else ""
        colours = [loss_colour(cell[3]) for cell in row.cells if cell]
        rows.append(
            {"kind": kind, "stub": row.stub, "colour": colours[-1] if colours else None, "entries": entries}
        )
        above = row.block
    groups = [
        (group, len(list(members))) for group, members in groupby(table.columns, key=lambda one: one.group)
    ]
    if not any(group for group, _ in groups):
        groups = []
    return render("table.html", table=table, name=name or table.name, rows=rows, groups=groups)


def address_of(cell: Sequence[str]) -> str:
    """Where the page shows a cell: the part of its address after the name of the file."""
    return "#cell/" + quote("/".join(cell), safe="/+")


def _shown(entry: Entry, column: Column) -> dict[str, Any]:
    """What is written of an entry, and what it is sorted by."""
    bold, spread, interval = (
        Markup("<strong>{}</strong>"),
        Markup(' <span class="spread">± {}</span>'),
        Markup(' <span class="interval">{}</span>'),
    )
    text = entry_text(entry, column, bold, spread, interval)
    if isinstance(text, str) and text.startswith("`"):
        text = Markup("<code>{}</code>").format(text.strip("`"))
    order: float | str = entry.mean if isinstance(entry, Value) else _LAST
    if column.text:
        order = str(entry or "")
    elif isinstance(entry, str) and entry.startswith("<"):  # a p-value below what is shown
        order = 0.0
    return {"text": text, "order": order, "kind": "text" if column.text else "number"}
