"""AP on arrays, with oracle scores and against thresholds, compared with the official evaluator."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from builders.datasets import noisy_predictions, official_ap, suppressed_detections
from mmpose.evaluation.functional import oks_nms as mmpose_oks_nms

from rspose.datasets import DATASETS
from rspose.datasets.annotations import Annotations, read_annotations
from rspose.evaluation.detections import instance_scores
from rspose.evaluation.evaluate import evaluate_predictions
from rspose.evaluation.matching import ImagePairs, match, pair, replicated_precision
from rspose.evaluation.ordering import lost_to_ordering, oracle_scores, threshold_curves
from rspose.evaluation.predictions import Predictions

pytestmark = [
    pytest.mark.filterwarnings("ignore:The metainfo config file"),
    pytest.mark.usefixtures("few_replicates"),
]


def pairs_of(dataset: str, predictions: Predictions, annotations: Annotations) -> list[ImagePairs]:
    return pair(predictions, annotations, DATASETS[dataset].keypoints.falloff)


def average_precision(pairs: Sequence[ImagePairs], scores: np.ndarray) -> float:
    return replicated_precision(pairs, scores, np.ones((len(pairs), 1), dtype=np.int32))[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "wholebody"])
def test_ap_on_arrays_is_the_evaluators(dataset: str, seed: int, tmp_path: Path) -> None:
    kept, scores, annotations = suppressed_detections(tmp_path, dataset, seed, images=25)
    pairs = pairs_of(dataset, kept, annotations)
    assert annotations.crowd.any()
    # Also equal scores, and an order of its own; asked again, the same images are not matched again.
    for used in (scores, np.round(scores, 1), np.random.default_rng(seed).uniform(size=len(scores))):
        expected = official_ap(dataset, kept, used, tmp_path)
        assert average_precision(pairs, used) == pytest.approx(expected, abs=1e-12)


def test_ap_counts_the_twenty_best_of_an_image_and_nothing_without_confidence(tmp_path: Path) -> None:
    kept, _, annotations = suppressed_detections(tmp_path, "coco", seed=4, images=25)
    person = int(np.flatnonzero(~annotations.ignored)[0])
    crowd = kept.take(np.zeros(60, dtype=np.int64))
    crowd.image_id[:] = annotations.image_id[person]
    crowd.keypoints[:] = annotations.keypoints[person]
    crowd.keypoints[:30] += 400
    crowd.confidence[:] = 0.5
    crowd.confidence[45] = 0
    scores = np.linspace(1, 0.1, 60)
    pairs = pairs_of("coco", crowd, annotations)
    best_first, last_first = (average_precision(pairs, used) for used in (scores, scores[::-1].copy()))
    assert best_first == pytest.approx(official_ap("coco", crowd, scores, tmp_path), abs=1e-12)
    assert last_first == pytest.approx(official_ap("coco", crowd, scores[::-1], tmp_path), abs=1e-12)
    # Best first, the only right ones come after 30 wrong ones; last first, a right one stands at the top.
    assert best_first == 0 < last_first


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
        labelled = annotations.labelled[person]
        same_image = kept.image_id[row] == annotations.image_id[person]
        if same_image and labelled.any() and not annotations.ignored[person]:
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
    kept, scores, annotations = suppressed_detections(tmp_path, dataset, seed=5, images=25)
    pairs = pairs_of(dataset, kept, annotations)
    edited = naive_oracle_scores(dataset, kept, annotations)
    confident = (kept.confidence > 0).any(axis=1)
    found = oracle_scores(pairs, len(kept))
    np.testing.assert_allclose(found[confident], edited[confident], atol=1e-9, rtol=0)
    lost = lost_to_ordering(pairs, scores, np.ones((len(pairs), 1), dtype=np.int32))
    best, measured = (official_ap(dataset, kept, used, tmp_path) for used in (edited, scores))
    assert lost["AP_oracle_scores"] == pytest.approx([best], abs=1e-12)
    assert lost["AP_lost"] == pytest.approx([best - measured], abs=1e-12)
    assert lost["AP_lost"] > 0.02
    # No other order is better.
    rng = np.random.default_rng(0)
    for _ in range(5):
        assert average_precision(pairs, edited * rng.uniform(0.5, 1, len(edited))) <= best + 1e-12


def test_a_second_prediction_of_a_person_gets_no_oracle_score(tmp_path: Path) -> None:
    kept, _, annotations = suppressed_detections(tmp_path, "coco", seed=6, images=25)
    person = int(np.flatnonzero(~annotations.ignored)[0])
    twice = kept.take(np.zeros(2, dtype=np.int64))
    twice.image_id[:] = annotations.image_id[person]
    twice.confidence[:] = 0.5
    twice.keypoints[:] = annotations.keypoints[person]
    twice.keypoints[0] += 1
    alone = annotations.image_id[person] == annotations.image_id
    annotations.ignored |= alone & (np.arange(len(annotations)) != person)
    assert oracle_scores(pairs_of("coco", twice, annotations), 2) == pytest.approx([0, 1])


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_threshold_curves_are_the_evaluators_ap_after_mmposes_suppression(
    dataset: str, tmp_path: Path
) -> None:
    detections = noisy_predictions(tmp_path, dataset, seed=7, images=25).detections()
    pairs = pairs_of(dataset, detections, read_annotations(dataset, tmp_path, "val"))
    curves = threshold_curves(pairs, detections, DATASETS[dataset].keypoints.falloff)
    nms, keypoint_score = curves["nms"], curves["keypoint_score"]
    triplets = np.concatenate([detections.keypoints, detections.confidence[..., None]], axis=2)
    sigmas = np.array(DATASETS[dataset].keypoints.sigmas)

    def expected(scores: np.ndarray, threshold: float) -> float:
        rows = []
        for image in np.unique(detections.image_id):
            of_image = np.flatnonzero(detections.image_id == image)
            instances = [
                {"keypoints": triplets[row], "score": scores[row], "area": detections.area[row]}
                for row in of_image
            ]
            rows += of_image[mmpose_oks_nms(instances, threshold, sigmas=sigmas)].tolist()
        return official_ap(dataset, detections.take(np.array(rows)), scores[rows], tmp_path)

    box, rescored = detections.box_score, instance_scores(detections)
    for index in (0, 3, 6, 8):
        threshold = nms["threshold"][index]
        assert nms["AP"][index] == pytest.approx(expected(rescored, threshold), abs=1e-12)
        assert nms["AP_box_score"][index] == pytest.approx(expected(box, threshold), abs=1e-12)
    for index in (0, 4, 8):
        scores = instance_scores(detections, keypoint_score["threshold"][index])
        assert keypoint_score["AP"][index] == pytest.approx(expected(scores, 0.9), abs=1e-12)
    assert set(keypoint_score["AP_box_score"]) == {nms["AP_box_score"][6]}
    assert len(set(nms["AP"])) > 2
    assert len(set(keypoint_score["AP"])) > 2


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "wholebody"])
def test_the_curves_pass_through_the_ap_of_the_tables(dataset: str, tmp_path: Path) -> None:
    scores = evaluate_predictions(dataset, noisy_predictions(tmp_path, dataset, 8, images=25), tmp_path)
    ap = pytest.approx(scores["metrics"]["AP"], abs=1e-12)
    for curve, value in (("nms", 0.9), ("keypoint_score", 0.2)):
        found = scores["diagnosis"]["thresholds"][curve]
        assert found["AP"][found["threshold"].index(value)] == ap
    ordering = scores["diagnosis"]["ordering"]
    assert ordering["AP_oracle_scores"] - ordering["AP_lost"] == ap


def test_nobody_to_find_has_no_ap(tmp_path: Path) -> None:
    kept, scores, annotations = suppressed_detections(tmp_path, "coco", seed=9, images=25)
    annotations.ignored[:] = True
    pairs = pairs_of("coco", kept, annotations)
    once = np.ones((len(pairs), 1), dtype=np.int32)
    assert all(np.isnan(values).all() for values in lost_to_ordering(pairs, scores, once).values())
    curves = threshold_curves(pairs, kept, DATASETS["coco"].keypoints.falloff)
    assert set(curves["nms"]["AP"]) == {None}
