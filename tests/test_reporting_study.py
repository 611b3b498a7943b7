"""Figures and table of the confidence study: what stands where, what is left out, and nothing in the way."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.records import record, write
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from rspose.datasets import DATASETS
from rspose.datasets.coco import COCO
from rspose.grid.record import Record, read_record
from rspose.reporting.comparison_figures import difference_figure, error_figure
from rspose.reporting.confidence_figures import calibration_figure, threshold_figure
from rspose.reporting.results import Results
from rspose.reporting.study_figures import FIGURES, make_study_figures
from rspose.reporting.style import loss_colour, loss_marker
from rspose.reporting.tables import diagnosis_table
from rspose.reporting.training_figures import cost_figure, factor_figure, learning_curve_figure


def studied(loss: str = "mse", **arguments: Any) -> dict[str, Any]:
    """A record with all that the figures draw; numbers vary with the loss and the seed."""
    dataset, seed = arguments.get("dataset", "coco"), arguments.get("seed", 0)
    shift = 0.01 * (sum(map(ord, loss)) % 9) + 0.005 * seed
    metrics = {"AP": 0.4 + shift} if dataset == "coco" else {"PCKh": 0.7 + shift}
    content = record(loss=loss, **{"metrics": metrics, **arguments})
    bins = np.linspace(0.025, 0.975, 20)
    curve = {
        "confidence": bins.tolist(),
        "quality": (bins**2 + shift).clip(0, 1).tolist(),
        "count": [40] * 20,
    }
    content["confidence"]["calibration"] = {"keypoint": curve, "pose": curve}
    for level in ("keypoint", "pose"):
        content["confidence"][level]["pearson"] = 0.3 + shift
    errors = {"good": 0.55, "jitter": 0.2, "inversion": 0.1, "swap": 0.05, "miss": 0.1, "keypoints": 4000}
    gain = {"jitter": 0.03, "inversion": 0.02 + shift, "swap": 0.01, "miss": 0.05, "all": 0.12}
    content["diagnosis"] = {"errors": {**errors, "gain": gain}}
    if dataset != "mpii":
        content["diagnosis"]["ordering"] = {"AP_oracle_scores": 0.46 + shift, "AP_lost": 0.06}
        content["diagnosis"]["thresholds"] = {
            name: {"threshold": x, "AP": [0.4 + shift, 0.41, 0.42], "AP_box_score": [0.3, 0.31, 0.32 + shift]}
            for name, x in (("nms", [0.5, 0.9, 1.0]), ("keypoint_score", [0.0, 0.2, 0.9]))
        }
    content["training"]["curve"] = {"iteration": [10, 20, 30], "loss": [1.0 + shift, 0.6, 0.5]}
    content["training"]["seconds_per_iteration"] = 0.08 + shift
    return content


LOSSES = ("mse", "kl", "awing", "wahr", "fwahr", "heuristic", "kal", "fowkal", "dm", "rspose", "my_own_loss")


def crowded(losses: Sequence[str] = LOSSES, models: Sequence[str] = ("tiny",)) -> list[dict[str, Any]]:
    contents = []
    for loss, head, model in itertools.product(losses, ("heatmap", "simcc"), models):
        content = studied(loss, head=head, model=model, reconstruction=loss in ("fowkal", "dm", "rspose"))
        if loss in ("kal", "fowkal"):
            content["loss"]["learned"] = {"factor": [0.1 + 0.01 * k for k in range(17)]}
        contents.append(content)
    return contents


def read(folder: Path, *contents: dict[str, Any]) -> list[Record]:
    return [read_record(write(folder, content)) for content in contents]


def drawn_points(axes: Axes, loss: str) -> list[list[float]]:
    """x and y of every line of a loss in a panel, dashed ones too."""
    return [
        [line.get_xdata().tolist(), line.get_ydata().tolist()]
        for line in axes.lines
        if to_hex(line.get_color()).upper() == loss_colour(loss)
    ]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_calibration_puts_the_seeds_together_and_leaves_out_what_has_few_pairs(tmp_path: Path) -> None:
    contents = [studied(seed=seed) for seed in (0, 1)]
    for content, quality, count in zip(contents, (0.2, 0.8), (30, 10), strict=True):
        empty: list[Any] = [None] * 17
        content["confidence"]["calibration"]["keypoint"] = {
            "confidence": [0.01, 0.07, 0.12, *empty],
            "quality": [quality, 0.5, 0.9, *empty],
            "count": [count, 3, 20, *[0] * 17],
        }
    axes = calibration_figure(read(tmp_path, *contents)).axes[0]
    ((x, y),) = drawn_points(axes, "mse")
    # 30 pairs of 0.2 and 10 of 0.8; then a bin of 6 pairs, which breaks the line.
    np.testing.assert_allclose(x[:3], [0.01, np.nan, 0.12])
    np.testing.assert_allclose(y[:3], [0.35, np.nan, 0.9])
    assert np.isnan(x[3:]).all()


def test_calibration_names_the_mean_correlations_of_each_loss(tmp_path: Path) -> None:
    contents = [studied(seed=seed, correlations=(0.2 + 0.2 * seed, 0.1, 0.5, 0.4)) for seed in (0, 1)]
    pearson = np.mean([content["confidence"]["keypoint"]["pearson"] for content in contents])
    assert f"MSE  0.30, {pearson:.2f}" in texts(calibration_figure(read(tmp_path, *contents)))


def test_thresholds_are_means_in_percent_with_the_protocols_own_marked(tmp_path: Path) -> None:
    contents = [studied(seed=seed) for seed in (0, 1)]
    for content, first in zip(contents, (0.30, 0.40), strict=True):
        content["diagnosis"]["thresholds"]["nms"]["AP"][0] = first
    nms, keypoint = threshold_figure(read(tmp_path, *contents)).axes
    (rescored, without) = (line for line in nms.lines if len(line.get_xdata()) == 3)
    assert rescored.get_xdata().tolist() == [0.5, 0.9, 1.0]
    assert rescored.get_ydata() == pytest.approx([35, 41, 42])
    assert without.get_ydata()[:2] == pytest.approx([30, 31])
    assert rescored.get_linestyle() == "-" and without.get_linestyle() == "--"
    for axes, value in ((nms, 0.9), (keypoint, 0.2)):
        assert [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2] == [[value, value]]


def test_learning_curves_have_a_panel_a_loss_and_dashes_for_its_terms(tmp_path: Path) -> None:
    rspose = studied("rspose")
    rspose["training"]["curve"] |= {"loss_rank": [0.7, 0.4, 0.3], "loss_sort": [0.3, 0.2, 0.2]}
    single = studied("kl")
    single["training"]["curve"]["loss_kl"] = single["training"]["curve"]["loss"]
    figure = learning_curve_figure(read(tmp_path, single, rspose, studied("kl", seed=1)))
    kl, ranked = figure.axes
    assert (kl.get_title(), ranked.get_title()) == ("KL", "RSPOSE")
    assert len(kl.lines) == 2  # two seeds; its only term is its loss
    assert [line.get_ydata().tolist() for line in ranked.lines][1:] == [[0.7, 0.4, 0.3], [0.3, 0.2, 0.2]]
    assert {"rank", "sort"} <= set(texts(figure))


def test_cost_is_a_point_a_loss_in_milliseconds_and_percent(tmp_path: Path) -> None:
    contents = [studied(seed=seed) for seed in (0, 1)]
    for content, seconds, precision in zip(contents, (0.08, 0.1), (0.4, 0.44), strict=True):
        content["training"]["seconds_per_iteration"] = seconds
        content["metrics"]["AP"] = precision
    (axes,) = cost_figure(read(tmp_path, *contents)).axes
    ((point, _, bars),) = (container.lines for container in axes.containers)
    assert point.get_xdata() == pytest.approx([90])
    assert point.get_ydata() == pytest.approx([42])
    spans = [bar.get_segments()[0] for bar in bars]
    assert spans[0][:, 0] == pytest.approx([80, 100])
    assert spans[1][:, 1] == pytest.approx([40, 44])


def test_cost_of_seeds_that_took_equally_long_is_drawn(tmp_path: Path) -> None:
    contents = [studied(seed=seed) for seed in range(14)]
    for content in contents:
        content["training"]["seconds_per_iteration"] = 0.08417
        content["metrics"]["AP"] = 0.41
    assert cost_figure(read(tmp_path, *contents)) is not None


def test_factors_stand_at_their_keypoints_the_left_ones_at_our_right(tmp_path: Path) -> None:
    contents = [studied("kal", seed=seed) for seed in (0, 1)]
    for content, add in zip(contents, (0.0, 0.2), strict=True):
        content["loss"]["learned"] = {"factor": [round(0.01 * k + add, 3) for k in range(17)]}
    figure = factor_figure(read(tmp_path, *contents, studied("mse")))
    panel = figure.axes[0]
    points = panel.collections[-1]
    assert points.get_array().tolist() == pytest.approx([0.01 * k + 0.1 for k in range(17)])
    x, y = points.get_offsets().T
    assert all(x[k] > 0 for k, name in enumerate(COCO.keypoints.names) if name.startswith("left"))
    names = COCO.keypoints.names
    assert y[names.index("nose")] > y[names.index("left_hip")] > y[names.index("left_ankle")]
    assert "0.260" in texts(figure)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_keypoint_of_a_dataset_has_a_place_and_its_mirror_image_the_mirrored_one(
    dataset: str, tmp_path: Path
) -> None:
    joints = DATASETS[dataset].keypoints
    content = studied("kal", dataset=dataset, metrics={})
    content["loss"]["learned"] = {"factor": [0.5 + 0.001 * k for k in range(len(joints))]}
    places = factor_figure(read(tmp_path, content)).axes[0].collections[-1].get_offsets()
    assert len(np.unique(places, axis=0)) == len(joints)
    np.testing.assert_allclose(places[list(joints.flip_indices)], places * [-1, 1], atol=1e-9)


def test_errors_fill_a_bar_and_gains_stand_beside_it(tmp_path: Path) -> None:
    shares, gains = error_figure(read(tmp_path, studied("mse"), studied("kl"))).axes
    widths = [patch.get_width() for patch in shares.patches]
    assert widths == pytest.approx([55, 20, 10, 5, 10] * 2)
    places = sorted((y, x) for points in gains.collections for x, y in points.get_offsets())
    kl = studied("kl")["diagnosis"]["errors"]["gain"]["inversion"]
    # MSE above, KL below; the last is the gain of oracle scores.
    assert [x for y, x in places if y == 1] == pytest.approx(sorted([3, 100 * kl, 1, 5, 6]))


def test_errors_of_mpii_have_no_gain_by_oracle_scores(tmp_path: Path) -> None:
    found = texts(error_figure(read(tmp_path, studied(dataset="mpii"))))
    assert "oracle scores" not in found
    assert "PCKh gained if repaired (percentage points)" in found


def test_a_forest_plot_fills_differences_and_leaves_possible_ties_hollow(tmp_path: Path) -> None:
    contents = []
    for seed, noise in enumerate((-0.01, 0.0, 0.012, -0.004, 0.006)):
        for loss, gain in (("mse", 0.0), ("kl", 0.1 + noise / 5), ("awing", noise)):
            contents.append(studied(loss, seed=seed, metrics={"AP": 0.4 + gain}))
    (axes,) = difference_figure(read(tmp_path, *contents)).axes
    markers = {line.get_marker(): line for line in axes.lines if line.get_marker() not in ("", "None")}
    kl, awing = markers[loss_marker("kl")], markers[loss_marker("awing")]
    assert kl.get_xdata() == pytest.approx([10.016], abs=1e-6)
    assert to_hex(kl.get_markerfacecolor()).upper() == loss_colour("kl")
    assert to_hex(awing.get_markerfacecolor()).upper() == "#FFFFFF"
    (interval,) = [
        line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2 and line.get_ydata()[0] == 0
    ][1:]
    assert interval[0] < 10.016 < interval[1]
    assert "95 % interval over seeds" in texts(axes.figure)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_says_which_data_it_is_from(name: str, tmp_path: Path) -> None:
    generated = FIGURES[name](read(tmp_path / "generated", *crowded(("mse", "kal"))))
    assert generated.get_suptitle().endswith("\nCOCO, generated data")
    contents = crowded(("mse", "kal"))
    for content in contents:
        content["data"]["generated"] = False
    assert FIGURES[name](read(tmp_path / "real", *contents)).get_suptitle().endswith("\nCOCO, real data")


def test_what_records_do_not_have_is_not_drawn(tmp_path: Path) -> None:
    older = read(tmp_path / "older", record("coco", "mse"), record("coco", "kl"))
    for draw in (calibration_figure, threshold_figure, learning_curve_figure, factor_figure, error_figure):
        assert draw(older) is None
    alone = read(tmp_path / "alone", studied("kl", dataset="mpii"))
    assert difference_figure(alone) is None  # nothing to compare with
    assert threshold_figure(alone) is None  # no detections
    control = read(tmp_path / "control", record(loss="oracle", control=True))
    assert all(draw(control) is None for draw in FIGURES.values())
    mixed = calibration_figure([*older, *read(tmp_path / "new", studied("rspose"))])
    assert drawn_points(mixed.axes[0], "rspose")
    assert not drawn_points(mixed.axes[0], "kl")


GRIDS = {
    "many losses": crowded(),
    "two models": crowded(("mse", "kal", "rspose"), ("resnet50-256x192", "vitpose-b")),
    "one head": [content for content in crowded(("mse", "kal")) if content["cell"]["head"] == "simcc"],
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", FIGURES)
def test_no_words_overlap_or_leave_the_figure(name: str, grid: str, tmp_path: Path) -> None:
    figure = FIGURES[name](read(tmp_path, *GRIDS[grid]))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    ticks, unseen = set(), set()
    for axes in figure.axes:
        for axis, side in ((axes.xaxis, 0), (axes.yaxis, 1)):
            low, high = sorted(axis.get_view_interval())
            for label in axis.get_ticklabels():
                ticks.add(label)
                if not low <= label.get_position()[side] <= high:
                    unseen.add(label)
    found = {
        text: text.get_window_extent(canvas.get_renderer())
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in unseen
    }
    inside = figure.bbox.padded(1)
    for text, box in found.items():
        assert text in ticks or (inside.x0 <= box.x0 and box.x1 <= inside.x1), text.get_text()
        assert text in ticks or (inside.y0 <= box.y0 and box.y1 <= inside.y1), text.get_text()
    for (first, box), (second, other) in itertools.combinations(found.items(), 2):
        if {first, second} <= ticks:  # matplotlib keeps those of an axis apart, and hides some
            continue
        assert not box.padded(-1).overlaps(other.padded(-1)), (first.get_text(), second.get_text())


def test_a_loss_has_one_colour_in_every_figure(tmp_path: Path) -> None:
    records = read(tmp_path, *crowded(["mse", "my_own_loss"]))
    for draw in (calibration_figure, threshold_figure, learning_curve_figure, cost_figure, difference_figure):
        figure = draw(records)
        colours = {to_hex(line.get_color()).upper() for axes in figure.axes for line in axes.lines}
        assert loss_colour("my_own_loss") in colours
        assert colours <= {loss_colour("mse"), loss_colour("my_own_loss"), "#6E6E6E"}


def test_every_figure_is_written_twice_and_the_same_each_time(tmp_path: Path) -> None:
    read(tmp_path / "records", studied("mse"), studied("kl"), studied("mse", dataset="mpii"))
    written = {
        attempt: make_study_figures(tmp_path / "records", tmp_path / attempt) for attempt in ("one", "two")
    }
    names = [path.name for path in written["one"]]
    everywhere = ("calibration", "cost", "errors", "learning_curves")
    expected = {f"{dataset}_{name}" for dataset in ("coco", "mpii") for name in everywhere}
    expected |= {"coco_differences", "coco_thresholds"}
    assert set(names) == {f"{name}.{suffix}" for name in expected for suffix in ("png", "svg")}
    for one, two in zip(*written.values(), strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_the_table_has_means_over_seeds_and_bold_only_where_more_is_better(tmp_path: Path) -> None:
    contents = [studied(loss, seed=seed) for loss in ("mse", "kl") for seed in (0, 1)]
    contents[0]["diagnosis"]["ordering"]["AP_lost"] = 0.02
    table = diagnosis_table(Results(read(tmp_path, *contents)))
    assert [row.stub for row in table.rows] == [("COCO", "2D", "MSE"), ("COCO", "2D", "KL")]
    labels = [column.label for column in table.columns]
    assert table.rows[0].values[labels.index("misordering")].mean == pytest.approx(0.04)
    assert table.rows[0].values[labels.index("miss")].mean == pytest.approx(0.1)
    competing = {column.header for column in table.columns if column.competes}
    assert competing == {"Pearson's r kpt.", "Pearson's r pose", "Keypoints (%) good"}
    assert diagnosis_table(Results(read(tmp_path / "older", record()))) is None
