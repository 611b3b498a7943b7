"""The charts of the report, as plotly.js reads them: plain dictionaries of traces and a layout.

They show what the study's figures show, from the same records. The page puts fonts, background and grid to
them, which depend on its theme.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rspose.datasets import DATASETS
from rspose.reporting.confidence_figures import calibration_curve
from rspose.reporting.panels import Runs, models_and_heads, runs_of
from rspose.reporting.results import Results, head_label
from rspose.reporting.statistics import REFERENCE, SIGNIFICANCE, comparisons
from rspose.reporting.style import dataset_title, loss_colour, loss_marker, main_metric
from rspose.reporting.training_figures import places

Chart = dict[str, Any]

_SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "*": "star",
    "P": "cross", "X": "x", "<": "triangle-left", ">": "triangle-right", "p": "pentagon", "h": "hexagon",
    "d": "diamond-tall", "8": "octagon",
}  # fmt: skip
_GREY = "#808080"
_BESIDE = {-1: "middle left", 0: "bottom center", 1: "middle right"}
_MOST_NUMBERS = 30  # with more keypoints, colours alone say the values
_GAP = 0.07  # between panels, as a share of the width
# Of the cividis map, as in the study's figure of errors.
_ERRORS = {
    "good": "#FDEA9B",
    "jitter": "#C9B97B",
    "inversion": "#8C8A7E",
    "swap": "#515C74",
    "miss": "#0A2A5E",
}


def charts(results: Results) -> list[dict[str, Any]]:
    """Every chart of every dataset and model, with its title and what it says; ready for JSON."""
    drawn = []
    for dataset in results.datasets:
        of_dataset = results.of(dataset)
        for model in dict.fromkeys(of_dataset.runs.model[~of_dataset.runs.control]):
            records = [record for record in of_dataset.records if record.cell.model == model]
            runs = runs_of(records)
            of_model = Results(records)
            for name, (title, explained, make) in _CHARTS.items():
                chart = make(of_model, runs)
                if chart is not None:
                    place = {"dataset": dataset_title(dataset), "model": model}
                    drawn.append({"kind": name, "title": title, "explained": explained, **place, **chart})
    return drawn


def _differences(results: Results, runs: Sequence[Runs]) -> Chart | None:
    compared = [one for one in comparisons(results.differences) if one.dataset != "all"]
    if not compared:
        return None
    heads = [head for _, head in models_and_heads(runs)]
    losses = list(dict.fromkeys(one.loss for one in compared))
    traces = []
    for one in compared:
        panel = heads.index(one.head)
        differs = one.p_holm < SIGNIFICANCE
        trace: dict[str, Any] = {
            "type": "scatter",
            "mode": "markers",
            "x": [_percent(one.difference)],
            "y": [results.labels[one.loss]],
            "xaxis": _axis("x", panel),
            "yaxis": "y",
            "name": results.labels[one.loss],
            "showlegend": False,
            "customdata": ["/".join(one[:4])],
            "marker": _marker(one.loss, 11, hollow=not differs),
            "hovertemplate": "%{y}: %{x:+.1f} points<extra>"
            + ("differs" if differs else "may be a tie")
            + "</extra>",
        }
        if one.basis is not None:
            trace["error_x"] = {
                "type": "data",
                "symmetric": False,
                "array": [_percent(one.high - one.difference)],
                "arrayminus": [_percent(one.difference - one.low)],
                "color": loss_colour(one.loss),
                "thickness": 2,
                "width": 0,
            }
        traces.append(trace)
    metric = compared[0].metric.removeprefix("metrics.")
    layout = _panels([head_label(head) for head in heads], f"{metric}, percentage points", shared="x")
    for panel in range(len(heads)):
        layout[_axis("xaxis", panel)] |= {"zeroline": True}
    order = [results.labels[loss] for loss in reversed(losses)]
    layout["yaxis"] = {
        "categoryorder": "array",
        "categoryarray": order,
        "automargin": True,
        "type": "category",
    }
    return {"traces": traces, "layout": layout, "height": 130 + 26 * len(losses)}


def _calibration(level: str) -> Callable[[Results, Sequence[Runs]], Chart | None]:
    def draw(results: Results, runs: Sequence[Runs]) -> Chart | None:
        having = [
            each for each in runs if all("calibration" in r.content["confidence"] for r in each.records)
        ]
        having = [
            each
            for each in having
            if all(level in record.content["confidence"]["calibration"] for record in each.records)
        ]
        if not having:
            return None
        heads = [head for _, head in models_and_heads(having)]
        traces = []
        for panel in range(len(heads)):
            traces.append(
                {
                    **_line_at(panel, [0, 1], [0, 1]),
                    "name": "confidence equals quality",
                    "showlegend": not panel,
                }
            )
        for each in having:
            x, y, share = calibration_curve(each, level)
            known = ~np.isnan(x)
            traces.append(
                {
                    **_series(each, heads, x[known].round(4), y[known].round(4)),
                    "text": [f"{100 * part:.1f} %" for part in share[known]],
                    "hovertemplate": "confidence %{x:.2f}, quality %{y:.2f}, %{text} of the predictions",
                }
            )
        layout = _panels([head_label(head) for head in heads], "confidence")
        for panel in range(len(heads)):
            layout[_axis("xaxis", panel)] |= {"range": [0, 1.02]}
        quality = "keypoint similarity" if level == "keypoint" else "OKS"
        layout["yaxis"] = {"title": {"text": quality}, "range": [0, 1.02]}
        return {"traces": traces, "layout": layout, "height": 420}

    return draw


def _thresholds(name: str, label: str) -> Callable[[Results, Sequence[Runs]], Chart | None]:
    def draw(results: Results, runs: Sequence[Runs]) -> Chart | None:
        having = [
            each
            for each in runs
            if all(record.content.get("diagnosis", {}).get("thresholds") for record in each.records)
        ]
        if not having:
            return None
        heads = [head for _, head in models_and_heads(having)]
        traces = []
        for each in having:
            curves = [record.content["diagnosis"]["thresholds"][name] for record in each.records]
            for key, dash, words in (("AP", "solid", ""), ("AP_box_score", "dot", ", without rescoring")):
                values = 100 * np.array([curve[key] for curve in curves], dtype=float).mean(axis=0)
                series = _series(each, heads, np.array(curves[0]["threshold"]), values.round(2))
                traces.append(
                    {
                        **series,
                        "line": {**series["line"], "dash": dash},
                        "showlegend": series["showlegend"] and not words,
                        "hovertemplate": f"{label} %{{x}}{words}: AP %{{y:.1f}}",
                    }
                )
        layout = _panels([head_label(head) for head in heads], label)
        layout["yaxis"] = {"title": {"text": "AP (%)"}}
        return {"traces": traces, "layout": layout, "height": 400}

    return draw


def _errors(results: Results, runs: Sequence[Runs]) -> Chart | None:
    having = [each for each in runs if each.values("diagnosis.errors.good")]
    if not having:
        return None
    heads = [head for _, head in models_and_heads(having)]
    traces = []
    for panel, head in enumerate(heads):
        of_head = [each for each in having if each.head == head]
        for name, colour in _ERRORS.items():
            shares = [_percent(float(np.mean(each.values(f"diagnosis.errors.{name}")))) for each in of_head]
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "x": shares,
                    "y": [each.title for each in of_head],
                    "xaxis": _axis("x", panel),
                    "yaxis": "y",
                    "name": name,
                    "legendgroup": name,
                    "showlegend": not panel,
                    "customdata": [_key(each) for each in of_head],
                    "text": [f"{share:.0f}" if share >= 5 else "" for share in shares],
                    "textposition": "inside",
                    "insidetextanchor": "middle",
                    "textangle": 0,
                    "marker": {"color": colour, "line": {"color": "#FFFFFF", "width": 0.6}},
                    "hovertemplate": f"%{{y}}: {name} %{{x:.1f}} %<extra></extra>",
                }
            )
    layout = _panels([head_label(head) for head in heads], "share of the keypoints (%)")
    for panel in range(len(heads)):
        layout[_axis("xaxis", panel)] |= {"range": [0, 100]}
    titles = list(dict.fromkeys(each.title for each in having))
    layout["yaxis"] = {"categoryorder": "array", "categoryarray": titles[::-1]}
    layout |= {"barmode": "stack", "bargap": 0.25}
    return {"traces": traces, "layout": layout, "height": 150 + 26 * len(titles)}


def _cost(results: Results, runs: Sequence[Runs]) -> Chart | None:
    metric = main_metric(runs[0].records[0].cell.dataset) if runs else ""
    having = [
        each
        for each in runs
        if each.values(f"metrics.{metric}")
        and all("seconds_per_iteration" in record.content["training"] for record in each.records)
    ]
    if not having:
        return None
    heads = [head for _, head in models_and_heads(having)]
    traces = []
    for each in having:
        milliseconds = [1000 * record.content["training"]["seconds_per_iteration"] for record in each.records]
        values = [100 * value for value in each.values(f"metrics.{metric}")]
        traces.append(
            {
                **_series(each, heads, np.mean([milliseconds], 1).round(2), np.mean([values], 1).round(2)),
                "mode": "markers",
                "marker": _marker(each.loss, 12),
                "error_x": _reach(milliseconds, each.loss),
                "error_y": _reach(values, each.loss),
                "hovertemplate": f"%{{x:.0f}} ms a step, {metric} %{{y:.1f}}",
            }
        )
    layout = _panels([head_label(head) for head in heads], "time of a training step (ms)")
    layout["yaxis"] = {"title": {"text": f"{metric} (%)"}}
    return {"traces": traces, "layout": layout, "height": 400}


def value_chart(dataset: str, name: str, values: NDArray) -> Chart:
    """What a loss learned about each keypoint, on a skeleton; as bars where the dataset's is not known.

    Args:
        dataset: Its keypoints are drawn.
        name: What was learned.
        values: One a keypoint.
    """
    shown = values.round(4).tolist()
    if dataset not in DATASETS or len(DATASETS[dataset].keypoints) != len(shown):
        trace = {
            "type": "bar",
            "y": shown,
            "marker": {"color": _GREY},
            "hovertemplate": "%{y}<extra></extra>",
        }
        return {"name": name, "traces": [trace], "layout": {"xaxis": {}, "yaxis": {}}, "height": 300}
    joints = DATASETS[dataset].keypoints
    at = places(joints).round(2)
    crowded = len(joints) > _MOST_NUMBERS
    limbs = {
        "type": "scatter",
        "mode": "lines",
        "x": [x for a, b in joints.skeleton for x in (float(at[a, 0]), float(at[b, 0]), None)],
        "y": [y for a, b in joints.skeleton for y in (float(at[a, 1]), float(at[b, 1]), None)],
        "line": {"color": _GREY, "width": 1.5},
        "hoverinfo": "skip",
    }
    points = {
        "type": "scatter",
        "mode": "markers" if crowded else "markers+text",
        "x": at[:, 0].tolist(),
        "y": at[:, 1].tolist(),
        "text": [f"{value:.3f}" for value in shown],
        "textposition": [_BESIDE[int(np.sign(x))] for x in at[:, 0]],
        "hovertext": [
            f"{joint.replace('_', ' ')}: {value:g}" for joint, value in zip(joints.names, shown, strict=True)
        ],
        "hoverinfo": "text",
        "marker": {
            "size": 7 if crowded else 14,
            "color": shown,
            "colorscale": "Cividis",
            "showscale": True,
            "colorbar": {"thickness": 12, "outlinewidth": 0},
            "line": {"color": _GREY, "width": 1},
        },
    }
    hidden = {"visible": False}
    layout = {"xaxis": hidden, "yaxis": {**hidden, "scaleanchor": "x"}, "showlegend": False}
    return {"name": name, "traces": [limbs, points], "layout": layout, "height": 520 if crowded else 460}


def _reach(values: Sequence[float], loss: str) -> dict[str, Any]:
    """A bar from the lowest to the highest of the seeds."""
    mean = np.mean(values)
    return {
        "type": "data",
        "symmetric": False,
        "array": [round(float(max(values) - mean), 3)],
        "arrayminus": [round(float(mean - min(values)), 3)],
        "visible": len(values) > 1,
        "color": loss_colour(loss),
        "thickness": 1,
        "width": 0,
    }


def _series(runs: Runs, heads: Sequence[str], x: NDArray, y: NDArray) -> dict[str, Any]:
    """A line with markers in the looks of the loss, in the panel of its head; in the legend once."""
    panel = heads.index(runs.head)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": runs.title,
        "legendgroup": runs.loss,
        "showlegend": not panel,
        "xaxis": _axis("x", panel),
        "yaxis": "y",
        "x": x.tolist(),
        "y": y.tolist(),
        "customdata": [_key(runs)] * len(x),
        "line": {"color": loss_colour(runs.loss), "width": 1.8},
        "marker": _marker(runs.loss, 8),
    }


def _line_at(panel: int, x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "xaxis": _axis("x", panel),
        "yaxis": "y",
        "line": {"color": _GREY, "width": 1, "dash": "dash"},
        "hoverinfo": "skip",
        "legendgroup": "guide",
    }


def _marker(loss: str, size: int, hollow: bool = False) -> dict[str, Any]:
    symbol = _SYMBOLS[loss_marker(loss)] + ("-open" if hollow else "")
    # A star of the same size looks smaller.
    larger = 1.35 if loss_marker(loss) == "*" else 1.0
    return {
        "symbol": symbol,
        "size": round(larger * size),
        "color": loss_colour(loss),
        "line": {"width": 2 if hollow else 0, "color": loss_colour(loss)},
    }


def _panels(titles: Sequence[str], label: str, shared: str = "") -> dict[str, Any]:
    """A layout of panels side by side with one vertical axis, each with its title above."""
    width = (1 - _GAP * (len(titles) - 1)) / len(titles)
    layout: dict[str, Any] = {"annotations": []}
    for panel, title in enumerate(titles):
        start = panel * (width + _GAP)
        axis: dict[str, Any] = {"domain": [start, start + width], "anchor": "y", "title": {"text": label}}
        if shared == "x" and panel:
            axis["matches"] = "x"
        layout[_axis("xaxis", panel)] = axis
        layout["annotations"].append(
            {
                "text": f"<b>{title}</b>",
                "x": start + width / 2,
                "y": 1,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "center",
                "yanchor": "bottom",
                "showarrow": False,
            }
        )
    return layout


def _axis(name: str, panel: int) -> str:
    return name if panel == 0 else f"{name}{panel + 1}"


def _key(runs: Runs) -> str:
    return "/".join(runs.records[0].cell[:4])


def _percent(value: float) -> float:
    return round(100 * value, 3)


_CHARTS: dict[str, tuple[str, str, Callable[[Results, Sequence[Runs]], Chart | None]]] = {
    "differences": (
        f"Difference to {REFERENCE.upper()}",
        "Paired differences in the main metric with their 95 % intervals. Filled: a difference after Holm's "
        "correction over the comparisons of this chart; hollow: it may be a tie.",
        _differences,
    ),
    "calibration_keypoint": (
        "Confidence against quality, keypoints",
        "Mean keypoint similarity of the predictions by their confidence. Dashed: confidence equals quality.",
        _calibration("keypoint"),
    ),
    "calibration_pose": (
        "Confidence against quality, poses",
        "Mean OKS of the detections by their score. Dashed: score equals OKS.",
        _calibration("pose"),
    ),
    "errors": (
        "Keypoint errors after Ronchi and Perona",
        "Share of good keypoints and of each kind of error, means over the seeds.",
        _errors,
    ),
    "nms": (
        "AP by threshold of OKS-NMS",
        "Dotted: without rescoring, a detection keeps the score of its box. Means over the seeds.",
        _thresholds("nms", "threshold of OKS-NMS"),
    ),
    "keypoint_score": (
        "AP by threshold of the keypoint scores",
        "Dotted: without rescoring, a detection keeps the score of its box. Means over the seeds.",
        _thresholds("keypoint_score", "threshold of the keypoint scores"),
    ),
    "cost": (
        "Accuracy against the cost of the loss",
        "Time of a whole training step, model and data included, on the machine that trained the cell; the "
        "bars span the seeds.",
        _cost,
    ),
}
