"""A set of results: the records, what they say together, and how their losses are written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd

from rspose.datasets import DATASETS
from rspose.grid.record import Failure, Record
from rspose.grid.records import load_failures
from rspose.reporting.frame import ordered_records, tidy
from rspose.reporting.published import Claim, read_claims
from rspose.reporting.statistics import (
    EQUIVALENCE,
    KEY,
    CellKey,
    Paired,
    Verdict,
    by_cell,
    by_length,
    differences,
    over_seeds,
    paired,
    simultaneous,
)
from rspose.reporting.statistics import verdict as against
from rspose.reporting.style import cell_order, dataset_order, main_metric
from rspose.reporting.table import DAGGER, Value


@dataclass(frozen=True)
class Family:
    """What a set of records is asked and corrected for together: all differences to MSE, or to the best."""

    records: Sequence[Record]  # of all training lengths
    region: float  # of practical equivalence, in percentage points

    @cached_property
    def differences(self) -> pd.DataFrame:
        """See :func:`rspose.reporting.statistics.differences`."""
        return differences(self.records, {"main": Results(self.records).main_metrics}, region=self.region)

    def standing(self, metric: str) -> dict[tuple[float, CellKey], Verdict | None]:
        """How each loss stands to the best of its length, dataset, model and head; None of the best.

        What has one seed is not there: another seed might turn the order round. All of them are one family.
        """
        if metric not in self._standings:
            self._standings[metric] = self._standing(metric)
        return self._standings[metric]

    @cached_property
    def _standings(self) -> dict[str, dict[tuple[float, CellKey], Verdict | None]]:
        return {}

    def _standing(self, metric: str) -> dict[tuple[float, CellKey], Verdict | None]:
        found: dict[tuple[float, CellKey], Verdict | None] = {}
        pairs: dict[tuple[float, CellKey], Paired] = {}
        for length, known in by_length(record for record in self.records if not record.control).items():
            cells = by_cell(known)
            means: dict[CellKey, float] = {}
            for cell, runs in cells.items():
                values = [value for run in runs if (value := run.scores.get(metric)) is not None]
                if len(values) > 1:
                    means[cell] = fmean(values)
            ordered = sorted(means, key=lambda cell: cell_order(*cell))
            for _, group in groupby(ordered, key=lambda cell: cell[:3]):
                best, *others = sorted(group, key=lambda cell: -means[cell])
                for other in others:
                    pair = paired([(cells[other], cells[best], metric)])
                    if pair is not None:  # else other seeds, or other data: nothing is known of it
                        found[length, best] = None
                        pairs[length, other] = pair
        for place, one in zip(pairs, simultaneous([*pairs.values()]), strict=True):
            # Equal numbers: undecided.
            found[place] = against(one, self.region) or Verdict.UNDECIDED
        return found


@dataclass(frozen=True)
class Results:
    """What tables and figures are made of. Every statistic is computed once, here."""

    records: Sequence[Record]  # at least one, all of one training length
    failures: Sequence[Failure] = ()
    claims: Sequence[Claim] = ()
    others: Sequence["Results"] = ()  # what the same records say at other training lengths
    unseen: Sequence[Failure] = ()  # failures at lengths that no record has
    family: Family | None = None  # of these and the others
    region: float = EQUIVALENCE  # of practical equivalence, in percentage points

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a record."""
        return tidy(self.records)

    @cached_property
    def all_runs(self) -> pd.DataFrame:
        """:attr:`runs` of every training length, controls at each."""
        return pd.concat([each.runs for each in self.lengths])

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a number, over the seeds of its cell."""
        return over_seeds(self.records)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """The differences to MSE in the main metrics, one row a comparison; see :func:`differences`."""
        return self.along_lengths[self.along_lengths.length == self.length]

    @cached_property
    def length(self) -> float:
        """How long was trained, as a multiple of the recipe's epochs."""
        return max((record.cell.length for record in self.records if not record.control), default=1.0)

    @cached_property
    def lengths(self) -> list["Results"]:
        """These results and those at other training lengths, the shortest first."""
        return sorted([self, *self.others], key=lambda results: results.length)

    @cached_property
    def along_lengths(self) -> pd.DataFrame:
        """:attr:`differences` at every training length: one family, computed once for all of them."""
        return (self.family or Family(self.records, self.region)).differences

    @cached_property
    def cells(self) -> dict[CellKey, list[Record]]:
        """The records of each dataset, model, head and loss."""
        return by_cell(self.records)

    @cached_property
    def values(self) -> dict[tuple[str, ...], Value]:
        """What is shown of each dataset, model, head, loss and score."""
        numbers = self.summary[[*KEY, "metric", "mean", "std", "low", "high"]]
        return {
            tuple(key): Value(mean, None if np.isnan(std) else std, None if np.isnan(low) else (low, high))
            for *key, mean, std, low, high in numbers.itertuples(index=False)
        }

    def standing(self, metric: str) -> dict[CellKey, Verdict | None]:
        """How each loss stands to the best of its dataset, model and head; see :meth:`Family.standing`."""
        whole = self.family or Family(self.records, self.region)
        return {cell: one for (length, cell), one in whole.standing(metric).items() if length == self.length}

    @cached_property
    def datasets(self) -> list[str]:
        """The datasets in their order."""
        return sorted({record.cell.dataset for record in self.records}, key=dataset_order)

    @cached_property
    def real(self) -> set[str]:
        """Datasets whose records are of real data: only those are compared with published numbers."""
        return set(self.datasets) - set(self.runs.dataset[self.runs["data.generated"].astype(bool)])

    @cached_property
    def main_metrics(self) -> dict[str, str]:
        """The main metric of each dataset, as ``metrics.AP``."""
        return {
            name: f"metrics.{main_metric(name) if name in DATASETS else next(iter(self.metrics(name)), 'AP')}"
            for name in self.datasets
        }

    @cached_property
    def all_metrics(self) -> dict[str, str]:
        """:attr:`main_metrics` at every training length: a dataset may have records of another one alone."""
        return {name: metric for each in self.lengths for name, metric in each.main_metrics.items()}

    def of(self, dataset: str | None) -> tuple[pd.DataFrame, list[Failure]]:
        """The rows of :attr:`runs` and the failures of a dataset, or all of them."""
        if dataset is None:
            return self.runs, list(self.failures)
        failures = [failure for failure in self.failures if failure.cell.dataset == dataset]
        return self.runs[self.runs.dataset == dataset], failures

    def metrics(self, dataset: str) -> dict[str, str]:
        """Name in a record and header of each metric; for a dataset unknown here, those in its records."""
        if dataset in DATASETS:
            return dict(DATASETS[dataset].metrics)
        of_dataset = self.of(dataset)[0].dropna(axis="columns", how="all")
        names = of_dataset.filter(regex=r"^metrics\.").columns.str.removeprefix("metrics.")
        return dict(zip(names, names, strict=True))

    @cached_property
    def labels(self) -> dict[str, str]:
        """How each loss is written: its title, and its name where two losses share a title, and the dagger.

        A loss without a record goes by the title of its claim, or by its name.
        """
        failed = [*self.unseen, *(failure for each in self.lengths for failure in each.failures)]
        labels = {failure.cell.loss: failure.cell.loss for failure in failed}
        labels |= {claim.loss: claim.title for claim in self.claims}
        losses = self.all_runs.drop_duplicates("loss")[["loss", "loss.title", "loss.reconstruction"]]
        titles = list(losses["loss.title"])
        for loss, title, reconstruction in losses.itertuples(index=False):
            name = f"{title} ({loss})" if titles.count(title) > 1 else title
            labels[loss] = f"{name} {DAGGER}" if reconstruction else name
        return labels


