"""How sure the numbers are: intervals of cells, differences between losses, and which of them are ties.

Two sources of uncertainty, of which a number shows one and names it. With several seeds, a bootstrap over the
seeds says how much another training would change it on the same images. With one seed, a bootstrap over the
validation images says how much other images would change it for the same training; the replicates are in the
record, and those of two losses are of the same images, so that their difference is paired.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from rspose.grid.record import Record
from rspose.reporting.style import cell_order

CellKey = tuple[str, str, str, str]
"""Dataset, model, head and loss."""

KEY = ["dataset", "model", "head", "loss"]
"""What a group of seeds has in common."""

LEVEL = 0.95
SIGNIFICANCE = 0.05
"""A difference with a corrected p-value below it is called one."""
REFERENCE = "mse"
"""The loss that the others are compared with."""

ALL = "all"
"""Stands for dataset and head in a mean over several."""

Basis = Literal["seeds", "images"]
_RESAMPLES = 4000
_ENDS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]


class Estimate(NamedTuple):
    """A number of a cell: its mean over ``seeds``, their deviation (n - 1), a 95 % interval over ``basis``.

    What there is not is NaN, a basis None.
    """

    mean: float
    std: float
    seeds: int
    low: float
    high: float
    basis: Basis | None


class Difference(NamedTuple):
    """A paired difference between two losses, the first minus the second: its mean over ``pairs`` of seeds.

    ``basis`` is what the 95 % interval, ``probability`` and ``p`` are from; without one they are NaN.

    Attributes:
        probability: Probability that the first is better. Over seeds: that a run of the first beats a run of
            the second, over all pairs of runs (Agarwal et al., NeurIPS 2021, arXiv:2108.13264). Over images:
            share of the replicates in which it does. Ties count half.
        p: Of no difference, two-sided: a paired t-test over seeds, a z-test with the bootstrap's standard
            error over images; not corrected.
    """

    difference: float
    low: float
    high: float
    probability: float
    p: float
    pairs: int
    basis: Basis | None


def estimate(runs: Sequence[Record], metric: str) -> Estimate | None:
    """What the seeds of one cell say of a metric, None if no seed has a number."""
    of_seeds = {run.cell.seed: run for run in runs if run.scores.get(metric) is not None}
    values = np.array([run.scores[metric] for run in of_seeds.values()], dtype=float)
    if not len(values):
        return None
    if len(values) > 1:
        low, high, _ = over_strata([values])
        return Estimate(values.mean(), values.std(ddof=1), len(values), low, high, "seeds")
    interval = next(iter(of_seeds.values())).interval(metric)
    return Estimate(values[0], np.nan, 1, *(interval or (np.nan, np.nan)), "images" if interval else None)


def over_strata(strata: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """95 % interval of the mean over strata of their means, and the p-value of that being 0.

    A stratified bootstrap: each stratum (a dataset and head, say) is resampled on its own. With few values a
    bootstrap is too narrow, since its spread is that of a population of these values; its deviations are
    widened by sqrt(n / (n - 1)) and from the normal distribution to Student's t, with Welch and
    Satterthwaite's degrees of freedom (Hesterberg, The American Statistician 69, 2015). A stratum has two
    values or more.
    """
    deviation = np.zeros(_RESAMPLES)
    variances = np.array([values.var(ddof=1) / len(values) for values in strata])
    mean = float(np.mean([values.mean() for values in strata]))
    for index, values in enumerate(strata):
        widened = np.sqrt(len(values) / (len(values) - 1))
        deviation += widened * (values[_drawn(index, len(values))].mean(axis=1) - values.mean())
    error = np.sqrt(variances.sum()) / len(strata)
    if error == 0:
        return mean, mean, float(mean == 0)
    freedom = variances.sum() ** 2 / (variances**2 / [len(values) - 1 for values in strata]).sum()
    heavier = stdtrit(freedom, _ENDS[1]) / ndtri(_ENDS[1])
    low, high = mean + heavier * np.quantile(deviation / len(strata), _ENDS)
    return float(low), float(high), float(2 * stdtr(freedom, -abs(mean) / error))


@cache
def _drawn(stratum: int, count: int) -> np.ndarray:
    """Indices of ``count`` values drawn with replacement, ``[resamples, count]``, always the same."""
    return np.random.default_rng([stratum, count]).integers(0, count, (_RESAMPLES, count))


def difference(
    strata: Sequence[tuple[Sequence[Record], Sequence[Record], str]],
) -> Difference | None:
    """The paired difference between two losses, in one cell or as a mean over several.

    Args:
        strata: Of each dataset and head the records of the first loss, those of the second, and the metric.

    Returns:
        None if nothing pairs up in some stratum: no seed in common, or other copies of the data.
    """
    paired = [_pairs(*stratum) for stratum in strata]
    if not paired or not all(paired):
        return None
    values = [np.array([scores for *scores, _ in pairs]) for pairs in paired]
    gains = [of[:, 0] - of[:, 1] for of in values]
    mean = float(np.mean([gain.mean() for gain in gains]))
    seeds = min(map(len, gains))
    if seeds > 1:
        low, high, p = over_strata(gains)
        better = np.mean([_superiority(of[:, 0], of[:, 1]) for of in values])
        return Difference(mean, low, high, float(better), p, seeds, "seeds")
    replicates = [found for pairs in paired for *_, found in pairs if found is not None]
    one_each = len(replicates) == len(paired) == sum(map(len, paired))
    comparable = one_each and len(set(map(len, replicates))) == 1
    drawn = np.mean(replicates, axis=0) if comparable else np.array([])
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) < 2:
        return Difference(mean, np.nan, np.nan, np.nan, np.nan, seeds, None)
    low, high = map(float, np.quantile(drawn, _ENDS))
    error = drawn.std(ddof=1)
    p = float(2 * ndtr(-abs(mean) / error)) if error > 0 else float(mean == 0)
    return Difference(mean, low, high, _superiority(drawn, np.zeros(1)), p, seeds, "images")


def _pairs(
    first: Sequence[Record], second: Sequence[Record], metric: str
) -> list[tuple[float, float, np.ndarray | None]]:
    """Both values and the replicates of their difference, for each seed that both have on the same data."""
    others = {run.cell.seed: run for run in second}
    found = []
    for run in first:
        other = others.get(run.cell.seed)
        if other is None or run.content["data"]["checksum"] != other.content["data"]["checksum"]:
            continue
        ours, theirs = run.scores.get(metric), other.scores.get(metric)
        if ours is not None and theirs is not None:
            drawn, others_drawn = run.replicates(metric), other.replicates(metric)
            gains = None
            if drawn is not None and others_drawn is not None and run.draws == other.draws:
                gains = drawn - others_drawn
            found.append((ours, theirs, gains))
    return found


def _superiority(first: np.ndarray, second: np.ndarray) -> float:
    """Share of all pairs in which the first is larger; equal ones count half."""
    gap = np.subtract.outer(first, second)
    return float(((gap > 0) + 0.5 * (gap == 0)).mean())


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's correction of several p-values (Scandinavian Journal of Statistics 6, 1979); NaN stays NaN."""
    values = np.asarray(p, dtype=float)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    adjusted = values.copy()
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)))
    return adjusted


