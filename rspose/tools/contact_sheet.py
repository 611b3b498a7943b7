"""Draws a dataset's images with their annotations on one sheet: the quickest check of what the data are."""

import math
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from rspose.datasets import KeypointSet, dataset
from rspose.datasets.annotations import Annotations, read_annotations, read_detections

_LIMBS: dict[tuple[str, ...], str] = {("left",): "#3CAA3C", ("right",): "#FA6E28"}
_MIDDLE, _VISIBLE, _HIDDEN = "#3CBEDC", "#3CEB3C", "#EB2828"
_BOX, _DETECTION = "#FFFFFF", "#FFDC00"
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
    crowding = {}
    if known.crowded:
        crowding = {each["file_name"]: each["crowdIndex"] for each in people.content["images"]}
    ids: dict[str, list[int]] = {}
    for image_name, image_id in zip(people.image_names, people.known_images.tolist(), strict=True):
        ids.setdefault(image_name, []).append(image_id)
    shown = list(ids)[:count]
    columns = max(1, round(math.sqrt(0.8 * len(shown))))
    rows = math.ceil(len(shown) / columns)
    figure = Figure((4.1 * columns, 3.3 * rows + 0.4), layout="constrained", facecolor="#1E1E1E")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image_name in zip(grid.flat, shown, strict=False):
        path = root / known.images[split] / image_name
        image = cv2.imread(str(path))
        if image is None:
            raise FileNotFoundError(
                f"{path}: expected an image of the {split} split, found none that can be read"
            )
        axes.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        axes.autoscale(False)
        crowd = f"  crowdIndex {crowding[image_name]:.2f}" if crowding else ""
        axes.set_title(image_name + crowd, color="#EBEBEB", fontsize=8, loc="left", y=0, pad=-12)
        if detections is not None:
            drawn = np.isin(detections.image_id, ids[image_name]) & (detections.score >= _LEAST_SCORE)
            for box, score in zip(detections.box[drawn], detections.score[drawn], strict=True):
                _draw_box(axes, box, _DETECTION, linestyle="--")
                place = {"va": "top", "clip_on": True, "fontsize": 7, "color": _DETECTION}
                axes.text(box[0], max(box[1], 0), f"{score:.2f}", **place)
        for row in np.flatnonzero(np.isin(people.image_id, ids[image_name])).tolist():
            _draw_person(axes, people, row, known.keypoints)
    figure.legend(
        handles=_legend(detections is not None),
        loc="outside lower center",
        ncols=min(4, 2 * columns),
        frameon=False,
        labelcolor="#EBEBEB",
        fontsize=8,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, format="png")


def _legend(detected: bool) -> list[Line2D]:
    limbs = {"left": _LIMBS["left",], "right": _LIMBS["right",], "middle": _MIDDLE}
    lines = [Line2D([], [], color=colour, label=f"{side} limb") for side, colour in limbs.items()]
    for label, colour in {"visible keypoint": _VISIBLE, "hidden keypoint": _HIDDEN}.items():
        lines.append(Line2D([], [], color=colour, marker="o", linestyle="", mec="black", label=label))
    lines.append(Line2D([], [], color=_BOX, label="annotated box"))
    if detected:
        lines.append(Line2D([], [], color=_DETECTION, linestyle="--", label="detection and its score"))
    return lines


def _draw_person(axes: Axes, people: Annotations, row: int, keypoints: KeypointSet) -> None:
    _draw_box(axes, people.box[row], _BOX)
    points, flags = people.keypoints[row], people.flags[row]
    for ends in map(list, keypoints.skeleton):
        if flags[ends].all():
            sides = {keypoints.names[end].split("_")[0] for end in ends}
            width = 2 if max(ends) < keypoints.body else 0.8
            axes.plot(*points[ends].T, color=_LIMBS.get(tuple(sides), _MIDDLE), linewidth=width)
    for part, size, rim in ((slice(keypoints.body), 22, 0.8), (slice(keypoints.body, None), 3, 0)):
        there = flags[part] > 0
        colours = np.where(flags[part][there] == 2, _VISIBLE, _HIDDEN)
        x, y = points[part][there].T
        axes.scatter(x, y, s=size, c=colours, edgecolors="black", linewidths=rim, zorder=3)


def _draw_box(axes: Axes, box: np.ndarray, colour: str, linestyle: str = "-") -> None:
    x, y, width, height = box - [0.5, 0.5, 0, 0]  # the centre of a pixel has integer coordinates
    axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=colour, linestyle=linestyle))
