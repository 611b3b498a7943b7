"""Sheets of drawn predictions and heatmaps, a row per loss and head, from what the predict stage saved."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from rspose.datasets import DATASETS, KeypointSet
from rspose.grid.record import Record
from rspose.reporting.style import (
    HEAD_LABELS,
    SIDE_COLOURS,
    dataset_title,
    head_order,
    loss_colour,
    loss_order,
    main_metric,
)
from rspose.reporting.table import DAGGER

_PANEL, _GAP = 1.25, 0.05  # inches: width of a panel, space between panels
_LETTER, _RIGHT, _TOP, _BOTTOM = 0.076, 0.1, 0.62, 0.5  # inches: a letter of a label, margin, title, legend
_BAR = 0.55  # inches: a colour bar with its numbers
_FAINTEST = 0.15  # opacity of a keypoint without any confidence: it can still be found
_COLOUR_MAP = "inferno"


@dataclass(frozen=True)
class Entry:
    """The drawn cells: a row of a sheet.

    Attributes:
        loss: Name of the loss.
        head: Name of the head.
        predictions: Its ``predictions.npz``.
        samples: Its ``samples.npz``.
        title: The loss as written in the row's label.
        score: The main metric of the dataset, a fraction; None leaves it out of the label.
        reconstruction: Whether the loss is a reconstruction, which the label then says.
        model: Name of the model, for the label of a sheet of several models.
    """

    loss: str
    head: str
    predictions: Path
    samples: Path
    title: str
    score: float | None = None
    reconstruction: bool = False
    model: str = ""

    @classmethod
    def from_record(cls, record: Record, predictions: Path, samples: Path) -> "Entry":
        """The row of the cell that ``record`` tells of."""
        cell, loss = record.cell, record.content["loss"]
        score = record.scores.get(f"metrics.{main_metric(cell.dataset)}")
        return cls(
            cell.loss,
            cell.head,
            predictions,
            samples,
            loss["title"],
            score,
            loss["reconstruction"],
            cell.model,
        )


@dataclass(frozen=True)
class Samples:
    """What is drawn of a cell, all in pixels of the crop.

    Attributes:
        names: File name of each image.
        crops: uint8 ``[S, H, W, 3]``, RGB.
        heatmaps: ``[S, K, h, w]``.
        keypoints: Predicted, ``[S, K, 2]``.
        confidence: ``[S, K]`` in [0, 1].
        truth: Annotated, ``[S, K, 2]``.
        visible: Flags 0 (absent), 1 (hidden), 2 (seen), ``[S, K]``.
        identity: The annotation in image pixels, ``[S, K, 3]``: tells which instances these are.
    """

    names: list[str]
    crops: NDArray[np.uint8]
    heatmaps: NDArray[np.floating]
    keypoints: NDArray[np.floating]
    confidence: NDArray[np.floating]
    truth: NDArray[np.floating]
    visible: NDArray[np.floating]
    identity: NDArray[np.floating]


def make_sheet(dataset: str, entries: Sequence[Entry], out: Path, columns: int = 6) -> list[Path]:
    """Draw the truth and the predicted skeletons over the crops the models saw, as PNG (150 dpi) and SVG.

    The first row is the truth (hollow: annotated but hidden); then a row per entry in canonical order, where
    opacity is confidence. Limbs of the person's left and right side differ in colour.

    Args:
        dataset: Name of the dataset, for its keypoints.
        entries: The rows; all must have saved the same instances.
        out: The PNG file; the SVG stands beside it.
        columns: Instances drawn, the first so many of those saved.

    Returns:
        The files written.

    Raises:
        ValueError: If there is no entry, or a file is damaged, lacks an array or shows other instances than
        the
            first.
    """
    figure = skeleton_figure(dataset, entries, columns)
    return [_saved(figure, out), _saved(figure, out.with_suffix(".svg"))]


def make_heatmap_sheet(dataset: str, entries: Sequence[Entry], out: Path, columns: int = 6) -> list[Path]:
    """Draw the heatmaps over the greyed crops, as PNG (150 dpi) and SVG.

    Each panel is the maximum over the keypoints. A row has one scale, from its lowest to its highest value,
    and its colour bar: losses differ in what their maps mean. Crosses mark the annotated keypoints.

    Arguments, result and errors as for :func:`make_sheet`.
    """
    figure = heatmap_figure(dataset, entries, columns)
    return [_saved(figure, out), _saved(figure, out.with_suffix(".svg"))]


def skeleton_figure(dataset: str, entries: Sequence[Entry], columns: int = 6) -> Figure:
    """The figure of :func:`make_sheet`."""
    keypoints = DATASETS[dataset].keypoints
    ordered, samples = _read_all(entries, keypoints, columns)
    title = f"{dataset_title(dataset)} val: predicted skeletons"
    figure, grid = _grid(len(ordered) + 1, samples[0], title, ordered, right=_RIGHT)
    for j, axes in enumerate(grid[0]):
        shown = samples[0].visible[j] > 0
        _draw_skeleton(axes, keypoints, samples[0].crops[j], samples[0].truth[j], shown.astype(float))
        # Faces of COCO-WholeBody are flagged 1 throughout.
        hidden = (samples[0].visible[j] == 1) & (np.arange(len(keypoints)) < keypoints.body)
        x, y = samples[0].truth[j][hidden].T
        axes.scatter(x, y, s=3, color="white", linewidths=0, zorder=4)
        axes.set_title(samples[0].names[j], fontsize=6)
    _label(grid[0][0], "Truth", "", "#FFFFFF")
    for entry, drawn, row in zip(ordered, samples, grid[1:], strict=True):
        for j, axes in enumerate(row):
            opacity = _FAINTEST + (1 - _FAINTEST) * np.clip(drawn.confidence[j], 0, 1)
            _draw_skeleton(axes, keypoints, drawn.crops[j], drawn.keypoints[j], opacity)
        _label_entry(row[0], dataset, entry, entries)
    marks = [
        Line2D([], [], color=SIDE_COLOURS["left"], lw=2, label="person's left"),
        Line2D([], [], color=SIDE_COLOURS["right"], lw=2, label="person's right"),
        Line2D(
            [],
            [],
            color="black",
            marker="o",
            ls="",
            ms=5,
            mfc="white",
            mew=1.5,
            label="annotated, hidden (truth)",
        ),
        Line2D([], [], color=SIDE_COLOURS["left"], lw=2, alpha=0.3, label="faint: low confidence"),
    ]
    _legend(figure, marks, ordered)
    return figure


def heatmap_figure(dataset: str, entries: Sequence[Entry], columns: int = 6) -> Figure:
    """The figure of :func:`make_heatmap_sheet`."""
    keypoints = DATASETS[dataset].keypoints
    ordered, samples = _read_all(entries, keypoints, columns)
    title = f"{dataset_title(dataset)} val: heatmaps, maximum over keypoints"
    figure, grid = _grid(len(ordered), samples[0], title, ordered, right=_BAR)
    for j, axes in enumerate(grid[0]):
        axes.set_title(samples[0].names[j], fontsize=6)
    for entry, drawn, row in zip(ordered, samples, grid, strict=True):
        maps = drawn.heatmaps.max(axis=1).astype(np.float32)
        finite = maps[np.isfinite(maps)]
        scale = Normalize(finite.min(), finite.max()) if finite.size else Normalize(0, 1)
        for j, axes in enumerate(row):
            _draw_heatmap(axes, drawn.crops[j], maps[j], scale)
            marked = drawn.visible[j] > 0
            of_body = np.arange(len(marked)) < keypoints.body
            for shown, size in ((marked & of_body, 3.5), (marked & ~of_body, 1.0)):
                axes.plot(*drawn.truth[j][shown].T, ls="", marker="+", ms=size, mew=0.6, color="#7FFFD4")
        _label_entry(row[0], dataset, entry, entries)
        _draw_colour_bar(figure, row[-1], scale)
    cross = Line2D([], [], color="#2A9D74", marker="+", ls="", ms=6, label="annotated keypoint")
    _legend(figure, [cross], ordered)
    return figure


def _read_all(
    entries: Sequence[Entry], keypoints: KeypointSet, columns: int
) -> tuple[list[Entry], list[Samples]]:
    if not entries:
        raise ValueError("no cell to draw: a sheet needs at least one entry")
    ordered = sorted(
        entries, key=lambda entry: (entry.model, loss_order(entry.loss, False), head_order(entry.head))
    )
    samples = [read_samples(entry, keypoints, columns) for entry in ordered]
    for entry, other in zip(ordered, samples, strict=True):
        if not np.array_equal(other.identity, samples[0].identity, equal_nan=True):
            raise ValueError(
                f"{entry.samples}: shows other instances than {ordered[0].samples}: predict both cells again "
                "with the same data"
            )
    return ordered, samples


def read_samples(entry: Entry, keypoints: KeypointSet, columns: int) -> Samples:
    """What a cell drew: the first ``columns`` instances of those saved.

    Raises:
        ValueError: If a file is damaged, lacks an array or is not of these keypoints.
    """
    drawn = _arrays(
        entry.samples, ("image_path", "box_index", "heatmap", "crop", "truth_keypoints", "crop_matrix")
    )
    predicted = _arrays(entry.predictions, ("keypoints", "confidence"))
    drawn = {name: array[:columns] for name, array in drawn.items()}
    if not len(drawn["crop"]):
        raise ValueError(f"{entry.samples}: holds no instance to draw: predict the cell again")
    for path, array in (
        (entry.samples, drawn["truth_keypoints"]),
        (entry.predictions, predicted["keypoints"]),
    ):
        if array.shape[1] != len(keypoints):
            dataset = next(name for name, each in DATASETS.items() if each.keypoints is keypoints)
            raise ValueError(
                f"{path}: {array.shape[1]} keypoints: expected the {len(keypoints)} of {dataset}"
            )
    rows = drawn["box_index"]
    if rows.min() < 0 or rows.max() >= len(predicted["keypoints"]):
        raise ValueError(
            f"{entry.samples}: box_index {rows.max()} is outside the {len(predicted['keypoints'])} rows of "
            f"{entry.predictions}: the two files are not of one run"
        )
    return Samples(
        names=[Path(str(name)).name for name in drawn["image_path"]],
        crops=drawn["crop"],
        heatmaps=drawn["heatmap"],
        keypoints=_to_crop(drawn["crop_matrix"], predicted["keypoints"][rows]),
        confidence=predicted["confidence"][rows],
        truth=_to_crop(drawn["crop_matrix"], drawn["truth_keypoints"][..., :2]),
        visible=drawn["truth_keypoints"][..., 2],
        identity=drawn["truth_keypoints"],
    )


def _arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in names if name not in file]
            if missing:
                raise ValueError(f"the array {missing[0]} is missing")
            return {name: file[name] for name in names}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not usable ({error}): predict the cell again") from None


def _to_crop(matrices: NDArray, points: NDArray) -> NDArray:
    """Image pixels ``[S, K, 2]`` to crop pixels with the affine maps ``[S, 2, 3]``."""
    return np.einsum("sij,skj->ski", matrices[:, :, :2], points) + matrices[:, None, :, 2]


def _grid(
    rows: int, samples: Samples, title: str, entries: Sequence[Entry], right: float
) -> tuple[Figure, NDArray]:
    columns, height, width = samples.crops.shape[:3]
    panel_height = _PANEL * height / width
    left = 0.3 + _LETTER * max(
        len("1D · PCKh 00.0"), *(max(len(_title(entry)), len(entry.model)) for entry in entries)
    )
    total_width = left + columns * (_PANEL + _GAP) + right
    total_height = _TOP + rows * (panel_height + _GAP) + _BOTTOM
    figure = Figure((total_width, total_height), dpi=150, facecolor="white")
    grid = figure.subplots(
        rows,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": left / total_width,
            "right": 1 - right / total_width,
            "top": 1 - _TOP / total_height,
            "bottom": _BOTTOM / total_height,
            "wspace": _GAP / _PANEL,
            "hspace": _GAP / panel_height,
        },
    )
    figure.text(0.5, 1 - 0.2 / total_height, title, ha="center", va="center", fontsize=11, fontweight="bold")
    return figure, grid


def _draw_skeleton(
    axes: Axes, keypoints: KeypointSet, crop: NDArray, points: NDArray, opacity: NDArray
) -> None:
    """One person over its crop; a keypoint of opacity 0 is left out, and so are its limbs."""
    _draw_image(axes, crop)
    colours = [SIDE_COLOURS[_side(name)] for name in keypoints.names]
    limbs = [(a, b) for a, b in keypoints.skeleton if opacity[a] > 0 and opacity[b] > 0]
    segments = [points[[a, b]] for a, b in limbs]
    alphas = [float(min(opacity[a], opacity[b])) for a, b in limbs]
    limb_colours = [
        to_rgba(_limb_colour(colours[a], colours[b]), alpha)
        for (a, b), alpha in zip(limbs, alphas, strict=True)
    ]
    # A dark rim keeps the limbs apart from clothes and background of their colour.
    widths = np.array([1.7 if max(limb) < keypoints.body else 0.5 for limb in limbs])
    axes.add_collection(
        LineCollection(
            segments, colors=[(0, 0, 0, alpha * 0.6) for alpha in alphas], linewidths=1.65 * widths
        )
    )
    axes.add_collection(LineCollection(segments, colors=limb_colours, linewidths=widths))
    drawn = opacity > 0
    of_body = np.arange(len(keypoints)) < keypoints.body
    axes.scatter(
        points[drawn, 0],
        points[drawn, 1],
        s=np.where(of_body, 11, 1.2)[drawn],
        c=[to_rgba(colours[k], opacity[k]) for k in np.flatnonzero(drawn)],
        edgecolors=[(0, 0, 0, alpha * 0.8) for alpha in opacity[drawn]],
        linewidths=np.where(of_body, 0.4, 0.0)[drawn].tolist(),
        zorder=3,
    )


def _draw_heatmap(axes: Axes, crop: NDArray, heatmap: NDArray, scale: Normalize) -> None:
    grey = crop.astype(np.float64) @ [0.299, 0.587, 0.114]
    _draw_image(axes, np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8))
    (height, width), (rows, columns) = crop.shape[:2], heatmap.shape
    # Pixel i of the map is centred at i strides of the crop.
    right, bottom = (columns - 0.5) * width / columns, (rows - 0.5) * height / rows
    extent = (right - width, right, bottom, bottom - height)
    strength = np.nan_to_num(np.ma.filled(scale(heatmap), 0.0))
    axes.imshow(
        heatmap,
        cmap=_COLOUR_MAP,
        norm=scale,
        alpha=np.clip(0.1 + 1.5 * strength, 0, 0.85),
        extent=extent,
        interpolation="nearest",
    )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _draw_image(axes: Axes, image: NDArray) -> None:
    axes.imshow(image, interpolation="bilinear")
    axes.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
    axes.set_axis_off()


def _draw_colour_bar(figure: Figure, axes: Axes, scale: Normalize) -> None:
    width = figure.get_size_inches()[0]
    box = axes.get_position()
    bar = figure.add_axes((box.x1 + 0.08 / width, box.y0 + 0.1 * box.height, 0.1 / width, 0.8 * box.height))
    figure.colorbar(ScalarMappable(scale, _COLOUR_MAP), cax=bar, format="%.2g")
    bar.tick_params(labelsize=6, length=2, pad=1)


def _label_entry(axes: Axes, dataset: str, entry: Entry, entries: Sequence[Entry]) -> None:
    detail = HEAD_LABELS.get(entry.head, entry.head)
    if entry.score is not None:
        detail += f" · {main_metric(dataset)} {100 * entry.score:.1f}"
    if len({other.model for other in entries}) > 1:
        detail += f"\n{entry.model}"
    _label(axes, _title(entry), detail, loss_colour(entry.loss))


def _title(entry: Entry) -> str:
    return f"{entry.title} {DAGGER}" if entry.reconstruction else entry.title


def _label(axes: Axes, title: str, detail: str, colour: str) -> None:
    text = partial(axes.text, x=-0.1, transform=axes.transAxes, ha="right")
    text(y=0.51, s=title, va="bottom", fontsize=8, fontweight="bold")
    text(y=0.49, s=detail, va="top", fontsize=7.5)
    axes.plot([-0.05, -0.05], [0.02, 0.98], transform=axes.transAxes, color=colour, lw=4, clip_on=False)


def _legend(figure: Figure, marks: list[Line2D], entries: Sequence[Entry]) -> None:
    if any(entry.reconstruction for entry in entries):
        marks = [*marks, Line2D([], [], ls="", label=f"{DAGGER} reconstruction")]
    figure.legend(handles=marks, loc="lower center", ncols=3, fontsize=7, frameon=False, borderaxespad=0.3)


def _side(keypoint: str) -> str:
    return keypoint.split("_")[0] if keypoint.startswith(("left_", "right_")) else "middle"


def _limb_colour(first: str, second: str) -> str:
    """A limb has the colour of its side; one between the sides that of the middle."""
    ends = {first, second} - {SIDE_COLOURS["middle"]}
    return ends.pop() if len(ends) == 1 else SIDE_COLOURS["middle"]


def _saved(figure: Figure, path: Path) -> Path:
    """Write the figure as the suffix says; the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # No date and no random ids: the same numbers give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "rspose"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path
