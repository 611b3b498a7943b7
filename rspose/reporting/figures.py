"""Sheets of drawn predictions and heatmaps, a row per loss and head, from what the predict stage saved."""

import base64
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rspose.datasets import DATASETS, KeypointSet
from rspose.grid.record import Record
from rspose.reporting import style
from rspose.reporting.html import render
from rspose.reporting.study_figures import write_svg
from rspose.reporting.table import DAGGER

READ = "Blue: the person's own left; orange: right. The fainter, the lower the confidence."
"""How drawn people are read."""
_FAINTEST = 0.15  # opacity of a keypoint without any confidence: it can still be found
_HEIGHT = 128  # units: of a drawn person


class Entry(NamedTuple):
    """A row of a sheet: the record of a cell, its ``predictions.npz`` and its ``samples.npz``."""

    record: Record
    predictions: Path
    samples: Path


@dataclass(frozen=True)
class Samples:
    """What is drawn of a cell: S instances of K keypoints, in pixels of the crop."""

    names: list[str]  # of the images' files
    crops: NDArray[np.uint8]  # RGB, [S, H, W, 3]
    heatmaps: NDArray[np.floating]  # [S, K, h, w]
    people: NDArray[np.floating]  # predicted x, y and confidence in [0, 1], [S, K, 3]
    truth: NDArray[np.floating]  # annotated x, y and flag, 0 (absent), 1 (hidden) or 2 (seen), [S, K, 3]
    identity: NDArray[np.floating]  # the same in image pixels, which tells the instances, [S, K, 3]


def make_sheet(dataset: str, entries: Sequence[Entry], out: Path) -> list[Path]:
    """Draw the truth and the predicted skeletons over the crops, as PNG at ``out`` and as SVG beside it.

    The first row is the truth (hollow: annotated but hidden); then a row per entry in canonical order, where
    opacity is confidence. Limbs of the person's left and right side differ in colour.

    Raises:
        ValueError: If there is no entry, or a file is damaged, lacks an array or shows other instances than
            the first.
    """
    keypoints = DATASETS[dataset].keypoints
    drawn = _read_all(entries, keypoints)
    first = drawn[0][1]
    images = [image_address(crop) for crop in first.crops]
    rows = [_row(("Truth",), "none", images, truths(first, keypoints))]
    for entry, samples in drawn:
        rows.append(_row(*_label(entry, entries), images, predictions(samples, keypoints)))
    title = f"{style.dataset_title(dataset)} val: predicted skeletons"
    return _write(rows, first, out, title, f"{READ} Hollow: annotated but hidden.")


def make_heatmap_sheet(dataset: str, entries: Sequence[Entry], out: Path) -> list[Path]:
    """Draw the heatmaps over the greyed crops, as PNG and SVG.

    Each panel is the maximum over the keypoints. A row has one scale, from its lowest to its highest value,
    and its colour bar: losses differ in what their maps mean. Crosses mark the annotated keypoints.

    Arguments, result and errors as for :func:`make_sheet`.
    """
    keypoints = DATASETS[dataset].keypoints
    drawn = _read_all(entries, keypoints)
    rows = []
    for entry, samples in drawn:
        maps = samples.heatmaps.max(axis=1).astype(np.float32)
        finite = maps[np.isfinite(maps)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        strength = np.clip(np.nan_to_num((maps - low) / ((high - low) or 1.0)), 0, 1)
        grey = [
            cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) for crop in samples.crops
        ]
        people = [person | {"limbs": [], "crosses": True} for person in truths(samples, keypoints)]
        row = _row(*_label(entry, entries), [image_address(crop) for crop in grey], people)
        # Pixel i of a map is centred at i strides of the crop.
        (height, width), (lines, across) = samples.crops.shape[1:3], maps.shape[1:]
        corner = [
            _HEIGHT / height * (0.5 - size / count / 2) for size, count in ((width, across), (height, lines))
        ]
        maps_over = {"maps": [_coloured(each) for each in strength], "corner": corner}
        # To three figures of the larger end: a low one of -0.00023 is 0 beside a peak of 0.86.
        digits = 2 - math.floor(math.log10(max(abs(low), abs(high)) or 1.0))
        ends = tuple(f"{round(float(end), digits) + 0.0:g}" for end in (low, high))
        rows.append(row | maps_over | {"scale": ends})
    title = f"{style.dataset_title(dataset)} val: heatmaps, maximum over keypoints"
    said = "Crosses mark the annotated keypoints; every row has its own scale."
    return _write(rows, drawn[0][1], out, title, said)


