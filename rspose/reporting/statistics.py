"""How sure the numbers are: intervals of cells, differences between losses, and which of them are ties.

Two sources of uncertainty: other seeds, and other images. The replicates of a bootstrap over the validation
images are in the records; those of all losses and seeds are of the same images, so that differences and means
pair up. With several seeds an interval holds both sources, with one seed that of images; it names what it is
from.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtr, stdtrit

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

Basis = Literal["seeds and images", "seeds", "images"]
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
        p: Of no difference, two-sided: a t-test with the standard error of :func:`crossed`, which over seeds
            alone is the paired one; over images a z-test with the bootstrap's; not corrected.
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
        drawn = _together([(run.draws, run.replicates(metric)) for run in of_seeds.values()])
        low, high, _ = crossed([values], None if drawn is None else [drawn])
        basis: Basis = "seeds" if drawn is None else "seeds and images"
        return Estimate(values.mean(), values.std(ddof=1), len(values), low, high, basis)
    interval = next(iter(of_seeds.values())).interval(metric)
    return Estimate(values[0], np.nan, 1, *(interval or (np.nan, np.nan)), "images" if interval else None)


def crossed(
    values: Sequence[np.ndarray], replicates: Sequence[np.ndarray] | None = None
) -> tuple[float, float, float]:
    """95 % interval of the mean over strata of their means over seeds, and the p-value of that being 0.

    Seeds and images are crossed: each seed is scored on the same images. The variances of the two add up,
    that of seeds from the values, that of images from replicates of the mean over all seeds and strata. What
    a seed makes of single images is in both: the interval errs on the wide side. Student's t, with
    Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946).

    Args:
        values: Of each stratum (a dataset and head, say), one a seed, two or more.
        replicates: Of each stratum, the mean over its seeds for each draw of images, ``[R]``; None to leave
            images out.
    """
    mean = float(np.mean([of.mean() for of in values]))
    parts = [(of.var(ddof=1) / len(of) / len(values) ** 2, len(of) - 1) for of in values]
    if replicates is not None:
        drawn = np.mean(replicates, axis=0)
        parts.append((np.nanvar(drawn, ddof=1), len(drawn) - 1))
    variances, freedoms = np.array(parts).T
    error = np.sqrt(variances.sum())
    if error == 0:
        return mean, mean, float(mean == 0)
    freedom = variances.sum() ** 2 / (variances**2 / freedoms).sum()
    reach = stdtrit(freedom, _ENDS[1]) * error
    return mean - reach, mean + reach, float(2 * stdtr(freedom, -abs(mean) / error))


def _together(drawn: Sequence[tuple[Any, np.ndarray | None]]) -> np.ndarray | None:
    """The mean of replicates, each with what it is a draw of, ``[R]``; None if they are of other images."""
    known = [replicates for _, replicates in drawn if replicates is not None]
    if len(known) < len(drawn) or len({draws for draws, _ in drawn}) > 1:
        return None
    return np.mean(known, axis=0)


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
        together = [_together([(None, drawn) for *_, drawn in pairs]) for pairs in paired]
        complete = [drawn for drawn in together if drawn is not None]
        alike = len(complete) == len(together) and len(set(map(len, complete))) == 1
        low, high, p = crossed(gains, complete if alike else None)
        better = np.mean([_superiority(of[:, 0], of[:, 1]) for of in values])
        basis: Basis = "seeds and images" if alike else "seeds"
        return Difference(mean, low, high, float(better), p, seeds, basis)
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


def by_length(records: Iterable[Record]) -> dict[float, list[Record]]:
    """The records of each training length, the shortest first, each with the controls, which have none."""
    known = list(records)
    lengths = sorted({record.cell.length for record in known if not record.control}) or [1.0]
    return {
        length: [record for record in known if record.control or record.cell.length == length]
        for length in lengths
    }


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
