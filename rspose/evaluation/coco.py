"""Average precision on COCO, CrowdPose and COCO-WholeBody by their official evaluator, from xtcocotools."""

import contextlib
import io
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

from rspose.datasets import Dataset, dataset
from rspose.datasets.annotations import Annotations
from rspose.evaluation.predictions import Predictions
from rspose.evaluation.resampling import Matches, precision_and_recall

EVALUATOR = f"xtcocotools {version('xtcocotools')}"
# Predictions per image that count, the best ones (``maxDets`` of the evaluator).
MAX_DETECTIONS = 20

# What a metric is made of, in the order of ``COCOeval.stats``: precision (0) or recall (1), index of the OKS
# threshold (None: the mean over all), index of the range of areas (0: all).
_METRICS = {
    "AP": (0, None, 0), "AP50": (0, 0, 0), "AP75": (0, 5, 0), "APM": (0, None, 1), "APL": (0, None, 2),
    "AR": (1, None, 0), "AR50": (1, 0, 0), "AR75": (1, 5, 0), "ARM": (1, None, 1), "ARL": (1, None, 2),
}  # fmt: skip
# With a crowd index there are no ranges of areas, but at the end precision by these bounds of the index.
_CROWDEDNESS = {"APE": (-np.inf, 0.2), "APM": (0.2, 0.8), "APH": (0.8, np.inf)}
_WITHOUT_AREAS = ("AP", "AP50", "AP75", "AR", "AR50", "AR75")
_OF_A_PART = ("AP", "AR")

Evaluators = dict[str, COCOeval]
"""Official evaluators: of all keypoints under the empty name, and of each part of COCO-WholeBody."""


def match(name: str, detections: Predictions, scores: np.ndarray, annotations: Annotations) -> Evaluators:
    """The official evaluators after they have matched N detections, with scores ``[N]``, to persons.

    The parts of COCO-WholeBody are evaluated one by one, over the same detections and scores, as mmpose's
    ``CocoWholeBodyMetric`` does. The evaluator writes into the content of the annotations.
    """
    known = dataset(name)
    sigmas = np.asarray(known.keypoints.sigmas)
    kinds = {"": (known.iou_type, sigmas)}
    kinds |= {part: (f"keypoints_{part}", sigmas[rows]) for part, rows in known.keypoints.parts.items()}
    evaluators = {}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # Parts have no scores of their own: mmpose, too, scores them as the person.
        warnings.filterwarnings("ignore", message=".*not found, use 'score' instead")
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


def summarise(name: str, evaluators: Evaluators) -> dict[str, float]:
    """The evaluators' numbers as fractions; NaN where no annotated person falls into a split.

    Those of a part of COCO-WholeBody are called ``AP_<part>`` and ``AR_<part>``. ``hand`` is the mean of both
    hands, as the dataset's authors have it (github.com/jin-s13/COCO-WholeBody, issue 38).
    """
    names = [*_WITHOUT_AREAS, *_CROWDEDNESS] if dataset(name).crowded else [*_METRICS]
    values: dict[str, float] = {}
    for part, evaluator in evaluators.items():
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator.accumulate()
            evaluator.summarize()
        found = np.where(evaluator.stats < 0, np.nan, evaluator.stats).tolist()
        of_all = dict(zip(names, found, strict=True))
        values |= {f"{metric}_{part}": of_all[metric] for metric in _OF_A_PART} if part else of_all
    return values | _of_both_hands(values)


def replicates(
    name: str, evaluators: Evaluators, annotations: Annotations, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """The numbers of :func:`summarise` if image i of the split occurred ``counts[i]`` times.

    ``counts`` is int ``[images, R]``, in the order of ascending ids; :func:`summarise` has not seen the
    evaluators yet. Float64 ``[R]`` each.
    """
    crowded = dataset(name).crowded
    values: dict[str, np.ndarray] = {}
    for part, evaluator in evaluators.items():
        names = _OF_A_PART if part else _WITHOUT_AREAS if crowded else tuple(_METRICS)
        of_area = {
            area: precision_and_recall(_matches(evaluator, area), counts)
            for area in sorted({_METRICS[metric][2] for metric in names})
        }
        for metric in names:
            curve, threshold, area = _METRICS[metric]
            found = of_area[area][curve]
            of_metric = found.mean(axis=0) if threshold is None else found[threshold]
            values[f"{metric}_{part}" if part else metric] = of_metric
    if crowded:
        crowd_index = {image["id"]: image["crowdIndex"] for image in annotations.content["images"]}
        crowdedness = np.array([crowd_index[image] for image in evaluators[""].params.imgIds])
        for metric, (low, high) in _CROWDEDNESS.items():
            of_kind = (low <= crowdedness) & (crowdedness < high)
            precision, _ = precision_and_recall(_matches(evaluators[""]), counts * of_kind[:, None])
            values[metric] = precision.mean(axis=0)
    return values | _of_both_hands(values)


def _matches(evaluator: COCOeval, area: int = 0) -> Matches:
    """What an evaluator of one category matched in one of its ranges of areas."""
    images = len(evaluator.params.imgIds)
    none = np.zeros((len(evaluator.params.iouThrs), 0))
    nothing = {"gtIgnore": none[0], "dtScores": none[0], "dtMatches": none, "dtIgnore": none}
    found = [each or nothing for each in evaluator.evalImgs[area * images : (area + 1) * images]]
    # The evaluator's own order: of equal scores, that of the earlier image first.
    order = np.argsort(-np.concatenate([each["dtScores"] for each in found]), kind="mergesort")
    image = np.repeat(np.arange(images), [len(each["dtScores"]) for each in found])[order]
    matched = np.concatenate([each["dtMatches"] for each in found], axis=1)[:, order] >= 0
    counting = np.concatenate([each["dtIgnore"] for each in found], axis=1)[:, order] == 0
    persons = np.array([(each["gtIgnore"] == 0).sum() for each in found])
    return Matches(image, matched & counting, ~matched & counting, persons)


def _of_both_hands(values: dict[str, Any]) -> dict[str, Any]:
    """The metrics of ``hand``; none where hands are not evaluated."""
    return {
        f"{metric}_hand": (values[f"{metric}_lefthand"] + values[f"{metric}_righthand"]) / 2
        for metric in _OF_A_PART
        if f"{metric}_lefthand" in values
    }