def predictions(samples: Samples, keypoints: KeypointSet) -> list[dict[str, Any]]:
    """What templates draw of each predicted person, the fainter the lower the confidence of a keypoint."""
    opacity = _FAINTEST + (1 - _FAINTEST) * np.clip(samples.people[..., 2], 0, 1)
    nowhere = np.zeros(len(keypoints), dtype=bool)
    size = samples.crops.shape[1:3]
    return [_person(keypoints, size, *one, nowhere) for one in zip(samples.people, opacity, strict=True)]


def truths(samples: Samples, keypoints: KeypointSet) -> list[dict[str, Any]]:
    """What templates draw of each annotated person, with marks where a keypoint is hidden."""
    flags = samples.truth[..., 2]
    # Faces of COCO-WholeBody are flagged as hidden throughout.
    hidden = (flags == 1) & (np.arange(len(keypoints)) < keypoints.body)
    each = zip(samples.truth, (flags > 0).astype(float), hidden, strict=True)
    return [_person(keypoints, samples.crops.shape[1:3], *one) for one in each]


def _person(
    keypoints: KeypointSet, size: tuple[int, ...], points: NDArray, opacity: NDArray, hidden: NDArray
) -> dict[str, Any]:
    """Limbs and keypoints of a person, without those of opacity 0; sizes and places in units."""
    unit = _HEIGHT / size[0]
    at = [f"{x:.1f} {y:.1f}" for x, y in unit * (np.nan_to_num(points[:, :2]) + 0.5)]
    sides = [
        name.split("_")[0] if name.startswith(("left_", "right_")) else "middle" for name in keypoints.names
    ]
    limbs, joints = [], []
    for a, b in keypoints.skeleton:
        if (faint := min(opacity[a], opacity[b])) > 0:
            ends = {sides[a], sides[b]} - {"middle"}
            side, small = ends.pop() if len(ends) == 1 else "middle", max(a, b) >= keypoints.body
            limbs.append(
                {"path": f"M{at[a]}L{at[b]}", "side": side, "small": small, "opacity": round(faint, 2)}
            )
    for k in np.flatnonzero(opacity > 0):
        known = {"name": keypoints.names[k].replace("_", " "), "hidden": bool(hidden[k])}
        look = {"side": sides[k], "small": k >= keypoints.body, "opacity": round(opacity[k], 2)}
        joints.append({"at": at[k], **known, **look})
    return {"width": round(unit * size[1], 1), "limbs": limbs, "joints": joints, "crosses": False}


def image_address(pixels: NDArray, suffix: str = ".png") -> str:
    """An RGB or RGBA image within its own address."""
    options = [cv2.IMWRITE_WEBP_QUALITY, 80] if suffix == ".webp" else []
    _, encoded = cv2.imencode(suffix, pixels[..., [2, 1, 0, 3][: pixels.shape[2]]], options)
    return f"data:image/{suffix[1:]};base64,{base64.b64encode(encoded.tobytes()).decode()}"


def read_samples(entry: Entry, keypoints: KeypointSet, columns: int | None = None) -> Samples:
    """What a cell drew: the first ``columns`` instances of those saved.

    Raises:
        ValueError: If a file is damaged, lacks an array or is not of these keypoints.
    """
    drawn = _arrays(
        entry.samples, ("image_path", "box_index", "heatmap", "crop", "truth_keypoints", "crop_matrix")
    )
    predicted = _arrays(entry.predictions, ("keypoints", "confidence"))
    drawn = {name: array[:columns] for name, array in drawn.items()}
    truth, rows = drawn["truth_keypoints"], drawn["box_index"]
    if not len(drawn["crop"]):
        raise ValueError(f"{entry.samples}: holds no instance to draw: predict the cell again")
    for path, array in ((entry.samples, truth), (entry.predictions, predicted["keypoints"])):
        if array.shape[1] != len(keypoints):
            dataset = next(name for name, each in DATASETS.items() if each.keypoints is keypoints)
            raise ValueError(
                f"{path}: {array.shape[1]} keypoints: expected the {len(keypoints)} of {dataset}"
            )
    if rows.min() < 0 or rows.max() >= len(predicted["keypoints"]):
        raise ValueError(
            f"{entry.samples}: box_index {rows.max()} is outside the {len(predicted['keypoints'])} rows of "
            f"{entry.predictions}: the two files are not of one run"
        )

    def in_crop(points: NDArray, third: NDArray) -> NDArray:
        matrices = drawn["crop_matrix"]  # [S, 2, 3]
        moved = np.einsum("sij,skj->ski", matrices[:, :, :2], points) + matrices[:, None, :, 2]
        return np.concatenate([moved, third[..., None]], axis=2)

    return Samples(
        names=[Path(str(name)).name for name in drawn["image_path"]],
        crops=drawn["crop"],
        heatmaps=drawn["heatmap"],
        people=in_crop(predicted["keypoints"][rows], predicted["confidence"][rows]),
        truth=in_crop(truth[..., :2], truth[..., 2]),
        identity=truth,
    )


