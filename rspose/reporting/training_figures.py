"""Training drawn: the loss over the iterations, its cost beside what it brings, and what it learned."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from rspose.datasets import DATASETS, KeypointSet
from rspose.grid.record import Record
from rspose.reporting.panels import (
    GREY,
    NORMAL,
    SMALL,
    Runs,
    legend,
    marks_of,
    models_and_heads,
    new_figure,
    panel_title,
    panels,
    runs_of,
)
from rspose.reporting.style import loss_colour, loss_marker, main_metric

_IN_A_ROW = 6
_TERM_LINES = ((0, (4, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
_COLOUR_MAP = "cividis"

# A person who faces us, so that the own left is to our right; head and face larger than life.
_PLACES = {
    "nose": (0.0, 8.35), "left_eye": (0.55, 8.85), "right_eye": (-0.55, 8.85),
    "left_ear": (1.2, 8.5), "right_ear": (-1.2, 8.5),
    "head_top": (0.0, 9.6), "head": (0.0, 9.2), "upper_neck": (0.0, 7.9), "neck": (0.0, 7.3),
    "thorax": (0.0, 6.9), "pelvis": (0.0, 3.9),
    "left_shoulder": (1.55, 6.7), "right_shoulder": (-1.55, 6.7),
    "left_elbow": (2.35, 5.2), "right_elbow": (-2.35, 5.2),
    "left_wrist": (2.75, 3.7), "right_wrist": (-2.75, 3.7),
    "left_hip": (0.95, 3.9), "right_hip": (-0.95, 3.9),
    "left_knee": (1.15, 2.0), "right_knee": (-1.15, 2.0),
    "left_ankle": (1.3, 0.1), "right_ankle": (-1.3, 0.1),
    "left_heel": (0.9, -0.6), "right_heel": (-0.9, -0.6),
    "left_big_toe": (1.5, -0.9), "right_big_toe": (-1.5, -0.9),
    "left_small_toe": (2.1, -0.6), "right_small_toe": (-2.1, -0.6),
}  # fmt: skip
_FACE, _HANDS = slice(23, 91), slice(91, 133)  # of COCO-WholeBody
# With more keypoints than this, colours alone say the values.
_MOST_NUMBERS = 30


def learning_curve_figure(records: Sequence[Record]) -> Figure | None:
    """The loss over the iterations, a panel per loss, model and head, and a thin line per seed.

    Every panel has its own scale: losses differ in what their values mean. Terms of a loss that has several
    are dashed, their sum is full.

    Args:
        records: Of one dataset.

    Returns:
        None where no record has a learning curve: older versions kept none.
    """
    runs = runs_of(records, lambda record: record.content["training"].get("curve"))
    if not runs:
        return None
    rows = [
        of_head[start : start + _IN_A_ROW]
        for model, head in models_and_heads(runs)
        for of_head in [[each for each in runs if (each.model, each.head) == (model, head)]]
        for start in range(0, len(of_head), _IN_A_ROW)
    ]
    columns = max(len(row) for row in rows)
    figure = new_figure("Loss in training", runs, 2.1 * columns + 0.4, 1.75 * len(rows) + 1.0)
    grid = panels(figure, len(rows), columns)
    for line, row in zip(grid, rows, strict=True):
        for axes, each in zip(line, row, strict=False):
            _draw_curves(axes, each)
            axes.set_title(each.title, fontsize=NORMAL, fontweight="bold")
        line[0].set_ylabel(panel_title(row[0].model, row[0].head, runs), fontsize=NORMAL)
        for axes in line[len(row) :]:
            axes.remove()
    for column in range(columns):
        lowest = max(index for index, row in enumerate(rows) if len(row) > column)
        grid[lowest, column].set_xlabel("iteration", fontsize=NORMAL)
    legend(figure, runs, [])
    return figure


def _draw_curves(axes: Axes, runs: Runs) -> None:
    curves = [record.content["training"]["curve"] for record in runs.records]
    terms = [name for name in curves[0] if name not in ("iteration", "loss")]
    parts = terms if len(terms) > 1 else []
    for curve in curves:
        faint = 1.0 if len(curves) == 1 else 0.45
        axes.plot(curve["iteration"], curve["loss"], color=loss_colour(runs.loss), linewidth=1.6, alpha=faint)
        for index, term in enumerate(parts):
            axes.plot(
                curve["iteration"],
                curve[term],
                color=loss_colour(runs.loss),
                linewidth=1.0,
                linestyle=_TERM_LINES[index % len(_TERM_LINES)],
                alpha=faint,
                label=term.removeprefix("loss_").replace("_", " ") if curve is curves[0] else None,
            )
    axes.set_ylim(bottom=0, top=1.05 * max(max(curve["loss"]) for curve in curves))
    axes.margins(x=0.02)
    if parts:
        axes.legend(
            loc="upper right",
            fontsize=SMALL - 1.5,
            frameon=False,
            handlelength=1.8,
            labelspacing=0.2,
            borderpad=0,
        )


def cost_figure(records: Sequence[Record]) -> Figure | None:
    """The main metric against the time of a training step, a panel per model and head.

    Means over the seeds; the bars span the seeds. The time is that of the whole step, model and data
    included, on the machine that trained the cell: cells that ran beside others are slower for it.

    Args:
        records: Of one dataset.

    Returns:
        None where no record has both.
    """
    metric = main_metric(records[0].cell.dataset)
    runs = runs_of(
        records,
        lambda record: (
            record.content["training"].get("seconds_per_iteration")
            and record.scores.get(f"metrics.{metric}") is not None
        ),
    )
    if not runs:
        return None
    columns = models_and_heads(runs)
    subject = f"{metric} against the cost of the loss"
    figure = new_figure(subject, runs, 4.2 * len(columns) + 0.3, 4.1)
    grid = panels(figure, 1, len(columns), sharey=True)[0]
    for axes, (model, head) in zip(grid, columns, strict=True):
        for each in runs:
            if (each.model, each.head) != (model, head):
                continue
            seconds = [record.content["training"]["seconds_per_iteration"] for record in each.records]
            x, y = 1000 * np.array(seconds), 100 * np.array(each.values(f"metrics.{metric}"))
            axes.errorbar(
                x.mean(),
                y.mean(),
                xerr=_reach(x),
                yerr=_reach(y),
                color=loss_colour(each.loss),
                marker=loss_marker(each.loss),
                markersize=13 if loss_marker(each.loss) == "*" else 9,
                markeredgecolor="white",
                linewidth=1,
            )
        axes.set_title(panel_title(model, head, runs), fontsize=NORMAL, fontweight="bold")
        axes.set_xlabel("time of a training step (ms)", fontsize=NORMAL)
        axes.margins(0.15)
    grid[0].set_ylabel(f"{metric} (%)", fontsize=NORMAL)
    legend(figure, runs, marks_of(runs))
    return figure


def _reach(values: np.ndarray) -> list[list[float]] | None:
    """How far the values reach below and above their mean; None for a single one."""
    if len(values) == 1:
        return None
    # Rounding may put the mean of equal values beside them.
    return [[max(values.mean() - values.min(), 0.0)], [max(values.max() - values.mean(), 0.0)]]


def factor_figure(records: Sequence[Record]) -> Figure | None:
    """What a loss learned about each keypoint, drawn on a skeleton; a panel per loss, model and head.

    Means over the seeds. The panels share one scale of colours.

    Args:
        records: Of one dataset.

    Returns:
        None where no loss learned anything per keypoint.
    """
    runs = runs_of(records, lambda record: record.content["loss"].get("learned"))
    if not runs:
        return None
    joints = DATASETS[records[0].cell.dataset].keypoints
    learned = [
        (each, name, np.mean([record.content["loss"]["learned"][name] for record in each.records], axis=0))
        for each in runs
        for name in each.records[0].content["loss"]["learned"]
    ]
    columns = min(len(learned), 4)
    rows = -(-len(learned) // columns)
    subject = "What losses learned per keypoint"
    figure = new_figure(subject, runs, 2.9 * columns + 1.0, 4.1 * rows + 0.8)
    grid = figure.subplots(rows, columns, squeeze=False)
    every = np.concatenate([values for _, _, values in learned])
    scale = Normalize(every.min(), every.max())
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (each, name, values) in zip(grid.flat, learned, strict=False):
        _draw_values(axes, joints, values, scale)
        title = f"{each.title}, {panel_title(each.model, each.head, runs)}: {name}"
        axes.set_title(title, fontsize=NORMAL, fontweight="bold")
    bar = figure.colorbar(ScalarMappable(scale, _COLOUR_MAP), ax=grid, shrink=0.7, pad=0.02)
    bar.ax.tick_params(labelsize=SMALL)
    legend(figure, runs, [])
    return figure


def places(joints: KeypointSet) -> np.ndarray:
    """Where each keypoint of a person who faces us is drawn, ``[K, 2]``, y upwards.

    Face and hands of COCO-WholeBody stand beside the body.
    """
    found = np.array([_PLACES.get(name, (np.nan, np.nan)) for name in joints.names])
    if joints.parts:
        found[_FACE] = np.array([0.0, 12.6]) + 2.3 * _face()
        hands = [np.array([side * 4.3, 3.4]) + _hand(side) for side in (1, -1)]
        found[_HANDS] = np.concatenate(hands)
    return found


def _face() -> np.ndarray:
    """The 68 points of a face in the order of iBUG's annotation, from -1 to 1, ``[68, 2]``."""

    def arc(count: int, center: tuple[float, float], size: tuple[float, float], step: float) -> np.ndarray:
        """Points from the person's right on, clockwise, ``step`` degrees from one to the next."""
        angle = np.radians(180 - step * np.arange(count))
        return np.array(center) + np.array(size) * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    return np.concatenate(
        [
            arc(17, (0, 0), (1, 1.1), -180 / 16),  # jaw
            *(arc(5, (x, 0.42), (0.3, 0.12), 45) for x in (-0.48, 0.48)),  # brows
            np.column_stack([np.zeros(4), np.linspace(0.28, -0.1, 4)]),  # bridge of the nose
            np.column_stack([np.linspace(-0.2, 0.2, 5), np.full(5, -0.25)]),
            *(arc(6, (x, 0.2), (0.2, 0.1), 60) for x in (-0.45, 0.45)),  # eyes
            arc(12, (0, -0.62), (0.42, 0.2), 30),  # lips
            arc(8, (0, -0.62), (0.28, 0.09), 45),
        ]
    )


