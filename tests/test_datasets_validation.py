"""Faults in annotations and detections: refused in a line that names file and field, or without effect."""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.datasets import IN_JSON, edit, file_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rspose.datasets import DATASETS
from rspose.datasets.annotations import read_annotations, read_detections
from rspose.datasets.check import Inspection, check_dataset_once, inspect_dataset

WIDTH, HEIGHT = 128, 96  # of the pictures of the fixture `made`


def inspect(root: Path, dataset: str) -> Inspection:
    return inspect_dataset(root / dataset, dataset, open_images=False)


# What no field of its kind may hold, by the kind of field.
NO_NUMBER = [math.nan, math.inf, -math.inf, 1e300, None, "12", True, [], {}]
WRONG = {
    "id": [None, "7", 1.5, math.nan, 2**70, [], True],
    "number": NO_NUMBER,
    "flag": [*NO_NUMBER, -1, 3, 2.5],
    "text": [None, "", 7, [], math.nan],
    "size": [*NO_NUMBER, 0, -WIDTH, 0.5],
    "share": [*NO_NUMBER, -0.1, 1.1, 33],
    "positive": [*NO_NUMBER, 0, -3.0],
    "yes or no": [None, "1", 2, -1, 0.5, [], math.nan],
    "count": [None, "3", -1, 0.5, 999, 1e300, math.nan],
    "box": [None, [], [1, 2, 3], [1, 2, 3, 4, 5], "box", [1, 2, math.nan, 4], [9, 9, -5, 5], [1, 1, 5, None]],
    "keypoints": [None, [], [1, 2, 2], "points", 3],
    "person": ["person", None, 3, [], {}],
}
COCO_LIKE: dict[str, dict[str, str]] = {
    "images": {"id": "id", "file_name": "text", "width": "size", "height": "size"},
    "annotations": {
        "id": "id",
        "image_id": "id",
        "category_id": "id",
        "bbox": "box",
        "keypoints": "keypoints",
        "iscrowd": "yes or no",
        "num_keypoints": "count",
    },
}
DETECTIONS = {"image_id": "id", "category_id": "id", "bbox": "box", "score": "share"}
MPII = {
    "image": "text",
    "center": "keypoints",
    "scale": "positive",
    "joints": "keypoints",
    "joints_vis": "keypoints",
}


def fields_of(dataset: str, part: str) -> list[tuple[str | None, str, str]]:
    """Group, field and kind of each field of a file that is used."""
    if part == "detections":
        return [(None, name, kind) for name, kind in DETECTIONS.items()]
    if dataset == "mpii":
        return [(None, name, kind) for name, kind in MPII.items()]
    fields = [(group, name, kind) for group, names in COCO_LIKE.items() for name, kind in names.items()]
    fields += [("annotations", name, "keypoints") for name in DATASETS[dataset].keypoints.fields]
    if dataset == "crowdpose":
        return [*fields, ("images", "crowdIndex", "share")]
    return [*fields, ("annotations", "area", "positive")]


@st.composite
def faults(draw: st.DrawFn) -> tuple[str, str, Callable[[Any], None], str]:
    """Dataset, part, what breaks the file's content, and the field that it breaks."""
    dataset = draw(st.sampled_from(sorted(IN_JSON)))
    parts = ["train", "val", *(["detections"] if DATASETS[dataset].detections else [])]
    part = draw(st.sampled_from(parts))
    group, name, kind = draw(st.sampled_from(fields_of(dataset, part)))
    at = draw(st.integers(0, 10**6))
    joints = len(DATASETS[dataset].keypoints)
    inner = draw(st.integers(0, 10**6)) if kind == "keypoints" and draw(st.booleans()) else None
    if inner is None:
        choice = draw(st.sampled_from([*WRONG[kind], "delete"]))
    elif name == "joints_vis":
        choice = draw(st.sampled_from(WRONG["yes or no"]))
    else:
        is_flag = dataset != "mpii" and inner % 3 == 2
        choice = draw(st.sampled_from(WRONG["flag" if is_flag else "number"]))

    def apply(content: Any) -> None:
        entries = content if group is None else content[group]
        entry = entries[at % len(entries)]
        if inner is None:
            if choice == "delete":
                del entry[name]
            else:
                entry[name] = choice
        elif name == "joints":
            entry[name][inner % joints][inner % 2] = choice
        else:
            # A multiple of three, so that a flag stays one.
            entry[name][inner % len(entry[name])] = choice

    apply.__qualname__ = f"{name} {choice!r} at {at}"
    return dataset, part, apply, name


