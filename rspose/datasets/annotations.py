"""Annotations, detections and head boxes, read from files as the datasets' authors publish them."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rspose.datasets.interface import Dataset
from rspose.datasets.registry import dataset

# A person fills about this share of its box; the CrowdPose evaluator and mmpose use it where no area is
# annotated.
BOX_SHARE = 0.53
# MPII's scale is the person's height over 200 pixels.
MPII_SCALE_PIXELS = 200.0
# MPII's evaluation calls this share of the head box's diagonal the head size.
HEAD_SIZE_SHARE = 0.6

_PERSON_CATEGORY = 1
_GET_AGAIN = "is the download complete? make or download the dataset again"


@dataclass(eq=False)
class Annotations:
    """The N annotated persons of one split, K keypoints each; the first pixel's centre is at 0, 0.

    Attributes:
        path: File that they come from.
        content: The file's JSON, for evaluators that want it whole.
        known_images: Ids of all images of the split, also of those without persons, int64.
        image_names: File name of each of them; MPII: of each person's image.
        image_id: int64 ``[N]``; MPII: the index of the person.
        annotation_id: int64 ``[N]``; MPII: the index of the person.
        box: x, y, width, height, float64 ``[N, 4]``.
        area: Square of the scale in OKS, float64 ``[N]``. COCO and COCO-WholeBody: the annotated area.
            CrowdPose: 0.53 of the box, as in its evaluator. MPII, which defines no OKS: 0.53 of the square of
            the person's height (200 x scale), which is the area that mmpose's MPII dataset gives to the
            losses, and unlike a head box exists for training too.
        keypoints: x, y, float64 ``[N, K, 2]``; arbitrary where not labelled.
        flags: 2 visible, 1 hidden, 0 not labelled, int8 ``[N, K]``; MPII does not tell 1 from 2, and has 2.
        ignored: bool ``[N]``: the evaluator neither rewards nor punishes finding this person (a crowd, or
            nobody labelled its keypoints).
        crowd: bool ``[N]``: a group, which any number of predictions may be matched to.
    """

    path: Path
    content: Any
    known_images: np.ndarray
    image_names: list[str]
    image_id: np.ndarray
    annotation_id: np.ndarray
    box: np.ndarray
    area: np.ndarray
    keypoints: np.ndarray
    flags: np.ndarray
    ignored: np.ndarray
    crowd: np.ndarray

    def __len__(self) -> int:
        return len(self.annotation_id)

    @cached_property
    def labelled(self) -> np.ndarray:
        """Which keypoints are labelled, visible or not, bool ``[N, K]``."""
        return self.flags > 0

    def rows_of(self, annotation_id: np.ndarray, source: str) -> np.ndarray:
        """Row of each annotation id, int64, shape as given.

        Raises:
            ValueError: If an id is not annotated; ``source`` is what the message says it comes from.
        """
        order = np.argsort(self.annotation_id, kind="stable")
        at = np.searchsorted(self.annotation_id, annotation_id, sorter=order)
        rows = order[np.minimum(at, len(order) - 1)] if len(order) else at
        unknown = self.annotation_id[rows] != annotation_id if len(order) else np.full(at.shape, True)
        if unknown.any():
            raise ValueError(
                f"{source}: annotation_id {annotation_id[unknown][0]} is not in {self.path}; "
                "are the predictions of another dataset?"
            )
        return rows

    def check_images(self, image_id: np.ndarray, source: str) -> None:
        """Raise ``ValueError`` if an image id is not in the annotation file."""
        unknown = ~np.isin(image_id, self.known_images)
        if unknown.any():
            raise ValueError(
                f"{source}: image_id {image_id[unknown][0]} is not in {self.path}; "
                "are they of another split, another dataset, or another version of it?"
            )


@dataclass(eq=False)
class Detections:
    """The N person boxes that a detector found.

    Attributes:
        path: File that they come from.
        image_id: int64 ``[N]``.
        box: x, y, width, height in image pixels, float64 ``[N, 4]``.
        score: float64 ``[N]``.
    """

    path: Path
    image_id: np.ndarray
    box: np.ndarray
    score: np.ndarray


def read_annotations(name: str, data_root: str | Path, split: str) -> Annotations:
    """The persons of a dataset's ``train`` or ``val`` split.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If the dataset is unknown, or the file is damaged or of another kind.
    """
    known = dataset(name)
    path = Path(data_root) / known.annotations[split]
    content = _read_json(path)
    try:
        return {"coco": _coco_annotations, "mpii": _mpii_annotations}[known.format](known, path, content)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected the annotations of {known.title}, found something else ({error}); "
            "is it the file of another dataset?"
        ) from error


def read_detections(name: str, data_root: str | Path) -> Detections:
    """The person boxes of the detector that published results use; errors as :func:`read_annotations`."""
    path = Path(data_root) / str(dataset(name).detections)
    entries = _read_json(path)
    if not isinstance(entries, list):
        raise ValueError(f"{path}: expected a list of detections, found {type(entries).__name__}")
    _require_keys(path, "detection", entries, ("image_id", "category_id", "bbox", "score"))
    persons = [entry for entry in entries if entry["category_id"] == _PERSON_CATEGORY]
    return Detections(
        path=path,
        image_id=_column("image_id", persons, np.int64),
        box=_table(path, "detection", "bbox", persons, 4),
        score=_column("score", persons),
    )


def read_head_sizes(name: str, data_root: str | Path, persons: int | None) -> np.ndarray:
    """Head sizes of the validation persons: 0.6 of the head box's diagonal in pixels, ``[persons]``.

    Without ``persons``, of as many as the file has.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If the file is damaged, or has another number of persons.
    """
    from scipy.io import loadmat

    known = dataset(name)
    path = Path(data_root) / str(known.headboxes)
    _require_file(path)
    try:
        boxes = loadmat(path, variable_names=["headboxes_src"]).get("headboxes_src")
    # scipy raises many unrelated types for damaged files.
    except Exception as error:
        raise ValueError(f"{path}: expected a MATLAB file, found {error}; {_GET_AGAIN}") from error
    if persons is None and boxes is not None:
        persons = boxes.shape[-1]
    if boxes is None or boxes.shape != (2, 2, persons):
        found = "no such variable" if boxes is None else f"shape {boxes.shape}"
        raise ValueError(
            f"{path}: headboxes_src: expected shape (2, 2, {persons}), head boxes of the {persons} persons "
            f"of {Path(known.annotations['val']).name}, found {found}; are they of another split?"
        )
    first, second = boxes.astype(np.float64).transpose(2, 0, 1).swapaxes(0, 1)
    return HEAD_SIZE_SHARE * np.linalg.norm(second - first, axis=1)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; check the data root, or make the dataset with `rspose data make`"
        )


def _read_json(path: Path) -> Any:
    _require_file(path)
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:  # also a UnicodeDecodeError
        raise ValueError(f"{path}: expected JSON, found {error}; {_GET_AGAIN}") from error


def _require_keys(path: Path, kind: str, entries: list[dict[str, Any]], keys: tuple[str, ...]) -> None:
    for index, entry in enumerate(entries):
        for key in keys:
            if key not in entry:
                raise ValueError(
                    f"{path}: {kind} {index}: key {key!r} is missing; found {', '.join(sorted(entry))}"
                )


def _column(key: str, entries: list[dict[str, Any]], dtype: Any = np.float64) -> np.ndarray:
    return np.array([entry[key] for entry in entries], dtype=dtype)


def _table(
    path: Path, kind: str, key: str, entries: list[dict[str, Any]], width: int, item: int = 0
) -> np.ndarray:
    """The lists of ``width`` numbers, or of keypoints of ``item`` numbers, under ``key``, float64."""
    what, of_each = ("keypoints", item) if item else ("numbers", 1)
    for index, entry in enumerate(entries):
        if len(entry[key]) != width * of_each:
            raise ValueError(
                f"{path}: {kind} {index}: {key}: expected {width} {what}, found "
                f"{len(entry[key]) / of_each:g}; is it the file of another dataset?"
            )
    table = _column(key, entries)
    return table.reshape(-1, width, item) if item else table.reshape(-1, width)


def _coco_annotations(known: Dataset, path: Path, content: Any) -> Annotations:
    missing = {"images", "annotations", "categories"} - set(content if isinstance(content, dict) else ())
    if missing:
        raise ValueError(
            f"{path}: expected images, annotations and categories as in {known.title}'s own files, "
            f"found no {min(missing)!r}"
        )
    images, persons = content["images"], content["annotations"]
    fields = known.keypoints.fields
    keys = ("id", "image_id", "category_id", "bbox", *fields, "iscrowd")
    _require_keys(path, "image", images, ("id", "file_name", *(("crowdIndex",) if known.crowded else ())))
    _require_keys(path, "annotation", persons, (*keys, "num_keypoints" if known.crowded else "area"))

    box = _table(path, "annotation", "bbox", persons, 4)
    columns = [
        _table(path, "annotation", field, persons, rows.stop - rows.start, 3)
        for field, rows in fields.items()
    ]
    keypoints = np.concatenate(columns, axis=1)
    # Flags of hands in COCO-WholeBody may be fractions.
    flags = np.ceil(keypoints[..., 2]).astype(np.int8)
    crowd = _column("iscrowd", persons, bool)
    if known.crowded:
        area = BOX_SHARE * box[:, 2] * box[:, 3]
        # CrowdPose counts visible keypoints only, and its evaluator goes by that count.
        labels = _column("num_keypoints", persons, np.int64)
    else:
        area, labels = _column("area", persons), (flags > 0).sum(axis=1)
    return Annotations(
        path=path,
        content=content,
        known_images=_column("id", images, np.int64),
        image_names=[image["file_name"] for image in images],
        image_id=_column("image_id", persons, np.int64),
        annotation_id=_column("id", persons, np.int64),
        box=box,
        area=area,
        keypoints=keypoints[..., :2] - known.first_pixel,
        flags=flags,
        ignored=crowd | (labels == 0),
        crowd=crowd,
    )


def _mpii_annotations(known: Dataset, path: Path, content: Any) -> Annotations:
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a list of MPII persons, found {type(content).__name__}")
    _require_keys(path, "person", content, ("image", "center", "scale", "joints", "joints_vis"))
    joints = len(known.keypoints)
    labelled = _table(path, "person", "joints_vis", content, joints) > 0
    flat = [{"joints": [value for joint in person["joints"] for value in joint]} for person in content]
    keypoints = _table(path, "person", "joints", flat, joints, 2)
    center = _table(path, "person", "center", content, 2)
    scale = _column("scale", content)
    # The box is mmpose's (the HRNet authors' before): lowered a little, lest the feet be cut.
    center[:, 1] += np.where(center[:, 0] != -1, 15.0 * scale, 0.0)
    side = MPII_SCALE_PIXELS * scale
    corner = center - known.first_pixel - side[:, None] / 2
    index = np.arange(len(content), dtype=np.int64)
    return Annotations(
        path=path,
        content=content,
        known_images=index,
        image_names=[person["image"] for person in content],
        image_id=index,
        annotation_id=index,
        box=np.concatenate([corner, side[:, None], side[:, None]], axis=1),
        area=BOX_SHARE * side**2,
        keypoints=keypoints - known.first_pixel,
        flags=np.where(labelled, 2, 0).astype(np.int8),
        ignored=labelled.sum(axis=1) == 0,
        crowd=np.zeros(len(content), dtype=bool),
    )
