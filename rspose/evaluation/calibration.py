"""Confidences that losses can be compared in: after a monotone calibration, or one constant a type.

Both are fitted, for every loss alike, to the labelled keypoints on annotated boxes of one half of the images
and change the predictions on the other half, and the other way round: no image has a part in its own fit.
"""

from collections.abc import Callable
from zlib import crc32

import numpy as np

from rspose.evaluation.confidence import KeypointQuality, Pairs
from rspose.evaluation.resampling import SEED, mean_of_known, spearman

Rule = Callable[[Pairs, np.ndarray], np.ndarray]
"""What makes new confidences of others, given pairs to learn from."""


def second_half(dataset: str, images: int) -> np.ndarray:
    """Which images are in the second half, drawn at random, for a split always the same, bool ``[I]``."""
    return np.random.default_rng([SEED, crc32(dataset.encode()), 1]).permutation(images) < images // 2


def isotonic(pairs: Pairs, confidence: np.ndarray) -> np.ndarray:
    """The quality to be expected at each confidence: isotonic regression, linear between what it saw.

    Of two confidences the higher may become equal to the other, never lower. Without a pair they stay.
    """
    if not len(pairs.row):
        return confidence
    seen, group, count = np.unique(pairs.confidence, return_inverse=True, return_counts=True)
    fitted = _rising(np.bincount(group, pairs.quality), count)
    # Between the ends of a level there is nothing to look up.
    ends = np.diff(fitted, prepend=np.nan, append=np.nan) != 0
    ends = ends[:-1] | ends[1:]
    return np.interp(confidence, seen[ends], fitted[ends])


def _rising(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The rising means nearest to those of n groups, by their totals and counts, ``[n]``.

    Neighbours that fall are pooled until none is left.
    """
    # scipy.optimize has it too, but takes long to import.
    size = np.ones(len(count), dtype=np.int64)
    while (falls := np.diff(total / count) <= 0).any():
        starts = np.flatnonzero(np.append(True, ~falls))
        total, count, size = (np.add.reduceat(each, starts) for each in (total, count, size))
    return np.repeat(total / count, size)


def constant(pairs: Pairs, confidence: np.ndarray) -> np.ndarray:
    """The confidences times one constant, which gives those of the pairs the mean of their quality."""
    total = pairs.confidence.sum(dtype=np.float64)
    return confidence * (pairs.quality.sum() / total) if total > 0 else confidence


def cross_fitted(
    rule: Rule,
    by_type: bool,
    confidence: np.ndarray,
    half: np.ndarray,
    truth: KeypointQuality,
    half_of_truth: np.ndarray,
) -> np.ndarray:
    """The confidences as ``rule`` changes them after it saw the other half, float64 ``[M, K]``.

    Args:
        rule: :func:`isotonic` or :func:`constant`.
        by_type: Whether each keypoint type has a fit of its own; one without a label in the half that is
            learned from takes that of all types.
        confidence: Of M predictions, ``[M, K]``.
        half: Whether the image of each of them is in the second half, bool ``[M]``.
        truth: Of N predictions on annotated boxes.
        half_of_truth: As ``half``, bool ``[N]``.
    """
    changed = confidence.astype(np.float64)
    types = [slice(k, k + 1) for k in range(confidence.shape[1])] if by_type else [slice(None)]
    for side in (False, True):
        learned, (rows,) = truth.take(half_of_truth != side), np.nonzero(half == side)
        for among in types:
            pairs = learned.pairs(among)
            changed[rows, among] = rule(pairs if len(pairs.row) else learned.pairs(), changed[rows, among])
    return changed


def spearman_of_halves(pairs: Pairs, image: np.ndarray, second: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Spearman's rho of the pairs in each half of the images, the mean of both, float64 ``[R]``.

    Two fits are no common scale: between halves nothing is compared. ``image`` is the index of the image of
    each prediction; otherwise as :func:`rspose.evaluation.resampling.spearman`.
    """
    image = image[pairs.row]
    of_half = [
        spearman(pairs.confidence[rows], pairs.quality[rows], image[rows], counts)
        for rows in (~second[image], second[image])
    ]
    return mean_of_known(of_half)
