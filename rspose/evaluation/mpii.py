"""PCKh on MPII: the share of keypoints within a fraction of the head size, on ground-truth boxes."""

import numpy as np

from rspose import __version__
from rspose.evaluation.annotations import Annotations
from rspose.evaluation.predictions import Predictions
from rspose.keypoints import MPII

EVALUATOR = f"rspose {__version__} (PCKh as mmpose's MpiiPCKAccuracy)"

_GROUPS = {
    "head": ("head_top",),
    "shoulder": ("left_shoulder", "right_shoulder"),
    "elbow": ("left_elbow", "right_elbow"),
    "wrist": ("left_wrist", "right_wrist"),
    "hip": ("left_hip", "right_hip"),
    "knee": ("left_knee", "right_knee"),
    "ankle": ("left_ankle", "right_ankle"),
}
# MPII's evaluation leaves them out of the mean.
_LEFT_OUT = ("pelvis", "thorax")


def pckh(
    predictions: Predictions, annotations: Annotations, head_sizes: np.ndarray
) -> dict[str, float | None]:
    """PCKh@0.5 of each joint group and of all, PCKh@0.1 of all, as fractions; None where nothing is labelled.

    The mean weighs every keypoint by the number of its labels. The annotations' pixels already count from 0
    as the predictions' do, so nothing is added here to the predictions (the official code adds 1 to them
    instead).

    Args:
        predictions: One row a person, in any order, N of them.
        annotations: The validation split, N persons.
        head_sizes: Head size of each annotated person in pixels, ``[N]``.

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
    offset = predictions.keypoints - annotations.keypoints[rows]
    head_size = head_sizes[rows]
    labelled = annotations.labelled[rows]
    # A head box without extent gives no measure: such a person weighs in the mean but is neither right nor
    # wrong.
    judged = labelled & (head_size > 0)[:, None]
    distance = np.linalg.norm(offset, axis=-1) / np.where(head_size > 0, head_size, 1.0)[:, None]
    # Single precision decides ties at the threshold as mmpose does.
    at_half = _shares(distance.astype(np.float32) < 0.5, judged)
    at_tenth = _shares(distance.astype(np.float32) < np.float64(0.1), judged)

    weight = labelled.sum(axis=0).astype(np.float64)
    weight[[MPII.names.index(name) for name in _LEFT_OUT]] = 0.0
    metrics = {"PCKh": _mean(at_half, weight)}
    for group, names in _GROUPS.items():
        joints = [MPII.names.index(name) for name in names]
        metrics[f"PCKh_{group}"] = _mean(at_half[joints], np.ones(len(joints)))
    metrics["PCKh@0.1"] = _mean(at_tenth, weight)
    return metrics


def _shares(right: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Share of the judged persons that are right, per keypoint; NaN where nobody is judged."""
    count = judged.sum(axis=0)
    return np.divide((right & judged).sum(axis=0), count, out=np.full(len(count), np.nan), where=count > 0)


def _mean(shares: np.ndarray, weight: np.ndarray) -> float | None:
    known = ~np.isnan(shares)
    total = weight[known].sum()
    return float((shares[known] * weight[known]).sum() / total) if total > 0 else None
