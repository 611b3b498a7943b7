"""The bootstrap over images: a replicate equals the official evaluation of a dataset with repeated images."""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from builders.datasets import noisy_predictions, suppressed_detections, write_json
from scipy.io import loadmat, savemat
from scipy.stats import spearmanr

from rspose.datasets import DATASETS
from rspose.datasets.annotations import read_annotations
from rspose.evaluation import coco, evaluate, mpii
from rspose.evaluation.evaluate import evaluate_predictions
from rspose.evaluation.matching import candidates
from rspose.evaluation.pck import Judgement
from rspose.evaluation.predictions import Predictions
from rspose.evaluation.resampling import draws, pearson, spearman, summary
from rspose.grid.replicates import decode, encode
from rspose.tools import official

pytestmark = pytest.mark.slow

# CrowdPose's evaluator rounds these to four decimals.
ROUNDED = ("metrics.APE", "metrics.APM", "metrics.APH")


def repeated(
    dataset: str, root: Path, predictions: Predictions, times: dict[int, int], out: Path
) -> Predictions:
    """Write a COCO or CrowdPose validation split with repeated images; the predictions on it."""
    content = json.loads((root / DATASETS[dataset].annotations["val"]).read_text())
    images, persons, rows, copies = [], [], [], []
    for image in content["images"]:
        of_image = np.flatnonzero(predictions.image_id == image["id"])
        for copy in range(times[image["id"]]):
            new_id = 100 * image["id"] + copy
            images.append({**image, "id": new_id})
            persons += [
                {**person, "id": 100 * person["id"] + copy, "image_id": new_id}
                for person in content["annotations"]
                if person["image_id"] == image["id"]
            ]
            rows += of_image.tolist()
            copies += [copy] * len(of_image)
    path = out / DATASETS[dataset].annotations["val"]
    write_json(path, {**content, "images": images, "annotations": persons})
    taken = predictions.take(np.array(rows))
    taken.image_id = 100 * taken.image_id + copies
    taken.annotation_id = np.where(taken.annotation_id < 0, -1, 100 * taken.annotation_id + copies)
    return taken


def repeated_mpii(root: Path, predictions: Predictions, times: dict[str, int], out: Path) -> Predictions:
    content = json.loads((root / DATASETS["mpii"].annotations["val"]).read_text())
    boxes = loadmat(root / DATASETS["mpii"].headboxes)["headboxes_src"]
    index = [i for i, person in enumerate(content) for _ in range(times[person["image"]])]
    write_json(out / DATASETS["mpii"].annotations["val"], [content[i] for i in index])
    savemat(out / DATASETS["mpii"].headboxes, {"headboxes_src": boxes[..., index]})
    taken = predictions.take(np.array([np.flatnonzero(predictions.annotation_id == i)[0] for i in index]))
    taken.image_id = taken.annotation_id = np.arange(len(index))
    return taken


def flat(found: dict, name: str) -> dict[str, float | None]:
    """The numbers of nested dictionaries under their names in a record."""
    numbers = {}
    for key, value in found.items():
        numbers |= flat(value, f"{name}.{key}") if isinstance(value, dict) else {f"{name}.{key}": value}
    return numbers


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii", "wholebody"])
def test_a_replicate_equals_the_evaluation_of_a_dataset_with_repeated_images(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = noisy_predictions(tmp_path, dataset, seed=7)
    stored = evaluate_predictions(dataset, predictions, tmp_path)["bootstrap"]["values"]
    annotations = read_annotations(dataset, tmp_path, "val")
    units = (
        np.unique([person["image"] for person in annotations.content])
        if dataset == "mpii"
        else np.unique(annotations.known_images)
    )
    counts = draws(dataset, len(units))
    for replicate in (0, 1, 2):
        times = dict(zip(units.tolist(), counts[:, replicate].tolist(), strict=True))
        out = tmp_path / str(replicate)
        if dataset == "mpii":
            (out / "annotations").mkdir(parents=True)
            again = repeated_mpii(tmp_path, predictions, times, out)
        else:
            again = repeated(dataset, tmp_path, predictions, times, out)
        monkeypatch.setattr(evaluate, "draws", partial(draws, replicates=1))
        evaluated = evaluate_predictions(dataset, again, out)
        expected = flat(evaluated["metrics"], "metrics") | flat(evaluated["confidence"], "confidence")
        # What is fitted to images keeps its fit in the replicates.
        fitted = ("confidence.calibrated.", "confidence.type_constants.")
        drawn = {name for name in stored if not name.startswith(fitted)}
        assert drawn == {
            "confidence.within_types.spearman",
            *(f"metrics.{name}" for name in evaluated["metrics"]),
            *(f"confidence.{level}.{r}" for level in ("keypoint", "pose") for r in ("spearman", "pearson")),
        }
        for name in drawn:
            value, found = expected[name], decode(stored[name])[replicate]
            tolerance = 8e-5 if dataset == "crowdpose" and name in ROUNDED else 2e-5
            if name.endswith("spearman"):  # ranked in classes
                tolerance = 4e-5
            value = math.nan if value is None else value
            assert found == pytest.approx(value, abs=tolerance, nan_ok=True), name
        # Of the diagnosis a record has intervals only: with one replicate, that replicate twice.
        monkeypatch.setattr(evaluate, "draws", lambda *_, one=counts[:, [replicate]]: one)
        intervals = evaluate_predictions(dataset, predictions, tmp_path)["bootstrap"]["intervals"]
        expected = flat(evaluated["diagnosis"], "diagnosis")
        diagnosed = {name for name in intervals if name.startswith("diagnosis.")}
        left_out = {"diagnosis.errors.keypoints", "diagnosis.ordering.AP_own_threshold"}
        left_out |= {name for name in expected if ".thresholds." in name}
        assert diagnosed == expected.keys() - left_out
        for name in diagnosed:
            assert intervals[name] == pytest.approx([expected[name]] * 2, abs=1e-9), name


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "wholebody"])
def test_every_image_once_is_the_official_number(dataset: str, tmp_path: Path) -> None:
    kept, instance_scores, annotations = suppressed_detections(tmp_path, dataset, seed=3)
    known = DATASETS[dataset]
    results = official.results(known, kept, instance_scores)
    expected = official.summarise(known, official.match(known, results, annotations.path))
    twice = np.ones((len(annotations.known_images), 2), dtype=np.int32)
    pairs, every = candidates(known, kept, annotations), np.full(len(kept), True)
    found = coco.average_precision(known, kept, instance_scores, every, pairs, annotations, twice)
    assert 0.1 < expected["AP"] < 0.9
    assert found.keys() - expected.keys() == ({"AP_hand", "AR_hand"} if dataset == "wholebody" else set())
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-12), name
        rounded = dataset == "crowdpose" and f"metrics.{name}" in ROUNDED
        assert found[name][1] == pytest.approx(value, abs=5.1e-5 if rounded else 1e-12), name


