"""AP and PCKh equal those of mmpose, of the official evaluators and of another implementation of them."""

import contextlib
import io
import json
from pathlib import Path

import mmpose
import numpy as np
import pytest
from builders.datasets import (
    WHOLEBODY_COUNTS,
    detection,
    random_person,
    with_noise,
    write_coco_split,
    write_crowded_dataset,
    write_dataset,
    write_json,
    write_mpii_dataset,
)
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
from rspose.evaluation.controls import oracle
from rspose.evaluation.detections import instance_scores
from rspose.evaluation.evaluate import evaluate, evaluate_predictions
from rspose.evaluation.oks import oks_nms
from rspose.evaluation.predictions import Predictions

# mmpose finds its own metainfo file inside its wheel and says so.
pytestmark = pytest.mark.filterwarnings("ignore:The metainfo config file")

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
        "PCKh_head": "Head PCK", "PCKh_shoulder": "Shoulder PCK", "PCKh_elbow": "Elbow PCK",
        "PCKh_wrist": "Wrist PCK", "PCKh_hip": "Hip PCK", "PCKh_knee": "Knee PCK", "PCKh_ankle": "Ankle PCK",
        "PCKh": "PCK", "PCKh@0.1": "PCK@0.1",
    },
}  # fmt: skip


def mmpose_sigmas(dataset: str) -> np.ndarray:
    config = Path(mmpose.__file__).parent / ".mim/configs/_base_/datasets" / f"{dataset}.py"
    return np.array(Config.fromfile(config).dataset_info.sigmas)


def stats(evaluator: COCOeval) -> np.ndarray:
    """What one of the COCO evaluators says, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats


def mmpose_coco_metrics(
    dataset: str, predictions: Predictions, root: Path, results: Path
) -> dict[str, float]:
    """CocoMetric fed as mmpose's test loop feeds it; it writes what it evaluates to ``results``."""
    metric = CocoMetric(
        ann_file=str(root / DATASETS[dataset].annotations["val"]),
        use_area=dataset == "coco",
        iou_type="keypoints" if dataset == "coco" else "keypoints_crowd",
        outfile_prefix=str(results),
    )
    sigmas = mmpose_sigmas(dataset)
    metric.dataset_meta = {"dataset_name": dataset, "num_keypoints": len(sigmas), "sigmas": sigmas}
    samples = mmpose_samples(predictions.detections())
    with contextlib.redirect_stdout(io.StringIO()):
        metric.process([], samples)
        return metric.compute_metrics(metric.results)


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


@pytest.fixture(params=[("coco", 1), ("coco", 2), ("crowdpose", 3), ("crowdpose", 4)], ids=str)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, Predictions]:
    dataset, seed = request.param
    write_crowded_dataset(tmp_path, dataset, seed)
    return dataset, tmp_path, with_noise(oracle(dataset, tmp_path), seed)


def test_average_precision_equals_mmpose_and_faster_coco_eval(
    case: tuple[str, Path, Predictions], tmp_path: Path
) -> None:
    dataset, root, predictions = case
    ours = evaluate_predictions(dataset, predictions, root)["metrics"]
    theirs = mmpose_coco_metrics(dataset, predictions, root, tmp_path / "mmpose")
    assert 0.1 < ours["AP"] < 0.9
    assert ours.keys() == MMPOSE_NAMES[dataset].keys()
    for name, their_name in MMPOSE_NAMES[dataset].items():
        assert ours[name] == pytest.approx(theirs[their_name], abs=1e-9), name
    truth = FasterCOCO(str(root / DATASETS[dataset].annotations["val"]))
    evaluator = COCOeval_faster(
        truth,
        truth.loadRes(str(tmp_path / "mmpose.keypoints.json")),
        "keypoints" if dataset == "coco" else "keypoints_crowd",
        kpt_oks_sigmas=mmpose_sigmas(dataset).tolist(),
        use_area=dataset == "coco",
    )
    evaluator.run()
    faster = [float(value) for value in evaluator.stats[: len(ours)]]
    # xtcocotools rounds the three CrowdPose splits to four digits.
    np.testing.assert_allclose(list(ours.values()), faster, atol=6e-5 if dataset == "crowdpose" else 1e-9)


def test_coco_average_precision_equals_pycocotools(tmp_path: Path) -> None:
    write_crowded_dataset(tmp_path, "coco", seed=5)
    predictions = with_noise(oracle("coco", tmp_path), seed=5)
    ours = evaluate_predictions("coco", predictions, tmp_path)["metrics"]
    mmpose_coco_metrics("coco", predictions, tmp_path, tmp_path / "mmpose")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / DATASETS["coco"].annotations["val"]))
        evaluator = COCOeval(truth, truth.loadRes(str(tmp_path / "mmpose.keypoints.json")), "keypoints")
    np.testing.assert_allclose(list(ours.values()), stats(evaluator), atol=1e-9)


