"""Confidence within and between keypoint types, and after a fit on other images, on constructed cases."""

from pathlib import Path

import numpy as np
import pytest
from builders.datasets import noisy_predictions
from scipy.stats import spearmanr

from rspose.datasets import DATASETS
from rspose.datasets.annotations import read_annotations
from rspose.evaluation.calibration import constant, cross_fitted, second_half, spearman_of_halves
from rspose.evaluation.confidence import KeypointQuality, keypoint_quality
from rspose.evaluation.evaluate import evaluate_predictions

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


def test_what_is_between_types_is_not_within_them() -> None:
    """Of 10 types with 360 pairs each the mean of unrelated ranks has a deviation of 0.017."""
    pooled, within, between, _ = rank(made(between=1.0, within=0.0))
    assert pooled > 0.4
    assert within == pytest.approx(0, abs=0.06)
    assert between == pytest.approx(1)


def test_what_is_within_types_is_found_there_and_constants_add_what_is_between() -> None:
    pooled, within, _, constants = rank(made(between=0.0, within=1.0))
    assert within == pytest.approx(1)
    assert pooled < 0.8
    assert constants > pooled + 0.1
    # Nothing is left for constants where the confidences already have the means.
    pooled, *_, constants = rank(made(between=1.0, within=1.0))
    assert constants == pytest.approx(pooled, abs=0.01)


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
