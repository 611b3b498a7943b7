"""How sure the numbers are: intervals of cells, differences between losses, and which of them are ties.

Two sources of uncertainty: other seeds, and other images. The replicates of a bootstrap over the validation
images are in the records; those of all losses and seeds are of the same images, so that differences and means
pair up. With several seeds an interval holds both sources, with one seed that of images; it names what it is
from. Comparisons that are shown together are one family: :func:`simultaneous` makes their intervals and
p-values, so that both say the same of all of them at once.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import gammaincinv, ndtr, ndtri, stdtr, stdtrit

from rspose.grid.record import Record
from rspose.reporting.style import cell_order

CellKey = tuple[str, str, str, str]
"""Dataset, model, head and loss."""

KEY = ["dataset", "model", "head", "loss"]
"""What a group of seeds has in common."""

LEVEL = 0.95
EQUIVALENCE = 0.5
"""Half width of the region of practical equivalence in percentage points of the main metric, by default."""
REFERENCE = "mse"
"""The loss that the others are compared with."""

ALL = "all"
"""Stands for dataset and head in a mean over several."""

Basis = Literal["seeds and images", "seeds", "images"]
_ENDS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
_DRAWS = 10_000
_LEVELS = (np.arange(1000) + 0.5) / 1000
"""Levels of the quantiles that stand for a chi-square variable, equally likely."""
_REACHES = np.sinh(np.linspace(0, 15, 400))
"""Where Student's distribution is tabled: to 1.6 million, finer near 0."""
MOST_FLIPPED = 16
_SIGNED = re.compile(r"(spearman|kendall|pearson|lost)$|\.gain\.")
"""Scores that may be below 0."""

