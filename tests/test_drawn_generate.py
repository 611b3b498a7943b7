"""Drawn datasets: the files of the real ones, read by the real ones' tools."""

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
from builders.datasets import check_dataset
from scipy.io import loadmat

from rspose.datasets import DATASETS
from rspose.datasets.manifest import dataset_digests, read_manifest
from rspose.drawn import make_dataset
from rspose.drawn.annotations import crowd_index
from rspose.tools.contact_sheet import contact_sheet

SEED = 4
TRAIN, VAL = 24, 120
SIZES = {**dict.fromkeys(DATASETS, (320, 240)), "wholebody": (400, 300)}
COCO_LIKE = ["coco", "crowdpose", "wholebody"]

# Keys of the real annotation files, those of annotations in their order.
COCO_IMAGE_KEYS = {"license", "file_name", "coco_url", "height", "width", "date_captured", "flickr_url", "id"}
COCO_KEYS = [
    "segmentation", "num_keypoints", "area", "iscrowd", "keypoints", "image_id", "bbox", "category_id", "id",
]  # fmt: skip
WHOLEBODY_KEYS = [
    *COCO_KEYS, "face_box", "lefthand_box", "righthand_box", "lefthand_kpts", "righthand_kpts", "face_kpts",
    "face_valid", "lefthand_valid", "righthand_valid", "foot_valid", "foot_kpts",
]  # fmt: skip
CROWDPOSE_IMAGE_KEYS = {"file_name", "id", "height", "width", "crowdIndex"}
CROWDPOSE_KEYS = [key for key in COCO_KEYS if key not in ("segmentation", "area")]


def train_images(dataset: str) -> int:
    """Half of LSP trains, so it has no fewer of them than of val."""
    return VAL if dataset == "lsp" else TRAIN


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("generated")
    for dataset, size in SIZES.items():
        make_dataset(dataset, folder / dataset, train_images(dataset), SEED, VAL, size)
    return {dataset: folder / dataset for dataset in DATASETS}


def annotations(roots: dict[str, Path], dataset: str, split: str = "val") -> Any:
    return json.loads((roots[dataset] / DATASETS[dataset].annotations[split]).read_text())


def people_of(roots: dict[str, Path], dataset: str) -> list[dict[str, Any]]:
    splits = [annotations(roots, dataset, split) for split in ("train", "val")]
    return [
        person for content in splits for person in (content if dataset == "mpii" else content["annotations"])
    ]


def detections(roots: dict[str, Path], dataset: str) -> list[dict[str, Any]]:
    return json.loads((roots[dataset] / str(DATASETS[dataset].detections)).read_text())


def triples(annotation: dict[str, Any], field: str = "keypoints") -> np.ndarray:
    return np.array(annotation[field]).reshape(-1, 3)


def quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call one of the COCO tools without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*arguments, **options)


