"""What publications claim, and whether our numbers bear it out.

``results/published/*.csv`` hold one published number a line, with its source and the cell of this benchmark
that it is of; numbers of methods that are not here have no cell.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
COLUMNS = ("source", "table", "row", "dataset", "model", "head", "loss", "title", "metric", "value", "config")

TOLERANCE = 0.005
"""How far a number may be from its claim and still reproduce it: half a percentage point.

The validation images are the same, so that an interval over images says nothing here. Trainings of one cell
with other seeds lie some tenths of a point apart.
"""


@dataclass(frozen=True)
class Claim:
    """A published number.

    Attributes:
        source: The publication.
        table: Where it stands there.
        row: What the number is called there.
        dataset, model, head, loss: The cell it is of; the last three are empty for a method not here.
        title: How the loss is written.
        metric: Name of the metric in a record, such as ``AP``.
        value: A fraction.
    """

    source: str
    table: str
    row: str
    dataset: str
    model: str
    head: str
    loss: str
    title: str
    metric: str
    value: float

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """Dataset, model, head and loss."""
        return self.dataset, self.model, self.head, self.loss

    @property
    def grid(self) -> str:
        """The config whose grid has the cell."""
        return "config/paper_wholebody.yaml" if self.dataset == "wholebody" else "config/paper.yaml"

    @property
    def command(self) -> str:
        """The command that runs the cell."""
        return (
            f"snakemake --configfile {self.grid} --config datasets={self.dataset} models={self.model} "
            f"heads={self.head} losses={self.loss}"
        )


def read_claims(folder: Path = PUBLISHED) -> list[Claim]:
    """Every published number, those of a file together; none if there is no such folder.

    Raises:
        ValueError: If a file is damaged; the message names the file and the line.
    """
    claims = []
    for path in sorted(folder.glob("*.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            lines = csv.DictReader(file)
            if tuple(lines.fieldnames or ()) != COLUMNS:
                raise ValueError(f"{path}: found the columns {lines.fieldnames}: expected {list(COLUMNS)}")
            for number, line in enumerate(lines, start=2):
                claims.append(_claim(f"{path}, line {number}", line))
    return claims


def _claim(place: str, line: dict[str, str]) -> Claim:
    try:
        value = float(line["value"])
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"{place}: value is {line['value']!r}: expected a fraction from 0 to 1")
    for column in ("source", "dataset", "metric"):
        if not line[column]:
            raise ValueError(f"{place}: {column} is empty")
    cell = (line["model"], line["head"], line["loss"])
    if any(cell) and not all(cell):
        raise ValueError(f"{place}: the cell {cell} is incomplete: expected model, head and loss, or none")
    words: dict[str, Any] = {field.name: line[field.name] for field in fields(Claim) if field.name != "value"}
    return Claim(**words, value=value)


def claimed(claims: Sequence[Claim], cell: tuple[str, str, str, str], metric: str) -> Claim | None:
    """What is claimed of a cell; of several claims the highest, which is the hardest to reproduce."""
    found = [claim for claim in claims if claim.cell == cell and claim.metric == metric]
    return max(found, key=lambda claim: claim.value, default=None)


def verdict(claim: Claim, measured: float | None) -> str:
    """``reproduced``, ``below`` or ``above`` the claim by more than the tolerance, or ``not run``."""
    if measured is None:
        return "not run"
    # Published numbers have three digits: a difference of exactly the tolerance is within it.
    if abs(measured - claim.value) <= TOLERANCE + 1e-9:
        return "reproduced"
    return "below" if measured < claim.value else "above"