def read_results(places: Path | Sequence[Path], region: float = EQUIVALENCE) -> Results:
    """The records and failures in a folder or several, merged, and the published numbers.

    Raises:
        FileNotFoundError: If a folder does not exist.
        ValueError: If there is no usable record, or the published numbers are damaged.
    """
    folders = [places] if isinstance(places, Path) else list(places)
    usable = ordered_records(*folders)
    if not usable:
        where = ", ".join(map(str, folders))
        raise ValueError(f"no usable record under {where}: run the cells first, or name another folder")
    return results_of(usable, load_failures(usable, *folders), read_claims(), region)


def results_of(
    records: Iterable[Record],
    failures: Sequence[Failure] = (),
    claims: Sequence[Claim] = (),
    region: float = EQUIVALENCE,
) -> Results:
    """Results at the training length with the most cells, the longest such, with those at the others.

    Published numbers are of the recipe as it stands, and stand beside that length alone.
    """
    known = list(records)
    family = Family(known, region)
    found = {
        length: Results(
            of_length,
            [failure for failure in failures if failure.cell.length == length],
            claims if length == 1 else (),
            family=family,
            region=region,
        )
        for length, of_length in by_length(known).items()
    }
    most = max(found.values(), key=lambda results: (len(results.records), results.length))
    others = [results for results in found.values() if results is not most]
    return replace(most, others=others, unseen=[each for each in failures if each.cell.length not in found])
