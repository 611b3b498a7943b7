"""Datasets and pipeline steps that stand in for mmpose's: the same results and the same distributions."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.training import Settings
from scipy.stats import ks_2samp, kstest, truncnorm

from rspose.datasets import DATASETS as KNOWN
from rspose.datasets import dataset
from rspose.grid.cell import Cell
from rspose.grid.config import complete
from rspose.training.compose import compose
from rspose.training.transforms import (
    BlurAndDropout,
    FastRandomBBoxTransform,
    LoadCachedImage,
    PackPoseTargets,
)

# isort: split
from mmpose.datasets.transforms import LoadImage, PackPoseInputs, RandomBBoxTransform
from mmpose.registry import DATASETS
from mmpose.structures import PoseDataSample

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def seeded() -> None:
    np.random.seed(3)  # noqa: NPY002 (mmpose draws from the global generator)


def test_the_truncated_normal_is_scipys() -> None:
    for low, high in ((-1.0, 1.0), (-0.5, 2.0)):
        drawn = FastRandomBBoxTransform._truncnorm(low, high, (20_000,))
        assert drawn.shape == (20_000,)
        assert drawn.min() >= low and drawn.max() <= high
        assert kstest(drawn, truncnorm(low, high).cdf).pvalue > 0.05


def boxes(transform: Any, count: int) -> dict[str, np.ndarray]:
    """Centre, scale and rotation of ``count`` transformed boxes that were 100 wide, 200 high and at 0."""
    rows = []
    for _ in range(count):
        size = np.array([[100, 200]], np.float32)
        done = transform({"bbox_center": np.zeros((1, 2), np.float32), "bbox_scale": size})
        (x, y), (width, height) = done["bbox_center"][0], done["bbox_scale"][0]
        assert height == pytest.approx(2 * width)
        rows.append((x, y, width, done["bbox_rotation"][0]))
    return dict(zip(("x", "y", "scale", "rotation"), np.array(rows).T, strict=True))


@pytest.mark.parametrize(
    "arguments",
    [{}, {"rotate_factor": 30.0, "scale_factor": (0.9, 1.3), "shift_prob": 1.0, "rotate_prob": 1.0}],
    ids=["defaults", "others"],
)
def test_boxes_are_transformed_as_mmpose_transforms_them(arguments: dict[str, Any]) -> None:
    ours = boxes(FastRandomBBoxTransform(**arguments), 1500)
    theirs = boxes(RandomBBoxTransform(**arguments), 1500)
    for key, values in ours.items():
        assert ks_2samp(values, theirs[key]).pvalue > 0.02, key
        assert values.std() > 0


def test_a_cached_image_is_the_image(tiny_datasets: Path) -> None:
    folder = tiny_datasets / "coco" / dataset("coco").images["val"]
    paths = [str(path) for path in sorted(folder.iterdir())[:2]]
    cached, plain = LoadCachedImage(), LoadImage()
    for path in [*paths, *paths]:  # the second time from the cache
        ours, theirs = cached({"img_path": path, "other": 1}), plain({"img_path": path, "other": 1})
        assert ours.keys() == theirs.keys()
        np.testing.assert_array_equal(ours.pop("img"), theirs.pop("img"))
        assert ours == theirs


def test_a_cached_image_is_decoded_once_and_cannot_be_written_to(tiny_datasets: Path) -> None:
    folder = tiny_datasets / "mpii" / dataset("mpii").images["val"]
    path = str(sorted(folder.iterdir())[0])
    first, second = (LoadCachedImage()({"img_path": path})["img"] for _ in range(2))
    assert first is second
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0, 0] = 1


@pytest.mark.parametrize("with_annotation", [False, True])
def test_what_a_loss_needs_is_packed_beside_what_mmpose_packs(with_annotation: bool) -> None:
    results = {
        "img": np.zeros((4, 4, 3), np.uint8),
        "keypoints": np.zeros((1, 2, 2), np.float32),
        "keypoints_visible": np.ones((1, 2), np.float32),
        "transformed_keypoints": np.ones((1, 2, 2), np.float32),
        "bbox_scale": np.ones((1, 2), np.float32),
        "area": np.float32(12),
        "id": 7,
        "flip_indices": [1, 0],
        "raw_ann_info": {"a": 1},
    }
    sample = PackPoseTargets(with_annotation)(dict(results))["data_samples"]
    usual = PackPoseInputs()(dict(results))["data_samples"]
    assert isinstance(sample, PoseDataSample)
    assert sample.metainfo["area"] == 12
    np.testing.assert_array_equal(sample.gt_instances.transformed_keypoints, results["transformed_keypoints"])
    of_prediction = {"flip_indices", "raw_ann_info"}
    assert of_prediction & set(sample.metainfo) == (of_prediction if with_annotation else set())
    assert set(usual.metainfo) - of_prediction <= set(sample.metainfo)
    assert set(usual.gt_instances.keys()) <= set(sample.gt_instances.keys())


def augmented(step: dict[str, Any], image: np.ndarray, count: int) -> list[np.ndarray]:
    transform = BlurAndDropout([step])
    return [transform({"img": image.copy()})["img"] for _ in range(count)]


def test_dropout_blackens_one_rectangle_of_the_size_that_rtmpose_says() -> None:
    step = {"type": "CoarseDropout", "p": 1.0, "min_holes": 1, "max_holes": 1}
    step |= {"min_height": 0.2, "max_height": 0.4, "min_width": 0.2, "max_width": 0.4}
    rows, columns, tops = [], [], []
    for image in augmented(step, np.full((100, 60, 3), 255, np.uint8), 400):
        black = (image == 0).all(-1)
        rows.append(black.any(1).sum())
        columns.append(black.any(0).sum())
        tops.append(black.any(1).argmax() / (100 - rows[-1]))
        assert black.sum() == rows[-1] * columns[-1]  # a whole rectangle
        assert (image[~black] == 255).all()
    assert min(rows) >= 20 and max(rows) < 40 and np.mean(rows) == pytest.approx(29.5, abs=1)
    assert min(columns) >= 12 and max(columns) < 24 and np.mean(columns) == pytest.approx(17.5, abs=0.7)
    assert kstest(tops, "uniform").pvalue > 0.01


@pytest.mark.parametrize("kind", ["Blur", "MedianBlur"])
def test_blur_is_the_mean_or_median_of_a_square_and_as_often_as_asked(kind: str) -> None:
    image = np.random.randint(0, 256, (40, 40, 3), dtype=np.uint8)  # noqa: NPY002
    statistic = np.mean if kind == "Blur" else np.median
    squares = {
        side: statistic(image[20 - side // 2 : 21 + side // 2, 20 - side // 2 : 21 + side // 2], axis=(0, 1))
        for side in (3, 5, 7)
    }
    seen = []
    for result in augmented({"type": kind, "p": 0.3}, image, 600):
        if not np.array_equal(result, image):
            (side,) = (s for s, expected in squares.items() if np.abs(result[20, 20] - expected).max() <= 1)
            seen.append(side)
    assert len(seen) / 600 == pytest.approx(0.3, abs=0.06)
    assert {side: seen.count(side) / len(seen) for side in squares} == pytest.approx(
        dict.fromkeys(squares, 1 / 3), abs=0.12
    )


def test_an_augmentation_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"no 'Posterize': expected one of Blur, MedianBlur, CoarseDropout"):
        BlurAndDropout([{"type": "Posterize", "p": 1.0}])


@pytest.fixture(params=["coco", "crowdpose", "mpii", "wholebody"])
def datasets(request: pytest.FixtureRequest, trainable: Settings) -> Settings:
    """The settings of a cell's dataset for each split."""
    trainable["datasets"] = [request.param]
    cell = Cell(request.param, "tiny", "heatmap", "mse", 0)
    composed = compose(complete(trainable), cell, Path(), None)
    return {split: composed[f"{split}_dataloader"]["dataset"] for split in ("train", "predict")}


