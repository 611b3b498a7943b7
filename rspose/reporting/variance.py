"""The share of each source, such as the initial weights, in the variance of the main metric over seeds.

As Bouthillier et al., "Accounting for Variance in Machine Learning Benchmarks", MLSys 2021: trainings whose
seed sets one source alone, the others held, beside trainings whose seed sets them all.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import chdtri, fdtri

from rspose.datasets import DATASETS
from rspose.grid.record import Record
from rspose.grid.records import load_records
from rspose.reporting.statistics import LEVEL
from rspose.reporting.style import cell_order, dataset_title, head_label, main_metric
from rspose.reporting.table import Column, Row, Table, Value

_TAIL = (1 - LEVEL) / 2
_ALIKE = {
    "data": "data.checksum",
    "iterations": "training.iterations",
    "batch size": "training.batch_size",
    "parameters of the loss": "loss.parameters",
}
"""What the records of one cell have to have in common: only their seeds are to differ."""
_NOTE = (
    "Deviation: standard deviation (n - 1 degrees of freedom) of the main metric over n seeds that set this "
    "alone, all else as of seed 0, with its 95 % interval from the chi-square distribution. Share: that "
    "variance by the variance over seeds that set all of these sources, with its 95 % interval from the F "
    "distribution. Both take scores to be normal over seeds. Sources interact, and each is judged at one "
    "state of the others: shares need not add up to 100 %."
)


def deviation(values: np.ndarray) -> Value:
    """Standard deviation over seeds, two or more ``[n]``, with its 95 % interval for normal values."""
    freedom = len(values) - 1
    found = float(values.std(ddof=1))
    low, high = (found * float(np.sqrt(freedom / chdtri(freedom, tail))) for tail in (_TAIL, 1 - _TAIL))
    return Value(found, interval=(low, high))


def share(alone: np.ndarray, together: np.ndarray) -> Value | None:
    """Variance where a source varies alone ``[n]`` by that where all do ``[m]``, with its 95 % interval.

    The interval is that of a ratio of the variances of two independent normal samples; None where nothing
    varies in ``together``.
    """
    total = together.var(ddof=1)
    if total == 0:
        return None
    found = float(alone.var(ddof=1) / total)
    freedoms = len(alone) - 1, len(together) - 1
    low, high = (found / float(fdtri(*freedoms, at)) for at in (1 - _TAIL, _TAIL))
    return Value(found, interval=(low, high))


def variance_table(*places: Path) -> Table:
    """A row for each loss of a dataset, model, head and length, and each source that its seeds set.

    Args:
        places: Folders of records, one of each grid; nothing is merged between them.

    Raises:
        ValueError: No loss has two seeds anywhere, or two places have the same training.
    """
    found: dict[tuple[Any, ...], dict[int, Record]] = {}
    for record in (record for place in places for record in load_records(place)):
        if record.training is None:
            continue
        cell = record.cell
        group = (*cell[:4], cell.length, tuple(sorted(record.training.seeds_vary)))
        known = found.setdefault(group, {})
        if cell.seed in known:
            raise ValueError(
                f"{record.path}: the same training as {known[cell.seed].path}; name one of their places alone"
            )
        known[cell.seed] = record
    rows = []
    ordered = sorted(found, key=lambda group: (cell_order(*group[:4]), group[4], len(group[5]), group[5]))
    for (*of_cell, length), groups in groupby(ordered, key=lambda group: group[:5]):
        records_of = {group[5]: list(found[group].values()) for group in groups}
        _made_alike([record for records in records_of.values() for record in records])
        values = {sources: _scores(records) for sources, records in records_of.items()}
        values = {sources: scores for sources, scores in values.items() if len(scores) > 1}
        every = tuple(sorted({source for sources in values for source in sources}))
        for sources, scores in values.items():
            alone = len(values) > 1 and every in values and sources != every
            dataset, model, head, loss = of_cell
            place = dataset_title(dataset), model, head_label(head), loss, f"{length:g}"
            labels = (*place, " + ".join(sources).replace("_", " "))
            entries = (str(len(scores)), deviation(scores), share(scores, values[every]) if alone else "")
            rows.append(Row(labels, " ".join(place), False, entries))
    if not rows:
        raise ValueError("expected a loss with two seeds or more, found none")
    columns = (
        Column("", "seeds", text=True),
        Column("", "deviation", decimals=2),
        Column("", "share of all", decimals=0),
    )
    stub = ("Dataset", "Model", "Head", "Loss", "Length", "Seeds set")
    return Table(
        "variance", "Variance over seeds by source (points; %)", stub, columns, tuple(rows), (_NOTE,)
    )


def _made_alike(records: Sequence[Record]) -> None:
    first = records[0]
    for record in records:
        for what, key in _ALIKE.items():
            if attrgetter(key)(record) != attrgetter(key)(first):
                raise ValueError(
                    f"{first.path}: other {what} than {record.path}; name one of their places alone"
                )


def _scores(records: Sequence[Record]) -> np.ndarray:
    """The main metric of each record that has one."""
    dataset = records[0].cell.dataset
    metric = main_metric(dataset) if dataset in DATASETS else next(iter(records[0].metrics))
    return np.array([value for each in records if (value := each.metrics.get(metric)) is not None])
