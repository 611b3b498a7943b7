"""PCKh on MPII: the share of keypoints within a fraction of the head size, on ground-truth boxes."""

from dataclasses import dataclass

import numpy as np

from rspose import __version__
from rspose.datasets.annotations import Annotations
from rspose.datasets.mpii import MPII
from rspose.evaluation.predictions import Predictions

EVALUATOR = f"rspose {__version__} (PCKh as mmpose's MpiiPCKAccuracy)"

_GROUPS = {
    "head": ("head_top",),
    **{
        joint: (f"left_{joint}", f"right_{joint}")
        for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    },
}
# MPII's evaluation leaves them out of the mean.
_LEFT_OUT = ("pelvis", "thorax")


@dataclass(eq=False)
class Judgement:
    """Which of the keypoints of N persons are right, bool ``[N, K]``.

    Attributes:
        right: By the distance in head sizes below which a keypoint is right: 0.5 and 0.1.
        judged: Labelled, of a person with a head size.
        labelled: Labelled at all.
        image: Index of each person's image, int64 ``[N]``.
    """

    right: dict[float, np.ndarray]
    judged: np.ndarray
    labelled: np.ndarray
    image: np.ndarray


def judge(predictions: Predictions, annotations: Annotations, head_sizes: np.ndarray) -> Judgement:
    """Compare the predictions, one a person in any order, with the truth.

    Both count pixels from 0 (the official code adds 1 to the predictions). ``head_sizes`` are those of the N
    annotated persons in pixels, ``[N]``.

    Raises:
        ValueError: If a person has no prediction, or more than one.
    """
    rows = annotations.rows_of(predictions.annotation_id, predictions.source)
    times = np.bincount(rows, minlength=len(annotations))
    if (times != 1).any():
        first = int(np.argmax(times != 1))
        raise ValueError(
            f"{predictions.source}: expected one prediction for each of the {len(annotations)} persons of "
            f"{annotations.path}, found {times[first]} for annotation_id {first}; run the predict stage again"
        )
    head_size, labelled = head_sizes[rows], annotations.labelled[rows]
    # A head box without extent gives no measure: such a person weighs in the mean but is neither right nor
    # wrong.
    judged = labelled & (head_size > 0)[:, None]
    distance = np.linalg.norm(predictions.keypoints - annotations.keypoints[rows], axis=-1)
    # Single precision decides ties at the threshold as mmpose does.
    distance = (distance / np.where(head_size > 0, head_size, 1.0)[:, None]).astype(np.float32)
    right = {0.5: (distance < 0.5) & judged, 0.1: (distance < np.float64(0.1)) & judged}
    images = np.unique(annotations.image_names, return_inverse=True)[1]
    return Judgement(right, judged, labelled, images[rows])


def pckh(judgement: Judgement, counts: np.ndarray) -> dict[str, np.ndarray]:
    """PCKh@0.5 of each joint group and of all, PCKh@0.1 of all, if image i occurred ``counts[i]`` times.

    The mean of all weighs every keypoint by the number of its labels. For ``counts`` ``[I, R]`` fractions,
    float64 ``[R]``, NaN where nothing is labelled.
    """
    times = counts[judgement.image].T.astype(np.float64)
    judged, weight = times @ judgement.judged, times @ judgement.labelled
    weight[:, [MPII.keypoints.names.index(name) for name in _LEFT_OUT]] = 0.0
    at_half, at_tenth = (
        np.divide(times @ judgement.right[limit], judged, out=np.full(judged.shape, np.nan), where=judged > 0)
        for limit in (0.5, 0.1)
    )
    metrics = {"PCKh": _mean(at_half, weight)}
    for group, names in _GROUPS.items():
        joints = [MPII.keypoints.names.index(name) for name in names]
        metrics[f"PCKh_{group}"] = _mean(at_half[:, joints], np.ones((len(times), len(joints))))
    metrics["PCKh@0.1"] = _mean(at_tenth, weight)
    return metrics


def _mean(shares: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean of the shares that are known, ``[R, k]`` to ``[R]``; NaN where none weighs anything."""
    weight = np.where(np.isnan(shares), 0.0, weight)
    total = weight.sum(axis=1)
    mean = np.full(len(total), np.nan)
    return np.divide((np.nan_to_num(shares) * weight).sum(axis=1), total, out=mean, where=total > 0)
