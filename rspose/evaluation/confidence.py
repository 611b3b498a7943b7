"""How well confidence tells localisation quality: correlations, and quality by confidence.

Spearman's rho and Kendall's tau-b come first, since losses leave the scale of a confidence free up to any
monotone map. Pearson's r and the calibration curve take the confidence in [0, 1] as it is.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from rspose.datasets.annotations import Annotations
from rspose.evaluation.matching import Candidates
from rspose.evaluation.oks import keypoint_similarity, squared_distance
from rspose.evaluation.predictions import Predictions
from rspose.evaluation.resampling import mean_of_known, pearson, spearman

# The least OKS at which the evaluators match a prediction to a person.
MATCH_THRESHOLD = 0.5
CALIBRATION_BINS = 20


def kendall(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's tau-b of n pairs, of which neither side is constant."""

    # scipy.stats has it too, but takes half as long to import as a demo cell takes to evaluate.
    def ties(values: np.ndarray) -> int:
        times = np.unique(values, return_counts=True)[1]
        return int((times * (times - 1) // 2).sum())

    rank_x, rank_y = (np.unique(each, return_inverse=True)[1] for each in (x, y))
    by_both = np.sort(rank_x * len(y) + rank_y)
    every, tied_x, tied_y = len(x) * (len(x) - 1) // 2, ties(rank_x), ties(rank_y)
    excess = every - tied_x - tied_y + ties(by_both) - 2 * _inversions(by_both % len(y))
    return float(
        np.clip(excess / np.sqrt(every - tied_x) / np.sqrt(every - tied_y), -1, 1)
    )  # but for rounding


def _inversions(ranks: np.ndarray) -> int:
    """How many pairs of n whole numbers from 0 on stand with the larger one first."""
    found = 0
    # From the highest bit on: of those that are equal in all higher bits, which stand side by side, a pair is
    # told by the first bit in which it differs.
    for bit in reversed(range(int(ranks.max(initial=0)).bit_length())):
        higher, one = ranks >> bit + 1, ranks >> bit & 1
        ones = np.append(0, np.cumsum(one))
        before = ones[:-1] - ones[np.searchsorted(higher, higher)]
        found += int(before[one == 0].sum())
        ranks = ranks[np.argsort(ranks >> bit, kind="stable")]
    return found


@dataclass(eq=False)
class Pairs:
    """Confidence and localisation quality of n keypoints or poses, both in [0, 1], ``[n]``."""

    confidence: np.ndarray
    quality: np.ndarray
    row: np.ndarray  # of the prediction that each pair is of, int64 ``[n]``

    def correlations(self) -> dict[str, float | int | None]:
        """Spearman, Kendall and Pearson correlation, None where one side is constant, and the number n."""
        found: dict[str, float | int | None] = dict.fromkeys(("spearman", "kendall", "pearson"))
        found["n"] = len(self.row)
        if len(self.row) > 1 and np.ptp(self.confidence) and np.ptp(self.quality):
            # In double precision, which confidences are not stored in.
            confidence = self.confidence.astype(np.float64)
            image, counts = np.zeros(len(self.row), dtype=np.int64), np.ones((1, 1), dtype=np.int64)
            found["spearman"] = float(spearman(confidence, self.quality, image, counts)[0])
            found["kendall"] = kendall(self.confidence, self.quality)
            found["pearson"] = float(pearson(confidence, self.quality, image, counts)[0])
        return found

    def calibration(self, bins: int = CALIBRATION_BINS) -> dict[str, list[float | None] | list[int]]:
        """Mean quality by confidence, in bins of equal width from 0 to 1.

        A bin holds its lower edge; the last one 1 too. Lists with an entry a bin: the means ``confidence``
        and ``quality``, None in an empty bin, and ``count``.
        """
        index = np.minimum((np.float64(self.confidence) * bins).astype(np.int64), bins - 1)
        count = np.bincount(index, minlength=bins)
        means = {}
        for name, values in (("confidence", self.confidence), ("quality", self.quality)):
            sums = np.bincount(index, weights=values, minlength=bins)
            means[name] = [float(total / n) if n else None for total, n in zip(sums, count, strict=True)]
        return {**means, "count": count.tolist()}


@dataclass(eq=False)
class KeypointQuality:
    """Localisation quality of the K keypoints of N predictions.

    Attributes:
        confidence: ``[N, K]``.
        similarity: To the truth, ``[N, K]``; arbitrary where not labelled.
        labelled: Keypoints whose truth is known, bool ``[N, K]``.
    """

    confidence: np.ndarray
    similarity: np.ndarray
    labelled: np.ndarray

    def take(self, rows: np.ndarray) -> Self:
        """That of some predictions, given as indices or as a boolean mask ``[N]``."""
        return type(self)(self.confidence[rows], self.similarity[rows], self.labelled[rows])

    def pairs(self, keypoints: slice = slice(None)) -> Pairs:
        """Confidence and similarity of the labelled ones among some of the K keypoints."""
        labelled = self.labelled[:, keypoints]
        confidence, similarity = (each[:, keypoints][labelled] for each in (self.confidence, self.similarity))
        return Pairs(confidence, similarity, np.nonzero(labelled)[0])

    def within_types(self, image: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Spearman's rho of the pairs of each type, the mean over the types that have one, float64 ``[R]``.

        ``image`` is the index of the image of each prediction, which occurs ``counts`` ``[I, R]`` times.
        """
        types = [self.pairs(slice(k, k + 1)) for k in range(self.confidence.shape[1])]
        return mean_of_known(
            [spearman(each.confidence, each.quality, image[each.row], counts) for each in types]
        )

    def between_types(self) -> Pairs:
        """Mean confidence and mean similarity of each type that has a labelled keypoint."""
        labels = self.labelled.sum(axis=0)
        types = np.flatnonzero(labels)
        confidence, similarity = (
            (values * self.labelled).sum(axis=0, dtype=np.float64)[types] / labels[types]
            for values in (self.confidence, self.similarity)
        )
        return Pairs(confidence, similarity, types)

    def pose_pairs(self, scores: np.ndarray) -> Pairs:
        """Score ``[N]`` and OKS, the mean similarity, of the predictions with a labelled keypoint."""
        rows = np.flatnonzero(self.labelled.any(axis=1))
        total = (self.similarity * self.labelled).sum(axis=1)[rows]
        return Pairs(scores[rows], total / self.labelled.sum(axis=1)[rows], rows)


def keypoint_quality(
    predictions: Predictions, persons: np.ndarray, annotations: Annotations, falloff: np.ndarray
) -> KeypointQuality:
    """Quality of N predictions of the persons in N rows of the annotations."""
    distance = squared_distance(predictions.keypoints, annotations.keypoints[persons])
    similarity = keypoint_similarity(distance, annotations.area[persons], falloff)
    return KeypointQuality(predictions.confidence, similarity, annotations.labelled[persons])


def detection_pairs(candidates: Candidates, scores: np.ndarray, kept: np.ndarray) -> Pairs:
    """Instance score and OKS of each detection that counts, of those ``kept``, bool ``[N]``; scores ``[N]``.

    The quality of a detection is its OKS with that person of its image whom it fits best, 0 where there is
    none. It does not depend on the scores: were each person given to the best-scored detection and the others
    counted as 0, even random scores would correlate with such a quality. As in the evaluator, the 20 best of
    an image count, and those that fit nobody but a person to be ignored are left out.
    """
    rows, _ = candidates.ranked(scores, kept)
    best, to_ignored = (
        candidates.best(persons)[rows] for persons in (~candidates.ignored, candidates.ignored)
    )
    counted = (best >= MATCH_THRESHOLD) | (to_ignored < MATCH_THRESHOLD)
    return Pairs(scores[rows[counted]], best[counted], rows[counted])
