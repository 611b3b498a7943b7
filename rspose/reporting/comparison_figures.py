"""Losses compared: what is wrong with their keypoints, what mending it would bring, and who beats MSE."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rspose.grid.record import Record
from rspose.reporting.panels import (
    GREY,
    NORMAL,
    SMALL,
    Runs,
    legend,
    models_and_heads,
    new_figure,
    panel_title,
    panels,
    runs_of,
)
from rspose.reporting.results import Results
from rspose.reporting.statistics import REFERENCE, SIGNIFICANCE, Comparison, comparisons
from rspose.reporting.style import loss_colour, loss_marker, main_metric

# Colours of the cividis map: from light to dark with any colour vision and on a grey print. No loss has them.
_KINDS = {
    "good": ("good", "#FDEA9B", "o"),
    "jitter": ("jitter", "#C9B97B", "o"),
    "inversion": ("inversion", "#8C8A7E", "^"),
    "swap": ("swap", "#515C74", "s"),
    "miss": ("miss", "#0A2A5E", "D"),
}
_ORDERING = ("oracle scores", "#B5403C", "*")


def error_figure(records: Sequence[Record]) -> Figure | None:
    """Errors of the keypoints by loss, and what the main metric would gain without them.

    A row per model and head. To the left the shares of good keypoints, jitters, inversions, swaps and misses
    (:mod:`rspose.evaluation.errors`); to the right the gain if one kind were repaired, or, on detections, if
    the scores were oracle scores. Means over the seeds.

    Args:
        records: Of one dataset.

    Returns:
        None where no record has a diagnosis.
    """
    runs = runs_of(records, lambda record: record.scores.get("diagnosis.errors.good") is not None)
    if not runs:
        return None
    metric = main_metric(records[0].cell.dataset)
    rows = models_and_heads(runs)
    lines = [[each for each in runs if (each.model, each.head) == row] for row in rows]
    height = sum(0.3 * len(line) + 0.75 for line in lines)
    figure = new_figure("Keypoint errors after Ronchi and Perona", runs, 9.6, height + 1.1)
    grid = panels(
        figure, len(rows), 2, sharex="col", sharey="row", height_ratios=[len(line) + 1 for line in lines]
    )
    scored = any(each.values("diagnosis.ordering.AP_lost") for each in runs)
    for (shares, gains), (model, head), line in zip(grid, rows, lines, strict=True):
        for place, each in enumerate(line):
            _draw_shares(shares, place, each)
            _draw_gains(gains, place, each)
        shares.set_yticks(range(len(line)), [each.title for each in line], fontsize=SMALL)
        shares.set(ylim=(len(line) - 0.45, -0.55), xlim=(0, 100))
        shares.grid(visible=False)
        shares.set_ylabel(panel_title(model, head, runs), fontsize=NORMAL, fontweight="bold")
        gains.axvline(0, color=GREY, linewidth=0.8)
        gains.tick_params(labelleft=False)
    grid[-1][0].set_xlabel("share of the keypoints (%)", fontsize=NORMAL)
    grid[-1][1].set_xlabel(f"{metric} gained if repaired (percentage points)", fontsize=NORMAL)
    marks = [
        Line2D([], [], linestyle="", marker=marker, color=colour, markersize=8, label=label)
        for name, (label, colour, marker) in _KINDS.items()
        if name != "good"
    ]
    if scored:
        label, colour, marker = _ORDERING
        marks.append(Line2D([], [], linestyle="", marker=marker, color=colour, markersize=10, label=label))
    label, colour, _ = _KINDS["good"]
    legend(figure, runs, [Patch(facecolor=colour, edgecolor=GREY, linewidth=0.5, label=label), *marks])
    return figure


def _draw_shares(axes: Axes, place: int, runs: Runs) -> None:
    left = 0.0
    for name, (_, colour, _) in _KINDS.items():
        share = 100 * float(np.mean(runs.values(f"diagnosis.errors.{name}")))
        axes.barh(place, share, left=left, height=0.72, color=colour, edgecolor="white", linewidth=0.6)
        if share >= 5:
            light = np.dot(to_rgb(colour), (0.299, 0.587, 0.114)) > 0.5
            axes.text(
                left + share / 2,
                place,
                f"{share:.0f}",
                ha="center",
                va="center",
                fontsize=SMALL - 1,
                color="black" if light else "white",
            )
        left += share


def _draw_gains(axes: Axes, place: int, runs: Runs) -> None:
    drawn = [(f"diagnosis.errors.gain.{name}", *_KINDS[name][1:]) for name in _KINDS if name != "good"]
    for score, colour, marker in (*drawn, ("diagnosis.ordering.AP_lost", *_ORDERING[1:])):
        if values := runs.values(score):
            size = 110 if marker == "*" else 45
            axes.scatter(
                100 * np.mean(values), place, s=size, color=colour, marker=marker, linewidths=0, zorder=3
            )


def difference_figure(records: Sequence[Record]) -> Figure | None:
    """A forest plot: the difference of every loss to MSE in the main metric, with its 95 % interval.

    A panel per model and head. A filled marker: the difference is one after Holm's correction over the
    comparisons in the figure; a hollow one: it may be none.

    Args:
        records: Of one dataset.

    Returns:
        None where there is nothing to compare with MSE.
    """
    runs = runs_of(records)
    if not runs:
        return None
    results = Results([record for each in runs for record in each.records])
    compared = [one for one in comparisons(results.differences) if one.dataset != "all"]
    if not compared:
        return None
    panels_of = list(dict.fromkeys((one.model, one.head) for one in compared))
    losses = list(dict.fromkeys(one.loss for one in compared))
    metric = compared[0].metric.removeprefix("metrics.")
    subject = f"Difference to {results.labels[REFERENCE]}"
    figure = new_figure(subject, runs, 3.4 * len(panels_of) + 1.2, 0.32 * len(losses) + 1.9)
    grid = panels(figure, 1, len(panels_of), sharex=True, sharey=True)[0]
    for axes, (model, head) in zip(grid, panels_of, strict=True):
        axes.axvline(0, color=loss_colour(REFERENCE), linewidth=1)
        for one in compared:
            if (one.model, one.head) == (model, head):
                _draw_difference(axes, losses.index(one.loss), one)
        axes.set_title(panel_title(model, head, runs), fontsize=NORMAL, fontweight="bold")
        axes.set_xlabel(f"{metric}, percentage points", fontsize=NORMAL)
    grid[0].set_yticks(range(len(losses)), [results.labels[loss] for loss in losses], fontsize=SMALL)
    grid[0].set_ylim(len(losses) - 0.5, -0.5)
    bases = {one.basis for one in compared} - {None}
    marks = [
        Line2D([], [], linestyle="", marker="o", color=GREY, label="differs (p < 0.05, Holm)"),
        Line2D([], [], linestyle="", marker="o", color=GREY, markerfacecolor="white", label="may be a tie"),
    ]
    if bases:
        marks.append(
            Line2D([], [], color=GREY, label=f"95 % interval over {' or '.join(sorted(map(str, bases)))}")
        )
    legend(figure, runs, marks)
    return figure


def _draw_difference(axes: Axes, place: int, compared: Comparison) -> None:
    colour = loss_colour(compared.loss)
    if compared.basis is not None:
        axes.plot([100 * compared.low, 100 * compared.high], [place, place], color=colour, linewidth=1.8)
    differs = compared.p_holm < SIGNIFICANCE
    axes.plot(
        100 * compared.difference,
        place,
        color=colour,
        marker=loss_marker(compared.loss),
        markersize=12 if loss_marker(compared.loss) == "*" else 8,
        markerfacecolor=colour if differs else "white",
        markeredgewidth=1.4,
    )
