"""What publications claim, and whether our numbers bear it out.

``results/published/*.csv`` hold one published number a line, with its source and the cell of this benchmark
that it is of; numbers of methods that are not here have no cell.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PUBLISHED = Path(__file__).with_name("published_numbers").resolve()
"""A link to ``results/published``, so that an installed package has them too."""
COLUMNS = ("source", "table", "row", "dataset", "model", "head", "loss", "title", "metric", "value", "config")

TOLERANCE = 0.005
"""How far a number may be from its claim and still reproduce it: half a percentage point.

The validation images are the same, so that an interval over images says nothing here. Trainings of one cell
with other seeds lie some tenths of a point apart.
"""


class Claim(NamedTuple):
    """A published number, a fraction: where it stands, what it is called there, and the cell that it is of.

    Model, head and loss are empty for a method that is not here; ``title`` is how the loss is written.
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
            claims += [_claim(f"{path}, line {number}", line) for number, line in enumerate(lines, start=2)]
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
    claim = Claim(**{name: line[name] for name in Claim._fields if name != "value"}, value=value)
    if any(claim.cell[1:]) and not all(claim.cell[1:]):
        cell = claim.cell[1:]
        raise ValueError(f"{place}: the cell {cell} is incomplete: expected model, head and loss, or none")
    return claim


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
