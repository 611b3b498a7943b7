"""Which predictions on detector boxes reach the evaluator, and with which score.

The usual protocol of top-down pose estimation: mmpose's ``CocoMetric`` with its defaults,
``score_mode='bbox_keypoint'`` and ``nms_mode='oks_nms'``.
"""

from collections.abc import Iterator

import numpy as np

from rspose.evaluation.oks import oks_of_pairs, suppress
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
    # The sum runs over the keypoints one by one, in single precision, so that scores equal mmpose's to the
    # bit.
    total, count = np.zeros((2, len(predictions)), dtype=np.float32)
    for column in predictions.confidence.T:
        counts = column > threshold
        total += np.where(counts, column, np.float32(0))
        count += counts
    return predictions.box_score * np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def rescore_and_suppress(detections: Predictions, falloff: np.ndarray) -> tuple[Predictions, np.ndarray]:
    """The predictions that OKS-NMS keeps and their instance scores, image by image, the best first."""
    scores = instance_scores(detections)
    kept = [np.zeros(0, dtype=np.int64)]
    for _, rows in rows_by_image(detections.image_id):
        oks = oks_of_pairs(detections.keypoints[rows], detections.area[rows], falloff)
        kept.append(rows[suppress(oks, scores[rows], NMS_THRESHOLD)])
    rows = np.concatenate(kept)
    return detections.take(rows), scores[rows]


def rows_by_image(image_id: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each image id, ascending, with the indices of its rows in their order."""
    order = np.argsort(image_id, kind="stable")
    images, starts = np.unique(image_id[order], return_index=True)
    return zip(images.tolist(), np.split(order, starts[1:]), strict=True) if len(images) else iter(())
