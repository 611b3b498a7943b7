"""What a broken, wrong or partial download looks like to the check, for every dataset."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders.datasets import IN_JSON, check_dataset, edit, file_of
from scipy.io import loadmat, savemat

from rspose.datasets import DATASETS
from rspose.datasets import check as check_module
from rspose.datasets.check import (
    Inspection,
    check_dataset_once,
    inspect_dataset,
    what_to_fetch,
)
from rspose.datasets.interface import Release, SplitCounts
from rspose.datasets.manifest import MANIFEST, file_digest

COCO_LIKE = ["coco", "crowdpose", "wholebody"]


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda dataset: shutil.copytree(made / dataset, tmp_path / dataset)


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives a dataset another official release: split counts and checksums."""

    def change(dataset: str, counts: dict[str, SplitCounts], checksums: dict[str, str]) -> None:
        known = replace(DATASETS[dataset], release=Release(counts, 0, (), "", checksums))
        monkeypatch.setitem(DATASETS, dataset, known)

    return change


def only_problem(root: Path, dataset: str) -> str:
    (problem,) = check_dataset(root, dataset)
    assert "\n" not in problem
    return problem


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_missing_folder_is_named(dataset: str, tmp_path: Path) -> None:
    root = tmp_path / "my data"
    problem = only_problem(root, dataset)
    assert str(root) in problem and f"data.{dataset}.root" in problem and "RSPOSE_DATA" in problem
    assert f"rspose data fetch {dataset} --root '{root}'" in problem


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_missing_folder_of_images_is_named(dataset: str, copied: Callable[[str], Path]) -> None:
    root = copied(dataset)
    folder = root / DATASETS[dataset].images["val"]
    shutil.rmtree(folder)
    problems = check_dataset(root, dataset)
    assert problems and all(str(folder) in problem for problem in problems)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("dataset", IN_JSON)
def test_truncated_json_is_named(dataset: str, split: str, copied: Callable[[str], Path]) -> None:
    root = copied(dataset)
    path = file_of(root, dataset, split)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    problem = only_problem(root, dataset)
    assert problem.startswith(f"{path}: expected JSON") and "is the download complete?" in problem


@pytest.mark.parametrize("more", [-1, 1])
@pytest.mark.parametrize("dataset", IN_JSON)
def test_an_annotation_with_another_number_of_keypoints_is_named(
    dataset: str, more: int, copied: Callable[[str], Path]
) -> None:
    root = copied(dataset)
    path = file_of(root, dataset, "val")
    field = {"mpii": "joints", "wholebody": "face_kpts"}.get(dataset, "keypoints")
    expected = {"coco": 17, "crowdpose": 14, "mpii": 16, "wholebody": 68}[dataset]

    def change(content: Any) -> None:
        person = (content if dataset == "mpii" else content["annotations"])[2]
        person[field] = (2 * person[field])[: (expected + more) * (1 if dataset == "mpii" else 3)]

    edit(path, change)
    problem = only_problem(root, dataset)
    assert problem.startswith(f"{path}: ")
    assert f": {field}: expected {expected} keypoints, found {expected + more}" in problem
    assert problem.startswith(f"{path}: person 2: " if dataset == "mpii" else f"{path}: annotation 2 (id ")


def test_the_annotations_of_coco_are_not_those_of_wholebody(copied: Callable[[str], Path]) -> None:
    root, other = copied("wholebody"), copied("coco")
    path = file_of(root, "wholebody", "train")
    shutil.copy(file_of(other, "coco", "train"), path)
    problems = check_dataset(root, "wholebody")
    assert len(problems) == 4  # a line for each field that is missing
    assert (
        problems[0].startswith(f"{path}: annotation 0 (id ") and "key 'foot_kpts' is missing" in problems[0]
    )


@pytest.mark.parametrize("dataset", COCO_LIKE)
def test_the_file_of_another_split_is_found_out_by_images_or_detections(
    dataset: str, copied: Callable[[str], Path]
) -> None:
    root = copied(dataset)
    shutil.copy(file_of(root, dataset, "train"), file_of(root, dataset, "val"))
    problems = check_dataset(root, dataset)
    assert any("is the annotation file of another split?" in p or "another split" in p for p in problems)


def test_the_other_split_of_mpii_is_found_out_by_its_head_boxes(copied: Callable[[str], Path]) -> None:
    root = copied("mpii")
    shutil.copy(file_of(root, "mpii", "train"), file_of(root, "mpii", "val"))
    persons = len(json.loads(file_of(root, "mpii", "train").read_text()))
    assert f"head boxes of the {persons} persons" in only_problem(root, "mpii")


@pytest.mark.parametrize("dataset", IN_JSON)
def test_the_other_split_of_a_release_is_found_out_by_its_size(
    dataset: str, copied: Callable[[str], Path], release: Callable[..., None]
) -> None:
    root = copied(dataset)
    counts = inspect_dataset(root, dataset, open_images=False).counts
    release(dataset, {"train": counts["val"], "val": counts["train"]}, {})
    assert check_dataset(root, dataset) == []  # drawn
    (root / MANIFEST).unlink()
    problems = check_dataset(root, dataset)
    assert len(problems) == 2
    assert "expected the train split" in problems[0] and "images of the val split" in problems[0]
    more = {split: replace(each, persons=each.persons + 1) for split, each in counts.items()}
    release(dataset, {"train": more["val"], "val": more["train"]}, {})
    assert check_dataset(root, dataset) == []  # as many images by chance


