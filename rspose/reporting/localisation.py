"""Loss against localisation as a figure and a table."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from rspose.reporting import notes
from rspose.reporting.chart_frames import PATHS, loss_label
from rspose.reporting.charts import LOCALISATION
from rspose.reporting.frame import to_csv
from rspose.reporting.markdown import to_markdown
from rspose.reporting.study_figures import draw
from rspose.reporting.style import head_label, loss_order
from rspose.reporting.table import Column, Row, Table, Value

_EXPLAINED = (
    "Localisation error, in standard deviations of the label, up to which a loss prefers a wrong but cleaner "
    "map to a right one. At the start the peak stands on the keypoint, and the map has a defect; while the "
    "peak moves away, the defect vanishes. 0: the loss rises from the first step of {step:.1g} on, as it "
    "should; {largest:g}: it is still lower at the end. Each loss is given the raw output that it reads as "
    "the map in question."
)


def make_localisation(source: Path, out: Path) -> list[Path]:
    """Write a table (``table.md``, ``.csv``) and a figure (``figure.svg``, ``.png``) into the folder ``out``.

    ``source`` is a file of :func:`rspose.tools.localisation.write_localisation`.
    """
    content = json.loads(source.read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    table, numbers = out / "table.md", out / "table.csv"
    table.write_text(to_markdown(tolerated_errors(content)), encoding="utf-8")
    numbers.write_text(to_csv(_numbers(content)), encoding="utf-8")
    frame = LOCALISATION.frame(content)
    return [table, numbers, *draw(LOCALISATION, frame, localised_losses(content), out / "figure.png")]


def localised_losses(content: dict[str, Any]) -> dict[str, str]:
    """Every loss of a localisation file and its label, in the order of the tables."""
    labels = {entry["loss"]: loss_label(entry) for entry in content["losses"]}
    return dict(sorted(labels.items(), key=lambda item: loss_order(item[0], False)))


def tolerated_errors(content: dict[str, Any]) -> Table:
    """A row a loss, a column a path and head; the least number of a column is the best."""
    numbers = _numbers(content)
    columns = [(head, path) for head in numbers["head"].unique() for path in PATHS if path != "shifted"]
    found = numbers.set_index(["loss", "head", "path"]).tolerated_error
    least = found.groupby(level=["head", "path"]).min().round(1)
    rows = []
    for loss, title in dict(zip(numbers.loss, numbers.title, strict=True)).items():
        values = ((found.get((loss, *column)), least[column]) for column in columns)
        entries = (
            None if value is None else Value(value, bold=round(value, 1) == best) for value, best in values
        )
        rows.append(Row((title,), "", False, tuple(entries)))
    errors = content["losses"][0]["paths"]["shifted"]["errors"]
    explained = _EXPLAINED.format(largest=content["largest_error"], step=errors[1] - errors[0])
    marks = ["Bold: least of a column.", *[notes.RECONSTRUCTION] * bool(numbers.reconstruction.any())]
    return Table(
        "localisation",
        "Loss against localisation",
        ("Loss",),
        tuple(Column(head_label(head), path, scale=1.0) for head, path in columns),
        tuple(rows),
        (explained, " ".join(marks)),
    )


def _numbers(content: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "loss": entry["loss"],
            "title": loss_label(entry),
            "reconstruction": entry["reconstruction"],
            "head": entry["head"],
            "path": path,
            "tolerated_error": followed["tolerated_error"],
        }
        for entry in content["losses"]
        for path, followed in entry["paths"].items()
    )
