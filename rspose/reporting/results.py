"""A set of results: the records, what they say together, and how datasets, heads and losses are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from rspose.grid.record import Failure, Record
from rspose.reporting.frame import tidy
from rspose.reporting.markup import DAGGER, Value
from rspose.reporting.published import Claim
from rspose.reporting.statistics import KEY, by_cell, over_seeds
from rspose.reporting.style import DATASET_TITLES, HEAD_LABELS, MAIN_METRIC, METRICS, dataset_order


@dataclass(frozen=True)
class Results:
    """What tables are made of.

    Attributes:
        records: The records, at least one.
        failures: The cells that failed.
        claims: Published numbers.
    """

    records: Sequence[Record]
    failures: Sequence[Failure] = ()
    claims: Sequence[Claim] = ()

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row a record."""
        return tidy(self.records)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a number, over the seeds of its cell."""
        return over_seeds(self.records)

    @cached_property
    def cells(self) -> dict[tuple[str, str, str, str], list[Record]]:
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
    def main_metrics(self) -> dict[str, str]:
        """The main metric of each dataset, as ``metrics.AP``."""
        return {dataset: f"metrics.{self._main_metric(dataset)}" for dataset in self.datasets}

    def of(self, dataset: str) -> "Results":
        """The results of one dataset."""
        return Results(
            [record for record in self.records if record.cell.dataset == dataset],
            [failure for failure in self.failures if failure.cell.dataset == dataset],
            [claim for claim in self.claims if claim.dataset == dataset],
        )

    def metrics(self, dataset: str) -> dict[str, str]:
        """Name in a record and header of each metric; for a dataset unknown here, those in its records."""
        if dataset in METRICS:
            return METRICS[dataset]
        of_dataset = self.runs[self.runs.dataset == dataset].dropna(axis="columns", how="all")
        names = [name.removeprefix("metrics.") for name in of_dataset.columns if name.startswith("metrics.")]
        return {name: name for name in names}

    def _main_metric(self, dataset: str) -> str:
        return MAIN_METRIC[dataset] if dataset in MAIN_METRIC else next(iter(self.metrics(dataset)), "AP")

    @cached_property
    def labels(self) -> dict[str, str]:
        """How each loss is written: its title, and its name where two losses share a title, and the dagger.

        A loss without a record goes by the title of its claim, or by its name.
        """
        labels = {failure.cell.loss: failure.cell.loss for failure in self.failures}
        labels |= {claim.loss: claim.title for claim in self.claims}
        losses = self.runs.drop_duplicates("loss")
        titles = list(losses["loss.title"])
        for loss, title, reconstruction in zip(
            losses.loss, titles, losses["loss.reconstruction"], strict=True
        ):
            name = f"{title} ({loss})" if titles.count(title) > 1 else title
            labels[loss] = f"{name} {DAGGER}" if reconstruction else name
        return labels


def dataset_title(dataset: str) -> str:
    """How a dataset is written."""
    return DATASET_TITLES.get(dataset, dataset)


def head_label(head: str) -> str:
    """How a head is written."""
    return HEAD_LABELS.get(head, head)
