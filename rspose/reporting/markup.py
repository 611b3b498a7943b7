"""A table of numbers as Markdown and as LaTeX."""

import re
from dataclasses import dataclass
from itertools import groupby

from tabulate import tabulate

MISSING = "—"
DAGGER = "†"


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        group: What it stands under together with its neighbours (a head, say).
        label: Its own name.
        scale: Factor from the stored number to the shown one: 100 for percent.
        decimals: Decimals shown.
    """

    group: str
    label: str
    scale: float = 100.0
    decimals: int = 1


@dataclass(frozen=True)
class Value:
    """A mean over seeds and its standard deviation, as stored; one seed has no deviation (None)."""

    mean: float
    std: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of numbers.

    Attributes:
        stub: The labels at its left.
        block: Rows of one block compete: in each the best of a column is bold.
        control: A control frames the others and does not compete.
        values: One a column; None where there is no number.
    """

    stub: tuple[str, ...]
    block: str
    control: bool
    values: tuple[Value | None, ...]


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
    """

    name: str
    caption: str
    stub: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def shown(number: float, column: Column) -> str:
    """``number`` as ``column`` shows it, without a sign on zero."""
    return f"{round(number * column.scale, column.decimals) + 0.0:.{column.decimals}f}"


def best_cells(table: Table) -> set[tuple[int, int]]:
    """Row and column indices of the best numbers: the largest of each column and block.

    Numbers that are shown alike tie. Controls do not compete, and a loss that stands alone has won nothing.
    """
    best: set[tuple[int, int]] = set()
    for block in {row.block for row in table.rows}:
        competing = [i for i, row in enumerate(table.rows) if row.block == block and not row.control]
        for j, column in enumerate(table.columns):
            values = {i: value.mean for i in competing if (value := table.rows[i].values[j]) is not None}
            if len(values) > 1:
                top = shown(max(values.values()), column)
                best |= {(i, j) for i, mean in values.items() if shown(mean, column) == top}
    return best


def to_markdown(table: Table) -> str:
    """The table in Markdown, caption above, notes below; column groups are prefixes of the headers."""
    best = best_cells(table)
    headers = [*table.stub, *(f"{column.group} {column.label}" for column in table.columns)]
    body = []
    for i, row in enumerate(table.rows):
        numbers = []
        for j, (value, column) in enumerate(zip(row.values, table.columns, strict=True)):
            numbers.append(_number(value, column, bold="**{}**" if (i, j) in best else "{}", spread=" ± {}"))
        labels = [label.replace("|", r"\|") for label in row.stub]
        if row.control:
            labels[-1] = f"*{labels[-1]}*"
        body.append([*labels, *numbers])
    align = ["left"] * len(table.stub) + ["right"] * len(table.columns)
    grid = tabulate(
        _without_repeats(body, len(table.stub)), headers, "pipe", colalign=align, disable_numparse=True
    )
    # Two trailing spaces break the line in Markdown, and one blank line ends the table.
    return "\n".join([f"**{table.caption}**", "", grid, "", "  \n".join(table.notes)]) + "\n"


def to_latex(table: Table) -> str:
    """The table as a LaTeX ``table*`` in the style of booktabs, its caption above and its notes below."""
    best = best_cells(table)
    body = []
    for i, row in enumerate(table.rows):
        numbers = []
        for j, (value, column) in enumerate(zip(row.values, table.columns, strict=True)):
            bold = r"\textbf{{{}}}" if (i, j) in best else "{}"
            number = _number(value, column, bold=bold, spread=r" {{\scriptsize$\pm${}}}")
            numbers.append(number.replace(MISSING, "---"))
        labels = [escaped(label) for label in row.stub]
        if row.control:
            labels[-1] = rf"\emph{{{labels[-1]}}}"
        body.append([*labels, *numbers])
    lines = []
    previous: Row | None = None
    for row, cells in zip(table.rows, _without_repeats(body, len(table.stub)), strict=True):
        if previous and (row.block != previous.block or row.control != previous.control):
            lines.append(r"\midrule")
        lines.append(" & ".join(cells) + r" \\")
        previous = row
    stub, count = len(table.stub), len(table.columns)
    groups, rules, first = [""] * stub, [], stub + 1
    for name, members in groupby(table.columns, key=lambda column: column.group):
        width = len(list(members))
        groups.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(name)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    headers = [*table.stub, *(column.label for column in table.columns)]
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs}.",
            r"\begin{table*}[t]",
            r"\centering\small\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{escaped(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{'l' * stub}{'r' * count}}}",
            r"\toprule",
            " & ".join(groups) + r" \\",
            " ".join(rules),
            " & ".join(escaped(header) for header in headers) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            "",
            r"\smallskip\raggedright\footnotesize",
            *(escaped(note) + r"\par" for note in table.notes),
            r"\end{table*}",
            "",
        ]
    )


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
    }
    return re.sub(
        r"[\\~^†—–±×ρτ&%$#_{}]", lambda match: commands.get(match.group(), "\\" + match.group()), text
    )


def _number(value: Value | None, column: Column, bold: str, spread: str) -> str:
    if value is None:
        return MISSING
    text = bold.format(shown(value.mean, column))
    return text if value.std is None else text + spread.format(shown(value.std, column))


def _without_repeats(body: list[list[str]], stub: int) -> list[list[str]]:
    """Rows whose leading labels (all but the last) are blank where they repeat those above."""
    rows, above = [], [""] * (stub - 1)
    for row in body:
        labels = row[: stub - 1]
        rows.append(([""] * (stub - 1) if labels == above else labels) + row[stub - 1 :])
        above = labels
    return rows
