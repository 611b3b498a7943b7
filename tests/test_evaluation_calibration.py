"""Confidence within and between keypoint types, and after a fit on other images, on constructed cases."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders.datasets import noisy_predictions, official_ap
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression
from scipy.stats import spearmanr

from rspose.datasets import DATASETS
from rspose.datasets.annotations import read_annotations
from rspose.evaluation.calibration import constant, cross_fitted, isotonic, second_half, spearman_of_halves
from rspose.evaluation.confidence import KeypointQuality, Pairs, keypoint_quality
from rspose.evaluation.detections import instance_scores
from rspose.evaluation.evaluate import evaluate_predictions
from rspose.tools import official

pytestmark = pytest.mark.usefixtures("few_replicates")

TYPES, POSES = 10, 400
EACH = np.arange(POSES)
"""The image of each pose: one an image."""
ONCE = np.ones((POSES, 1), dtype=np.int32)


def quality(confidence: np.ndarray, similarity: np.ndarray, labelled: np.ndarray) -> KeypointQuality:
    return KeypointQuality(confidence.astype(np.float32), similarity, labelled)


def made(between: float, within: float) -> KeypointQuality:
    """Confidence follows the mean similarity of a type, and the deviations from it, as much as is said."""
    rng = np.random.default_rng(0)
    mean, deviation = np.linspace(0.3, 0.7, TYPES), rng.uniform(-0.2, 0.2, (POSES, TYPES))
    noise = rng.uniform(-0.2, 0.2, (POSES, TYPES))
    confidence = 0.5 + between * (mean - 0.5) + within * deviation + (1 - within) * noise
    return quality(confidence, mean + deviation, rng.uniform(size=(POSES, TYPES)) < 0.9)


def rank(found: KeypointQuality) -> tuple[float, float, float | None, float]:
    """Spearman's rho pooled, within types, between them, and with one constant a type."""
    half = second_half("coco", POSES)
    scaled = cross_fitted(constant, True, found.confidence, half, found, half)
    pairs = KeypointQuality(scaled, found.similarity, found.labelled).pairs()
    pooled = found.pairs().correlations()["spearman"]
    (within,) = found.within_types(EACH, ONCE)
    (constants,) = spearman_of_halves(pairs, EACH, half, ONCE)
    return pooled, within, found.between_types().correlations()["spearman"], constants


@pytest.mark.parametrize("decimals", [8, 1])
def test_by_type_is_scipys_in_a_loop(decimals: int) -> None:
    """Also with ties, without a label of one type, with one of another, and with a constant confidence."""
    found = made(between=0.7, within=0.5)
    found.confidence[:] = found.confidence.round(decimals)
    found.labelled[:, 0] = False
    found.labelled[1:, 1], found.labelled[0, 1] = False, True
    found.confidence[:, 2] = 0.5
    rhos, means = [], []
    for k in range(TYPES):
        known = found.labelled[:, k]
        confidence, similarity = found.confidence[known, k], found.similarity[known, k]
        if k > 2:
            rhos.append(spearmanr(confidence, similarity).statistic)
        if k > 0:
            means.append((np.float64(confidence).mean(), similarity.mean()))
    _, within, between, _ = rank(found)
    assert within == pytest.approx(np.mean(rhos), abs=1e-12)
    assert between == pytest.approx(spearmanr(*zip(*means, strict=True)).statistic, abs=1e-12)


def test_a_constant_confidence_has_no_rank_within_and_between_types() -> None:
    found = made(between=1.0, within=1.0)
    found.confidence[:] = 0.3
    pooled, within, between, constants = rank(found)
    assert pooled is None and np.isnan(within) and between is None
    # The constants know which joints are hard.
    assert constants > 0.4


def test_constants_are_the_ratio_of_the_means_of_the_other_half() -> None:
    found = made(between=0.5, within=0.5)
    found.labelled[:, 0] = False
    half = second_half("coco", POSES)
    assert half.sum() == POSES // 2
    scaled = cross_fitted(constant, True, found.confidence, half, found, half)
    for side in (False, True):
        learned = found.take(half != side)
        for k in range(TYPES):
            known = learned.labelled if k == 0 else learned.labelled & (np.arange(TYPES) == k)
            ratio = learned.similarity[known].mean() / np.float64(learned.confidence[known]).mean()
            expected = found.confidence[half == side, k] * ratio
            np.testing.assert_allclose(scaled[half == side, k], expected, rtol=1e-12)


