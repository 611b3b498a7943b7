"""Are a dataset's files there, and can they be read? The same for real and generated datasets."""

import json
from pathlib import Path
from typing import Any

from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from rspose.data.layout import SPLITS, dataset_layout
from rspose.keypoints import keypoint_set

_IMAGES_LOOKED_FOR = 20


def check_dataset(root: Path, dataset: str) -> list[str]:
    """What is wrong with the dataset at ``root``, a line each; empty if its files exist and parse.

    Looks at every annotation file, and at whether the first images of each split are there.

    Raises:
        ValueError: If the dataset is unknown.
    """
    layout = dataset_layout(dataset)
    root = Path(root)
    if not root.is_dir():
        return [
            f"{root}: expected the folder of the {dataset} dataset, found nothing; "
            f"set data.{dataset}.root in the config, or put it there"
        ]
    problems: list[str] = []
    for split in SPLITS:
        folder = root / layout.images[split]
        content = _parse(root / layout.annotations[split], dataset, f"{split} annotations", problems)
        names = None if content is None else _image_names(content, dataset)
        if content is not None and names is None:
            expected = "a list of persons" if dataset == "mpii" else "images, annotations and categories"
            problems.append(
                f"{root / layout.annotations[split]}: expected {expected} as in {dataset}'s own files"
            )
        if not folder.is_dir():
            problems.append(f"{folder}: expected the folder of {dataset}'s {split} images, found none")
            continue
        missing = [name for name in (names or [])[:_IMAGES_LOOKED_FOR] if not (folder / name).is_file()]
        if missing:
            problems.append(
                f"{folder / missing[0]}: expected this {split} image, found none ({len(missing)} missing)"
            )
    if layout.detections is not None:
        content = _parse(root / layout.detections, dataset, "person detections", problems)
        if content is not None and not isinstance(content, list):
            problems.append(
                f"{root / layout.detections}: expected a list of detections, found {type(content).__name__}"
            )
    if layout.headboxes is not None:
        problems += _check_headboxes(root / layout.headboxes)
    return problems


def _parse(path: Path, dataset: str, what: str, problems: list[str]) -> Any:
    if not path.is_file():
        problems.append(f"{path}: expected {dataset}'s {what}, found no file")
        return None
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{path}: expected JSON, found {error}; is the download complete?")
        return None


def _image_names(content: Any, dataset: str) -> list[str] | None:
    """File names of the images, in order; None if the content is not that of the dataset's files."""
    keypoint_count = len(keypoint_set(dataset))
    try:
        if dataset == "mpii":
            if any(len(record["joints"]) != keypoint_count for record in content):
                return None
            return list(dict.fromkeys(record["image"] for record in content))
        if len(content["categories"][0]["keypoints"]) != keypoint_count or "annotations" not in content:
            return None
        return [image["file_name"] for image in content["images"]]
    except (KeyError, IndexError, TypeError):
        return None


def _check_headboxes(path: Path) -> list[str]:
    if not path.is_file():
        return [f"{path}: expected mpii's head boxes of the val split, found no file"]
    try:
        content = loadmat(path)
    except (MatReadError, ValueError, NotImplementedError) as error:
        return [f"{path}: expected a MATLAB file, found {error}"]
    shape = getattr(content.get("headboxes_src"), "shape", None)
    if shape is None or len(shape) != 3 or shape[:2] != (2, 2):
        return [f"{path}: expected headboxes_src of shape (2, 2, persons), found {shape}"]
    return []
