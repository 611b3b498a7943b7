"""Correlation of confidence with localisation quality, against definitions written out as loops."""

import contextlib
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from builders.datasets import detection, with_noise, write_coco_split, write_dataset, write_json
from hypothesis import given
from hypothesis import strategies as st
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

from rspose.datasets import DATASETS
from rspose.datasets.annotations import Annotations, read_annotations
from rspose.evaluation.confidence import calibration_curve, correlations
from rspose.evaluation.controls import oracle
from rspose.evaluation.detections import instance_scores, rescore_and_suppress
from rspose.evaluation.evaluate import evaluate_predictions
from rspose.evaluation.oks import oks_to_persons
from rspose.evaluation.predictions import Predictions


def naive_kendall(first: np.ndarray, second: np.ndarray) -> float:
    """Tau-b: concordant minus discordant pairs over the geometric mean of the pairs untied in either."""
    balance = untied_first = untied_second = 0
    for i in range(len(first)):
        a, b = np.sign(first[i] - first[:i]), np.sign(second[i] - second[:i])
        balance += (a * b).sum()
        untied_first += np.count_nonzero(a)
        untied_second += np.count_nonzero(b)
    return balance / math.sqrt(untied_first * untied_second)


def naive_spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson correlation of the ranks, ties sharing their mean rank."""
    ranks = [
        [np.sum(values < value) + np.sum(values == value) / 2 for value in values]
        for values in (first, second)
    ]
    return float(np.corrcoef(ranks)[0, 1])


def assert_correlated(found: dict, confidence: Sequence[float], quality: Sequence[float]) -> None:
    """The number of pairs and every correlation that ``found`` holds are those of the definitions."""
    first, second = np.asarray(confidence, dtype=float), np.asarray(quality, dtype=float)
    assert found["n"] == len(first)
    assert found["spearman"] == pytest.approx(naive_spearman(first, second), abs=1e-9)
    assert found["kendall"] == pytest.approx(naive_kendall(first, second), abs=1e-9)
    if "pearson" in found:
        assert found["pearson"] == pytest.approx(np.corrcoef(first, second)[0, 1])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=25))
def test_correlations_follow_their_definitions(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=float).T
    result = correlations(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert result == {"spearman": None, "kendall": None, "n": len(pairs), "pearson": None}
    else:
        assert_correlated(result, first, second)


def test_correlations_by_hand() -> None:
    confidence = np.array([0.1, 0.2, 0.3, 0.4])
    same = correlations(confidence, confidence**3)
    assert (same["spearman"], same["kendall"], same["n"]) == (1.0, 1.0, 4)
    swapped = correlations(confidence, np.array([0.1, 0.3, 0.2, 0.4]))
    assert swapped["spearman"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert swapped["kendall"] == pytest.approx((5 - 1) / 6)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pairs_have_no_correlation(count: int) -> None:
    expected = {"spearman": None, "kendall": None, "n": count, "pearson": None}
    assert correlations(np.zeros(count), np.ones(count)) == expected


def naive_similarity(dataset: str, pose: np.ndarray, annotations: Annotations, row: int) -> np.ndarray:
    """exp(-d^2 / (2 s^2 k^2)) of each labelled keypoint, NaN of the others."""
    squared = ((pose - annotations.keypoints[row]) ** 2).sum(axis=-1)
    sigmas = np.array(DATASETS[dataset].keypoints.sigmas)
    similarity = np.exp(-squared / (2 * annotations.area[row] * (2 * sigmas) ** 2))
    return np.where(annotations.labelled[row], similarity, np.nan)


def on_truth(dataset: str, root: Path, seed: int) -> tuple[dict, Predictions, np.ndarray, Annotations]:
    """What is said of the confidences, and the similarities ``[N, K]`` of the poses on ground-truth boxes."""
    predictions, annotations = make(dataset, root, seed)
    poses = predictions.ground_truth_boxes()
    row_of = {int(identity): row for row, identity in enumerate(annotations.annotation_id)}
    similarity = [
        naive_similarity(dataset, pose, annotations, row_of[int(identity)])
        for pose, identity in zip(poses.keypoints, poses.annotation_id, strict=True)
    ]
    found = evaluate_predictions(dataset, predictions, root)["confidence"]
    return found, poses, np.array(similarity), annotations


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii", "wholebody"])
def test_keypoint_level_is_confidence_against_similarity_on_labelled_keypoints(
    dataset: str, tmp_path: Path
) -> None:
    found, poses, similarity, annotations = on_truth(dataset, tmp_path, seed=1)
    known = ~np.isnan(similarity)
    assert_correlated(found["keypoint"], poses.confidence[known], similarity[known])
    assert found["keypoint"]["n"] == annotations.labelled[~annotations.ignored].sum()
    assert 0.1 < found["keypoint"]["spearman"] < 0.95
    if dataset == "mpii":
        of_person = [row.mean() for row in poses.confidence], np.nanmean(similarity, axis=1)
        assert_correlated(found["pose"], *of_person)
        assert found["pose"]["n"] == len(annotations)


def make(dataset: str, root: Path, seed: int) -> tuple[Predictions, Annotations]:
    write_dataset(root, dataset, seed, images=15)
    return with_noise(oracle(dataset, root), seed), read_annotations(dataset, root, "val")


def official_oks(dataset: str, kept: Predictions, scores: np.ndarray, root: Path) -> COCOeval:
    """The evaluator after it has computed the OKS of all pairs."""
    triplets = np.concatenate([kept.keypoints, np.ones_like(kept.keypoints[..., :1])], axis=-1)
    results = [
        {
            "image_id": int(image_id),
            "category_id": 1,
            "keypoints": pose.ravel().tolist(),
            "score": float(score),
        }
        for image_id, pose, score in zip(kept.image_id, triplets, scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(root / DATASETS[dataset].annotations["val"]))
        evaluator = COCOeval(
            truth,
            truth.loadRes(results),
            "keypoints" if dataset == "coco" else "keypoints_crowd",
            np.array(DATASETS[dataset].keypoints.sigmas),
            use_area=dataset == "coco",
        )
        evaluator.evaluate()
    return evaluator


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_oks_equals_the_evaluators(dataset: str, tmp_path: Path) -> None:
    predictions, annotations = make(dataset, tmp_path, seed=2)
    kept, scores = rescore_and_suppress(predictions.detections(), DATASETS[dataset].keypoints.falloff)
    evaluator = official_oks(dataset, kept, scores, tmp_path)
    compared = 0
    for image_id in annotations.known_images:
        rows = np.flatnonzero(kept.image_id == image_id)
        rows = rows[np.argsort(-scores[rows], kind="stable")][:20]
        persons = np.flatnonzero(annotations.image_id == image_id)
        expected = evaluator.ious[int(image_id), 1]
        if len(expected):
            ours = oks_to_persons(
                kept.keypoints[rows],
                annotations.keypoints[persons],
                annotations.labelled[persons],
                annotations.area[persons],
                annotations.box[persons],
                DATASETS[dataset].keypoints.falloff,
            )
            np.testing.assert_allclose(ours, expected, atol=1e-9)
            compared += expected.size
    assert compared > 50
    assert annotations.ignored.any()


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_pose_level_is_score_against_best_oks(dataset: str, tmp_path: Path) -> None:
    predictions, annotations = make(dataset, tmp_path, seed=3)
    kept, scores = rescore_and_suppress(predictions.detections(), DATASETS[dataset].keypoints.falloff)
    evaluator = official_oks(dataset, kept, scores, tmp_path)
    counted, quality, excused = [], [], 0
    for image_id in annotations.known_images:
        in_image = sorted(scores[kept.image_id == image_id], reverse=True)
        oks = evaluator.ious[int(image_id), 1]
        ignored = annotations.ignored[annotations.image_id == image_id]
        for rank, score in enumerate(in_image):
            against = np.array(oks[rank]) if len(oks) else np.zeros(0)
            best, on_ignored = (against[which].max(initial=0.0) for which in (~ignored, ignored))
            if best < 0.5 <= on_ignored:
                excused += 1
            else:
                counted.append(score)
                quality.append(best)
    assert excused > 0
    assert 0.0 in quality  # images without persons
    found = evaluate_predictions(dataset, predictions, tmp_path)["confidence"]["pose"]
    assert_correlated(found, counted, quality)


@pytest.mark.parametrize(("oks", "counted"), [(0.45, 0), (0.55, 1)])
def test_a_detection_on_an_unlabelled_person_counts_only_if_it_fits_another(
    oks: float, counted: int, tmp_path: Path
) -> None:
    """A person with one label, and around it one without: the evaluator excuses what misses the first."""
    keypoints = np.zeros((17, 3))
    keypoints[0] = [100, 100, 2]
    person = {"image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [50, 50, 100, 100], "area": 10_000.0}
    labelled = person | {"id": 1, "num_keypoints": 1, "keypoints": keypoints.ravel().tolist()}
    unlabelled = person | {"id": 2, "num_keypoints": 0, "keypoints": [0.0] * 51}
    for split in ("train", "val"):
        write_coco_split(tmp_path, "coco", split, [{"id": 1, "file_name": "1.jpg"}], [labelled, unlabelled])
    write_json(tmp_path / DATASETS["coco"].detections, [detection(1, np.array(person["bbox"]), 0.9)])
    predictions = oracle("coco", tmp_path)
    nose_falloff = 2 * 0.026
    predictions.keypoints[:] = 100
    predictions.keypoints[:, 0, 0] += 100 * nose_falloff * math.sqrt(-2 * math.log(oks))
    assert evaluate_predictions("coco", predictions, tmp_path)["confidence"]["pose"]["n"] == counted


def test_no_more_than_twenty_detections_of_an_image_count(tmp_path: Path) -> None:
    predictions, _ = make("coco", tmp_path, seed=4)
    one_image = predictions.detections().take(np.zeros(60, dtype=np.int64))
    one_image.keypoints += 300 * np.random.default_rng(0).uniform(size=one_image.keypoints.shape).astype(
        np.float32
    )
    one_image.box_score[:] = np.linspace(0.1, 1, 60)
    one_image.confidence[:] = 0.5
    assert evaluate_predictions("coco", one_image, tmp_path)["confidence"]["pose"]["n"] == 20


@pytest.mark.parametrize("dataset", ["coco", "mpii"])
def test_keypoint_correlations_ignore_the_scale_of_confidence_and_a_constant_has_none(
    dataset: str, tmp_path: Path
) -> None:
    predictions, _ = make(dataset, tmp_path, seed=6)
    before = evaluate_predictions(dataset, predictions, tmp_path)["confidence"]["keypoint"]
    predictions.confidence = 0.1 + 0.8 * predictions.confidence**2
    after = evaluate_predictions(dataset, predictions, tmp_path)["confidence"]["keypoint"]
    assert after["spearman"] == pytest.approx(before["spearman"], abs=1e-3)
    assert after["kendall"] == pytest.approx(before["kendall"], abs=1e-3)
    predictions.confidence[:] = 0.5
    constant = evaluate_predictions(dataset, predictions, tmp_path)["confidence"]["keypoint"]
    assert constant["spearman"] is None and constant["kendall"] is None
    assert constant["n"] > 100


def test_pearson_takes_the_confidence_as_it_is() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(size=50)
    quality = confidence**3 + 0.1 * rng.normal(size=50)
    found = correlations(confidence, quality)
    assert found["pearson"] == pytest.approx(np.corrcoef(confidence, quality)[0, 1])
    # Unlike the ranks, it knows a line from a curve.
    assert correlations(confidence, confidence**3)["spearman"] == pytest.approx(1)
    assert correlations(confidence, confidence**3)["pearson"] < 0.95
    assert correlations(np.full(9, 0.5), np.arange(9.0))["pearson"] is None


def test_a_calibration_curve_by_hand() -> None:
    confidence = np.array([0.0, 0.24, 0.25, 0.3, 0.99, 1.0])
    quality = np.array([0.1, 0.3, 0.5, 0.7, 0.8, 1.0])
    assert calibration_curve(confidence, quality, bins=4) == {
        "confidence": [pytest.approx(0.12), pytest.approx(0.275), None, pytest.approx(0.995)],
        "quality": [pytest.approx(0.2), pytest.approx(0.6), None, pytest.approx(0.9)],
        "count": [2, 2, 0, 2],
    }


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii"])
def test_calibration_counts_the_pairs_of_the_correlations(dataset: str, tmp_path: Path) -> None:
    predictions, _ = make(dataset, tmp_path, seed=7)
    found = evaluate_predictions(dataset, predictions, tmp_path)["confidence"]
    for level in ("keypoint", "pose"):
        curve = found["calibration"][level]
        assert sum(curve["count"]) == found[level]["n"]
        assert len(curve["count"]) == len(curve["quality"]) == 20
        for index, (count, mean) in enumerate(zip(curve["count"], curve["confidence"], strict=True)):
            assert (mean is None) == (count == 0)
            assert mean is None or index / 20 <= mean + 1e-9 <= (index + 1) / 20 + 2e-9


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii"])
def test_every_type_of_keypoint_has_its_own_correlation(dataset: str, tmp_path: Path) -> None:
    found, poses, similarity, _ = on_truth(dataset, tmp_path, seed=8)
    names = DATASETS[dataset].keypoints.names
    assert list(found["keypoint_types"]) == list(names)
    assert sum(each["n"] for each in found["keypoint_types"].values()) == found["keypoint"]["n"]
    joint = 5
    known = ~np.isnan(similarity[:, joint])
    pairs = poses.confidence[known, joint], similarity[known, joint]
    assert_correlated(found["keypoint_types"][names[joint]], *pairs)


def naive_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes x, y, width, height."""
    sides = [
        min(first[axis] + first[axis + 2], second[axis] + second[axis + 2]) - max(first[axis], second[axis])
        for axis in (0, 1)
    ]
    shared = max(sides[0], 0.0) * max(sides[1], 0.0)
    return shared / (first[2] * first[3] + second[2] * second[3] - shared)


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_keypoints_on_detections_belong_to_the_person_whose_box_they_are_in(
    dataset: str, tmp_path: Path
) -> None:
    predictions, annotations = make(dataset, tmp_path, seed=9)
    # Boxes that overlap a person by more and less.
    shift = np.random.default_rng(9).uniform(0, 0.6, (len(predictions), 1))
    predictions.box[:, :2] += (shift * predictions.box[:, 2:]).astype(np.float32)
    kept, _ = rescore_and_suppress(predictions.detections(), DATASETS[dataset].keypoints.falloff)
    confidence, quality, without = [], [], 0
    for index in range(len(kept)):
        persons = np.flatnonzero((annotations.image_id == kept.image_id[index]) & ~annotations.ignored)
        overlaps = [naive_overlap(kept.box[index], annotations.box[person]) for person in persons]
        if max(overlaps, default=0) < 0.5:
            without += 1
            continue
        person = persons[int(np.argmax(overlaps))]
        similarity = naive_similarity(dataset, kept.keypoints[index], annotations, person)
        known = ~np.isnan(similarity)
        confidence += kept.confidence[index, known].tolist()
        quality += similarity[known].tolist()
    assert without > 5 and len(kept) - without > 5
    found = evaluate_predictions(dataset, predictions, tmp_path)["confidence"]["keypoint_on_detections"]
    assert_correlated(found, confidence, quality)


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_poses_on_ground_truth_boxes_have_the_instance_score(dataset: str, tmp_path: Path) -> None:
    found, poses, similarity, _ = on_truth(dataset, tmp_path, seed=10)
    scores = instance_scores(poses.box_score, poses.confidence)
    assert_correlated(found["pose_on_truth"], scores, np.nanmean(similarity, axis=1))
