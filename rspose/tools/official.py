"""The official evaluator of COCO, CrowdPose and COCO-WholeBody, from xtcocotools, on predictions as they are.

What an evaluation here is tested against and timed beside.
"""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from rspose.datasets import Dataset
from rspose.evaluation.detections import NMS_THRESHOLD, by_image, instance_scores
from rspose.evaluation.oks import neighbours
from rspose.evaluation.predictions import Predictions

try:
    from xtcocotools.coco import COCO
    from xtcocotools.cocoeval import COCOeval
except ModuleNotFoundError as error:
    raise ImportError("xtcocotools is missing, which builds on Python 3.11 and 3.12 alone") from error

_METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
_OF_CROWDS = ("AP", "AP50", "AP75", "AR", "AR50", "AR75", "APE", "APM", "APH")
_OF_A_PART = ("AP", "AR")

Evaluators = dict[str, COCOeval]
"""Evaluators that have matched: of all keypoints under the empty name, and of each part."""


def suppressed(predictions: Predictions, known: Dataset) -> tuple[Predictions, np.ndarray]:
    """The detections that OKS-NMS keeps and their scores, by this project's own NMS."""
    detections, falloff = by_image(predictions.detections()), known.keypoints.falloff
    scores = instance_scores(detections)
    near = neighbours(
        detections.keypoints, detections.area, detections.image_id, falloff, least=NMS_THRESHOLD
    )
    kept = near.kept(scores, NMS_THRESHOLD)
    return detections.take(kept), scores[kept]


def results(known: Dataset, detections: Predictions, scores: np.ndarray) -> list[dict[str, Any]]:
    """N detections, scores ``[N]``, in COCO's result format, in the fields that mmpose's metrics fill."""
    triplets = np.concatenate([detections.keypoints, detections.confidence[..., None]], axis=-1)
    fields = known.keypoints.fields
    columns = {field: triplets[:, rows].reshape(len(detections), -1) for field, rows in fields.items()}
    if not known.keypoints.parts:
        columns["bbox"] = detections.box
    columns |= {"image_id": detections.image_id, "score": scores}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [{"category_id": 1, **dict(zip(columns, row, strict=True))} for row in rows]


def match(known: Dataset, detections: list[dict[str, Any]], annotations: Path) -> Evaluators:
    """The evaluators after they have matched results to the persons of a file.

    The parts of COCO-WholeBody are evaluated one by one, over the same detections and scores, as mmpose's
    ``CocoWholeBodyMetric`` does.
    """
    sigmas = np.asarray(known.keypoints.sigmas)
    kinds = {"": (known.iou_type, sigmas)}
    kinds |= {part: (f"keypoints_{part}", sigmas[rows]) for part, rows in known.keypoints.parts.items()}
    evaluators = {}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # Parts have no scores of their own: mmpose, too, scores them as the person.
        warnings.filterwarnings("ignore", message=".*not found, use 'score' instead")
        truth = COCO(str(annotations))
        found = truth.loadRes(detections)
        for part, (kind, sigmas_of_part) in kinds.items():
            evaluators[part] = COCOeval(truth, found, kind, sigmas_of_part, use_area=not known.crowded)
            evaluators[part].evaluate()
    return evaluators


def summarise(known: Dataset, evaluators: Evaluators) -> dict[str, float]:
    """Their numbers by the names they have in records, fractions; NaN where nobody falls into a split."""
    values: dict[str, float] = {}
    for part, evaluator in evaluators.items():
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator.accumulate()
            evaluator.summarize()
        stats = np.where(evaluator.stats < 0, np.nan, evaluator.stats).tolist()
        of_all = dict(zip(_OF_CROWDS if known.crowded else _METRICS, stats, strict=True))
        values |= {f"{metric}_{part}": of_all[metric] for metric in _OF_A_PART} if part else of_all
    return values
