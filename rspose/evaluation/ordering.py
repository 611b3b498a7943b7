"""What the order of predictions is worth: AP with oracle scores, and against the thresholds on scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rspose.evaluation.detections import KEYPOINT_SCORE_THRESHOLD, NMS_THRESHOLD, instance_scores
from rspose.evaluation.matching import ImagePairs, average_precision, replicated_precision
from rspose.evaluation.oks import oks_of_pairs, suppress
from rspose.evaluation.predictions import Predictions

# 1 suppresses nothing: no OKS is above it.
NMS_THRESHOLDS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
KEYPOINT_SCORE_THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def oracle_scores(pairs: Sequence[ImagePairs], count: int) -> np.ndarray:
    """Scores that put predictions into the best order: their OKS, float64 ``[count]``.

    Every person scores the prediction that fits it best with its OKS, each prediction for one person at
    most, the highest OKS first. All others get 0: a second prediction of a person is wrong, however well it
    fits.
    """
    scores = np.zeros(count)
    for image in pairs:
        oks = np.where(image.ignored, 0.0, image.oks)
        while oks.size and oks.max() > 0:
            prediction, person = np.unravel_index(oks.argmax(), oks.shape)
            scores[image.rows[prediction]] = oks[prediction, person]
            oks[prediction], oks[:, person] = 0.0, 0.0
    return scores


def lost_to_ordering(
    pairs: Sequence[ImagePairs], scores: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """AP with oracle scores, and how much less it is with the given ones, as fractions.

    The predictions are those that NMS kept: only their order changes.

    Returns:
        ``AP_oracle_scores`` and ``AP_lost``, float64 ``[R]`` for ``counts`` ``[I, R]``; NaN where no person
        counts.
    """
    best = replicated_precision(pairs, oracle_scores(pairs, len(scores)), counts)
    return {"AP_oracle_scores": best, "AP_lost": best - replicated_precision(pairs, scores, counts)}


def threshold_curves(
    pairs: Sequence[ImagePairs], detections: Predictions, falloff: np.ndarray
) -> dict[str, dict[str, Any]]:
    """AP against the threshold of OKS-NMS and against that of the keypoint scores, all else as ever.

    Args:
        pairs: All N detections, before suppression, and the persons of each image.
        detections: The detections.
        falloff: The keypoints' falloff, ``[K]``.

    Returns:
        ``nms`` and ``keypoint_score``, each with the lists ``threshold``, ``AP`` (scores from confidences)
        and ``AP_box_score`` (without rescoring: a detection keeps the score of its box, in which the
        threshold of the keypoint scores has no part).
    """
    oks = [oks_of_pairs(detections.keypoints[p.rows], detections.area[p.rows], falloff) for p in pairs]

    def precision(scores: np.ndarray, nms: float) -> float | None:
        kept = [suppress(between, scores[image.rows], nms) for image, between in zip(pairs, oks, strict=True)]
        return average_precision(pairs, scores, kept)

    def rescored(threshold: float = KEYPOINT_SCORE_THRESHOLD) -> np.ndarray:
        return instance_scores(detections.box_score, detections.confidence, threshold)

    return {
        "nms": {
            "threshold": list(NMS_THRESHOLDS),
            "AP": [precision(rescored(), threshold) for threshold in NMS_THRESHOLDS],
            "AP_box_score": [precision(detections.box_score, threshold) for threshold in NMS_THRESHOLDS],
        },
        "keypoint_score": {
            "threshold": list(KEYPOINT_SCORE_THRESHOLDS),
            "AP": [precision(rescored(threshold), NMS_THRESHOLD) for threshold in KEYPOINT_SCORE_THRESHOLDS],
            "AP_box_score": [precision(detections.box_score, NMS_THRESHOLD)] * len(KEYPOINT_SCORE_THRESHOLDS),
        },
    }
