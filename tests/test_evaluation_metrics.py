"""AP and PCKh equal those of mmpose, of the official evaluators and of another implementation of them."""

import contextlib
import io
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mmpose
import numpy as np
import pytest
from builders.datasets import (
    JOINTS,
    WHOLEBODY_COUNTS,
    detection,
    noisy_predictions,
    write_coco_split,
    write_dataset,
    write_json,
    write_mpii_dataset,
)
from builders.official import needs_xtcocotools
from builders.processes import python
from faster_coco_eval import COCO as FasterCOCO
from faster_coco_eval import COCOeval_faster
from mmengine.config import Config
from mmpose.datasets.datasets.body import MpiiDataset
from mmpose.evaluation.functional import oks_nms as mmpose_oks_nms
from mmpose.evaluation.metrics import CocoMetric, CocoWholeBodyMetric, MpiiPCKAccuracy
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.io import savemat

from rspose.datasets import DATASETS
from rspose.evaluation.coco import average_precision
from rspose.evaluation.controls import oracle
from rspose.evaluation.detections import by_image, instance_scores
from rspose.evaluation.evaluate import evaluate, evaluate_predictions
from rspose.evaluation.oks import Neighbours, neighbours
from rspose.evaluation.predictions import Predictions
from rspose.tools import official

pytestmark = [
    pytest.mark.slow,
    # mmpose finds its own metainfo file inside its wheel and says so.
    pytest.mark.filterwarnings("ignore:The metainfo config file"),
    pytest.mark.filterwarnings("ignore:.*use 'score' instead"),
    pytest.mark.usefixtures("few_replicates"),
]

ALL = ("coco", "crowdpose", "mpii", "wholebody")
MMPOSE_NAMES = {
    "coco": {
        "AP": "AP", "AP50": "AP .5", "AP75": "AP .75", "APM": "AP (M)", "APL": "AP (L)",
        "AR": "AR", "AR50": "AR .5", "AR75": "AR .75", "ARM": "AR (M)", "ARL": "AR (L)",
    },
    "crowdpose": {
        "AP": "AP", "AP50": "AP .5", "AP75": "AP .75", "AR": "AR", "AR50": "AR .5", "AR75": "AR .75",
        "APE": "AP(E)", "APM": "AP(M)", "APH": "AP(H)",
    },
    "mpii": {
        "PCKh": "PCK", "PCKh@0.1": "PCK@0.1",
        **{
            f"PCKh_{joint}": f"{joint.title()} PCK"
            for joint in ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        },
    },
}  # fmt: skip


def mmpose_sigmas(dataset: str) -> np.ndarray:
    name = "coco_wholebody" if dataset == "wholebody" else dataset
    config = Path(mmpose.__file__).parent / ".mim/configs/_base_/datasets" / f"{name}.py"
    return np.array(Config.fromfile(config).dataset_info.sigmas)


