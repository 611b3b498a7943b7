"""Draws a dataset's images with their annotations on one sheet: the quickest check of what the data are."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from rspose.datasets import KeypointSet, dataset
from rspose.datasets.annotations import Annotations, read_annotations, read_detections

_TILE_HEIGHT, _CAPTION_HEIGHT, _GAP = 300, 22, 4
_LEFT, _RIGHT, _MIDDLE = (60, 170, 60), (40, 110, 250), (220, 190, 60)
_VISIBLE, _HIDDEN = (60, 235, 60), (40, 40, 235)
_BOX, _DETECTION = (255, 255, 255), (0, 220, 255)
_LEAST_SCORE = 0.05  # of a detection that is drawn


def contact_sheet(root: Path, name: str, split: str, count: int, out: Path) -> None:
    """Write a PNG with the first ``count`` images of a dataset, real or generated, and their annotations.

    Limbs are green on the person's left, orange on the right, blue in the middle. Keypoints are green where
    visible, red where hidden. Boxes of annotations are solid white, those of detections (val split) dashed
    yellow with their score.

    Raises:
        ValueError: The dataset or split is unknown.
        FileNotFoundError: A file of the dataset is missing; the message says which.
    """
    known = dataset(name)
    if split not in known.annotations:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(known.annotations)}")
    people = read_annotations(name, root, split)
    detections = read_detections(name, root) if split == "val" and known.detections is not None else None
    captions = {}
    if known.crowded:
        captions = {
            each["file_name"]: f"  crowdIndex {each['crowdIndex']:.2f}" for each in people.content["images"]
        }
    images: dict[str, list[int]] = {}
    for image_name, image_id in zip(people.image_names, people.known_images.tolist(), strict=True):
        images.setdefault(image_name, []).append(image_id)
    tiles = []
    for image_name, ids in list(images.items())[:count]:
        path = root / known.images[split] / image_name
        image = cv2.imread(str(path))
        if image is None:
            raise FileNotFoundError(
                f"{path}: expected an image of the {split} split, found none that can be read"
            )
        zoom = _TILE_HEIGHT / image.shape[0]
        size = (round(image.shape[1] * zoom), _TILE_HEIGHT)
        tile = cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
        if detections is not None:
            drawn = np.isin(detections.image_id, ids) & (detections.score >= _LEAST_SCORE)
            for box, score in zip(detections.box[drawn], detections.score[drawn], strict=True):
                _dashed_box(tile, zoom * box, f"{score:.2f}")
        for row in np.flatnonzero(np.isin(people.image_id, ids)).tolist():
            _draw_person(tile, zoom, people, row, known.keypoints)
        caption = np.full((_CAPTION_HEIGHT, tile.shape[1], 3), 30, np.uint8)
        _write(caption, image_name + captions.get(image_name, ""), (6, 15), 0.42, (235, 235, 235))
        tiles.append(np.vstack([tile, caption]))
    out.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".png", _grid(tiles))
    out.write_bytes(encoded.tobytes())


def _draw_person(
    tile: np.ndarray, zoom: float, people: Annotations, row: int, keypoints: KeypointSet
) -> None:
    x, y, width, height = (zoom * people.box[row]).tolist()
    cv2.rectangle(tile, (round(x), round(y)), (round(x + width), round(y + height)), _BOX, 1, cv2.LINE_AA)
    # The centre of a pixel has integer coordinates, before and after the zoom.
    points = np.rint(zoom * (people.keypoints[row] + 0.5) - 0.5).astype(int).tolist()
    flags = people.flags[row].tolist()
    for first, second in keypoints.skeleton:
        if flags[first] and flags[second]:
            thickness = 2 if max(first, second) < keypoints.body else 1
            sides = {keypoints.names[end].split("_")[0] for end in (first, second)}
            colour = _LEFT if sides == {"left"} else _RIGHT if sides == {"right"} else _MIDDLE
            cv2.line(tile, points[first], points[second], colour, thickness, cv2.LINE_AA)
    for index, (point, flag) in enumerate(zip(points, flags, strict=True)):
        if flag and index < keypoints.body:
            cv2.circle(tile, point, 4, (0, 0, 0), -1, cv2.LINE_AA)
        if flag:
            radius = 3 if index < keypoints.body else 1
            cv2.circle(tile, point, radius, _VISIBLE if flag == 2 else _HIDDEN, -1, cv2.LINE_AA)


def _dashed_box(tile: np.ndarray, box: np.ndarray, label: str) -> None:
    x, y, width, height = box.tolist()
    corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)])
    for start, end in pairwise(corners):
        count = max(1, int(np.linalg.norm(end - start) / 9))
        for dash in range(count):
            first, second = (start + (end - start) * (dash + part) / count for part in (0.0, 0.5))
            ends = np.rint([first, second]).astype(int).tolist()
            cv2.line(tile, *ends, _DETECTION, 1)
    _write(tile, label, (round(x) + 2, round(max(y, 0)) + 10), 0.35, _DETECTION)


def _write(
    image: np.ndarray, text: str, place: tuple[int, int], size: float, colour: tuple[int, ...]
) -> None:
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def _grid(tiles: list[np.ndarray]) -> np.ndarray:
    """Tiles side by side, as nearly square as they come, in rows of equal height."""
    columns = max(1, round(np.sqrt(len(tiles) * 0.8)))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    lines = [np.hstack([_padded(tile, tile.shape[1] + _GAP) for tile in row]) for row in rows]
    width = max(line.shape[1] for line in lines)
    return np.vstack([_padded(line, width) for line in lines])


def _padded(image: np.ndarray, width: int) -> np.ndarray:
    room = ((0, _TILE_HEIGHT + _CAPTION_HEIGHT + _GAP - image.shape[0]), (0, width - image.shape[1]), (0, 0))
    return np.pad(image, room, constant_values=30)
