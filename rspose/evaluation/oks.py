"""Keypoint similarity, object keypoint similarity (OKS) and the instances that OKS-NMS keeps.

As the COCO keypoint task defines them (https://cocodataset.org/#keypoints-eval).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rspose.datasets.annotations import Annotations

# What the evaluators add to an area lest they divide by zero.
_EPSILON = np.spacing(1.0)
# As many similarities at a time as fit into the processor's cache.
_AT_ONCE = 200_000


def keypoint_similarity(squared_distance: np.ndarray, area: np.ndarray, falloff: np.ndarray) -> np.ndarray:
    """exp(-d^2 / (2 area falloff^2)), in [0, 1], ``[..., K]``.

    Squared distances in square pixels are ``[..., K]``, areas of persons ``[...]``, falloffs ``[K]``.
    """
    return np.exp(squared_distance / (area[..., None] + _EPSILON) * (-0.5 / falloff**2))


def squared_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Between points ``[..., 2]``, in double precision, ``[...]``."""
    square = np.subtract(first, second, dtype=np.float64)
    square *= square
    return square[..., 0] + square[..., 1]


def in_same_image(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of one of N things and one of M that are in the same image, int64 ``[n]`` each.

    By the images of the former ``[N]`` and the latter ``[M]``; in the order of the former, then the latter.
    """
    order = np.argsort(second, kind="stable")
    left, right = (np.searchsorted(second[order], first, side=side) for side in ("left", "right"))
    rows, at = _spread(left, right - left)
    return rows, order[at]


def _spread(start: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row i with ``start[i]``, ``start[i] + 1``, ... ``count[i]`` times."""
    rows = np.repeat(np.arange(len(count)), count)
    return rows, np.arange(len(rows)) + np.repeat(start - np.cumsum(count) + count, count)


def portions(count: int, width: int) -> Iterator[slice]:
    """Slices of ``count`` rows of ``width`` numbers, few enough at a time."""
    size = max(1, _AT_ONCE // max(width, 1))
    return (slice(start, start + size) for start in range(0, count, size))


def oks_to_persons(
    keypoints: np.ndarray,
    rows: np.ndarray,
    annotations: Annotations,
    persons: np.ndarray,
    falloff: np.ndarray,
    parts: Mapping[str, slice],
) -> dict[str, np.ndarray]:
    """OKS of n predictions, rows of ``[D, K, 2]``, with n annotated persons, as COCO has it, ``[n]``.

    That is the mean similarity over labelled keypoints, of all under the empty name, and of each part. For a
    person without any, the distances are those to its box, grown by its width and height to all sides: the
    evaluator matches predictions to such a person in order to ignore them.
    """
    joints = len(falloff)
    found = {part: np.empty(len(rows)) for part in ("", *parts)}
    for at in portions(len(rows), joints):
        row, person = rows[at], persons[at]
        area, of_all, labels, to_box = annotations.area[person], *np.zeros((3, len(row)))
        for part, columns in (parts or {"": slice(0, joints)}).items():
            labelled = annotations.labelled[person, columns]
            distance = squared_distance(keypoints[row, columns], annotations.keypoints[person, columns])
            similarity = keypoint_similarity(distance, area, falloff[columns])
            total, count = np.einsum("nk,nk->n", similarity, labelled), labelled.sum(axis=1)
            of_all, labels = of_all + total, labels + count
            (bare,) = np.nonzero(count == 0)
            outside = _similarity_to_box(
                keypoints[row[bare], columns], annotations.box[person[bare]], area[bare], falloff[columns]
            )
            to_box[bare] += outside.sum(axis=1)
            total[bare], count[bare] = outside.sum(axis=1), outside.shape[1]
            found[part][at] = total / count
        found[""][at] = np.where(labels > 0, of_all / np.maximum(labels, 1), to_box / joints)
    return found


def _similarity_to_box(
    keypoints: np.ndarray, box: np.ndarray, area: np.ndarray, falloff: np.ndarray
) -> np.ndarray:
    corner, size = np.split(box[:, None], 2, axis=2)
    outside = np.maximum(0.0, corner - size - keypoints) + np.maximum(0.0, keypoints - corner - 2.0 * size)
    return keypoint_similarity((outside**2).sum(axis=-1), area, falloff)


@dataclass(eq=False)
class Neighbours:
    """Couples of N predictions of the same image whose OKS, over all keypoints, is above some least one.

    Attributes:
        first: One of them, int64 ``[n]``.
        second: The other one, which comes later, int64 ``[n]``.
        oks: By the mean of both areas, ``[n]``.
    """

    first: np.ndarray
    second: np.ndarray
    oks: np.ndarray

    def kept(self, scores: np.ndarray, threshold: float) -> np.ndarray:
        """Which predictions OKS-NMS keeps, bool ``[N]``, for scores ``[N]``.

        From the best score down, a prediction is dropped if its OKS with one kept before is above
        ``threshold`` (mmpose's ``oks_nms``). Of equal scores the first comes first.
        """
        near = self.oks > threshold
        first, second = self.first[near], self.second[near]
        later = scores[second] > scores[first]
        better, worse = np.where(later, second, first), np.where(later, first, second)
        dropped = np.zeros(len(scores), dtype=bool)
        while len(better):
            beaten = np.zeros(len(scores), dtype=bool)
            beaten[worse] = True
            safe = ~beaten[better]  # by anything still in question: they stay, and those near them go
            dropped[worse[safe]] = True
            open_ = ~(safe | dropped[better] | dropped[worse])
            better, worse = better[open_], worse[open_]
        return ~dropped


def neighbours(
    keypoints: np.ndarray, area: np.ndarray, image: np.ndarray, falloff: np.ndarray, least: float
) -> Neighbours:
    """The couples of predictions with an OKS above ``least``, of N in the order of their images ``[N]``."""
    low, high = keypoints.min(axis=1, initial=np.inf), keypoints.max(axis=1, initial=-np.inf)
    # No keypoint of two poses is nearer than the rectangles around them: what is too far apart by these, and
    # a hair more, is not looked at.
    reach = -2.0 * np.log(least) * falloff.max() ** 2 * (1 + 1e-6)
    following = np.searchsorted(image, image, side="right") - np.arange(len(image)) - 1
    ends = np.searchsorted(np.cumsum(following), np.arange(_AT_ONCE, following.sum() + _AT_ONCE, _AT_ONCE))
    found = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))]
    for begin, end in zip([0, *ends + 1], [*ends + 1, len(image)], strict=True):
        rows = np.arange(begin, max(begin, min(end, len(image))))
        at, second = _spread(rows + 1, following[rows])
        first = rows[at]
        gap = np.maximum(np.maximum(low[first] - high[second], low[second] - high[first]), 0.0)
        size = (area[first].astype(np.float64) + area[second]) / 2
        near = (gap**2).sum(axis=1) <= reach * (size + _EPSILON)
        first, second, size = first[near], second[near], size[near]
        for part in portions(len(first), len(falloff)):
            distance = squared_distance(keypoints[first[part]], keypoints[second[part]])
            oks = keypoint_similarity(distance, size[part], falloff).mean(axis=1)
            above = oks > least
            found.append((first[part][above], second[part][above], oks[above]))
    return Neighbours(*(np.concatenate(column) for column in zip(*found, strict=True)))
