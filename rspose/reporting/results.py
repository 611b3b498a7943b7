"""A set of results: the records, what they say together, and how their losses are written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from rspose.datasets import DATASETS
from rspose.grid.record import Failure, Record
from rspose.grid.records import load_failures
from rspose.reporting.frame import ordered_records, tidy
from rspose.reporting.published import PUBLISHED, Claim, read_claims
from rspose.reporting.statistics import (
    KEY,
    SIGNIFICANCE,
    CellKey,
    by_cell,
    by_length,
    difference,
    differences,
    holm,
    over_seeds,
)
from rspose.reporting.style import cell_order, dataset_order, main_metric
from rspose.reporting.table import DAGGER, Value


@dataclass(frozen=True)
class Results:
    """What tables and figures are made of. Every statistic is computed once, here."""

    records: Sequence[Record]  # at least one, all of one training length
    failures: Sequence[Failure] = ()
    claims: Sequence[Claim] = ()
    others: Sequence["Results"] = ()  # what the same records say at other training lengths

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a record."""
        return tidy(self.records)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a number, over the seeds of its cell."""
        return over_seeds(self.records)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """The differences to MSE in the main metrics, one row a comparison; see :func:`differences`."""
        return differences(self.records, {"main": self.main_metrics})

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
        """:attr:`differences` at every training length, with a column ``length``."""
        return pd.concat([each.differences.assign(length=each.length) for each in self.lengths])

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

    def ties(self, metric: str) -> set[CellKey]:
        """The cells whose metric cannot be told from that of the best loss of their dataset, model and head.

        Holm's correction is over the losses of a dataset, model and head: a column of a table.
        """
        trained = [cell for cell in self.cells if cell[1] != "control" and (*cell, metric) in self.values]
        tied: set[CellKey] = set()
        for _, group in groupby(
            sorted(trained, key=lambda cell: cell_order(*cell)), key=lambda cell: cell[:3]
        ):
            best, *others = sorted(group, key=lambda cell: -self.values[(*cell, metric)].mean)
            found = [difference([(self.cells[best], self.cells[other], metric)]) for other in others]
            corrected = holm([np.nan if one is None else one.p for one in found])
            tied |= {other for other, p in zip(others, corrected, strict=True) if p >= SIGNIFICANCE}
        return tied

    @cached_property
    def datasets(self) -> list[str]:
        """The datasets in their order."""
        return sorted(self.runs.dataset.unique(), key=dataset_order)

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
        labels = {failure.cell.loss: failure.cell.loss for failure in self.failures}
        labels |= {claim.loss: claim.title for claim in self.claims}
        runs = pd.concat([each.runs for each in self.lengths])
        losses = runs.drop_duplicates("loss")[["loss", "loss.title", "loss.reconstruction"]]
        titles = list(losses["loss.title"])
        for loss, title, reconstruction in losses.itertuples(index=False):
            name = f"{title} ({loss})" if titles.count(title) > 1 else title
            labels[loss] = f"{name} {DAGGER}" if reconstruction else name
        return labels


def read_results(places: Path | Sequence[Path], published: Path = PUBLISHED) -> Results:
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
    return results_of(usable, load_failures(usable, *folders), read_claims(published))


def results_of(
    records: Iterable[Record], failures: Sequence[Failure] = (), claims: Sequence[Claim] = ()
) -> Results:
    """Results at the training length with the most cells, the longest such, with those at the others.

    Published numbers are of the recipe as it stands, and stand beside that length alone.
    """
    found = {
        length: Results(
            of_length,
            [failure for failure in failures if failure.cell.length == length],
            claims if length == 1 else (),
        )
        for length, of_length in by_length(records).items()
    }
    most = max(found.values(), key=lambda results: (len(results.cells), results.length))
    return replace(most, others=[results for results in found.values() if results is not most])
