"""Confidence drawn: quality against it, and AP against the thresholds that act on it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from rspose.grid.record import Record
from rspose.reporting.panels import (
    GREY,
    NORMAL,
    SMALL,
    Runs,
    draw_line,
    legend,
    mark_of,
    marks_of,
    models_and_heads,
    new_figure,
    panel_title,
    panels,
    runs_of,
)
from rspose.reporting.style import loss_colour, loss_marker

# A mean over fewer pairs moves about too much to be read.
_FEWEST = 10
_LEVELS = {
    "keypoint": ("keypoint confidence", "mean keypoint similarity"),
    "pose": ("pose score", "mean OKS"),
}
_DIAGONAL: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": (0, (4, 3))}
_WITHOUT: dict[str, Any] = {
    "linestyle": (0, (3, 1.5)),
    "linewidth": 1.1,
    "markersize": 4,
    "markeredgewidth": 0,
}
_THRESHOLDS = {"nms": "OKS-NMS threshold", "keypoint_score": "keypoint score threshold"}


def calibration_figure(records: Sequence[Record]) -> Figure | None:
    """Mean quality by confidence, of keypoints and of poses; a panel per level, model and head.

    On the diagonal a confidence is what it promises; a steep line orders well. The size of a marker says how
    many of the loss's predictions are there; a line stops where there are too few. Seeds are put together.
    The legend of a panel has the correlations of each loss, means over its seeds.

    Args:
        records: Of one dataset.

    Returns:
        None where no record has a calibration curve.
    """
    runs = runs_of(records, lambda record: record.content["confidence"].get("calibration"))
    if not runs:
        return None
    columns = models_and_heads(runs)
    subject = "Localisation quality against confidence"
    figure = new_figure(subject, runs, 4.6 * len(columns) + 0.4, 6.8)
    grid = panels(figure, len(_LEVELS), len(columns), sharex=True, sharey=True)
    for axes, (model, head) in zip(grid[0], columns, strict=True):
        axes.set_title(panel_title(model, head, runs), fontsize=NORMAL, fontweight="bold")
    for row, (level, (confidence, quality)) in zip(grid, _LEVELS.items(), strict=True):
        for axes, (model, head) in zip(row, columns, strict=True):
            drawn = [each for each in runs if (each.model, each.head) == (model, head)]
            axes.plot([0, 1], [0, 1], **_DIAGONAL)
            for each in drawn:
                x, y, share = calibration_curve(each, level)
                axes.plot(x, y, color=loss_colour(each.loss), linewidth=1.3)
                axes.scatter(
                    x,
                    y,
                    s=12 + 260 * share,
                    color=loss_colour(each.loss),
                    marker=loss_marker(each.loss),
                    edgecolors="white",
                    linewidths=0.4,
                    clip_on=False,
                    zorder=3,
                )
            axes.set(xlim=(0, 1), ylim=(0, 1))
            axes.set_xlabel(confidence, fontsize=NORMAL)
            axes.xaxis.set_tick_params(labelbottom=True)
            axes.legend(
                handles=[mark_of(each, _correlations(each, level)) for each in drawn],
                title="Spearman's ρ, Pearson's r",
                title_fontsize=SMALL,
                fontsize=SMALL,
                loc="upper left",
                bbox_to_anchor=(1.0, 1.0),
                frameon=False,
                handlelength=1.4,
            )
        row[0].set_ylabel(quality, fontsize=NORMAL)
    marks = [Line2D([], [], **_DIAGONAL, label="confidence equals quality")]
    marks += [Line2D([], [], linestyle="", label="larger markers: more predictions")]
    legend(figure, runs, marks)
    return figure


def calibration_curve(runs: Runs, level: str) -> tuple[NDArray, NDArray, NDArray]:
    """Mean confidence, mean quality and share of the pairs of each bin, over the seeds.

    The first two are NaN in a bin with too few pairs.
    """
    curves = [record.content["confidence"]["calibration"][level] for record in runs.records]
    counts = np.array([curve["count"] for curve in curves])
    confidence, quality = (
        # None, of an empty bin, weighs nothing.
        (np.array([curve[name] for curve in curves], dtype=float), counts)
        for name in ("confidence", "quality")
    )
    total = counts.sum(axis=0)
    enough = total >= _FEWEST
    x, y = (
        np.where(enough, (np.nan_to_num(values) * weight).sum(axis=0) / np.maximum(total, 1), np.nan)
        for values, weight in (confidence, quality)
    )
    return x, y, total / max(total.sum(), 1)


def _correlations(runs: Runs, level: str) -> str:
    numbers = []
    for name in ("spearman", "pearson"):
        values = runs.values(f"confidence.{level}.{name}")
        numbers.append(f"{np.mean(values):.2f}" if values else "—")
    return f"{runs.title}  {', '.join(numbers)}"


def threshold_figure(records: Sequence[Record]) -> Figure | None:
    """AP against the OKS-NMS threshold and the keypoint score threshold; a row per model and head.

    Full lines: scores from confidences; dashed: without rescoring, a detection keeps the score of its box.
    Means over the seeds. A grey line marks the threshold of the tables.

    Args:
        records: Of one dataset.

    Returns:
        None where no record has these curves: ground-truth boxes know no suppression.
    """
    runs = runs_of(records, lambda record: record.content.get("diagnosis", {}).get("thresholds"))
    if not runs:
        return None
    rows = models_and_heads(runs)
    figure = new_figure("AP by threshold", runs, 8.2, 2.9 * len(rows) + 1.1)
    grid = panels(figure, len(rows), len(_THRESHOLDS), sharey="row")
    for row, (model, head) in zip(grid, rows, strict=True):
        for axes, (name, label) in zip(row, _THRESHOLDS.items(), strict=True):
            for each in runs:
                if (each.model, each.head) != (model, head):
                    continue
                curves = [record.content["diagnosis"]["thresholds"][name] for record in each.records]
                x = curves[0]["threshold"]
                for key, changes in (
                    ("AP", {}),
                    ("AP_box_score", _WITHOUT),
                ):
                    values = np.array([curve[key] for curve in curves], dtype=float)
                    draw_line(axes, each, x, 100 * values.mean(axis=0), **changes)
            protocol = runs[0].records[0].content["protocol"]
            axes.axvline(
                protocol["nms_threshold" if name == "nms" else "keypoint_score_threshold"],
                color=GREY,
                linewidth=0.9,
                linestyle=":",
            )
            axes.set_xlabel(label, fontsize=NORMAL)
        row[0].set_ylabel(f"{panel_title(model, head, runs)}: AP (%)", fontsize=NORMAL)
    further = [
        Line2D([], [], color=GREY, linestyle=_WITHOUT["linestyle"], label="without rescoring"),
        Line2D([], [], color=GREY, linestyle=":", label="as in the tables"),
    ]
    legend(figure, runs, [*marks_of(runs), *further])
    return figure