def by_cell(records: Iterable[Record]) -> dict[CellKey, list[Record]]:
    """The records of each dataset, model, head and loss, in their order."""
    cells: dict[CellKey, list[Record]] = {}
    for record in records:
        cells.setdefault(record.cell[:4], []).append(record)
    return cells


def over_seeds(records: Iterable[Record]) -> pd.DataFrame:
    """Every metric and correlation of every cell, over its seeds.

    Returns:
        One row a cell and ``metric`` (``metrics.AP``, ``confidence.pose.kendall``, ...) with the fields of
        :class:`Estimate`; a metric no seed has a number for (an empty split) has none.
    """
    rows = [
        (*cell, metric, *found)
        for cell, runs in by_cell(records).items()
        for metric in dict.fromkeys(name for run in runs for name in run.scores)
        if (found := estimate(runs, metric)) is not None
    ]
    return pd.DataFrame(rows, columns=[*KEY, "metric", *Estimate._fields])


def differences(
    records: Iterable[Record], scores: Mapping[str, Mapping[str, str]], reference: str = REFERENCE
) -> pd.DataFrame:
    """Every loss minus the reference, in the same dataset, model and head and over the same seeds.

    A loss that can be compared in several datasets and heads of a model is also compared in the mean of them.
    All rows are one family: Holm's correction is over every comparison in the frame.

    Args:
        records: Records; controls are left out.
        scores: What to compare: by the name of a score, for each dataset the metric, as ``metrics.AP``.
        reference: The loss to compare with.

    Returns:
        One row a comparison, in the order of the scores and then of the tables: ``dataset``, ``model``,
        ``head``, ``loss``, ``metric``, the fields of :class:`Difference`, ``p_holm`` and ``score``. In a
        mean over several, dataset and head are ``all``, the metric is ``mean``, and ``p_holm`` is NaN: it is
        no further comparison.
    """
    cells = by_cell(record for record in records if not record.content["control"])
    compared = [cell for cell in cells if cell[3] != reference and (*cell[:3], reference) in cells]
    rows = []
    for score, metrics in scores.items():
        of_score = []
        strata_of: dict[tuple[str, str], list[tuple[list[Record], list[Record], str]]] = {}
        for cell in compared:
            stratum = (cells[cell], cells[(*cell[:3], reference)], metrics[cell[0]])
            if (found := difference([stratum])) is not None:
                of_score.append((*cell, metrics[cell[0]], *found))
                strata_of.setdefault((cell[1], cell[3]), []).append(stratum)
        for (model, loss), strata in strata_of.items():
            if len(strata) > 1 and (overall := difference(strata)) is not None:
                of_score.append((ALL, model, ALL, loss, "mean", *overall))
        of_score.sort(key=lambda row: (row[0] == ALL, cell_order(*row[:4])))
        rows += [(*row, score) for row in of_score]
    frame = pd.DataFrame(rows, columns=[*KEY, "metric", *Difference._fields, "score"])
    return frame.assign(p_holm=holm(frame.p.where(frame.dataset != ALL).to_numpy()))
