"""Records as one tidy table, in the order in which everything shows them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from rspose.grid.record import Record
from rspose.grid.records import load_records
from rspose.reporting.style import cell_order

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a text starts with that a spreadsheet runs."""
_AS_THEY_ARE = ("grid", "config", "protocol", "data", "training", "provenance")


def ordered_records(*places: Path) -> list[Record]:
    """What :func:`rspose.grid.records.load_records` finds, in the order of the tables."""

    def place(record: Record) -> tuple[object, ...]:
        cell = record.cell
        return cell_order(*cell[:4], record.control), cell.length, cell.seed

    return sorted(load_records(*places), key=place)


def tidy(records: Iterable[Record]) -> pd.DataFrame:
    """The records as a tidy table.

    Returns:
        One row a record. Columns: ``dataset``, ``model``, ``head``, ``loss``, ``seed``, ``length``,
        ``control``, and the rest of the record with its keys joined by dots (``metrics.AP``,
        ``training.iterations``), the bootstrap as ``bootstrap.images`` and the ends of its intervals
        (``bootstrap.metrics.AP.low``). Lists, and the parameters of the loss, are JSON text. Scores are
        fractions; a missing one is NaN.
    """
    rows = []
    for record in records:
        content = record.content
        row: dict[str, Any] = {**record.cell._asdict(), "control": record.control}
        row |= {f"loss.{key}": value for key, value in content["loss"].items()}
        row["loss.parameters"] = json.dumps(content["loss"]["parameters"], sort_keys=True)
        row |= record.scores
        for level in ("keypoint", "pose"):
            row[f"confidence.{level}.n"] = content["confidence"][level]["n"]
        row |= {key: content[key] for key in _AS_THEY_ARE if key in content}
        if record.draws is not None:
            row["bootstrap.images"] = record.draws[0]
            for name in record.scores:
                if (interval := record.interval(name)) is not None:
                    row[f"bootstrap.{name}.low"], row[f"bootstrap.{name}.high"] = interval
        # A curve is drawn, not tabulated.
        row["training"] = {key: value for key, value in (content["training"] or {}).items() if key != "curve"}
        rows.append(row)
    table = pd.json_normalize(rows)
    for key, column in table.select_dtypes(object).items():
        table[key] = column.map(lambda value: json.dumps(value) if isinstance(value, list) else value)
    scores = table.filter(regex=r"^(metrics|confidence|diagnosis)\.").columns
    table[scores] = table[scores].astype(float)
    return table


def to_csv(table: pd.DataFrame) -> str:
    """The table as CSV, in which no text is a formula: a quote goes before one that would start it.

    The numbers are written in full, negative ones too: as numbers, no spreadsheet runs them.
    """

    def inert(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

    return table.map(inert).rename(columns=inert).to_csv(index=False)
