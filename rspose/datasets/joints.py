"""LSP's joints.mat as the content of a COCO file, with boxes and areas that the authors do not give."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from rspose.datasets.interface import Dataset
from rspose.datasets.pictures import turned_size
from rspose.datasets.validation import GET_AGAIN, LARGEST, PERSON_CATEGORY, Findings, contents, more

BOX_MARGIN = 0.1
"""Of the extent of the labelled joints, added on each side; the box ends with the picture."""
BOX_SHARE = 0.53
"""Of its box that a person fills; the CrowdPose evaluator and mmpose use it where no area is annotated."""
FIRST_EXTENDED_ID = 10_001
"""Image id of the first picture of the extended set; those of the other start at 1."""


def read_joints(
    known: Dataset, root: Path, split: str, least_keypoints: int, findings: Findings
) -> dict[str, Any] | None:
    """The persons of a split as COCO has them, one an image; None where a file is of another form.

    The first half of the main file is for training, with those of the extended one; the second is ``val``.
    Coordinates stay as they are: no source says whether they count pixels from 0 or 1, and the joints at the
    borders of the pictures do not tell.

    Args:
        known: The dataset.
        root: Its folder.
        split: ``train`` or ``val``.
        least_keypoints: Labelled joints of a person that is trained on; pictures of others need not be there.
        findings: Takes what is wrong.

    Raises:
        FileNotFoundError: If a file is not there.
    """
    main = _triples(root / known.annotations[split], (3, len(known.keypoints), None), findings)
    if main is None:
        return None
    half = len(main) // 2
    rows = range(half) if split == "train" else range(half, len(main))
    # Here a flag says that the joint is occluded, yet it is placed.
    flags = np.where(main[..., 2] == 1, 1, 2)
    persons = list(_persons(known.annotations[split], 4, 1, rows, main, flags))
    if split == "train" and known.extension is not None:
        extended = _triples(root / known.extension, (len(known.keypoints), 3, None), findings)
        if extended is None:
            return None
        # And here that it is labelled at all.
        flags = np.where(extended[..., 2] == 1, 2, 0)
        persons += _persons(known.extension, 5, FIRST_EXTENDED_ID, range(len(extended)), extended, flags)
    if split == "train":
        persons = [each for each in persons if each["num_keypoints"] >= max(1, least_keypoints)]
    images = _images(root, persons, findings)
    kept = [each for each in persons if each["id"] in images]
    for person in kept:
        box = _box(person, images[person["id"]])
        person.update(bbox=box, area=BOX_SHARE * box[2] * box[3])
        del person["file_name"]
    category = {"id": PERSON_CATEGORY, "name": "person", "keypoints": list(known.keypoints.names)}
    return {"images": list(images.values()), "annotations": kept, "categories": [category]}


def _triples(path: Path, shape: tuple[int | None, ...], findings: Findings) -> np.ndarray | None:
    """x, y and flag of each joint of each picture, float64 ``[N, K, 3]``."""
    from scipy.io import loadmat  # here, since of the datasets two need it

    stream = BytesIO(contents(path))
    try:
        joints = loadmat(stream, variable_names=["joints"]).get("joints")
    # scipy raises many unrelated types for damaged files.
    except Exception as error:
        findings.problems.append(f"{path}: expected a MATLAB file, found {error}; {GET_AGAIN}")
        return None
    found = getattr(joints, "shape", ())
    if len(found) != 3 or any(size not in (None, of) for size, of in zip(shape, found, strict=True)):
        wanted = ", ".join("N" if size is None else str(size) for size in shape)
        what = "none" if joints is None else f"shape {found}; is it the file of the other set?"
        findings.problems.append(f"{path}: joints: expected shape ({wanted}), found {what}")
        return None
    if joints.dtype.kind not in "iuf":
        findings.problems.append(f"{path}: joints: expected real numbers, found an array of {joints.dtype}")
        return None
    triples = joints.astype(np.float64).transpose((2, 1, 0) if shape[0] == 3 else (2, 0, 1))
    wrong = ~(np.abs(triples) <= LARGEST).all(axis=2) | ~np.isin(triples[..., 2], (0, 1))
    at = np.argwhere(wrong)
    if len(at):
        picture, joint = at[0].tolist()
        findings.problems.append(
            f"{path}: picture {picture + 1}, joint {joint + 1}: expected x, y and a flag of 0 or 1, found "
            f"{triples[picture, joint].tolist()}{more(len(at) - 1)}"
        )
        return None
    fractions = (np.abs(triples[..., :2]) <= 1).all(axis=(1, 2)) & triples[..., :2].any(axis=(1, 2))
    at = np.argwhere(fractions)
    if len(at):
        findings.problems.append(
            f"{path}: picture {at[0, 0] + 1}: expected pixels, found numbers from 0 to 1{more(len(at) - 1)}"
        )
    return triples


def _persons(
    file: str, digits: int, first_id: int, rows: range, triples: np.ndarray, flags: np.ndarray
) -> Iterator[dict[str, Any]]:
    folder = Path(file).parent / "images"
    for row in rows:
        labelled = flags[row] > 0
        keypoints = np.column_stack([triples[row, :, :2], flags[row]])
        keypoints[~labelled] = 0
        yield {
            "id": first_id + row,
            "image_id": first_id + row,
            "category_id": PERSON_CATEGORY,
            "iscrowd": 0,
            "num_keypoints": int(labelled.sum()),
            "keypoints": keypoints.reshape(-1).tolist(),
            "file_name": f"{folder}/im{row + 1:0{digits}d}.jpg",
        }


def _images(root: Path, persons: list[dict[str, Any]], findings: Findings) -> dict[int, dict[str, Any]]:
    """The pictures of the persons by id; those that are not there are one problem."""
    images, missing = {}, []
    for person in persons:
        size = turned_size(root / person["file_name"])
        if isinstance(size, tuple):
            about = {"file_name": person["file_name"], "width": size[0], "height": size[1]}
            images[person["id"]] = {"id": person["id"], **about}
        else:
            missing.append(f"{root / person['file_name']}: expected a picture, found {size or 'no file'}")
    if missing:
        findings.problems.append(f"{missing[0]}{more(len(missing) - 1)}")
    return images


def _box(person: dict[str, Any], image: dict[str, Any]) -> list[float]:
    """x, y, width and height around the labelled joints, with a margin, inside the picture."""
    x, y, flag = np.array(person["keypoints"]).reshape(-1, 3).T
    places = np.column_stack([x, y])[flag > 0]
    low, high = places.min(axis=0), places.max(axis=0)
    margin = BOX_MARGIN * (high - low)
    low, high = np.clip([low - margin, high + margin], 0, [image["width"], image["height"]])
    return [*low.tolist(), *(high - low).tolist()]
