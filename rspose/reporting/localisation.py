"""Loss against localisation as a figure and a table."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rspose.reporting.markdown import to_markdown
from rspose.reporting.style import HEAD_LABELS, loss_colour
from rspose.reporting.table import DAGGER, Column, Row, Table, Value

_PATHS = {
    "shifted": "peak moves",
    "blurred": "... and narrows from twice its width",
    "split": "... and a second peak fades",
    "background": "... and a background sinks",
}
_HIGHEST = 2.0  # of the drawn loss, in multiples of its value at the start
_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1.2)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (2.5, 2.5)),
    (0, (8, 1, 1, 1, 1, 1)),
)

_EXPLAINED = (
    "Localisation error, in standard deviations of the label, up to which a loss prefers a wrong but cleaner "
    "map to a right one. At the start the peak stands on the keypoint, and the map has a defect; while the "
    "peak moves away, the defect vanishes. 0: the loss rises from the first step of {step:.1g} on, as it "
    "should; {largest:g}: it is still lower at the end. Each loss is given the raw output that it reads as "
    "the map in question."
)


def make_localisation(source: Path, out: Path) -> list[Path]:
    """Write ``source`` as a table (``table.md``, ``.csv``) and a figure (``figure.svg``, ``.png``).

    Args:
        source: File written by :func:`rspose.tools.localisation.write_localisation`.
        out: Folder of the files, made if it is not there.

    Returns:
        The files written.
    """
    content = json.loads(source.read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    table, numbers = out / "table.md", out / "table.csv"
    table.write_text(localisation_table(content), encoding="utf-8")
    _numbers(content).to_csv(numbers, index=False)
    written = [table, numbers]
    figure = localisation_figure(content)
    for suffix in ("svg", "png"):
        path = out / f"figure.{suffix}"
        with matplotlib.rc_context({"svg.hashsalt": "rspose"}):
            figure.savefig(path, dpi=150, metadata={"Date": None} if suffix == "svg" else None)
        written.append(path)
    return written


def localisation_table(content: dict[str, Any]) -> str:
    """The table of :func:`tolerated_errors` in Markdown."""
    return to_markdown(tolerated_errors(content))


def tolerated_errors(content: dict[str, Any]) -> Table:
    """A row a loss, a column a path and head; the least number of a column is the best."""
    numbers = _numbers(content)
    paths = [path for path in _PATHS if path != "shifted"]
    columns = [(head, path) for head in dict.fromkeys(numbers["head"]) for path in paths]
    found = numbers.set_index(["loss", "head", "path"]).tolerated_error
    rows = []
    for loss, title in dict(zip(numbers.loss, numbers.title, strict=True)).items():
        values = (found.get((loss, *column)) for column in columns)
        entries = tuple(None if value is None else Value(float(value)) for value in values)
        rows.append(Row((title,), "", False, entries))
    errors = content["losses"][0]["paths"]["shifted"]["errors"]
    explained = _EXPLAINED.format(largest=content["largest_error"], step=errors[1] - errors[0])
    marks = "Bold: least of a column."
    if numbers.reconstruction.any():
        marks += f" {DAGGER} Reconstruction: the publication leaves details open, which were filled in here."
    return Table(
        "localisation",
        "Loss against localisation",
        ("Loss",),
        tuple(Column(HEAD_LABELS.get(head, head), path, scale=1.0, least=True) for head, path in columns),
        tuple(rows),
        (explained, marks),
    )


def localisation_figure(content: dict[str, Any]) -> Figure:
    """Each loss along each path, one row of panels a head.

    Where the peak only moves, the loss is drawn relative to its value at the end; elsewhere relative to its
    value at the start, so that below 1 it prefers the worse localised map.
    """
    heads = list(dict.fromkeys(entry["head"] for entry in content["losses"]))
    names = list(dict.fromkeys(entry["loss"] for entry in content["losses"]))
    figure = Figure(figsize=(3.1 * len(_PATHS), 2.6 * len(heads) + 0.9), layout="constrained")
    grid = figure.subplots(len(heads), len(_PATHS), squeeze=False, sharex=True)
    for row, head in zip(grid, heads, strict=True):
        for axes, (path, title) in zip(row, _PATHS.items(), strict=True):
            moves = path == "shifted"
            if not moves:
                axes.axhspan(0, 1, color="0.92", zorder=0)
                axes.axhline(1, color="0.4", linewidth=0.8)
            for entry in content["losses"]:
                if entry["head"] != head:
                    continue
                errors, values = entry["paths"][path]["errors"], entry["paths"][path]["values"]
                unit = values[-1] if moves else values[0]
                place = names.index(entry["loss"])
                axes.plot(
                    errors,
                    [value / unit for value in values],
                    color=loss_colour(entry["loss"]),
                    linestyle=_DASHES[place % len(_DASHES)],
                    linewidth=1.6,
                )
            axes.set_ylim(0, 1.05 if moves else _HIGHEST)
            axes.set_xlim(0, content["largest_error"])
            axes.set_title(title if head == heads[0] else "", fontsize=10)
            axes.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(f"{HEAD_LABELS.get(head, head)}: loss relative to the end", fontsize=9)
        row[1].set_ylabel("loss relative to the start", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("localisation error (σ of the label)", fontsize=9)
    marks = [
        Line2D(
            [],
            [],
            color=loss_colour(name),
            linestyle=_DASHES[names.index(name) % len(_DASHES)],
            label=_label(next(entry for entry in content["losses"] if entry["loss"] == name)),
        )
        for name in names
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=6, fontsize=9, frameon=False)
    figure.suptitle("In grey a loss prefers a worse localised map to the one it started from", fontsize=11)
    return figure


def _numbers(content: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "loss": entry["loss"],
            "title": _label(entry),
            "reconstruction": entry["reconstruction"],
            "head": entry["head"],
            "path": path,
            "tolerated_error": followed["tolerated_error"],
        }
        for entry in content["losses"]
        for path, followed in entry["paths"].items()
    )


def _label(entry: dict[str, Any]) -> str:
    return f"{entry['title']} {DAGGER}" if entry["reconstruction"] else str(entry["title"])