def _hand(side: int) -> np.ndarray:
    """A hand that hangs from its root, four joints a finger from the thumb on, ``[21, 2]``."""
    angle = np.radians(-90 - side * np.array([-50.0, -22.0, 0.0, 20.0, 40.0]))
    reach = np.array([0.7, 1.2, 1.6, 2.0])
    fingers = np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, None] * reach[:, None]
    return np.concatenate([np.zeros((1, 2)), fingers.reshape(-1, 2)])


def _draw_values(axes: Axes, joints: KeypointSet, values: np.ndarray, scale: Normalize) -> None:
    at = places(joints)
    crowded = len(joints) > _MOST_NUMBERS
    axes.add_collection(
        LineCollection([at[[a, b]] for a, b in joints.skeleton], colors="#BBBBBB", linewidths=2, zorder=1)
    )
    axes.scatter(
        at[:, 0],
        at[:, 1],
        c=values,
        cmap=_COLOUR_MAP,
        norm=scale,
        s=26 if crowded else 110,
        edgecolors="black",
        linewidths=0.6,
        zorder=2,
    )
    numbered = [] if crowded else zip(at, joints.names, values, strict=True)
    for (x, y), name, value in numbered:
        beside: dict[str, Any] = {"xytext": (8, 0), "ha": "left"}
        if name in ("nose", "pelvis"):  # beside them are the ears and the hips
            beside = {"xytext": (0, -12), "ha": "center"}
        elif x < 0:
            beside = {"xytext": (-8, 0), "ha": "right"}
        axes.annotate(
            f"{value:.3f}", (x, y), textcoords="offset points", va="center", fontsize=SMALL - 1, **beside
        )
    axes.text(-2.9, 9.6, "right", ha="center", fontsize=SMALL, color=GREY)
    axes.text(2.9, 9.6, "left", ha="center", fontsize=SMALL, color=GREY)
    axes.set(xlim=(-6.2, 6.2) if crowded else (-4.2, 4.2), ylim=(-1.2, 14.4) if crowded else (-0.5, 10.2))
    axes.set_aspect("equal")