def evaluated(evaluation: Any) -> np.ndarray:
    for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
        quietly(step)
    return evaluation.stats


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
    ("dataset", "image_keys", "keys"),
    [
        ("coco", COCO_IMAGE_KEYS, COCO_KEYS),
        ("crowdpose", CROWDPOSE_IMAGE_KEYS, CROWDPOSE_KEYS),
        ("wholebody", COCO_IMAGE_KEYS, WHOLEBODY_KEYS),
    ],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_coco_style_annotations_have_the_fields_and_types_of_the_real_ones(
    roots: dict[str, Path], dataset: str, image_keys: set[str], keys: list[str], split: str
) -> None:
    content, keypoints = annotations(roots, dataset, split), DATASETS[dataset].keypoints
    (category,) = content["categories"]
    assert set(category) == {"supercategory", "id", "name", "keypoints", "skeleton"}
    assert category["keypoints"] == list(keypoints.names[: keypoints.body])
    assert min(min(pair) for pair in category["skeleton"]) == 1
    folder = roots[dataset] / DATASETS[dataset].images[split]
    for image in content["images"]:
        assert set(image) == image_keys and (image["width"], image["height"]) == SIZES[dataset]
        assert cv2.imread(str(folder / image["file_name"])).shape == (image["height"], image["width"], 3)
    for annotation in content["annotations"]:
        assert list(annotation) == keys
        for field, rows in keypoints.fields.items():
            assert triples(annotation, field).shape == (rows.stop - rows.start, 3)
        assert all(isinstance(value, int) for value in annotation["keypoints"])
        assert all(isinstance(value, float) for value in annotation["bbox"])
        assert all(isinstance(value, bool) for key, value in annotation.items() if key.endswith("_valid"))
        assert annotation["iscrowd"] == 0 and annotation["category_id"] == 1
    ids = [annotation["id"] for annotation in content["annotations"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("dataset", COCO_LIKE)
def test_coco_style_keypoints_lie_in_the_image_or_are_zero(roots: dict[str, Path], dataset: str) -> None:
    for annotation in people_of(roots, dataset):
        points, flags = triples(annotation)[:, :2], triples(annotation)[:, 2]
        labelled = flags > 0
        assert set(flags.tolist()) <= {0, 1, 2}
        assert annotation["num_keypoints"] == labelled.sum()
        assert (points[~labelled] == 0).all()
        assert (points[labelled] >= 0).all() and (points[labelled] < SIZES[dataset]).all()


@pytest.mark.parametrize("part", ["face", "lefthand", "righthand"])
def test_a_face_or_hand_is_annotated_whole_or_not_at_all(roots: dict[str, Path], part: str) -> None:
    people = people_of(roots, "wholebody")
    assert 0.2 < np.mean([annotation[f"{part}_valid"] for annotation in people]) < 0.95
    for annotation in people:
        values, box = triples(annotation, f"{part}_kpts"), np.array(annotation[f"{part}_box"])
        assert box.shape == (4,)
        if annotation[f"{part}_valid"]:
            assert set(values[:, 2]) <= ({1.0} if part == "face" else {1.0, 2.0})
            assert (values[:, :2] >= 0).all() and (values[:, :2] <= np.array(SIZES["wholebody"]) - 0.5).all()
            assert (values[:, :2] > box[:2]).all() and (values[:, :2] < box[:2] + box[2:]).all()
            assert box[2:].max() >= 10
        else:
            assert not values.any() and not box.any()


def test_feet_are_annotated_point_by_point_where_they_are_seen(roots: dict[str, Path]) -> None:
    people = people_of(roots, "wholebody")
    flags = np.array([triples(annotation, "foot_kpts")[:, 2] for annotation in people])
    assert set(flags.ravel()) == {0.0, 2.0}
    assert [annotation["foot_valid"] for annotation in people] == (flags > 0).any(axis=1).tolist()
    assert ((flags > 0).any(axis=1) & (flags == 0).any(axis=1)).any()


def test_people_without_body_keypoints_have_no_others(roots: dict[str, Path]) -> None:
    unlabelled = [person for person in people_of(roots, "wholebody") if person["num_keypoints"] == 0]
    assert unlabelled
    fields = DATASETS["wholebody"].keypoints.fields
    assert not any(np.any(person[field]) for person in unlabelled for field in fields)


def test_mpii_annotations_have_the_fields_and_types_of_the_real_ones(roots: dict[str, Path]) -> None:
    complete = 0
    for record in people_of(roots, "mpii"):
        assert set(record) == {"joints_vis", "joints", "image", "scale", "center"}
        assert set(record["joints_vis"]) <= {0, 1} and len(record["joints_vis"]) == 16
        assert isinstance(record["scale"], float)
        joints, visible = np.array(record["joints"]), np.array(record["joints_vis"], dtype=bool)
        assert joints.shape == (16, 2) and joints.dtype == np.float64
        assert (joints[~visible] == -1).all()
        # 1-based: the centre of the first pixel is 1.
        assert (joints[visible] >= 0.5).all() and (joints[visible] <= np.array(SIZES["mpii"]) + 0.5).all()
        assert (roots["mpii"] / "images" / record["image"]).is_file()
        if visible.all():
            # The scale is the figure, with hands and feet, which are not joints of MPII, over 200 pixels.
            assert 0.8 * 200 * record["scale"] < np.ptp(joints, axis=0).max() <= 200 * record["scale"] + 1
            # The square of mmpose holds it.
            centre = np.array(record["center"]) + np.array((0, 15 * record["scale"]))
            assert (np.abs(joints - centre) <= 100 * record["scale"] + 2).all()
            complete += 1
    assert complete > 50


def test_head_boxes_hold_the_head_of_each_mpii_person(roots: dict[str, Path]) -> None:
    records = annotations(roots, "mpii")
    content = loadmat(roots["mpii"] / "annotations/mpii_gt_val.mat")
    boxes = content["headboxes_src"]
    assert boxes.shape == (2, 2, len(records)) and boxes.dtype == np.float64
    names = [str(name[0]) for name in content["dataset_joints"][0]]
    assert names[9] == "head" and names[13] == "lsho" and names[0] == "rank"
    np.testing.assert_array_equal(content["jnt_missing"].T, 1 - np.array([r["joints_vis"] for r in records]))
    np.testing.assert_allclose(content["pos_gt_src"].transpose(2, 0, 1), [r["joints"] for r in records])
    for (low, high), record in zip(boxes.transpose(2, 0, 1), records, strict=True):
        head_top, margin = np.array(record["joints"][9]), 0.05 * (high - low)
        assert (head_top >= low - margin).all() and (head_top <= high + margin).all()
        assert np.linalg.norm(high - low) > np.linalg.norm(head_top - record["joints"][8])


# ---------------------------------------------------------------- read by the real tools


@pytest.mark.filterwarnings("ignore::UserWarning")  # of xtcocotools, which has no areas of parts
@pytest.mark.parametrize(
    ("dataset", "kind"),
    [
        ("coco", "keypoints"),
        ("crowdpose", "keypoints_crowd"),
        *(
            ("wholebody", f"keypoints_{part}")
            for part in ("wholebody", *DATASETS["wholebody"].keypoints.parts)
        ),
    ],
)
def test_the_official_evaluator_gives_full_marks_to_the_annotated_keypoints(
    roots: dict[str, Path], dataset: str, kind: str
) -> None:
    from xtcocotools.coco import COCO
    from xtcocotools.cocoeval import COCOeval

    keypoints = DATASETS[dataset].keypoints
    truth = quietly(COCO, str(roots[dataset] / DATASETS[dataset].annotations["val"]))
    results = [
        {"image_id": person["image_id"], "category_id": 1, "score": 0.9}
        | {field: person[field] for field in keypoints.fields}
        for person in truth.dataset["annotations"]
        if person["num_keypoints"]
    ]
    rows = keypoints.parts.get(kind.removeprefix("keypoints_"), slice(None))
    sigmas, use_area = np.array(keypoints.sigmas)[rows], dataset != "crowdpose"
    stats = evaluated(COCOeval(truth, quietly(truth.loadRes, results), kind, sigmas, use_area=use_area))
    assert stats[[0, 5]] == pytest.approx(1.0, abs=1e-6)
    if dataset != "wholebody":
        # None is -1, which is empty: AP to APL of COCO, AP and its easy, medium and hard share of CrowdPose.
        assert min(stats) == pytest.approx(1.0, abs=1e-6)


def test_coco_areas_and_boxes_are_those_of_the_segmentation(roots: dict[str, Path]) -> None:
    from pycocotools.coco import COCO

    truth = quietly(COCO, str(roots["coco"] / DATASETS["coco"].annotations["val"]))
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

    def build(kind: str, dataset: str, split: str = "val", **more: str | None) -> Any:
        known = DATASETS[dataset]
        config = {"type": f"mmpose.{kind}", "data_root": str(roots[dataset]), "pipeline": []}
        config |= {name: str(roots[dataset] / str(path)) for name, path in more.items()}
        config |= {"ann_file": known.annotations[split], "data_prefix": {"img": known.images[split] + "/"}}
        return quietly(MMPOSE_DATASETS.build, {**config, "test_mode": split == "val"})

    return build


@pytest.mark.parametrize(
    ("dataset", "kind"), [("coco", "CocoDataset"), ("wholebody", "CocoWholeBodyDataset")]
)
def test_mmpose_reads_coco_and_wholebody(
    roots: dict[str, Path], as_mmpose_reads: Callable[..., Any], dataset: str, kind: str
) -> None:
    train = as_mmpose_reads(kind, dataset, "train")
    people = annotations(roots, dataset, "train")["annotations"]
    labelled = {person["id"]: person for person in people if person["num_keypoints"]}
    assert len(train) == len(labelled)
    for info in map(train.get_data_info, range(len(train))):
        person = labelled[info["id"]]
        expected = np.concatenate([triples(person, field) for field in DATASETS[dataset].keypoints.fields])
        np.testing.assert_allclose(info["keypoints"][0], expected[:, :2])
        np.testing.assert_array_equal(info["keypoints_visible"][0], expected[:, 2] > 0)
    val = as_mmpose_reads(kind, dataset, bbox_file=DATASETS[dataset].detections)
    assert len(val) == len(detections(roots, dataset))
    assert Path(val[0]["img_path"]).is_file()


def test_mmpose_reads_crowdpose(roots: dict[str, Path], as_mmpose_reads: Callable[..., Any]) -> None:
    data = as_mmpose_reads("CrowdPoseDataset", "crowdpose")
    content = annotations(roots, "crowdpose")
    assert len(data) == len(content["annotations"])
    indices = {image["id"]: image["crowdIndex"] for image in content["images"]}
    assert all(data[index]["crowd_index"] == indices[data[index]["img_id"]] for index in range(len(data)))


def test_mmpose_reads_mpii(roots: dict[str, Path], as_mmpose_reads: Callable[..., Any]) -> None:
    data = as_mmpose_reads("MpiiDataset", "mpii", headbox_file=DATASETS["mpii"].headboxes)
    records = annotations(roots, "mpii")
    assert len(data) == len(records)
    heights = np.array([200 * record["scale"] for record in records])
    head_sizes = np.array([data[index]["head_size"].item() for index in range(len(data))])
    # A head is about a sixth of a person; its size in PCKh is 0.6 of the box's diagonal.
    assert 0.08 < np.median(head_sizes / heights) < 0.25


# ---------------------------------------------------------------- a pose problem


def naive_crowd_index(people: list[dict[str, Any]]) -> float:
    people = [person for person in people if person["num_keypoints"] > 0]
    ratios = []
    for person in people:
        x, y, width, height = person["bbox"]
        others = [joint for other in people if other is not person for joint in triples(other)]
        inside = sum(v > 0 and x <= u <= x + width and y <= w <= y + height for u, w, v in others)
        ratios.append(inside / person["num_keypoints"])
    return min(1.0, sum(ratios) / len(ratios)) if ratios else 0.0


def test_the_crowd_index_is_that_of_the_crowdpose_paper(roots: dict[str, Path]) -> None:
    content = annotations(roots, "crowdpose")
    for image in content["images"]:
        people = [person for person in content["annotations"] if person["image_id"] == image["id"]]
        assert image["crowdIndex"] == pytest.approx(naive_crowd_index(people), abs=0.005 + 1e-9)


def test_the_crowd_index_of_a_small_case_worked_out_by_hand() -> None:
    def person(box: list[float], labelled: int, keypoints: list[int]) -> dict[str, Any]:
        return {"bbox": box, "num_keypoints": labelled, "keypoints": keypoints}

    people = [
        person([0.0, 0.0, 10.0, 10.0], 14, [5, 5, 2] * 9 + [15, 5, 1] * 5),
        person([12.0, 0.0, 10.0, 10.0], 8, [15, 5, 2] * 2 + [5, 5, 2] * 6 + [0] * 18),
        # Without keypoints: counts neither as a person nor as a joint.
        person([0.0, 0.0, 30.0, 30.0], 0, [0] * 42),
    ]
    # 6 joints of the second lie in the box of the first, which has 14; 5 of the first in the second's with 8.
    assert crowd_index(people) == round((6 / 14 + 5 / 8) / 2, 2) == 0.53
    assert crowd_index([]) == 0.0


def test_crowding_spreads_over_easy_medium_and_hard(roots: dict[str, Path]) -> None:
    index = np.array([image["crowdIndex"] for image in annotations(roots, "crowdpose")["images"]])
    for share in ((index < 0.2).mean(), ((index >= 0.2) & (index < 0.8)).mean(), (index >= 0.8).mean()):
        assert share > 0.12
    assert (np.histogram(index, np.linspace(0, 1, 11))[0] > 0).all()


def test_coco_people_are_as_many_and_as_large_as_a_pose_problem_needs(roots: dict[str, Path]) -> None:
    content = annotations(roots, "coco")
    people = content["annotations"]
    assert 1.5 < len(people) / len(content["images"]) < 2.5
    area = np.array([annotation["area"] for annotation in people])
    assert ((area >= 32**2) & (area < 96**2)).mean() > 0.45
    assert (area >= 96**2).mean() > 0.1
    flags = np.array([triples(person)[:, 2] for person in people if person["num_keypoints"]])
    assert flags.astype(bool).sum(1).mean() > 12
    for flag, least in ((0, 0.05), (1, 0.05), (2, 0.45)):
        assert (flags == flag).mean() > least


def test_the_side_that_the_left_shoulder_is_on_tells_whether_the_face_is_seen(roots: dict[str, Path]) -> None:
    people = annotations(roots, "coco")["annotations"]
    points = np.array([triples(annotation) for annotation in people])
    height = np.array([annotation["bbox"][3] for annotation in people])
    # Shoulders that lie well apart face the camera or are turned away from it, and the head with them.
    shoulders = (points[:, 5:7, 2] > 0).all(1)
    apart = points[:, 5, 0] - points[:, 6, 0]
    from_front, from_back = (shoulders & (sign * apart > 0.15 * height) for sign in (1, -1))
    assert from_front.sum() > 50 and from_back.sum() > 15
    nose_seen = points[:, 0, 2] == 2
    assert nose_seen[from_front].mean() > 0.6
    assert nose_seen[from_back].mean() < 0.15


# ---------------------------------------------------------------- detections


def boxes_by_image(entries: list[dict[str, Any]]) -> dict[int, list[list[float]]]:
    found: dict[int, list[list[float]]] = {}
    for entry in entries:
        found.setdefault(entry["image_id"], []).append(entry["bbox"])
    return found


def best_overlaps(boxes: dict[int, list[list[float]]], others: dict[int, list[list[float]]]) -> list[float]:
    """Of each box the overlap with the best of another kind in its image."""
    from pycocotools import mask

    return [
        max(
            (mask.iou(np.array([box]), np.array([other]), [0]).item() for other in others.get(image, [])),
            default=0.0,
        )
        for image, of_image in boxes.items()
        for box in of_image
    ]


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_detections_miss_double_and_invent_people(roots: dict[str, Path], dataset: str) -> None:
    entries = detections(roots, dataset)
    for detection in entries:
        assert set(detection) == {"bbox", "category_id", "image_id", "score"}
        assert 0 < detection["score"] < 1
        assert min(detection["bbox"][:2]) >= 0 and min(detection["bbox"][2:]) > 0
    truths, found = boxes_by_image(annotations(roots, dataset)["annotations"]), boxes_by_image(entries)
    assert max(map(len, found.values())) <= 20
    hit, right = np.array(best_overlaps(truths, found)) >= 0.5, np.array(best_overlaps(found, truths)) >= 0.5
    assert 0.90 < hit.mean() < 0.99
    assert 0.07 < (~right).mean() < 0.22
    assert 1.1 < len(right) / len(hit) < 1.45


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_detections_are_as_good_as_those_used_on_coco(roots: dict[str, Path], dataset: str) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    truth.dataset = {"info": {}, **annotations(roots, dataset)}
    for annotation in truth.dataset["annotations"]:
        annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])
    quietly(truth.createIndex)
    stats = evaluated(COCOeval(truth, quietly(truth.loadRes, detections(roots, dataset)), "bbox"))
    # The detector whose boxes are used on COCO val has 0.56.
    assert 0.46 < stats[0] < 0.68


