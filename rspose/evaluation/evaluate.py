"""Predictions and annotations in, scores out."""

from pathlib import Path
from typing import Any

import numpy as np

from rspose.evaluation import coco, mpii
from rspose.evaluation.annotations import read_annotations, read_head_sizes
from rspose.evaluation.confidence import (
    Pairs,
    detection_pairs,
    keypoint_pairs,
    person_pairs,
)
from rspose.evaluation.detections import (
    KEYPOINT_SCORE_THRESHOLD,
    NMS_THRESHOLD,
    SCORE_MODE,
    rescore_and_suppress,
)
from rspose.evaluation.predictions import Predictions
from rspose.evaluation.resampling import draws, kendall, spearman, summary
from rspose.keypoints import keypoint_set


def evaluate(dataset: str, predictions: str | Path, data_root: str | Path) -> dict[str, Any]:
    """Score a predictions file.

    Args:
        dataset: ``coco``, ``crowdpose``, ``mpii`` or ``wholebody``.
        predictions: File written by ``Predictions.save``.
        data_root: Root of the dataset, real or generated.

    Returns:
        A dict of JSON values. ``metrics``: the dataset's metrics as fractions, None where a split is empty.
        ``confidence``: for ``keypoint`` and ``pose`` the rank correlations of confidence with localisation
        quality (``spearman``, ``kendall``, None where undefined) and the number of pairs ``n``. ``protocol``:
        that of the predictions and that of the evaluation. ``bootstrap``: how far metrics and correlations
        would move with other images (:func:`rspose.evaluation.resampling.summary`).

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
    keypoints = keypoint_pairs(on_truth, annotations, falloff)
    if dataset == "mpii":
        judgement = mpii.judge(on_truth, annotations, read_head_sizes(data_root, len(annotations)))
        poses = person_pairs(on_truth, annotations, falloff)
        images = judgement.image
        counts = draws(dataset, int(images.max(initial=-1)) + 1)
        replicates = mpii.replicates(judgement, counts)
        correlations = _replicated_correlations(keypoints, images, poses, images, counts)
        metrics = mpii.pckh(judgement)
        protocol: dict[str, Any] = {"evaluator": mpii.EVALUATOR}
    else:
        detections = predictions.detections()
        if not len(detections):
            raise ValueError(
                f"{predictions.source}: expected predictions on detector boxes (annotation_id -1), "
                "found none; run the predict stage with the detection file"
            )
        kept, scores = rescore_and_suppress(dataset, detections)
        poses = detection_pairs(kept, scores, annotations, falloff)
        known = np.unique(annotations.known_images)
        images, images_kept = (np.searchsorted(known, rows.image_id) for rows in (on_truth, kept))
        counts = draws(dataset, len(known))
        # From here on, because the evaluator writes into the annotations' content.
        evaluators = coco.match(dataset, kept, scores, annotations)
        replicates = coco.replicates(dataset, evaluators, annotations, counts)
        correlations = _replicated_correlations(keypoints, images, poses, images_kept, counts)
        metrics = coco.summarise(dataset, evaluators)
        protocol = {
            "score_mode": SCORE_MODE,
            "keypoint_score_threshold": KEYPOINT_SCORE_THRESHOLD,
            "nms": "oks",
            "nms_threshold": NMS_THRESHOLD,
            "evaluator": coco.EVALUATOR,
        }
    of_metrics = {f"metrics.{name}": values for name, values in replicates.items()}
    return {
        "metrics": metrics,
        "confidence": {"keypoint": keypoints.rank_correlations(), "pose": poses.rank_correlations()},
        "protocol": {**predictions.protocol, **protocol},
        "bootstrap": summary({**of_metrics, **correlations}, len(counts)),
    }


def _replicated_correlations(
    keypoints: Pairs, keypoint_images: np.ndarray, poses: Pairs, pose_images: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Both correlations if the images had been drawn as often as ``counts`` says, each ``[R]``.

    Args:
        keypoints: Of the keypoint level.
        keypoint_images: Index of the image of each prediction that ``keypoints`` are rows of.
        poses: Of the pose level.
        pose_images: Index of the image of each prediction that ``poses`` are rows of.
        counts: How often each image occurs, int ``[images, R]``.
    """
    levels = {"keypoint": (keypoints, keypoint_images), "pose": (poses, pose_images)}
    return {
        f"confidence.{level}.{name}": replicate(pairs.confidence, pairs.quality, images[pairs.row], counts)
        for level, (pairs, images) in levels.items()
        for name, replicate in (("spearman", spearman), ("kendall", kendall))
    }


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