@pytest.mark.parametrize("dataset", ["coco", "mpii"])
def test_an_evaluation_ranks_by_type_and_its_replicates_draw_images(dataset: str, tmp_path: Path) -> None:
    predictions = noisy_predictions(tmp_path, dataset, seed=1, images=15)
    scores = evaluate_predictions(dataset, predictions, tmp_path)
    of_types = [each["spearman"] for each in scores["confidence"]["keypoint_types"].values()]
    assert scores["confidence"]["within_types"]["spearman"] == pytest.approx(np.mean(of_types), abs=1e-9)
    on_truth, annotations = predictions.ground_truth_boxes(), read_annotations(dataset, tmp_path, "val")
    persons = annotations.rows_of(on_truth.annotation_id, "")
    found = keypoint_quality(on_truth, persons, annotations, DATASETS[dataset].keypoints.falloff)
    (once,) = found.within_types(np.zeros(len(persons), dtype=int), np.ones((1, 1)))
    (thrice,) = found.within_types(np.zeros(len(persons), dtype=int), np.full((1, 1), 3))
    assert once == pytest.approx(thrice)
    for level in ("within_types", "type_constants"):
        assert f"confidence.{level}.spearman" in scores["bootstrap"]["values"]


def test_isotonic_is_the_fit_of_scipy_for_thousands() -> None:
    rng = np.random.default_rng(0)
    confidence = np.sort(rng.uniform(size=5000)).astype(np.float32)
    truth = (confidence + rng.normal(0, 0.4, 5000)).clip(0, 1)
    found = isotonic(Pairs(confidence, truth, np.arange(5000)), confidence)
    np.testing.assert_allclose(found, isotonic_regression(truth).x, atol=1e-9)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=30))
def test_isotonic_is_the_best_monotone_fit_and_never_reverses_an_order(pairs: list[tuple[int, int]]) -> None:
    """Against the definition of the fit: the greatest mean from below over the least mean from above."""
    confidence, value = np.array(pairs, dtype=float).T / 8
    told = Pairs(confidence, value, np.arange(len(pairs)))
    levels = np.unique(confidence)
    expected = [
        max(
            min(value[(low <= confidence) & (confidence <= high)].mean() for high in levels[levels >= level])
            for low in levels[levels <= level]
        )
        for level in levels
    ]
    np.testing.assert_allclose(isotonic(told, levels), expected, atol=1e-9)
    assert (np.diff(isotonic(told, np.linspace(0, 1, 50))) >= -1e-12).all()


@pytest.mark.parametrize("by_type", [False, True])
def test_an_image_has_no_part_in_its_own_calibration(by_type: bool) -> None:
    found = made(between=0.5, within=0.5)
    half = second_half("coco", POSES)

    def calibrated() -> np.ndarray:
        return cross_fitted(isotonic, by_type, found.confidence, half, found, half)

    before = calibrated()
    found.similarity[half] = 1 - found.similarity[half]
    found.labelled[half] ^= np.random.default_rng(1).uniform(size=found.labelled[half].shape) < 0.5
    after = calibrated()
    assert (after[half] == before[half]).all()
    assert (after[~half] != before[~half]).mean() > 0.9


def test_a_calibration_keeps_the_order_of_what_shares_a_fit() -> None:
    """Pooled that is all of a half, by type a type of a half."""
    found = made(between=0.5, within=0.5)
    half = second_half("coco", POSES)
    for by_type in (False, True):
        changed = cross_fitted(isotonic, by_type, found.confidence, half, found, half)
        for side in (False, True):
            for k in range(TYPES):
                among = k if by_type else slice(None)
                old, new = (each[half == side][:, among].ravel() for each in (found.confidence, changed))
                assert (np.diff(new[np.argsort(old)]) >= 0).all()
    # A type that nobody labelled takes the pooled fit.
    pooled = cross_fitted(isotonic, False, found.confidence, half, found, half)
    found.labelled[:, 0] = False
    assert (cross_fitted(isotonic, True, found.confidence, half, found, half)[:, 0] != pooled[:, 0]).any()
    pooled = cross_fitted(isotonic, False, found.confidence, half, found, half)
    assert (cross_fitted(isotonic, True, found.confidence, half, found, half)[:, 0] == pooled[:, 0]).all()