def test_persons_of_one_mpii_image_are_drawn_together(tmp_path: Path) -> None:
    predictions = noisy_predictions(tmp_path, "mpii", seed=1)
    evaluated = evaluate_predictions("mpii", predictions, tmp_path)
    assert evaluated["bootstrap"]["images"] == 14  # three persons an image


def test_spearman_of_repeated_pairs_equals_scipy_also_with_ties() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 12, 80)
    x = rng.integers(0, 9, 80).astype(float)
    y = x + rng.integers(0, 6, 80)
    counts = draws("coco", 12, replicates=5)
    expected = [
        spearmanr(*(np.repeat(values, counts[image, replicate]) for values in (x, y))).statistic
        for replicate in range(5)
    ]
    found = spearman(x, y, image, counts)
    assert found[0] == pytest.approx(expected[0], abs=1e-12)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert abs(spearman(x, 2 * x, image, counts)).max() <= 1  # though replicates are in single precision


def test_spearman_in_classes_differs_by_less_than_a_record_tells() -> None:
    rng = np.random.default_rng(2)
    image = rng.integers(0, 800, 60_000)
    x = rng.normal(size=60_000) + rng.normal(size=800)[image]
    y = x + rng.normal(size=60_000)
    counts = np.insert(draws("coco", 800, replicates=500), 0, 1, axis=1)
    found = spearman(x, y, image, counts)
    assert found[0] == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    for replicate in (1, 2, 3):
        drawn = (np.repeat(values, counts[image, replicate]) for values in (x, y))
        assert found[replicate] == pytest.approx(spearmanr(*drawn).statistic, abs=1e-5)


def test_pearson_of_pairs_on_a_line_stays_in_its_range() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        x = rng.uniform(0.4, 0.4 + 1e-3, 2)
        r = pearson(x, -3 * x, np.arange(2), draws("coco", 2, replicates=20))
        assert np.isnan(r).any()  # one of the two pairs, drawn twice
        np.testing.assert_allclose(r[~np.isnan(r)], -1, atol=1e-5)
        assert np.nanmin(r) >= -1


def test_pearson_knows_no_scale() -> None:
    x, y = np.array([0.3, 0.5, 0.2]), np.array([1e-200, 0, 1e-250])
    (r,) = pearson(x, y, np.arange(3), np.ones((3, 1)))
    assert r == pytest.approx(np.corrcoef(x, 1e200 * y)[0, 1])


def test_the_correlation_of_a_constant_is_undefined() -> None:
    image = np.arange(6)
    for correlation in (spearman, pearson):
        assert np.isnan(correlation(np.ones(6), np.arange(6.0), image, draws("coco", 6, replicates=3))).all()


def test_draws_are_the_same_for_one_dataset_and_others_for_another() -> None:
    first = draws("coco", 50)
    np.testing.assert_array_equal(first, draws("coco", 50))
    assert (first != draws("crowdpose", 50)).any()
    assert (first.sum(axis=0) == 50).all()
    assert first.mean() == 1 and first.var() == pytest.approx(1 - 1 / 50, rel=0.05)


def test_the_spread_of_replicates_is_the_standard_error_of_a_share() -> None:
    rng = np.random.default_rng(5)
    right = rng.uniform(size=(400, 16)) < 0.7
    everywhere = np.ones_like(right)
    judgement = Judgement({0.5: right, 0.1: right}, everywhere, everywhere, np.arange(400), np.arange(400))
    replicates = mpii.pckh(judgement, draws("mpii", 400, replicates=2000))["PCKh"]
    # Of 14 keypoints that count, all labelled.
    expected = math.sqrt(0.7 * 0.3 / (400 * 14))
    assert replicates.std() == pytest.approx(expected, rel=0.1)


def test_a_split_that_some_replicates_lack_has_an_interval_from_the_others() -> None:
    values = np.array([np.nan, *np.linspace(0, 1, 101)])
    stored = summary({"metrics.APL": values, "metrics.APM": np.full(3, np.nan)}, {}, images=4)
    assert stored["intervals"]["metrics.APL"] == pytest.approx([0.025, 0.975])
    assert stored["intervals"]["metrics.APM"] is None
    json.dumps(stored, allow_nan=False)


def test_stored_replicates_are_read_again() -> None:
    values = np.array([-1, -0.123456, 0, np.nan, 0.987654, 1])
    np.testing.assert_allclose(decode(encode(values)), values, atol=1.6e-5)
    with pytest.raises(ValueError):
        decode("no base64!")
