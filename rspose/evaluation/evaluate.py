"""Predictions and annotations in, scores out.

A number with an interval has a value for the split as it is, then one for each replicate: ``[1 + R]``.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rspose.datasets import Dataset, KeypointSet, dataset
from rspose.datasets.annotations import Annotations, read_annotations, read_head_sizes
from rspose.datasets.validation import repeated
from rspose.evaluation import coco, lsp, mpii
from rspose.evaluation.calibration import (
    constant,
    cross_fitted,
    isotonic,
    second_half,
    spearman_of_halves,
)
from rspose.evaluation.confidence import KeypointQuality, Pairs, detection_pairs, keypoint_quality
from rspose.evaluation.detections import NMS_THRESHOLD, PROTOCOL, by_image, instance_scores
from rspose.evaluation.errors import NOT_JUDGED, Diagnosis, diagnose, meant_persons
from rspose.evaluation.main_numbers import EVALUATOR as MAIN_EVALUATOR
from rspose.evaluation.main_numbers import check_equal, main_numbers
from rspose.evaluation.matching import NOBODY, candidates, persons_in_boxes
from rspose.evaluation.oks import neighbours
from rspose.evaluation.ordering import (
    NMS_THRESHOLDS,
    average_precision,
    keypoint_score_curve,
    lost_to_ordering,
    threshold_curves,
)
from rspose.evaluation.pck import judge
from rspose.evaluation.predictions import Predictions
from rspose.evaluation.resampling import SEED, draws, pearson, spearman, summary

Numbers = dict[str, np.ndarray]
# The least intersection over union at which a detector's box is taken to hold a person.
BOX_THRESHOLD = 0.5
# Whether each keypoint type has a calibration of its own.
CALIBRATIONS = {"pooled": False, "by_type": True}
CALIBRATION = f"isotonic, two halves of the images, seed {SEED}"


def evaluate(name: str, predictions: str | Path, data_root: str | Path) -> dict[str, Any]:
    """Score a predictions file.

    Returns:
        A dict of JSON values, all shares and metrics as fractions, None where something is undefined. Poses
        and diagnosis are on detections, on MPII and LSP, which have none, on ground-truth boxes.

        - ``metrics``: the dataset's metrics.
        - ``confidence``: how it goes with localisation quality. ``keypoint`` (on ground-truth boxes), each of
          ``keypoint_types``, ``pose`` and, where there are detections, ``keypoint_on_detections`` and
          ``pose_on_truth`` hold correlations, ``calibration`` the curves of ``keypoint`` and ``pose``
          (:class:`~rspose.evaluation.confidence.Pairs`). Spearman's rho of ``keypoint`` comes apart into that
          ``within_types``, the mean over them, and that of the means ``between_types``; ``type_constants``
          has what confidences reach that are multiplied by one constant a type
          (:mod:`~rspose.evaluation.calibration`). ``calibrated``, ``pooled`` or ``by_type``, has rho of
          keypoints and poses, where there are detections also of ``pose_on_truth``, after a monotone
          calibration and, but for MPII, AP, what ordering costs of it, and AP at the best threshold on
          keypoint scores.
        - ``diagnosis``: ``errors`` has the share of good keypoints and of each error, the number of
          ``keypoints`` judged and, as ``gain``, how much the main metric rises where one error or ``all`` are
          repaired (:mod:`~rspose.evaluation.errors`). But for MPII, also ``ordering`` and ``thresholds``
          (:mod:`~rspose.evaluation.ordering`), and among the first AP at the best of the second.
        - ``protocol``: that of the predictions and that of the evaluation.
        - ``bootstrap``: how far they would move with other images
          (:func:`~rspose.evaluation.resampling.summary`).

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, or the predictions do not belong to the dataset.
    """
    return evaluate_predictions(name, Predictions.load(predictions), data_root)


def precision_on_boxes(name: str, predictions: Predictions, annotations: Annotations) -> float:
    """Keypoint AP of predictions in annotated boxes, a fraction; NaN where no person counts.

    The same for every dataset: MPII, which defines no OKS, has that of mmpose's sigmas.
    """
    predictions = predictions.take(np.argsort(predictions.image_id, kind="stable"))
    pairs = candidates(dataset(name), predictions, annotations)[""]
    return float(average_precision(pairs, instance_scores(predictions), predictions.confident())[0])


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
    return {**scores, "protocol": {**predictions.protocol, **scores["protocol"], "calibration": CALIBRATION}}


def _on_truth(
    known: Dataset, predictions: Predictions, annotations: Annotations, data_root: str | Path
) -> dict[str, Any]:
    """PCKh on ground-truth boxes, as MPII has it."""
    joints, predictions = known.keypoints, predictions.ground_truth_boxes()
    head_sizes = read_head_sizes(known.name, data_root, len(annotations))
    image_of_person = np.unique(annotations.image_names, return_inverse=True)[1]
    judgement = judge(predictions, annotations, head_sizes, image_of_person, mpii.LIMITS)
    images = judgement.image
    counts = _counts(known, int(images.max(initial=-1)) + 1)

    def main_metric(rows: np.ndarray, moved: np.ndarray) -> np.ndarray:
        again = judge(_moved(predictions, rows, moved), annotations, head_sizes, image_of_person, mpii.LIMITS)
        return mpii.pckh(again, counts)["PCKh"]

    persons = judgement.person
    diagnosis = diagnose(predictions.keypoints, persons, annotations, image_of_person, joints)
    metrics = mpii.pckh(judgement, counts)
    gains = diagnosis.gains(metrics["PCKh"], main_metric)
    study = {"errors": diagnosis.shares(images, counts), "errors.gain": gains}
    quality = keypoint_quality(predictions, persons, annotations, joints.falloff)
    poses = quality.pose_pairs(predictions.confidence.mean(axis=1))
    levels = {"keypoint": (quality.pairs(), images), "pose": (poses, images)}
    second = second_half(known.name, len(counts))
    compared = _by_type(quality, images, second, counts)
    for fit, of_type in CALIBRATIONS.items():
        half = second[images]
        told = replace(
            quality, confidence=cross_fitted(isotonic, of_type, quality.confidence, half, quality, half)
        )
        scored = told.pose_pairs(told.confidence.mean(axis=1))
        compared[f"calibrated.{fit}"] = {
            "keypoint_spearman": spearman_of_halves(told.pairs(), images, second, counts),
            "pose_spearman": spearman_of_halves(scored, images, second, counts),
        }
    return {
        "metrics": _of_the_split(metrics),
        "confidence": _confidence(quality, poses, joints, compared),
        "diagnosis": {"errors": _errors(study, diagnosis)},
        "protocol": {"evaluator": mpii.EVALUATOR},
        "bootstrap": _bootstrap(metrics, compared, levels, study, counts),
    }


def _persons(on_truth: Predictions, annotations: Annotations) -> np.ndarray:
    """The person of each prediction on an annotated box; of every person one at most, in its own image."""
    persons = annotations.rows_of(on_truth.annotation_id, on_truth.source)
    wrong = (on_truth.image_id != annotations.image_id[persons]) | repeated(persons)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"{on_truth.source}: expected predictions on annotated boxes, one a person, with its image_id; "
            f"found annotation_id {on_truth.annotation_id[first]} with image_id {on_truth.image_id[first]}, "
            "of another image or a second time; run the predict stage again"
        )
    return persons


def _on_detections(
    known: Dataset, predictions: Predictions, annotations: Annotations, _: str | Path
) -> dict[str, Any]:
    """Average precision on detections, by COCO's evaluator; on LSP, which has none, on derived boxes."""
    joints, falloff = known.keypoints, known.keypoints.falloff
    on_truth = predictions.ground_truth_boxes()
    detections = predictions.detections() if known.detections else on_truth
    if not len(detections):
        raise ValueError(
            f"{predictions.source}: expected predictions on detector boxes (annotation_id -1), "
            "found none; run the predict stage with the detection file"
        )
    annotations.check_images(detections.image_id, detections.source)
    persons = _persons(on_truth, annotations)
    detections = by_image(detections)
    images_of_split = np.unique(annotations.known_images)

    def place(image_id: ArrayLike) -> np.ndarray:
        return np.searchsorted(images_of_split, image_id)

    images, images_detected = place(on_truth.image_id), place(detections.image_id)
    counts = _counts(known, len(images_of_split))
    paired = candidates(known, detections, annotations)
    pairs = paired[""]
    near = neighbours(detections.keypoints, detections.area, images_detected, falloff, min(NMS_THRESHOLDS))
    scores = instance_scores(detections)
    kept = near.kept(scores, NMS_THRESHOLD)
    among = kept & detections.confident()

    of_split = main_numbers(known, detections, scores, kept, paired, annotations)
    metrics = coco.average_precision(known, detections, scores, kept, paired, annotations, counts)
    check_equal(of_split, metrics, predictions.source)
    protocol, curves = {**PROTOCOL, "evaluator": MAIN_EVALUATOR}, {}
    precision, main = metrics["AP"], metrics["AP"]
    if known.evaluator == "pck":
        of_truth, curves["pck"] = _pck(on_truth, annotations, counts)
        metrics, main = {**of_truth, **metrics}, of_truth["PCK"]
        protocol |= {"pck": lsp.EVALUATOR, "boxes": "derived"}

    meant = meant_persons(pairs, scores, among)
    (judged,) = np.nonzero(meant != NOBODY)
    diagnosis = diagnose(
        detections.keypoints[judged], meant[judged], annotations, place(annotations.image_id), joints
    )

    def main_metric(rows: np.ndarray, moved: np.ndarray) -> np.ndarray:
        if known.evaluator == "pck":
            return _pck(_moved(detections, judged[rows], moved), annotations, counts)[0]["PCK"]
        again = pairs.moved(judged[rows], moved.astype(np.float32), annotations, falloff)
        return average_precision(again, scores, among, counts)

    study = {
        "errors": diagnosis.shares(images_detected[judged], counts),
        "errors.gain": diagnosis.gains(main, main_metric),
        "ordering": lost_to_ordering(pairs, among, precision, counts),
    }

    quality = keypoint_quality(on_truth, persons, annotations, falloff)
    poses = detection_pairs(pairs, scores, kept)
    second = second_half(known.name, len(counts))

    def calibrated(of_type: bool) -> Numbers:
        of_truth, of_detections = (
            cross_fitted(isotonic, of_type, each.confidence, second[at], quality, second[images])
            for each, at in ((on_truth, images), (detections, images_detected))
        )
        told, rescored = replace(quality, confidence=of_truth), replace(detections, confidence=of_detections)
        by_rank = instance_scores(rescored)
        ranked = near.kept(by_rank, NMS_THRESHOLD)
        confident = ranked & rescored.confident()
        precision = average_precision(pairs, by_rank, confident, counts)
        ordering = lost_to_ordering(pairs, confident, precision, counts)
        scored = detection_pairs(pairs, by_rank, ranked)
        on_boxes = {}
        if known.detections:  # else they are those of the detections
            annotated = told.pose_pairs(instance_scores(replace(on_truth, confidence=of_truth)))
            on_boxes["pose_on_truth_spearman"] = spearman_of_halves(annotated, images, second, counts)
        return {
            **on_boxes,
            "keypoint_spearman": spearman_of_halves(told.pairs(), images, second, counts),
            "pose_spearman": spearman_of_halves(scored, images_detected, second, counts),
            "AP": precision,
            "AP_lost": ordering["AP_lost"],
            "AP_own_threshold": _best(keypoint_score_curve(pairs, near, rescored)),
        }

    compared = _by_type(quality, images, second, counts)
    compared |= {f"calibrated.{fit}": calibrated(of_type) for fit, of_type in CALIBRATIONS.items()}
    confidence = _confidence(quality, poses, joints, compared)
    thresholds = threshold_curves(pairs, near, detections)
    if known.detections:
        # By the box alone: the choice must not look at the pose, whose quality is asked for.
        held = detections.take(kept)
        rows, persons = persons_in_boxes(held, annotations, BOX_THRESHOLD, ~annotations.ignored)
        detected = keypoint_quality(held.take(rows), persons, annotations, falloff)
        confidence["keypoint_on_detections"] = detected.pairs().correlations()
        confidence["pose_on_truth"] = quality.pose_pairs(instance_scores(on_truth)).correlations()
    levels = {"keypoint": (quality.pairs(), images), "pose": (poses, images_detected)}
    return {
        "metrics": _of_the_split({**metrics, **{name: np.array([each]) for name, each in of_split.items()}}),
        "confidence": confidence,
        "diagnosis": {
            "errors": _errors(study, diagnosis),
            "ordering": _of_the_split(
                {**study["ordering"], "AP_own_threshold": _best(thresholds["keypoint_score"]["AP"])}
            ),
            "thresholds": thresholds,
            **curves,
        },
        "protocol": protocol,
        "bootstrap": _bootstrap(metrics, compared, levels, study, counts),
    }


