"""Two sets of results compared cell by cell: after an update, on another machine, after a refactoring."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rspose.grid.record import Record
from rspose.reporting.results import Results, head_label
from rspose.reporting.statistics import Difference, by_cell, difference, estimate
from rspose.reporting.style import dataset_title

# How a number was made. Not in it: how long it took, on which day, and hashes, which say only that something
# differs.
_SETTINGS = ("protocol", "data", "loss.parameters", "training", "provenance")
_LEFT_OUT = {
    "training.seconds",
    "training.seconds_per_iteration",
    "training.peak_memory_mb",
    "training.final_loss",
    "training.resumed",
    "provenance.created",
    "provenance.config_sha256",
    "provenance.training_sha256",
}


@dataclass(frozen=True)
class Gap:
    """A cell whose main metric differs between two sets of results.

    Attributes:
        cell: Dataset, model, head and loss.
        metric: The main metric, as ``metrics.AP``.
        first: Its mean over the seeds of the first set.
        second: Its mean over the seeds of the second set.
        difference: The second minus the first, over the seeds of both, with its interval; None if nothing
            pairs up: no seed in common, or other copies of the data.
    """

    cell: tuple[str, str, str, str]
    metric: str
    first: float
    second: float
    difference: Difference | None

    def __str__(self) -> str:
        dataset, model, head, loss = self.cell
        name = f"{dataset_title(dataset)} {model} {head_label(head)} {loss}"
        metric = self.metric.removeprefix("metrics.")
        text = f"{name}: {metric} {100 * self.first:.2f} -> {100 * self.second:.2f}"
        if self.difference is None:
            return f"{text} (nothing pairs up: other seeds, or other copies of the data)"
        gap = self.difference
        if gap.basis is None:
            return f"{text} ({100 * gap.difference:+.2f}, no interval)"
        basis = "images" if gap.basis == "images" else f"{gap.pairs} seeds"
        ends = f"[{100 * gap.low:+.2f}, {100 * gap.high:+.2f}]"
        return f"{text} ({100 * gap.difference:+.2f} {ends} over {basis})"


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

    equal: list[tuple[str, str, str, str]]
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
    ours, theirs = by_cell(first), by_cell(second)
    equal = []
    within, beyond, unknown = [], [], []
    for cell in ours:
        if cell not in theirs:
            continue
        metric = metrics[cell[0]]
        before, after = estimate(ours[cell], metric), estimate(theirs[cell], metric)
        if before is None or after is None:
            continue
        found = difference([(theirs[cell], ours[cell], metric)])
        gap = Gap(cell, metric, before.mean, after.mean, found)
        if _values(ours[cell], metric) == _values(theirs[cell], metric):
            equal.append(cell)
        elif found is None or found.basis is None:
            unknown.append(gap)
        elif found.low <= 0 <= found.high:
            within.append(gap)
        else:
            beyond.append(gap)
    beyond.sort(key=lambda gap: -abs(gap.second - gap.first))
    ours_by_key = {record.cell: record for record in first}
    theirs_by_key = {record.cell: record for record in second}
    return Agreement(
        equal,
        within,
        beyond,
        unknown,
        [_name(record) for key, record in ours_by_key.items() if key not in theirs_by_key],
        [_name(record) for key, record in theirs_by_key.items() if key not in ours_by_key],
        _settings(
            (record, theirs_by_key[key]) for key, record in ours_by_key.items() if key in theirs_by_key
        ),
    )


def described(agreement: Agreement, first: str, second: str) -> str:
    """The comparison in words, a line a fact.

    Args:
        agreement: What :func:`compare` found.
        first: What the first set is called.
        second: What the second set is called.
    """
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


def _values(runs: Sequence[Record], metric: str) -> dict[int, float | None]:
    return {run.cell.seed: run.scores.get(metric) for run in runs}


def _name(record: Record) -> str:
    dataset, model, head, loss, seed = record.cell
    if record.content["control"]:
        return f"{dataset_title(dataset)} control {loss}"
    return f"{dataset_title(dataset)} {model} {head_label(head)} {loss} seed {seed}"


def _settings(pairs: Iterator[tuple[Record, Record]]) -> list[tuple[str, str, str, int]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for first, second in pairs:
        ours, theirs = (dict(_flat(_made(record))) for record in (first, second))
        for key in {**ours, **theirs}:
            if ours.get(key) != theirs.get(key):
                found[key, str(ours.get(key)), str(theirs.get(key))] += 1
    return [(*key, count) for key, count in found.items()]


def _made(record: Record) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name in _SETTINGS:
        value: Any = record.content
        for part in name.split("."):
            value = value[part]
        made[name] = value
    return made


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if key in _LEFT_OUT:
        return
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else name)
    else:
        yield key, value