Stratum = tuple[Sequence[Record], Sequence[Record], str]
"""The records of two losses in one dataset, model and head, and a metric."""


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
        probability: Over seeds: share of the seeds in which the first is better, with Wilson's 95 % interval
            (JASA 22, 1927), ``probability_low`` and ``probability_high``. Over images: share of the
            replicates in which it is, without an interval. Ties count half.
        p: Of no difference, two-sided: a t-test with the standard error of :func:`crossed`, which over seeds
            alone is the paired one; over images a z-test with the bootstrap's. In a family it is adjusted.
        flip: Of no difference, two-sided and exact: the share of all changes of signs of the differences of
            the seeds whose mean is as far from 0. It asks nothing of their distribution, and knows no images;
            with n seeds it is at least 2 / 2^n.
    """

    difference: float
    low: float
    high: float
    probability: float
    probability_low: float
    probability_high: float
    p: float
    flip: float
    pairs: int
    basis: Basis | None


class Verdict(StrEnum):
    """What a simultaneous 95 % interval says of a difference and the region of practical equivalence.

    The rule of Kruschke (AMPPS 1, 2018), as for classifiers in Benavoli et al. (JMLR 18, 2017): above or
    below the whole region, inside it, or across one of its ends. One seed gets none.
    """

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Paired:
    """What a paired difference is made from, for :func:`simultaneous`.

    Attributes:
        found: The difference on its own.
        place: What its seeds belong to (dataset, model, head): comparisons of one place share their seeds,
            those of one dataset, ``place[0]``, their images.
        seeds: The seeds, none where there is one only.
        gains: The difference of each of them.
        drawn: Replicates of the mean difference over draws of images, or None.
        error, freedom: The standard error of the difference, and its degrees of freedom.
    """

    found: Difference
    place: tuple[Any, ...]
    seeds: tuple[int, ...]
    gains: np.ndarray
    drawn: np.ndarray | None
    error: float
    freedom: float


def estimate(runs: Sequence[Record], metric: str) -> Estimate | None:
    """What the seeds of one cell say of a metric, None if no seed has a number.

    The interval ends where the scale does: at 0 and 1, for correlations, gains and losses at -1 and 1.
    """
    of_seeds = {run.cell.seed: run for run in runs if run.scores.get(metric) is not None}
    values = np.array([run.scores[metric] for run in of_seeds.values()], dtype=float)
    if not len(values):
        return None
    if len(values) > 1:
        drawn = _together([(run.draws, run.replicates(metric)) for run in of_seeds.values()])
        low, high, _ = crossed([values], None if drawn is None else [drawn])
        low, high = max(low, -1 if _SIGNED.search(metric) else 0), min(high, 1)
        basis: Basis = "seeds" if drawn is None else "seeds and images"
        return Estimate(values.mean(), values.std(ddof=1), len(values), low, high, basis)
    interval = next(iter(of_seeds.values())).interval(metric)
    return Estimate(values[0], np.nan, 1, *(interval or (np.nan, np.nan)), "images" if interval else None)


def crossed(
    values: Sequence[np.ndarray], replicates: Sequence[np.ndarray] | None = None
) -> tuple[float, float, float]:
    """95 % interval of the mean over strata of their means over seeds, and the p-value of that being 0.

    The standard error is that of :func:`standard_error`; Student's t.
    """
    return _interval(float(np.mean([of.mean() for of in values])), *standard_error(values, replicates))


def standard_error(
    values: Sequence[np.ndarray], replicates: Sequence[np.ndarray] | None = None
) -> tuple[float, float]:
    """Standard error of the mean over strata of their means over seeds, and its degrees of freedom.

    Seeds and images are crossed: each seed is scored on the same images. The variances of the two add up,
    that of seeds from the values, that of images from replicates of the mean over all seeds and strata. What
    a seed makes of single images is in both: the error is on the large side. Satterthwaite's degrees of
    freedom (Biometrics Bulletin 2, 1946).

    Args:
        values: Of each stratum (a dataset and head, say), one a seed, two or more.
        replicates: Of each stratum, the mean over its seeds for each draw of images, ``[R]``; None to leave
            images out.
    """
    parts = [(of.var(ddof=1) / len(of) / len(values) ** 2, len(of) - 1) for of in values]
    if replicates is not None:
        drawn = np.mean(replicates, axis=0)
        parts.append((np.nanvar(drawn, ddof=1), len(drawn) - 1))
    variances, freedoms = np.array(parts).T
    total = variances.sum()
    return float(np.sqrt(total)), float(total**2 / (variances**2 / freedoms).sum()) if total else np.inf


def _interval(mean: float, error: float, freedom: float, level: float = LEVEL) -> tuple[float, float, float]:
    if error == 0:
        return mean, mean, float(mean == 0)
    reach = stdtrit(freedom, (1 + level) / 2) * error
    return mean - reach, mean + reach, float(2 * stdtr(freedom, -abs(mean) / error))


def _together(drawn: Sequence[tuple[Any, np.ndarray | None]]) -> np.ndarray | None:
    """The mean of replicates, each with what it is a draw of, ``[R]``; None if they are of other images."""
    known = [replicates for _, replicates in drawn if replicates is not None]
    if len(known) < len(drawn) or len({draws for draws, _ in drawn}) > 1:
        return None
    return np.mean(known, axis=0)


def difference(strata: Sequence[Stratum]) -> Difference | None:
    """The paired difference between two losses on its own: :func:`paired` has the arguments."""
    found = paired(strata)
    return None if found is None else found.found


def paired(strata: Sequence[Stratum]) -> Paired | None:
    """The paired difference between two losses, in one cell or as a mean over several.

    Args:
        strata: Of each dataset and head the records of the first loss, those of the second, and the metric.

    Returns:
        None if nothing pairs up in some stratum: no seed in common, or other copies of the data.
    """
    pairs_of = [_pairs(*stratum) for stratum in strata]
    if not pairs_of or not all(pairs_of):
        return None
    gains = [np.array([ours - theirs for _, ours, theirs, *_ in pairs]) for pairs in pairs_of]
    mean = float(np.mean([gain.mean() for gain in gains]))
    count = min(map(len, gains))
    together = [_together([(draws, drawn) for *_, draws, drawn in pairs]) for pairs in pairs_of]
    complete = [drawn for drawn in together if drawn is not None]
    alike = len(complete) == len(together) and len(set(map(len, complete))) == 1
    drawn = np.mean(complete, axis=0) if alike else None
    cell = strata[0][0][0].cell
    place = (cell.dataset, cell.model, cell.head, cell.length)
    if count > 1:
        error, freedom = standard_error(gains, complete if alike else None)
        low, high, p = _interval(mean, error, freedom)
        better = [_share_above(gain) for gain in gains]
        ends = _wilson(better[0], count) if len(gains) == 1 else (np.nan, np.nan)
        flip = _sign_flip(gains[0]) if len(gains) == 1 else np.nan
        basis: Basis = "seeds and images" if alike else "seeds"
        found = Difference(mean, low, high, float(np.mean(better)), *ends, p, flip, count, basis)
        seeds = tuple(seed for seed, *_ in pairs_of[0])
        return Paired(found, place, seeds, gains[0], drawn, error, freedom)
    missing = np.nan, np.nan, np.nan
    kept = np.array([]) if drawn is None or max(map(len, gains)) > 1 else drawn[~np.isnan(drawn)]
    if len(kept) < 2:
        nothing = Difference(mean, np.nan, np.nan, *missing, np.nan, np.nan, count, None)
        return Paired(nothing, place, (), gains[0], None, np.nan, np.nan)
    low, high = map(float, np.quantile(kept, _ENDS))
    error = float(kept.std(ddof=1))
    p = _interval(mean, error, np.inf)[2]
    found = Difference(mean, low, high, _share_above(kept), *missing[:2], p, np.nan, count, "images")
    return Paired(found, place, (), gains[0], drawn, error, np.inf)


def simultaneous(family: Sequence[Paired]) -> list[Difference]:
    """The differences of a family with 95 % intervals that hold all at once, and the p-values beside them.

    Single-step min-p (Westfall and Young, Resampling-Based Multiple Testing, 1993), which is max-T where all
    have the same degrees of freedom: under no difference anywhere the comparisons are drawn together, from
    their seeds by normal multipliers, those of one place with the same, and from the replicates over images,
    those of one dataset with the same draw, each divided by an error as uncertain as its degrees of freedom
    say. So comparisons that share MSE and images are corrected for no more than they are. A p-value is below
    0.05 just where the interval leaves out 0. Differences of one family by themselves stay as they are.
    """
    known = [one for one in family if one.found.basis is not None and one.error > 0]
    if len(known) < 2:
        return [one.found for one in family]
    rng = np.random.default_rng(0)
    furthest = np.zeros(_DRAWS)
    images: dict[tuple[Any, int], np.ndarray] = {}  # drawn, by dataset and number of replicates
    by_place: dict[tuple[Any, ...], list[Paired]] = {}
    for one in known:
        by_place.setdefault(one.place, []).append(one)
    for alike in by_place.values():
        column = {seed: at for at, seed in enumerate(sorted({seed for one in alike for seed in one.seeds}))}
        weights = np.zeros((len(alike), len(column)))
        for row, one in zip(weights, alike, strict=True):
            count = len(one.seeds)
            if count:
                centred = (one.gains - one.gains.mean()) / np.sqrt(count * (count - 1))
                row[[column[seed] for seed in one.seeds]] = centred
        totals = weights @ rng.standard_normal((len(column), _DRAWS))
        spread = rng.integers(len(_LEVELS), size=_DRAWS)
        for total, one in zip(totals, alike, strict=True):
            if one.drawn is not None:
                key = one.place[0], len(one.drawn)
                if key not in images:
                    images[key] = rng.integers(key[1], size=_DRAWS)
                total += np.nan_to_num(one.drawn - np.nanmean(one.drawn))[images[key]]
            total = np.abs(total) / one.error
            if np.isfinite(one.freedom):
                errors, normal = _student(float(f"{one.freedom:.2g}"))
                total = np.interp(total / errors[spread], _REACHES, normal)
            np.maximum(furthest, total, out=furthest)
    least = 2 * ndtr(-furthest)
    least.sort()
    level = max(LEVEL, 1 - least[round((1 - LEVEL) * _DRAWS) - 1])  # no narrower than on their own
    corrected = []
    for one in family:
        found = one.found
        if found.basis is not None and one.error > 0:
            low, high, p = _interval(found.difference, one.error, one.freedom, level)
            below = float(np.searchsorted(least, p, side="right") / _DRAWS)
            found = found._replace(low=low, high=high, p=max(p, below))
        corrected.append(found)
    return corrected


@lru_cache(1000)
def _student(freedom: float) -> tuple[np.ndarray, np.ndarray]:
    """Estimates of an error of 1, equally likely, and of each reach the normal one that is as improbable.

    They belong together: a family draws with degrees of freedom of two digits, and few tables do for all.
    """
    errors = np.sqrt(2 * gammaincinv(freedom / 2, _LEVELS) / freedom)
    return errors, -ndtri(stdtr(freedom, -_REACHES))


def verdict(found: Difference, region: float = EQUIVALENCE) -> Verdict | None:
    """What an interval says against a region of plus and minus ``region`` points; None of one seed."""
    if found.basis in (None, "images"):
        return None
    low, high = 100 * found.low, 100 * found.high
    if low > region or high < -region:
        return Verdict.BETTER if low > region else Verdict.WORSE
    return Verdict.EQUIVALENT if -region <= low and high <= region else Verdict.UNDECIDED


def _share_above(gains: np.ndarray) -> float:
    return float(((gains > 0) + 0.5 * (gains == 0)).mean())


def _wilson(share: float, count: int) -> tuple[float, float]:
    z = float(stdtrit(np.inf, _ENDS[1]))
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return float(max(0.0, middle - reach)), float(min(1.0, middle + reach))


def _sign_flip(gains: np.ndarray) -> float:
    if len(gains) > MOST_FLIPPED:
        return np.nan
    signs = 1 - 2 * (np.arange(2 ** len(gains))[:, None] >> np.arange(len(gains)) & 1)
    return float((np.abs(signs @ gains) >= abs(gains.sum()) * (1 - 1e-9)).mean())


def _pairs(
    first: Sequence[Record], second: Sequence[Record], metric: str
) -> list[tuple[int, float, float, Any, np.ndarray | None]]:
    """Seed, both values and the replicates of their difference, for each seed of both on the same data."""
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
            found.append((run.cell.seed, ours, theirs, run.draws, gains))
    return found


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
    records: Iterable[Record],
    scores: Mapping[str, Mapping[str, str]],
    reference: str = REFERENCE,
    region: float = EQUIVALENCE,
) -> pd.DataFrame:
    """Every loss minus the reference, in the same dataset, model, head and length, over the same seeds.

    A loss that can be compared in several datasets and heads of a model is also compared in the mean of them.
    All other rows are one family, corrected by :func:`simultaneous`.

    Args:
        records: Records, of any lengths; controls are left out.
        scores: What to compare: by the name of a score, for each dataset the metric, as ``metrics.AP``.
        reference: The loss to compare with.
        region: As for :func:`verdict`.

    Returns:
        One row a comparison, in the order of the scores, the lengths and then of the tables: ``dataset``,
        ``model``, ``head``, ``loss``, ``metric``, the fields of :class:`Difference`, ``verdict``, ``length``
        and ``score``. In a mean over several, dataset and head are ``all``, the metric is ``mean``, its
        interval stands alone, and ``p`` is NaN: it is no further comparison.
    """
    of_lengths = by_length(record for record in records if not record.content["control"])
    rows: list[tuple[Any, ...]] = []
    family: list[Paired] = []
    for (score, metrics), (length, known) in product(scores.items(), of_lengths.items()):
        cells = by_cell(known)
        compared = [cell for cell in cells if cell[3] != reference and (*cell[:3], reference) in cells]
        compared.sort(key=lambda cell: cell_order(*cell))
        strata_of: dict[tuple[str, str], list[Stratum]] = {}
        for cell in compared:
            stratum = (cells[cell], cells[(*cell[:3], reference)], metrics[cell[0]])
            if (found := paired([stratum])) is not None:
                rows.append((*cell, metrics[cell[0]], len(family), length, score))
                family.append(found)
                strata_of.setdefault((cell[1], cell[3]), []).append(stratum)
        overall = [
            (ALL, model, ALL, loss, "mean", mean._replace(p=np.nan), length, score)
            for (model, loss), strata in strata_of.items()
            if len(strata) > 1 and (mean := difference(strata)) is not None
        ]
        rows += sorted(overall, key=lambda row: cell_order(*row[:4]))
    corrected = simultaneous(family)
    lines = []
    for *place, found, length, score in rows:
        one = corrected[found] if isinstance(found, int) else found
        lines.append((*place, *one, verdict(one, region) if place[0] != ALL else None, length, score))
    return pd.DataFrame(lines, columns=[*KEY, "metric", *Difference._fields, "verdict", "length", "score"])