def _moved(predictions: Predictions, rows: np.ndarray, keypoints: np.ndarray) -> Predictions:
    """With other keypoints of some predictions."""
    every = predictions.keypoints.copy()
    every[rows] = keypoints
    return replace(predictions, keypoints=every)


def _pck(
    predictions: Predictions, annotations: Annotations, counts: np.ndarray
) -> tuple[Numbers, dict[str, list[float]]]:
    """PCK, AUC and PCP on LSP, and the curve of PCK."""
    images = np.searchsorted(np.unique(annotations.known_images), annotations.image_id)
    torsos = lsp.torso_lengths(annotations)
    judgement = judge(predictions, annotations, torsos, images, lsp.LIMITS)
    metrics = lsp.pck(judgement, counts)
    metrics["PCP"] = lsp.pcp(predictions, annotations, judgement, counts)
    curve = lsp.pck_curve(judgement, counts[:, :1])[:, 0]
    return metrics, {"limit": list(lsp.LIMITS), "share": curve.tolist()}


EVALUATORS = {
    **dict.fromkeys(("keypoints", "keypoints_crowd", "keypoints_wholebody", "pck"), _on_detections),
    "pckh": _on_truth,
}
"""What scores predictions, by the ``evaluator`` of a dataset; of COCO's, the name is its ``iouType``."""


