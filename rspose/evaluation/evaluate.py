"""Predictions and annotations in, scores out."""

from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from rspose.datasets import Dataset, KeypointSet, dataset
from rspose.datasets.annotations import Annotations, read_annotations, read_head_sizes
from rspose.evaluation import coco, mpii
from rspose.evaluation.confidence import (
    KeypointQuality,
    Pairs,
    detection_pairs,
    quality_on_detections,
    quality_on_truth,
)
from rspose.evaluation.detections import (
    KEYPOINT_SCORE_THRESHOLD,
    NMS_THRESHOLD,
    SCORE_MODE,
    instance_scores,
    rescore_and_suppress,
)
from rspose.evaluation.errors import ERRORS, NOT_JUDGED, Diagnosis, diagnose, meant_persons
from rspose.evaluation.matching import pair, replicated_precision
from rspose.evaluation.ordering import lost_to_ordering, threshold_curves
from rspose.evaluation.predictions import Predictions
from rspose.evaluation.resampling import draws, kendall, pearson, spearman, summary


def evaluate(name: str, predictions: str | Path, data_root: str | Path) -> dict[str, Any]:
    """Score a predictions file.

    Args:
        name: Name of the dataset.
        predictions: File written by ``Predictions.save``.
        data_root: Root of the dataset, real or generated.

    Returns:
        A dict of JSON values, all shares and metrics as fractions, None where something is undefined.

        - ``metrics``: the dataset's metrics.
        - ``confidence``: how it goes with localisation quality. ``keypoint`` (on ground-truth boxes),
          ``pose`` (on detections; MPII: on ground-truth boxes) and, but for MPII, ``keypoint_on_detections``
          and ``pose_on_truth`` hold ``spearman``, ``kendall``, ``pearson`` and the number of pairs ``n``,
          and so does each keypoint in ``keypoint_types``. ``calibration`` holds the curves of ``keypoint``
          and ``pose`` (:func:`~rspose.evaluation.confidence.calibration_curve`).
        - ``diagnosis``: ``errors`` has the share of good keypoints and of each error, the number of
          ``keypoints`` judged and, as ``gain``, how much the main metric rises where one error or ``all`` are
          repaired (:mod:`~rspose.evaluation.errors`); on detections, MPII: on ground-truth boxes. But for
          MPII, also ``ordering`` and ``thresholds`` (:mod:`~rspose.evaluation.ordering`).
        - ``protocol``: that of the predictions and that of the evaluation.
        - ``bootstrap``: how far metrics, correlations and diagnosis would move with other images
          (:func:`~rspose.evaluation.resampling.summary`).

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, or the predictions do not belong to the dataset.
    """
    return evaluate_predictions(name, Predictions.load(predictions), data_root)


def evaluate_predictions(name: str, predictions: Predictions, data_root: str | Path) -> dict[str, Any]:
    """Score predictions in memory; otherwise as ``evaluate``."""
    known = dataset(name)
    stated, source = predictions.protocol.get("dataset", name), predictions.source
    if stated != name:
        raise ValueError(f"{source}: expected predictions on {name}, found predictions on {stated}")
    expected, found = len(known.keypoints), predictions.keypoints.shape[1]
    if found != expected:
        raise ValueError(f"{source}: expected the {expected} keypoints of {name}, found {found}")
    annotations = read_annotations(name, data_root, "val")
    scores = EVALUATORS[known.evaluator](known, predictions, annotations, data_root)
    return {**scores, "protocol": {**predictions.protocol, **scores["protocol"]}}


