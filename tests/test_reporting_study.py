"""Charts and table of the confidence study: what they show, what is left out, and that files are the same."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders.records import crowded, record, studied, write

from rspose.datasets import DATASETS
from rspose.grid.record import read_record
from rspose.reporting import chart_frames
from rspose.reporting.charts import CHARTS, page_charts, specification, vega_config
from rspose.reporting.results import Results
from rspose.reporting.study_figures import make_study_figures
from rspose.reporting.style import loss_colour
from rspose.reporting.tables import diagnosis_table


def read(folder: Path, *contents: dict[str, Any]) -> Results:
    return Results([read_record(write(folder, content)) for content in contents])


def rows_of(spec: dict[str, Any]) -> pd.DataFrame:
    """The numbers that a chart carries."""
    return pd.DataFrame(spec["datasets"][spec["data"]["name"]])


def layers_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return list(spec["spec"]["layer"])


def test_calibration_puts_the_seeds_together_and_leaves_out_what_has_few_pairs(tmp_path: Path) -> None:
    contents = [studied(seed=seed) for seed in (0, 1)]
    for content, quality, count in zip(contents, (0.2, 0.8), (30, 10), strict=True):
        empty: list[Any] = [None] * 17
        content["confidence"]["calibration"]["keypoint"] = {
            "confidence": [0.01, 0.07, 0.12, *empty],
            "quality": [quality, 0.5, 0.9, *empty],
            "count": [count, 3, 20, *[0] * 17],
        }
    frame = chart_frames.calibration(read(tmp_path, *contents))
    curve = frame[frame.level == "keypoints"]
    # 30 pairs of 0.2 and 10 of 0.8; then a bin of 6 pairs, which breaks the line.
    np.testing.assert_allclose(curve.confidence[:3], [0.01, np.nan, 0.12])
    np.testing.assert_allclose(curve.quality[:3], [0.35, np.nan, 0.9])
    assert curve.confidence[3:].isna().all()
    np.testing.assert_allclose(curve.share[:3], [100 * 40 / 86, 100 * 6 / 86, 100 * 40 / 86])


def test_correlations_are_the_means_and_intervals_of_the_tables(tmp_path: Path) -> None:
    contents = [studied(seed=seed, correlations=(0.2 + 0.2 * seed, 0.1, 0.5, 0.4)) for seed in (0, 1)]
    results = read(tmp_path, *contents)
    frame = chart_frames.correlations(results)
    shown = frame.set_index(["level", "coefficient"]).loc[("keypoints", "Spearman's ρ")]
    value = results.values["coco", "tiny", "heatmap", "mse", "confidence.keypoint.spearman"]
    assert (shown.value, (shown.low, shown.high)) == (pytest.approx(0.3), value.interval)
    pearson = np.mean([content["confidence"]["keypoint"]["pearson"] for content in contents])
    assert frame[frame.coefficient == "Pearson's r"].value.iloc[0] == pytest.approx(pearson)


def test_thresholds_are_means_in_percent_with_the_protocols_own_marked(tmp_path: Path) -> None:
    contents = [studied(seed=seed) for seed in (0, 1)]
    for content, first in zip(contents, (0.30, 0.40), strict=True):
        content["diagnosis"]["thresholds"]["nms"]["AP"][0] = first
    frame = chart_frames.thresholds(read(tmp_path, *contents))
    nms = frame[frame.kind == "OKS-NMS"]
    assert nms.threshold.tolist() == [0.5, 0.9, 1.0] * 2
    assert nms.value.tolist()[:5] == pytest.approx([35, 41, 42, 30, 31])
    assert nms.scores.tolist() == ["from confidences"] * 3 + ["of the boxes alone"] * 3
    assert dict(zip(frame.kind, frame.protocol, strict=True)) == {"OKS-NMS": 0.9, "keypoint scores": 0.2}


def test_the_curve_of_pck_is_the_mean_over_seeds_in_percent(tmp_path: Path) -> None:
    contents = [studied(seed=seed) for seed in (0, 1)]
    for content, share in zip(contents, (0.5, 0.7), strict=True):
        content["diagnosis"]["pck"] = {"limit": [0.1, 0.2], "share": [share, 0.8]}
    frame = chart_frames.pck(read(tmp_path, *contents))
    assert frame.limit.tolist() == [0.1, 0.2] and frame.value.tolist() == pytest.approx([60, 80])


def test_learning_curves_have_a_panel_a_loss_and_a_line_a_seed_and_term(tmp_path: Path) -> None:
    rspose = studied("rspose")
    rspose["training"]["curve"] |= {"loss_rank": [0.7, 0.4, 0.3], "loss_sort": [0.3, 0.2, 0.2]}
    single = studied("kl")
    single["training"]["curve"]["loss_kl"] = single["training"]["curve"]["loss"]
    specs = page_charts(read(tmp_path, single, rspose, studied("kl", seed=1)))
    (spec,) = [each["spec"] for each in specs if each["kind"] == "learning_curves"]
    lines = rows_of(spec)
    assert lines.panel.tolist() == ["KL, 2D"] * 2 + ["RSPOSE, 2D"] * 3
    assert lines.term.tolist() == ["loss"] * 3 + ["rank", "sort"]  # the only term of a loss is the loss
    assert lines.value[3:].tolist() == [[0.7, 0.4, 0.3], [0.3, 0.2, 0.2]]
    assert set(lines.said) == {"", "rank", "sort"}


def test_cost_is_a_point_a_loss_in_milliseconds_and_percent(tmp_path: Path) -> None:
    contents = [studied(seed=seed) for seed in (0, 1)]
    for content, seconds, precision in zip(contents, (0.08, 0.1), (0.4, 0.44), strict=True):
        content["training"]["seconds_per_iteration"] = seconds
        content["metrics"]["AP"] = precision
    (point,) = chart_frames.cost(read(tmp_path, *contents)).itertuples()
    assert (point.ms, point.ms_low, point.ms_high) == pytest.approx((90, 80, 100))
    assert (point.value, point.value_low, point.value_high) == pytest.approx((42, 40, 44))


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_keypoint_of_a_dataset_has_a_place_and_its_mirror_image_the_mirrored_one(
    dataset: str, tmp_path: Path
) -> None:
    joints = DATASETS[dataset].keypoints
    contents = [studied("kal", seed=seed, dataset=dataset, metrics={}) for seed in (0, 1)]
    for content, add in zip(contents, (0.0, 0.2), strict=True):
        content["loss"]["learned"] = {"factor": [0.01 * k + add for k in range(len(joints))]}
    frame = chart_frames.factors(read(tmp_path, *contents, studied("mse", dataset=dataset, metrics={})))
    assert frame.value.tolist() == pytest.approx([0.01 * k + 0.1 for k in range(len(joints))])
    assert frame.joint.tolist() == list(joints.names)
    places = frame[["x", "y"]].to_numpy()
    assert len(np.unique(places, axis=0)) == len(joints)
    np.testing.assert_allclose(places[list(joints.flip_indices)], places * [-1, 1], atol=1e-9)
    y = dict(zip(frame.joint, frame.y, strict=True))
    left = [x for name, x in zip(frame.joint, frame.x, strict=True) if name in ("left_hip", "left_wrist")]
    assert min(left) > 0 and y["left_hip"] > y["left_ankle"]  # the person's left is at our right


def test_errors_fill_a_bar_and_gains_have_that_of_oracle_scores_on_detections(tmp_path: Path) -> None:
    lsp = studied(dataset="lsp", metrics={"PCK": 0.7, "AP": 0.45})
    results = read(tmp_path, studied("mse"), studied("kl"), studied(dataset="mpii"), lsp)
    shares, gains = chart_frames.errors(results), chart_frames.gains(results)
    assert shares.value.tolist() == pytest.approx([55, 20, 10, 5, 10] * 4)
    kl = gains[(gains.loss == "KL")].set_index("kind").value
    inversion = 100 * studied("kl")["diagnosis"]["errors"]["gain"]["inversion"]
    expected = {"jitter": 3, "inversion": inversion, "swap": 1, "miss": 5, "oracle scores": 6}
    assert kl.to_dict() == pytest.approx(expected)
    mpii = gains[gains.dataset == "mpii"]
    assert "oracle scores" not in set(mpii.kind) and set(mpii.metric) == {"PCKh"}
    of_lsp = gains[gains.dataset == "lsp"].set_index("kind").metric
    assert (of_lsp["oracle scores"], of_lsp["jitter"]) == ("AP", "PCK")


def test_the_expected_best_of_trials_is_that_of_drawing_them_with_replacement(tmp_path: Path) -> None:
    tried = [0.3, 0.5, None, 0.4]
    content = studied("mse")
    content["training"]["tuning"] = {"tried": [{"score": score} for score in tried]}
    frame = chart_frames.tuning(read(tmp_path, content, studied("kl"))).set_index("trials")
    assert set(frame.loss) == {"MSE"}
    scores = [score or 0.0 for score in tried]
    for number in (1, 2, 3, 4):
        best = [max(drawn) for drawn in product(scores, repeat=number)]
        assert frame.loc[number].value == pytest.approx(100 * np.mean(best))


def test_a_marker_is_filled_where_the_table_is_decided(tmp_path: Path) -> None:
    """Which is by the intervals of all comparisons, not of those of a chart."""
    contents = []
    rng = np.random.default_rng(0)
    for dataset, head in (("coco", "heatmap"), ("coco", "simcc"), ("mpii", "heatmap")):
        for loss, gain in (("mse", 0.0), ("kl", 0.1), ("awing", 0.004), ("dm", 0.0)):
            for seed in range(5):
                value = 0.4 + gain + rng.normal(0, 0.003)
                name = "AP" if dataset == "coco" else "PCKh"
                place = {"dataset": dataset, "head": head, "seed": seed}
                contents.append(studied(loss, **place, metrics={name: value}))
    results = read(tmp_path, *contents)
    frame = chart_frames.differences(results)
    table = {
        "/".join(one[:4]): one for one in results.differences.itertuples(index=False) if one.dataset != "all"
    }
    assert set(frame.cell) == set(table)
    for row in frame.itertuples():
        found = table[row.cell]
        assert row.filled == (found.verdict in ("better", "worse")) and row.p == found.p
        assert (row.difference, row.low, row.high) == pytest.approx(
            [100 * value for value in (found.difference, found.low, found.high)]
        )
    assert "better" in set(frame.verdict) and set(frame.basis) == {"seeds"}


def test_what_records_do_not_have_is_not_drawn(tmp_path: Path) -> None:
    older = [record("coco", "mse"), record("coco", "kl")]
    drawn = {each["kind"] for each in page_charts(read(tmp_path / "older", *older))}
    assert drawn == {"differences", "correlations"}
    alone = {each["kind"] for each in page_charts(read(tmp_path / "alone", studied("kl", dataset="mpii")))}
    assert not alone & {"differences", "thresholds", "factors"}  # no MSE, no detections
    assert page_charts(read(tmp_path / "control", record(loss="oracle", control=True))) == []
    mixed = chart_frames.calibration(read(tmp_path / "new", *older, studied("rspose")))
    assert set(mixed.loss) == {"RSPOSE"}


def test_a_chart_carries_the_numbers_of_its_frame_and_a_loss_looks_the_same_in_all(tmp_path: Path) -> None:
    contents = crowded()
    for content in contents:
        if "diagnosis" in content:
            content["diagnosis"]["pck"] = {"limit": [0.1, 0.2], "share": [0.4, 0.7]}
    for content in contents:
        if content["training"]:
            content["training"]["tuning"] = {"tried": [{"score": 0.2}, {"score": None}, {"score": 0.4}]}
    results = read(tmp_path, *contents)
    others = [
        read_record(write(tmp_path, record("coco", loss, cell={"length": 2.0}))) for loss in ("mse", "rspose")
    ]
    results = replace(results, others=[Results(others)])
    losses = chart_frames.losses(results)
    looks = vega_config(losses)["range"]
    assert looks["category"] == [loss_colour(loss) for loss in losses]
    assert len(looks["symbol"]) == len(losses)
    for chart in CHARTS:
        frame = chart.frame(results)
        spec = specification(chart, frame, list(losses.values()))
        shown = rows_of(spec)
        assert len(shown) == len(frame)
        for name in ("value", "difference", "quality"):
            if name in frame and chart.name != "learning_curves":
                np.testing.assert_allclose(shown[name].astype(float), frame[name], rtol=1e-4)
        scales = [
            layer["encoding"][channel]["scale"]
            for layer in layers_of(spec)
            for channel in ("color", "shape", "fill")
            if layer.get("encoding", {}).get(channel, {}).get("field") == "loss"
        ]
        assert all(scale["domain"] == list(losses.values()) for scale in scales)
        assert {scale["range"] for scale in scales} <= {"category", "symbol"}


@pytest.mark.slow
def test_every_chart_is_written_twice_says_its_data_and_is_the_same_each_time(tmp_path: Path) -> None:
    real = studied("mse", dataset="mpii", data={"generated": False})
    read(tmp_path / "records", studied("mse"), studied("kl"), real)
    one, two = (make_study_figures(tmp_path / "records", tmp_path / attempt) for attempt in ("one", "two"))
    everywhere = ("calibration", "correlations", "cost", "errors", "gains")
    expected = {
        f"{dataset}_{name}" for dataset in ("coco", "mpii") for name in (*everywhere, "learning_curves")
    }
    expected |= {"coco_differences", "coco_thresholds"}
    assert {path.name for path in one} == {
        f"{name}.{suffix}" for name in expected for suffix in ("png", "svg")
    }
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes()
        if first.suffix == ".svg":
            where = "MPII, real data" if first.name.startswith("mpii") else "COCO, generated data"
            assert where in first.read_text(encoding="utf-8")


def test_the_table_of_diagnosis_has_means_over_seeds_and_nothing_bold(tmp_path: Path) -> None:
    contents = [studied(loss, seed=seed) for loss in ("mse", "kl") for seed in (0, 1)]
    contents[0]["diagnosis"]["ordering"]["AP_lost"] = 0.02
    table = diagnosis_table(read(tmp_path, *contents))
    assert [row.stub for row in table.rows] == [("COCO", "2D", "MSE"), ("COCO", "2D", "KL")]
    labels = [column.label for column in table.columns]
    assert table.rows[0].values[labels.index("misordering")].mean == pytest.approx(0.04)
    assert table.rows[0].values[labels.index("miss")].mean == pytest.approx(0.1)
    assert not any(value.bold for row in table.rows for value in row.values)
    assert diagnosis_table(read(tmp_path / "older", record())) is None