def _counts(known: Dataset, images: int) -> np.ndarray:
    """How often each image occurs in the split as it is and in the draws, int32 ``[I, 1 + R]``."""
    return np.insert(draws(known.name, images), 0, 1, axis=1)


def _of_the_split(numbers: Numbers) -> dict[str, float | None]:
    return {name: None if np.isnan(values[0]) else float(values[0]) for name, values in numbers.items()}


def _errors(study: dict[str, Numbers], diagnosis: Diagnosis) -> dict[str, Any]:
    shares, gains = _of_the_split(study["errors"]), _of_the_split(study["errors.gain"])
    return {**shares, "gain": gains, "keypoints": int((diagnosis.kind != NOT_JUDGED).sum())}


def _best(curve: list[float | None]) -> np.ndarray:
    """The highest AP of a curve, of the split alone, ``[1]``."""
    return np.array(curve, dtype=float).max(keepdims=True)


def _by_type(
    quality: KeypointQuality, images: np.ndarray, second: np.ndarray, counts: np.ndarray
) -> dict[str, Numbers]:
    """Spearman's rho within types, and with one constant a type; ``images`` are those of the predictions."""
    half = second[images]
    scaled = cross_fitted(constant, True, quality.confidence, half, quality, half)
    pairs = replace(quality, confidence=scaled).pairs()
    return {
        "within_types": {"spearman": quality.within_types(images, counts)},
        "type_constants": {"spearman": spearman_of_halves(pairs, images, second, counts)},
    }