def _arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in names if name not in file]
            if missing:
                raise ValueError(f"the array {missing[0]} is missing")
            return {name: file[name] for name in names}
    except Exception as error:  # a damaged file may raise whatever unpacking meets
        raise ValueError(f"{path}: not usable ({error}): predict the cell again") from None


def _read_all(entries: Sequence[Entry], keypoints: KeypointSet) -> list[tuple[Entry, Samples]]:
    """What each cell drew, in canonical order."""
    if not entries:
        raise ValueError("no cell to draw: a sheet needs at least one entry")

    def place(entry: Entry) -> tuple[Any, ...]:
        cell = entry.record.cell
        return cell.model, style.loss_order(cell.loss, False), style.head_order(cell.head)

    ordered = sorted(entries, key=place)
    found = [read_samples(entry, keypoints) for entry in ordered]
    for entry, samples in zip(ordered, found, strict=True):
        if not np.array_equal(samples.identity, found[0].identity, equal_nan=True):
            raise ValueError(
                f"{entry.samples}: shows other instances than {ordered[0].samples}: predict both cells again "
                "with the same data"
            )
    return list(zip(ordered, found, strict=True))


def _label(entry: Entry, entries: Sequence[Entry]) -> tuple[tuple[str, ...], str]:
    cell, loss = entry.record.cell, entry.record.loss
    metric = style.main_metric(cell.dataset)
    score = entry.record.scores.get(f"metrics.{metric}")
    head = style.head_label(cell.head)
    lines = (
        f"{loss.title} {DAGGER}" if loss.reconstruction else loss.title,
        head if score is None else f"{head} · {metric} {100 * score:.1f}",
        *([cell.model] if len({other.record.cell.model for other in entries}) > 1 else []),
    )
    return lines, style.loss_colour(cell.loss)


def _coloured(strength: NDArray[np.floating]) -> str:
    """A heatmap from 0 to 1 as an image that is clear where it is low."""
    colours = cv2.applyColorMap((255 * strength).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = 255 * np.clip(0.1 + 1.5 * strength, 0, 0.85)
    return image_address(np.dstack([colours, opacity.round().astype(np.uint8)]))


def _row(
    label: Sequence[str], colour: str, images: Sequence[str], people: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    panels = list(zip(images, people, strict=True))
    return {"label": label, "colour": colour, "panels": panels, "maps": None, "scale": None}


def _write(rows: Sequence[dict[str, Any]], samples: Samples, out: Path, title: str, said: str) -> list[Path]:
    if any(DAGGER in row["label"][0] for row in rows):
        said = f"{said} {DAGGER} Reconstruction."
    left = 22 + 6.2 * max(len(line) for row in rows for line in row["label"])
    letters = int((left + len(samples.names) * _HEIGHT * samples.crops.shape[2] / samples.crops.shape[1]) / 5)
    colours = cv2.applyColorMap(np.linspace(0, 255, 9).round().astype(np.uint8), cv2.COLORMAP_INFERNO)
    svg = render(
        "sheet.svg",
        title=title,
        said=textwrap.wrap(said, letters),
        rows=rows,
        names=samples.names,
        left=left,
        height=_HEIGHT,
        colours=["#{2:02x}{1:02x}{0:02x}".format(*colour) for colour in colours[:, 0]],
    )
    return write_svg(svg, out)