WHOLEBODY_PARTS = ("body", "foot", "face", "lefthand", "righthand")


def mmpose_wholebody_metrics(predictions: Predictions, root: Path, results: Path) -> dict[str, float]:
    """CocoWholeBodyMetric fed as mmpose's test loop feeds it; it prints the parts and returns the whole."""
    metric = CocoWholeBodyMetric(
        ann_file=str(root / DATASETS["wholebody"].annotations["val"]), outfile_prefix=str(results)
    )
    sigmas = mmpose_sigmas("coco_wholebody")
    metric.dataset_meta = {"dataset_name": "coco_wholebody", "num_keypoints": 133, "sigmas": sigmas}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        metric.process([], mmpose_samples(predictions.detections()))
        whole = metric.compute_metrics(metric.results)
    # Three digits of the first (AP) and sixth (AR) line of each evaluation, in mmpose's order.
    values = [float(line.split("=")[-1]) for line in printed.getvalue().splitlines() if " @[ IoU=" in line]
    parts = {}
    for number, part in enumerate(WHOLEBODY_PARTS):
        parts |= {f"AP_{part}": values[10 * number], f"AR_{part}": values[10 * number + 5]}
    return {**whole, **parts}


@pytest.mark.filterwarnings("ignore:.*use 'score' instead")
@pytest.mark.parametrize("seed", [16, 17])
def test_wholebody_average_precision_equals_mmpose(seed: int, tmp_path: Path) -> None:
    write_crowded_dataset(tmp_path, "wholebody", seed)
    predictions = with_noise(oracle("wholebody", tmp_path), seed)
    ours = evaluate_predictions("wholebody", predictions, tmp_path)["metrics"]
    theirs = mmpose_wholebody_metrics(predictions, tmp_path, tmp_path / "mmpose")
    assert 0.1 < ours["AP"] < 0.9
    assert len({ours[f"AP_{part}"] for part in WHOLEBODY_PARTS}) == 5
    for name, their_name in MMPOSE_NAMES["coco"].items():
        assert ours[name] == pytest.approx(theirs[their_name], abs=1e-9), name
    for part in WHOLEBODY_PARTS:
        for name in (f"AP_{part}", f"AR_{part}"):
            assert ours[name] == pytest.approx(theirs[name], abs=5.1e-4), name


@pytest.mark.filterwarnings("ignore:.*use 'score' instead")
@pytest.mark.parametrize("part", [*WHOLEBODY_PARTS, "wholebody"])
def test_wholebody_average_precision_of_a_part_equals_pycocotools(part: str, tmp_path: Path) -> None:
    """The COCO evaluator knows no parts: it is given each part as if it were the body."""
    write_crowded_dataset(tmp_path, "wholebody", seed=18)
    predictions = with_noise(oracle("wholebody", tmp_path), seed=18)
    ours = evaluate_predictions("wholebody", predictions, tmp_path)["metrics"]
    mmpose_wholebody_metrics(predictions, tmp_path, tmp_path / "mmpose")
    first, count = {"body": (0, 17), "foot": (17, 6), "face": (23, 68), "lefthand": (91, 21)}.get(
        part, (112, 21) if part == "righthand" else (0, 133)
    )

    def as_body(entries: list[dict]) -> list[dict]:
        for entry in entries:
            values = [entry[field] for field in WHOLEBODY_COUNTS]
            entry["keypoints"] = np.concatenate(values)[3 * first : 3 * (first + count)].tolist()
            entry["num_keypoints"] = int((np.array(entry["keypoints"][2::3]) > 0).sum())
        return entries

    content = json.loads((tmp_path / DATASETS["wholebody"].annotations["val"]).read_text())
    results = as_body(json.loads((tmp_path / "mmpose.keypoints.json").read_text()))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {**content, "annotations": as_body(content["annotations"])}
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(results), "keypoints")
    evaluator.params.kpt_oks_sigmas = mmpose_sigmas("coco_wholebody")[first : first + count]
    suffix = "" if part == "wholebody" else f"_{part}"
    theirs = stats(evaluator)
    assert (ours[f"AP{suffix}"], ours[f"AR{suffix}"]) == pytest.approx((theirs[0], theirs[5]), abs=1e-9)


