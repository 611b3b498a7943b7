"""A table of numbers as Markdown and as LaTeX."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from tabulate import tabulate

MISSING = "—"
DAGGER = "†"
TIE = "≈"
DIFFERS = "*"


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        group: What it stands under together with its neighbours (a head, say).
        label: Its own name.
        scale: Factor from the stored number to the shown one: 100 for percent.
        decimals: Decimals shown.
        interval: Whether intervals are shown.
        signed: Whether positive numbers have a sign: a difference.
        competes: Whether the best number is bold.
        least: Whether the least number is bold, an error, also where it stands alone.
        text: Whether it holds words.
        centimetres: Width that LaTeX breaks its words to; as wide as they are if 0.
    """

    group: str
    label: str
    scale: float = 100.0
    decimals: int = 1
    interval: bool = True
    signed: bool = False
    competes: bool = True
    least: bool = False
    text: bool = False
    centimetres: float = 0.0

    @property
    def header(self) -> str:
        """Both names."""
        return f"{self.group} {self.label}".strip()


@dataclass(frozen=True)
class Value:
    """A number as stored.

    Attributes:
        mean: The number, a mean over seeds.
        std: Standard deviation over seeds; None for one seed.
        interval: Ends of the 95 % interval, None where there is none.
        mark: A sign after the number: :data:`TIE` or :data:`DIFFERS`.
    """

    mean: float
    std: float | None = None
    interval: tuple[float, float] | None = None
    mark: str = ""


Entry = Value | str | None
"""What a cell of a table holds: a number, words, or nothing."""

CellKey = tuple[str, str, str, str]
"""Dataset, model, head and loss."""


