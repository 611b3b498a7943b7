"""Keypoint similarity, object keypoint similarity (OKS) and the instances that OKS-NMS keeps.

As the COCO keypoint task defines them (https://cocodataset.org/#keypoints-eval).
"""

import numpy as np

from rspose.datasets.annotations import Annotations

# What the evaluators add to an area lest they divide by zero.
_EPSILON = np.spacing(1.0)


def keypoint_similarity(squared_distance: np.ndarray, area: np.ndarray, falloff: np.ndarray) -> np.ndarray:
    """exp(-d^2 / (2 area falloff^2)), in [0, 1], ``[..., K]``.

    Squared distances in square pixels are ``[..., K]``, areas of persons ``[...]``, falloffs ``[K]``.
    """
    return np.exp(-squared_distance / (2.0 * falloff**2 * (area[..., None] + _EPSILON)))


def oks_to_persons(
    keypoints: np.ndarray, annotations: Annotations, persons: np.ndarray, falloff: np.ndarray
) -> np.ndarray:
    """OKS of D predictions ``[D, K, 2]`` with the annotated persons in G rows, as COCO has it, ``[D, G]``.

    That is the mean similarity over labelled keypoints. For a person without any, the distances are those to
    its box, grown by its width and height to all sides: the evaluator matches predictions to such a person in
    order to ignore them.
    """
    predicted, labelled = keypoints.astype(np.float64)[:, None], annotations.labelled[persons]
    corner, size = np.split(annotations.box[persons, None], 2, axis=2)
    outside = np.maximum(0.0, corner - size - predicted) + np.maximum(0.0, predicted - corner - 2.0 * size)
    unlabelled = ~np.any(labelled, axis=1)[:, None]
    offset = np.where(unlabelled[..., None], outside, predicted - annotations.keypoints[persons])
    similarity = keypoint_similarity((offset**2).sum(axis=-1), annotations.area[persons], falloff)
    counts = labelled | unlabelled
    return (similarity * counts).sum(axis=-1) / counts.sum(axis=-1)


def oks_of_pairs(keypoints: np.ndarray, area: np.ndarray, falloff: np.ndarray) -> np.ndarray:
    """OKS of every two predictions of an image, over all keypoints, by the mean of both areas, ``[N, N]``."""
    keypoints, area = keypoints.astype(np.float64), area.astype(np.float64)
    squared_distance = ((keypoints[:, None] - keypoints[None]) ** 2).sum(axis=-1)
    mean_area = (area[:, None] + area[None]) / 2
    return keypoint_similarity(squared_distance, mean_area, falloff).mean(axis=-1)


def suppress(oks: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Indices of the predictions of one image that OKS-NMS keeps, best score first, int64.

    From the best score down, a prediction is dropped if its OKS ``[N, N]`` with one kept before is above
    ``threshold`` (mmpose's ``oks_nms``). Of equal scores the later comes first, on every machine (mmpose
    leaves it to an unstable sort).
    """
    candidate = np.ones(len(oks), dtype=bool)
    kept = []
    for index in np.argsort(scores, kind="stable")[::-1]:
        if candidate[index]:
            kept.append(index)
            candidate &= oks[index] <= threshold
    return np.array(kept, dtype=np.int64)
