"""Predictions that need no model, between which every model's score should lie.

``oracle`` says what the boxes allow: the truth, wherever a box found a person. ``mean_pose`` says what the
boxes alone are worth: the mean training pose in every box.
"""

from pathlib import Path
from typing import Any

import numpy as np

from rspose.datasets import dataset
from rspose.datasets.annotations import Annotations, read_annotations, read_detections
from rspose.evaluation.matching import persons_in_boxes
from rspose.evaluation.predictions import Predictions

# Padding of the crop in mmpose's top-down configs; the area of a prediction is that of the padded box.
_PADDING = 1.25
# A detection that overlaps nobody by this much (intersection over union) has found nobody.
_FOUND = 0.1


def oracle(name: str, data_root: str | Path, least_keypoints: int | None = None) -> Predictions:
    """The true keypoints in every box, with confidence 1.

    A detection gets the keypoints of the annotated person whose box has the highest intersection over union
    with its own; it keeps the mean pose where that is below 0.1. A person's keypoints without a label are
    those of the mean pose in the person's box. ``least_keypoints`` as for
    :func:`rspose.datasets.annotations.read_annotations`.

    Raises:
        FileNotFoundError: If a file of the dataset is missing.
        ValueError: If a file is damaged.
    """
    predictions, annotations, pose = _boxes_with_mean_pose(name, data_root, "oracle", least_keypoints)
    truth = np.where(annotations.labelled[..., None], annotations.keypoints, _in_boxes(pose, annotations.box))
    on_truth = np.flatnonzero(predictions.annotation_id >= 0)
    persons = annotations.rows_of(predictions.annotation_id[on_truth], "oracle")
    predictions.keypoints[on_truth] = truth[persons]
    detected = np.flatnonzero(predictions.annotation_id < 0)
    anybody = np.full(len(annotations), True)
    rows, persons = persons_in_boxes(predictions.take(detected), annotations, _FOUND, anybody)
    predictions.keypoints[detected[rows]] = truth[persons]
    return predictions


def mean_pose(name: str, data_root: str | Path, least_keypoints: int | None = None) -> Predictions:
    """The mean training pose in every box, with confidence 1; otherwise as :func:`oracle`."""
    return _boxes_with_mean_pose(name, data_root, "mean_pose", least_keypoints)[0]


def normalised_mean_pose(annotations: Annotations) -> np.ndarray:
    """Mean place of each keypoint in its person's box, 0 to 1 from corner to corner, ``[K, 2]``.

    Only labelled keypoints count; one that nobody labelled stands in the middle of the box.
    """
    usable = _has_pose(annotations)
    box, labelled = annotations.box[usable, None], annotations.labelled[usable, :, None]
    places = (annotations.keypoints[usable] - box[..., :2]) / box[..., 2:]
    count = labelled.sum(axis=0)
    total = np.where(labelled, places, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), 0.5)


def _has_pose(annotations: Annotations) -> np.ndarray:
    """Persons with labels and a box that has an extent, bool ``[N]``."""
    return ~annotations.ignored & (annotations.box[:, 2:].min(axis=1) > 0)


def _in_boxes(pose: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The pose ``[K, 2]`` in each box, pixels ``[N, K, 2]``."""
    return box[:, None, :2] + pose * box[:, None, 2:]


def _boxes_with_mean_pose(
    name: str, data_root: str | Path, control: str, least_keypoints: int | None
) -> tuple[Predictions, Annotations, np.ndarray]:
    """The mean pose in all boxes that a model is asked about, the annotations, and the normalised pose."""
    known, annotations = dataset(name), read_annotations(name, data_root, "val")
    pose = normalised_mean_pose(read_annotations(name, data_root, "train", least_keypoints))
    # PCKh wants everybody.
    usable = _has_pose(annotations) if known.evaluator != "pckh" else np.full(len(annotations), True)
    of_truth = (annotations.image_id, annotations.annotation_id, annotations.box, np.ones(len(annotations)))
    boxes = [[column[usable] for column in of_truth]]
    protocol: dict[str, Any] = {"dataset": known.name, "split": "val", "control": control}
    protocol["annotation_file"] = Path(known.annotations["val"]).name
    if known.detections is not None:
        found = read_detections(known.name, data_root)
        annotations.check_images(found.image_id, str(found.path))
        boxes.append([found.image_id, np.full(len(found.image_id), -1), found.box, found.score])
        protocol["detection_file"] = found.path.name
    image_id, annotation_id, box, score = map(np.concatenate, zip(*boxes, strict=True))
    predictions = Predictions(
        image_id=image_id,
        annotation_id=annotation_id,
        box=box,
        area=_PADDING**2 * box[:, 2] * box[:, 3],
        box_score=score,
        keypoints=_in_boxes(pose, box),
        confidence=np.ones((len(box), len(pose))),
        protocol=protocol,
        source=control,
    )
    return predictions, annotations, pose