def test_hand_average_precision_is_the_mean_of_both_hands(tmp_path: Path) -> None:
    write_crowded_dataset(tmp_path, "wholebody", seed=19)
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
    expected = mmpose_oks_nms(instances, 0.9, sigmas=sigmas)
    assert 6 < len(expected) < 50
    np.testing.assert_array_equal(oks_nms(keypoints, area, scores, 2 * sigmas, 0.9), expected)


def test_oks_nms_of_equal_scores_keeps_the_later_and_of_nothing_nothing() -> None:
    falloff = DATASETS["coco"].keypoints.falloff
    for count, kept in ((40, [39]), (0, [])):
        ones = np.ones(count)
        assert oks_nms(np.zeros((count, 17, 2)), ones, ones, falloff, 0.9).tolist() == kept


def test_instance_score_is_box_score_times_mean_of_confidences_above_a_fifth() -> None:
    confidence = np.array([[0.9, 0.5, 0.1], [0.2, 0.1, 0.0]], dtype=np.float32)
    scores = instance_scores(np.array([0.5, 1.0], dtype=np.float32), confidence)
    np.testing.assert_allclose(scores, [0.5 * (0.9 + 0.5) / 2, 0.0])


@pytest.mark.parametrize("seed", [6, 7])
def test_pckh_equals_mmpose(seed: int, tmp_path: Path) -> None:
    write_mpii_dataset(tmp_path, seed)
    predictions = with_noise(oracle("mpii", tmp_path), seed)
    ours = evaluate_predictions("mpii", predictions, tmp_path)["metrics"]
    assert 0.1 < ours["PCKh@0.1"] < ours["PCKh"] < 0.95
    for name, expected in mmpose_pckh(predictions, tmp_path).items():
        assert ours[name] == pytest.approx(expected, abs=1e-6), name


def mmpose_pckh(predictions: Predictions, root: Path) -> dict[str, float]:
    persons = MpiiDataset(
        ann_file=str(root / DATASETS["mpii"].annotations["val"]),
        headbox_file=str(root / DATASETS["mpii"].headboxes),
        data_prefix={"img": str(root)},
        test_mode=True,
    )
    metric = MpiiPCKAccuracy()
    by_person = np.argsort(predictions.annotation_id)
    for index in range(len(persons)):
        truth = persons.get_data_info(index)
        row = by_person[index]
        sample = {
            "pred_instances": {"keypoints": predictions.keypoints[row : row + 1]},
            "gt_instances": {name: truth[name] for name in ("keypoints", "keypoints_visible", "head_size")},
        }
        metric.process([], [sample])
    theirs = metric.compute_metrics(metric.results)
    return {name: theirs[their_name] / 100 for name, their_name in MMPOSE_NAMES["mpii"].items()}


def test_pckh_by_hand(tmp_path: Path) -> None:
    """Two persons with a head size of 10: a wrist 4.9 off is right at 0.5 of it and 5.1 off is not."""
    write_mpii_dataset(tmp_path, seed=8, persons=2)
    write_head_boxes(tmp_path, diagonal=10 / 0.6, persons=2)
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


def write_head_boxes(root: Path, diagonal: float, persons: int) -> None:
    corners = np.full((2, 2, persons), 30.0)
    corners[1, 0] += diagonal
    savemat(root / DATASETS["mpii"].headboxes, {"headboxes_src": corners})


def say_seen(root: Path, joints: list[int], seen: int) -> None:
    path = root / DATASETS["mpii"].annotations["val"]
    entries = json.loads(path.read_text())
    for entry in entries:
        for joint in joints:
            entry["joints_vis"][joint] = seen
    path.write_text(json.dumps(entries))


