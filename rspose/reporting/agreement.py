"""Two sets of results compared cell by cell: after an update, on another machine, after a refactoring."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rspose.grid.record import Record
from rspose.reporting.notes import cell_name
from rspose.reporting.results import Results
from rspose.reporting.statistics import CellKey, Difference, by_cell, difference, estimate
from rspose.reporting.style import dataset_title

# How long it took, on which day, and hashes, which say only that something differs.
_LEFT_OUT = {
    *(
        f"training.{key}"
        for key in ("seconds", "seconds_per_iteration", "peak_memory_mb", "final_loss", "resumed")
    ),
    *(f"provenance.{key}" for key in ("created", "config_sha256", "training_sha256")),
}


@dataclass(frozen=True)
class Gap:
    """A cell whose main metric differs between two sets of results.

    Attributes:
        cell: Dataset, model, head and loss.
        metric: The main metric, as ``metrics.AP``.
        first: Its mean over the seeds of the first set.
        second: Its mean over the seeds of the second set.
        difference: The second minus the first, over the seeds of both; None if nothing pairs up.
    """

    cell: CellKey
    metric: str
    first: float
    second: float
    difference: Difference | None

    def __str__(self) -> str:
        found = self.difference
        if found is None:
            how = "nothing pairs up: other seeds, or other copies of the data"
        elif found.basis is None:
            how = f"{100 * found.difference:+.2f}, no interval"
        else:
            basis = "images" if found.basis == "images" else f"{found.pairs} seeds"
            ends = f"[{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
            how = f"{100 * found.difference:+.2f} {ends} over {basis}"
        metric = self.metric.removeprefix("metrics.")
        return f"{cell_name(self.cell)}: {metric} {100 * self.first:.2f} -> {100 * self.second:.2f} ({how})"


@dataclass(frozen=True)
class Agreement:
    """What two sets of results have in common, and what not.

    Attributes:
        equal: Cells whose main metric is the same to the last digit in every seed.
        within: Cells that differ by no more than their intervals.
        beyond: Cells that differ by more, the largest difference first.
        unknown: Cells that differ and have no interval.
        only_first: Records of the first set alone, as ``COCO tiny 2D mse seed 0``.
        only_second: Records of the second set alone.
        settings: What differs in how the records of both were made: key, both values, and in how many.
    """

    equal: list[CellKey]
    within: list[Gap]
    beyond: list[Gap]
    unknown: list[Gap]
    only_first: list[str]
    only_second: list[str]
    settings: list[tuple[str, str, str, int]]

    @property
    def complete(self) -> bool:
        """Whether both have the same cells, and no number differs beyond its interval."""
        return not (self.beyond or self.unknown or self.only_first or self.only_second)


def compare(first: Sequence[Record], second: Sequence[Record]) -> Agreement:
    """Compare two sets of results, of at least one record each.

    The interval is that of the paired difference: over the seeds that both sets have, or, with one seed, over
    the validation images. A cell differs beyond it if it leaves out 0.
    """
    metrics = Results(first).main_metrics | Results(second).main_metrics
    theirs = by_cell(second)
    equal: list[CellKey] = []
    within: list[Gap] = []
    beyond: list[Gap] = []
    unknown: list[Gap] = []
    for cell, runs in by_cell(first).items():
        metric, others = metrics[cell[0]], theirs.get(cell, [])
        before, after = estimate(runs, metric), estimate(others, metric)
        if before is None or after is None:
            continue
        scores, others_scores = (
            {run.cell.seed: run.scores.get(metric) for run in of} for of in (runs, others)
        )
        found = difference([(others, runs, metric)])
        gap = Gap(cell, metric, before.mean, after.mean, found)
        if scores == others_scores:
            equal.append(cell)
        elif found is None or found.basis is None:
            unknown.append(gap)
        else:
            (within if found.low <= 0 <= found.high else beyond).append(gap)
    beyond.sort(key=lambda gap: -abs(gap.second - gap.first))
    mine, other = ({record.cell: record for record in records} for records in (first, second))
    only_first, only_second = (
        [_name(record) for key, record in records.items() if key not in without]
        for records, without in ((mine, other), (other, mine))
    )
    changes = Counter(change for key in mine if key in other for change in _changes(mine[key], other[key]))
    settings = [(*change, count) for change, count in changes.items()]
    return Agreement(equal, within, beyond, unknown, only_first, only_second, settings)


def described(agreement: Agreement, first: str, second: str) -> str:
    """The comparison in words, a line a fact; ``first`` and ``second`` are what the sets are called."""
    lines = [
        f"{len(agreement.equal)} cells equal, {len(agreement.within)} within their intervals, "
        f"{len(agreement.beyond)} beyond, {len(agreement.unknown)} different without an interval"
    ]
    for title, entries in (
        ("Beyond their intervals", agreement.beyond),
        ("Different, without an interval", agreement.unknown),
        (f"Only in {first}", agreement.only_first),
        (f"Only in {second}", agreement.only_second),
    ):
        if entries:
            lines += ["", f"{title}:", *(f"  {entry}" for entry in entries)]
    if agreement.settings:
        lines += ["", "Made in another way:"]
        lines += [f"  {key}: {a} -> {b} ({n} records)" for key, a, b, n in agreement.settings]
    return "\n".join(lines)


def _name(record: Record) -> str:
    if record.content["control"]:
        return f"{dataset_title(record.cell.dataset)} control {record.cell.loss}"
    return f"{cell_name(record.cell)} seed {record.cell.seed}"


def _changes(first: Record, second: Record) -> Iterator[tuple[str, str, str]]:
    """What differs in how two records were made: key and both values."""
    ours, theirs = dict(_made(first)), dict(_made(second))
    for key in ours | theirs:
        if ours.get(key) != theirs.get(key):
            yield key, str(ours.get(key)), str(theirs.get(key))


def _made(record: Record) -> Iterator[tuple[str, Any]]:
    """How a number was made, one value a key, as ``training.iterations``."""
    content = record.content
    for part in ("protocol", "data", "loss.parameters", "training", "provenance"):
        made = content["loss"]["parameters"] if part == "loss.parameters" else content[part]
        yield from _flat(made, part)


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if key in _LEFT_OUT:
        return
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}")
    else:
        yield key, value
