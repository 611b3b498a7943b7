"""Localisation errors after Ronchi and Perona: hand-made ones, the definition as a loop, the official AP."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders.datasets import noisy_predictions, official_ap, suppressed_detections, with_noise, write_dataset

from rspose.datasets import DATASETS, KeypointSet
from rspose.datasets.annotations import Annotations, read_annotations
from rspose.datasets.coco import COCO
from rspose.datasets.crowdpose import CROWDPOSE
from rspose.evaluation.controls import oracle
from rspose.evaluation.errors import ERRORS, KINDS, Diagnosis, diagnose, meant_persons
from rspose.evaluation.evaluate import evaluate_predictions
from rspose.evaluation.matching import candidates
from rspose.evaluation.predictions import Predictions
from rspose.tools import official

pytestmark = pytest.mark.usefixtures("few_replicates")

AREA = 100.0**2
ONCE = np.ones((1, 1), dtype=np.int32)  # one image, drawn once


def persons(joints: KeypointSet, count: int = 2) -> Annotations:
    """Persons of one image with all joints labelled, far from each other."""
    places = np.stack(np.meshgrid(np.arange(len(joints)), np.arange(count)), axis=-1) * 1000.0
    return Annotations(
        path=Path("made.json"),
        content=None,
        known_images=np.array([1]),
        image_names=["made.jpg"],
        image_sizes=np.array([[100.0, 100.0]]),
        image_id=np.full(count, 1),
        annotation_id=np.arange(count),
        box=np.tile([0.0, 0, 100, 100], (count, 1)),
        area=np.full(count, AREA),
        keypoints=places,
        flags=np.full((count, len(joints)), 2),
        ignored=np.zeros(count, dtype=bool),
        crowd=np.zeros(count, dtype=bool),
    )


def reach(joints: KeypointSet, joint: int, similarity: float) -> float:
    """Distance from a joint in pixels at which the similarity to it is this."""
    return math.sqrt(-2 * AREA * math.log(similarity)) * 2 * joints.sigmas[joint]


def similarity_at(joints: KeypointSet, joint: int, distance: float) -> float:
    return math.exp(-(distance**2) / (2 * AREA * (2 * joints.sigmas[joint]) ** 2))


@pytest.mark.parametrize(
    ("person", "name", "similarity", "kind", "left"),
    [
        (0, "left_wrist", 0.99, "good", None),
        (0, "left_wrist", 0.86, "good", None),
        (0, "left_wrist", 0.84, "jitter", 0.85),
        (0, "left_wrist", 0.51, "jitter", 0.85),
        (0, "left_wrist", 0.49, "miss", 0.5),
        (0, "left_wrist", 0.01, "miss", 0.5),
        (0, "right_wrist", 0.9, "inversion", 0.9),
        (0, "right_wrist", 0.51, "inversion", 0.51),
        (0, "right_wrist", 0.49, "miss", 0.5),
        (1, "left_wrist", 0.8, "swap", 0.8),
        (1, "right_wrist", 0.6, "swap", 0.6),
        (1, "left_wrist", 0.4, "miss", 0.5),
        (0, "left_knee", 0.9, "miss", 0.5),  # a wrong joint that is not the mirrored one
    ],
)
@pytest.mark.parametrize("joints", [COCO.keypoints, CROWDPOSE.keypoints], ids=["coco", "crowdpose"])
def test_a_wrist_at_a_joint_has_the_error_of_that_joint(
    joints: KeypointSet, person: int, name: str, similarity: float, kind: str, left: float | None
) -> None:
    annotations = persons(joints)
    wrist, near = joints.names.index("left_wrist"), joints.names.index(name)
    predicted = annotations.keypoints[:1].copy()
    predicted[0, wrist] = annotations.keypoints[person, near] + [0, reach(joints, wrist, similarity)]
    found = diagnose(predicted, np.array([0]), annotations, annotations.image_id, joints)
    expected = ["good"] * len(joints)
    expected[wrist] = kind
    assert [KINDS[index] for index in found.kind[0]] == expected
    # The repair: towards the truth, no nearer than what the error leaves.
    truth, before, after = annotations.keypoints[0, wrist], predicted[0, wrist], found.repaired[0, wrist]
    if left is None:
        assert after == pytest.approx(before)
    else:
        distance = np.linalg.norm(after - truth)
        assert similarity_at(joints, wrist, distance) == pytest.approx(left)
        assert after - truth == pytest.approx((before - truth) * distance / np.linalg.norm(before - truth))
    others = np.arange(len(joints)) != wrist
    np.testing.assert_array_equal(found.repaired[0, others], predicted[0, others])


def test_what_has_no_label_or_means_nobody_is_not_judged() -> None:
    annotations = persons(COCO.keypoints)
    annotations.labelled[0, 3:] = False
    # Nor does a joint without a label attract: it would be a swap.
    annotations.labelled[1, 2] = False
    predicted = np.concatenate([annotations.keypoints[:1], annotations.keypoints[1:]])
    predicted[0, 2] = annotations.keypoints[1, 2]
    found = diagnose(predicted, np.array([0, -1]), annotations, annotations.image_id, COCO.keypoints)
    assert [KINDS[index] for index in found.kind[0, :3]] == ["good", "good", "miss"]
    assert (found.kind[0, 3:] == -1).all()
    assert (found.kind[1] == -1).all()
    shares = {name: share for name, (share,) in found.shares(np.zeros(2, int), ONCE).items()}
    assert shares == pytest.approx({"good": 2 / 3, "jitter": 0, "inversion": 0, "swap": 0, "miss": 1 / 3})


def test_persons_of_other_images_cause_no_swap() -> None:
    annotations = persons(COCO.keypoints)
    predicted = annotations.keypoints[[1]]
    same, apart = (
        diagnose(predicted, np.array([0]), annotations, image, COCO.keypoints)
        for image in (np.array([1, 1]), np.array([1, 2]))
    )
    assert same.shares(np.zeros(1, int), ONCE)["swap"] == 1
    assert apart.shares(np.zeros(1, int), ONCE)["miss"] == 1


def naive_kind(
    joints: KeypointSet, place: np.ndarray, joint: int, person: int, annotations: Annotations
) -> str:
    """The definition, a joint of a person at a time."""
    mirrored = joints.flip_indices[joint]
    candidates = []
    for other in np.flatnonzero(annotations.image_id == annotations.image_id[person]):
        for kind in {joint, mirrored}:
            if annotations.labelled[other, kind]:
                squared = float(((place - annotations.keypoints[other, kind]) ** 2).sum())
                variance = annotations.area[other] * (2 * joints.sigmas[joint]) ** 2
                who = "swap" if other != person else "true" if kind == joint else "inversion"
                candidates.append((math.exp(-squared / (2 * variance)), who))
    similarity, who = max(candidates)
    if similarity < 0.5:
        return "miss"
    if who != "true":
        return who
    return "good" if similarity >= 0.85 else "jitter"


def diagnosed(
    dataset: str, kept: Predictions, scores: np.ndarray, annotations: Annotations
) -> tuple[np.ndarray, Diagnosis]:
    """The persons that detections mean, and their errors."""
    joints = DATASETS[dataset].keypoints
    meant = meant_persons(candidates(DATASETS[dataset], kept, annotations)[""], scores, kept.confident())
    return meant, diagnose(kept.keypoints, meant, annotations, annotations.image_id, joints)


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_kinds_follow_the_definition(dataset: str, tmp_path: Path) -> None:
    predictions = noisy_predictions(tmp_path, dataset, seed=1, images=15)
    joints, annotations = DATASETS[dataset].keypoints, read_annotations(dataset, tmp_path, "val")
    kept, scores = official.suppressed(predictions, DATASETS[dataset])
    meant, found = diagnosed(dataset, kept, scores, annotations)
    judged = 0
    for row, joint in np.ndindex(found.kind.shape):
        if meant[row] < 0 or not annotations.labelled[meant[row], joint]:
            assert found.kind[row, joint] == -1
        else:
            expected = naive_kind(joints, kept.keypoints[row, joint], joint, meant[row], annotations)
            assert KINDS[found.kind[row, joint]] == expected
            judged += 1
    assert judged > 100
    errors = evaluate_predictions(dataset, predictions, tmp_path)["diagnosis"]["errors"]
    assert errors["keypoints"] == judged
    for index, kind in enumerate(KINDS):
        assert errors[kind] == pytest.approx((found.kind == index).sum() / judged)
        assert errors[kind] > 0


def test_a_detection_means_the_person_that_the_evaluator_gives_it_at_an_oks_of_a_tenth(
    tmp_path: Path,
) -> None:
    write_dataset(tmp_path, "coco", seed=2, images=15)
    annotations = read_annotations("coco", tmp_path, "val")
    person = int(np.flatnonzero(~annotations.ignored)[0])
    truth = oracle("coco", tmp_path)
    poses = truth.take(np.flatnonzero(truth.annotation_id == annotations.annotation_id[person])[[0, 0, 0]])
    poses.keypoints[1] += 5000
    pairs, three = candidates(COCO, poses, annotations)[""], np.full(3, True)
    # The best-scored one gets the person; the second copy and the one far off mean nobody.
    assert meant_persons(pairs, np.array([0.9, 0.8, 0.7]), three).tolist() == [person, -1, -1]
    assert meant_persons(pairs, np.array([0.5, 0.8, 0.7]), three).tolist() == [-1, -1, person]


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_gains_are_what_the_evaluator_says_of_the_repaired_keypoints(dataset: str, tmp_path: Path) -> None:
    kept, scores, annotations = suppressed_detections(tmp_path, dataset, seed=3)
    _, diagnosis = diagnosed(dataset, kept, scores, annotations)
    predictions = with_noise(oracle(dataset, tmp_path), seed=3)
    result = evaluate_predictions(dataset, predictions, tmp_path)
    gain = result["diagnosis"]["errors"]["gain"]
    for name, errors in (*((error, (error,)) for error in ERRORS), ("all", ERRORS)):
        wrong = np.isin(diagnosis.kind, [KINDS.index(error) for error in errors])
        moved = replace(kept, keypoints=np.where(wrong[..., None], diagnosis.repaired, kept.keypoints))
        after = official_ap(dataset, moved, scores, tmp_path)
        assert gain[name] == pytest.approx(after - result["metrics"]["AP"], abs=1e-12)
    assert gain["all"] > max(gain[error] for error in ERRORS) > 0.01


def test_gains_on_mpii_are_in_pckh_and_swaps_are_found_by_image(tmp_path: Path) -> None:
    write_dataset(tmp_path, "mpii", seed=4)
    annotations = read_annotations("mpii", tmp_path, "val")
    names = [person["image"] for person in annotations.content]
    assert len(set(names)) < len(names)
    predictions = oracle("mpii", tmp_path)
    # The first person's pose is predicted in the second one's box, in the same image.
    assert names[0] == names[1]
    predictions.keypoints[1] = annotations.keypoints[0]
    result = evaluate_predictions("mpii", predictions, tmp_path)
    errors = result["diagnosis"]["errors"]
    both = annotations.labelled[0] & annotations.labelled[1]
    assert errors["keypoints"] == annotations.labelled.sum()
    assert round(errors["swap"] * errors["keypoints"]) >= both.sum() - 2
    perfect = evaluate_predictions("mpii", oracle("mpii", tmp_path), tmp_path)["metrics"]["PCKh"]
    assert result["metrics"]["PCKh"] < perfect
    assert 0 < errors["gain"]["swap"] <= errors["gain"]["all"] <= perfect - result["metrics"]["PCKh"] + 1e-12
    assert errors["gain"]["jitter"] == 0


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii"])
def test_the_truth_has_no_errors_and_nothing_to_gain(dataset: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, dataset, seed=5)
    errors = evaluate_predictions(dataset, oracle(dataset, tmp_path), tmp_path)["diagnosis"]["errors"]
    if dataset == "mpii":
        assert errors["good"] == 1
    assert errors["good"] > 0.9  # random persons stand in each other, and boxes pick the wrong one at times
    assert errors["gain"]["jitter"] < 0.02
