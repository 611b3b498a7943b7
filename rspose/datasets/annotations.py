"""Annotations, detections and head boxes, read from files as the datasets' authors publish them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from rspose.datasets.interface import Dataset
from rspose.datasets.joints import BOX_SHARE, read_joints
from rspose.datasets.registry import dataset
from rspose.datasets.validation import (
    GET_AGAIN,
    PERSON_CATEGORY,
    Findings,
    check_boxes,
    check_categories,
    check_keypoints,
    contents,
    read,
    repeated,
)


@dataclass(eq=False)
class Annotations:
    """The N annotated persons of one split, K keypoints each; the first pixel's centre is at 0, 0.

    The area is the square of the scale in OKS: the annotated one; CrowdPose: 0.53 of the box, as in its
    evaluator; LSP: 0.53 of the derived box; MPII, which defines no OKS: 0.53 of the squared height of the
    person (200 x scale), as mmpose's MPII dataset gives it to the losses.
    """

    path: Path
    content: Any  # the fields of the file's JSON that are used, for evaluators that want a COCO file
    known_images: np.ndarray  # ids of all images of the split, also of those without persons, int64
    image_names: list[str]  # file name of each of them; MPII: of each person's image
    image_sizes: (
        np.ndarray
    )  # width and height of each of them in pixels, as annotated, [images, 2]; MPII: NaN
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

    def take(self, rows: np.ndarray) -> "Annotations":
        """Some of the persons, in all images of the split."""
        of_persons = ("image_id", "annotation_id", "box", "area", "keypoints", "flags", "ignored", "crowd")
        return replace(self, **{name: getattr(self, name)[rows] for name in of_persons})

    def rows_of(self, annotation_id: np.ndarray, source: str) -> np.ndarray:
        """Row of each annotation id of a file ``source``, int64, shape as given; ValueError for others."""
        rows = rows_in(self.annotation_id, annotation_id)
        if (rows < 0).any():
            raise ValueError(
                f"{source}: annotation_id {annotation_id[rows < 0][0]} is not in {self.path}; "
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


def read_annotations(
    name: str, data_root: str | Path, split: str, least_keypoints: int | None = None
) -> Annotations:
    """The persons of a dataset's ``train`` or ``val`` split.

    Args:
        name: Name of the dataset.
        data_root: Its folder.
        split: ``train`` or ``val``.
        least_keypoints: Of LSP, how many labelled joints a person has to have who is trained on; all if None.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If the dataset is unknown, or :func:`inspect_annotations` finds a problem.
    """
    annotations, findings = inspect_annotations(dataset(name), data_root, split, least_keypoints)
    findings.raise_first()
    assert annotations is not None
    return annotations


def inspect_annotations(
    known: Dataset, data_root: str | Path, split: str, least_keypoints: int | None = None
) -> tuple[Annotations | None, Findings]:
    """The persons of a split, None if their form is wrong, and all that is wrong with the file.

    Raises:
        FileNotFoundError: If the file is not there.
    """
    path = Path(data_root) / known.annotations[split]
    findings = Findings(path)
    if known.format == "joints":
        least = known.least_keypoints if least_keypoints is None else least_keypoints
        content = read_joints(known, Path(data_root), split, least, findings)
    else:
        content = read(path, known.format, known, findings)
    if content is None:
        return None, findings
    convert = _mpii_annotations if known.format == "mpii" else _coco_annotations
    return convert(known, path, content, findings), findings


def read_detections(name: str, data_root: str | Path) -> Detections:
    """The person boxes of the detector that published results use; errors as :func:`read_annotations`."""
    detections, findings = inspect_detections(dataset(name), data_root)
    findings.raise_first()
    assert detections is not None
    return detections


def inspect_detections(
    known: Dataset, data_root: str | Path, annotations: Annotations | None = None
) -> tuple[Detections | None, Findings]:
    """The detections, None if their form is wrong, and all that is wrong with them and the annotations."""
    path = Path(data_root) / str(known.detections)
    findings = Findings(path)
    entries = read(path, "detections", known, findings)
    if entries is None:
        return None, findings
    index = [at for at, entry in enumerate(entries) if entry["category_id"] == PERSON_CATEGORY]
    persons = [entries[at] for at in index]
    if not persons:
        others = f"{len(entries):,} of other categories" if entries else "none at all"
        findings.problems.append(
            f"{path}: expected detections of category {PERSON_CATEGORY}, the person, found {others}"
        )
    found = Detections(
        path=path,
        image_id=_column("image_id", persons, np.int64),
        box=_column("bbox", persons).reshape(-1, 4),
        score=_column("score", persons),
    )

    def entry(at: int) -> str:
        return f"{path}: detection {index[at]} (image_id {found.image_id[at]})"

    if annotations is None:
        size = np.full((len(persons), 2), np.nan)
    else:
        at = rows_in(annotations.known_images, found.image_id)
        unlisted = at < 0
        findings.refuse(
            unlisted,
            entry,
            lambda at: (
                f"image_id {found.image_id[at]} is not in {annotations.path}; "
                "are they of another split, another dataset, or another version of it?"
            ),
        )
        size = np.where(unlisted[:, None], np.nan, annotations.image_sizes[at])
        _note_images_without_detections(findings, annotations, found)
    check_boxes(findings, found.box, size, entry)
    return found, findings


def _note_images_without_detections(
    findings: Findings, annotations: Annotations, detections: Detections
) -> None:
    with_persons = np.unique(annotations.image_id[~annotations.ignored])
    missing = with_persons[~np.isin(with_persons, detections.image_id)]
    if len(missing):
        line = (
            f"{findings.path}: {len(missing):,} of {len(with_persons):,} images with persons have no "
            f"detection, image_id {missing[0]} for instance"
        )
        # A detector with a low threshold finds something in nearly every image.
        if len(missing) > max(1, 0.2 * len(with_persons)):
            findings.problems.append(f"{line}; is the file complete?")
        else:
            findings.notes.append(line)


def read_head_sizes(name: str, data_root: str | Path, persons: int | None) -> np.ndarray:
    """Head sizes of the validation persons: 0.6 of the head box's diagonal in pixels, ``[persons]``.

    ``persons`` is None for as many as the file has; errors as :func:`read_annotations`.
    """
    from scipy.io import loadmat

    known = dataset(name)
    path = Path(data_root) / str(known.headboxes)
    stream = BytesIO(contents(path))
    try:
        boxes = loadmat(stream).get("headboxes_src")  # all of it, since it may be cut off behind that
    # scipy raises many unrelated types for damaged files.
    except Exception as error:
        raise ValueError(f"{path}: expected a MATLAB file, found {error}; {GET_AGAIN}") from error
    if persons is None and boxes is not None:
        persons = boxes.shape[-1]
    if boxes is None or boxes.shape != (2, 2, persons):
        found = "no such variable" if boxes is None else f"shape {boxes.shape}"
        raise ValueError(
            f"{path}: headboxes_src: expected shape (2, 2, {persons}), head boxes of the {persons} persons "
            f"of {Path(known.annotations['val']).name}, found {found}; are they of another split?"
        )
    first, second = boxes.astype(np.float64).transpose(2, 0, 1).swapaxes(0, 1)
    sizes = 0.6 * np.linalg.norm(second - first, axis=1)
    findings = Findings(path)
    findings.refuse(
        ~(np.isfinite(sizes) & (sizes > 0)),
        lambda at: f"{path}: person {at}",
        lambda at: f"headboxes_src: expected two corners of a head box, found {first[at]} and {second[at]}",
    )
    findings.raise_first()
    return sizes


def _column(key: str, entries: list[dict[str, Any]], dtype: Any = np.float64) -> np.ndarray:
    return np.array([entry[key] for entry in entries], dtype=dtype)


def rows_in(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Index of each value in ``known``, shape as ``values``; -1 where it is not there."""
    if not len(known):
        return np.full(values.shape, -1)
    order = np.argsort(known, kind="stable")
    rows = order[np.minimum(np.searchsorted(known, values, sorter=order), len(known) - 1)]
    return np.where(known[rows] == values, rows, -1)


