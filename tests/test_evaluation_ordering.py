"""AP on arrays, with oracle scores and against thresholds, compared with the official evaluator."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from builders.datasets import with_noise, write_crowded_dataset
from mmpose.evaluation.functional import oks_nms as mmpose_oks_nms

from rspose.datasets import DATASETS
from rspose.datasets.annotations import Annotations, read_annotations
from rspose.evaluation import coco
from rspose.evaluation.controls import oracle
from rspose.evaluation.detections import instance_scores, rescore_and_suppress
from rspose.evaluation.evaluate import evaluate_predictions
from rspose.evaluation.matching import average_precision, match, pair
from rspose.evaluation.ordering import lost_to_ordering, oracle_scores, threshold_curves
from rspose.evaluation.predictions import Predictions

pytestmark = pytest.mark.filterwarnings("ignore:The metainfo config file")


def make(dataset: str, root: Path, seed: int) -> tuple[Predictions, np.ndarray, Annotations]:
    """Detections after suppression with their scores, and the annotations."""
    write_crowded_dataset(root, dataset, seed, images=25)
    predictions = with_noise(oracle(dataset, root), seed)
    kept, scores = rescore_and_suppress(predictions.detections(), DATASETS[dataset].keypoints.falloff)
    return kept, scores, read_annotations(dataset, root, "val")


def official(dataset: str, kept: Predictions, scores: np.ndarray, root: Path) -> float | None:
    matched = coco.match(dataset, kept, scores, read_annotations(dataset, root, "val"))
    return coco.summarise(dataset, matched)["AP"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "wholebody"])
def test_ap_on_arrays_is_the_evaluators(dataset: str, seed: int, tmp_path: Path) -> None:
    kept, scores, annotations = make(dataset, tmp_path, seed)
    pairs = pair(kept, annotations, DATASETS[dataset].keypoints.falloff)
    assert annotations.crowd.any()
    assert average_precision(pairs, scores) == pytest.approx(
        official(dataset, kept, scores, tmp_path), abs=1e-12
    )
    # Equal scores, and an order of its own; asked again, the same images are not matched again.
    for other in (np.round(scores, 1), np.random.default_rng(seed).uniform(size=len(scores))):
        expected = official(dataset, kept, other, tmp_path)
        assert average_precision(pairs, other) == pytest.approx(expected, abs=1e-12)


def test_ap_counts_the_twenty_best_of_an_image_and_nothing_without_confidence(tmp_path: Path) -> None:
    kept, _, annotations = make("coco", tmp_path, seed=4)
    person = int(np.flatnonzero(~annotations.ignored)[0])
    crowd = kept.take(np.zeros(60, dtype=np.int64))
    crowd.image_id[:] = annotations.image_id[person]
    crowd.keypoints[:] = annotations.keypoints[person]
    crowd.keypoints[:30] += 400
    crowd.confidence[:] = 0.5
    crowd.confidence[45] = 0
    scores = np.linspace(1, 0.1, 60)
    for used in (scores, scores[::-1].copy()):
        expected = official("coco", crowd, used, tmp_path)
        pairs = pair(crowd, annotations, DATASETS["coco"].keypoints.falloff)
        assert average_precision(pairs, used) == pytest.approx(expected, abs=1e-12)
    # Best first, the only right ones come after 30 wrong ones; last first, a right one stands at the top.
    assert average_precision(pairs, scores) == 0
    assert average_precision(pairs, scores[::-1].copy()) > 0


def test_a_person_is_taken_once_and_a_crowd_again_and_again() -> None:
    oks = np.array([[0.9, 0.6], [0.8, 0.6], [0.7, 0.6]])
    ignored, crowd = np.array([False, True]), np.array([False, True])
    assert match(oks, ignored, crowd, np.array([0.5])).tolist() == [[0, 1, 1]]
    assert match(oks, ignored, np.zeros(2, bool), np.array([0.5])).tolist() == [[0, 1, -1]]
    # A person that counts goes before one to be ignored that fits better; equal ones: the later.
    assert match(np.array([[0.6, 0.9]]), ignored, crowd, np.array([0.5, 0.7])).tolist() == [[0], [1]]
    assert match(np.array([[0.6, 0.6]]), np.zeros(2, bool), crowd, np.array([0.6])).tolist() == [[1]]


def naive_oracle_scores(dataset: str, kept: Predictions, annotations: Annotations) -> np.ndarray:
    """From the best pair of a prediction and a person down, each in one pair at most."""
    falloff = DATASETS[dataset].keypoints.falloff
    candidates = []
    for row, person in itertools.product(range(len(kept)), range(len(annotations))):
        if kept.image_id[row] != annotations.image_id[person] or annotations.ignored[person]:
            continue
        labelled = annotations.labelled[person]
        if not labelled.any():
            continue
        squared = ((kept.keypoints[row] - annotations.keypoints[person]) ** 2).sum(axis=-1)
        similarity = np.exp(-squared / (2 * annotations.area[person] * falloff**2))
        candidates.append((similarity[labelled].mean(), row, person))
    scores, used = np.zeros(len(kept)), set()
    for value, row, person in sorted(candidates, reverse=True):
        if scores[row] == 0 and person not in used:
            scores[row] = value
            used.add(person)
    return scores


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_ap_lost_to_ordering_is_what_the_evaluator_gains_from_edited_scores(
    dataset: str, tmp_path: Path
) -> None:
    kept, scores, annotations = make(dataset, tmp_path, seed=5)
    pairs = pair(kept, annotations, DATASETS[dataset].keypoints.falloff)
    edited = naive_oracle_scores(dataset, kept, annotations)
    confident = (kept.confidence > 0).any(axis=1)
    np.testing.assert_allclose(
        oracle_scores(pairs, len(kept))[confident], edited[confident], atol=1e-9, rtol=0
    )
    once = np.ones((len(pairs), 1), dtype=np.int32)
    found = {name: value for name, (value,) in lost_to_ordering(pairs, scores, once).items()}
    best, measured = (official(dataset, kept, used, tmp_path) for used in (edited, scores))
    assert found["AP_oracle_scores"] == pytest.approx(best, abs=1e-12)
    assert found["AP_lost"] == pytest.approx(best - measured, abs=1e-12)
    assert found["AP_lost"] > 0.02
    # No other order is better.
    rng = np.random.default_rng(0)
    for _ in range(5):
        other = edited * rng.uniform(0.5, 1, len(edited))
        assert average_precision(pairs, other) <= best + 1e-12


def test_a_second_prediction_of_a_person_gets_no_oracle_score(tmp_path: Path) -> None:
    kept, _, annotations = make("coco", tmp_path, seed=6)
    person = int(np.flatnonzero(~annotations.ignored)[0])
    twice = kept.take(np.zeros(2, dtype=np.int64))
    twice.image_id[:] = annotations.image_id[person]
    twice.confidence[:] = 0.5
    twice.keypoints[:] = annotations.keypoints[person]
    twice.keypoints[0] += 1
    alone = annotations.image_id[person] == annotations.image_id
    annotations.ignored |= alone & (np.arange(len(annotations)) != person)
    pairs = pair(twice, annotations, DATASETS["coco"].keypoints.falloff)
    assert oracle_scores(pairs, 2) == pytest.approx([0, 1])


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_threshold_curves_are_the_evaluators_ap_after_mmposes_suppression(
    dataset: str, tmp_path: Path
) -> None:
    _, _, annotations = make(dataset, tmp_path, seed=7)
    detections = with_noise(oracle(dataset, tmp_path), 7).detections()
    curves = threshold_curves(
        pair(detections, annotations, DATASETS[dataset].keypoints.falloff),
        detections,
        DATASETS[dataset].keypoints.falloff,
    )

    def expected(scores: np.ndarray, threshold: float) -> float | None:
        rows = []
        for image in np.unique(detections.image_id):
            of_image = np.flatnonzero(detections.image_id == image)
            instances = [
                {
                    "keypoints": np.concatenate(
                        [detections.keypoints[row], detections.confidence[row][:, None]], axis=1
                    ),
                    "score": scores[row],
                    "area": detections.area[row],
                }
                for row in of_image
            ]
            sigmas = np.array(DATASETS[dataset].keypoints.sigmas)
            rows += of_image[mmpose_oks_nms(instances, threshold, sigmas=sigmas)].tolist()
        return official(dataset, detections.take(np.array(rows)), scores[rows], tmp_path)

    box, confidence = detections.box_score, detections.confidence
    for index in (0, 3, 6, 8):
        threshold = curves["nms"]["threshold"][index]
        scores = instance_scores(box, confidence)
        assert curves["nms"]["AP"][index] == pytest.approx(expected(scores, threshold), abs=1e-12)
        assert curves["nms"]["AP_box_score"][index] == pytest.approx(expected(box, threshold), abs=1e-12)
    for index in (0, 4, 8):
        scores = instance_scores(box, confidence, curves["keypoint_score"]["threshold"][index])
        assert curves["keypoint_score"]["AP"][index] == pytest.approx(expected(scores, 0.9), abs=1e-12)
    assert set(curves["keypoint_score"]["AP_box_score"]) == {curves["nms"]["AP_box_score"][6]}
    assert len(set(curves["nms"]["AP"])) > 2
    assert len(set(curves["keypoint_score"]["AP"])) > 2


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "wholebody"])
def test_the_curves_pass_through_the_ap_of_the_tables(dataset: str, tmp_path: Path) -> None:
    make(dataset, tmp_path, seed=8)
    scores = evaluate_predictions(dataset, with_noise(oracle(dataset, tmp_path), 8), tmp_path)
    for curve, value in (("nms", 0.9), ("keypoint_score", 0.2)):
        found = scores["diagnosis"]["thresholds"][curve]
        assert found["AP"][found["threshold"].index(value)] == pytest.approx(
            scores["metrics"]["AP"], abs=1e-12
        )
    ordering = scores["diagnosis"]["ordering"]
    assert ordering["AP_oracle_scores"] - ordering["AP_lost"] == pytest.approx(
        scores["metrics"]["AP"], abs=1e-12
    )


def test_nobody_to_find_has_no_ap(tmp_path: Path) -> None:
    kept, scores, annotations = make("coco", tmp_path, seed=9)
    annotations.ignored[:] = True
    pairs = pair(kept, annotations, DATASETS["coco"].keypoints.falloff)
    assert average_precision(pairs, scores) is None
    once = np.ones((len(pairs), 1), dtype=np.int32)
    assert all(np.isnan(values).all() for values in lost_to_ordering(pairs, scores, once).values())
