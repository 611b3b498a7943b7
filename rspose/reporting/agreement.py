"""Two sets of results compared cell by cell: after an update, on another machine, after a refactoring."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from rspose.grid.record import Record
from rspose.reporting.notes import cell_name, run_name, times
from rspose.reporting.results import Results
from rspose.reporting.statistics import CellKey, Difference, difference
from rspose.reporting.style import dataset_title

# How long it took, on which day, and hashes, which say only that something differs.
_LEFT_OUT = {
    *(f"training.{key}" for key in ("seconds", "seconds_per_iteration", "peak_memory_mb", "final_loss")),
    *("training.resumed", "provenance.created", "provenance.config_sha256", "provenance.training_sha256"),
}


class Gap(NamedTuple):
    """A cell whose main metric differs between two sets: means over the seeds of each, second minus first.

    The difference is over the seeds of both; None if nothing pairs up.
    """

    cell: CellKey
    length: float
    metric: str
    first: float | None  # means over the seeds; None where no record has the number
    second: float | None
    difference: Difference | None

    def __str__(self) -> str:
        found = self.difference
        if found is None:
            how = "nothing pairs up: a number is missing, or seeds or copies of the data differ"
        elif found.basis is None:
            how = f"{100 * found.difference:+.2f}, no interval"
        else:
            basis = found.basis if found.basis == "images" else f"{found.pairs} {found.basis}"
            ends = f"[{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
            how = f"{100 * found.difference:+.2f} {ends} over {basis}"
        metric = self.metric.removeprefix("metrics.")
        first, second = ("none" if end is None else f"{100 * end:.2f}" for end in (self.first, self.second))
        at = f"{cell_name(self.cell)}{'' if self.length == 1 else f', {times(self.length)}'}"
        return f"{at}: {metric} {first} -> {second} ({how})"


class Agreement(NamedTuple):
    """What two sets of results have in common, and what not."""

    equal: list[Gap]  # the main metric is the same to the last digit in every seed
    within: list[Gap]  # it differs by no more than its interval
    beyond: list[Gap]  # by more, the largest difference first
    unknown: list[Gap]  # it differs and has no interval
    only_first: list[str]  # records of one set alone, as "COCO tiny 2D mse seed 0"
    only_second: list[str]
    elsewhere: list[str]  # trainings with equal main metrics and another unequal number, the first of these
    settings: Counter[tuple[str, str, str]]  # records by what differs in how they were made: key, both values

    @property
    def exact(self) -> bool:
        """Whether both have the same cells with the same numbers to the last digit: a replay."""
        return self.complete and not self.within and not self.elsewhere

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
    ours, theirs = map(_by_cell_and_length, (first, second))
    gaps: tuple[list[Gap], list[Gap], list[Gap], list[Gap]] = ([], [], [], [])
    equal, within, beyond, unknown = gaps
    for (cell, length), runs in ours.items():
        metric, others = metrics[cell[0]], theirs.get((cell, length), [])
        before, after = (
            {run.cell.seed: score for run in of if (score := run.scores.get(metric)) is not None}
            for of in (runs, others)
        )
        if not others or not (before or after):
            continue
        found = difference([(others, runs, metric)])
        if before == after:
            kind = equal
        elif found is None or found.basis is None:
            kind = unknown
        else:
            kind = within if found.low <= 0 <= found.high else beyond
        first_mean, second_mean = (fmean(each.values()) if each else None for each in (before, after))
        kind.append(Gap(cell, length, metric, first_mean, second_mean, found))
    beyond.sort(key=lambda gap: -abs(gap.difference.difference if gap.difference else 0))
    left, right = ({record.cell: record for record in records} for records in (first, second))
    only_first, only_second = (
        [_name(record) for cell, record in records.items() if cell not in without]
        for records, without in ((left, right), (right, left))
    )
    both = [(record, right[cell]) for cell, record in left.items() if cell in right]
    elsewhere = [
        f"{_name(ours)}: {name} {ours.scores.get(name)} -> {theirs.scores.get(name)}"
        for ours, theirs in both
        if ours.scores.get(metrics[ours.cell.dataset]) == theirs.scores.get(metrics[ours.cell.dataset])
        for name in [_first_difference(ours.scores, theirs.scores)]
        if name
    ]
    settings = Counter(change for pair in both for change in _changes(*pair))
    return Agreement(*gaps, only_first, only_second, elsewhere, settings)


def described(agreement: Agreement, first: str, second: str) -> str:
    """The comparison in words, a line a fact; ``first`` and ``second`` are what the sets are called."""
    equal, within, beyond, unknown, only_first, only_second, elsewhere, settings = agreement
    lines = [
        f"{len(equal)} cells equal, {len(within)} within their intervals, "
        f"{len(beyond)} beyond, {len(unknown)} different without an interval"
    ]
    sections: dict[str, Sequence[object]] = {
        "Beyond their intervals": beyond,
        "Different, without an interval": unknown,
        "Equal in the main metric, not in": elsewhere,
        f"Only in {first}": only_first,
        f"Only in {second}": only_second,
        "Made in another way": [f"{key}: {a} -> {b} ({n} records)" for (key, a, b), n in settings.items()],
    }
    for title, entries in sections.items():
        if entries:
            lines += ["", f"{title}:", *(f"  {entry}" for entry in entries)]
    return "\n".join(lines)


def _first_difference(ours: dict[str, float | None], theirs: dict[str, float | None]) -> str | None:
    return next((name for name in ours | theirs if ours.get(name) != theirs.get(name)), None)


def _by_cell_and_length(records: Iterable[Record]) -> dict[tuple[CellKey, float], list[Record]]:
    found: dict[tuple[CellKey, float], list[Record]] = {}
    for record in records:
        found.setdefault((record.cell[:4], record.cell.length), []).append(record)
    return found


def _name(record: Record) -> str:
    if record.control:
        return f"{dataset_title(record.cell.dataset)} control {record.cell.loss}"
    return f"{cell_name(record.cell)} {run_name(record.cell)}"


def _changes(first: Record, second: Record) -> Iterator[tuple[str, str, str]]:
    """What differs in how two records were made: key, as ``training.iterations``, and both values."""
    ours, theirs = (
        {
            key: value
            for part in ("protocol", "data", "loss.parameters", "training", "provenance")
            for key, value in _flat(content["loss"]["parameters"] if "." in part else content[part], part)
        }
        for content in (first.content, second.content)
    )
    for key in ours | theirs:
        if ours.get(key) != theirs.get(key):
            yield key, _brief(ours.get(key), "a curve"), _brief(theirs.get(key), "another")


def _brief(value: Any, curve: str) -> str:
    return f"{curve} of {len(value['iteration'])} points" if isinstance(value, dict) and value else str(value)


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if key in _LEFT_OUT:
        return
    if isinstance(value, dict) and value and key != "training.curve":
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}")
    else:
        yield key, value