def stats(evaluator: COCOeval) -> np.ndarray:
    """What one of the COCO evaluators says, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats


def mmpose_metrics(
    dataset: str, predictions: Predictions, root: Path, results: Path
) -> tuple[dict[str, float], str]:
    """mmpose's metric fed as its test loop feeds it, and what it prints.

    It writes what it evaluates to ``results``.
    """
    file, prefix = str(root / DATASETS[dataset].annotations["val"]), str(results)
    if dataset == "wholebody":
        metric = CocoWholeBodyMetric(file, outfile_prefix=prefix)
    else:
        kind = "keypoints" if dataset == "coco" else "keypoints_crowd"
        metric = CocoMetric(file, use_area=dataset == "coco", iou_type=kind, outfile_prefix=prefix)
    sigmas = mmpose_sigmas(dataset)
    name = "coco_wholebody" if dataset == "wholebody" else dataset
    metric.dataset_meta = {"dataset_name": name, "num_keypoints": len(sigmas), "sigmas": sigmas}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        metric.process([], mmpose_samples(predictions.detections()))
        return metric.compute_metrics(metric.results), printed.getvalue()


def mmpose_samples(found: Predictions) -> list[dict]:
    return [
        {
            "id": row,
            "img_id": int(found.image_id[row]),
            "pred_instances": {
                "keypoints": found.keypoints[row : row + 1],
                "keypoint_scores": found.confidence[row : row + 1],
                "bboxes": np.concatenate([found.box[row, :2], found.box[row, :2] + found.box[row, 2:]])[None],
                "bbox_scores": found.box_score[row : row + 1],
            },
            "gt_instances": {"bbox_scales": np.array([[found.area[row], 1]], dtype=np.float32)},
        }
        for row in range(len(found))
    ]


@needs_xtcocotools
@pytest.mark.parametrize(("dataset", "seed"), [("coco", 1), ("coco", 2), ("crowdpose", 3), ("crowdpose", 4)])
def test_average_precision_equals_that_of_mmpose_and_of_other_evaluators(
    dataset: str, seed: int, tmp_path: Path
) -> None:
    predictions = noisy_predictions(tmp_path, dataset, seed)
    ours = evaluate_predictions(dataset, predictions, tmp_path)["metrics"]
    theirs, _ = mmpose_metrics(dataset, predictions, tmp_path, tmp_path / "mmpose")
    assert 0.1 < ours["AP"] < 0.9
    assert ours.keys() == MMPOSE_NAMES[dataset].keys()
    for name, their_name in MMPOSE_NAMES[dataset].items():
        assert ours[name] == pytest.approx(theirs[their_name], abs=1e-9), name
    annotations = str(tmp_path / DATASETS[dataset].annotations["val"])
    results = str(tmp_path / "mmpose.keypoints.json")
    truth = FasterCOCO(annotations)
    evaluator = COCOeval_faster(
        truth,
        truth.loadRes(results),
        "keypoints" if dataset == "coco" else "keypoints_crowd",
        kpt_oks_sigmas=mmpose_sigmas(dataset).tolist(),
        use_area=dataset == "coco",
    )
    evaluator.run()
    faster = [float(value) for value in evaluator.stats[: len(ours)]]
    # xtcocotools rounds the three CrowdPose splits to four digits.
    np.testing.assert_allclose(list(ours.values()), faster, atol=6e-5 if dataset == "crowdpose" else 1e-9)
    if dataset == "coco":
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(annotations)
            evaluator = COCOeval(truth, truth.loadRes(results), "keypoints")
        np.testing.assert_allclose(list(ours.values()), stats(evaluator), atol=1e-9)


@pytest.mark.parametrize("with_boxes", [True, False])
def test_medium_and_large_go_by_the_box_that_results_carry_else_by_the_keypoints(
    with_boxes: bool, tmp_path: Path
) -> None:
    """Numbers that look alike: COCO's own evaluator takes the area from what a result holds."""
    of_areas = ("APM", "APL", "ARM", "ARL")
    predictions = noisy_predictions(tmp_path, "coco", seed=2)
    low, high = predictions.keypoints.min(axis=1), predictions.keypoints.max(axis=1)
    around = replace(predictions, box=np.concatenate([low, high - low], axis=1))
    by_box, by_keypoints = (
        evaluate_predictions("coco", each, tmp_path)["metrics"] for each in (predictions, around)
    )
    results = official.results(DATASETS["coco"], *official.suppressed(predictions, DATASETS["coco"]))
    for result in results:
        result["bbox"] = result["bbox"] if with_boxes else []
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / DATASETS["coco"].annotations["val"]))
        theirs = stats(COCOeval(truth, truth.loadRes(results), "keypoints"))[[3, 4, 8, 9]]
    same, other = (by_box, by_keypoints) if with_boxes else (by_keypoints, by_box)
    np.testing.assert_allclose([same[name] for name in of_areas], theirs, atol=1e-9)
    assert max(abs(other[name] - each) for name, each in zip(of_areas, theirs, strict=True)) > 0.001