def _coco_annotations(known: Dataset, path: Path, content: Any, findings: Findings) -> Annotations:
    images, persons = content["images"], content["annotations"]
    check_categories(findings, known, content["categories"])
    keypoints = np.concatenate(
        [
            _column(name, persons).reshape(len(persons), rows.stop - rows.start, 3)
            for name, rows in known.keypoints.fields.items()
        ],
        axis=1,
    )
    # Flags of hands in COCO-WholeBody may be fractions.
    flags = np.ceil(keypoints[..., 2]).astype(np.int8)
    crowd = _column("iscrowd", persons, bool)
    count = _column("num_keypoints", persons, np.int64)
    box = _column("bbox", persons).reshape(-1, 4)
    annotations = Annotations(
        path=path,
        content=content,
        known_images=_column("id", images, np.int64),
        image_names=[image["file_name"] for image in images],
        image_sizes=np.array([(image["width"], image["height"]) for image in images], float).reshape(-1, 2),
        image_id=_column("image_id", persons, np.int64),
        annotation_id=_column("id", persons, np.int64),
        box=box,
        area=BOX_SHARE * box[:, 2] * box[:, 3] if known.crowded else _column("area", persons),
        keypoints=keypoints[..., :2] - known.first_pixel,
        flags=flags,
        # The evaluators go by the count of the file; CrowdPose's leaves out head and neck.
        ignored=crowd | ((count if known.crowded else (flags > 0).sum(axis=1)) == 0),
        crowd=crowd,
    )

    def image(at: int) -> str:
        return f"{path}: image {at}"

    def person(at: int) -> str:
        if known.format == "joints":  # one person a picture, and its joints above its folder
            name = annotations.image_names[at]
            return f"{path.parents[1] / Path(name).parents[1] / path.name}: {name}"
        return f"{path}: annotation {at} (id {annotations.annotation_id[at]})"

    findings.refuse(
        repeated(annotations.known_images),
        image,
        lambda at: f"id {annotations.known_images[at]} stands there twice; an image's id has to be its own",
    )
    findings.refuse(
        repeated(annotations.annotation_id),
        person,
        lambda at: "its id stands there twice; an annotation's id has to be its own, also among all images",
    )
    listed = rows_in(annotations.known_images, annotations.image_id)
    findings.refuse(
        listed < 0,
        person,
        lambda at: f"image_id: expected the id of one of the images, found {annotations.image_id[at]}",
    )
    categories = _column("category_id", persons, np.int64)
    findings.refuse(
        categories != PERSON_CATEGORY,
        person,
        lambda at: f"category_id: expected {PERSON_CATEGORY}, the person, found {categories[at]}",
    )
    for name, rows in known.keypoints.fields.items():
        of_field = keypoints[:, rows, 2]
        findings.refuse(
            (of_field < 0) | (of_field > 2),
            person,
            _flags_found(name, of_field),
        )
    labelled = annotations.labelled
    findings.refuse(
        (annotations.area < 0) | (annotations.area == 0) & (box[:, 2:] > 0).all(axis=1),
        person,
        lambda at: f"area: expected a number above 0, found {annotations.area[at]:g}",
    )
    _check_counts(findings, known, count, labelled, person)
    size = np.where(listed[:, None] < 0, np.nan, annotations.image_sizes[listed])
    check_boxes(findings, box, size, person)
    check_keypoints(findings, annotations.keypoints, labelled, box, size, person)
    return annotations


