"""Annotations, detections and head boxes, read from files as the datasets' authors publish them."""

import json
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from rspose.datasets.interface import Dataset
from rspose.datasets.registry import dataset

_BOX_SHARE = 0.53
"""Of its box that a person fills; the CrowdPose evaluator and mmpose use it where no area is annotated."""
_PERSON_CATEGORY = 1
_GET_AGAIN = "is the download complete? make or download the dataset again"


@dataclass(eq=False)
class Annotations:
    """The N annotated persons of one split, K keypoints each; the first pixel's centre is at 0, 0.

    The area is the square of the scale in OKS: the annotated one; CrowdPose: 0.53 of the box, as in its
    evaluator; MPII, which defines no OKS: 0.53 of the squared height of the person (200 x scale), as mmpose's
    MPII dataset gives it to the losses.
    """

    path: Path
    content: Any  # the file's JSON, for evaluators that want it whole
    known_images: np.ndarray  # ids of all images of the split, also of those without persons, int64
    image_names: list[str]  # file name of each of them; MPII: of each person's image
    image_id: np.ndarray  # int64 [N]; MPII: the index of the person
    annotation_id: np.ndarray  # int64 [N]; MPII: the index of the person
    box: np.ndarray  # x, y, width, height, float64 [N, 4]
    area: np.ndarray  # float64 [N]
    keypoints: np.ndarray  # x, y, float64 [N, K, 2]; arbitrary where not labelled
    flags: np.ndarray  # 2 visible, 1 hidden, 0 not labelled, int8 [N, K]; MPII does not tell 1 from 2
    ignored: np.ndarray  # bool [N]: finding it counts neither way (a crowd, or without labelled keypoints)
    crowd: np.ndarray  # bool [N]: a group, which any number of predictions may be matched to

    def __len__(self) -> int:
        return len(self.annotation_id)

    @cached_property
    def labelled(self) -> np.ndarray:
        """Which keypoints are labelled, visible or not, bool ``[N, K]``."""
        return self.flags > 0

    def rows_of(self, annotation_id: np.ndarray, source: str) -> np.ndarray:
        """Row of each annotation id of a file ``source``, int64, shape as given; ValueError for others."""
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
    """The N person boxes that a detector found."""

    path: Path
    image_id: np.ndarray  # int64 [N]
    box: np.ndarray  # x, y, width, height in image pixels, float64 [N, 4]
    score: np.ndarray  # float64 [N]


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
    everything = _Entries(path, "detection", entries)
    is_person = np.array([each == _PERSON_CATEGORY for each in everything.values("category_id")], dtype=bool)
    return Detections(
        path,
        everything.column("image_id", np.int64)[is_person],
        everything.table("bbox", 4)[is_person],
        everything.column("score")[is_person],
    )


def read_head_sizes(name: str, data_root: str | Path, persons: int | None) -> np.ndarray:
    """Head sizes of the validation persons: 0.6 of the head box's diagonal in pixels, ``[persons]``.

    ``persons`` is None for as many as the file has; errors as :func:`read_annotations`.
    """
    from scipy.io import loadmat

    known = dataset(name)
    path = Path(data_root) / str(known.headboxes)
    contents = BytesIO(_contents(path))
    try:
        boxes = loadmat(contents, variable_names=["headboxes_src"]).get("headboxes_src")
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
    return 0.6 * np.linalg.norm(second - first, axis=1)


def _contents(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; check the data root, or make the dataset with `rspose data make`"
        )
    return path.read_bytes()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_contents(path))
    except ValueError as error:  # also a UnicodeDecodeError
        raise ValueError(f"{path}: expected JSON, found {error}; {_GET_AGAIN}") from error


@dataclass(frozen=True)
class _Entries:
    """What a file lists, each with the same keys."""

    path: Path
    kind: str
    entries: list[dict[str, Any]]

    def values(self, key: str) -> list[Any]:
        for index, entry in enumerate(self.entries):
            if key not in entry:
                found = ", ".join(sorted(entry))
                raise ValueError(f"{self.path}: {self.kind} {index}: key {key!r} is missing; found {found}")
        return [entry[key] for entry in self.entries]

    def column(self, key: str, dtype: Any = np.float64) -> np.ndarray:
        return np.array(self.values(key), dtype=dtype)

    def table(self, key: str, width: int, item: int = 0) -> np.ndarray:
        """The lists of ``width`` numbers, or of keypoints of ``item`` numbers, under ``key``, float64."""
        what, of_each = ("keypoints", item) if item else ("numbers", 1)
        for index, value in enumerate(self.values(key)):
            if len(value) != width * of_each:
                raise ValueError(
                    f"{self.path}: {self.kind} {index}: {key}: expected {width} {what}, found "
                    f"{len(value) / of_each:g}; is it the file of another dataset?"
                )
        return self.column(key).reshape(-1, width, item) if item else self.column(key).reshape(-1, width)


def _coco_annotations(known: Dataset, path: Path, content: Any) -> Annotations:
    missing = {"images", "annotations", "categories"} - set(content if isinstance(content, dict) else ())
    if missing:
        raise ValueError(
            f"{path}: expected images, annotations and categories as in {known.title}'s own files, "
            f"found no {min(missing)!r}"
        )
    images = _Entries(path, "image", content["images"])
    persons = _Entries(path, "annotation", content["annotations"])
    persons.values("category_id")
    box = persons.table("bbox", 4)
    fields = known.keypoints.fields.items()
    columns = [persons.table(field, rows.stop - rows.start, 3) for field, rows in fields]
    keypoints = np.concatenate(columns, axis=1)
    # Flags of hands in COCO-WholeBody may be fractions.
    flags = np.ceil(keypoints[..., 2]).astype(np.int8)
    crowd = persons.column("iscrowd", bool)
    if known.crowded:
        images.values("crowdIndex")
        area = _BOX_SHARE * box[:, 2] * box[:, 3]
        # CrowdPose counts visible keypoints only, and its evaluator goes by that count.
        labels = persons.column("num_keypoints", np.int64)
    else:
        area, labels = persons.column("area"), (flags > 0).sum(axis=1)
    return Annotations(
        path=path,
        content=content,
        known_images=images.column("id", np.int64),
        image_names=images.values("file_name"),
        image_id=persons.column("image_id", np.int64),
        annotation_id=persons.column("id", np.int64),
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
    persons, joints = _Entries(path, "person", content), len(known.keypoints)
    labelled = persons.table("joints_vis", joints) > 0
    flat = [{"joints": [value for joint in each for value in joint]} for each in persons.values("joints")]
    keypoints = _Entries(path, "person", flat).table("joints", joints, 2)
    center, scale = persons.table("center", 2), persons.column("scale")
    # The box is mmpose's (the HRNet authors' before): lowered a little, lest the feet be cut.
    center[:, 1] += np.where(center[:, 0] != -1, 15.0 * scale, 0.0)
    side = 200.0 * scale  # the person's height in pixels
    corner = center - known.first_pixel - side[:, None] / 2
    index = np.arange(len(content), dtype=np.int64)
    return Annotations(
        path=path,
        content=content,
        known_images=index,
        image_names=persons.values("image"),
        image_id=index,
        annotation_id=index,
        box=np.concatenate([corner, side[:, None], side[:, None]], axis=1),
        area=_BOX_SHARE * side**2,
        keypoints=keypoints - known.first_pixel,
        flags=np.where(labelled, 2, 0).astype(np.int8),
        ignored=labelled.sum(axis=1) == 0,
        crowd=np.zeros(len(content), dtype=bool),
    )
