"""What a table is; the modules ``markdown``, ``latex`` and ``html`` show it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rspose.reporting.statistics import CellKey

MISSING = "—"
DAGGER = "†"
EQUIVALENT = "≈"
DIFFERS = "*"


@dataclass(frozen=True)
class Column:
    """A column of numbers, or of words."""

    group: str  # what it stands under together with its neighbours (a head, say)
    label: str
    scale: float = 100.0  # from the stored number to the shown one
    decimals: int = 1
    interval: bool = True  # shown where there is one
    signed: bool = False  # positive numbers too: a difference
    competes: bool = True  # what is not shown to be worse than the best number is bold
    text: bool = False  # it holds words
    only: str = ""  # shown on "screen" (Markdown, HTML) or on "paper" (LaTeX) alone

    @property
    def header(self) -> str:
        """Both names."""
        return f"{self.group} {self.label}".strip()


@dataclass(frozen=True)
class Value:
    """A number as stored: a mean over seeds, and what there is of their deviation and of a 95 % interval.

    ``mark`` is a sign after it: :data:`EQUIVALENT` or :data:`DIFFERS`.
    """

    mean: float
    std: float | None = None
    interval: tuple[float, float] | None = None
    mark: str = ""
    bold: bool = False  # the best of its column, or not shown to be worse


Entry = Value | str | None
"""What a cell of a table holds: a number, words, or nothing."""


@dataclass(frozen=True)
class Row:
    """A row of numbers."""

    stub: tuple[str, ...]  # the labels at its left
    block: str  # rows of one block compete: in each the best of a column is bold
    control: bool  # frames the others and does not compete
    values: tuple[Entry, ...]  # one a column
    cells: tuple[CellKey | None, ...] = ()  # of each value; None for several, empty where none has one


@dataclass(frozen=True)
class Table:
    """A table and the words around it: the columns of one group and the rows of one block stand together."""

    name: str  # of files and references
    caption: str
    stub: tuple[str, ...]  # headers of the labels
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def on(self, medium: str) -> "Table":
        """The table with the columns that ``screen`` or ``paper`` shows."""
        kept = [j for j, column in enumerate(self.columns) if column.only in ("", medium)]
        rows = tuple(
            replace(
                row,
                values=tuple(row.values[j] for j in kept),
                cells=tuple(row.cells[j] for j in kept if row.cells),
            )
            for row in self.rows
        )
        return replace(self, columns=tuple(self.columns[j] for j in kept), rows=rows)


def shown(number: float, column: Column) -> str:
    """``number`` as ``column`` shows it, without a sign on zero."""
    rounded = round(number * column.scale, column.decimals) + 0.0
    sign = "+" if column.signed and rounded > 0 else ""
    return f"{sign}{rounded:.{column.decimals}f}"


def spread_and_interval(value: Value, column: Column) -> tuple[str, str]:
    """The standard deviation and the interval of a number as ``column`` shows them, empty without any."""
    spread = "" if value.std is None else shown(value.std, replace(column, signed=False))
    if value.interval is None or not column.interval:
        return spread, ""
    return spread, f"[{', '.join(shown(end, column) for end in value.interval)}]"


def entry_text(
    entry: Entry, column: Column, bold: str = "{}", spread: str = " ± {}", interval: str = " {}"
) -> str:
    """``entry`` as ``column`` shows it: the number, its standard deviation and its interval.

    The last three arguments say how each of them is written, the first of them if it is bold.
    """
    if entry is None:
        return MISSING
    if isinstance(entry, str):
        return entry
    std, ends = spread_and_interval(entry, column)
    text = (bold if entry.bold else "{}").format(shown(entry.mean, column)) + entry.mark
    return text + (spread.format(std) if std else "") + (interval.format(ends) if ends else "")


def without_repeats(body: Sequence[list[str]], stub: int) -> list[list[str]]:
    """Rows whose leading labels (all but the last) are blank where they repeat those above."""
    rows, above = [], [""] * (stub - 1)
    for row in body:
        labels = row[: stub - 1]
        rows.append(([""] * (stub - 1) if labels == above else labels) + row[stub - 1 :])
        above = labels
    return rows
