"""Correlation of confidence with localisation quality, against definitions written out as loops."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders.datasets import (
    detection,
    naive_overlap,
    noisy_predictions,
    suppressed_detections,
    write_coco_split,
    write_json,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, pearsonr, spearmanr

from rspose.datasets import DATASETS
from rspose.datasets.annotations import Annotations, read_annotations
from rspose.evaluation.confidence import Pairs
from rspose.evaluation.controls import oracle
from rspose.evaluation.detections import instance_scores
from rspose.evaluation.evaluate import evaluate_predictions
from rspose.evaluation.oks import oks_to_persons
from rspose.evaluation.predictions import Predictions
from rspose.tools import official

pytestmark = pytest.mark.usefixtures("few_replicates")

UNDEFINED = {"spearman": None, "kendall": None, "pearson": None}


def correlations(confidence: np.ndarray, quality: np.ndarray) -> dict[str, float | int | None]:
    return Pairs(confidence, quality, np.arange(len(confidence))).correlations()


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


def test_a_perfect_order_is_no_more_than_one_whatever_is_rounded() -> None:
    for count in range(2, 80):
        rising = np.arange(1, count + 1, dtype=np.float32) / count
        for quality, expected in ((np.float64(rising), 1), (1 - np.float64(rising), -1)):
            found = correlations(rising, quality)
            for name in UNDEFINED:
                assert -1 <= found[name] <= 1
                assert found[name] == pytest.approx(expected, abs=1e-12)


def test_correlations_of_thousands_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.integers(0, 700, 5000).astype(np.float32) / 1000  # with ties
    quality = (0.5 * confidence + rng.integers(0, 400, 5000) / 1000).clip(0, 1)
    found = correlations(confidence, quality)
    for name, of_scipy in (("spearman", spearmanr), ("kendall", kendalltau), ("pearson", pearsonr)):
        assert found[name] == pytest.approx(of_scipy(np.float64(confidence), quality).statistic, abs=1e-12)


def assert_correlated(found: dict, confidence: Sequence[float], quality: Sequence[float]) -> None:
    """The number of pairs and every correlation that ``found`` holds are those of the definitions."""
    first, second = np.asarray(confidence, dtype=float), np.asarray(quality, dtype=float)
    assert found["n"] == len(first)
    assert found["spearman"] == pytest.approx(naive_spearman(first, second), abs=1e-9)
    assert found["kendall"] == pytest.approx(naive_kendall(first, second), abs=1e-9)
    assert found["pearson"] == pytest.approx(np.corrcoef(first, second)[0, 1])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=25))
def test_correlations_follow_their_definitions(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=float).reshape(-1, 2).T
    result = correlations(first, second)
    if len(set(first)) < 2 or len(set(second)) < 2:
        assert result == {**UNDEFINED, "n": len(pairs)}
    else:
        assert_correlated(result, first, second)


def naive_similarity(dataset: str, pose: np.ndarray, annotations: Annotations, row: int) -> np.ndarray:
    """exp(-d^2 / (2 s^2 k^2)) of each labelled keypoint, NaN of the others."""
    squared = ((pose - annotations.keypoints[row]) ** 2).sum(axis=-1)
    sigmas = np.array(DATASETS[dataset].keypoints.sigmas)
    similarity = np.exp(-squared / (2 * annotations.area[row] * (2 * sigmas) ** 2))
    return np.where(annotations.labelled[row], similarity, np.nan)


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii", "wholebody"])
def test_on_ground_truth_boxes_confidence_is_compared_with_similarity_on_labelled_keypoints(
    dataset: str, tmp_path: Path
) -> None:
    """All keypoints, each type, and poses by their instance score, on MPII by their mean confidence."""
    predictions = noisy_predictions(tmp_path, dataset, seed=1, images=15)
    annotations, poses = read_annotations(dataset, tmp_path, "val"), predictions.ground_truth_boxes()
    rows = annotations.rows_of(poses.annotation_id, "")
    similarity = np.array(
        [
            naive_similarity(dataset, pose, annotations, row)
            for pose, row in zip(poses.keypoints, rows, strict=True)
        ]
    )
    known = ~np.isnan(similarity)
    found = evaluate_predictions(dataset, predictions, tmp_path)["confidence"]
    assert_correlated(found["keypoint"], poses.confidence[known], similarity[known])
    assert found["keypoint"]["n"] == annotations.labelled[~annotations.ignored].sum()
    assert 0.1 < found["keypoint"]["spearman"] < 0.95
    assert list(found["keypoint_types"]) == list(DATASETS[dataset].keypoints.names)
    for joint, of_type in enumerate(found["keypoint_types"].values()):
        labelled = known[:, joint]
        assert_correlated(of_type, poses.confidence[labelled, joint], similarity[labelled, joint])
    on_mpii = dataset == "mpii"
    scores = poses.confidence.mean(axis=1) if on_mpii else instance_scores(poses)
    assert_correlated(found["pose" if on_mpii else "pose_on_truth"], scores, np.nanmean(similarity, axis=1))


def official_oks(
    dataset: str, kept: Predictions, scores: np.ndarray, annotations: Annotations
) -> dict[int, np.ndarray]:
    """OKS of the predictions of each image, the best first, with its persons, by the official evaluator."""
    confident = replace(kept, confidence=np.ones_like(kept.confidence))  # lest it leave any out
    known = DATASETS[dataset]
    found = official.match(known, official.results(known, confident, scores), annotations.path)[""].ious
    return {image: np.array(oks) for (image, _), oks in found.items()}


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_oks_equals_the_evaluators(dataset: str, tmp_path: Path) -> None:
    kept, scores, annotations = suppressed_detections(tmp_path, dataset, seed=2, images=15)
    compared = 0
    for image, expected in official_oks(dataset, kept, scores, annotations).items():
        rows = np.flatnonzero(kept.image_id == image)
        rows = rows[np.argsort(-scores[rows], kind="stable")][:20]
        persons = np.flatnonzero(annotations.image_id == image)
        if len(expected):
            falloff = DATASETS[dataset].keypoints.falloff
            pairs = np.repeat(rows, len(persons)), annotations, np.tile(persons, len(rows))
            ours = oks_to_persons(kept.keypoints, *pairs, falloff, {})[""]
            np.testing.assert_allclose(ours.reshape(expected.shape), expected, atol=1e-9)
            compared += expected.size
    assert compared > 50
    assert annotations.ignored.any()


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_pose_level_is_score_against_best_oks(dataset: str, tmp_path: Path) -> None:
    predictions = noisy_predictions(tmp_path, dataset, seed=3, images=15)
    annotations = read_annotations(dataset, tmp_path, "val")
    kept, scores = official.suppressed(predictions, DATASETS[dataset])
    counted, quality, excused = [], [], 0
    for image, oks in official_oks(dataset, kept, scores, annotations).items():
        ignored = annotations.ignored[annotations.image_id == image]
        for rank, score in enumerate(sorted(scores[kept.image_id == image], reverse=True)):
            against = oks[rank] if len(oks) else np.zeros(0)
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
        write_coco_split(
            tmp_path,
            "coco",
            split,
            [{"id": 1, "file_name": "1.jpg", "width": 640, "height": 480}],
            [labelled, unlabelled],
        )
    write_json(tmp_path / DATASETS["coco"].detections, [detection(1, np.array(person["bbox"]), 0.9)])
    predictions = oracle("coco", tmp_path)
    nose_falloff = 2 * 0.026
    predictions.keypoints[:] = 100
    predictions.keypoints[:, 0, 0] += 100 * nose_falloff * math.sqrt(-2 * math.log(oks))
    assert evaluate_predictions("coco", predictions, tmp_path)["confidence"]["pose"]["n"] == counted


def test_no_more_than_twenty_detections_of_an_image_count(tmp_path: Path) -> None:
    detections = noisy_predictions(tmp_path, "coco", seed=4, images=15).detections()
    one_image = detections.take(np.zeros(60, dtype=np.int64))
    one_image.keypoints += np.random.default_rng(0).uniform(0, 300, one_image.keypoints.shape)
    one_image.box_score[:] = np.linspace(0.1, 1, 60)
    one_image.confidence[:] = 0.5
    assert evaluate_predictions("coco", one_image, tmp_path)["confidence"]["pose"]["n"] == 20


def test_a_calibration_curve_by_hand() -> None:
    confidence = np.array([0.0, 0.24, 0.25, 0.3, 0.99, 1.0])
    quality = np.array([0.1, 0.3, 0.5, 0.7, 0.8, 1.0])
    assert Pairs(confidence, quality, np.arange(6)).calibration(bins=4) == {
        "confidence": [pytest.approx(0.12), pytest.approx(0.275), None, pytest.approx(0.995)],
        "quality": [pytest.approx(0.2), pytest.approx(0.6), None, pytest.approx(0.9)],
        "count": [2, 2, 0, 2],
    }


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii"])
def test_calibration_counts_the_pairs_of_the_correlations(dataset: str, tmp_path: Path) -> None:
    predictions = noisy_predictions(tmp_path, dataset, seed=7, images=15)
    found = evaluate_predictions(dataset, predictions, tmp_path)["confidence"]
    for level in ("keypoint", "pose"):
        curve = found["calibration"][level]
        assert sum(curve["count"]) == found[level]["n"]
        assert len(curve["count"]) == len(curve["quality"]) == 20
        for index, (count, mean) in enumerate(zip(curve["count"], curve["confidence"], strict=True)):
            assert (mean is None) == (count == 0)
            assert mean is None or index / 20 <= mean + 1e-9 <= (index + 1) / 20 + 2e-9


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_keypoints_on_detections_belong_to_the_person_whose_box_they_are_in(
    dataset: str, tmp_path: Path
) -> None:
    predictions = noisy_predictions(tmp_path, dataset, seed=9, images=15)
    annotations = read_annotations(dataset, tmp_path, "val")
    # Boxes that overlap a person by more and less.
    shift = np.random.default_rng(9).uniform(0, 0.6, (len(predictions), 1))
    predictions.box[:, :2] += (shift * predictions.box[:, 2:]).astype(np.float32)
    kept, _ = official.suppressed(predictions, DATASETS[dataset])
    confidence, quality, without = [], [], 0
    for index in range(len(kept)):
        persons = np.flatnonzero((annotations.image_id == kept.image_id[index]) & ~annotations.ignored)
        overlaps = [naive_overlap(kept.box[index], annotations.box[person]) for person in persons]
        if max(overlaps, default=0) < 0.5:
            without += 1
        else:
            person = persons[int(np.argmax(overlaps))]
            similarity = naive_similarity(dataset, kept.keypoints[index], annotations, person)
            known = ~np.isnan(similarity)
            confidence += kept.confidence[index, known].tolist()
            quality += similarity[known].tolist()
    assert without > 5 and len(kept) - without > 5
    found = evaluate_predictions(dataset, predictions, tmp_path)["confidence"]["keypoint_on_detections"]
    assert_correlated(found, confidence, quality)