def test_a_joint_that_nobody_labelled_has_no_pckh(tmp_path: Path) -> None:
    write_mpii_dataset(tmp_path, seed=9)
    say_seen(tmp_path, [9], 0)
    metrics = evaluate_predictions("mpii", oracle("mpii", tmp_path), tmp_path)["metrics"]
    assert metrics["PCKh_head"] is None
    assert metrics["PCKh"] == 1


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_an_empty_split_has_no_average_precision(dataset: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    person = {**random_person(rng, dataset, 1, 5), "bbox": [10.0, 10.0, 150.0, 150.0], "iscrowd": 0}
    person |= {"keypoints": [20.0, 30.0, 2] * (17 if dataset == "coco" else 14), "num_keypoints": 14}
    if dataset == "coco":
        person["area"] = 150.0**2
    image = {"id": 5, "file_name": "5.jpg", "width": 200, "height": 200, "crowdIndex": 0.1}
    for split in ("train", "val"):
        write_coco_split(tmp_path, dataset, split, [image], [person])
    write_json(tmp_path / DATASETS[dataset].detections, [detection(5, person["bbox"], 0.9)])
    metrics = evaluate_predictions(dataset, oracle(dataset, tmp_path), tmp_path)["metrics"]
    filled, empty = ("APL", ("APM",)) if dataset == "coco" else ("APE", ("APM", "APH"))
    assert metrics["AP"] == pytest.approx(1)
    assert metrics[filled] == pytest.approx(1)
    assert [metrics[name] for name in empty] == [None] * len(empty)


def test_shuffled_confidences_lower_average_precision(tmp_path: Path) -> None:
    write_crowded_dataset(tmp_path, "coco", seed=11)
    predictions = with_noise(oracle("coco", tmp_path), seed=11)
    predictions.box_score[:] = 1
    told = evaluate_predictions("coco", predictions, tmp_path)
    predictions.confidence = np.random.default_rng(0).permutation(predictions.confidence)
    shuffled = evaluate_predictions("coco", predictions, tmp_path)
    assert shuffled["metrics"]["AP"] < told["metrics"]["AP"] - 0.05
    assert shuffled["confidence"]["pose"]["spearman"] < told["confidence"]["pose"]["spearman"] - 0.2
    assert shuffled["confidence"]["keypoint"]["spearman"] < told["confidence"]["keypoint"]["spearman"] - 0.2


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii", "wholebody"])
def test_the_order_of_rows_does_not_matter(dataset: str, tmp_path: Path) -> None:
    write_dataset(tmp_path, dataset, seed=12)
    predictions = with_noise(oracle(dataset, tmp_path), seed=12)
    predictions.confidence[:] = np.maximum(predictions.confidence, 0.25)  # no ties at a score of 0
    shuffled = predictions.take(np.random.default_rng(0).permutation(len(predictions)))
    first, second = (evaluate_predictions(dataset, each, tmp_path) for each in (predictions, shuffled))
    assert second["metrics"] == pytest.approx(first["metrics"], nan_ok=False)
    for level in ("keypoint", "pose"):
        assert second["confidence"][level] == pytest.approx(first["confidence"][level])


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii", "wholebody"])
def test_evaluate_reads_the_file_and_states_the_protocol(
    dataset: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path, dataset, seed=13)
    predictions = with_noise(oracle(dataset, tmp_path), seed=13)
    predictions.protocol = {"dataset": dataset, "split": "val", "flip_test": True}
    predictions.save(tmp_path / "predictions.npz")
    scores = evaluate(dataset, tmp_path / "predictions.npz", tmp_path)
    assert capfd.readouterr().out == ""
    assert json.loads(json.dumps(scores)) == scores
    assert scores == evaluate_predictions(dataset, predictions, tmp_path)
    assert scores["protocol"]["flip_test"] is True
    assert scores["protocol"]["evaluator"]
    if dataset != "mpii":
        stated = {
            "score_mode": "bbox_keypoint",
            "keypoint_score_threshold": 0.2,
            "nms": "oks",
            "nms_threshold": 0.9,
        }
        assert stated.items() <= scores["protocol"].items()


def test_predictions_of_another_dataset_or_without_detections_are_refused(tmp_path: Path) -> None:
    write_crowded_dataset(tmp_path, "coco", seed=15)
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
    write_crowded_dataset(tmp_path, "coco", seed=16)
    predictions = oracle("coco", tmp_path)
    row = np.flatnonzero(predictions.annotation_id >= 0)[0] if column == "annotation_id" else -1
    getattr(predictions, column)[row] = 987654
    with pytest.raises(ValueError, match=rf"{column} 987654 is not in .*person_keypoints_val2017.json"):
        evaluate_predictions("coco", predictions, tmp_path)


@pytest.mark.parametrize("rows", [np.arange(39), np.append(np.arange(39), 0)], ids=["missing", "twice"])
def test_pckh_wants_every_person_once(rows: np.ndarray, tmp_path: Path) -> None:
    write_mpii_dataset(tmp_path, seed=17)
    with pytest.raises(ValueError, match=r"expected one prediction for each of the 40 persons"):
        evaluate_predictions("mpii", oracle("mpii", tmp_path).take(rows), tmp_path)


def test_evaluation_loads_no_torch() -> None:
    program = (
        "import sys, rspose.evaluation.evaluate, rspose.evaluation.controls;"
        "print(sorted({'torch', 'pandas', 'mmpose', 'mmengine'} & set(sys.modules)))"
    )
    assert python("-c", program) == "[]\n"
