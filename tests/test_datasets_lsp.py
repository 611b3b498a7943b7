"""Leeds Sports Pose: two layouts of joints.mat, opposite flags, split, derived boxes, near duplicates."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders.datasets import check_dataset, write_lsp_dataset
from builders.grid import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.io import loadmat, savemat

from rspose.datasets.annotations import read_annotations
from rspose.datasets.check import check_dataset_once, inspect_dataset
from rspose.drawn import make_dataset
from rspose.evaluation.controls import mean_pose
from rspose.grid.config import ConfigError, load_config
from rspose.grid.fingerprints import training_fingerprint


def test_the_first_half_of_lsp_and_lspet_train_and_the_second_half_is_val(tmp_path: Path) -> None:
    write_lsp_dataset(tmp_path, seed=0)
    train, val = (read_annotations("lsp", tmp_path, split) for split in ("train", "val"))
    assert train.image_names == [
        *(f"lsp/images/im000{number}.jpg" for number in (1, 2, 3)),
        *(f"lspet/images/im0000{number}.jpg" for number in (1, 2, 3)),
    ]
    assert val.image_names == [f"lsp/images/im000{number}.jpg" for number in (4, 5, 6)]
    main = loadmat(tmp_path / "lsp/joints.mat")["joints"]
    extended = loadmat(tmp_path / "lspet/joints.mat")["joints"]
    np.testing.assert_array_equal(val.keypoints[1, 9], main[:2, 9, 4])
    np.testing.assert_array_equal(train.keypoints[4, 13], extended[13, :2, 1])
    assert len(set(train.image_id.tolist()) | set(val.image_id.tolist())) == 9


def test_a_flag_of_lsp_says_occluded_and_one_of_lspet_says_labelled(tmp_path: Path) -> None:
    write_lsp_dataset(tmp_path, seed=1, occluded=(0, 4), unlabelled=(1, 7))
    train = read_annotations("lsp", tmp_path, "train", least_keypoints=1)
    flags = np.full((6, 14), 2)
    flags[0, 4], flags[4, 7] = 1, 0
    np.testing.assert_array_equal(train.flags, flags)
    val = read_annotations("lsp", tmp_path, "val")
    assert (val.flags == 2).all()


def test_persons_with_fewer_joints_are_left_out_and_their_pictures_need_not_be_there(tmp_path: Path) -> None:
    write_lsp_dataset(tmp_path, seed=2, unlabelled=(1, 7))
    (tmp_path / "lspet/images/im00002.jpg").unlink()
    assert check_dataset(tmp_path, "lsp") == []
    assert len(read_annotations("lsp", tmp_path, "train")) == 5
    with pytest.raises(ValueError, match=r"im00002.jpg: expected a picture, found no file"):
        read_annotations("lsp", tmp_path, "train", least_keypoints=13)


def test_boxes_are_a_tenth_larger_than_the_joints_on_each_side_and_end_with_the_picture(
    tmp_path: Path,
) -> None:
    write_lsp_dataset(tmp_path, seed=3)
    mat = loadmat(tmp_path / "lsp/joints.mat")["joints"]
    mat[0, 0, 3], mat[1, 0, 3] = 98.0, 2.0
    savemat(tmp_path / "lsp/joints.mat", {"joints": mat})
    val = read_annotations("lsp", tmp_path, "val")
    for row in range(3):
        x, y = mat[:2, :, 3 + row]
        left, right = x.min() - 0.1 * np.ptp(x), x.max() + 0.1 * np.ptp(x)
        top, bottom = y.min() - 0.1 * np.ptp(y), y.max() + 0.1 * np.ptp(y)
        left, right = max(left, 0), min(right, 100)
        top, bottom = max(top, 0), min(bottom, 80)
        np.testing.assert_allclose(val.box[row], [left, top, right - left, bottom - top])
        assert val.area[row] == pytest.approx(0.53 * (right - left) * (bottom - top))
    assert val.box[0, 0] + val.box[0, 2] == 100 and val.box[0, 1] == 0


def swapped(joints: np.ndarray) -> np.ndarray:
    return joints.transpose(1, 0, 2)


def one_fewer(joints: np.ndarray) -> np.ndarray:
    return joints[:-1]


def as_text(joints: np.ndarray) -> np.ndarray:
    return np.full(joints.shape, "1")


def in_cells(joints: np.ndarray) -> np.ndarray:
    return joints.astype(object)


def imaginary(joints: np.ndarray) -> np.ndarray:
    return joints + 1j


def fractions(joints: np.ndarray) -> np.ndarray:
    joints[:2] /= 100
    return joints


def elsewhere(joints: np.ndarray) -> np.ndarray:
    joints[:2] += 500
    return joints


def extended_elsewhere(joints: np.ndarray) -> np.ndarray:
    joints[:, :2] += 500
    return joints


@pytest.mark.parametrize(
    ("file", "change", "line"),
    [
        ("lsp", swapped, r"joints: expected shape \(3, 14, N\), found shape \(14, 3, 6\)"),
        ("lspet", one_fewer, r"joints: expected shape \(14, 3, N\), found shape \(13, 3, 3\)"),
        ("lsp", as_text, r"joints: expected real numbers, found an array of <U1"),
        ("lspet", in_cells, r"joints: expected real numbers, found an array of object"),
        ("lsp", imaginary, r"joints: expected real numbers, found an array of complex128"),
        ("lsp", fractions, r"picture 1: expected pixels, found numbers from 0 to 1 \(5 more like it\)"),
        ("lsp", elsewhere, r"lsp/images/im000\d.jpg: .* expected .* within 100 x 80 pixels"),
        ("lspet", extended_elsewhere, r"lspet/images/im0000\d.jpg: .* expected .* within 100 x 80 pixels"),
    ],
)
def test_what_cannot_be_is_named(
    file: str, change: Callable[[np.ndarray], np.ndarray], line: str, tmp_path: Path
) -> None:
    write_lsp_dataset(tmp_path, seed=4)
    path = tmp_path / file / "joints.mat"
    savemat(path, {"joints": change(loadmat(path)["joints"])})
    problems = check_dataset(tmp_path, "lsp")
    assert any(problem.startswith(f"{path}: ") and re.search(line, problem) for problem in problems), problems
    with pytest.raises(ValueError, match=r"joints\.mat: "):
        read_annotations("lsp", tmp_path, "train")


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lsp")
    write_lsp_dataset(root, seed=8)
    return root


def everything(root: Path) -> list[np.ndarray]:
    both = [read_annotations("lsp", root, split) for split in ("train", "val")]
    return [
        array
        for read in both
        for array in (read.image_id, read.annotation_id, read.box, read.area, read.keypoints, read.flags)
    ]


FILES = st.sampled_from([("lsp", 6, (0, 1, 2)), ("lspet", 3, (1, 0, 2))])
NO_NUMBER = [np.nan, np.inf, -np.inf, 1e300, -1e300]


@given(
    file=FILES,
    picture=st.integers(0, 10**6),
    joint=st.integers(0, 13),
    fault=st.tuples(st.sampled_from([0, 1]), st.sampled_from(NO_NUMBER))
    | st.tuples(st.just(2), st.sampled_from([*NO_NUMBER, -1, 0.5, 2, 3])),
)
@settings(max_examples=200, deadline=None)
def test_a_number_that_cannot_be_is_refused_by_file_picture_and_joint(
    file: tuple[str, int, tuple[int, ...]], picture: int, joint: int, fault: tuple[int, float], noise: Path
) -> None:
    name, pictures, order = file
    path, picture = noise / name / "joints.mat", picture % pictures
    valid = path.read_bytes()
    joints = loadmat(path)["joints"]
    joints.transpose(order)[fault[0], joint, picture] = fault[1]
    try:
        savemat(path, {"joints": joints})
        (problem,) = check_dataset(noise, "lsp")
    finally:
        path.write_bytes(valid)
    place = f"{path}: picture {picture + 1}, joint {joint + 1}"
    assert problem.startswith(f"{place}: expected x, y and a flag of 0 or 1, found [") and "\n" not in problem


@given(file=FILES, at=st.integers(0, 183), value=st.integers(0, 255), end=st.none() | st.integers(0, 1000))
@settings(max_examples=200, deadline=None)
def test_a_header_that_is_damaged_is_refused_by_file_or_changes_no_number(
    file: tuple[str, int, tuple[int, ...]], at: int, value: int, end: int | None, noise: Path
) -> None:
    path, before = noise / file[0] / "joints.mat", everything(noise)
    valid = path.read_bytes()
    try:
        path.write_bytes((valid[:at] + bytes([value]) + valid[at + 1 :])[:end])
        problems = check_dataset(noise, "lsp")
        after = [] if problems else everything(noise)
    finally:
        path.write_bytes(valid)
    assert all(problem.startswith(f"{path}: ") and "\n" not in problem for problem in problems), problems
    assert problems or all(map(np.array_equal, before, after))


def test_a_file_that_is_no_matlab_file_is_named(tmp_path: Path) -> None:
    write_lsp_dataset(tmp_path, seed=5)
    for file in ("lspet/joints.mat", "lsp/joints.mat"):
        (tmp_path / file).write_text("<html>")
        (problem,) = check_dataset(tmp_path, "lsp")
        assert problem.startswith(f"{tmp_path / file}: expected a MATLAB file, found ")


def test_nearly_the_same_picture_in_two_splits_is_noted(tmp_path: Path) -> None:
    make_dataset("lsp", tmp_path / "drawn", 8, 1, 3, (160, 120))
    root = tmp_path / "drawn"
    (root / "manifest.json").unlink()
    # The same frame, smaller, darker and packed again.
    with Image.open(root / "lsp/images/im0002.jpg") as picture:
        again = ImageEnhance.Brightness(picture).enhance(0.8).resize((150, 112)).resize((160, 120))
    again.save(root / "lsp/images/im0005.jpg", quality=60)
    notes = inspect_dataset(root, "lsp").notes
    assert [note for note in notes if "nearly" in note] == [
        "lsp/images/im0005.jpg (val) and lsp/images/im0002.jpg (train) are nearly the same picture"
    ]


def test_drawn_pictures_are_read_back_as_they_were_drawn(tmp_path: Path) -> None:
    make_dataset("lsp", tmp_path / "one", 9, 5, 3, (160, 120))
    make_dataset("lsp", tmp_path / "two", 9, 5, 3, (160, 120))
    for file in ("lsp/joints.mat", "lspet/joints.mat", "lsp/images/im0006.jpg", "manifest.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    main = loadmat(tmp_path / "one/lsp/joints.mat")["joints"]
    extended = loadmat(tmp_path / "one/lspet/joints.mat")["joints"]
    assert main.shape == (3, 14, 6) and extended.shape == (14, 3, 6)
    assert set(np.unique(main[2])) <= {0, 1} and set(np.unique(extended[:, 2])) <= {0, 1}
    assert check_dataset(tmp_path / "one", "lsp") == []
    assert len(read_annotations("lsp", tmp_path / "one", "train", least_keypoints=1)) == 9


def test_fewer_pictures_to_train_than_to_test_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train images: expected at least as many as of val"):
        make_dataset("lsp", tmp_path / "drawn", 2, 0, 3)


def test_a_run_checks_the_pictures_that_its_config_trains_on(tmp_path: Path) -> None:
    write_lsp_dataset(tmp_path, seed=6, unlabelled=(1, 7))
    (tmp_path / "lspet/images/im00002.jpg").unlink()
    memory = tmp_path / "checked"
    assert check_dataset_once(tmp_path, "lsp", memory).problems == []
    (problem,) = check_dataset_once(tmp_path, "lsp", memory, 13).problems
    assert "lspet/images/im00002.jpg: expected a picture" in problem


def test_how_many_joints_a_person_needs_decides_who_trains_and_makes_the_mean_pose(tmp_path: Path) -> None:
    write_lsp_dataset(tmp_path, seed=7, unlabelled=(1, 7))
    photos = load_config(REPOSITORY / "config/photos.yaml")
    cell = photos.cells()[0]
    fewer = photos.changed(data={"lsp": {"root": "data", "least_keypoints": 13}})
    assert training_fingerprint(photos, cell) != training_fingerprint(fewer, cell)
    poses = [mean_pose("lsp", tmp_path, least).keypoints for least in (None, 14, 13)]
    assert np.array_equal(poses[0], poses[1]) and not np.array_equal(poses[0], poses[2])
    with pytest.raises(ConfigError, match="least_keypoints': expected at most 14; found 15"):
        photos.changed(data={"lsp": {"root": "data", "least_keypoints": 15}})
