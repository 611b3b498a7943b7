"""A table of numbers as LaTeX, which compiles and fits the pages of a paper."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby

from rspose.reporting.latex_characters import escaped
from rspose.reporting.markup import (
    Column,
    Entry,
    Row,
    Table,
    Value,
    best_cells,
    entry_text,
    shown,
    without_repeats,
)

TEXT_POINTS = 460.0
"""Width that tables are laid out for: somewhat less than both columns of CVPR, 497."""

PAGE_LINES = 46
"""Lines of a page that rows, headers and notes of one table take at most: article on letter paper."""

_GAP_POINTS = 6.0  # two \tabcolsep
_POINTS_PER_CENTIMETRE = 72.27 / 2.54

# Characters of about 2.6 and 6.2 points at \footnotesize; the others have about 4.25.
_NARROW = " .,:;'!iIjltfr()[]-/"
_WIDE = "ABCDEFGHKLMNOPQRSTUVWXYZmw+=%&@"


@dataclass(frozen=True)
class _Layout:
    """How a table is broken to fit the width of a page.

    Attributes:
        panels: Indices of the columns that stand side by side; panels stand below each other.
        below: Whether intervals stand below their numbers.
    """

    panels: tuple[tuple[int, ...], ...]
    below: bool


@dataclass(frozen=True)
class _Cell:
    """An entry: what stands on its line, and its interval, which may stand below it."""

    line: str
    interval: str = ""

    @property
    def both(self) -> str:
        return f"{self.line} {self.interval}".strip()


def to_latex(table: Table) -> str:
    """The table as a ``table*`` in the style of booktabs, its caption above and its notes below.

    Labels that all rows share move into the caption. Where it is wider than a page, intervals move below
    their numbers and groups of columns below each other; where it is longer, it is several tables, with the
    notes below the last. A page that is narrower still than :data:`TEXT_POINTS` shrinks it to its width.
    """
    table = _without_shared_labels(table.printed or table)
    cells = _cells(table)
    layout = _layout(table, cells)
    pages = _pages(table, layout)
    packages = ["booktabs", "graphicx", *(["array"] if any(c.centimetres for c in table.columns) else [])]
    lines = [rf"% Needs \usepackage{{{','.join(packages)}}}."]
    for number, page in enumerate(pages, start=1):
        first, last = number == 1, number == len(pages)
        lines += [
            r"\begin{table*}[tp]",
            rf"\caption{{{escaped(table.caption if first else f'{table.caption}, continued')}}}",
            rf"\label{{tab:{table.name}{'' if first else f'-{number}'}}}",
            r"\smallskip\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            *_tabular(table, cells, layout, page),
            *(["", r"\smallskip\raggedright"] if last and table.notes else []),
            *(escaped(note) + r"\par" for note in (table.notes if last else ())),
            r"\end{table*}",
        ]
    return "\n".join([*lines, ""])


def _without_shared_labels(table: Table) -> Table:
    """The table with labels that all rows share in its caption instead of in columns; the last one stays."""
    shared = [
        index
        for index, labels in enumerate(zip(*(row.stub for row in table.rows), strict=True))
        if len(table.rows) > 1 and index < len(table.stub) - 1 and len(set(labels)) == 1
    ]
    if not shared:
        return table
    kept = [index for index in range(len(table.stub)) if index not in shared]
    words = ", ".join(f"{table.stub[index].lower()} {table.rows[0].stub[index]}" for index in shared)
    rows = [replace(row, stub=tuple(row.stub[index] for index in kept)) for row in table.rows]
    stub = tuple(table.stub[index] for index in kept)
    return replace(table, caption=f"{table.caption}; {words}", stub=stub, rows=tuple(rows))


def _cells(table: Table) -> list[list[_Cell]]:
    """The entries of every row."""
    best = best_cells(table)
    columns = []
    for j, column in enumerate(table.columns):
        entries = [row.values[j] for row in table.rows]
        columns.append(_column_cells(entries, column, {i for i, of in best if of == j}))
    return [list(row) for row in zip(*columns, strict=True)] if table.rows else []


def _column_cells(entries: Sequence[Entry], column: Column, bold: set[int]) -> list[_Cell]:
    """The entries of a column, padded so that decimal points stand below each other."""
    values = [entry for entry in entries if isinstance(entry, Value)]
    unsigned = replace(column, signed=False)
    marks = {value.mark: escaped(value.mark) for value in values if value.mark}
    mark = rf"\phantom{{{max(marks.values(), default='')}}}" if marks else ""
    stds = [shown(value.std, unsigned) for value in values if value.std is not None]
    intervals = [_interval(value, column) for value in values]
    cells = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, Value):
            cells.append(_Cell(escaped(entry_text(entry, column))))
            continue
        number = _minus(shown(entry.mean, column))
        line = (rf"\textbf{{{number}}}" if index in bold else number) + marks.get(entry.mark, mark)
        if stds:
            own = "" if entry.std is None else shown(entry.std, unsigned)
            line += " " + _padded(own, stds, r"{{\scriptsize$\pm${}}}")
        interval = (
            _padded(_interval(entry, column), intervals, r"{{\scriptsize {}}}") if any(intervals) else ""
        )
        cells.append(_Cell(line, interval))
    return cells


def _interval(value: Value, column: Column) -> str:
    if value.interval is None or not column.interval:
        return ""
    return f"[{', '.join(shown(end, column) for end in value.interval)}]"


def _padded(text: str, others: Iterable[str], written: str) -> str:
    """``text``, written so, behind as much room as it lacks to the longest of others."""
    longest = max(others, key=len)
    if not text:
        return rf"\phantom{{{written.format(_minus(longest))}}}"
    missing = len(longest) - len(text)
    return written.format((rf"\phantom{{{'0' * missing}}}" if missing else "") + _minus(text))


def _minus(number: str) -> str:
    """``number`` with the sign of mathematics instead of a hyphen."""
    return number.replace("-", "$-$")


def _layout(table: Table, cells: Sequence[Sequence[_Cell]]) -> _Layout:
    """The lowest layout that fits the width of a page; the narrowest where none does."""
    groups = [[j for j, _ in members] for _, members in groupby(enumerate(table.columns), _group)]
    stub = sum(
        _GAP_POINTS + max(map(_points, map(escaped, labels)))
        for labels in zip(table.stub, *(row.stub for row in table.rows), strict=True)
    )
    # Intervals are worth a second line where most columns have them.
    used = sum(any(row[j].interval for row in cells) for j in range(len(table.columns)))
    fitting: list[tuple[int, _Layout]] = []
    for size in range(len(groups), 0, -1):
        parts = [groups[start : start + size] for start in range(0, len(groups), size)]
        for below in (False, True) if 2 * used > len(table.columns) else (False,):
            layout = _Layout(tuple(tuple(chain(*part)) for part in parts), below)
            widths = [sum(_group_width(table, cells, group, below) for group in part) for part in parts]
            if stub + max(widths) <= TEXT_POINTS:
                fitting.append((len(parts) * (1 + below), layout))
    return min(fitting, key=lambda found: found[0], default=(0, layout))[1]


def _group(numbered: tuple[int, Column]) -> str:
    return numbered[1].group


def _group_width(table: Table, cells: Sequence[Sequence[_Cell]], group: Sequence[int], below: bool) -> float:
    """Width of neighbouring columns and of the name above them."""
    widths = []
    for j in group:
        column = table.columns[j]
        if column.centimetres:
            widths.append(column.centimetres * _POINTS_PER_CENTIMETRE)
            continue
        texts = [escaped(column.label)]
        for row in cells:
            texts += [row[j].line, row[j].interval] if below else [row[j].both]
        widths.append(max(map(_points, texts)))
    inner = sum(widths) + _GAP_POINTS * len(widths)
    return max(inner, _points(escaped(table.columns[group[0]].group)) + _GAP_POINTS)


def _points(latex: str) -> float:
    r"""Width of a text in Computer Modern at \footnotesize, roughly; of \scriptsize from where it begins."""
    size, points = 1.0, 0.0
    for part in latex.split(r"\scriptsize"):
        text = re.sub(r"\\(textbf|emph|phantom)|[{}$]", "", part)
        text = re.sub(r"\\[A-Za-z]+", "+", text).replace("\\", "")
        points += size * sum(2.6 if c in _NARROW else 6.2 if c in _WIDE else 4.25 for c in text)
        size = 0.94
    return points


def _pages(table: Table, layout: _Layout) -> list[list[int]]:
    """The rows of each page: as few pages as can be, filled alike."""

    def lines(text: str, points: float) -> int:
        return math.ceil(_points(escaped(text)) / points)

    headers = 1 + any(column.group for column in table.columns)
    heights = []
    for row in table.rows:
        wrapped = [
            lines(entry, column.centimetres * _POINTS_PER_CENTIMETRE)
            for entry, column in zip(row.values, table.columns, strict=True)
            if column.centimetres and isinstance(entry, str)
        ]
        heights.append(max([1 + layout.below, *wrapped]) * len(layout.panels))
    most = PAGE_LINES - lines(table.caption, TEXT_POINTS) - headers * len(layout.panels)
    words = sum(lines(note, TEXT_POINTS) for note in table.notes)
    found = _filled(table.rows, heights, most)
    fitting = False
    for room in range(most, max(heights, default=0), -1):
        pages = _filled(table.rows, heights, room)
        if fitting and len(pages) > len(found):
            break
        if sum(heights[i] for i in pages[-1]) + words <= most:
            found, fitting = pages, True
    return found


def _filled(rows: Sequence[Row], heights: Sequence[int], room: int) -> list[list[int]]:
    """Pages with rows up to a height; a block that fits on one page is not cut."""
    pages: list[list[int]] = [[]]
    used = 0
    for _, members in groupby(range(len(rows)), lambda i: (rows[i].block, rows[i].control)):
        block = list(members)
        if pages[-1] and used + sum(heights[i] for i in block) > room >= sum(heights[i] for i in block):
            pages, used = [*pages, []], 0
        for i in block:
            if pages[-1] and used + heights[i] > room:
                pages, used = [*pages, []], 0
            pages[-1].append(i)
            used += heights[i]
    return pages


def _tabular(
    table: Table, cells: Sequence[Sequence[_Cell]], layout: _Layout, page: Sequence[int]
) -> list[str]:
    """The rules and rows of one page, in a box that is shrunk where it is wider than the text around it."""
    widest = max(layout.panels, key=len)
    alignment = [_alignment(table.columns[j]) for j in widest]
    lines: list[str] = []
    for panel in layout.panels:
        if rows := _rows(table, cells, layout.below, page, panel, alignment):
            lines += [r"\midrule"] * bool(lines)
            lines += [*_headers(table, cells, panel, alignment), *rows]
    return [
        r"\sbox0{%",
        rf"\begin{{tabular}}{{{'l' * len(table.stub)}{''.join(alignment)}}}",
        r"\toprule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}}%",
        r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
    ]


def _headers(
    table: Table, cells: Sequence[Sequence[_Cell]], panel: Sequence[int], alignment: Sequence[str]
) -> list[str]:
    """The names of the groups of columns, where they have some, and of the columns."""
    stub = len(table.stub)
    columns = [table.columns[j] for j in panel]
    lines = []
    if any(column.group for column in columns):
        names, rules, first = [""] * stub, [], stub + 1
        for group, members in groupby(columns, key=lambda column: column.group):
            width = len(list(members))
            names.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(group)}}}")
            if group:
                rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
            first += width
        lines += [_line(names, len(alignment) + stub - first + 1), " ".join(rules)]
    labels = _aligned([escaped(column.label) for column in columns], columns, alignment)
    for at, j in enumerate(panel):
        if any(r"\scriptsize" in row[j].both for row in cells):  # a number with its spread: in the middle
            labels[at] = rf"\multicolumn{{1}}{{c}}{{{escaped(columns[at].label)}}}"
    headers = [*map(escaped, table.stub), *labels]
    return [*lines, _line(headers, len(alignment) - len(panel)), r"\midrule"]


def _rows(
    table: Table,
    cells: Sequence[Sequence[_Cell]],
    below: bool,
    page: Sequence[int],
    panel: Sequence[int],
    alignment: Sequence[str],
) -> list[str]:
    """The rows of one page, those of different blocks apart; with ``below`` two lines a row."""
    stub = len(table.stub)
    columns = [table.columns[j] for j in panel]
    empty = len(alignment) - len(panel)
    # A model that was not trained with the head of a panel has no rows in it.
    filled = [{j for j, entry in enumerate(row.values) if entry not in (None, "")} for row in table.rows]
    page = [i for i in page if not filled[i] or filled[i] & set(panel)]
    labels = []
    for i in page:
        row = table.rows[i]
        names = [escaped(label) for label in row.stub]
        labels.append([*names[:-1], rf"\emph{{{names[-1]}}}" if row.control else names[-1]])
    lines: list[str] = []
    previous: Row | None = None
    for i, names in zip(page, without_repeats(labels, stub), strict=True):
        row, of_row = table.rows[i], [cells[i][j] for j in panel]
        if previous and (row.block != previous.block or row.control != previous.control):
            lines.append(r"\midrule")
        elif previous and below:
            lines.append(r"\addlinespace[2pt]")
        entries = [cell.line if below else cell.both for cell in of_row]
        lines.append(_line([*names, *_aligned(entries, columns, alignment)], empty))
        if below:
            intervals = _aligned([cell.interval for cell in of_row], columns, alignment)
            lines.append(_line([*[""] * stub, *intervals], empty))
        previous = row
    return lines


def _line(texts: Sequence[str], empty: int) -> str:
    r"""A line of a table and as many empty columns; what opens it is no argument of the \\ above."""
    line = " & ".join([*texts, *[""] * empty]) + r" \\"
    return f"{{}}{line}" if line.startswith(("[", "*")) else line


def _alignment(column: Column) -> str:
    if column.centimetres:
        return rf">{{\raggedright\arraybackslash}}p{{{column.centimetres:g}cm}}"
    return "l" if column.text else "r"


def _aligned(texts: Sequence[str], columns: Sequence[Column], alignment: Sequence[str]) -> list[str]:
    """Texts as their columns align them, where they stand in columns of another panel."""
    return [
        text if (own := _alignment(column)) == at else rf"\multicolumn{{1}}{{{own}}}{{{text}}}"
        for text, column, at in zip(texts, columns, alignment, strict=False)
    ]
