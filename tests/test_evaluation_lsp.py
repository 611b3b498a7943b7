"""PCK, its curve and PCP on Leeds Sports Pose equal mmpose's PCK and plain loops over the definitions."""

from pathlib import Path

import numpy as np
import pytest
from builders.datasets import with_noise, write_lsp_dataset
from mmpose.evaluation.functional import keypoint_pck_accuracy
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from rspose.datasets import DATASETS
from rspose.datasets.annotations import Annotations, read_annotations
from rspose.evaluation.controls import oracle
from rspose.evaluation.detections import instance_scores
from rspose.evaluation.evaluate import evaluate_predictions
from rspose.evaluation.predictions import Predictions

pytestmark = pytest.mark.usefixtures("few_replicates")

NAMES = DATASETS["lsp"].keypoints.names
LEFT_SHOULDER, RIGHT_HIP = NAMES.index("left_shoulder"), NAMES.index("right_hip")


@pytest.fixture
def predicted(tmp_path: Path) -> tuple[Predictions, Annotations, Path]:
    """Predictions that are off by a few pixels, in another order than the annotations."""
    write_lsp_dataset(tmp_path, seed=0, pictures=60, occluded=(40, 3))
    predictions = with_noise(oracle("lsp", tmp_path), seed=1)
    predictions = predictions.take(np.random.default_rng(2).permutation(len(predictions)))
    return predictions, read_annotations("lsp", tmp_path, "val"), tmp_path


def in_order(predictions: Predictions, annotations: Annotations) -> np.ndarray:
    place = {person: at for at, person in enumerate(predictions.annotation_id.tolist())}
    return predictions.keypoints[[place[person] for person in annotations.annotation_id.tolist()]]


def test_pck_and_its_curve_are_those_of_mmpose(predicted: tuple[Predictions, Annotations, Path]) -> None:
    predictions, annotations, root = predicted
    scores = evaluate_predictions("lsp", predictions, root)
    found, truth = in_order(predictions, annotations), annotations.keypoints
    torso = np.linalg.norm(truth[:, LEFT_SHOULDER] - truth[:, RIGHT_HIP], axis=1)
    measure = np.repeat(torso[:, None], 2, axis=1).astype(np.float32)
    curve = []
    for limit in np.arange(1, 21) / 100:
        of_each, mean, _ = keypoint_pck_accuracy(found, truth, annotations.labelled, limit, measure)
        curve.append(mean)
    metrics = scores["metrics"]
    assert 0.1 < metrics["PCK"] < 0.9
    assert metrics["PCK"] == pytest.approx(mean, abs=1e-9)
    assert metrics["AUC"] == pytest.approx(np.mean(curve), abs=1e-9)
    assert scores["diagnosis"]["pck"]["share"] == pytest.approx(curve, abs=1e-9)
    assert scores["diagnosis"]["pck"]["limit"] == pytest.approx((np.arange(1, 21) / 100).tolist())
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        both = [of_each[NAMES.index(f"{side}_{joint}")] for side in ("left", "right")]
        assert metrics[f"PCK_{joint}"] == pytest.approx(np.mean(both), abs=1e-9)
    head = [of_each[NAMES.index(name)] for name in ("head_top", "neck")]
    assert metrics["PCK_head"] == pytest.approx(np.mean(head), abs=1e-9)


def test_pcp_is_the_share_of_limbs_with_both_ends_within_half_of_their_length(
    predicted: tuple[Predictions, Annotations, Path],
) -> None:
    predictions, annotations, root = predicted
    limbs = [("head_top", "neck"), ("neck", "pelvis")]
    for side in ("left", "right"):
        limbs += [(f"{side}_shoulder", f"{side}_elbow"), (f"{side}_elbow", f"{side}_wrist")]
        limbs += [(f"{side}_hip", f"{side}_knee"), (f"{side}_knee", f"{side}_ankle")]

    def place(person: np.ndarray, name: str) -> np.ndarray:
        if name == "pelvis":
            return (place(person, "left_hip") + place(person, "right_hip")) / 2
        return person[NAMES.index(name)]

    right = 0
    for found, truth in zip(in_order(predictions, annotations), annotations.keypoints, strict=True):
        for first, second in limbs:
            length = np.hypot(*(place(truth, first) - place(truth, second)))
            off = [np.hypot(*(place(found, end) - place(truth, end))) for end in (first, second)]
            right += max(off) <= length / 2
    expected = right / (len(limbs) * len(annotations))
    assert 0.1 < expected < 0.95
    metrics = evaluate_predictions("lsp", predictions, root)["metrics"]
    assert metrics["PCP"] == pytest.approx(expected, abs=1e-12)


def test_ap_with_derived_areas_is_the_official_evaluators(
    predicted: tuple[Predictions, Annotations, Path],
) -> None:
    predictions, annotations, root = predicted
    truth = COCO()
    truth.dataset = annotations.content
    truth.createIndex()
    results = [
        {"image_id": int(image), "category_id": 1, "keypoints": np.insert(points, 2, 1, 1).ravel().tolist(),
         "score": float(score)}
        for image, points, score in zip(
            predictions.image_id, predictions.keypoints, instance_scores(predictions), strict=True
        )
    ]  # fmt: skip
    evaluator = COCOeval(truth, truth.loadRes(results), "keypoints")
    evaluator.params.kpt_oks_sigmas = np.array(DATASETS["lsp"].keypoints.sigmas)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    metrics = evaluate_predictions("lsp", predictions, root)["metrics"]
    assert 0.01 < metrics["AP"] < 0.95
    for at, name in enumerate(("AP", "AP50", "AP75")):
        assert metrics[name] == pytest.approx(evaluator.stats[at], abs=1e-12)


def test_the_truth_is_right_everywhere_and_has_nothing_to_gain(tmp_path: Path) -> None:
    write_lsp_dataset(tmp_path, seed=3, pictures=20)
    scores = evaluate_predictions("lsp", oracle("lsp", tmp_path), tmp_path)
    assert all(scores["metrics"][name] == 1 for name in DATASETS["lsp"].metrics)
    assert set(scores["diagnosis"]["errors"]["gain"].values()) == {0.0}


def test_a_person_without_a_prediction_is_named(predicted: tuple[Predictions, Annotations, Path]) -> None:
    predictions, _, root = predicted
    with pytest.raises(ValueError, match=r"expected one prediction for each of the 30 persons"):
        evaluate_predictions("lsp", predictions.take(np.arange(1, 30)), root)


def test_a_record_says_that_boxes_are_derived(predicted: tuple[Predictions, Annotations, Path]) -> None:
    predictions, _, root = predicted
    assert evaluate_predictions("lsp", predictions, root)["protocol"]["boxes"] == "derived"