def test_detection_scores_follow_quality_imperfectly(roots: dict[str, Path]) -> None:
    from scipy.stats import spearmanr

    entries = detections(roots, "coco")
    truths = boxes_by_image(annotations(roots, "coco")["annotations"])
    quality = [best_overlaps(boxes_by_image([entry]), truths)[0] for entry in entries]
    assert 0.3 < spearmanr([entry["score"] for entry in entries], quality).statistic < 0.9


# ---------------------------------------------------------------- manifest and determinism


def tree_bytes(root: Path) -> dict[str, bytes]:
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.mark.parametrize("dataset", list(DATASETS))
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path, dataset: str) -> None:
    for name, seed in (("first", 1), ("second", 1), ("other", 2)):
        make_dataset(dataset, tmp_path / name, 4, seed, 3)
    first, second, other = (tree_bytes(tmp_path / name) for name in ("first", "second", "other"))
    assert first == second
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first)


def test_a_link_stays_a_link_and_a_kill_leaves_a_folder_that_is_known_as_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    first = make_dataset("coco", tmp_path / "link", 3, 1, 2)
    assert (tmp_path / "link").is_symlink() and read_manifest(tmp_path / "disk") == first

    def killed(folder: Path) -> None:
        (folder / "manifest.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "rmtree", killed)
        make_dataset("coco", tmp_path / "link", 3, 2, 2)
    third = make_dataset("coco", tmp_path / "link", 3, 3, 2)
    assert read_manifest(tmp_path / "link") == third
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]


