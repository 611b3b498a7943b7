"""How far metrics would move with other validation images: a bootstrap over images.

A replicate draws as many images as there are, with replacement, and counts what was matched in an image as
often as the image was drawn. For one split the draws are always the same: replicates of two losses pair up.
Everywhere image i of I occurs ``counts[i]`` times, int ``[I, R]``, in R replicates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from rspose.grid.replicates import encode

REPLICATES = 500
SEED = 0
LEVEL = 0.95

# As many replicates at a time as keep the arrays of a large split in tens of megabytes.
_CHUNK = 100

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
    precision, recall = np.zeros((2, len(matches.true), counts.shape[1]))
    for start in range(0, counts.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        chunk = np.ascontiguousarray(counts[:, part])
        persons = matches.persons @ chunk
        for t, (true, false) in enumerate(zip(matches.true, matches.false, strict=True)):
            precision[t, part], recall[t, part] = _at_threshold(matches.image, true, false, chunk, persons)
    nobody = matches.persons @ counts == 0
    precision[:, nobody], recall[:, nobody] = np.nan, np.nan
    return precision, recall


def _at_threshold(
    image: np.ndarray, true: np.ndarray, false: np.ndarray, counts: np.ndarray, persons: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # Recall rises at true detections alone, and precision has its peaks there: nothing else is looked at.
    # The repetitions of one detection form a step of the curve, which peaks at its end.
    hits = np.flatnonzero(true)
    if not len(hits):
        return np.zeros(counts.shape[1]), np.zeros(counts.shape[1])
    counting = np.flatnonzero((true | false)[: hits[-1] + 1])
    so_far = np.cumsum(counts[image[counting]], axis=0)[np.searchsorted(counting, hits)]
    found = np.cumsum(counts[image[hits]], axis=0)
    precision = found / (so_far + np.spacing(1))
    # The best precision at this recall or a higher one.
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    recall = found / np.maximum(persons, 1)
    recalls = np.linspace(0.0, 1.0, _NUM_RECALLS)
    mean = np.zeros(counts.shape[1])
    for replicate, reached in enumerate(np.ascontiguousarray(recall.T)):
        at = np.searchsorted(reached, recalls, side="left")
        mean[replicate] = envelope[at[at < len(hits)], replicate].sum() / _NUM_RECALLS
    return mean, recall[-1]


def spearman(x: np.ndarray, y: np.ndarray, image: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Spearman's rho of n pairs that occur as often as their images, float64 ``[R]``; NaN where undefined.

    ``image`` is the index of the image of each pair.
    """
    result = np.full(counts.shape[1], np.nan)
    for start in range(0, counts.shape[1], _CHUNK):
        weight = np.ascontiguousarray(counts[:, start : start + _CHUNK])[image].astype(np.float64)
        total = weight.sum(axis=0)
        # Ranks count from the middle, so that their mean is 0.
        rank_x, rank_y = (_centred_ranks(values, weight, total) for values in (x, y))
        covariance = (weight * rank_x * rank_y).sum(axis=0)
        spread = np.sqrt((weight * rank_x**2).sum(axis=0) * (weight * rank_y**2).sum(axis=0))
        defined = spread > 0
        result[start : start + _CHUNK][defined] = covariance[defined] / spread[defined]
    return result


def mean_of_known(values: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of the numbers that are known, ``[n, R]`` to ``[R]``; NaN where none is."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    return np.divide(np.nansum(values, axis=0), count, out=np.full(count.shape, np.nan), where=count > 0)


def _centred_ranks(values: np.ndarray, weight: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Mean rank of each value among all repeated ones, minus the mean of all ranks, ``[n, R]``."""
    order = np.argsort(values, kind="stable")
    _, first, group = np.unique(values[order], return_index=True, return_inverse=True)
    below = np.concatenate([np.zeros((1, weight.shape[1])), np.cumsum(weight[order], axis=0)])
    ends = np.append(first[1:], len(values))
    ranks = np.empty_like(weight)
    ranks[order] = ((below[first] + below[ends] - total) / 2)[group]
    return ranks


def pearson(x: np.ndarray, y: np.ndarray, image: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pearson's r of pairs that occur as often as their images; otherwise as :func:`spearman`."""
    # Far from 0, squares would lose the digits that count.
    x, y = (values - values.sum() / max(len(values), 1) for values in (x, y))
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


def kendall(x: np.ndarray, y: np.ndarray, image: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of pairs that occur as often as their images, to first order, float64 ``[R]``.

    Tau-b is a ratio of sums over couples of pairs, quadratic in how often images occur. Each sum is replaced
    by its tangent at "every image once" (the infinitesimal jackknife): the sums themselves would cost as much
    in every replicate as once. Otherwise as :func:`spearman`.
    """
    # Of each pair with all others: concordant ones less discordant ones.
    concordance = _dominated(x, y) + _dominated(-x, -y) - _dominated(x, -y) - _dominated(-x, y)
    groups = (np.unique(values, return_inverse=True, return_counts=True)[1:] for values in (x, y))
    differing = [len(x) - sizes[group] for group, sizes in groups]
    concordant, differ_x, differ_y = (
        np.bincount(image, weights=of_pair, minlength=len(counts)) @ counts - of_pair.sum() / 2
        for of_pair in (concordance, *differing)
    )
    result = np.full(counts.shape[1], np.nan)
    defined = (differ_x > 0) & (differ_y > 0)
    result[defined] = concordant[defined] / np.sqrt(differ_x[defined] * differ_y[defined])
    return np.clip(result, -1.0, 1.0)


def _dominated(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How many others are smaller in both x and y, of each pair, int64 ``[n]``."""
    # In the order of x, how many before are smaller in y; of equal x, the larger y come first.
    order = np.lexsort((-y, x))
    rank = np.unique(y, return_inverse=True)[1][order]
    place = np.arange(len(x))
    found = np.zeros(len(x), dtype=np.int64)
    width = 1
    while width < len(x):
        # Blocks in pairs: each of the right block counts the smaller ones of the left block.
        block = place // (2 * width)
        right = (place // width) % 2 == 1
        key = block * (len(x) + 1) + rank
        left_keys = np.sort(key[~right])
        starts = np.searchsorted(left_keys, block[right] * (len(x) + 1))
        found[order[right]] += np.searchsorted(left_keys, key[right]) - starts
        width *= 2
    return found


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
