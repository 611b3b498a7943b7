"""Draws a dataset's images with their annotations on one sheet: the quickest check of what the data are."""

import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rspose.datasets.keypoints import BODY_KEYPOINTS, WHOLEBODY_FIELDS, keypoint_set
from rspose.datasets.layout import dataset_layout

_TILE_HEIGHT = 300
_CAPTION_HEIGHT = 22
_GAP = 4
_LEFT, _RIGHT, _MIDDLE = (60, 170, 60), (40, 110, 250), (220, 190, 60)
_VISIBLE, _HIDDEN = (60, 235, 60), (40, 40, 235)
_BOX, _DETECTION = (255, 255, 255), (0, 220, 255)
_BEST_DETECTION_SCORE_DRAWN = 0.05


def contact_sheet(root: Path, dataset: str, split: str, count: int, out: Path) -> None:
    """Write a PNG with the first ``count`` images of a dataset, real or generated, and their annotations.

    Limbs are green on the person's left, orange on the right, blue in the middle. Keypoints are green where
    visible, red where hidden. Boxes of annotations are solid white, those of detections (val split) dashed
    yellow with their score.

    Args:
        root: Root of the dataset.
        dataset: ``"coco"``, ``"crowdpose"``, ``"mpii"`` or ``"wholebody"``.
        split: ``"train"`` or ``"val"``.
        count: How many images.
        out: The PNG to write.

    Raises:
        ValueError: If the dataset or split is unknown, or ``count`` is not positive.
        FileNotFoundError: If a file of the dataset is missing; the message says which.
    """
    layout = dataset_layout(dataset)
    if split not in layout.annotations:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(layout.annotations)}")
    if count < 1:
        raise ValueError(f"count: expected 1 or more images, found {count}")
    root = Path(root)
    content = _read_json(root / layout.annotations[split])
    people: dict[str, list[_Marks]] = defaultdict(list)
    captions: dict[str, str] = {}
    if dataset == "mpii":
        for record in content:
            people[record["image"]].append(_mpii_marks(record))
            captions[record["image"]] = record["image"]
    else:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        for image in content["images"]:
            crowding = f"  crowdIndex {image['crowdIndex']:.2f}" if "crowdIndex" in image else ""
            captions[image["file_name"]] = image["file_name"] + crowding
        for annotation in content["annotations"]:
            people[names[annotation["image_id"]]].append(_coco_marks(annotation, dataset))
    detections: dict[str, list[dict[str, Any]]] = defaultdict(list)
    if split == "val" and layout.detections is not None:
        for detection in _read_json(root / layout.detections):
            detections[names[detection["image_id"]]].append(detection)

    tiles = []
    for name in list(captions)[:count]:
        path = root / layout.images[split] / name
        image = cv2.imread(str(path))
        if image is None:
            raise FileNotFoundError(
                f"{path}: expected an image of the {split} split, found none that can be read"
            )
        tiles.append(_tile(image, people[name], detections[name], dataset, captions[name]))
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".png", _grid(tiles))
    out.write_bytes(encoded.tobytes())


@dataclass(frozen=True)
class _Marks:
    """What is drawn of one person: keypoints ``[K, 2]`` in 0-based pixels, flags ``[K]``, box x, y, w, h."""

    keypoints: np.ndarray
    visibility: np.ndarray
    box: np.ndarray


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file of the dataset there, found none")
    return json.loads(path.read_text())


def _coco_marks(annotation: dict[str, Any], dataset: str) -> _Marks:
    fields = WHOLEBODY_FIELDS if dataset == "wholebody" else ("keypoints",)
    values = [value for field in fields for value in annotation[field]]
    triples = np.array(values, dtype=np.float64).reshape(-1, 3)
    # Flags of hands in COCO-WholeBody may be fractions.
    return _Marks(triples[:, :2], np.ceil(triples[:, 2]).astype(int), np.array(annotation["bbox"]))


