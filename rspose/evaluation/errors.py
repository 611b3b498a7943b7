"""What is wrong with predicted keypoints, after Ronchi and Perona, ICCV 2017, arXiv:1707.05388.

A predicted keypoint whose truth is labelled is compared, by keypoint similarity, with the joints of its kind
and of the mirrored kind (left for right) of every person in the image. The most similar one decides:

- *good*: the true joint, similarity at least 0.85; *jitter*: the true joint, at least 0.5;
- *inversion*: the mirrored joint of the same person, at least 0.5;
- *swap*: a joint of another person, at least 0.5;
- *miss*: no joint reaches 0.5.

A *repair* moves a keypoint straight towards the true joint, until its similarity to that is what remains
without the error: 0.85 for a jitter, 0.5 for a miss, and for an inversion or a swap its similarity to the
wrong joint. (The authors' code means the same, but takes sigma for the falloff 2 sigma and moves keypoints
nearer.)
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rspose.datasets import KeypointSet
from rspose.datasets.annotations import Annotations
from rspose.evaluation.matching import MATCHED, NOBODY, Candidates
from rspose.evaluation.oks import in_same_image, keypoint_similarity, portions, squared_distance

KINDS = ("good", "jitter", "inversion", "swap", "miss")
ERRORS = KINDS[1:]
GOOD, NEAR = 0.85, 0.5
NOT_JUDGED = -1


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What is wrong with N predicted poses, K keypoints each.

    Attributes:
        kind: Index into ``KINDS`` of each keypoint, -1 where it is not judged (no label, or a pose that means
            nobody), int8 ``[N, K]``.
        predicted: The keypoints in pixels, ``[N, K, 2]``.
        repaired: Where they would be without their errors, ``[N, K, 2]``.
    """

    kind: np.ndarray
    predicted: np.ndarray
    repaired: np.ndarray

    def shares(self, image: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Share of each kind among the judged keypoints, float64 ``[R]``; NaN where none is.

        ``image`` is the index of the image of each pose; image i occurs ``counts[i]`` times, int ``[I, R]``.
        """
        of_pose = [(self.kind == index).sum(axis=1) for index in range(len(KINDS))]
        of_kind = np.stack([np.bincount(image, each, len(counts)) for each in of_pose]) @ counts
        total = of_kind.sum(axis=0)
        shares = np.divide(of_kind, total, out=np.full(of_kind.shape, np.nan), where=total > 0)
        return dict(zip(KINDS, shares, strict=True))

    def gains(
        self, measured: np.ndarray, metric: Callable[[np.ndarray, np.ndarray], np.ndarray]
    ) -> dict[str, np.ndarray]:
        """How much more than ``measured`` a metric is where one error, or ``all``, are repaired.

        The metric is given the indices of the poses that change, int64 ``[n]``, and these, ``[n, K, 2]``.
        """
        repaired = {}
        for name, errors in (*((error, (error,)) for error in ERRORS), ("all", ERRORS)):
            wrong = np.isin(self.kind, [KINDS.index(error) for error in errors])
            rows = np.flatnonzero(wrong.any(axis=1))
            moved = np.where(wrong[rows, :, None], self.repaired[rows], self.predicted[rows])
            repaired[name] = metric(rows, moved) - measured
        return repaired


def meant_persons(pairs: Candidates, scores: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The person that each detection means, int64 ``[N]``, -1 for nobody.

    That is the one the evaluator matches it with at an OKS of 0.1, if that person counts. Scores are ``[N]``;
    only the detections ``among``, bool ``[N]``, mean anybody.
    """
    meant = np.full(len(scores), NOBODY)
    rows, places = pairs.ranked(scores, among, most=len(scores))
    (matched,) = pairs.match(rows, places, np.array([MATCHED]))
    meant[rows] = np.where(np.append(pairs.ignored, True)[matched], NOBODY, matched)
    return meant


def diagnose(
    predicted: np.ndarray, meant: np.ndarray, annotations: Annotations, image: np.ndarray, joints: KeypointSet
) -> Diagnosis:
    """Find the error of every predicted keypoint, ``[N, K, 2]`` in pixels.

    ``meant`` is the row of the annotated person that each pose means, -1 for nobody, int64 ``[N]``; ``image``
    tells which image each annotated person is in, ``[P]``.
    """
    kind = np.full(predicted.shape[:2], NOT_JUDGED, dtype=np.int8)
    repaired = predicted.astype(np.float64)
    mirrored, falloff = np.array(joints.flip_indices), joints.falloff
    judged_rows = np.flatnonzero(meant != NOBODY)
    for part in portions(len(judged_rows), 4 * len(joints)):
        rows = judged_rows[part]
        own = meant[rows]
        row, person = in_same_image(image[own], image)
        places, area, labelled = annotations.keypoints[person], annotations.area[person], annotations.labelled

        def similarity(columns: np.ndarray | slice) -> np.ndarray:
            distance = squared_distance(repaired[rows[row]], places[:, columns])  # noqa: B023
            similar = keypoint_similarity(distance, area, falloff)  # noqa: B023
            return np.where(labelled[person][:, columns], similar, -1.0)  # noqa: B023

        similar, similar_mirrored = similarity(slice(None)), similarity(mirrored)
        is_own = person == own[row]
        true, inverted = similar[is_own], similar_mirrored[is_own]
        others = np.maximum(similar, similar_mirrored)
        others[is_own] = -1.0
        foreign = np.maximum.reduceat(others, np.searchsorted(row, np.arange(len(rows))))
        highest = np.maximum(np.maximum(true, inverted), foreign)
        found = np.select(
            [highest < NEAR, (true == highest) & (true >= GOOD), true == highest, inverted == highest],
            [KINDS.index(name) for name in ("miss", "good", "jitter", "inversion")],
            default=KINDS.index("swap"),
        )
        judged = labelled[own]
        kind[rows] = np.where(judged, found, NOT_JUDGED)
        offset = repaired[rows] - annotations.keypoints[own]
        leaves = np.select([found == KINDS.index("jitter"), highest < NEAR], [GOOD, NEAR], default=highest)
        far = np.sqrt(-2.0 * np.log(np.clip(leaves, NEAR, 1.0)) * annotations.area[own, None]) * falloff
        distance = np.linalg.norm(offset, axis=-1)
        share = np.divide(far, distance, out=np.zeros_like(far), where=distance > 0)
        wrong = judged & (found != KINDS.index("good"))
        moved = annotations.keypoints[own] + share[..., None] * offset
        repaired[rows] = np.where(wrong[..., None], moved, repaired[rows])
    return Diagnosis(kind, predicted, repaired)