@pytest.mark.parametrize("split", ["train", "predict"])
def test_samples_are_those_of_mmpose_without_the_outline(datasets: Settings, split: str) -> None:
    settings = {**datasets[split], "pipeline": []}
    ours = DATASETS.build(dict(settings))
    assert settings.pop("split") == {"train": "train", "predict": "val"}[split]
    theirs = DATASETS.build({**settings, "type": settings["type"].removeprefix("Fast")})
    assert isinstance(ours, type(theirs))
    assert len(ours) == len(theirs) > 0
    for index in range(len(theirs)):
        expected, found = theirs.get_data_info(index), ours.get_data_info(index)
        for info in (expected, found):
            info.pop("segmentation", None)
        # Fields that nobody uses are not kept.
        raw = expected.get("raw_ann_info") or {}
        for name in raw.keys() - (found.get("raw_ann_info") or {}).keys():
            del raw[name]
        if found.get("raw_ann_info"):
            found["raw_ann_info"].pop("segmentation")
            raw.pop("segmentation", None)
        np.testing.assert_equal(found, expected)


@pytest.mark.parametrize("part", ["annotations", "detections"])
def test_a_byte_order_mark_and_ids_in_decimals_change_no_sample(
    part: str, datasets: Settings, tmp_path: Path
) -> None:
    settings = {**datasets["predict"], "pipeline": []}
    root = shutil.copytree(settings["data_root"], tmp_path / "changed")
    (known,) = (each for each in KNOWN.values() if Path(settings["data_root"]).name == each.name)
    if part == "detections":
        if known.detections is None:
            pytest.skip("it has none")
        settings["bbox_file"] = f"{settings['data_root']}/{known.detections}"
    path = root / (known.detections if part == "detections" else known.annotations["val"])
    content = json.loads(path.read_text())
    for entry in content if isinstance(content, list) else [*content["images"], *content["annotations"]]:
        entry.update({key: float(entry[key]) for key in ("id", "image_id") if key in entry})
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    before = DATASETS.build(dict(settings))
    settings["data_root"] = str(root)
    if part == "detections":
        settings["bbox_file"] = str(path)
    after = DATASETS.build(settings)
    assert len(before) == len(after) > 0
    for index in range(len(before)):
        expected, found = before.get_data_info(index), after.get_data_info(index)
        for info in (expected, found):
            info["img_path"] = Path(info["img_path"]).name
            info.get("raw_ann_info", {}).pop("img_path", None)
        np.testing.assert_equal(found, expected)


@pytest.mark.parametrize("split", ["train", "predict"])
def test_no_step_of_the_pipeline_writes_into_what_samples_share(datasets: Settings, split: str) -> None:
    built = DATASETS.build(dict(datasets[split]))
    before = pickle.dumps(built.metainfo)
    for _ in range(3):
        for index in range(len(built)):
            built[index]
            assert pickle.dumps(built.metainfo) == before  # each time: a flip twice is none