@given(fault=faults())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_field_that_holds_what_it_may_not_is_refused_by_file_and_name(
    fault: tuple[str, str, Callable[[Any], None], str], made: Path
) -> None:
    dataset, part, apply, name = fault
    path = file_of(made / dataset, dataset, part)
    valid = path.read_bytes()
    try:
        content = json.loads(valid)
        apply(content)
        path.write_text(json.dumps(content))
        problems = inspect(made, dataset).problems
    finally:
        path.write_bytes(valid)
    assert any(problem.startswith(f"{path}: ") and name in problem for problem in problems), (fault, problems)
    assert all("\n" not in problem and len(problem) < 400 for problem in problems)


@pytest.fixture
def change(made: Path, tmp_path: Path) -> Callable[..., Inspection]:
    """Copy a dataset, change the content of one file, and look at what is found."""

    def changed(dataset: str, part: str, apply: Callable[[Any], Any]) -> Inspection:
        shutil.copytree(made / dataset, tmp_path / dataset, dirs_exist_ok=True)
        edit(file_of(tmp_path / dataset, dataset, part), apply)
        return inspect(tmp_path, dataset)

    return changed


def each(group: str, edit: Callable[[dict[str, Any]], Any]) -> Callable[[Any], None]:
    def apply(content: Any) -> None:
        for entry in content[group] if isinstance(content, dict) else content:
            edit(entry)

    return apply


def restart_ids(content: Any) -> None:
    for number, person in enumerate(content["annotations"]):
        person["id"] = number % 2


def same_image_id(content: Any) -> None:
    content["images"][1]["id"] = content["images"][0]["id"]


def drop_middle_image(content: Any) -> None:
    annotated = {person["image_id"] for person in content["annotations"]}
    content["images"] = [image for image in content["images"] if image["id"] != min(annotated)]


def swap_names(content: Any) -> None:
    names = content["categories"][0]["keypoints"]
    names[1], names[2] = names[2], names[1]


def divide_by_size(person: dict[str, Any]) -> None:
    person["keypoints"][0::3] = [x / WIDTH for x in person["keypoints"][0::3]]
    person["keypoints"][1::3] = [y / HEIGHT for y in person["keypoints"][1::3]]


def to_corners(entry: dict[str, Any]) -> None:
    x, y, width, height = entry["bbox"]
    entry["bbox"] = [x, y, x + width, y + height]


def swap_size(image: dict[str, Any]) -> None:
    image["width"], image["height"] = image["height"], image["width"]


def nobody_labelled(person: dict[str, Any]) -> None:
    person.update(num_keypoints=0, keypoints=[0] * len(person["keypoints"]))


