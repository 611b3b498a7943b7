"""The charts of the benchmark, each defined once, for paper and for the page, as Vega-Lite by Altair.

A chart is made from a frame of :mod:`rspose.reporting.chart_frames`. It is a row of panels that wraps, and
names neither colours nor fonts: those are in the config of :func:`vega_config`, and so is how each loss
looks, the same in every chart.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from rspose.datasets import DATASETS
from rspose.reporting import chart_frames as frames
from rspose.reporting.results import Results
from rspose.reporting.style import dataset_title, head_label, loss_colour, loss_shape, on_dark

# Of the cividis map: from light to dark with any colour vision and on a grey print. No loss has them.
_KIND_COLOURS = ("#FDEA9B", "#C9B97B", "#8C8A7E", "#515C74", "#0A2A5E", "#B5403C")
_KIND_SHAPES = ("circle", "circle", "triangle-up", "square", "diamond", "cross")
_KINDS = (*frames.ERRORS, "oracle scores")
_DASHES: list[list[float]] = [[1, 0], [6, 2], [2, 1.5], [7, 2, 2, 2], [3, 3], [9, 1.5, 1.5, 1.5]]
_BODY = {"height": 330, "width": 250}

_Draw = Callable[[pd.DataFrame, Sequence[str]], alt.FacetChart]


@dataclass(frozen=True)
class Chart:
    """A chart that can be made from any records."""

    name: str  # of its files, as <dataset>_<name>.png
    title: str
    explained: str  # how it is read
    frame: Callable[[Any], pd.DataFrame]  # its numbers, of all results or of the file of localisation
    draw: _Draw  # of numbers, which have a column "panel", and the labels of all losses


def specification(chart: Chart, frame: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    """The chart of rows of its frame, which are of one dataset, as Vega-Lite; ``labels`` of all losses."""
    models = frame.model.nunique() > 1
    titles = [
        f"{model}, {head_label(head)}" if models else head_label(head)
        for model, head in zip(frame.model, frame["head"], strict=True)
    ]
    return chart.draw(frame.assign(panel=titles), labels).to_dict()


def vega_config(losses: Mapping[str, str], page: bool = False) -> dict[str, Any]:
    """How charts look: all losses of the results, in their order, on the page or on paper.

    The browser of the page chooses light or dark; paper is light.
    """

    def either(light: str, dark: str) -> str:
        return f"light-dark({light},{dark})" if page else light

    ink, faint, line = (
        either(*pair) for pair in (("#1B1D20", "#E6E6E3"), ("#6E6E6E", "#A2A7AD"), ("#E0E0E0", "#363A40"))
    )
    words = {"labelColor": ink, "titleColor": ink, "titleFontWeight": "normal", "labelLimit": 280}
    colours = [loss_colour(loss) for loss in losses]
    return {
        "background": "transparent" if page else "white",
        "range": {
            "category": [either(colour, on_dark(colour)) for colour in colours],
            "symbol": [loss_shape(loss) for loss in losses],
            "ordinal": [either(colour, on_dark(colour)) for colour in _KIND_COLOURS],
        },
        "axis": {**words, "domainColor": faint, "tickColor": faint, "gridColor": line, "titlePadding": 8,
                 "labelFlush": False, "labelOverlap": "greedy"},
        "axisQuantitative": {"grid": True, "tickCount": 6},
        "legend": {**words, "orient": "bottom", "direction": "horizontal", "columns": 6, "symbolSize": 90,
                   "symbolStrokeWidth": 1.8},
        "header": {"labelColor": ink, "labelFontSize": 12, "labelFontWeight": "bold", "labelLimit": 280},
        "title": {"color": ink, "subtitleColor": faint, "anchor": "start", "fontSize": 15, "offset": 14},
        "view": {"stroke": None},
        "facet": {"spacing": 28},
        "text": {"color": ink},
        "style": {
            "guide": {"color": faint, "strokeWidth": 1, "strokeDash": [4, 3]},
            "piece": {"stroke": either("#FFFFFF", "#16181B")},
            "limb": {"color": faint, "strokeWidth": 2},
            "better": {"color": line, "opacity": 0.6},
            "faint": {"color": faint},
        },
    }  # fmt: skip


def page_charts(results: Results) -> list[dict[str, Any]]:
    """Every chart of every dataset and model, with its title and how it is read; ready for JSON."""
    labels = list(frames.losses(results).values())
    numbers = [(chart, frame) for chart in CHARTS if len(frame := chart.frame(results))]
    models = sorted({model for _, frame in numbers for model in frame.model})
    return [
        {
            "kind": chart.name,
            "title": chart.title,
            "explained": chart.explained,
            "dataset": dataset_title(dataset),
            "model": model,
            "spec": specification(chart, part, labels),
        }
        for dataset, model, (chart, frame) in product(results.all_metrics, models, numbers)
        if len(part := frame[(frame.dataset == dataset) & (frame.model == model)])
    ]


CHARTS: list[Chart] = []
"""In the order of the page."""


def _chart(
    name: str, title: str, explained: str, frame: Callable[[Results], pd.DataFrame]
) -> Callable[[_Draw], _Draw]:
    def add(draw: _Draw) -> _Draw:
        CHARTS.append(Chart(name, title, explained, frame, draw))
        return draw

    return add


@_chart(
    "differences",
    "Difference to MSE",
    "Paired differences in the main metric with 95 % intervals of all comparisons together. Filled: better "
    "or worse by more than the grey region, which is of no practical importance; hollow: equivalent, or "
    "undecided, since the interval is not clear of that region (more seeds narrow it).",
    frames.differences,
)
def _differences(frame: pd.DataFrame, labels: Sequence[str]) -> alt.FacetChart:
    x = alt.X("difference:Q", title=f"{frame.metric.iloc[0]}, percentage points")
    tooltip = _tooltip(loss="", difference="+.2f", low="+.2f", high="+.2f", p=".3f", verdict="", basis="")
    interval, points = _forest(frame, labels, x, tooltip, 110)
    points = points.encode(shape=_by_loss(alt.Shape, labels))
    return _panels(frame, _region(frame, "x"), _guide(x=0), interval, points, height=alt.Step(22))


def _forest(
    frame: pd.DataFrame, labels: Sequence[str], x: alt.X, tooltip: list[alt.Tooltip], size: int
) -> tuple[alt.Chart, alt.Chart]:
    """A row a loss: its interval, and a point that is filled or hollow."""
    base = alt.Chart().encode(y=_rows(frame, labels), color=_by_loss(alt.Color, labels))
    points = base.mark_point(size=size, strokeWidth=1.7, opacity=1).encode(
        x=x,
        fill=_by_loss(alt.Fill, labels),
        fillOpacity=alt.when("datum.filled").then(alt.value(1)).otherwise(alt.value(0)),
        tooltip=tooltip,
    )
    return base.mark_rule(strokeWidth=1.7).encode(x="low:Q", x2="high:Q"), points


@_chart(
    "lengths",
    "Difference to MSE along the training length",
    "Paired differences in the main metric with 95 % intervals of all comparisons together, by the training "
    "length as a multiple of the recipe's. Grey: a region of no practical importance. Each head has its own "
    "scale.",
    frames.lengths,
)
def _lengths(frame: pd.DataFrame, labels: Sequence[str]) -> alt.FacetChart:
    # Beside each other, or the intervals of one length would hide each other.
    present = _present(frame, labels)
    beside = frame.loss.map(present.index) - (len(present) - 1) / 2
    base, highlighted = _highlighted(frame, labels)
    base = base.encode(
        x=alt.X(
            "shown:Q",
            title="training length (times the recipe's epochs)",
            scale=alt.Scale(type="log", base=2, nice=False, padding=12),
            axis=alt.Axis(values=sorted(frame.length.unique()), format="~g"),
        ),
        tooltip=_tooltip(loss="", length="", difference="+.2f", low="+.2f", high="+.2f", verdict=""),
    )
    y = alt.Y("difference:Q", title=f"{frame.metric.iloc[0]} minus MSE's, percentage points")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        y=y, shape=_by_loss(alt.Shape, labels, frame)
    )
    line = base.mark_line(strokeWidth=1.5).encode(y=y).add_params(highlighted)
    interval = base.mark_rule(strokeWidth=1.2).encode(y=alt.Y("low:Q"), y2="high:Q")
    # A scale for each head: seeds scatter much more in 1D.
    panels = _panels(
        frame.assign(shown=frame.length * 2 ** (0.06 * beside)),
        _region(frame, "y"),
        _guide(y=0),
        interval,
        line,
        points,
        height=300,
        most=2,
    )
    return panels.resolve_scale(y="independent")


@_chart(
    "calibration",
    "Confidence against quality",
    "Mean similarity of the keypoints by their confidence, mean OKS of the poses by their score. Dashed: "
    "confidence equals quality. Larger: more of a loss's predictions.",
    frames.calibration,
)
def _calibration(frame: pd.DataFrame, labels: Sequence[str]) -> alt.FacetChart:
    x = alt.X("confidence:Q", title="confidence", scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("quality:Q", title="mean quality", scale=alt.Scale(domain=[0, 1]))
    tooltip = _tooltip(loss="", confidence=".2f", quality=".2f", share=".1f")
    line, points = _curves(frame, labels, alt.Undefined, tooltip, x=x, y=y, order="bin:O")
    points = points.encode(size=alt.Size("share:Q", scale=alt.Scale(range=[15, 280]), legend=None))
    return _panels(
        frame.assign(panel=frame.level + ", " + frame.panel),
        _guide(x=0, x2=1, y=0, y2=1),
        line,
        points,
        height=300,
        most=2,
    )


@_chart(
    "correlations",
    "How well confidence orders quality",
    "Filled: Spearman's ρ; hollow: Pearson's r. Means over the seeds, with 95 % intervals.",
    frames.correlations,
)
def _correlations(frame: pd.DataFrame, labels: Sequence[str]) -> alt.FacetChart:
    title = "correlation of confidence and quality"
    tooltip = _tooltip(loss="", coefficient="", value=".3f", low=".3f", high=".3f")
    order = alt.YOffset("coefficient:N", sort=list(frame.coefficient.unique()))
    interval, points = (
        layer.encode(yOffset=order)
        for layer in _forest(
            frame, labels, alt.X("value:Q", title=title, scale=alt.Scale(zero=False)), tooltip, 60
        )
    )
    return _panels(
        frame.assign(panel=frame.level + ", " + frame.panel), interval, points, height=alt.Step(11), most=2
    )


@_chart(
    "errors",
    "Keypoint errors after Ronchi and Perona",
    "Share of good keypoints and of each kind of error, means over the seeds.",
    frames.errors,
)
def _errors(frame: pd.DataFrame, labels: Sequence[str]) -> alt.FacetChart:
    kinds = list(frames.ERRORS)
    share = alt.X("value:Q", title="share of the keypoints (%)", scale=alt.Scale(domain=[0, 100]))
    base = alt.Chart().encode(y=_rows(frame, labels), order="order:Q")
    bars = base.mark_bar(style="piece", strokeWidth=0.6).encode(
        x=share.stack("zero"),
        color=alt.Color(
            "kind:N",
            title=None,
            scale=alt.Scale(domain=_KINDS, range="ordinal"),
            legend=alt.Legend(values=kinds),
        ),
        tooltip=_tooltip(loss="", kind="", value=".1f"),
    )
    numbers = base.mark_text(fontSize=10).encode(
        x=share.stack("zero").bandPosition(0.5),
        text=alt.Text("value:Q", format=".0f"),
        color=alt.Color("ink:N", scale=None),
        opacity=alt.when("datum.value >= 5").then(alt.value(1)).otherwise(alt.value(0)),
    )
    place = frame.kind.map(kinds.index)
    inks = np.where(place < 3, "#000000", "#FFFFFF")
    return _panels(frame.assign(order=place, ink=inks), bars, numbers, height=alt.Step(20))


@_chart(
    "gains",
    "What repairing an error would gain",
    "Gain in the main metric if one kind of error were repaired, or in AP if the scores were oracle scores; "
    "means over the seeds.",
    frames.gains,
)
def _gains(frame: pd.DataFrame, labels: Sequence[str]) -> alt.FacetChart:
    present = [kind for kind in _KINDS if (frame.kind == kind).any()]
    legend: dict[str, Any] = {"title": None, "legend": alt.Legend(values=present)}
    shapes = alt.Scale(domain=_KINDS, range=_KIND_SHAPES)
    points = (
        alt.Chart()
        .mark_point(filled=True, size=90, opacity=1, stroke="#80808080", strokeWidth=0.5)
        .encode(
            y=_rows(frame, labels),
            x=alt.X("value:Q", title=f"{' or '.join(frame.metric.unique())} gained if repaired (points)"),
            color=alt.Color("kind:N", scale=alt.Scale(domain=_KINDS, range="ordinal"), **legend),
            shape=alt.Shape("kind:N", scale=shapes, **legend),
            tooltip=_tooltip(loss="", kind="", metric="", value="+.2f"),
        )
    )
    return _panels(frame, _guide(x=0), points, height=alt.Step(20))


@_chart(
    "thresholds",
    "AP by threshold",
    "Thresholds of OKS-NMS and of keypoint scores. Dashed: without rescoring, a detection keeps the score of "
    "its box. A thin line marks the threshold of the tables. Means over the seeds.",
    frames.thresholds,
)
def _thresholds(frame: pd.DataFrame, labels: Sequence[str]) -> alt.FacetChart:
    x = alt.X("threshold:Q", title="threshold", scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("value:Q", title="AP (%)", scale=alt.Scale(zero=False))
    tooltip = _tooltip(loss="", scores="", threshold="", value=".1f")
    line, points = _curves(frame, labels, 35, tooltip, x=x, y=y)
    dashes = alt.Scale(domain=list(frame.scores.unique()), range=[[1, 0], [4, 2]])
    line = line.encode(strokeDash=alt.StrokeDash("scores:N", legend=None, scale=dashes))
    own = alt.Chart().mark_rule(style="guide").encode(x="mean(protocol):Q")
    frame = frame.assign(panel=frame.kind + ", " + frame.panel)
    return _panels(frame, own, line, points, height=260, most=2)


@_chart(
    "tuning",
    "What tuning found",
    "Expected best score of a number of trials (Dodge et al., 2019): keypoint AP on training images that are "
    "held out. Where a line still rises, more trials would have found more.",
    frames.tuning,
)
def _tuning(frame: pd.DataFrame, labels: Sequence[str]) -> alt.FacetChart:
    x = alt.X("trials:Q", title="trials", axis=alt.Axis(format="d", tickMinStep=1))
    y = alt.Y("value:Q", title="expected best score (%)", scale=alt.Scale(zero=False))
    tooltip = _tooltip(loss="", trials="", value=".1f")
    return _panels(frame, *_curves(frame, labels, 50, tooltip, x=x, y=y), height=260, most=2)


@_chart(
    "pck",
    "PCK by threshold",
    "The share of joints nearer to their true place than a fraction of the torso. Means over the seeds.",
    frames.pck,
)
def _pck(frame: pd.DataFrame, labels: Sequence[str]) -> alt.FacetChart:
    x, y = alt.X("limit:Q", title="fraction of the torso"), alt.Y("value:Q", title="PCK (%)")
    tooltip = _tooltip(loss="", limit=".2f", value=".1f")
    return _panels(frame, *_curves(frame, labels, 20, tooltip, x=x, y=y), height=260, most=2)


@_chart(
    "learning_curves",
    "Loss in training",
    "A line a seed; every panel has its own scale, since losses differ in what their values mean.",
    frames.learning_curves,
)
def _learning_curves(frame: pd.DataFrame, labels: Sequence[str]) -> alt.FacetChart:
    # A loss, then its terms, which are named where the first seed's line ends.
    place = frame.groupby("cell").term.transform(lambda terms: pd.factorize(terms)[0])
    first = (place > 0) & (frame.seed == frame.groupby("cell").seed.transform("min"))
    frame = frame.assign(
        panel=frame.loss + ", " + frame.panel,
        place=place,
        said=frame.term.where(first, ""),
        last=[values[-1] for values in frame.value],
    )
    dashes = alt.Scale(domain=[0, 1, 2, 3, 4], range=[[1, 0], [5, 2], [2, 2], [6, 2, 2, 2], [9, 3]])
    base = alt.Chart().encode(color=_by_loss(alt.Color, labels))
    line = base.mark_line(strokeWidth=1.5, opacity=0.75).encode(
        x=alt.X("iteration:Q", title="iteration"),
        y=alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=4)),
        strokeDash=alt.StrokeDash("place:O", scale=dashes, legend=None),
        detail=["seed:N", "term:N"],
        tooltip=_tooltip(loss="", seed="", term="", iteration="", value=".4g"),
    )
    words = base.mark_text(align="right", dy=-8, fontSize=9).encode(
        x=alt.X("max(iteration):Q", title="iteration"), y=alt.Y("mean(last):Q", title=None), text="said:N"
    )
    panels = _panels(frame, line, words, height=110, width=150, most=6).resolve_scale(y="independent")
    return panels.transform_flatten(["iteration", "value"])


@_chart(
    "factors",
    "What losses learned per keypoint",
    "Means over the seeds, on a person who faces us.",
    frames.factors,
)
def _factors(frame: pd.DataFrame, labels: Sequence[str]) -> alt.FacetChart:
    joints = DATASETS[frame.dataset.iloc[0]].keypoints
    crowded = len(joints) > joints.body
    at = {joint: (x, y) for joint, x, y in zip(frame.joint, frame.x, frame.y, strict=True)}
    ends = [(*at[joints.names[a]], *at[joints.names[b]]) for a, b in joints.skeleton]
    limbs = alt.Chart(_values(pd.DataFrame(ends, columns=["x", "y", "x2", "y2"]))).mark_rule(style="limb")
    width, top = (6.2, 14.4) if crowded else (4.2, 10.2)
    x = alt.X("x:Q", axis=None, scale=alt.Scale(domain=[-width, width], nice=False))
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[-1.2, top], nice=False))
    base = alt.Chart().encode(x=x, y=y)
    points = base.mark_circle(size=30 if crowded else 110, stroke="black", strokeWidth=0.6, opacity=1).encode(
        color=alt.Color("value:Q", title=None, scale=alt.Scale(scheme="cividis", zero=False)),
        tooltip=_tooltip(loss="", name="", joint="", value=".4f"),
    )
    sides = pd.DataFrame({"x": [-3.2, 3.2], "y": [top - 0.6] * 2, "side": ["right", "left"]})
    said = alt.Chart(_values(sides)).mark_text(style="faint", fontSize=10).encode(x=x, y=y, text="side:N")
    layers = [limbs.encode(x=x, y=y, x2="x2", y2="y2"), points, said]
    if not crowded:  # else colours alone say the values
        beside: dict[str, Any] = {"<": ("right", -9, 0), "==": ("center", 0, 13), ">": ("left", 9, 0)}
        for side, (align, dx, dy) in beside.items():  # beside nose and pelvis are ears and hips
            text = base.mark_text(align=align, dx=dx, dy=dy, fontSize=9).transform_filter(f"datum.x {side} 0")
            layers.append(text.encode(text=alt.Text("value:Q", format=".3f")))
    frame = frame.assign(panel=frame.loss + ", " + frame.panel + ": " + frame.name)
    return _panels(frame, *layers, most=4, **_BODY)


@_chart(
    "cost",
    "Accuracy against the cost of the loss",
    "Time of a whole training step, model and data included, on the machine that trained the cell; the "
    "bars span the seeds.",
    frames.cost,
)
def _cost(frame: pd.DataFrame, labels: Sequence[str]) -> alt.FacetChart:
    base, highlighted = _highlighted(frame, labels)
    x = alt.X("ms:Q", title="time of a training step (ms)", scale=alt.Scale(zero=False, padding=14))
    y = alt.Y("value:Q", title=f"{frame.metric.iloc[0]} (%)", scale=alt.Scale(zero=False, padding=14))
    across = base.mark_rule().encode(x="ms_low:Q", x2="ms_high:Q", y=y)
    along = base.mark_rule().encode(x=x, y="value_low:Q", y2="value_high:Q")
    points = base.mark_point(filled=True, size=120, opacity=1).encode(
        x=x, y=y, shape=_by_loss(alt.Shape, labels, frame), tooltip=_tooltip(loss="", ms=".0f", value=".1f")
    )
    return _panels(frame, across, along, points.add_params(highlighted), height=300, width=320)


def _localisation(frame: pd.DataFrame, labels: Sequence[str]) -> alt.FacetChart:
    frame = frame.assign(panel=frame.panel + ": " + frame.path)
    x = alt.X("error:Q", title="localisation error (σ of the label)", scale=alt.Scale(nice=False))
    y = alt.Y("value:Q", title="loss, relative", scale=alt.Scale(domain=[0, 2]))
    dashes = [*_DASHES * len(labels)][: len(labels)]
    base, highlighted = _highlighted(frame, labels)
    line = base.mark_line(strokeWidth=1.8, clip=True).encode(
        x=x,
        y=y,
        strokeDash=_by_loss(alt.StrokeDash, labels, frame, dashes),
        tooltip=_tooltip(loss="", error=".2f", value=".3f"),
    )
    better = alt.Chart().mark_rect(style="better").encode(y=alt.Y("min(low):Q"), y2=alt.Y2("max(high):Q"))
    return _panels(frame, better, line.add_params(highlighted), height=190, width=200, most=4)


def _panels(
    frame: pd.DataFrame, *layers: alt.Chart, height: Any, width: int = 280, most: int = 3
) -> alt.FacetChart:
    """The layers once a panel, ``most`` beside each other; the panels in the order of the frame."""
    titles = list(dict.fromkeys(frame.panel))
    facet = alt.Facet("panel:N", title=None, sort=titles)
    width = max(width, 7 * max(map(len, titles)))  # titles stand beside each other
    layered = alt.layer(*layers, data=_values(frame)).properties(height=height, width=width)
    return layered.facet(facet=facet, columns=min(most, len(titles)))


def _values(frame: pd.DataFrame) -> alt.InlineData:
    """The rows of the frame, to five digits; None for what is not a number."""

    def rounded(value: Any) -> Any:
        if isinstance(value, list):
            return [rounded(each) for each in value]
        if isinstance(value, float):
            return float(f"{value:.5g}") if np.isfinite(value) else None
        return value

    shown = frame.drop(columns=["dataset", "model", "head"], errors="ignore").to_dict("records")
    return alt.InlineData(values=[{str(name): rounded(row[name]) for name in row} for row in shown])


def _rows(frame: pd.DataFrame, labels: Sequence[str]) -> alt.Y:
    """A row a loss that the frame has."""
    return alt.Y("loss:N", title=None, scale=alt.Scale(domain=_present(frame, labels)))


def _present(frame: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    return [label for label in labels if (frame.loss == label).any()]


def _by_loss(
    channel: Any, labels: Sequence[str], frame: pd.DataFrame | None = None, looks: Any = None
) -> Any:
    """How a loss looks, the same everywhere: the scale knows all, the legend those that the frame has."""
    looks = looks or ("symbol" if channel is alt.Shape else "category")
    legend = None if frame is None else alt.Legend(title=None, values=_present(frame, labels))
    return channel("loss:N", scale=alt.Scale(domain=labels, range=looks), legend=legend)


def _highlighted(frame: pd.DataFrame, labels: Sequence[str]) -> tuple[alt.Chart, alt.Parameter]:
    """Marks in the colour of their loss; clicked in the legend it stands alone, with shift beside others."""
    chosen = alt.selection_point(fields=["loss"], bind="legend")
    opacity = alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.1))
    return alt.Chart().encode(color=_by_loss(alt.Color, labels, frame), opacity=opacity), chosen


def _curves(
    frame: pd.DataFrame, labels: Sequence[str], size: Any, tooltip: list[alt.Tooltip], **encoding: Any
) -> tuple[alt.Chart, alt.Chart]:
    """A line a loss, which the legend chooses by, and its points, which tell their numbers."""
    base, highlighted = _highlighted(frame, labels)
    base = base.encode(**encoding)
    points = base.mark_point(filled=True, size=size, opacity=1)
    points = points.encode(shape=_by_loss(alt.Shape, labels, frame), tooltip=tooltip)
    return base.mark_line(strokeWidth=1.5).add_params(highlighted), points


def _guide(mark: Any = "rule", style: str = "guide", **ends: float) -> alt.Chart:
    """A line, or an area, that helps reading."""
    places = {name: alt.datum(value) for name, value in ends.items()}
    return alt.Chart(alt.InlineData(values=[{}]), mark=alt.MarkDef(mark, style=style)).encode(**places)


def _region(frame: pd.DataFrame, axis: str) -> alt.Chart:
    """The region of practical equivalence as a band along the other axis."""
    reach = float(frame.region.iloc[0])
    return _guide("rect", "better", **{axis: -reach, f"{axis}2": reach})


def _tooltip(**formats: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(name, type="quantitative", format=found) if found else alt.Tooltip(name, type="nominal")
        for name, found in formats.items()
    ]


LOCALISATION = Chart(
    "figure",
    "Loss against localisation",
    "Where the peak only moves, a loss is relative to its value at the end, elsewhere to that at the start: "
    "in grey, below 1, it prefers a worse localised map to the one it started from.",
    frames.localisation,
    _localisation,
)