def _confidence(
    quality: KeypointQuality, poses: Pairs, joints: KeypointSet, compared: dict[str, Numbers]
) -> dict[str, Any]:
    keypoints = quality.pairs()
    types = [quality.pairs(slice(index, index + 1)).correlations() for index in range(len(joints))]
    return {
        "keypoint": keypoints.correlations(),
        "pose": poses.correlations(),
        "keypoint_types": dict(zip(joints.names, types, strict=True)),
        **{level: _of_the_split(compared[level]) for level in ("within_types", "type_constants")},
        "calibrated": {fit: _of_the_split(compared[f"calibrated.{fit}"]) for fit in CALIBRATIONS},
        "between_types": {"spearman": quality.between_types().correlations()["spearman"]},
        "calibration": {"keypoint": keypoints.calibration(), "pose": poses.calibration()},
    }


def _bootstrap(
    metrics: Numbers,
    compared: dict[str, Numbers],
    levels: dict[str, tuple[Pairs, np.ndarray]],
    study: dict[str, Numbers],
    counts: np.ndarray,
) -> dict[str, Any]:
    """``levels`` are pairs of confidence and quality with the index of each prediction's image."""
    replicates = {f"metrics.{name}": values[1:] for name, values in metrics.items()}
    replicates |= {
        f"confidence.{branch}.{name}": values[1:]
        for branch, numbers in compared.items()
        for name, values in numbers.items()
        if len(values) > 1
    }
    for level, (pairs, image) in levels.items():
        for name, replicate in (("spearman", spearman), ("pearson", pearson)):
            replicates[f"confidence.{level}.{name}"] = replicate(
                pairs.confidence, pairs.quality, image[pairs.row], counts[:, 1:]
            )
    unpaired = {
        f"diagnosis.{branch}.{name}": values[1:]
        for branch, numbers in study.items()
        for name, values in numbers.items()
    }
    return summary(replicates, unpaired, len(counts))
