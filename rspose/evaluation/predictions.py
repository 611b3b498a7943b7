"""The predictions file: what a trained model says about the boxes of one validation split."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from rspose.grid.files import replacing

ARRAY_NAMES = ("image_id", "annotation_id", "box", "area", "box_score", "keypoints", "confidence")


@dataclass(eq=False)
class Predictions:
    """Poses predicted in N boxes, K keypoints each. Arrays are converted to the types given here.

    COCO and CrowdPose hold two sets of rows: boxes of the ground truth and boxes of a detector. MPII holds
    ground-truth rows only, and both ids are the person's index in ``mpii_val.json``.

    Attributes:
        image_id: Image of each box, int64 ``[N]``.
        annotation_id: Annotation that the box was taken from, -1 for a detector's box, int64 ``[N]``.
        box: What the crop was made from, before padding: x, y, width, height in image pixels, float32
            ``[N, 4]``.
        area: Of the padded crop in square image pixels, not negative, float32 ``[N]``; OKS-NMS takes it for
            the size of a prediction.
        box_score: Score of the detector, 1 for ground-truth boxes, float32 ``[N]``.
        keypoints: x, y in image pixels, the centre of the first pixel being 0, float32 ``[N, K, 2]``.
        confidence: Of each keypoint, in [0, 1], float32 ``[N, K]``.
        protocol: How the predictions were made (dataset, split, flip test, ...); JSON values only.
        source: What error messages call these predictions; the path once loaded. Not stored.

    Raises:
        ValueError: If a shape or a range is wrong; the message names the array.
    """

    image_id: np.ndarray
    annotation_id: np.ndarray
    box: np.ndarray
    area: np.ndarray
    box_score: np.ndarray
    keypoints: np.ndarray
    confidence: np.ndarray
    protocol: dict[str, Any]
    source: str = "predictions"

    def __post_init__(self) -> None:
        for name in ARRAY_NAMES:
            array, whole = np.asarray(getattr(self, name)), name.endswith("_id")
            if array.size and array.dtype.kind not in ("iu" if whole else "iuf"):
                raise self._wrong(name, "whole numbers" if whole else "numbers", array.dtype)
            setattr(self, name, array.astype(np.int64 if whole else np.float32, copy=False))
        if self.keypoints.ndim != 3 or self.keypoints.shape[2] != 2:
            raise self._wrong("keypoints", "shape [N, K, 2]", self.keypoints.shape)
        count, joints, _ = self.keypoints.shape
        shapes = {"box": (count, 4), "keypoints": (count, joints, 2), "confidence": (count, joints)}
        for name in ARRAY_NAMES:
            array, expected = getattr(self, name), shapes.get(name, (count,))
            if array.shape != expected:
                raise self._wrong(name, f"shape {expected}", array.shape)
            wrong = np.unique(np.nonzero(~np.isfinite(array))[0])
            if len(wrong):
                found = f"NaN or infinity in {len(wrong)} of {count} rows (first: row {wrong[0]})"
                raise self._wrong(name, "finite numbers", f"{found}; did the training diverge?")
        low, high = (self.confidence.min(), self.confidence.max()) if count else (0, 0)
        if low < 0 or high > 1:
            raise self._wrong("confidence", "values in [0, 1]", f"[{low:.4g}, {high:.4g}]")
        if self.area.min(initial=0) < 0:
            row = int(self.area.argmin())
            raise self._wrong("area", "none below 0", f"{self.area[row]:.4g} in row {row}")

    def _wrong(self, name: str, expected: str, found: object) -> ValueError:
        return ValueError(f"{self.source}: {name}: expected {expected}, found {found}")

    def __len__(self) -> int:
        return len(self.image_id)

    def take(self, rows: np.ndarray) -> Self:
        """The predictions of some rows, given as indices or as a boolean mask ``[N]``."""
        return replace(self, **{name: getattr(self, name)[rows] for name in ARRAY_NAMES})

    def confident(self, keypoints: slice = slice(None)) -> np.ndarray:
        """Rows with any confidence above 0 in some keypoints: evaluators leave out others, ``[N]``."""
        return np.any(self.confidence[:, keypoints] > 0, axis=1)

    def detections(self) -> Self:
        """The rows on boxes of a detector."""
        return self.take(self.annotation_id < 0)

    def ground_truth_boxes(self) -> Self:
        """The rows on boxes of the ground truth."""
        return self.take(self.annotation_id >= 0)

    def save(self, path: str | Path) -> None:
        """Write the file; it appears whole or not at all. The same predictions give the same bytes."""
        arrays = {name: getattr(self, name) for name in ARRAY_NAMES}
        arrays["protocol"] = np.asarray(json.dumps(self.protocol, sort_keys=True))
        with replacing(Path(path)) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that ``save`` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is damaged, or is not a predictions file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such predictions file; run the predict stage")
        try:
            with np.load(path, allow_pickle=False) as archive:
                content = {name: archive[name] for name in archive.files}
        # A damaged archive surfaces as whatever the zip, zlib or npy reader meets first.
        except Exception as error:
            raise ValueError(
                f"{path}: not a readable .npz archive of plain arrays ({error}); run the predict stage again"
            ) from error
        expected = {field.name for field in fields(cls)} - {"source"}
        if content.keys() != expected:
            raise ValueError(
                f"{path}: not a predictions file: expected the arrays {', '.join(sorted(expected))}, "
                f"found {', '.join(sorted(content)) or 'none'}"
            )
        try:
            protocol = json.loads(str(content.pop("protocol")[()]))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: protocol: expected JSON, found {error}") from error
        return cls(**content, protocol=protocol, source=str(path))
