"""Predictions and annotations in, scores out."""

from pathlib import Path
from typing import Any

from rspose.evaluation import coco, mpii
from rspose.evaluation.annotations import read_annotations, read_head_sizes
from rspose.evaluation.confidence import (
    detection_confidence_quality,
    keypoint_confidence_quality,
    person_confidence_quality,
)
from rspose.evaluation.detections import (
    KEYPOINT_SCORE_THRESHOLD,
    NMS_THRESHOLD,
    SCORE_MODE,
    rescore_and_suppress,
)
from rspose.evaluation.predictions import Predictions
from rspose.keypoints import keypoint_set


def evaluate(dataset: str, predictions: str | Path, data_root: str | Path) -> dict[str, Any]:
    """Score a predictions file.

    Args:
        dataset: ``coco``, ``crowdpose`` or ``mpii``.
        predictions: File written by ``Predictions.save``.
        data_root: Root of the dataset, real or generated.

    Returns:
        A dict of JSON values. ``metrics``: the dataset's metrics as fractions, None where a split is empty.
        ``confidence``: for ``keypoint`` and ``pose`` the rank correlations of confidence with localisation
        quality (``spearman``, ``kendall``, None where undefined) and the number of pairs ``n``. ``protocol``:
        that of the predictions and that of the evaluation.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, or the predictions do not belong to the dataset.
    """
    return evaluate_predictions(dataset, Predictions.load(predictions), data_root)


def evaluate_predictions(dataset: str, predictions: Predictions, data_root: str | Path) -> dict[str, Any]:
    """Score predictions in memory; otherwise as ``evaluate``."""
    _check_dataset(dataset, predictions)
    falloff = keypoint_set(dataset).falloff
    annotations = read_annotations(dataset, data_root, "val")
    on_truth = predictions.ground_truth_boxes()
    confidence = {"keypoint": keypoint_confidence_quality(on_truth, annotations, falloff)}
    if dataset == "mpii":
        head_sizes = read_head_sizes(data_root, len(annotations))
        metrics = mpii.pckh(on_truth, annotations, head_sizes)
        confidence["pose"] = person_confidence_quality(on_truth, annotations, falloff)
        protocol: dict[str, Any] = {"evaluator": mpii.EVALUATOR}
    else:
        detections = predictions.detections()
        if not len(detections):
            raise ValueError(
                f"{predictions.source}: expected predictions on detector boxes (annotation_id -1), "
                "found none; run the predict stage with the detection file"
            )
        kept, scores = rescore_and_suppress(dataset, detections)
        confidence["pose"] = detection_confidence_quality(kept, scores, annotations, falloff)
        # Last, because the evaluator writes into the annotations' content.
        metrics = coco.average_precision(dataset, kept, scores, annotations)
        protocol = {
            "score_mode": SCORE_MODE,
            "keypoint_score_threshold": KEYPOINT_SCORE_THRESHOLD,
            "nms": "oks",
            "nms_threshold": NMS_THRESHOLD,
            "evaluator": coco.EVALUATOR,
        }
    return {"metrics": metrics, "confidence": confidence, "protocol": {**predictions.protocol, **protocol}}


def _check_dataset(dataset: str, predictions: Predictions) -> None:
    joints = len(keypoint_set(dataset))
    stated = predictions.protocol.get("dataset", dataset)
    if stated != dataset:
        raise ValueError(
            f"{predictions.source}: expected predictions on {dataset}, found predictions on {stated}"
        )
    if predictions.keypoints.shape[1] != joints:
        raise ValueError(
            f"{predictions.source}: expected the {joints} keypoints of {dataset}, "
            f"found {predictions.keypoints.shape[1]}"
        )