def _flags_found(field: str, flags: np.ndarray) -> Callable[[int], str]:
    return lambda at: f"{field}: expected flags from 0 to 2, found {flags[at].min():g} to {flags[at].max():g}"


def _check_counts(
    findings: Findings, known: Dataset, count: np.ndarray, labelled: np.ndarray, person: Callable[[int], str]
) -> None:
    of_body = labelled[:, : known.keypoints.body].sum(axis=1)
    # CrowdPose's counts leave out head and neck, the last two: only that there is none has to be true.
    least = np.minimum(labelled[:, :-2].sum(axis=1), 1) if known.crowded else of_body
    findings.refuse(
        (count > of_body) | (count < least),
        person,
        lambda at: f"num_keypoints: expected {of_body[at]}, as many as are labelled, found {count[at]}",
    )


def _mpii_annotations(known: Dataset, path: Path, content: Any, findings: Findings) -> Annotations:
    labelled = _column("joints_vis", content).reshape(-1, len(known.keypoints)) > 0
    keypoints = _column("joints", content).reshape(-1, len(known.keypoints), 2)
    center = _column("center", content).reshape(-1, 2)
    scale = _column("scale", content)
    # The box is mmpose's (the HRNet authors' before): lowered a little, lest the feet be cut.
    center[:, 1] += np.where(center[:, 0] != -1, 15.0 * scale, 0.0)
    side = 200.0 * scale  # the person's height in pixels
    corner = center - known.first_pixel - side[:, None] / 2
    index = np.arange(len(content), dtype=np.int64)
    unknown = np.full((len(content), 2), np.nan)
    annotations = Annotations(
        path=path,
        content=content,
        known_images=index,
        image_names=[person["image"] for person in content],
        image_sizes=unknown,
        image_id=index,
        annotation_id=index,
        box=np.concatenate([corner, side[:, None], side[:, None]], axis=1),
        area=BOX_SHARE * side**2,
        keypoints=keypoints - known.first_pixel,
        flags=np.where(labelled, 2, 0).astype(np.int8),
        ignored=labelled.sum(axis=1) == 0,
        crowd=np.zeros(len(content), dtype=bool),
    )

    def person(at: int) -> str:
        return f"{path}: person {at}"

    findings.refuse(
        np.array([not name.partition(".")[0].isdecimal() for name in annotations.image_names]),
        person,
        lambda at: (
            f"image: expected a file name that is a number, as {known.title}'s are, "
            f"found {annotations.image_names[at]!r}"
        ),
    )
    check_keypoints(findings, annotations.keypoints, labelled, annotations.box, unknown, person)
    return annotations
