"""Keypoint similarity, object keypoint similarity (OKS) and the instances that OKS-NMS keeps.

Definitions: the COCO keypoint task (https://cocodataset.org/#keypoints-eval). For a keypoint at distance d, a
person of area s^2 and a keypoint falloff k, its similarity is exp(-d^2 / (2 s^2 k^2)); OKS is the mean over
labelled keypoints.
"""

import numpy as np

# What the evaluators add to an area lest they divide by zero.
_EPSILON = np.spacing(1.0)


def keypoint_similarity(squared_distance: np.ndarray, area: np.ndarray, falloff: np.ndarray) -> np.ndarray:
    """Similarity in [0, 1], ``[..., K]``, from squared pixels ``[..., K]`` and square pixels ``[...]``."""
    return np.exp(-squared_distance / (2.0 * falloff**2 * (area[..., None] + _EPSILON)))


def oks_to_persons(
    keypoints: np.ndarray,
    person_keypoints: np.ndarray,
    labelled: np.ndarray,
    area: np.ndarray,
    box: np.ndarray,
    falloff: np.ndarray,
) -> np.ndarray:
    """OKS of D predictions with G annotated persons of one image, ``[D, G]``, as the COCO evaluator has it.

    For a person without labelled keypoints the distances are those to its box, grown by its width and height
    to all sides: the evaluator matches predictions to such a person in order to ignore them.

    Args:
        keypoints: Predictions in pixels, ``[D, K, 2]``.
        person_keypoints: Annotations in pixels, ``[G, K, 2]``.
        labelled: Keypoints that count, bool ``[G, K]``.
        area: Areas of the persons, ``[G]``.
        box: x, y, width, height of the persons, ``[G, 4]``.
        falloff: The keypoints' falloff, ``[K]``.
    """
    predicted = keypoints.astype(np.float64)[:, None]
    corner, size = box[:, None, :2], box[:, None, 2:]
    outside = np.maximum(0.0, corner - size - predicted) + np.maximum(0.0, predicted - corner - 2.0 * size)
    unlabelled = ~np.any(labelled, axis=1)[:, None]
    offset = np.where(unlabelled[..., None], outside, predicted - person_keypoints)
    similarity = keypoint_similarity((offset**2).sum(axis=-1), area, falloff)
    counts = labelled | unlabelled
    return (similarity * counts).sum(axis=-1) / counts.sum(axis=-1)


def oks_of_pairs(keypoints: np.ndarray, area: np.ndarray, falloff: np.ndarray) -> np.ndarray:
    """OKS of every two predictions of an image, over all keypoints, by the mean of both areas, ``[N, N]``."""
    keypoints, area = keypoints.astype(np.float64), area.astype(np.float64)
    squared_distance = ((keypoints[:, None] - keypoints[None]) ** 2).sum(axis=-1)
    mean_area = (area[:, None] + area[None]) / 2
    return keypoint_similarity(squared_distance, mean_area, falloff).mean(axis=-1)


def suppress(oks: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Indices of the predictions of one image that survive greedy suppression, best score first, int64.

    From the best score down, a prediction is dropped if its OKS with one kept before is above ``threshold``
    (mmpose's ``oks_nms``). Of equal scores the later comes first, on every machine (mmpose leaves it to an
    unstable sort).
    """
    candidate = np.ones(len(oks), dtype=bool)
    kept = []
    for index in np.argsort(scores, kind="stable")[::-1]:
        if candidate[index]:
            kept.append(index)
            candidate &= oks[index] <= threshold
    return np.array(kept, dtype=np.int64)


def oks_nms(
    keypoints: np.ndarray, area: np.ndarray, scores: np.ndarray, falloff: np.ndarray, threshold: float
) -> np.ndarray:
    """:func:`suppress` by :func:`oks_of_pairs`: what survives, best score first, int64."""
    return suppress(oks_of_pairs(keypoints, area, falloff), scores, threshold)
