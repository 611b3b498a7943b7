"""The predictions file: what goes in comes out, and what is wrong is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rspose.evaluation.predictions import ARRAY_NAMES, Predictions


def some_predictions(**changes: Any) -> Predictions:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "image_id": [7, 7, 9],
        "annotation_id": [4, -1, -1],
        "box": rng.uniform(0, 50, (3, 4)),
        "area": rng.uniform(100, 500, 3),
        "box_score": [1, 0.8, 0.3],
        "keypoints": rng.uniform(0, 50, (3, 17, 2)),
        "confidence": rng.uniform(0, 1, (3, 17)),
        "protocol": {"dataset": "coco", "flip_test": False, "input_size": [192, 256]},
    }
    return Predictions(**(arrays | changes))


def test_a_saved_file_is_plain_arrays_and_loads_as_it_was(tmp_path: Path) -> None:
    predictions = some_predictions()
    path = tmp_path / "new folder" / "predictions.npz"
    predictions.save(path)
    loaded = Predictions.load(path)
    for name in ARRAY_NAMES:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(predictions, name))
        assert getattr(loaded, name).dtype == (np.int64 if name.endswith("_id") else np.float32)
    assert loaded.protocol == predictions.protocol
    assert loaded.source == str(path)
    with np.load(path, allow_pickle=False) as archive:
        assert sorted(archive.files) == sorted([*ARRAY_NAMES, "protocol"])
        assert archive["protocol"].shape == ()


def test_the_same_predictions_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        some_predictions().save(tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "predictions.npz"
    some_predictions().save(path)
    before = path.read_bytes()

    def full_disk(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="No space left"):
        some_predictions(image_id=[1, 2, 3]).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_rows_divide_into_ground_truth_boxes_and_detections() -> None:
    predictions = some_predictions()
    assert predictions.ground_truth_boxes().annotation_id.tolist() == [4]
    assert predictions.detections().image_id.tolist() == [7, 9]
    np.testing.assert_array_equal(predictions.detections().keypoints, predictions.keypoints[1:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"box": np.zeros((3, 5))}, r"box: expected shape \(3, 4\), found \(3, 5\)"),
        ({"image_id": [1, 2]}, r"image_id: expected shape \(3,\), found \(2,\)"),
        ({"confidence": np.zeros((3, 14))}, r"confidence: expected shape \(3, 17\), found \(3, 14\)"),
        ({"keypoints": np.zeros((3, 51))}, r"keypoints: expected shape \[N, K, 2\], found \(3, 51\)"),
        (
            {"keypoints": np.full((3, 17, 2), np.nan)},
            r"keypoints: .* infinity in 3 of 3 rows \(first: row 0\)",
        ),
        ({"area": [1, np.inf, 1]}, r"area: .* in 1 of 3 rows \(first: row 1\)"),
        ({"confidence": np.full((3, 17), 1.5)}, r"confidence: .* in \[0, 1\], found \[1.5, 1.5\]"),
        ({"confidence": np.full((3, 17), -0.1)}, r"confidence: expected values in \[0, 1\]"),
        ({"area": [1, -2, 1]}, r"area: expected none below 0, found -2 in row 1"),
    ],
)
def test_wrong_content_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        some_predictions(**changes)


def test_no_predictions_are_predictions() -> None:
    empty = some_predictions().take(np.zeros(0, dtype=np.int64))
    assert len(empty) == 0
    assert empty.keypoints.shape == (0, 17, 2)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent.npz: no such predictions file; run the predict"):
        Predictions.load(tmp_path / "absent.npz")


@pytest.mark.parametrize("keep", [0, 10, 500, -30])
def test_a_truncated_file_is_named(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    some_predictions().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"predictions.npz: not a readable .npz archive"):
        Predictions.load(path)


def test_a_flipped_byte_never_changes_what_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    predictions = some_predictions()
    predictions.save(path)
    content = path.read_bytes()
    refused = 0
    for position in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[position] ^= 0xFF
        path.write_bytes(flipped)
        try:
            loaded = Predictions.load(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
        else:  # it was a byte that says nothing, such as a date
            assert loaded.protocol == predictions.protocol
            for name in ARRAY_NAMES:
                np.testing.assert_array_equal(getattr(loaded, name), getattr(predictions, name))
    assert refused > len(content) / 7 / 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"image_id": np.array([{"a": 1}], dtype=object)}, "not a readable .npz archive of plain arrays"),
        ({"heatmap": np.zeros(3)}, "not a predictions file: .* found heatmap"),
    ],
)
def test_pickled_objects_and_a_foreign_archive_are_named(
    content: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "samples.npz", **content)
    with pytest.raises(ValueError, match=rf"samples.npz: {message}"):
        Predictions.load(tmp_path / "samples.npz")