def test_confidences_that_are_right_stay_and_others_become_so() -> None:
    """To 0.03, the noise of a fit to some 1800 pairs of uniform quality."""
    rng = np.random.default_rng(2)
    expected = rng.uniform(0.2, 0.8, (POSES, TYPES))
    similarity = (expected + rng.uniform(-0.2, 0.2, expected.shape)).clip(0, 1)
    half, labelled = second_half("coco", POSES), np.ones(expected.shape, dtype=bool)
    for confidence in (expected, 0.5 + expected / 8, expected**4):
        found = quality(confidence, similarity, labelled)
        changed = cross_fitted(isotonic, False, found.confidence, half, found, half)
        assert np.abs(changed - expected).mean() < 0.03


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_calibrated_ap_is_the_official_one_and_ignores_the_scale_of_confidence(
    dataset: str, tmp_path: Path
) -> None:
    told = noisy_predictions(tmp_path, dataset, seed=8, images=30)
    annotations, falloff = read_annotations(dataset, tmp_path, "val"), DATASETS[dataset].keypoints.falloff

    def calibrated(confidence: np.ndarray) -> dict[str, dict[str, float]]:
        return evaluate_predictions(dataset, replace(told, confidence=confidence), tmp_path)["confidence"][
            "calibrated"
        ]

    found, squeezed = calibrated(told.confidence), calibrated(0.5 + told.confidence**2 / 8)
    on_truth, images = told.ground_truth_boxes(), np.unique(annotations.known_images)
    truth = keypoint_quality(on_truth, annotations.rows_of(on_truth.annotation_id, ""), annotations, falloff)
    second = second_half(dataset, len(images))
    half, of_truth = (second[np.searchsorted(images, each.image_id)] for each in (told, on_truth))
    for fit in ("pooled", "by_type"):
        confidence = cross_fitted(isotonic, fit == "by_type", told.confidence, half, truth, of_truth)
        kept, scores = official.suppressed(replace(told, confidence=confidence), DATASETS[dataset])
        ap = official_ap(dataset, kept, scores, tmp_path)
        assert found[fit]["AP"] == pytest.approx(ap, abs=1e-9)
        assert found[fit]["AP_own_threshold"] >= ap - 1e-9
        poses = replace(on_truth, confidence=confidence[told.annotation_id >= 0])
        oks = truth.pose_pairs(instance_scores(poses))
        of_half = [
            spearmanr(oks.confidence[rows], oks.quality[rows]).statistic
            for rows in (of_truth[oks.row], ~of_truth[oks.row])
        ]
        assert found[fit]["pose_on_truth_spearman"] == pytest.approx(np.mean(of_half), abs=1e-9)
        assert 0.1 < found[fit]["pose_on_truth_spearman"] != found[fit]["pose_spearman"]
        for name, value in found[fit].items():
            assert squeezed[fit][name] == pytest.approx(value, abs=0.01)


def test_an_already_calibrated_predictor_keeps_its_ap(tmp_path: Path) -> None:
    """To two points on 60 images, where a fit has some thousand keypoints."""
    told = noisy_predictions(tmp_path, "coco", seed=9, images=60)
    annotations, falloff = read_annotations("coco", tmp_path, "val"), DATASETS["coco"].keypoints.falloff
    on_truth = told.ground_truth_boxes()
    truth = keypoint_quality(on_truth, annotations.rows_of(on_truth.annotation_id, ""), annotations, falloff)
    right = replace(told, confidence=isotonic(truth.pairs(), told.confidence))
    scores = evaluate_predictions("coco", right, tmp_path)
    assert scores["confidence"]["calibrated"]["pooled"]["AP"] == pytest.approx(
        scores["metrics"]["AP"], abs=0.02
    )
    assert scores["metrics"]["AP"] > 0.1
    assert scores["protocol"]["calibration"] == "isotonic, two halves of the images, seed 0"