@pytest.mark.parametrize(
    ("dataset", "name"), [("coco", "APL"), ("crowdpose", "APH"), ("wholebody", "AR_foot")]
)
def test_another_number_than_that_of_the_evaluator_is_refused(
    dataset: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = replace(noisy_predictions(tmp_path, dataset, seed=3), source="here.npz")

    def wrong(*arguments: Any) -> dict[str, np.ndarray]:
        values = average_precision(*arguments)
        return {**values, name: values[name] + 2e-4}

    monkeypatch.setattr("rspose.evaluation.coco.average_precision", wrong)
    found = rf"here.npz: {name}: expected the 0\.\d+ of faster-coco-eval \d\S*, found 0\.\d+ by"
    with pytest.raises(ValueError, match=found):
        evaluate_predictions(dataset, predictions, tmp_path)


WHOLEBODY_PARTS = ("body", "foot", "face", "lefthand", "righthand")


@needs_xtcocotools
@pytest.mark.parametrize("seed", [16, 17])
def test_wholebody_average_precision_equals_mmpose(seed: int, tmp_path: Path) -> None:
    predictions = noisy_predictions(tmp_path, "wholebody", seed)
    ours = evaluate_predictions("wholebody", predictions, tmp_path)["metrics"]
    theirs, printed = mmpose_metrics("wholebody", predictions, tmp_path, tmp_path / "mmpose")
    assert 0.1 < ours["AP"] < 0.9
    assert len({ours[f"AP_{part}"] for part in WHOLEBODY_PARTS}) == 5
    for name, their_name in MMPOSE_NAMES["coco"].items():
        assert ours[name] == pytest.approx(theirs[their_name], abs=1e-9), name
    # mmpose returns the whole and prints the parts, AP first and AR as sixth line, with three digits.
    values = [float(line.split("=")[-1]) for line in printed.splitlines() if " @[ IoU=" in line]
    for number, part in enumerate(WHOLEBODY_PARTS):
        expected = pytest.approx((values[10 * number], values[10 * number + 5]), abs=5.1e-4)
        assert (ours[f"AP_{part}"], ours[f"AR_{part}"]) == expected, part


@needs_xtcocotools
def test_wholebody_average_precision_of_a_part_equals_pycocotools(tmp_path: Path) -> None:
    """The COCO evaluator knows no parts: it is given each part as if it were the body."""
    predictions = noisy_predictions(tmp_path, "wholebody", seed=18)
    ours = evaluate_predictions("wholebody", predictions, tmp_path)["metrics"]
    mmpose_metrics("wholebody", predictions, tmp_path, tmp_path / "mmpose")
    content = json.loads((tmp_path / DATASETS["wholebody"].annotations["val"]).read_text())
    results = json.loads((tmp_path / "mmpose.keypoints.json").read_text())
    sigmas = mmpose_sigmas("wholebody")

    def as_body(entries: list[dict], rows: slice) -> list[dict]:
        bodies = []
        for entry in entries:
            values = np.concatenate([entry[field] for field in WHOLEBODY_COUNTS]).reshape(-1, 3)[rows]
            labelled = int((values[:, 2] > 0).sum())
            bodies.append({**entry, "keypoints": values.ravel().tolist(), "num_keypoints": labelled})
        return bodies

    starts = np.cumsum([0, *WHOLEBODY_COUNTS.values()])
    parts = {f"_{part}": slice(*starts[index : index + 2]) for index, part in enumerate(WHOLEBODY_PARTS)}
    for suffix, rows in {**parts, "": slice(133)}.items():
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {**content, "annotations": as_body(content["annotations"], rows)}
            truth.createIndex()
            evaluator = COCOeval(truth, truth.loadRes(as_body(results, rows)), "keypoints")
        evaluator.params.kpt_oks_sigmas = sigmas[rows]
        theirs = stats(evaluator)
        expected = pytest.approx((theirs[0], theirs[5]), abs=1e-9)
        assert (ours[f"AP{suffix}"], ours[f"AR{suffix}"]) == expected, suffix


@pytest.mark.parametrize(
    ("dataset", "unsure", "metric"),
    [("coco", slice(None), "AP"), ("wholebody", slice(17, 23), "AP_foot")],
)
def test_confidences_of_nothing_are_an_average_precision_of_0(
    dataset: str, unsure: slice, metric: str, tmp_path: Path
) -> None:
    predictions = noisy_predictions(tmp_path, dataset, seed=5, images=6)
    predictions.confidence[:, unsure] = 0
    assert evaluate_predictions(dataset, predictions, tmp_path)["metrics"][metric] == 0


@pytest.mark.parametrize("what", ["another image", "twice"])
def test_a_prediction_on_an_annotated_box_is_one_of_a_person_in_its_image(what: str, tmp_path: Path) -> None:
    predictions = noisy_predictions(tmp_path, "coco", seed=5, images=6)
    (on_truth,) = np.nonzero(predictions.annotation_id >= 0)
    if what == "twice":
        predictions = predictions.take(np.concatenate([np.arange(len(predictions)), on_truth[-1:]]))
    else:
        images = predictions.image_id[on_truth]
        predictions.image_id[on_truth[0]] = images[images != images[0]][0]
    with pytest.raises(ValueError, match=r"expected predictions on annotated boxes, one a person"):
        evaluate_predictions("coco", predictions, tmp_path)


def test_hand_average_precision_is_the_mean_of_both_hands(tmp_path: Path) -> None:
    write_dataset(tmp_path, "wholebody", seed=19)
    predictions = oracle("wholebody", tmp_path)
    predictions.keypoints[:, 112:] += 500  # no right hand is found
    metrics = evaluate_predictions("wholebody", predictions, tmp_path)["metrics"]
    assert metrics["AP_lefthand"] > 0.5
    assert metrics["AP_righthand"] < 0.1
    assert metrics["AP_hand"] == pytest.approx((metrics["AP_lefthand"] + metrics["AP_righthand"]) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_oks_nms_keeps_what_mmpose_keeps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sigmas = mmpose_sigmas("coco")
    centres = rng.uniform(0, 400, (6, 17, 2))
    keypoints = centres[rng.integers(0, 6, 50)] + rng.normal(0, rng.choice([1, 4], (50, 1, 1)), (50, 17, 2))
    area, scores = rng.uniform(2000, 9000, 50), rng.uniform(0, 1, 50)
    instances = [
        {"keypoints": np.column_stack([pose, np.ones(17)]), "area": size, "score": score}
        for pose, size, score in zip(keypoints, area, scores, strict=True)
    ]
    near = neighbours(keypoints, area, np.zeros(50, int), 2 * sigmas, 0.3)
    for threshold in (0.3, 0.9):
        expected = mmpose_oks_nms(instances, threshold, sigmas=sigmas)
        assert 3 < len(expected) < 50
        np.testing.assert_array_equal(np.flatnonzero(near.kept(scores, threshold)), np.sort(expected))


def test_oks_nms_of_equal_scores_keeps_the_first_and_of_nothing_nothing() -> None:
    for count, kept in ((40, [0]), (0, [])):
        near = Neighbours(*np.triu_indices(count, 1), np.ones(count * (count - 1) // 2))
        assert np.flatnonzero(near.kept(np.ones(count), 0.9)).tolist() == kept
    none = np.zeros((0, 17, 2)), np.zeros(0), np.zeros(0, int), mmpose_sigmas("coco"), 0.3
    assert len(neighbours(*none).oks) == 0


def test_of_equal_scores_the_later_detection_of_an_image_comes_first(tmp_path: Path) -> None:
    write_dataset(tmp_path, "coco", seed=1)
    predictions = oracle("coco", tmp_path)
    predictions.image_id = np.tile([7, 5], len(predictions))[: len(predictions)]
    ordered = by_image(predictions)
    assert (np.diff(ordered.image_id) >= 0).all()
    evens = predictions.box[1::2][::-1]
    np.testing.assert_array_equal(ordered.box[: len(evens)], evens)


def test_instance_score_is_box_score_times_mean_of_confidences_above_a_fifth(tmp_path: Path) -> None:
    write_dataset(tmp_path, "coco", seed=1)
    predictions = oracle("coco", tmp_path).take(np.arange(2))
    predictions.box_score = np.array([0.5, 1.0], dtype=np.float32)
    predictions.confidence = np.array([[0.9, 0.5, 0.1], [0.2, 0.1, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(instance_scores(predictions), [0.5 * (0.9 + 0.5) / 2, 0.0])


@pytest.mark.parametrize("seed", [6, 7])
def test_pckh_equals_mmpose(seed: int, tmp_path: Path) -> None:
    predictions = noisy_predictions(tmp_path, "mpii", seed)
    ours = evaluate_predictions("mpii", predictions, tmp_path)["metrics"]
    assert 0.1 < ours["PCKh@0.1"] < ours["PCKh"] < 0.95
    persons = MpiiDataset(
        ann_file=str(tmp_path / DATASETS["mpii"].annotations["val"]),
        headbox_file=str(tmp_path / DATASETS["mpii"].headboxes),
        data_prefix={"img": str(tmp_path)},
        test_mode=True,
    )
    metric = MpiiPCKAccuracy()
    for index, row in enumerate(np.argsort(predictions.annotation_id)):
        truth = persons.get_data_info(index)
        sample = {
            "pred_instances": {"keypoints": predictions.keypoints[row : row + 1]},
            "gt_instances": {name: truth[name] for name in ("keypoints", "keypoints_visible", "head_size")},
        }
        metric.process([], [sample])
    theirs = metric.compute_metrics(metric.results)
    for name, their_name in MMPOSE_NAMES["mpii"].items():
        assert ours[name] == pytest.approx(theirs[their_name] / 100, abs=1e-6), name


def test_pckh_by_hand(tmp_path: Path) -> None:
    """Two persons with a head size of 10: a wrist 4.9 off is right at 0.5 of it and 5.1 off is not."""
    write_mpii_dataset(tmp_path, seed=8, persons=2)
    corners = np.full((2, 2, 2), 30.0)
    corners[1, 0] += 10 / 0.6
    savemat(tmp_path / DATASETS["mpii"].headboxes, {"headboxes_src": corners})
    say_seen(tmp_path, list(range(16)), 1)
    predictions = oracle("mpii", tmp_path)
    right_wrist, left_wrist, pelvis = 10, 15, 6
    predictions.keypoints[0, right_wrist, 0] += 4.9
    predictions.keypoints[1, left_wrist, 1] -= 5.1
    predictions.keypoints[1, pelvis] += 1000  # is not counted
    metrics = evaluate_predictions("mpii", predictions, tmp_path)["metrics"]
    assert metrics["PCKh_wrist"] == pytest.approx(3 / 4)
    assert metrics["PCKh_ankle"] == 1
    assert metrics["PCKh"] == pytest.approx(27 / 28)
    assert metrics["PCKh@0.1"] == pytest.approx(26 / 28)


def say_seen(root: Path, joints: list[int], seen: int) -> None:
    path = root / DATASETS["mpii"].annotations["val"]
    entries = json.loads(path.read_text())
    for entry, joint in itertools.product(entries, joints):
        entry["joints_vis"][joint] = seen
    write_json(path, entries)


def test_a_joint_that_nobody_labelled_has_no_pckh(tmp_path: Path) -> None:
    write_dataset(tmp_path, "mpii", seed=9)
    say_seen(tmp_path, [9], 0)
    metrics = evaluate_predictions("mpii", oracle("mpii", tmp_path), tmp_path)["metrics"]
    assert metrics["PCKh_head"] is None
    assert metrics["PCKh"] == 1


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_an_empty_split_has_no_average_precision(dataset: str, tmp_path: Path) -> None:
    joints = JOINTS[dataset]
    person = {"id": 1, "image_id": 5, "category_id": 1, "iscrowd": 0, "bbox": [10.0, 10.0, 150.0, 150.0]}
    person |= {"area": 150.0**2, "keypoints": [20.0, 30.0, 2] * joints, "num_keypoints": joints}
    image = {"id": 5, "file_name": "5.jpg", "width": 200, "height": 200, "crowdIndex": 0.1}
    for split in ("train", "val"):
        write_coco_split(tmp_path, dataset, split, [image], [person])
    write_json(tmp_path / DATASETS[dataset].detections, [detection(5, person["bbox"], 0.9)])
    metrics = evaluate_predictions(dataset, oracle(dataset, tmp_path), tmp_path)["metrics"]
    filled, empty = ("APL", ("APM",)) if dataset == "coco" else ("APE", ("APM", "APH"))
    assert metrics["AP"] == pytest.approx(1)
    assert metrics[filled] == pytest.approx(1)
    assert [metrics[name] for name in empty] == [None] * len(empty)


@pytest.mark.parametrize("dataset", ALL)
def test_the_order_of_rows_does_not_matter(dataset: str, tmp_path: Path) -> None:
    predictions = noisy_predictions(tmp_path, dataset, seed=12)
    predictions.confidence[:] = np.maximum(predictions.confidence, 0.25)  # no ties at a score of 0
    shuffled = predictions.take(np.random.default_rng(0).permutation(len(predictions)))
    first, second = (evaluate_predictions(dataset, each, tmp_path) for each in (predictions, shuffled))
    assert second["metrics"] == pytest.approx(first["metrics"], nan_ok=False)
    for level in ("keypoint", "pose"):
        assert second["confidence"][level] == pytest.approx(first["confidence"][level])


@pytest.mark.parametrize("dataset", ALL)
def test_evaluate_reads_the_file_and_states_the_protocol(
    dataset: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    predictions = noisy_predictions(tmp_path, dataset, seed=13)
    predictions.protocol = {"dataset": dataset, "split": "val", "flip_test": True}
    predictions.save(tmp_path / "predictions.npz")
    scores = evaluate(dataset, tmp_path / "predictions.npz", tmp_path)
    assert capfd.readouterr().out == ""
    assert json.loads(json.dumps(scores)) == scores
    assert scores == evaluate_predictions(dataset, predictions, tmp_path)
    assert scores["protocol"]["flip_test"] is True
    assert scores["protocol"]["evaluator"]
    if dataset != "mpii":
        stated = {"score_mode": "bbox_keypoint", "keypoint_score_threshold": 0.2}
        stated |= {"nms": "oks", "nms_threshold": 0.9}
        assert stated.items() <= scores["protocol"].items()


def test_predictions_of_another_dataset_or_without_detections_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path, "coco", seed=15)
    predictions = oracle("coco", tmp_path)
    with pytest.raises(ValueError, match="expected predictions on detector boxes"):
        evaluate_predictions("coco", predictions.ground_truth_boxes(), tmp_path)
    with pytest.raises(ValueError, match="expected predictions on crowdpose, found predictions on coco"):
        evaluate_predictions("crowdpose", predictions, tmp_path)
    predictions.protocol = {}
    with pytest.raises(ValueError, match="expected the 14 keypoints of crowdpose, found 17"):
        evaluate_predictions("crowdpose", predictions, tmp_path)


@pytest.mark.parametrize("column", ["image_id", "annotation_id"])
def test_an_unknown_id_is_named(column: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, "coco", seed=16)
    predictions = oracle("coco", tmp_path)
    row = np.flatnonzero(predictions.annotation_id >= 0)[0] if column == "annotation_id" else -1
    getattr(predictions, column)[row] = 987654
    with pytest.raises(ValueError, match=rf"{column} 987654 is not in .*person_keypoints_val2017.json"):
        evaluate_predictions("coco", predictions, tmp_path)


@pytest.mark.parametrize("rows", [np.arange(39), np.append(np.arange(39), 0)], ids=["missing", "twice"])
def test_pckh_wants_every_person_once(rows: np.ndarray, tmp_path: Path) -> None:
    write_dataset(tmp_path, "mpii", seed=17)
    with pytest.raises(ValueError, match=r"expected one prediction for each of the 40 persons"):
        evaluate_predictions("mpii", oracle("mpii", tmp_path).take(rows), tmp_path)


def test_evaluation_loads_nothing_slow() -> None:
    program = (
        "import sys, rspose.evaluation.evaluate, rspose.evaluation.controls;"
        "slow = {'torch', 'pandas', 'mmpose', 'mmengine', 'scipy.stats', 'scipy.optimize'}; "
        "print(sorted(slow & set(sys.modules)))"
    )
    assert python("-c", program) == "[]\n"
