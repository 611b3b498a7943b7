"""Generated datasets: the files of the real ones, read by the real ones' tools."""

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from rspose.datasets import DATASETS
from rspose.datasets.check import check_dataset
from rspose.datasets.manifest import dataset_digests, read_manifest
from rspose.drawn import make_dataset
from rspose.drawn.annotations import crowd_index
from rspose.tools.contact_sheet import contact_sheet

SEED = 4
TRAIN, VAL = 80, 120
SIZE = (320, 240)

# Keys of the real annotation files.
COCO_IMAGE_KEYS = {"license", "file_name", "coco_url", "height", "width", "date_captured", "flickr_url", "id"}
COCO_ANNOTATION_KEYS = {
    "segmentation", "num_keypoints", "area", "iscrowd", "keypoints", "image_id", "bbox", "category_id", "id",
}  # fmt: skip
CROWDPOSE_IMAGE_KEYS = {"file_name", "id", "height", "width", "crowdIndex"}
CROWDPOSE_ANNOTATION_KEYS = COCO_ANNOTATION_KEYS - {"segmentation", "area"}
CATEGORY_KEYS = {"supercategory", "id", "name", "keypoints", "skeleton"}
DETECTION_KEYS = {"bbox", "category_id", "image_id", "score"}
MPII_KEYS = {"joints_vis", "joints", "image", "scale", "center"}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("generated")
    for dataset in DATASETS:
        make_dataset(dataset, folder / dataset, TRAIN, SEED, VAL, SIZE)
    return {dataset: folder / dataset for dataset in DATASETS}


def annotations(root: Path, dataset: str, split: str) -> Any:
    return json.loads((root / DATASETS[dataset].annotations[split]).read_text())


def detections(root: Path, dataset: str) -> list[dict[str, Any]]:
    path = DATASETS[dataset].detections
    return json.loads((root / path).read_text())


def quietly(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call one of the COCO tools without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*arguments)


# ---------------------------------------------------------------- the same files


@pytest.mark.parametrize(
    ("dataset", "files", "images"),
    [
        (
            "coco",
            [
                "annotations/person_keypoints_train2017.json",
                "annotations/person_keypoints_val2017.json",
                "person_detection_results/COCO_val2017_detections_AP_H_56_person.json",
                "train2017/000000000001.jpg",
            ],
            {"train2017": TRAIN, "val2017": VAL},
        ),
        (
            "crowdpose",
            [
                "annotations/mmpose_crowdpose_trainval.json",
                "annotations/mmpose_crowdpose_test.json",
                "annotations/det_for_crowd_test_0.1_0.5.json",
            ],
            {"images": TRAIN + VAL},
        ),
        (
            "mpii",
            [f"annotations/{name}" for name in ("mpii_train.json", "mpii_val.json", "mpii_gt_val.mat")],
            {"images": TRAIN + VAL},
        ),
    ],
)
def test_the_files_lie_where_the_real_dataset_has_them(
    roots: dict[str, Path], dataset: str, files: list[str], images: dict[str, int]
) -> None:
    assert all((roots[dataset] / file).is_file() for file in files)
    assert {folder: len(list((roots[dataset] / folder).iterdir())) for folder in images} == images