def _mpii_marks(record: dict[str, Any]) -> _Marks:
    # 1-based pixels, and joints_vis says annotated, not visible.
    side = 200 * record["scale"]
    centre = np.array(record["center"]) - 1 + np.array((0, 15 * record["scale"]))
    joints = np.array(record["joints"]) - 1
    return _Marks(joints, 2 * np.array(record["joints_vis"]), np.array([*(centre - side / 2), side, side]))


def _tile(
    image: np.ndarray, people: list[_Marks], detections: list[dict[str, Any]], dataset: str, caption: str
) -> np.ndarray:
    zoom = _TILE_HEIGHT / image.shape[0]
    width = round(image.shape[1] * zoom)
    interpolation = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    tile = cv2.resize(image, (width, _TILE_HEIGHT), interpolation=interpolation)
    for detection in detections:
        if detection["score"] >= _BEST_DETECTION_SCORE_DRAWN:
            _dashed_box(tile, zoom * np.array(detection["bbox"]), f"{detection['score']:.2f}")
    keypoints = keypoint_set(dataset)
    for person in people:
        x, y, box_width, box_height = (zoom * person.box).tolist()
        cv2.rectangle(
            tile, (round(x), round(y)), (round(x + box_width), round(y + box_height)), _BOX, 1, cv2.LINE_AA
        )
        # The centre of a pixel has integer coordinates, before and after the zoom.
        points = np.rint(zoom * (person.keypoints + 0.5) - 0.5).astype(int).tolist()
        for first, second in keypoints.skeleton:
            if person.visibility[first] and person.visibility[second]:
                thickness = 2 if max(first, second) < BODY_KEYPOINTS else 1
                sides = {keypoints.names[end].split("_")[0] for end in (first, second)}
                colour = _LEFT if sides == {"left"} else _RIGHT if sides == {"right"} else _MIDDLE
                cv2.line(tile, points[first], points[second], colour, thickness, cv2.LINE_AA)
        for index, (point, flag) in enumerate(zip(points, person.visibility, strict=True)):
            if flag and index >= BODY_KEYPOINTS:
                cv2.circle(tile, point, 1, _VISIBLE if flag == 2 else _HIDDEN, -1, cv2.LINE_AA)
            elif flag:
                cv2.circle(tile, point, 4, (0, 0, 0), -1, cv2.LINE_AA)
                cv2.circle(tile, point, 3, _VISIBLE if flag == 2 else _HIDDEN, -1, cv2.LINE_AA)
    strip = np.full((_CAPTION_HEIGHT, width, 3), 30, np.uint8)
    cv2.putText(strip, caption, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([tile, strip])


def _dashed_box(tile: np.ndarray, box: np.ndarray, label: str) -> None:
    x, y, width, height = box.tolist()
    corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)])
    for start, end in pairwise(corners):
        dashes = max(1, int(np.linalg.norm(end - start) / 9))
        for dash in range(dashes):
            first, second = (start + (end - start) * (dash + part) / dashes for part in (0.0, 0.5))
            cv2.line(
                tile, np.rint(first).astype(int).tolist(), np.rint(second).astype(int).tolist(), _DETECTION, 1
            )
    place = (round(x) + 2, round(max(y, 0)) + 10)
    cv2.putText(tile, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.35, _DETECTION, 1, cv2.LINE_AA)


def _grid(tiles: list[np.ndarray]) -> np.ndarray:
    """Tiles side by side, as nearly square as they come, in rows of equal height."""
    columns = max(1, round(np.sqrt(len(tiles) * 0.8)))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    height = _TILE_HEIGHT + _CAPTION_HEIGHT + _GAP
    width = max(sum(tile.shape[1] + _GAP for tile in row) for row in rows)
    sheet = np.full((height * len(rows), width, 3), 30, np.uint8)
    for number, row in enumerate(rows):
        left = 0
        for tile in row:
            sheet[number * height : number * height + tile.shape[0], left : left + tile.shape[1]] = tile
            left += tile.shape[1] + _GAP
    return sheet