def test_an_image_does_not_depend_on_how_many_are_made(tmp_path: Path) -> None:
    make_dataset("coco", tmp_path / "few", 3, 1, 2)
    make_dataset("coco", tmp_path / "more", 6, 1, 4)
    few, more = tree_bytes(tmp_path / "few"), tree_bytes(tmp_path / "more")
    images = [name for name in few if name.endswith(".jpg")]
    assert len(images) == 5
    assert all(few[name] == more[name] for name in images)
    file = DATASETS["coco"].annotations["val"]
    few_people, more_people = (json.loads(files[file])["annotations"] for files in (few, more))
    assert more_people[: len(few_people)] == few_people


@pytest.mark.parametrize("dataset", list(DATASETS))
def test_a_whole_dataset_has_no_problems_and_a_manifest_that_says_what_was_made(
    roots: dict[str, Path], dataset: str
) -> None:
    assert check_dataset(roots[dataset], dataset) == []
    manifest = read_manifest(roots[dataset])
    assert manifest["dataset"] == dataset and manifest["generated"] is True and manifest["seed"] == SEED
    assert manifest["images"] == {"train": train_images(dataset), "val": VAL}
    assert manifest["files"] == dataset_digests(roots[dataset], dataset)
    assert set(manifest["files"]) == set(DATASETS[dataset].files) | set(DATASETS[dataset].image_folders)