@pytest.mark.parametrize(
    ("dataset", "image_keys", "annotation_keys"),
    [
        ("coco", COCO_IMAGE_KEYS, COCO_ANNOTATION_KEYS),
        ("crowdpose", CROWDPOSE_IMAGE_KEYS, CROWDPOSE_ANNOTATION_KEYS),
    ],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_coco_style_annotations_have_the_fields_and_types_of_the_real_ones(
    roots: dict[str, Path], dataset: str, image_keys: set[str], annotation_keys: set[str], split: str
) -> None:
    content = annotations(roots[dataset], dataset, split)
    names = DATASETS[dataset].keypoints.names
    (category,) = content["categories"]
    assert set(category) == CATEGORY_KEYS
    assert category["keypoints"] == list(names)
    assert min(min(pair) for pair in category["skeleton"]) == 1
    folder = roots[dataset] / DATASETS[dataset].images[split]
    for image in content["images"]:
        assert set(image) == image_keys
        assert cv2.imread(str(folder / image["file_name"])).shape == (image["height"], image["width"], 3)
    for annotation in content["annotations"]:
        assert set(annotation) == annotation_keys
        assert len(annotation["keypoints"]) == 3 * len(names)
        assert all(isinstance(value, int) for value in annotation["keypoints"])
        assert all(isinstance(value, float) for value in annotation["bbox"])
        assert annotation["iscrowd"] == 0 and annotation["category_id"] == 1
    ids = [annotation["id"] for annotation in content["annotations"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_coco_style_keypoints_lie_in_the_image_or_are_zero(roots: dict[str, Path], dataset: str) -> None:
    for split in ("train", "val"):
        for annotation in annotations(roots[dataset], dataset, split)["annotations"]:
            triples = np.array(annotation["keypoints"]).reshape(-1, 3)
            labelled = triples[:, 2] > 0
            assert set(triples[:, 2].tolist()) <= {0, 1, 2}
            assert annotation["num_keypoints"] == labelled.sum()
            assert (triples[~labelled] == 0).all()
            assert (triples[labelled, :2] >= 0).all()
            assert (triples[labelled, :2] < np.array(SIZE)).all()


def test_mpii_annotations_have_the_fields_and_types_of_the_real_ones(roots: dict[str, Path]) -> None:
    for split in ("train", "val"):
        for record in annotations(roots["mpii"], "mpii", split):
            assert set(record) == MPII_KEYS
            assert set(record["joints_vis"]) <= {0, 1} and len(record["joints_vis"]) == 16
            assert isinstance(record["scale"], float)
            joints, visible = np.array(record["joints"]), np.array(record["joints_vis"], dtype=bool)
            assert joints.shape == (16, 2) and joints.dtype == np.float64
            assert (joints[~visible] == -1).all()
            # 1-based: the centre of the first pixel is 1.
            assert (joints[visible] >= 0.5).all() and (joints[visible] <= np.array(SIZE) + 0.5).all()
            assert (roots["mpii"] / "images" / record["image"]).is_file()


def test_mpii_scale_is_the_figure_over_200_pixels_and_the_square_of_mmpose_holds_it(
    roots: dict[str, Path],
) -> None:
    complete = 0
    for record in annotations(roots["mpii"], "mpii", "val"):
        if not all(record["joints_vis"]):
            continue
        joints = np.array(record["joints"])
        extent = np.ptp(joints, axis=0).max()
        # The scale also covers hands and feet, which are not joints of MPII.
        assert 0.8 * 200 * record["scale"] < extent <= 200 * record["scale"] + 1
        centre = np.array(record["center"]) + np.array((0, 15 * record["scale"]))
        assert (np.abs(joints - centre) <= 100 * record["scale"] + 2).all()
        complete += 1
    assert complete > 50


def test_head_boxes_hold_the_head_of_each_mpii_person(roots: dict[str, Path]) -> None:
    records = annotations(roots["mpii"], "mpii", "val")
    content = loadmat(roots["mpii"] / "annotations/mpii_gt_val.mat")
    boxes = content["headboxes_src"]
    assert boxes.shape == (2, 2, len(records)) and boxes.dtype == np.float64
    names = [str(name[0]) for name in content["dataset_joints"][0]]
    assert names[9] == "head" and names[13] == "lsho" and names[0] == "rank"
    np.testing.assert_array_equal(content["jnt_missing"].T, 1 - np.array([r["joints_vis"] for r in records]))
    np.testing.assert_allclose(content["pos_gt_src"].transpose(2, 0, 1), [r["joints"] for r in records])
    for index, record in enumerate(records):
        low, high = boxes[:, :, index]
        head_top = np.array(record["joints"][9])
        assert (head_top >= low - 0.05 * (high - low)).all() and (
            head_top <= high + 0.05 * (high - low)
        ).all()
        neck_to_top = np.linalg.norm(head_top - record["joints"][8])
        assert np.linalg.norm(high - low) > neck_to_top


# ---------------------------------------------------------------- read by the real tools


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_xtcocotools_gives_full_marks_to_the_annotated_keypoints(
    roots: dict[str, Path], dataset: str
) -> None:
    from xtcocotools.coco import COCO
    from xtcocotools.cocoeval import COCOeval

    truth = quietly(COCO, str(roots[dataset] / DATASETS[dataset].annotations["val"]))
    results = [
        {
            "image_id": annotation["image_id"],
            "category_id": 1,
            "keypoints": [value if i % 3 < 2 else 1 for i, value in enumerate(annotation["keypoints"])],
            "score": 0.9,
        }
        for annotation in truth.dataset["annotations"]
        if annotation["num_keypoints"]
    ]
    sigmas = np.array(DATASETS[dataset].keypoints.sigmas)
    kind = "keypoints" if dataset == "coco" else "keypoints_crowd"
    evaluation = COCOeval(truth, quietly(truth.loadRes, results), kind, sigmas, use_area=dataset == "coco")
    for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
        quietly(step)
    # None is -1, which is empty: AP to APL for COCO, AP and its easy, medium and hard share for CrowdPose.
    assert evaluation.stats[0] == pytest.approx(1.0, abs=1e-6)
    assert min(evaluation.stats) == pytest.approx(1.0, abs=1e-6)


def test_coco_areas_and_boxes_are_those_of_the_segmentation(roots: dict[str, Path]) -> None:
    from pycocotools.coco import COCO

    truth = quietly(COCO, str(roots["coco"] / "annotations/person_keypoints_train2017.json"))
    ratios, shifts = [], []
    for annotation in truth.dataset["annotations"]:
        if annotation["area"] < 400:
            continue
        rows, columns = np.nonzero(truth.annToMask(annotation))
        ratios.append(len(rows) / annotation["area"])
        x, y, width, height = annotation["bbox"]
        found = np.array((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        shifts.append(np.abs(found - (x, y, x + width, y + height)).max())
    assert len(ratios) > 50
    assert np.median(ratios) == pytest.approx(1.0, abs=0.05)
    # A speck of a person between two others is in the box, but too small for a polygon.
    assert np.median(shifts) <= 1 and np.mean(np.array(shifts) <= 2) > 0.95
    assert min(ratios) > 0.75 and max(ratios) < 1.6  # an arm on the hip encloses a hole


@pytest.fixture
def as_mmpose_reads(roots: dict[str, Path]) -> Callable[..., Any]:
    """Build the dataset class of mmpose on generated files."""
    import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
    from mmpose.registry import DATASETS as MMPOSE_DATASETS

    def build(kind: str, dataset: str, folder: str, split: str = "val", **more: Any) -> Any:
        config = {"type": f"mmpose.{kind}", "data_root": str(roots[dataset]), "pipeline": [], **more}
        config |= {"ann_file": DATASETS[dataset].annotations[split], "data_prefix": {"img": folder}}
        return quietly(MMPOSE_DATASETS.build, {**config, "test_mode": split == "val"})

    return build


def test_mmpose_reads_coco(roots: dict[str, Path], as_mmpose_reads: Callable[..., Any]) -> None:
    train = as_mmpose_reads("CocoDataset", "coco", "train2017/", "train")
    content = annotations(roots["coco"], "coco", "train")
    assert len(train) == sum(annotation["num_keypoints"] > 0 for annotation in content["annotations"])
    boxes = str(roots["coco"] / str(DATASETS["coco"].detections))
    val = as_mmpose_reads("CocoDataset", "coco", "val2017/", bbox_file=boxes)
    assert len(val) == len(detections(roots["coco"], "coco"))
    assert Path(val[0]["img_path"]).is_file()


def test_mmpose_reads_crowdpose(roots: dict[str, Path], as_mmpose_reads: Callable[..., Any]) -> None:
    data = as_mmpose_reads("CrowdPoseDataset", "crowdpose", "images/")
    content = annotations(roots["crowdpose"], "crowdpose", "val")
    assert len(data) == len(content["annotations"])
    indices = {image["id"]: image["crowdIndex"] for image in content["images"]}
    assert all(data[index]["crowd_index"] == indices[data[index]["img_id"]] for index in range(len(data)))


def test_mmpose_reads_mpii(roots: dict[str, Path], as_mmpose_reads: Callable[..., Any]) -> None:
    boxes = str(roots["mpii"] / "annotations/mpii_gt_val.mat")
    data = as_mmpose_reads("MpiiDataset", "mpii", "images/", headbox_file=boxes)
    records = annotations(roots["mpii"], "mpii", "val")
    assert len(data) == len(records)
    heights = np.array([200 * record["scale"] for record in records])
    head_sizes = np.array([data[index]["head_size"].item() for index in range(len(data))])
    # A head is about a sixth of a person; its size in PCKh is 0.6 of the box's diagonal.
    assert 0.08 < np.median(head_sizes / heights) < 0.25


# ---------------------------------------------------------------- a pose problem


def naive_crowd_index(content: dict[str, Any], image_id: int) -> float:
    people = [a for a in content["annotations"] if a["image_id"] == image_id and a["num_keypoints"] > 0]
    ratios = []
    for person in people:
        x, y, width, height = person["bbox"]
        inside = 0
        for other in people:
            if other is person:
                continue
            values = other["keypoints"]
            for k in range(0, len(values), 3):
                if values[k + 2] > 0 and x <= values[k] <= x + width and y <= values[k + 1] <= y + height:
                    inside += 1
        ratios.append(inside / person["num_keypoints"])
    return min(1.0, sum(ratios) / len(ratios)) if ratios else 0.0


def test_the_crowd_index_is_that_of_the_crowdpose_paper(roots: dict[str, Path]) -> None:
    content = annotations(roots["crowdpose"], "crowdpose", "val")
    for image in content["images"]:
        assert image["crowdIndex"] == pytest.approx(naive_crowd_index(content, image["id"]), abs=0.005 + 1e-9)


def test_the_crowd_index_of_a_small_case_worked_out_by_hand() -> None:
    people = [
        {"bbox": [0.0, 0.0, 10.0, 10.0], "num_keypoints": 14, "keypoints": [5, 5, 2] * 9 + [15, 5, 1] * 5},
        {
            "bbox": [12.0, 0.0, 10.0, 10.0],
            "num_keypoints": 8,
            "keypoints": [15, 5, 2] * 2 + [5, 5, 2] * 6 + [0] * 18,
        },
        # Without keypoints: counts neither as a person nor as a joint.
        {"bbox": [0.0, 0.0, 30.0, 30.0], "num_keypoints": 0, "keypoints": [0] * 42},
    ]
    # 6 joints of the second lie in the box of the first, which has 14; 5 of the first in the second's with 8.
    assert crowd_index(people) == round((6 / 14 + 5 / 8) / 2, 2) == 0.53


def test_an_empty_image_is_not_crowded() -> None:
    assert crowd_index([]) == 0.0


def test_crowding_spreads_over_easy_medium_and_hard(roots: dict[str, Path]) -> None:
    content = annotations(roots["crowdpose"], "crowdpose", "val")
    index = np.array([image["crowdIndex"] for image in content["images"]])
    for share in ((index < 0.2).mean(), ((index >= 0.2) & (index < 0.8)).mean(), (index >= 0.8).mean()):
        assert share > 0.12
    assert (np.histogram(index, np.linspace(0, 1, 11))[0] > 0).all()


def test_coco_people_are_as_many_and_as_large_as_a_pose_problem_needs(roots: dict[str, Path]) -> None:
    content = annotations(roots["coco"], "coco", "val")
    people = content["annotations"]
    assert 1.5 < len(people) / len(content["images"]) < 2.5
    area = np.array([annotation["area"] for annotation in people])
    assert ((area >= 32**2) & (area < 96**2)).mean() > 0.45
    assert (area >= 96**2).mean() > 0.1
    flags = np.array([a["keypoints"][2::3] for a in people if a["num_keypoints"]])
    assert flags.astype(bool).sum(1).mean() > 12
    for flag, least in ((0, 0.05), (1, 0.05), (2, 0.45)):
        assert (flags == flag).mean() > least


def test_the_side_that_the_left_shoulder_is_on_tells_whether_the_face_is_seen(roots: dict[str, Path]) -> None:
    people = annotations(roots["coco"], "coco", "val")["annotations"]
    triples = np.array([annotation["keypoints"] for annotation in people]).reshape(-1, 17, 3)
    height = np.array([annotation["bbox"][3] for annotation in people])
    # Shoulders that lie well apart face the camera or are turned away from it, and the head with them.
    shoulders = (triples[:, 5:7, 2] > 0).all(1)
    apart = triples[:, 5, 0] - triples[:, 6, 0]
    from_front, from_back = (shoulders & (sign * apart > 0.15 * height) for sign in (1, -1))
    assert from_front.sum() > 50 and from_back.sum() > 15
    nose_seen = triples[:, 0, 2] == 2
    assert nose_seen[from_front].mean() > 0.6
    assert nose_seen[from_back].mean() < 0.15


# ---------------------------------------------------------------- detections


def iou(first: list[float], second: list[float]) -> float:
    from pycocotools import mask

    return float(mask.iou(np.array([first]), np.array([second]), [0])[0, 0])


def true_boxes(root: Path, dataset: str) -> dict[int, list[list[float]]]:
    """The boxes of the people of each validation image."""
    found: dict[int, list[list[float]]] = {}
    for annotation in annotations(root, dataset, "val")["annotations"]:
        found.setdefault(annotation["image_id"], []).append(annotation["bbox"])
    return found


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_detections_miss_double_and_invent_people(roots: dict[str, Path], dataset: str) -> None:
    truths = true_boxes(roots[dataset], dataset)
    found: dict[int, list[dict[str, Any]]] = {}
    for detection in detections(roots[dataset], dataset):
        assert set(detection) == DETECTION_KEYS
        assert 0 < detection["score"] < 1
        x, y, width, height = detection["bbox"]
        assert x >= 0 and y >= 0 and width > 0 and height > 0
        found.setdefault(detection["image_id"], []).append(detection)
    assert max(len(boxes) for boxes in found.values()) <= 20

    people = sum(len(boxes) for boxes in truths.values())
    boxes = sum(len(boxes) for boxes in found.values())
    hit = sum(
        any(iou(box, d["bbox"]) >= 0.5 for d in found.get(image, []))
        for image, image_boxes in truths.items()
        for box in image_boxes
    )
    wrong = sum(
        all(iou(box, d["bbox"]) < 0.5 for box in truths.get(image, []))
        for image, image_detections in found.items()
        for d in image_detections
    )
    assert 0.90 < hit / people < 0.99
    assert 0.07 < wrong / boxes < 0.22
    assert 1.1 < boxes / people < 1.45


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_detections_are_as_good_as_those_used_on_coco(roots: dict[str, Path], dataset: str) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    truth.dataset = annotations(roots[dataset], dataset, "val")
    for annotation in truth.dataset["annotations"]:
        annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])
    truth.dataset.setdefault("info", {})
    quietly(truth.createIndex)
    evaluation = COCOeval(truth, quietly(truth.loadRes, detections(roots[dataset], dataset)), "bbox")
    for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
        quietly(step)
    # The detector whose boxes are used on COCO val has 0.56.
    assert 0.46 < evaluation.stats[0] < 0.68


def test_detection_scores_follow_quality_imperfectly(roots: dict[str, Path]) -> None:
    from scipy.stats import spearmanr

    truths = true_boxes(roots["coco"], "coco")
    scores, quality = [], []
    for detection in detections(roots["coco"], "coco"):
        scores.append(detection["score"])
        quality.append(
            max((iou(box, detection["bbox"]) for box in truths.get(detection["image_id"], [])), default=0.0)
        )
    assert 0.3 < spearmanr(scores, quality).statistic < 0.9


# ---------------------------------------------------------------- manifest and determinism


def tree_bytes(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("dataset", list(DATASETS))
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path, dataset: str) -> None:
    for name, seed in (("first", 1), ("second", 1), ("other", 2)):
        make_dataset(dataset, tmp_path / name, 4, seed, 3)
    first, second, other = (tree_bytes(tmp_path / name) for name in ("first", "second", "other"))
    assert first == second
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first)


def test_an_image_does_not_depend_on_how_many_are_made(tmp_path: Path) -> None:
    make_dataset("coco", tmp_path / "few", 3, 1, 2)
    make_dataset("coco", tmp_path / "more", 6, 1, 4)
    few, more = tree_bytes(tmp_path / "few"), tree_bytes(tmp_path / "more")
    images = [name for name in few if name.endswith(".jpg")]
    assert len(images) == 5
    assert all(few[name] == more[name] for name in images)
    few_people, more_people = (
        annotations(tmp_path / name, "coco", "val")["annotations"] for name in ("few", "more")
    )
    assert more_people[: len(few_people)] == few_people


@pytest.mark.parametrize("dataset", list(DATASETS))
def test_the_manifest_says_what_was_made_and_its_checksums_are_right(
    roots: dict[str, Path], dataset: str
) -> None:
    manifest = read_manifest(roots[dataset])
    assert manifest["dataset"] == dataset and manifest["generated"] is True and manifest["seed"] == SEED
    assert manifest["images"] == {"train": TRAIN, "val": VAL}
    assert manifest["files"] == dataset_digests(roots[dataset], dataset)
    assert set(manifest["files"]) == set(DATASETS[dataset].files) | set(DATASETS[dataset].images.values())


def test_a_changed_image_changes_the_checksum_of_its_folder(roots: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(roots["mpii"], root)
    image = next(iter(sorted((root / "images").iterdir())))
    image.write_bytes(image.read_bytes()[:-1])
    manifest = read_manifest(root)
    assert manifest["files"]["images"] != dataset_digests(root, "mpii")["images"]


def test_progress_counts_every_image(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make_dataset("mpii", tmp_path / "data", 3, 0, 2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(index, 5) for index in range(1, 6)]


def test_an_interrupted_dataset_has_no_manifest_and_is_made_again(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset("coco", tmp_path / "data", 4, 0, 2, progress=interrupt)
    assert not (tmp_path / "data").exists()
    make_dataset("coco", tmp_path / "data", 4, 0, 2)
    assert check_dataset(tmp_path / "data", "coco") == []
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_generated_dataset_is_replaced_and_one_that_was_not_generated_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "data"
    make_dataset("coco", root, 6, 0, 2)
    make_dataset("coco", root, 3, 0, 2)
    assert len(list((root / "train2017").iterdir())) == 3
    (root / "manifest.json").unlink()
    with pytest.raises(ValueError, match="not generated"):
        make_dataset("coco", root, 3, 0, 2)
    assert len(list((root / "train2017").iterdir())) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "coco2"}, "unknown dataset 'coco2': expected one of coco, crowdpose, mpii"),
        ({"images": 0}, "train images: expected 1 to"),
        ({"val_images": 0}, "val images: expected 1 to"),
        ({"seed": -1}, "seed: expected 0 or more, found -1"),
        ({"size": (40, 240)}, "size: expected at least 64x64 pixels, found 40x240"),
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arguments = {"name": "coco", "out": tmp_path / "data", "images": 2, "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        make_dataset(**arguments)
    assert not (tmp_path / "data").exists()


def test_other_image_sizes_are_possible(tmp_path: Path) -> None:
    make_dataset("coco", tmp_path / "data", 2, 0, 1, size=(200, 160))
    image = cv2.imread(str(tmp_path / "data/train2017/000000000001.jpg"))
    assert image.shape == (160, 200, 3)


# ---------------------------------------------------------------- check and contact sheet


@pytest.mark.parametrize("dataset", list(DATASETS))
def test_a_whole_dataset_has_no_problems(roots: dict[str, Path], dataset: str) -> None:
    assert check_dataset(roots[dataset], dataset) == []


def test_check_names_what_is_missing_and_where(roots: dict[str, Path], tmp_path: Path) -> None:
    (nothing,) = check_dataset(tmp_path / "nowhere", "coco")
    assert str(tmp_path / "nowhere") in nothing and "coco" in nothing
    root = tmp_path / "coco"
    shutil.copytree(roots["coco"], root)
    (root / "annotations/person_keypoints_val2017.json").unlink()
    (root / "train2017/000000000001.jpg").unlink()
    detection_file = root / "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
    detection_file.write_text("[")
    problems = check_dataset(root, "coco")
    assert len(problems) == 3
    assert "train2017/000000000001.jpg" in problems[0]
    assert "person_keypoints_val2017.json: no such file" in problems[1]
    assert str(detection_file) in problems[2] and "expected JSON" in problems[2]


def test_check_tells_one_dataset_from_another(roots: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / "mpii"
    shutil.copytree(roots["mpii"], root)
    source = roots["coco"] / "annotations/person_keypoints_val2017.json"
    shutil.copy(source, root / "annotations/mpii_val.json")
    (root / "annotations/mpii_gt_val.mat").write_bytes(b"not MATLAB")
    problems = check_dataset(root, "mpii")
    assert len(problems) == 2
    assert "mpii_val.json: expected a list of MPII persons" in problems[0]
    assert "mpii_gt_val.mat: expected a MATLAB file" in problems[1]


@pytest.mark.parametrize("dataset", list(DATASETS))
def test_the_contact_sheet_draws_annotations_on_the_images(
    roots: dict[str, Path], dataset: str, tmp_path: Path
) -> None:
    out = tmp_path / "sheets" / "sheet.png"
    contact_sheet(roots[dataset], dataset, "val", 6, out)
    sheet = cv2.imread(str(out)).astype(int)
    tile_area = 300 * 400
    assert sheet.shape[0] * sheet.shape[1] > 6 * tile_area
    # Pure green dots of visible keypoints are nowhere else.
    assert ((sheet == (60, 235, 60)).all(-1)).sum() > 200


def test_the_contact_sheet_names_what_is_missing(roots: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown split 'test': expected one of train, val"):
        contact_sheet(roots["coco"], "coco", "test", 4, tmp_path / "sheet.png")
    with pytest.raises(FileNotFoundError, match=r"mpii_val\.json"):
        contact_sheet(tmp_path, "mpii", "val", 4, tmp_path / "sheet.png")
