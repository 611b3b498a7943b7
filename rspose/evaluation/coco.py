"""Average precision on COCO, CrowdPose and COCO-WholeBody for any draw of their images.

It shares the OKS and matches of everything else that is evaluated, and its replicates. For the split as it is
it equals the main numbers, which another evaluator gives (:mod:`rspose.evaluation.main_numbers`): each
evaluation makes sure.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rspose.datasets import Dataset
from rspose.datasets.annotations import Annotations
from rspose.evaluation.matching import Candidates
from rspose.evaluation.predictions import Predictions
from rspose.evaluation.resampling import Matches, precision_and_recall

# What a metric is made of, precision (0) or recall (1), index of the OKS
# threshold (None: the mean over all), index of the range of areas (0: all).
METRICS = {
    "AP": (0, None, 0), "AP50": (0, 0, 0), "AP75": (0, 5, 0), "APM": (0, None, 1), "APL": (0, None, 2),
    "AR": (1, None, 0), "AR50": (1, 0, 0), "AR75": (1, 5, 0), "ARM": (1, None, 1), "ARL": (1, None, 2),
}  # fmt: skip
# With a crowd index there are no ranges of areas, but at the end precision by these bounds of the index.
CROWDEDNESS = {"APE": (-np.inf, 0.2), "APM": (0.2, 0.8), "APH": (0.8, np.inf)}
WITHOUT_AREAS = ("AP", "AP50", "AP75", "AR", "AR50", "AR75")
OF_A_PART = ("AP", "AR")

# Square pixels, both ends included.
_AREAS = ((0.0, 1e10), (32.0**2, 96.0**2), (96.0**2, 1e10))


def average_precision(
    known: Dataset,
    detections: Predictions,
    scores: np.ndarray,
    kept: np.ndarray,
    pairs: Mapping[str, Candidates],
    annotations: Annotations,
    counts: np.ndarray,
) -> dict[str, np.ndarray]:
    """The metrics if image i of the split occurred ``counts[i]`` times, fractions, float64 ``[R]`` each.

    NaN where no annotated person falls into a split. Those of a part of COCO-WholeBody are called
    ``AP_<part>`` and ``AR_<part>``: it is evaluated over the same detections and scores, as mmpose's
    ``CocoWholeBodyMetric`` does. ``hand`` is the mean of both hands, as the dataset's authors have it
    (github.com/jin-s13/COCO-WholeBody, issue 38).

    Args:
        known: The dataset.
        detections: N predictions, in the order of their images.
        scores: Theirs, ``[N]``.
        kept: Those that NMS left, bool ``[N]``.
        pairs: Detections and persons, by part.
        annotations: Of the split.
        counts: int ``[I, R]``, in the order of ascending ids. The evaluator of CrowdPose rounds its AP of
            easy, medium and hard images to four digits: so is the first of the R.
    """
    of_detections = areas(known, detections)
    values: dict[str, np.ndarray] = {}
    for part, of_part in pairs.items():
        names = OF_A_PART if part else WITHOUT_AREAS if known.crowded else tuple(METRICS)
        among = kept & detections.confident(known.keypoints.parts.get(part, slice(None)))
        matches, found = [], []
        for area in range(1 + max(METRICS[name][2] for name in names)):
            small, large = (_outside(each, area) for each in (annotations.area, of_detections))
            within = replace(of_part, ignored=of_part.ignored | small)
            matches.append(within.matches(scores, among, excused=large))
            found.append(precision_and_recall(matches[area], counts))
        for name in names:
            curve, threshold, area = METRICS[name]
            of_metric = found[area][curve]
            of_metric = of_metric.mean(axis=0) if threshold is None else of_metric[threshold]
            values[f"{name}_{part}" if part else name] = of_metric
        if known.crowded:
            values |= _by_crowdedness(annotations, matches[0], counts)
    return with_hands(values)


def areas(known: Dataset, detections: Predictions) -> np.ndarray:
    """The areas by which APM, APL, ARM and ARL sort detections, square pixels, float64 ``[N]``.

    A detection without a person counts as wrong only among medium or large ones, if it is medium or large
    itself. By mmpose's convention results carry the box that the pose was predicted in, whose area this is
    (pycocotools goes by ``bbox`` where it is there). Those of COCO-WholeBody carry none: then it is the
    rectangle around the body's keypoints.
    """
    keypoints, box = detections.keypoints[:, : known.keypoints.body], detections.box[:, 2:]
    sides = np.ptp(keypoints.astype(np.float64), axis=1) if known.keypoints.parts else box.astype(np.float64)
    return sides.prod(axis=1)


def with_hands(values: dict[str, Any]) -> dict[str, Any]:
    """With the mean of both hands, where there are any."""
    for name in OF_A_PART:
        if f"{name}_lefthand" in values:
            values[f"{name}_hand"] = (values[f"{name}_lefthand"] + values[f"{name}_righthand"]) / 2
    return values


def _outside(area: np.ndarray, index: int) -> np.ndarray:
    low, high = _AREAS[index]
    return (area < low) | (area > high)


def crowdedness(annotations: Annotations) -> np.ndarray:
    """The crowd index of each image, in the order of ascending ids, ``[I]``."""
    of_image = {image["id"]: image["crowdIndex"] for image in annotations.content["images"]}
    return np.array([of_image[image] for image in np.unique(annotations.known_images).tolist()])


def _by_crowdedness(annotations: Annotations, matches: Matches, counts: np.ndarray) -> dict[str, np.ndarray]:
    index = crowdedness(annotations)
    values = {}
    for name, (low, high) in CROWDEDNESS.items():
        of_kind = (low <= index) & (index < high)
        rows = of_kind[matches.image]
        there = Matches(
            matches.image[rows], matches.true[:, rows], matches.false[:, rows], matches.persons * of_kind
        )
        values[name] = precision_and_recall(there, counts)[0].mean(axis=0)
        values[name][:1] = values[name][:1].round(4)
    return values
