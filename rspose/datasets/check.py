"""Are a dataset's files there, whole, and of the right dataset and split? For real and generated ones.

:func:`check_dataset` guards every run; :func:`inspect_dataset` also counts, compares checksums with those of
the official release, and opens images.
"""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from rspose.datasets.keypoints import WHOLEBODY_FIELDS, keypoint_set
from rspose.datasets.layout import SPLITS, dataset_layout
from rspose.datasets.manifest import file_digest, read_manifest
from rspose.datasets.releases import RELEASES, SplitCounts

Progress = Callable[[int, int], None]


@dataclass
class Inspection:
    """What was found out about a dataset.

    Attributes:
        problems: What makes it unusable, a line each.
        notes: What one should know, a line each.
        counts: Images and persons of each split that could be read.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, SplitCounts] = field(default_factory=dict)


@dataclass(frozen=True)
class _Content:
    """What an annotation file holds: file names of its images in order, their ids, the number of persons."""

    images: list[str]
    image_ids: set[int]
    persons: int


def check_dataset(root: Path, dataset: str) -> list[str]:
    """What is wrong with the dataset at ``root``, a line each; empty if it can be used.

    Reads every annotation file, and looks whether their images are there, without opening them.

    Raises:
        ValueError: If the dataset is unknown.
    """
    return _inspect_files(Path(root), dataset)[0].problems


def check_dataset_once(root: Path, dataset: str, memory: Path) -> list[str]:
    """As :func:`check_dataset`, but a dataset without problems is not read again until a file of it changes.

    The annotations of COCO-WholeBody have gigabytes, too much to be read at the start of every run.

    Args:
        root: Root of the dataset.
        dataset: Its name.
        memory: File that keeps size and time of what was checked.
    """
    state = _state(Path(root), dataset)
    if memory.is_file() and memory.read_text() == state:
        return []
    problems = check_dataset(root, dataset)
    if not problems:
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(state)
    return problems


def _state(root: Path, dataset: str) -> str:
    """Size and time of change of each file and image folder; None for one that is not there."""
    layout = dataset_layout(dataset)
    state: dict[str, list[int] | None] = {str(root.resolve()): None}
    for name in (*layout.files, *layout.images.values()):
        status = (root / name).stat() if (root / name).exists() else None
        state[name] = None if status is None else [status.st_size, status.st_mtime_ns]
    return json.dumps(state, sort_keys=True)


def inspect_dataset(
    root: Path, dataset: str, open_images: bool = True, progress: Progress | None = None
) -> Inspection:
    """Check a dataset as :func:`check_dataset` does, count it, and compare it with the official release.

    A folder that holds less than the release is no problem: the notes say how much less.

    Args:
        root: Root of the dataset.
        dataset: Its name.
        open_images: Decode every image that is annotated, too.
        progress: Called with the images opened and the images to open.

    Raises:
        ValueError: If the dataset is unknown.
    """
    root = Path(root)
    inspection, contents = _inspect_files(root, dataset)
    inspection.counts = {
        split: SplitCounts(len(content.images), content.persons) for split, content in contents.items()
    }
    if len(contents) == len(SPLITS):
        _compare_with_release(root, dataset, inspection)
    if open_images and contents:
        inspection.problems += _images_that_do_not_open(root, dataset, contents, progress)
    return inspection


def what_to_fetch(root: Path, dataset: str) -> list[str]:
    """The files of the official release and where they go, a line each."""
    return [f"{what} from {source} -> {root / folder}/" for what, source, folder in RELEASES[dataset].fetch]


def _inspect_files(root: Path, dataset: str) -> tuple[Inspection, dict[str, _Content]]:
    layout = dataset_layout(dataset)
    inspection = Inspection()
    contents: dict[str, _Content] = {}
    problems = inspection.problems
    if not root.is_dir():
        problems.append(
            f"{root}: expected the folder of the {dataset} dataset, found nothing; "
            f"set data.{dataset}.root in the config, or put it there"
        )
        return inspection, contents
    for split in SPLITS:
        folder, path = root / layout.images[split], root / layout.annotations[split]
        parsed = _parse(path, dataset, f"{split} annotations", problems)
        content = None if parsed is None else _content(path, parsed, dataset, problems)
        if not folder.is_dir():
            problems.append(f"{folder}: expected the folder of {dataset}'s {split} images, found none")
        if content is None:
            continue
        contents[split] = content
        problems += _other_split(path, dataset, split, content)
        if folder.is_dir():
            problems += _missing_images(folder, split, content)
    if layout.detections is not None:
        path = root / layout.detections
        parsed = _parse(path, dataset, "person detections", problems)
        if parsed is not None:
            problems += _check_detections(path, parsed, contents.get("val"))
    if layout.headboxes is not None:
        persons = contents["val"].persons if "val" in contents else None
        problems += _check_headboxes(root / layout.headboxes, persons)
    return inspection, contents


def _parse(path: Path, dataset: str, what: str, problems: list[str]) -> Any:
    if not path.is_file():
        problems.append(f"{path}: expected {dataset}'s {what}, found no file")
        return None
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:  # also a UnicodeDecodeError
        problems.append(f"{path}: expected JSON, found {error}; is the download complete?")
        return None


def _content(path: Path, parsed: Any, dataset: str, problems: list[str]) -> _Content | None:
    """What an annotation file holds; None, with a problem, if it is not one of the dataset."""
    try:
        if dataset == "mpii":
            names = list(dict.fromkeys(record["image"] for record in parsed))
            content = _Content(names, set(), len(parsed))
        else:
            images = parsed["images"]
            content = _Content(
                [image["file_name"] for image in images],
                {image["id"] for image in images},
                len(parsed["annotations"]),
            )
        wrong = _wrong_keypoint_count(parsed, dataset)
    except (KeyError, IndexError, TypeError):
        expected = "a list of persons" if dataset == "mpii" else "images, annotations and categories"
        problems.append(f"{path}: expected {expected} as in {dataset}'s own files")
        return None
    if wrong is not None:
        problems.append(f"{path}: {wrong}; is it the file of another dataset?")
        return None
    return content


def _wrong_keypoint_count(parsed: Any, dataset: str) -> str | None:
    """Which annotation has another number of keypoints than the dataset; None if all are right."""
    count = len(keypoint_set(dataset))
    if dataset == "mpii":
        lengths: Iterable[tuple[str, float, int]] = (
            (f"person {index}: joints", len(record["joints"]), count) for index, record in enumerate(parsed)
        )
    else:
        rows = WHOLEBODY_FIELDS if dataset == "wholebody" else {"keypoints": slice(0, count)}
        fields = {name: row.stop - row.start for name, row in rows.items()}
        named = len(parsed["categories"][0]["keypoints"])
        if named != fields["keypoints"]:
            return f"categories: expected {fields['keypoints']} names of keypoints, found {named}"
        lengths = (
            (f"annotation {index}: {name}", len(annotation[name]) / 3, expected)
            for index, annotation in enumerate(parsed["annotations"])
            for name, expected in fields.items()
        )
    for where, found, expected in lengths:
        if found != expected:
            return f"{where}: expected {expected} keypoints, found {found:g}"
    return None


def _other_split(path: Path, dataset: str, split: str, content: _Content) -> list[str]:
    """A file as large as the other split of the release is the other split."""
    release = RELEASES[dataset].counts
    for other in SPLITS:
        if other != split and len(content.images) == release[other].images:
            return [
                f"{path}: expected the {split} split ({release[split].images:,} images), found the "
                f"{release[other].images:,} images of the {other} split"
            ]
    return []


def _missing_images(folder: Path, split: str, content: _Content) -> list[str]:
    present = {file.name for file in folder.iterdir()}
    missing = [name for name in content.images if name not in present]
    if not missing:
        return []
    whole = len(missing) == len(content.images)
    hint = "; is the annotation file of another split?" if whole else ""
    return [f"{folder / missing[0]}: expected this {split} image, found none ({len(missing)} missing){hint}"]


def _check_detections(path: Path, parsed: Any, val: _Content | None) -> list[str]:
    if not isinstance(parsed, list):
        return [f"{path}: expected a list of detections, found {type(parsed).__name__}"]
    for index, entry in enumerate(parsed):
        if not isinstance(entry, dict) or not {"image_id", "bbox", "score", "category_id"} <= entry.keys():
            return [f"{path}: detection {index}: expected image_id, category_id, bbox and score"]
        if val is not None and entry["image_id"] not in val.image_ids:
            return [
                f"{path}: detection {index}: image_id {entry['image_id']} is not in the val annotations; "
                "are they of another split or dataset?"
            ]
    return []


def _check_headboxes(path: Path, persons: int | None) -> list[str]:
    if not path.is_file():
        return [f"{path}: expected mpii's head boxes of the val split, found no file"]
    try:
        content = loadmat(path)
    except (MatReadError, ValueError, NotImplementedError) as error:
        return [f"{path}: expected a MATLAB file, found {error}"]
    shape = getattr(content.get("headboxes_src"), "shape", None)
    if shape is None or len(shape) != 3 or shape[:2] != (2, 2):
        return [f"{path}: expected headboxes_src of shape (2, 2, persons), found {shape}"]
    if persons is not None and shape[2] != persons:
        return [
            f"{path}: expected head boxes of the {persons} persons of the val annotations, found {shape[2]}; "
            "are they of another split?"
        ]
    return []


def _compare_with_release(root: Path, dataset: str, inspection: Inspection) -> None:
    if read_manifest(root) is not None:
        inspection.notes.append("a generated dataset, as manifest.json says")
        return
    release = RELEASES[dataset]
    official = True
    for split, found in inspection.counts.items():
        expected = release.counts[split]
        persons = expected.persons if expected.persons is not None else found.persons
        if (found.images, found.persons) == (expected.images, persons):
            continue
        official = False
        more = found.images > expected.images
        inspection.notes.append(
            f"{split}: {'more' if more else 'not all'} of the official release: {found.images:,} images "
            f"(official: {expected.images:,}), {found.persons:,} persons"
            + ("" if expected.persons is None else f" (official: {expected.persons:,})")
        )
    if not official:
        inspection.notes.append(f"numbers on this folder are not comparable with published ones on {dataset}")
        return
    for name, expected_digest in release.sha256.items():
        if (root / name).is_file() and file_digest(root / name) != expected_digest:
            inspection.notes.append(
                f"{root / name}: not byte for byte the official file (SHA-256 {expected_digest[:12]}... "
                "expected); fetch it again, unless you know why"
            )
    unknown = [path for path in dataset_layout(dataset).files if path not in release.sha256]
    if unknown:
        inspection.notes.append(f"no published checksum to compare with: {', '.join(unknown)}")


def _images_that_do_not_open(
    root: Path, dataset: str, contents: dict[str, _Content], progress: Progress | None
) -> list[str]:
    layout = dataset_layout(dataset)
    paths = [
        root / layout.images[split] / name for split, content in contents.items() for name in content.images
    ]
    paths = [path for path in dict.fromkeys(paths) if path.is_file()]
    problems = []
    with ThreadPoolExecutor() as pool:
        for done, (path, opens) in enumerate(zip(paths, pool.map(_opens, paths), strict=True), start=1):
            if not opens:
                problems.append(f"{path}: expected an image, found a file that does not open; fetch it again")
            if progress is not None:
                progress(done, len(paths))
    return problems


_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"


def _opens(path: Path) -> bool:
    """Whether an image can be decoded to its end."""
    data = path.read_bytes()
    # OpenCV fills up a truncated JPEG without a word. A thumbnail has an end too, but stands before the scan.
    if data.startswith(_JPEG_START) and data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN):
        return False
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None if data else False
