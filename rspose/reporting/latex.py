"""A table as LaTeX, which compiles and fits the pages of a paper."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from itertools import chain, groupby

from pylatexenc.latexencode import RULE_DICT, RULE_REGEX, UnicodeToLatexConversionRule, UnicodeToLatexEncoder

from rspose.reporting.table import (
    Row,
    Table,
    Value,
    entry_text,
    shown,
    spread_and_interval,
    without_repeats,
)

_WIDTH = 118
"""Characters of a line across both columns of CVPR at ``\\footnotesize``. LaTeX shrinks what is wider."""
_NARROW = 84
"""Characters of a line of notes in a paper of one column."""
_HEIGHT = 46
"""Lines of a page that rows, headers and notes of one table take at most: article on letter paper."""

# What pdfLaTeX prints without further packages: Latin and Greek letters, and signs.
_PRINTED = " -~¡-ª¬®-º¼-ÏÑ-Ýß-ïñ-ýÿ-ăĆ-ďĒ-ėĚ-ĭİ-ĿŁ-ňŌ-űŴ-žΑ-ΡΣ-Ωα-ω–—‘’“”†‡•…→←−∞≈≠≤≥∆∑∏√∂∇∈∫"


def to_latex(table: Table) -> str:
    """The table as a ``table*`` in the style of booktabs, its caption above and its notes below.

    Labels that all rows share move into the caption. Where it is wider than a page, intervals move below
    their numbers and groups of columns below each other, and LaTeX shrinks what is still wider; where it is
    longer, it is several tables, with the notes below the last.
    """
    table = _without_shared_labels(table.on("paper"))
    panels, below = _layout(table)
    lines = [r"% Needs \usepackage{booktabs,graphicx}."]
    pages = _pages(table, len(panels), 2 if below else 1)
    for number, page in enumerate(pages, start=1):
        first, last = number == 1, number == len(pages)
        lines += [
            r"\begin{table*}[tp]",
            rf"\caption{{{escaped(table.caption if first else f'{table.caption}, continued')}}}",
            rf"\label{{tab:{table.name}{'' if first else f'-{number}'}}}",
            r"\smallskip\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        ]
        for panel in panels:
            lines += _tabular(table, page, panel, below)
        if last and table.notes:
            lines += ["", r"\smallskip\raggedright", *(escaped(note) + r"\par" for note in table.notes)]
        lines.append(r"\end{table*}")
    return "\n".join([*lines, ""])


@cache
def _encoder() -> UnicodeToLatexEncoder:
    signs = {"|": r"\textbar", "`": r"\textasciigrave", "<": r"\textless", ">": r"\textgreater"}
    signs |= {"×": r"\ensuremath{\times}", "→": r"\ensuremath{\to}"}  # of the font of mathematics
    own = UnicodeToLatexConversionRule(RULE_DICT, {ord(sign): text for sign, text in signs.items()})
    dashes = UnicodeToLatexConversionRule(RULE_REGEX, [(re.compile("-(?=-)"), "-{}")])  # would join
    return UnicodeToLatexEncoder(
        conversion_rules=[own, dashes, "defaults"],
        replacement_latex_protection="braces-all",
        unknown_char_policy=_number,
    )


@lru_cache(10_000)  # labels and marks stand in thousands of rows
def escaped(text: str) -> str:
    """``text`` so that LaTeX prints it as it stands, whichever characters it has.

    One that no font of pdfLaTeX's has is named by its number, as U+4E2D.
    """
    printed = re.sub(f"[^{_PRINTED}]", lambda found: _number(found[0]), " ".join(text.split()))
    return str(_encoder().unicode_to_latex(printed))


def _number(character: str) -> str:
    return f"U+{ord(character):04X}"


def _without_shared_labels(table: Table) -> Table:
    """The table with labels that all rows share in its caption instead of in columns; the last one stays."""
    if len(table.rows) < 2:
        return table
    *leading, _ = zip(*(row.stub for row in table.rows), strict=True)
    shared = {index: labels[0] for index, labels in enumerate(leading) if len(set(labels)) == 1}
    if not shared:
        return table

    def kept(labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(label for index, label in enumerate(labels) if index not in shared)

    words = ", ".join(f"{table.stub[index].lower()} {label}" for index, label in shared.items())
    rows = tuple(replace(row, stub=kept(row.stub)) for row in table.rows)
    return replace(table, caption=f"{table.caption}; {words}", stub=kept(table.stub), rows=rows)


def _layout(table: Table) -> tuple[list[list[int]], bool]:
    """The columns of each panel, one below the other, and whether intervals stand below their numbers.

    The lowest layout whose rows have at most as many characters as fit a line; else the narrowest.
    """
    groups = [list(of) for _, of in groupby(range(len(table.columns)), lambda j: table.columns[j].group)]
    labels = zip(table.stub, *(row.stub for row in table.rows), strict=True)
    stub = sum(max(map(len, of_column)) + 1 for of_column in labels)
    beside, beneath = ([_characters(table, j, below) for j in range(len(table.columns))] for below in (0, 1))
    # Intervals are worth a second line where most columns have them.
    used = sum(a != b for a, b in zip(beside, beneath, strict=True))
    fitting = []
    for size in range(len(groups), 0, -1):
        panels = [list(chain(*groups[start : start + size])) for start in range(0, len(groups), size)]
        for below in (False, True) if 2 * used > len(table.columns) else (False,):
            widths = beneath if below else beside
            if stub + max(sum(widths[j] + 1 for j in panel) for panel in panels) <= _WIDTH:
                fitting.append((len(panels) * (1 + below), (panels, below)))
    return min(fitting, key=lambda found: found[0], default=(0, (panels, below)))[1]


def _characters(table: Table, j: int, below: int) -> int:
    """Characters of the widest entry of a column, with or without its interval beside it."""
    column = table.columns[j]
    shorter = replace(column, interval=column.interval and not below)
    lengths = [len(column.label)]
    for row in table.rows:
        whole, number = (len(entry_text(row.values[j], each)) for each in (column, shorter))
        lengths += [number, whole - number - 1]
    return max(lengths)


def _pages(table: Table, panels: int, height: int) -> list[list[int]]:
    """The rows of each page: as few pages as hold them, each as full as the others.

    A block is cut only where it is longer than a page.
    """
    grouped = any(column.group for column in table.columns)
    height *= panels
    most = _HEIGHT - panels * (2 if grouped else 1) - len(table.caption) // _WIDTH
    words = sum(1 + len(note) // _NARROW for note in table.notes)
    blocks = [
        list(of)
        for _, of in groupby(range(len(table.rows)), lambda i: (table.rows[i].block, table.rows[i].control))
    ]
    found = []
    for room in range(1, max(1, most // height) + 1):
        pages: list[list[int]] = [[]]
        for block in blocks:
            if pages[-1] and len(pages[-1]) + len(block) > room >= len(block):
                pages.append([])
            for i in block:
                if len(pages[-1]) == room:
                    pages.append([])
                pages[-1].append(i)
        found.append((len(pages[-1]) * height + words > most, len(pages), room, pages))
    return min(found)[3]


def _tabular(table: Table, page: Sequence[int], panel: Sequence[int], below: bool) -> list[str]:
    """The rows of one page with the columns of one panel, which LaTeX shrinks where they are too wide."""
    # A model that was not trained with the head of a panel has no rows in it.
    filled = [{j for j, entry in enumerate(row.values) if entry not in (None, "")} for row in table.rows]
    page = [i for i in page if not filled[i] or filled[i] & set(panel)]
    if not page:
        return []
    columns = [_column(table, j, below) for j in panel]
    stub = len(table.stub)
    labels = []
    for i in page:
        *first, name = map(escaped, table.rows[i].stub)
        labels.append([*first, rf"\emph{{{name}}}" if table.rows[i].control else name])
    lines: list[str] = []
    previous: Row | None = None
    for i, names in zip(page, without_repeats(labels, stub), strict=True):
        row = table.rows[i]
        if previous and (row.block != previous.block or row.control != previous.control):
            lines.append(r"\midrule")
        elif previous and below:
            lines.append(r"\addlinespace[2pt]")
        lines.append(_line([*names, *(cells[i][0] for _, _, cells in columns)]))
        if below:
            lines.append(_line([*[""] * stub, *(cells[i][1] for _, _, cells in columns)]))
        previous = row
    headers: list[str] = []
    rules: list[str] = []
    used = stub
    for group, members in groupby(zip(panel, columns, strict=True), lambda one: table.columns[one[0]].group):
        width = sum(parts for _, (_, parts, _) in members)
        headers.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(group)}}}")
        rules += [rf"\cmidrule(lr){{{used + 1}-{used + width}}}"] if group else []
        used += width
    names = [
        _over(parts, escaped(table.columns[j].label)) for j, (_, parts, _) in zip(panel, columns, strict=True)
    ]
    return [
        r"\sbox0{%",
        rf"\begin{{tabular}}{{{'l' * stub}{''.join(alignment for alignment, _, _ in columns)}}}",
        r"\toprule",
        *([_line([*[""] * stub, *headers]), " ".join(rules)] if rules else []),
        _line([*map(escaped, table.stub), *names]),
        r"\midrule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}}%",
        r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi\par",
    ]


def _column(table: Table, j: int, below: bool) -> tuple[str, int, list[tuple[str, str]]]:
    """A column: its alignment, its parts, and of every row the entry and what stands below it.

    Number, deviation and interval are columns of LaTeX's, so that their points stand below each other.
    """
    column = table.columns[j]
    values = {i: value for i, row in enumerate(table.rows) if isinstance(value := row.values[j], Value)}
    spreads = {i: spread_and_interval(value, column) for i, value in values.items()}
    marked = any(value.mark or spreads[i][0] for i, value in values.items())
    beside = not below and any(interval for _, interval in spreads.values())
    parts = 1 + marked + beside
    cells = []
    for i, row in enumerate(table.rows):
        std, interval = spreads.get(i, ("", ""))
        small = rf"{{\scriptsize {_minus(interval)}}}" if interval else ""
        if i in values:
            number = _minus(shown(values[i].mean, column))
            text = rf"\textbf{{{number}}}" if values[i].bold else number
            if marked:
                text += f" & {escaped(values[i].mark)}" + (rf" {{\scriptsize$\pm${std}}}" if std else "")
            if beside:
                text += f" & {small}"
        else:
            text = _over(parts, escaped(entry_text(row.values[j], column)))
        cells.append((text, _over(parts, small if below else "")))
    alignment = "l" if column.text else "r" + "@{}l" * marked + "@{ }r" * beside
    return alignment, parts, cells


def _over(columns: int, text: str) -> str:
    return text if columns == 1 else rf"\multicolumn{{{columns}}}{{c}}{{{text}}}"


def _minus(number: str) -> str:
    """``number`` with the sign of mathematics instead of a hyphen."""
    return number.replace("-", "$-$")


def _line(texts: Sequence[str]) -> str:
    r"""A line of a table; what opens it is no argument of the \\ above."""
    line = " & ".join(texts) + r" \\"
    return f"{{}}{line}" if line.startswith(("[", "*")) else line