def test_a_changed_image_changes_the_checksum_of_its_folder(roots: dict[str, Path], tmp_path: Path) -> None:
    root = shutil.copytree(roots["mpii"], tmp_path / "copy")
    image = min((root / "images").iterdir())
    image.write_bytes(image.read_bytes()[:-1])
    assert read_manifest(root)["files"]["images"] != dataset_digests(root, "mpii")["images"]


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
    neighbours = [tmp_path / name / "thesis.txt" for name in ("data.old", "data.partial")]
    for each in neighbours:
        each.parent.mkdir()
        each.touch()
    make_dataset("coco", root, 6, 0, 2)
    make_dataset("coco", root, 3, 0, 2)
    assert len(list((root / "train2017").iterdir())) == 3
    (root / "manifest.json").unlink()
    with pytest.raises(ValueError, match="not generated"):
        make_dataset("coco", root, 3, 0, 2)
    assert len(list((root / "train2017").iterdir())) == 3
    assert all(each.is_file() for each in neighbours)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "coco2"}, "unknown dataset 'coco2': expected one of coco, crowdpose, lsp"),
        ({"images": 0}, "train images: expected 1 to"),
        ({"val_images": 0}, "val images: expected 1 to"),
        ({"seed": -1}, "seed: expected 0 or more, found -1"),
        ({"size": (40, 240)}, "size: expected at least 64x64 pixels, found 40x240"),
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arguments = {"name": "coco", "out": tmp_path / "data", "images": 2, "seed": 0, "val_images": 1} | change
    with pytest.raises(ValueError, match=message):
        make_dataset(**arguments)
    assert not (tmp_path / "data").exists()


# ---------------------------------------------------------------- check and contact sheet


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
