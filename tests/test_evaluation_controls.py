"""The controls: what the boxes allow, and what they are worth alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from builders.datasets import detection, naive_overlap, write_dataset, write_json

from rspose.datasets import DATASETS
from rspose.datasets.annotations import read_annotations
from rspose.evaluation.controls import mean_pose, normalised_mean_pose, oracle
from rspose.evaluation.evaluate import evaluate, evaluate_predictions

pytestmark = pytest.mark.usefixtures("few_replicates")

ALL = ("coco", "crowdpose", "mpii", "wholebody")


def detect_perfectly(root: Path, dataset: str) -> None:
    """Detections: the box of every person with labels, some twice."""
    persons = json.loads((root / DATASETS[dataset].annotations["val"]).read_text())["annotations"]
    rng = np.random.default_rng(0)
    boxes = [
        detection(person["image_id"], person["bbox"], rng.uniform(0.5, 1))
        for person in persons
        if any(person["keypoints"][2::3])
    ]
    write_json(root / DATASETS[dataset].detections, boxes + boxes[::3])


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii"])
def test_oracle_on_perfect_boxes_is_perfect(dataset: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, dataset, seed=1)
    if dataset != "mpii":
        detect_perfectly(tmp_path, dataset)
    metrics = evaluate_predictions(dataset, oracle(dataset, tmp_path), tmp_path)["metrics"]
    assert metrics == {name: pytest.approx(1, abs=1e-9) for name in metrics}


@pytest.mark.parametrize("dataset", ALL)
def test_mean_pose_is_far_below_the_oracle(dataset: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, dataset, seed=3)
    name = "PCKh" if dataset == "mpii" else "AP"
    best, worst = (
        evaluate_predictions(dataset, control(dataset, tmp_path), tmp_path)["metrics"][name]
        for control in (oracle, mean_pose)
    )
    assert worst < 0.3 < best


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_oracle_gives_a_detection_the_person_it_overlaps_most(dataset: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, dataset, seed=4)
    annotations = read_annotations(dataset, tmp_path, "val")
    truth, mean = oracle(dataset, tmp_path).detections(), mean_pose(dataset, tmp_path).detections()
    found = missed = 0
    for row in range(len(truth)):
        persons = np.flatnonzero(annotations.image_id == truth.image_id[row])
        overlaps = [naive_overlap(truth.box[row], annotations.box[person]) for person in persons]
        if max(overlaps, default=0) < 0.1:
            np.testing.assert_array_equal(truth.keypoints[row], mean.keypoints[row])
            missed += 1
        else:
            person = persons[np.argmax(overlaps)]
            seen = annotations.labelled[person]
            expected = annotations.keypoints[person][seen]
            np.testing.assert_allclose(truth.keypoints[row][seen], expected, rtol=1e-6)
            found += 1
    assert found > 20
    assert missed > 20


@pytest.mark.parametrize("dataset", ALL)
def test_oracle_is_the_truth_on_ground_truth_boxes(dataset: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, dataset, seed=5)
    annotations = read_annotations(dataset, tmp_path, "val")
    truth = oracle(dataset, tmp_path).ground_truth_boxes()
    wanted = np.ones(len(annotations), dtype=bool) if dataset == "mpii" else ~annotations.ignored
    np.testing.assert_array_equal(truth.annotation_id, annotations.annotation_id[wanted])
    seen = annotations.labelled[wanted]
    np.testing.assert_allclose(truth.keypoints[seen], annotations.keypoints[wanted][seen], rtol=1e-6)
    assert (truth.confidence == 1).all()


@pytest.mark.parametrize("dataset", ALL)
def test_mean_pose_is_the_mean_of_labelled_training_places(dataset: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, dataset, seed=6)
    annotations = read_annotations(dataset, tmp_path, "train")
    pose = normalised_mean_pose(annotations)
    for joint in range(pose.shape[0]):
        places = [
            (annotations.keypoints[row, joint] - annotations.box[row, :2]) / annotations.box[row, 2:]
            for row in range(len(annotations))
            if annotations.labelled[row, joint] and not annotations.ignored[row]
        ]
        np.testing.assert_allclose(pose[joint], np.mean(places, axis=0))
    predictions = mean_pose(dataset, tmp_path)
    in_box = (predictions.keypoints - predictions.box[:, None, :2]) / predictions.box[:, None, 2:]
    np.testing.assert_allclose(in_box, np.broadcast_to(pose, in_box.shape), atol=1e-4)
    assert np.ptp(predictions.confidence) == 0


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_mean_pose_is_right_where_all_poses_are_alike(dataset: str, tmp_path: Path) -> None:
    """One pose for everybody, in boxes of all sizes."""
    write_dataset(tmp_path, dataset, seed=7)
    places = np.random.default_rng(7).uniform(0, 1, (17 if dataset == "coco" else 14, 2))
    for path in DATASETS[dataset].annotations.values():
        content = json.loads((tmp_path / path).read_text())
        for person in content["annotations"]:
            x, y, width, height = person["bbox"]
            pose = np.insert([x, y] + places * [width, height], 2, 2, axis=1)
            person |= {"keypoints": pose.ravel().tolist(), "num_keypoints": len(places), "iscrowd": 0}
        write_json(tmp_path / path, content)
    detect_perfectly(tmp_path, dataset)
    metrics = evaluate_predictions(dataset, mean_pose(dataset, tmp_path), tmp_path)["metrics"]
    assert metrics["AP"] == pytest.approx(1)


@pytest.mark.parametrize("control", [oracle, mean_pose])
@pytest.mark.parametrize("dataset", ALL)
def test_controls_survive_the_file(control, dataset: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, dataset, seed=8)
    predictions = control(dataset, tmp_path)
    predictions.save(tmp_path / "predictions.npz")
    scores = evaluate(dataset, tmp_path / "predictions.npz", tmp_path)
    assert scores["protocol"]["control"] == control.__name__
    assert scores["confidence"]["keypoint"]["spearman"] is None
    assert (dataset == "mpii") == (len(predictions.detections()) == 0)


def test_a_detection_in_an_unknown_image_is_named(tmp_path: Path) -> None:
    write_dataset(tmp_path, "coco", seed=9)
    write_json(tmp_path / DATASETS["coco"].detections, [detection(31337, np.array([0.0, 0, 9, 9]), 0.5)])
    with pytest.raises(ValueError, match=r"detections_AP_H_56_person.json: image_id 31337 is not in"):
        oracle("coco", tmp_path)
