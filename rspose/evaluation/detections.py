"""Which predictions on detector boxes reach the evaluator, and with which score.

The usual protocol of top-down pose estimation: mmpose's ``CocoMetric`` with its defaults,
``score_mode='bbox_keypoint'`` and ``nms_mode='oks_nms'``.
"""

import numpy as np

from rspose.evaluation.oks import portions
from rspose.evaluation.predictions import Predictions

KEYPOINT_SCORE_THRESHOLD = 0.2
NMS_THRESHOLD = 0.9
PROTOCOL = {
    "score_mode": "bbox_keypoint",
    "keypoint_score_threshold": KEYPOINT_SCORE_THRESHOLD,
    "nms": "oks",
    "nms_threshold": NMS_THRESHOLD,
}


def instance_scores(predictions: Predictions, threshold: float = KEYPOINT_SCORE_THRESHOLD) -> np.ndarray:
    """Box score times the mean of the confidences above a threshold (0 if none is), ``[N]``."""
    total, count = np.zeros((2, len(predictions)), dtype=np.float32)
    for rows in portions(*predictions.confidence.shape):
        # Keypoints are added up one by one, in single precision: scores equal mmpose's to the bit.
        confidence = np.ascontiguousarray(predictions.confidence[rows].T)
        counts = confidence > threshold
        for one, confident in zip(confidence, counts, strict=True):
            total[rows] += np.where(confident, one, np.float32(0))
        count[rows] = counts.sum(axis=0)
    return predictions.box_score * np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def by_image(predictions: Predictions) -> Predictions:
    """The predictions in the order of their images, in each the later ones first.

    For of two with equal scores OKS-NMS takes the later one, on every machine (mmpose leaves it to an
    unstable sort), and what comes after it the one that it took first.
    """
    backwards = np.arange(len(predictions))[::-1]
    return predictions.take(backwards[np.argsort(predictions.image_id[backwards], kind="stable")])
