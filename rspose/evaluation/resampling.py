"""How far metrics would move with other validation images: a bootstrap over images.

A replicate draws as many images as there are, with replacement, and counts what was matched in an image as
often as the image was drawn. For one split the draws are always the same: replicates of two losses pair up.
Everywhere image i of I occurs ``counts[i]`` times, int ``[I, R]``, in R replicates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
from scipy.sparse import csr_array

from rspose.grid.replicates import encode

REPLICATES = 500
SEED = 0
LEVEL = 0.95

# As many at a time as stay in the processor's cache.
_NUMBERS = 2**20
# Ranks times replicates in memory.
_RANKS = 2**20
# Rows at a time that stay in the processor's cache for all replicates.
_ROWS = 512

_NUM_RECALLS = 101


@dataclass(eq=False)
class Matches:
    """Detections matched to the persons of I images, at T OKS thresholds.

    Attributes:
        image: Index of each detection's image, int64 ``[D]``; the best score of the split first.
        true: Detections that found a person, bool ``[T, D]``.
        false: Detections that found nobody, bool ``[T, D]``; the others neither count for nor against.
        persons: Persons to be found in each image, int64 ``[I]``.
    """

    image: np.ndarray
    true: np.ndarray
    false: np.ndarray
    persons: np.ndarray


def draws(dataset: str, images: int, replicates: int = REPLICATES) -> np.ndarray:
    """How often each image is drawn in each replicate, int32 ``[images, replicates]``."""
    rng = np.random.default_rng([SEED, crc32(dataset.encode())])
    drawn = rng.integers(0, max(images, 1), (replicates, images))
    return np.stack([np.bincount(each, minlength=images) for each in drawn], axis=1, dtype=np.int32)


def precision_and_recall(matches: Matches, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average precision over 101 recalls, and recall, float64 ``[T, R]``; NaN without a person to be found.

    Equal to the evaluator's on a dataset in which the images are repeated that often, side by side.
    """
    persons = matches.persons @ counts
    # The least number found with which each recall is reached, as the evaluator divides.
    recalls = np.linspace(0.0, 1.0, _NUM_RECALLS)
    needed = np.ceil(recalls * persons[:, None] - 0.5)
    needed = (needed + (needed / np.maximum(persons, 1)[:, None] < recalls)).astype(np.int64)
    counting = matches.true | matches.false
    seen = np.flatnonzero(counting.any(axis=0))
    image, true, counting = matches.image[seen], matches.true[:, seen], counting[:, seen]
    thresholds, detections = true.shape
    # Precision has its peaks at the last true detections before a false one: nothing else is looked at, but
    # for the last detection. Repetitions of a detection stand one after the other. All thresholds are in one
    # row.
    rows = np.flatnonzero(counting)
    peaks = rows[np.diff(true.ravel()[rows].astype(np.int8), append=0) < 0]
    ends = np.union1d(peaks, np.arange(1, thresholds + 1) * detections - 1) if detections else peaks
    starts = np.searchsorted(ends, np.arange(thresholds + 1) * detections).tolist()
    of_any, place = np.unique(ends % max(detections, 1), return_inverse=True)
    images, every = len(counts), np.full(detections, True)
    hits, excused = (_between(among, ends, image, images) for among in (true, ~counting))
    seen_between = _between(every, of_any, image, images)
    precision, recall = np.zeros((2, thresholds, counts.shape[1]))
    step = _NUMBERS // max(len(ends), 1) + 1
    for start in range(0, counts.shape[1] if detections else 0, step):
        at = slice(start, start + step)
        drawn = np.ascontiguousarray(counts[:, at], dtype=np.int32)
        of_hits, of_excused, seen_so_far = hits @ drawn, excused @ drawn, _so_far(seen_between @ drawn)
        for t, of_threshold in enumerate(map(slice, starts[:-1], starts[1:])):
            found = _so_far(of_hits[of_threshold])
            counted = seen_so_far.take(place[of_threshold], axis=1)
            if excused.nnz:
                counted -= _so_far(of_excused[of_threshold])
            recall[t, at] = found[:, -1]
            precision[t, at] = _mean_precision(found, found / np.maximum(counted, 1), needed[at])
    nobody = persons == 0
    precision[:, nobody], recall[:, nobody] = np.nan, np.nan
    return precision, recall / np.maximum(persons, 1)


def _between(among: np.ndarray, ends: np.ndarray, image: np.ndarray, images: int) -> csr_array:
    """How many of ``among``, from one of n ``ends`` to the next, are in each image, ``[n, I]``.

    Among one row of detections, bool ``[D]``, or T rows one after the other, ``[T, D]``.
    """
    rows = np.flatnonzero(among)
    edges = np.append(0, np.searchsorted(rows, ends, side="right"))
    of_rows = image[rows % len(image)] if len(rows) else rows
    return csr_array((np.ones(len(of_rows), dtype=np.int32), of_rows, edges), (len(ends), images))


def _so_far(counts: np.ndarray) -> np.ndarray:
    """Counts up to each end from those between the ends, int32 ``[n, R]`` to ``[R, n]``."""
    return np.cumsum(counts.T, axis=1, dtype=np.int32)


