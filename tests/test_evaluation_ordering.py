"""AP on arrays, with oracle scores and against thresholds, compared with the official evaluator."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from builders.datasets import noisy_predictions, official_ap, suppressed_detections
from mmpose.evaluation.functional import oks_nms as mmpose_oks_nms

from rspose.datasets import DATASETS
from rspose.datasets.annotations import Annotations, read_annotations
from rspose.evaluation.detections import by_image, instance_scores
from rspose.evaluation.evaluate import evaluate_predictions
from rspose.evaluation.matching import Candidates, candidates
from rspose.evaluation.oks import Neighbours, neighbours
from rspose.evaluation.ordering import average_precision, lost_to_ordering, oracle_scores, threshold_curves
from rspose.evaluation.predictions import Predictions

pytestmark = [
    pytest.mark.filterwarnings("ignore:The metainfo config file"),
    pytest.mark.usefixtures("few_replicates"),
]


def average_precision_of(
    dataset: str, predictions: Predictions, scores: np.ndarray, annotations: Annotations
) -> float:
    pairs = candidates(DATASETS[dataset], predictions, annotations)[""]
    return average_precision(pairs, scores, predictions.confident())[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "wholebody"])
def test_ap_on_arrays_is_the_evaluators(dataset: str, seed: int, tmp_path: Path) -> None:
    kept, scores, annotations = suppressed_detections(tmp_path, dataset, seed, images=25)
    assert annotations.crowd.any()
    # Also equal scores, and an order of its own.
    for used in (scores, np.round(scores, 1), np.random.default_rng(seed).uniform(size=len(scores))):
        expected = official_ap(dataset, kept, used, tmp_path)
        found = average_precision_of(dataset, kept, used, annotations)
        assert found == pytest.approx(expected, abs=1e-12)


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
    best_first, last_first = (
        average_precision_of("coco", crowd, used, annotations) for used in (scores, scores[::-1].copy())
    )
    assert best_first == pytest.approx(official_ap("coco", crowd, scores, tmp_path), abs=1e-12)
    assert last_first == pytest.approx(official_ap("coco", crowd, scores[::-1], tmp_path), abs=1e-12)
    # Best first, the only right ones come after 30 wrong ones; last first, a right one stands at the top.
    assert best_first == 0 < last_first


def test_a_person_is_taken_once_and_a_crowd_again_and_again() -> None:
    def match(oks: list[list[float]], ignored: list[bool], crowd: list[bool], *thresholds: float) -> list:
        """The predictions of one image, the best first, with its persons."""
        count, persons = np.shape(oks)
        row, person = np.divmod(np.arange(count * persons), persons)
        image, rows = np.zeros(count, dtype=int), np.arange(count)
        flags = np.zeros(persons, dtype=int), 1, np.array(ignored), np.array(crowd)
        pairs = Candidates(image, *flags, row, person, np.ravel(oks))
        return pairs.match(rows, rows, np.array(thresholds)).tolist()

    three, later, none = [[0.9, 0.6], [0.8, 0.6], [0.7, 0.6]], [False, True], [False, False]
    assert match(three, later, later, 0.5) == [[0, 1, 1]]
    assert match(three, later, none, 0.5) == [[0, 1, -1]]
    # A person that counts goes before one to be ignored that fits better; equal ones: the later.
    assert match([[0.6, 0.9]], later, later, 0.5, 0.7) == [[0], [1]]
    assert match([[0.6, 0.6]], none, later, 0.6) == [[1]]


def neighbours_of(dataset: str, detections: Predictions) -> Neighbours:
    falloff = DATASETS[dataset].keypoints.falloff
    return neighbours(detections.keypoints, detections.area, detections.image_id, falloff, least=0.3)


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
    pairs = candidates(DATASETS[dataset], kept, annotations)[""]
    edited = naive_oracle_scores(dataset, kept, annotations)
    confident = (kept.confidence > 0).any(axis=1)
    found = oracle_scores(pairs, confident)
    np.testing.assert_allclose(found[confident], edited[confident], atol=1e-9, rtol=0)
    once = np.ones((pairs.images, 1), dtype=np.int32)
    lost = lost_to_ordering(pairs, confident, average_precision(pairs, scores, confident), once)
    best, measured = (official_ap(dataset, kept, used, tmp_path) for used in (edited, scores))
    assert lost["AP_oracle_scores"] == pytest.approx([best], abs=1e-12)
    assert lost["AP_lost"] == pytest.approx([best - measured], abs=1e-12)
    assert lost["AP_lost"] > 0.02
    # No other order is better.
    rng = np.random.default_rng(0)
    for _ in range(5):
        other = average_precision(pairs, edited * rng.uniform(0.5, 1, len(edited)), confident)
        assert other <= best + 1e-12


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
    pairs = candidates(DATASETS["coco"], twice, annotations)[""]
    assert oracle_scores(pairs, np.full(2, True)) == pytest.approx([0, 1])


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_threshold_curves_are_the_evaluators_ap_after_mmposes_suppression(
    dataset: str, tmp_path: Path
) -> None:
    detections = noisy_predictions(tmp_path, dataset, seed=7, images=25).detections()
    ordered = by_image(detections)
    pairs = candidates(DATASETS[dataset], ordered, read_annotations(dataset, tmp_path, "val"))[""]
    curves = threshold_curves(pairs, neighbours_of(dataset, ordered), ordered)
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
    pairs, every = candidates(DATASETS["coco"], kept, annotations)[""], np.full(len(kept), True)
    once, measured = np.ones((pairs.images, 1), dtype=np.int32), average_precision(pairs, scores, every)
    assert all(np.isnan(values).all() for values in lost_to_ordering(pairs, every, measured, once).values())
    curves = threshold_curves(pairs, neighbours_of("coco", kept), kept)
    assert set(curves["nms"]["AP"]) == {None}