def _on_truth(
    known: Dataset, predictions: Predictions, annotations: Annotations, data_root: str | Path
) -> dict[str, Any]:
    """PCKh on ground-truth boxes, as MPII has it."""
    joints, predictions = known.keypoints, predictions.ground_truth_boxes()
    head_sizes = read_head_sizes(known.name, data_root, len(annotations))
    judgement = mpii.judge(predictions, annotations, head_sizes)
    metrics = mpii.pckh(judgement)

    quality = quality_on_truth(predictions, annotations, joints.falloff)
    keypoints, poses = quality.pairs(), quality.pose_pairs(predictions.confidence.mean(axis=1))

    images = judgement.image
    counts = draws(known.name, int(images.max(initial=-1)) + 1)
    replicates = mpii.replicates(judgement, counts)
    correlations = _replicated_correlations(keypoints, images, poses, images, counts)

    rows = annotations.rows_of(predictions.annotation_id, predictions.source)
    diagnosis = diagnose(predictions.keypoints, rows, annotations, np.array(annotations.image_names), joints)

    def repaired(errors: Sequence[str]) -> np.ndarray:
        moved = predictions.with_keypoints(diagnosis.keypoints_without(errors, predictions.keypoints))
        return mpii.replicates(mpii.judge(moved, annotations, head_sizes), times)["PCKh"]

    times = _once_and(counts)
    study = _errors(diagnosis, images, times, repaired)
    return {
        "metrics": metrics,
        "confidence": _confidence(keypoints, poses, quality, joints),
        "diagnosis": _diagnosis(study, diagnosis),
        "protocol": {"evaluator": mpii.EVALUATOR},
        "bootstrap": _bootstrap(replicates, correlations, study, counts),
    }


def _on_detections(
    known: Dataset, predictions: Predictions, annotations: Annotations, data_root: str | Path
) -> dict[str, Any]:
    """Average precision on detections, by COCO's evaluator."""
    name, joints = known.name, known.keypoints
    on_truth, detections = predictions.ground_truth_boxes(), predictions.detections()
    if not len(detections):
        raise ValueError(
            f"{predictions.source}: expected predictions on detector boxes (annotation_id -1), "
            "found none; run the predict stage with the detection file"
        )
    annotations.check_images(detections.image_id, detections.source)
    kept, scores = rescore_and_suppress(detections, joints.falloff)

    quality = quality_on_truth(on_truth, annotations, joints.falloff)
    keypoints, poses = quality.pairs(), detection_pairs(kept, scores, annotations, joints.falloff)
    detected = quality_on_detections(kept, annotations, joints.falloff)
    scores_on_truth = instance_scores(on_truth.box_score, on_truth.confidence)
    confidence = {
        **_confidence(keypoints, poses, quality, joints),
        "keypoint_on_detections": detected.pairs().correlations(),
        "pose_on_truth": quality.pose_pairs(scores_on_truth).correlations(),
    }

    pairs = pair(kept, annotations, joints.falloff)
    meant = meant_persons(pairs, scores)
    diagnosis = diagnose(kept.keypoints, meant, annotations, annotations.image_id, joints)

    images_of_split = np.unique(annotations.known_images)
    images, images_kept = (np.searchsorted(images_of_split, rows.image_id) for rows in (on_truth, kept))
    counts = draws(name, len(images_of_split))
    times = _once_and(counts)
    times_of_pairs = times[np.searchsorted(images_of_split, [image.image_id for image in pairs])]

    def repaired(errors: Sequence[str]) -> np.ndarray:
        moved = kept.with_keypoints(diagnosis.keypoints_without(errors, kept.keypoints))
        return replicated_precision(pair(moved, annotations, joints.falloff), scores, times_of_pairs)

    ordering = lost_to_ordering(pairs, scores, times_of_pairs)
    study = {
        **_errors(diagnosis, images_kept, times, repaired),
        **{f"ordering.{name}": values for name, values in ordering.items()},
    }
    before_suppression = pair(detections, annotations, joints.falloff)
    thresholds = threshold_curves(before_suppression, detections, joints.falloff)

    correlations = _replicated_correlations(keypoints, images, poses, images_kept, counts)
    # From here on, because the evaluator writes into the annotations' content.
    evaluators = coco.match(name, kept, scores, annotations)
    replicates = coco.replicates(name, evaluators, annotations, counts)
    return {
        "metrics": coco.summarise(name, evaluators),
        "confidence": confidence,
        "diagnosis": {**_diagnosis(study, diagnosis), "thresholds": thresholds},
        "protocol": {
            "score_mode": SCORE_MODE,
            "keypoint_score_threshold": KEYPOINT_SCORE_THRESHOLD,
            "nms": "oks",
            "nms_threshold": NMS_THRESHOLD,
            "evaluator": coco.EVALUATOR,
        },
        "bootstrap": _bootstrap(replicates, correlations, study, counts),
    }