PERSONS, IMAGES = "annotations", "images"
CONTRADICTIONS: dict[str, tuple[str, str, Callable[[Any], Any], str]] = {
    "ids that restart": ("coco", "train", restart_ids, r"annotation 2 \(id 0\): its id stands there twice"),
    "an image id twice": ("coco", "train", same_image_id, r"image 1: id \d+ stands there twice"),
    "no image": (
        "coco",
        "val",
        lambda content: content["images"].clear(),
        r"expected images, .*, found no 'images'",
    ),
    "a folder in a name of MPII": (
        *("mpii", "val", each("", lambda person: person.update(image=f"a/{person['image']}"))),
        r"person 0: image: expected a file name that is a number, .*, found 'a/\d+.jpg' \(\d+ more",
    ),
    "an image less": (
        "crowdpose",
        "val",
        drop_middle_image,
        r"image_id: expected the id of one of the images",
    ),
    "names in another order": (
        "coco",
        "val",
        swap_names,
        r"keypoints\[1\]: expected left_eye, found right_eye",
    ),
    "persons of another category": (
        *("coco", "val", each(PERSONS, lambda person: person.update(category_id=2))),
        r"category_id: expected 1, the person, found 2 \(\d+ more",
    ),
    "categories from 0": (
        *("coco", "val", each("categories", lambda category: category.update(id=0))),
        r"categories: expected one of id 1, the person, found 0",
    ),
    "parts of the size": (
        "coco",
        "train",
        each(PERSONS, divide_by_size),
        r"expected pixels, found numbers from 0",
    ),
    "boxes as corners": (
        "coco",
        "train",
        each(PERSONS, to_corners),
        r"bbox: expected .* within 128 x 96 pixels",
    ),
    "detections as corners": (
        "coco",
        "detections",
        each("", to_corners),
        r"bbox: expected .* within 128 x 96",
    ),
    "sizes swapped": (
        "coco",
        "val",
        each(IMAGES, swap_size),
        r"expected 96 x 128 .*, found 128 x 96 \(3 more",
    ),
    "nobody labelled": (
        "coco",
        "train",
        each(PERSONS, nobody_labelled),
        r"labelled keypoints, found none among",
    ),
    "nobody counted": (
        *("coco", "train", each(PERSONS, lambda person: person.update(num_keypoints=0))),
        r"num_keypoints: expected \d+, as many as are labelled, found 0",
    ),
    "a part of the detections": (
        *("coco", "detections", lambda content: content[: len(content) // 4]),
        r"\d of 3 images with persons have no detection.*is the file complete",
    ),
    "no detection": (
        "coco",
        "detections",
        lambda content: [],
        r"expected detections of .*, found none at all",
    ),
    "detections of category 0": (
        *("coco", "detections", each("", lambda detection: detection.update(category_id=0))),
        r"expected detections of category 1, the person, found \d+ of other",
    ),
    "scores in percent": (
        *("coco", "detections", each("", lambda detection: detection.update(score=100 * detection["score"]))),
        r"score: expected a number of at most 1",
    ),
    "crowd indices in percent": (
        *("crowdpose", "val", each(IMAGES, lambda image: image.update(crowdIndex=33.0))),
        r"crowdIndex: expected a number of at most 1.*found 33.0 \(3 more",
    ),
}


@pytest.mark.parametrize(("dataset", "part", "apply", "said"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_what_contradicts_the_rest_is_refused(
    dataset: str, part: str, apply: Callable[[Any], Any], said: str, change: Callable[..., Inspection]
) -> None:
    problems = change(dataset, part, apply).problems
    assert any(re.search(said, problem) for problem in problems), problems


def arrays(root: Path, dataset: str) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for split in ("train", "val"):
        read = read_annotations(dataset, root / dataset, split)
        found += [read.known_images, read.image_id, read.annotation_id, read.box, read.area]
        found += [read.keypoints, read.flags, read.ignored, read.crowd, np.array(read.image_names)]
    if DATASETS[dataset].detections:
        detections = read_detections(dataset, root / dataset)
        found += [detections.image_id, detections.box, detections.score]
    return found


def decimal_ids(content: Any) -> None:
    for group, keys in (("images", ("id",)), ("annotations", ("id", "image_id", "category_id"))):
        for entry in content[group]:
            entry.update({key: float(entry[key]) for key in keys})


@pytest.mark.parametrize(
    "apply",
    [
        decimal_ids,
        each("images", lambda image: image.update(license=None, note=[1])),
        each("annotations", lambda person: person.update(segmentation="no", extra=math.nan)),
        lambda content: content.update(info={}, licenses=None),
        lambda content: content["categories"].insert(0, {"id": 0, "name": "people"}),
        each("categories", lambda category: category.pop("keypoints", None)),
    ],
    ids=["ids in decimals", "image fields", "person fields", "file fields", "a group before", "no names"],
)
@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "wholebody"])
def test_what_nobody_uses_is_accepted_and_changes_no_number(
    dataset: str, apply: Callable[[Any], Any], change: Callable[..., Inspection], made: Path, tmp_path: Path
) -> None:
    assert change(dataset, "val", lambda content: apply(content) and None).problems == []
    for expected, found in zip(arrays(made, dataset), arrays(tmp_path, dataset), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dataset", IN_JSON)
def test_a_byte_order_mark_is_passed_over(dataset: str, made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / dataset, tmp_path / dataset)
    path = file_of(tmp_path / dataset, dataset, "val")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert inspect(tmp_path, dataset).problems == []
    for expected, found in zip(arrays(made, dataset), arrays(tmp_path, dataset), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_flags_may_be_fractions(change: Callable[..., Inspection]) -> None:
    def fractions(person: dict[str, Any]) -> None:
        flags = person["lefthand_kpts"][2::3]
        person["lefthand_kpts"][2::3] = [0.3 if flag else 0 for flag in flags]

    assert change("wholebody", "train", each("annotations", fractions)).problems == []


def test_a_box_without_an_area_is_a_note(change: Callable[..., Inspection]) -> None:
    def flat(content: Any) -> None:
        content["annotations"][1]["bbox"][2] = 0

    found = change("coco", "train", flat)
    assert found.problems == []
    assert any("bbox: its area is 0: it is left out of training" in note for note in found.notes)


def test_val_images_in_train_are_a_note(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "coco", tmp_path / "coco")
    for image in (tmp_path / "coco/val2017").iterdir():
        shutil.copy(image, tmp_path / "coco/train2017")
    train, val = (
        json.loads(file_of(tmp_path / "coco", "coco", split).read_text()) for split in ("train", "val")
    )
    train["images"] += val["images"]
    file_of(tmp_path / "coco", "coco", "train").write_text(json.dumps(train))
    found = check_dataset_once(tmp_path / "coco", "coco", tmp_path / "memory")
    assert found.problems == []
    assert any("4 of 4 val images are in the train split too" in note for note in found.notes)


def test_a_picture_that_lies_on_its_side_is_named(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "coco", tmp_path / "coco")
    first = sorted((tmp_path / "coco/train2017").iterdir())[0]
    with Image.open(first) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(first, exif=exif)
    (problem,) = inspect(tmp_path, "coco").problems
    assert problem == (
        f"{first}: expected 128 x 96 pixels as in person_keypoints_train2017.json, "
        "found 96 x 128, turned as its EXIF orientation 6 says"
    )


def test_head_boxes_have_a_size(made: Path, tmp_path: Path) -> None:
    from scipy.io import loadmat, savemat

    shutil.copytree(made / "mpii", tmp_path / "mpii")
    path = tmp_path / "mpii" / str(DATASETS["mpii"].headboxes)
    boxes = loadmat(path)["headboxes_src"].astype(float)
    boxes[:, :, 1] = 5
    savemat(path, {"headboxes_src": boxes})
    (problem,) = inspect(tmp_path, "mpii").problems
    assert problem.startswith(f"{path}: person 1: headboxes_src: expected two corners of a head box")


def test_a_person_of_mpii_is_named_by_its_place(change: Callable[..., Inspection]) -> None:
    def edit(content: Any) -> None:
        content[1].update(scale=0)
        del content[2]["joints_vis"]

    problems = change("mpii", "train", edit).problems
    assert "person 1: scale: expected a number above 0" in problems[0]
    assert "person 2: key 'joints_vis' is missing; found center, image, joints, scale" in problems[1]


def test_a_jpeg_with_bytes_behind_its_end_opens(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "coco", tmp_path / "coco")
    first = sorted((tmp_path / "coco/train2017").iterdir())[0]
    first.write_bytes(first.read_bytes() + b"\xff\xda trailer without an end")
    assert inspect_dataset(tmp_path / "coco", "coco").problems == []


def test_images_may_lie_in_folders_of_their_own_and_have_absolute_names(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "coco", tmp_path / "coco")
    folder = tmp_path / "coco/val2017"
    content = json.loads(file_of(tmp_path / "coco", "coco", "val").read_text())
    (folder / "camera1").mkdir()
    image = content["images"][0]
    (folder / image["file_name"]).rename(folder / "camera1" / image["file_name"])
    image["file_name"] = f"camera1/{image['file_name']}"
    content["images"][1]["file_name"] = str(folder / content["images"][1]["file_name"])
    file_of(tmp_path / "coco", "coco", "val").write_text(json.dumps(content))
    assert inspect_dataset(tmp_path / "coco", "coco").problems == []
