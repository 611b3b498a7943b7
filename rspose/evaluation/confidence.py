"""How well confidence orders predictions by their localisation quality: Spearman's rho and Kendall's tau-b.

Rank correlations, since losses leave the scale of a confidence free up to any monotone map.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau, spearmanr

from rspose.evaluation.annotations import Annotations
from rspose.evaluation.coco import MAX_DETECTIONS
from rspose.evaluation.detections import rows_by_image
from rspose.evaluation.oks import keypoint_similarity, oks_to_persons
from rspose.evaluation.predictions import Predictions

# The least OKS at which the evaluators match a prediction to a person.
MATCH_THRESHOLD = 0.5


def rank_correlations(confidence: np.ndarray, quality: np.ndarray) -> dict[str, float | int | None]:
    """Spearman and Kendall correlation of two ``[n]`` arrays, and n; None where one of them is constant."""
    result: dict[str, float | int | None] = {"spearman": None, "kendall": None, "n": len(confidence)}
    if len(confidence) >= 2 and np.ptp(confidence) > 0 and np.ptp(quality) > 0:
        result["spearman"] = float(spearmanr(confidence, quality).statistic)
        result["kendall"] = float(kendalltau(confidence, quality).statistic)
    return result


def keypoint_quality(
    predictions: Predictions, annotations: Annotations, falloff: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Similarity of each predicted keypoint to the truth, and whether that is labelled, both ``[N, K]``.

    Args:
        predictions: N rows on ground-truth boxes.
        annotations: The split that they were made on.
        falloff: The keypoints' falloff, ``[K]``.
    """
    rows = annotations.rows_of(predictions.annotation_id, predictions.source)
    offset = predictions.keypoints - annotations.keypoints[rows]
    similarity = keypoint_similarity((offset**2).sum(axis=-1), annotations.area[rows], falloff)
    return similarity, annotations.labelled[rows]


@dataclass(eq=False)
class Pairs:
    """Confidence and localisation quality of n keypoints or poses.

    Attributes:
        confidence: float ``[n]``.
        quality: float64 ``[n]``, in [0, 1].
        row: Row of the prediction that each pair is of, int64 ``[n]``.
    """

    confidence: np.ndarray
    quality: np.ndarray
    row: np.ndarray

    def rank_correlations(self) -> dict[str, float | int | None]:
        """:func:`rank_correlations` of the two."""
        return rank_correlations(self.confidence, self.quality)


def keypoint_pairs(predictions: Predictions, annotations: Annotations, falloff: np.ndarray) -> Pairs:
    """Confidence and keypoint similarity of the labelled keypoints, on ground-truth boxes."""
    similarity, labelled = keypoint_quality(predictions, annotations, falloff)
    return Pairs(predictions.confidence[labelled], similarity[labelled], np.nonzero(labelled)[0])


def person_pairs(predictions: Predictions, annotations: Annotations, falloff: np.ndarray) -> Pairs:
    """Mean confidence and mean keypoint similarity of the persons, on ground-truth boxes.

    The pose level of MPII. The similarity is the mean over labelled keypoints, the confidence over all.
    """
    similarity, labelled = keypoint_quality(predictions, annotations, falloff)
    count = labelled.sum(axis=1)
    quality = (similarity * labelled).sum(axis=1)[count > 0] / count[count > 0]
    return Pairs(predictions.confidence.mean(axis=1)[count > 0], quality, np.flatnonzero(count))


def detection_pairs(
    detections: Predictions, scores: np.ndarray, annotations: Annotations, falloff: np.ndarray
) -> Pairs:
    """Instance score and OKS of detections (the pose level of COCO and CrowdPose).

    The quality of a detection is its OKS with that person of its image whom it fits best, 0 where there is
    none. It does not depend on the scores: were each person given to the best-scored detection and the others
    counted as 0, even random scores would correlate with such a quality. As in the evaluator, the 20 best of
    an image count, and those that fit nobody but a person to be ignored are left out.

    Args:
        detections: Predictions after suppression, N of them.
        scores: Their instance scores, ``[N]``.
        annotations: The validation split.
        falloff: The keypoints' falloff, ``[K]``.
    """
    persons_of = dict(rows_by_image(annotations.image_id))
    nobody = np.zeros(0, dtype=np.int64)
    counted, quality = [], []
    for image_id, rows in rows_by_image(detections.image_id):
        rows = rows[np.argsort(-scores[rows], kind="stable")][:MAX_DETECTIONS]
        persons = persons_of.get(image_id, nobody)
        oks = oks_to_persons(
            detections.keypoints[rows],
            annotations.keypoints[persons],
            annotations.labelled[persons],
            annotations.area[persons],
            annotations.box[persons],
            falloff,
        )
        ignored = annotations.ignored[persons]
        best = oks[:, ~ignored].max(axis=1, initial=0.0)
        excused = (best < MATCH_THRESHOLD) & (oks[:, ignored].max(axis=1, initial=0.0) >= MATCH_THRESHOLD)
        counted.append(rows[~excused])
        quality.append(best[~excused])
    if not counted:
        return Pairs(np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64))
    rows = np.concatenate(counted)
    return Pairs(scores[rows], np.concatenate(quality), rows)