EVALUATORS = {
    **dict.fromkeys(("keypoints", "keypoints_crowd", "keypoints_wholebody"), _on_detections),
    "pckh": _on_truth,
}
"""What scores predictions, by the ``evaluator`` of a dataset; of COCO's, the name is its ``iouType``."""


def _once_and(counts: np.ndarray) -> np.ndarray:
    """The split as it is, then the draws: how often each image occurs, int32 ``[I, 1 + R]``."""
    return np.hstack([np.ones((len(counts), 1), dtype=counts.dtype), counts])


def _confidence(
    keypoints: Pairs, poses: Pairs, quality: KeypointQuality, joints: KeypointSet
) -> dict[str, Any]:
    by_type = (quality.pairs(slice(index, index + 1)) for index in range(len(joints)))
    return {
        "keypoint": keypoints.correlations(),
        "pose": poses.correlations(),
        "keypoint_types": {
            name: pairs.correlations() for name, pairs in zip(joints.names, by_type, strict=True)
        },
        "calibration": {"keypoint": keypoints.calibration(), "pose": poses.calibration()},
    }


def _bootstrap(
    metrics: dict[str, np.ndarray],
    correlations: dict[str, np.ndarray],
    study: dict[str, np.ndarray],
    counts: np.ndarray,
) -> dict[str, Any]:
    of_metrics = {f"metrics.{name}": values for name, values in metrics.items()}
    of_study = {f"diagnosis.{name}": values[1:] for name, values in study.items()}
    return summary({**of_metrics, **correlations}, len(counts), unpaired=of_study)


def _replicated_correlations(
    keypoints: Pairs, keypoint_images: np.ndarray, poses: Pairs, pose_images: np.ndarray, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """The correlations if the images had been drawn as often as ``counts`` says, each ``[R]``.

    ``*_images`` are the indices of the images of the predictions that the pairs are rows of.
    """
    levels = {"keypoint": (keypoints, keypoint_images), "pose": (poses, pose_images)}
    return {
        f"confidence.{level}.{name}": replicate(pairs.confidence, pairs.quality, images[pairs.row], counts)
        for level, (pairs, images) in levels.items()
        for name, replicate in (("spearman", spearman), ("kendall", kendall), ("pearson", pearson))
    }


def _errors(
    diagnosis: Diagnosis,
    image: np.ndarray,
    times: np.ndarray,
    repaired: Callable[[Sequence[str]], np.ndarray],
) -> dict[str, np.ndarray]:
    """Shares and gains under their names in a record, each ``[1 + R]``.

    ``repaired`` says the main metric without some errors, ``[1 + R]``.
    """
    measured = repaired(())
    repairs = {**{error: (error,) for error in ERRORS}, "all": ERRORS}
    return {
        **{f"errors.{kind}": values for kind, values in diagnosis.shares(image, times).items()},
        **{f"errors.gain.{name}": repaired(errors) - measured for name, errors in repairs.items()},
    }


def _diagnosis(study: dict[str, np.ndarray], diagnosis: Diagnosis) -> dict[str, Any]:
    """The numbers of the split as it is, as a record has them."""
    nested: dict[str, Any] = {}
    for name, values in study.items():
        *branches, leaf = name.split(".")
        branch = reduce(lambda outer, key: outer.setdefault(key, {}), branches, nested)
        branch[leaf] = None if np.isnan(values[0]) else float(values[0])
    nested["errors"]["keypoints"] = int((diagnosis.kind != NOT_JUDGED).sum())
    return nested