@dataclass(frozen=True)
class Row:
    """A row of numbers.

    Attributes:
        stub: The labels at its left.
        block: Rows of one block compete: in each the best of a column is bold.
        control: A control frames the others and does not compete.
        values: One a column.
        cells: Of each value the cell that it is of, None for one of several; empty where no value has one.
    """

    stub: tuple[str, ...]
    block: str
    control: bool
    values: tuple[Entry, ...]
    cells: tuple[CellKey | None, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table and the words around it.

    Attributes:
        name: Short name, for file names and labels.
        caption: What the numbers are.
        stub: Headers of the columns of labels.
        columns: The columns of numbers, neighbours of one group together.
        rows: The rows, those of one block together.
        notes: Sentences below it, a line each.
        page_rows: Rows that LaTeX puts into one table: what is more goes into further ones; all if 0.
        printed: What LaTeX has instead; this table if left out.
    """

    name: str
    caption: str
    stub: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    page_rows: int = 0
    printed: "Table | None" = None


def shown(number: float, column: Column) -> str:
    """``number`` as ``column`` shows it, without a sign on zero."""
    rounded = round(number * column.scale, column.decimals) + 0.0
    sign = "+" if column.signed and rounded > 0 else ""
    return f"{sign}{rounded:.{column.decimals}f}"


def best_cells(table: Table) -> set[tuple[int, int]]:
    """Row and column indices of the best numbers: the largest of each column and block, or the least.

    Numbers that are shown alike are all of them best, unless they are marked as ties. Controls do not
    compete, and a loss that stands alone has won nothing.
    """
    best: set[tuple[int, int]] = set()
    for block in {row.block for row in table.rows}:
        competing = [i for i, row in enumerate(table.rows) if row.block == block and not row.control]
        for j, column in enumerate(table.columns):
            if not column.competes:
                continue
            entries = {i: table.rows[i].values[j] for i in competing}
            values = {i: entry for i, entry in entries.items() if isinstance(entry, Value)}
            if len(values) > (0 if column.least else 1):
                extreme = min if column.least else max
                top = shown(extreme(value.mean for value in values.values()), column)
                best |= {
                    (i, j)
                    for i, value in values.items()
                    if shown(value.mean, column) == top and value.mark != TIE
                }
    return best


def to_markdown(table: Table) -> str:
    """The table in Markdown, caption above, notes below; column groups are prefixes of the headers."""
    best = best_cells(table)
    headers = [name.replace("|", r"\|") for name in (*table.stub, *(c.header for c in table.columns))]
    body = []
    for i, row in enumerate(table.rows):
        numbers = []
        for j, (value, column) in enumerate(zip(row.values, table.columns, strict=True)):
            numbers.append(entry_text(value, column, "**{}**" if (i, j) in best else "{}"))
        labels = [label.replace("|", r"\|") for label in row.stub]
        if row.control:
            labels[-1] = f"*{labels[-1]}*"
        body.append([*labels, *numbers])
    align = ["left"] * len(table.stub) + ["left" if column.text else "right" for column in table.columns]
    grid = tabulate(
        _without_repeats(body, len(table.stub)), headers, "pipe", colalign=align, disable_numparse=True
    )
    # Two trailing spaces break the line in Markdown, and one blank line ends the table.
    return "\n".join([f"**{table.caption}**", "", grid, "", "  \n".join(table.notes)]) + "\n"


def to_latex(table: Table) -> str:
    """The table as a LaTeX ``table*`` in the style of booktabs, its caption above and its notes below.

    One that is longer than a page is several, with the notes below the last.
    """
    if table.printed is not None:
        return to_latex(table.printed)
    lines = _latex_rows(table)
    step = table.page_rows or max(1, len(lines))
    parts = [slice(start, start + step) for start in range(0, max(1, len(lines)), step)]
    packages = "booktabs,array" if any(column.centimetres for column in table.columns) else "booktabs"
    floats = []
    for number, part in enumerate(parts, start=1):
        body = _latex_body(table.rows[part], lines[part])
        suffix = "" if number == 1 else f"-{number}"
        caption = table.caption if number == 1 else f"{table.caption}, continued"
        notes = table.notes if number == len(parts) else ()
        floats += _latex_float(table, f"{table.name}{suffix}", caption, body, notes)
    return "\n".join([rf"% Needs \usepackage{{{packages}}}.", *floats, ""])


def _latex_rows(table: Table) -> list[list[str]]:
    """The labels and entries of every row."""
    best = best_cells(table)
    body = []
    for i, row in enumerate(table.rows):
        numbers = []
        for j, (value, column) in enumerate(zip(row.values, table.columns, strict=True)):
            bold = r"\textbf{{{}}}" if (i, j) in best else "{}"
            text = entry_text(value, column, bold, r" {{\scriptsize$\pm${}}}", r" {{\scriptsize {}}}")
            numbers.append(
                escaped(text) if column.text else text.replace(MISSING, "---").replace(TIE, r"$\approx$")
            )
        labels = [escaped(label) for label in row.stub]
        if row.control:
            labels[-1] = rf"\emph{{{labels[-1]}}}"
        body.append([*labels, *numbers])
    return body


def _latex_body(rows: Sequence[Row], body: list[list[str]]) -> list[str]:
    """The lines between the rules of a table: its rows, those of different blocks apart."""
    lines = []
    previous: Row | None = None
    for row, cells in zip(rows, _without_repeats(body, len(rows[0].stub) if rows else 0), strict=True):
        if previous and (row.block != previous.block or row.control != previous.control):
            lines.append(r"\midrule")
        lines.append(" & ".join(cells) + r" \\")
        previous = row
    return lines


def _latex_float(
    table: Table, name: str, caption: str, body: Sequence[str], notes: Sequence[str]
) -> list[str]:
    stub = len(table.stub)
    groups, rules, first = [""] * stub, [], stub + 1
    for group, members in groupby(table.columns, key=lambda column: column.group):
        width = len(list(members))
        groups.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(group)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    headers = [*table.stub, *(column.label for column in table.columns)]
    # Words that break need room for several columns of them: smaller type.
    size = r"\footnotesize" if any(column.centimetres for column in table.columns) else r"\small"
    return [
        r"\begin{table*}[t]",
        rf"\centering{size}\setlength{{\tabcolsep}}{{4pt}}",
        rf"\caption{{{escaped(caption)}}}",
        rf"\label{{tab:{name}}}",
        rf"\begin{{tabular}}{{{'l' * stub}{''.join(map(_latex_alignment, table.columns))}}}",
        r"\toprule",
        " & ".join(groups) + r" \\",
        " ".join(rules),
        " & ".join(escaped(header) for header in headers) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *(["", r"\smallskip\raggedright\footnotesize"] if notes else []),
        *(escaped(note) + r"\par" for note in notes),
        r"\end{table*}",
    ]


def _latex_alignment(column: Column) -> str:
    if column.centimetres:
        return rf">{{\raggedright\arraybackslash}}p{{{column.centimetres:g}cm}}"
    return "l" if column.text else "r"


def escaped(text: str) -> str:
    """``text`` with the characters that LaTeX reads as commands written so that they are printed."""
    commands = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        DAGGER: r"$^\dagger$",
        MISSING: "---",
        "–": "--",
        "±": r"$\pm$",
        "×": r"$\times$",
        "ρ": r"$\rho$",
        "τ": r"$\tau$",
        "≈": r"$\approx$",
    }
    return re.sub(
        r"[\\~^†—–±×ρτ≈&%$#_{}]", lambda match: commands.get(match.group(), "\\" + match.group()), text
    )


def entry_text(
    entry: Entry, column: Column, number: str = "{}", spread: str = " ± {}", interval: str = " {}"
) -> str:
    """``entry`` as ``column`` shows it: the number, its standard deviation and its interval.

    The last three arguments say how each of them is written.
    """
    if entry is None:
        return MISSING
    if isinstance(entry, str):
        return entry
    text = number.format(shown(entry.mean, column)) + entry.mark
    if entry.std is not None:
        text += spread.format(shown(entry.std, replace(column, signed=False)))
    if column.interval and entry.interval is not None:
        text += interval.format(f"[{', '.join(shown(end, column) for end in entry.interval)}]")
    return text


def _without_repeats(body: list[list[str]], stub: int) -> list[list[str]]:
    """Rows whose leading labels (all but the last) are blank where they repeat those above."""
    rows, above = [], [""] * (stub - 1)
    for row in body:
        labels = row[: stub - 1]
        rows.append(([""] * (stub - 1) if labels == above else labels) + row[stub - 1 :])
        above = labels
    return rows
