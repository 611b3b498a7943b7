"""What the order of predictions is worth: AP with oracle scores, and against the thresholds on scores."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rspose.evaluation.detections import NMS_THRESHOLD, instance_scores
from rspose.evaluation.matching import ImagePairs, replicated_precision
from rspose.evaluation.oks import oks_of_pairs, suppress
from rspose.evaluation.predictions import Predictions

# 1 suppresses nothing: no OKS is above it.
NMS_THRESHOLDS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
SCORE_THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def oracle_scores(pairs: Sequence[ImagePairs], count: int) -> np.ndarray:
    """Scores that put predictions into the best order, float64 ``[count]``.

    From the highest OKS down, a person gives it as score to a prediction, each to one and each from one at
    most. All others get 0: a second prediction of a person is wrong, however well it fits.
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
    """``AP_oracle_scores`` of what NMS kept, and ``AP_lost``, how much less AP the given scores have.

    Fractions, float64 ``[R]`` for ``counts`` ``[I, R]``; NaN where no person counts.
    """
    best = replicated_precision(pairs, oracle_scores(pairs, len(scores)), counts)
    return {"AP_oracle_scores": best, "AP_lost": best - replicated_precision(pairs, scores, counts)}


def threshold_curves(
    pairs: Sequence[ImagePairs], detections: Predictions, falloff: np.ndarray
) -> dict[str, dict[str, Any]]:
    """AP against the thresholds of OKS-NMS (``nms``) and of the keypoint scores, all else as ever.

    Each has the lists ``threshold``, ``AP`` (scores from confidences) and ``AP_box_score`` (a detection keeps
    the score of its box, in which keypoint scores have no part). ``pairs`` are of all, before suppression.
    """
    precision = _suppressed_precision(pairs, detections, falloff)
    box, rescored = detections.box_score, instance_scores(detections)
    return {
        "nms": {
            "threshold": list(NMS_THRESHOLDS),
            "AP": [precision(rescored, threshold) for threshold in NMS_THRESHOLDS],
            "AP_box_score": [precision(box, threshold) for threshold in NMS_THRESHOLDS],
        },
        "keypoint_score": {
            "threshold": list(SCORE_THRESHOLDS),
            "AP": keypoint_score_curve(pairs, detections, falloff),
            "AP_box_score": [precision(box, NMS_THRESHOLD)] * len(SCORE_THRESHOLDS),
        },
    }


def keypoint_score_curve(
    pairs: Sequence[ImagePairs], detections: Predictions, falloff: np.ndarray
) -> list[float | None]:
    """AP at each threshold on keypoint scores, otherwise as :func:`threshold_curves`."""
    precision = _suppressed_precision(pairs, detections, falloff)
    return [precision(instance_scores(detections, each), NMS_THRESHOLD) for each in SCORE_THRESHOLDS]


def _suppressed_precision(
    pairs: Sequence[ImagePairs], detections: Predictions, falloff: np.ndarray
) -> Callable[[np.ndarray, float], float | None]:
    """AP by scores and threshold of OKS-NMS."""
    once = np.ones((len(pairs), 1), dtype=np.int32)
    oks = [oks_of_pairs(detections.keypoints[p.rows], detections.area[p.rows], falloff) for p in pairs]

    def precision(scores: np.ndarray, nms: float) -> float | None:
        kept = [suppress(between, scores[image.rows], nms) for image, between in zip(pairs, oks, strict=True)]
        found = float(replicated_precision(pairs, scores, once, kept)[0])
        return None if np.isnan(found) else found

    return precision