def test_detections_of_images_that_are_not_annotated_are_named(copied: Callable[[str], Path]) -> None:
    root = copied("wholebody")
    path = root / str(DATASETS["wholebody"].detections)
    edit(path, lambda entries: entries[1].update(image_id=7))
    problem = only_problem(root, "wholebody")
    said = f"detection 1 (image_id 7): image_id 7 is not in {file_of(root, 'wholebody', 'val')}"
    assert problem.startswith(f"{path}: {said}")


def test_every_image_is_looked_for_not_the_first_ones_only(copied: Callable[[str], Path]) -> None:
    root = copied("coco")
    last = sorted((root / "train2017").iterdir())[-1]
    last.unlink()
    assert only_problem(root, "coco").startswith(f"{last}: expected this train image")


@pytest.mark.parametrize("content", [b"", b"not an image"], ids=["empty", "text"])
def test_images_that_do_not_open_are_named(content: bytes, copied: Callable[[str], Path]) -> None:
    root = copied("coco")
    first, second, *_ = sorted((root / "val2017").iterdir())
    first.write_bytes(content)
    second.write_bytes(second.read_bytes()[:-300])  # truncated: OpenCV alone would open it
    # That it is no image is seen without decoding it.
    assert [problem.split(":")[0] for problem in check_dataset(root, "coco")] == [str(first)]
    problems = inspect_dataset(root, "coco").problems
    assert [problem.split(":")[0] for problem in problems] == [str(first), str(second)]


def test_opening_images_says_how_far_it_is(made: Path) -> None:
    seen: list[tuple[int, int]] = []
    inspect_dataset(made / "crowdpose", "crowdpose", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 10) for done in range(1, 11)]


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_folder_with_less_than_the_release_is_usable_and_said_to_be_partial(
    dataset: str, copied: Callable[[str], Path]
) -> None:
    root = copied(dataset)
    assert inspect_dataset(root, dataset).notes == ["a generated dataset, as manifest.json says"]
    (root / MANIFEST).unlink()
    found = inspect_dataset(root, dataset)
    assert found.problems == []
    assert found.counts["train"].images == 6 and found.counts["val"].images == 4
    first, second, last = found.notes
    assert first.startswith("train: not all of the official release: 6 images (official: ")
    assert second.startswith("val: not all of the official release: 4 images (official: ")
    assert "not comparable with published" in last


def test_a_whole_release_is_compared_with_its_checksums(
    copied: Callable[[str], Path], release: Callable[..., None]
) -> None:
    root = copied("coco")
    (root / MANIFEST).unlink()
    counts = inspect_dataset(root, "coco").counts
    train, val = (DATASETS["coco"].annotations[split] for split in ("train", "val"))
    release("coco", counts, {train: file_digest(root / train), val: "0" * 64})
    found = inspect_dataset(root, "coco")
    assert found.problems == []
    (wrong, unknown) = found.notes
    assert wrong.startswith(f"{root / val}: not byte for byte the official file")
    assert "no published checksum" in unknown and "person_detection_results" in unknown


@pytest.mark.parametrize("dataset", DATASETS)
def test_what_to_fetch_covers_every_folder_of_the_layout(dataset: str, tmp_path: Path) -> None:
    lines = what_to_fetch(tmp_path, dataset)
    layout = DATASETS[dataset]
    folders = {str(tmp_path / Path(file).parent) for file in layout.files}
    folders |= {str(tmp_path / folder) for folder in layout.images.values() if folder != "."}
    folders |= {str(tmp_path / "lsp/images"), str(tmp_path / "lspet/images")} if dataset == "lsp" else set()
    assert {folder.rstrip("/") for line in lines for folder in line.split(" -> ")[1].split(", ")} == folders


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_release_names_files_of_the_layout_and_whole_checksums(dataset: str) -> None:
    release = DATASETS[dataset].release
    assert set(release.sha256) <= set(DATASETS[dataset].files)
    assert all(len(digest) == 64 and int(digest, 16) for digest in release.sha256.values())
    assert set(release.counts) == {"train", "val"}
    if dataset in ("coco", "wholebody"):
        assert release.counts["val"] == SplitCounts(5000, 11004)


def test_a_dataset_without_problems_is_read_again_only_when_it_changes(
    copied: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, memory = copied("mpii"), tmp_path / "work" / "mpii"
    assert check_dataset_once(root, "mpii", memory).problems == []
    with monkeypatch.context() as unread:
        unread.setattr(check_module, "_inspect_files", lambda *_: Inspection(["read again"]))
        assert check_dataset_once(root, "mpii", memory).problems == []
    boxes = root / "annotations/mpii_gt_val.mat"
    savemat(boxes, {"headboxes_src": loadmat(boxes)["headboxes_src"][..., 1:]})
    (problem,) = check_dataset_once(root, "mpii", memory).problems
    assert "head boxes" in problem
    assert check_dataset_once(root, "mpii", memory).problems == [problem]
