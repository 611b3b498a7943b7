"""Average precision on COCO, CrowdPose and COCO-WholeBody by their official evaluator, from xtcocotools."""

import contextlib
import io
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

from rspose.datasets import Dataset, dataset
from rspose.datasets.annotations import Annotations
from rspose.evaluation.predictions import Predictions
from rspose.evaluation.resampling import coco_matches, precision_and_recall

T = TypeVar("T")

EVALUATOR = f"xtcocotools {version('xtcocotools')}"
# Predictions per image that count, the best ones (``maxDets`` of the evaluator).
MAX_DETECTIONS = 20

# In the order of ``COCOeval.stats``. With a crowd index: of easy, medium and hard images.
_METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
_METRICS_CROWDED = ("AP", "AP50", "AP75", "AR", "AR50", "AR75", "APE", "APM", "APH")
# What is told of a part of COCO-WholeBody.
_OF_A_PART = ("AP", "AR")
# What a metric is made of: precision or recall, index of the OKS threshold (None: all), of the area range.
_REPLICATED = {
    "AP": ("precision", None, 0), "AP50": ("precision", 0, 0), "AP75": ("precision", 5, 0),
    "AR": ("recall", None, 0), "AR50": ("recall", 0, 0), "AR75": ("recall", 5, 0),
}  # fmt: skip
_REPLICATED_BY_AREA = {
    "APM": ("precision", None, 1), "APL": ("precision", None, 2),
    "ARM": ("recall", None, 1), "ARL": ("recall", None, 2),
}  # fmt: skip
# Bounds of the crowd index of easy, medium and hard images, as the evaluator splits them.
_CROWDEDNESS = {"APE": (-np.inf, 0.2), "APM": (0.2, 0.8), "APH": (0.8, np.inf)}

Evaluators = dict[str, COCOeval]
"""Official evaluators: of all keypoints under the empty name, and of each part of COCO-WholeBody."""


def match(name: str, detections: Predictions, scores: np.ndarray, annotations: Annotations) -> Evaluators:
    """The official evaluators after they have matched detections to persons.

    The parts of COCO-WholeBody are evaluated one by one, over the same detections and scores, as mmpose's
    ``CocoWholeBodyMetric`` does.

    Args:
        name: Name of a dataset that detections are evaluated on.
        detections: Predictions to evaluate, N of them, after suppression.
        scores: Their scores, ``[N]``.
        annotations: The validation split.
    """
    annotations.check_images(detections.image_id, detections.source)
    known = dataset(name)
    sigmas = np.asarray(known.keypoints.sigmas)
    kinds = {"": (known.evaluator, sigmas)}
    kinds |= {part: (f"keypoints_{part}", sigmas[rows]) for part, rows in known.keypoints.parts.items()}
    evaluators = {}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # Parts have no scores of their own: mmpose, too, scores them as the person.
        warnings.filterwarnings("ignore", message=".*not found, use 'score' instead")
        # The evaluator writes into results and annotations alike, hence results made for it alone; its
        # annotations are read from ``content``, which nothing reads afterwards.
        truth = COCO(str(annotations.path), ann_data=annotations.content)
        results = truth.loadRes(_results(known, detections, scores))
        for part, (kind, sigmas_of_part) in kinds.items():
            evaluator = COCOeval(truth, results, kind, sigmas_of_part, use_area=not known.crowded)
            evaluator.evaluate()
            evaluators[part] = evaluator
    return evaluators


def _results(known: Dataset, detections: Predictions, scores: np.ndarray) -> list[dict[str, Any]]:
    """The detections in COCO's result format, in the fields that mmpose's metrics fill."""
    triplets = np.concatenate([detections.keypoints, detections.confidence[..., None]], axis=-1)
    fields = known.keypoints.fields
    columns = {field: triplets[:, rows].reshape(len(detections), -1) for field, rows in fields.items()}
    if not known.keypoints.parts:
        columns["bbox"] = detections.box
    columns |= {"image_id": detections.image_id, "score": scores}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [{"category_id": 1, **dict(zip(columns, row, strict=True))} for row in rows]


def replicates(
    name: str, evaluators: Evaluators, annotations: Annotations, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """The evaluators' numbers if the images of the split had been drawn as often as ``counts`` says.

    ``evaluators`` is what :func:`match` returned, before :func:`summarise` has seen it; ``counts``, int
    ``[images, R]``, is in the order of ascending ids. Float64 ``[R]`` for every metric; NaN in replicates
    without a person of that split.
    """
    evaluator, crowded = evaluators[""], dataset(name).crowded
    images = evaluator.params.imgIds
    values = _replicated(evaluator, _REPLICATED if crowded else _REPLICATED | _REPLICATED_BY_AREA, counts)
    if crowded:
        matches = coco_matches(evaluator.evalImgs, images)
        crowd_index = {image["id"]: image["crowdIndex"] for image in annotations.content["images"]}
        crowdedness = np.array([crowd_index[image] for image in images])
        for metric, (low, high) in _CROWDEDNESS.items():
            of_kind = (low <= crowdedness) & (crowdedness < high)
            values[metric] = precision_and_recall(matches, counts * of_kind[:, None])[0].mean(axis=0)
    told = {metric: _REPLICATED[metric] for metric in _OF_A_PART}
    for part, of_part in _parts(evaluators).items():
        values |= {f"{metric}_{part}": value for metric, value in _replicated(of_part, told, counts).items()}
    return values | _of_both_hands(values, lambda left, right: (left + right) / 2)


def _replicated(
    evaluator: COCOeval, wanted: dict[str, tuple[str, int | None, int]], counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Some metrics of one evaluator, each ``[R]``."""
    curves = {}
    for area in sorted({area for _, _, area in wanted.values()}):
        matches = coco_matches(evaluator.evalImgs, evaluator.params.imgIds, area)
        curves["precision", area], curves["recall", area] = precision_and_recall(matches, counts)
    return {
        name: curves[curve, area].mean(axis=0) if threshold is None else curves[curve, area][threshold]
        for name, (curve, threshold, area) in wanted.items()
    }


def _parts(evaluators: Evaluators) -> Evaluators:
    return {name: evaluator for name, evaluator in evaluators.items() if name}


def summarise(name: str, evaluators: Evaluators) -> dict[str, float | None]:
    """The evaluators' numbers as fractions; None where no annotated person falls into a split.

    Those of a part of COCO-WholeBody are called ``AP_<part>`` and ``AR_<part>``. ``hand`` is the mean of both
    hands, as the dataset's authors have it (github.com/jin-s13/COCO-WholeBody, issue 38).
    """
    metrics = _summary(evaluators[""], _METRICS_CROWDED if dataset(name).crowded else _METRICS)
    for part, evaluator in _parts(evaluators).items():
        of_part = _summary(evaluator, _METRICS)
        metrics |= {f"{metric}_{part}": of_part[metric] for metric in _OF_A_PART}
    return metrics | _of_both_hands(
        metrics, lambda left, right: None if left is None or right is None else (left + right) / 2
    )


def _of_both_hands(values: dict[str, T], mean: Callable[[T, T], T]) -> dict[str, T]:
    """The metrics of ``hand``; none where hands are not evaluated."""
    return {
        f"{metric}_hand": mean(values[f"{metric}_lefthand"], values[f"{metric}_righthand"])
        for metric in _OF_A_PART
        if f"{metric}_lefthand" in values
    }


def _summary(evaluator: COCOeval, names: tuple[str, ...]) -> dict[str, float | None]:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.accumulate()
        evaluator.summarize()
    return {
        name: None if value < 0 else float(value) for name, value in zip(names, evaluator.stats, strict=True)
    }
