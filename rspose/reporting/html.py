"""A table as HTML: the same words as in Markdown, and what a browser sorts by and links to."""

from collections.abc import Collection, Sequence
from itertools import groupby
from urllib.parse import quote

from markupsafe import Markup, escape

from rspose.reporting.statistics import CellKey
from rspose.reporting.style import loss_colour
from rspose.reporting.table import Column, Entry, Row, Table, Value, entry_text

_LAST = -9.0  # sorts before every number: what has none


def to_html(table: Table, linked: Collection[CellKey] = (), name: str = "") -> Markup:
    """The table as a ``<table>``: caption and numbers; the notes are the page's to place.

    Args:
        table: The table.
        linked: The cells that the page can show: their numbers link to them.
        name: What tells it from others of the page; its own name if left out.
    """
    table = table.on("screen")
    best = table.best()
    body = []
    for i, row in enumerate(table.rows):
        entries = []
        for j, (entry, column) in enumerate(zip(row.values, table.columns, strict=True)):
            cell = row.cells[j] if row.cells else None
            address = address_of(cell) if cell in linked and cell and entry is not None else None
            entries.append(_entry(entry, column, (i, j) in best, address))
        block = ' class="first"' if i and row.block != table.rows[i - 1].block else ""
        kind = ' class="control"' if row.control else block
        body.append(Markup("<tr{}>{}{}</tr>\n").format(Markup(kind), _labels(row), Markup("").join(entries)))
    return Markup(
        '<table class="numbers" id="table-{}">\n<caption><span>{}</span></caption>\n'
        "<thead>\n{}</thead>\n<tbody>\n{}</tbody>\n</table>\n"
    ).format(name or table.name, table.caption, _head(table), Markup("").join(body))


def address_of(cell: Sequence[str]) -> str:
    """Where the page shows a cell: the part of its address after the name of the file."""
    return "#cell/" + quote("/".join(cell), safe="/+")


def _head(table: Table) -> Markup:
    grouped = any(column.group for column in table.columns)
    rows = 2 if grouped else 1
    stub = [
        Markup('<th scope="col" rowspan="{}"{}>{}</th>').format(
            rows, Markup(' class="pinned"') if index == len(table.stub) - 1 else "", name
        )
        for index, name in enumerate(table.stub)
    ]
    labels = [
        Markup('<th scope="col" class="{}">{}</th>').format("text" if column.text else "number", column.label)
        for column in table.columns
    ]
    if not grouped:
        return Markup("<tr>{}</tr>\n").format(Markup("").join([*stub, *labels]))
    groups = []
    for name, members in groupby(table.columns, key=lambda column: column.group):
        width = len(list(members))
        groups.append(
            Markup('<th scope="colgroup" class="group" data-dt-order="disable" colspan="{}">{}</th>').format(
                width, name
            )
        )
    return Markup("<tr>{}</tr>\n<tr>{}</tr>\n").format(
        Markup("").join([*stub, *groups]), Markup("").join(labels)
    )


def _labels(row: Row) -> Markup:
    *first, last = row.stub
    of_loss = next((cell[3] for cell in reversed(row.cells) if cell), None)
    swatch = (
        Markup('<span class="swatch" style="--colour: {}" aria-hidden="true"></span>').format(
            loss_colour(of_loss)
        )
        if of_loss
        else ""
    )
    labels = [Markup('<th scope="row" class="of-row">{}</th>').format(label) for label in first]
    labels.append(Markup('<th scope="row" class="pinned">{}{}</th>').format(swatch, last))
    return Markup("").join(labels)


def _entry(entry: Entry, column: Column, best: bool, address: str | None) -> Markup:
    number = Markup("<strong>{}</strong>") if best else Markup("{}")
    spread, interval = (
        Markup(' <span class="spread">± {}</span>'),
        Markup(' <span class="interval">{}</span>'),
    )
    shown = entry_text(entry, column, number, spread, interval)
    if isinstance(shown, str) and shown.startswith("`"):
        shown = Markup("<code>{}</code>").format(shown.strip("`"))
    if address:
        shown = Markup('<a href="{}">{}</a>').format(address, shown)
    order: float | str = entry.mean if isinstance(entry, Value) else _LAST
    if column.text:
        order = str(entry or "")
    elif isinstance(entry, str) and entry.startswith("<"):  # a p-value below what is shown
        order = 0.0
    kind = "text" if column.text else "number"
    return Markup('<td class="{}" data-order="{}">{}</td>').format(kind, order, escape(shown))