def _mean_precision(found: np.ndarray, precision: np.ndarray, needed: np.ndarray) -> np.ndarray:
    """Mean over recalls of the best precision at each or a higher one, ``[R]``.

    Of the n peaks ``[R, n]`` are the persons found and the precision; ``needed`` is as many as each recall
    takes, ``[R, 101]``.
    """
    # One search for all replicates: each has its own range of numbers.
    replicates, peaks = found.shape
    floor = np.arange(replicates)[:, None] * (max(found[:, -1].max(), needed.max()) + 1)
    end = np.arange(1, replicates + 1)[:, None] * peaks
    reached = np.searchsorted((found + floor).ravel(), (needed + floor).ravel()).reshape(needed.shape)
    edges = np.concatenate([reached, end], axis=1).ravel()
    best = np.maximum.reduceat(np.append(precision, 0.0), edges).reshape(replicates, -1)[:, :-1]
    best[reached == end] = 0.0
    return np.maximum.accumulate(best[:, ::-1], axis=1).sum(axis=1) / _NUM_RECALLS


def spearman(x: np.ndarray, y: np.ndarray, image: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Spearman's rho of n pairs that occur as often as their images, float64 ``[R]``; NaN where undefined.

    ``image`` is the index of the image of each pair. The first of R is exact, the others within 0.00001:
    for them, values are ranked in two thousand classes of neighbouring ones, in single precision.
    """
    first, others = counts[:, :1].astype(np.float64), counts[:, 1:].astype(np.float32)
    found = np.concatenate([_spearman(x, y, image, weights) for weights in (first, others)])
    return np.clip(found, -1, 1)  # which rounding may leave


def _spearman(x: np.ndarray, y: np.ndarray, image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    (class_x, rank_x, spread_x), (class_y, rank_y, spread_y) = (
        _weighted_ranks(values, image, weights) for values in (x, y)
    )
    covariance = np.zeros(weights.shape[1])
    for start in range(0, len(image), _ROWS):
        rows = slice(start, start + _ROWS)
        product = weights.take(image[rows], axis=0) * rank_x.take(class_x[rows], axis=0)
        product *= rank_y.take(class_y[rows], axis=0)
        covariance += product.sum(axis=0)
    spread = np.sqrt(spread_x * spread_y)
    return np.divide(covariance, spread, out=np.full(len(spread), np.nan), where=spread > 0)


def _weighted_ranks(
    values: np.ndarray, image: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The class of each value, ``[n]``, their ranks, centred, ``[classes, R]``, and their spread, ``[R]``."""
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    classes = _RANKS // max(weights.shape[1], 1)
    if len(size) > classes and weights.dtype == np.float32:
        middle = np.cumsum(size) - (size + 1) // 2
        group = np.unique(middle * classes // len(values), return_inverse=True)[1][group]
    shape = (group.max(initial=-1) + 1, len(weights))
    weight = csr_array((np.ones(len(group), weights.dtype), (group, image)), shape) @ weights
    if weights.shape[1] == 1:
        ranks = np.cumsum(weight, axis=0)
    else:  # long rows, one by one, are faster than numpy's sum down the columns
        ranks = weight.copy()
        for before, row in pairwise(ranks):
            row += before
    total = ranks[-1:].sum(axis=0)
    # Mean rank of a class among all repeated pairs. From the middle, so that their mean is 0.
    ranks -= (weight + total) / 2
    ranks /= np.maximum(total, 1)
    return group, ranks, (weight * ranks**2).sum(axis=0, dtype=np.float64)


def mean_of_known(values: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Mean of the numbers that are known, ``[n, R]`` to ``[R]``; NaN where none is."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    return np.divide(np.nansum(values, axis=0), count, out=np.full(count.shape, np.nan), where=count > 0)


def pearson(x: np.ndarray, y: np.ndarray, image: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pearson's r of pairs that occur as often as their images; otherwise as :func:`spearman`."""
    # Far from 0, squares would lose the digits that count.
    x, y = (values - values.sum() / max(len(values), 1) for values in (x, y))
    # And squares of small numbers would be 0: r knows no scale.
    x, y = (values / (np.abs(values).max(initial=0.0) or 1.0) for values in (x, y))
    n, sum_x, sum_y, sum_xx, sum_yy, sum_xy = (
        np.bincount(image, each, minlength=len(counts)) @ counts
        for each in (np.ones(len(x)), x, y, x * x, y * y, x * y)
    )
    covariance = n * sum_xy - sum_x * sum_y
    spread_x, spread_y = n * sum_xx - sum_x**2, n * sum_yy - sum_y**2
    # What rounding leaves of equal values is no spread.
    defined = (spread_x > 1e-12 * n * sum_xx) & (spread_y > 1e-12 * n * sum_yy)
    spread = np.sqrt(np.where(defined, spread_x * spread_y, 1.0))
    r = np.where(defined, covariance / spread, np.nan)
    return r.clip(-1, 1)  # which rounding may overstep


def summary(
    values: Mapping[str, np.ndarray], unpaired: Mapping[str, np.ndarray], images: int
) -> dict[str, Any]:
    """What a record keeps of the replicates of each number, as JSON values.

    Numbers have their names in a record (``metrics.AP``). Of those ``unpaired``, whose differences between
    losses are in no table, it keeps ``intervals`` only (95 %, by percentiles; None where no replicate is
    defined), of ``values`` also the replicates (:func:`rspose.grid.replicates.decode`).
    """
    intervals = {}
    for name, replicates in {**values, **unpaired}.items():
        defined = replicates[~np.isnan(replicates)]
        ends = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist() if len(defined) else None
        intervals[name] = ends
    return {
        "over": "images",
        "images": images,
        "replicates": len(next(iter(values.values()))),
        "seed": SEED,
        "intervals": intervals,
        "values": {name: encode(replicates) for name, replicates in values.items()},
    }
