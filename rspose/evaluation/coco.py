"""Average precision on COCO and CrowdPose by their official evaluator, as packaged by xtcocotools."""

import contextlib
import io
from importlib.metadata import version

import numpy as np
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

from rspose.evaluation.annotations import Annotations
from rspose.evaluation.predictions import Predictions
from rspose.evaluation.resampling import coco_matches, precision_and_recall
from rspose.keypoints import keypoint_set

EVALUATOR = f"xtcocotools {version('xtcocotools')}"
# Predictions per image that count, the best ones (``maxDets`` of the evaluator).
MAX_DETECTIONS = 20

# In the order of ``COCOeval.stats``. CrowdPose: easy, medium and hard images by their crowd index.
_METRICS = {
    "coco": ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"),
    "crowdpose": ("AP", "AP50", "AP75", "AR", "AR50", "AR75", "APE", "APM", "APH"),
}
_IOU_TYPES = {"coco": "keypoints", "crowdpose": "keypoints_crowd"}
# What a metric is made of: precision or recall, index of the OKS threshold (None: all), of the area range.
_REPLICATED = {
    "AP": ("precision", None, 0),
    "AP50": ("precision", 0, 0),
    "AP75": ("precision", 5, 0),
    "AR": ("recall", None, 0),
    "AR50": ("recall", 0, 0),
    "AR75": ("recall", 5, 0),
}
_REPLICATED_BY_AREA = {
    "APM": ("precision", None, 1),
    "APL": ("precision", None, 2),
    "ARM": ("recall", None, 1),
    "ARL": ("recall", None, 2),
}
# Bounds of the crowd index of easy, medium and hard images, as the evaluator splits them.
_CROWDEDNESS = {"APE": (-np.inf, 0.2), "APM": (0.2, 0.8), "APH": (0.8, np.inf)}


def average_precision(
    dataset: str, detections: Predictions, scores: np.ndarray, annotations: Annotations
) -> dict[str, float | None]:
    """The evaluator's numbers: :func:`match` and :func:`summarise` in one."""
    return summarise(dataset, match(dataset, detections, scores, annotations))


def match(dataset: str, detections: Predictions, scores: np.ndarray, annotations: Annotations) -> COCOeval:
    """The official evaluator after it has matched detections to persons.

    Args:
        dataset: ``coco`` or ``crowdpose``.
        detections: Predictions to evaluate, N of them, after suppression.
        scores: Their scores, ``[N]``.
        annotations: The validation split.
    """
    annotations.check_images(detections.image_id, detections.source)
    # The evaluator writes into results and annotations alike, hence results made for it alone; its
    # annotations are read from ``content``, which nothing reads afterwards.
    triplets = np.concatenate([detections.keypoints, detections.confidence[..., None]], axis=-1)
    results = [
        {"image_id": image_id, "category_id": 1, "keypoints": keypoints, "bbox": box, "score": score}
        for image_id, keypoints, box, score in zip(
            detections.image_id.tolist(),
            triplets.reshape(len(detections), -1).tolist(),
            detections.box.tolist(),
            scores.tolist(),
            strict=True,
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations.path), ann_data=annotations.content)
        evaluator = COCOeval(
            truth,
            truth.loadRes(results),
            _IOU_TYPES[dataset],
            np.asarray(keypoint_set(dataset).sigmas),
            use_area=dataset == "coco",
        )
        evaluator.evaluate()
    return evaluator


def replicates(
    dataset: str, evaluator: COCOeval, annotations: Annotations, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """The evaluator's numbers if the images of the split had been drawn as often as ``counts`` says.

    Args:
        dataset: ``coco`` or ``crowdpose``.
        evaluator: What :func:`match` returned; :func:`summarise` must not have seen it yet.
        annotations: The validation split.
        counts: How often each image occurs, in the order of ascending ids, int ``[images, R]``.

    Returns:
        Every metric, float64 ``[R]``; NaN in replicates without a person of that split.
    """
    images = evaluator.params.imgIds
    wanted = _REPLICATED | (_REPLICATED_BY_AREA if dataset == "coco" else {})
    curves = {}
    for area in sorted({area for _, _, area in wanted.values()}):
        matches = coco_matches(evaluator.evalImgs, images, area)
        curves["precision", area], curves["recall", area] = precision_and_recall(matches, counts)
    values = {
        name: curves[curve, area].mean(axis=0) if threshold is None else curves[curve, area][threshold]
        for name, (curve, threshold, area) in wanted.items()
    }
    if dataset == "crowdpose":
        matches = coco_matches(evaluator.evalImgs, images)
        crowd_index = {image["id"]: image["crowdIndex"] for image in annotations.content["images"]}
        crowdedness = np.array([crowd_index[image] for image in images])
        for name, (low, high) in _CROWDEDNESS.items():
            of_kind = (low <= crowdedness) & (crowdedness < high)
            values[name] = precision_and_recall(matches, counts * of_kind[:, None])[0].mean(axis=0)
    return values


def summarise(dataset: str, evaluator: COCOeval) -> dict[str, float | None]:
    """The evaluator's numbers as fractions; None where no annotated person falls into a split."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.accumulate()
        evaluator.summarize()
    return {
        name: None if value < 0 else float(value)
        for name, value in zip(_METRICS[dataset], evaluator.stats, strict=True)
    }
