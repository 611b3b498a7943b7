"""Which keypoints lie within some fraction of a body's measure of their true place, on ground-truth boxes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rspose.datasets.annotations import Annotations
from rspose.evaluation.predictions import Predictions

SIDES = {
    joint: (f"left_{joint}", f"right_{joint}")
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
}


@dataclass(eq=False)
class Judgement:
    """Which of the keypoints of N persons are right, bool ``[N, K]``.

    Attributes:
        right: By the distance in measures below which a keypoint is right.
        judged: Labelled, of a person with a measure.
        labelled: Labelled at all.
        person: Row of each person among the annotations, int64 ``[N]``.
        image: Index of each person's image, int64 ``[N]``.
    """

    right: dict[float, np.ndarray]
    judged: np.ndarray
    labelled: np.ndarray
    person: np.ndarray
    image: np.ndarray

    def shares(self, limit: float, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Share of right keypoints, NaN where none is judged, and labels, by how often images occur.

        For ``counts`` ``[I, R]`` float64 ``[R, K]`` each.
        """
        times = counts[self.image].T.astype(np.float64)
        judged = times @ self.judged
        right = times @ self.right[limit]
        shares = np.divide(right, judged, out=np.full(judged.shape, np.nan), where=judged > 0)
        return shares, times @ self.labelled


def judge(
    predictions: Predictions,
    annotations: Annotations,
    measures: np.ndarray,
    images: np.ndarray,
    limits: Sequence[float],
) -> Judgement:
    """Compare the predictions, one a person in any order, with the truth.

    Args:
        predictions: On ground-truth boxes.
        annotations: Of N persons.
        measures: Of the N annotated persons in pixels, ``[N]``: head sizes for PCKh.
        images: Index of the image of each of them, int64 ``[N]``.
        limits: Fractions of the measure.

    Raises:
        ValueError: If a person has no prediction, or more than one.
    """
    rows = annotations.rows_of(predictions.annotation_id, predictions.source)
    times = np.bincount(rows, minlength=len(annotations))
    if (times != 1).any():
        first = int(np.argmax(times != 1))
        raise ValueError(
            f"{predictions.source}: expected one prediction for each of the {len(annotations)} persons of "
            f"{annotations.path}, found {times[first]} for annotation_id "
            f"{annotations.annotation_id[first]}; run the predict stage again"
        )
    measure, labelled = measures[rows], annotations.labelled[rows]
    # Without a measure a person weighs in the mean but is neither right nor wrong.
    judged = labelled & (measure > 0)[:, None]
    distance = np.linalg.norm(predictions.keypoints - annotations.keypoints[rows], axis=-1)
    # Single precision decides ties at the threshold as mmpose does.
    distance = (distance / np.where(measure > 0, measure, 1.0)[:, None]).astype(np.float32)
    right = {limit: (distance < np.float64(limit)) & judged for limit in limits}
    return Judgement(right, judged, labelled, rows, images[rows])


def weighted_mean(shares: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean of the shares that are known, ``[R, k]`` to ``[R]``; NaN where none weighs anything."""
    weight = np.where(np.isnan(shares), 0.0, weight)
    total = weight.sum(axis=1)
    mean = np.full(len(total), np.nan)
    return np.divide((np.nan_to_num(shares) * weight).sum(axis=1), total, out=mean, where=total > 0)
