"""A set of results: the records, what they say together, and how datasets, heads and losses are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from rspose.datasets import DATASETS
from rspose.grid.record import Failure, Record
from rspose.grid.records import load_failures
from rspose.reporting.frame import ordered_records, tidy
from rspose.reporting.published import PUBLISHED, Claim, read_claims
from rspose.reporting.statistics import KEY, CellKey, by_cell, differences, over_seeds, ties
from rspose.reporting.style import HEAD_LABELS, dataset_order, main_metric
from rspose.reporting.table import DAGGER, Value


@dataclass(frozen=True)
class Results:
    """What tables and figures are made of. Every statistic is computed once, here.

    Attributes:
        records: The records, at least one.
        failures: The cells that failed.
        claims: Published numbers.
        whole: The results that these are a part of: the comparisons of all of them are corrected together.
    """

    records: Sequence[Record]
    failures: Sequence[Failure] = ()
    claims: Sequence[Claim] = ()
    whole: "Results | None" = None

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
        """The differences to MSE in the main metrics, one row a comparison; see :func:`differences`.

        ``p_holm`` is corrected over the whole set, also where this is a part of it.
        """
        if self.whole is None:
            return differences(self.records, {"main": self.main_metrics}).drop(columns="score")
        of_whole = self.whole.differences
        return of_whole[of_whole.dataset.isin(self.datasets)]

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
        """The cells whose metric cannot be told from that of the best loss."""
        trained = self.summary[(self.summary.model != "control") & (self.summary.metric == metric)]
        means = {tuple(key): mean for *key, mean in trained[[*KEY, "mean"]].itertuples(index=False)}
        return ties(self.cells, means, metric)

    @cached_property
    def datasets(self) -> list[str]:
        """The datasets in their order."""
        return sorted(self.runs.dataset.unique(), key=dataset_order)

    @cached_property
    def real(self) -> set[str]:
        """Datasets whose records are of real data: only those are compared with published numbers."""
        generated = set(self.runs.dataset[self.runs["data.generated"].astype(bool)])
        return set(self.datasets) - generated

    @cached_property
    def several_models(self) -> bool:
        """Whether tables need a column of models."""
        return self.runs.model[~self.runs.control].nunique() > 1

    @cached_property
    def main_metrics(self) -> dict[str, str]:
        """The main metric of each dataset, as ``metrics.AP``."""
        return {dataset: f"metrics.{self._main_metric(dataset)}" for dataset in self.datasets}

    def of(self, dataset: str) -> "Results":
        """The results of one dataset."""
        return Results(
            [record for record in self.records if record.cell.dataset == dataset],
            [failure for failure in self.failures if failure.cell.dataset == dataset],
            [claim for claim in self.claims if claim.dataset == dataset],
            self.whole or self,
        )

    def metrics(self, dataset: str) -> dict[str, str]:
        """Name in a record and header of each metric; for a dataset unknown here, those in its records."""
        if dataset in DATASETS:
            return dict(DATASETS[dataset].metrics)
        of_dataset = self.runs[self.runs.dataset == dataset].dropna(axis="columns", how="all")
        names = [name.removeprefix("metrics.") for name in of_dataset.columns if name.startswith("metrics.")]
        return {name: name for name in names}

    def _main_metric(self, dataset: str) -> str:
        return main_metric(dataset) if dataset in DATASETS else next(iter(self.metrics(dataset)), "AP")

    @cached_property
    def labels(self) -> dict[str, str]:
        """How each loss is written: its title, and its name where two losses share a title, and the dagger.

        A loss without a record goes by the title of its claim, or by its name.
        """
        labels = {failure.cell.loss: failure.cell.loss for failure in self.failures}
        labels |= {claim.loss: claim.title for claim in self.claims}
        losses = self.runs.drop_duplicates("loss")[["loss", "loss.title", "loss.reconstruction"]]
        titles = list(losses["loss.title"])
        for loss, title, reconstruction in losses.itertuples(index=False):
            name = f"{title} ({loss})" if titles.count(title) > 1 else title
            labels[loss] = f"{name} {DAGGER}" if reconstruction else name
        return labels


def read_results(folders: Sequence[Path], published: Path = PUBLISHED) -> Results:
    """The records and failures under the folders, merged, and the published numbers.

    Raises:
        FileNotFoundError: If a folder does not exist.
        ValueError: If there is no usable record, or the published numbers are damaged.
    """
    usable = ordered_records(*folders)
    if not usable:
        where = ", ".join(map(str, folders))
        raise ValueError(f"no usable record under {where}: run the cells first, or name another folder")
    return Results(usable, load_failures(usable, *folders), read_claims(published))


def head_label(head: str) -> str:
    """How a head is written."""
    return HEAD_LABELS.get(head, head)
