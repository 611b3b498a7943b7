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

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rspose.datasets import KeypointSet
from rspose.datasets.annotations import Annotations
from rspose.evaluation.detections import rows_by_image
from rspose.evaluation.matching import NOBODY, ImagePairs, match
from rspose.evaluation.oks import keypoint_similarity

KINDS = ("good", "jitter", "inversion", "swap", "miss")
ERRORS = KINDS[1:]
GOOD, NEAR = 0.85, 0.5
# The least OKS at which a detection is taken to mean a person at all.
MATCHED = 0.1
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
        of_pose = np.stack([(self.kind == index).sum(axis=1) for index in range(len(KINDS))])
        of_kind = of_pose @ counts[image]
        total = of_kind.sum(axis=0)
        shares = np.divide(of_kind, total, out=np.full(of_kind.shape, np.nan), where=total > 0)
        return dict(zip(KINDS, shares, strict=True))

    def gains(self, metric: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
        """How much a metric of keypoints ``[N, K, 2]`` rises where one error, or ``all``, are repaired."""
        measured = metric(self.predicted)
        repaired = {}
        for name, errors in (*((error, (error,)) for error in ERRORS), ("all", ERRORS)):
            wrong = np.isin(self.kind, [KINDS.index(error) for error in errors])
            repaired[name] = metric(np.where(wrong[..., None], self.repaired, self.predicted)) - measured
        return repaired


def meant_persons(pairs: Sequence[ImagePairs], scores: np.ndarray) -> np.ndarray:
    """The person that each detection means, int64 ``[N]``, -1 for nobody.

    That is the one the evaluator matches it with at an OKS of 0.1, if that person counts. Scores are ``[N]``.
    """
    meant = np.full(len(scores), NOBODY, dtype=np.int64)
    for image in pairs:
        order = np.argsort(-scores[image.rows], kind="stable")
        (matched,) = match(image.oks[order], image.ignored, image.crowd, np.array([MATCHED]))
        persons = np.append(image.persons, NOBODY)[matched]
        meant[image.rows[order]] = np.where(np.append(image.ignored, True)[matched], NOBODY, persons)
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
    mirrored = np.array(joints.flip_indices)
    persons_in = dict(rows_by_image(image))
    for row in np.flatnonzero(meant != NOBODY):
        person = meant[row]
        persons = persons_in[image[person].item()]
        offset = repaired[row] - annotations.keypoints[persons]
        to_mirrored = repaired[row] - annotations.keypoints[persons][:, mirrored]
        area, labelled = annotations.area[persons], annotations.labelled[persons]
        similar = _similarity(offset, area, labelled, joints.falloff)
        similar_mirrored = _similarity(to_mirrored, area, labelled[:, mirrored], joints.falloff)
        own = persons.tolist().index(person)
        true, inverted = similar[own], similar_mirrored[own]
        foreign = np.maximum(similar, similar_mirrored)[persons != person].max(axis=0, initial=-1.0)
        highest = np.maximum(np.maximum(true, inverted), foreign)
        found = np.select(
            [highest < NEAR, (true == highest) & (true >= GOOD), true == highest, inverted == highest],
            [KINDS.index(name) for name in ("miss", "good", "jitter", "inversion")],
            default=KINDS.index("swap"),
        )
        judged = labelled[own]
        kind[row, judged] = found[judged]
        leaves = np.select([found == KINDS.index("jitter"), highest < NEAR], [GOOD, NEAR], default=highest)
        far = np.sqrt(-2.0 * np.log(np.clip(leaves, NEAR, 1.0)) * area[own]) * joints.falloff
        distance = np.linalg.norm(offset[own], axis=-1)
        share = np.divide(far, distance, out=np.zeros_like(far), where=distance > 0)
        wrong = judged & (found != KINDS.index("good"))
        repaired[row, wrong] = (annotations.keypoints[person] + share[:, None] * offset[own])[wrong]
    return Diagnosis(kind, predicted, repaired)


def _similarity(
    offset: np.ndarray, area: np.ndarray, labelled: np.ndarray, falloff: np.ndarray
) -> np.ndarray:
    """Similarity to the joints of G persons, ``[G, K]``; -1 to one without a label."""
    return np.where(labelled, keypoint_similarity((offset**2).sum(axis=-1), area, falloff), -1.0)
