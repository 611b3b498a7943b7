"""Records: what is read, what is left out and how that is said, and what the collected table holds."""

import copy
import csv
import io
import json
import lzma
import re
import statistics
import subprocess
from collections.abc import Iterator
from functools import reduce
from itertools import product
from operator import getitem
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders.records import COCO_METRICS, fail, record, studied, with_bootstrap, write

import rspose.grid.record
from rspose.grid.cell import Cell
from rspose.grid.record import Record, RecordError, read_record, tree
from rspose.grid.records import load_failures, load_records, pack, unpack
from rspose.reporting.frame import ordered_records, tidy, to_csv
from rspose.reporting.report.page import make_report
from rspose.reporting.statistics import over_seeds
from rspose.reporting.tables import make_tables


def collect(*places: Path) -> pd.DataFrame:
    return tidy(ordered_records(*places))


def test_a_record_becomes_one_row_with_its_keys_joined_by_dots(tmp_path: Path) -> None:
    write(tmp_path, record())
    (row,) = collect(tmp_path).to_dict("records")
    expected = {
        "dataset": "coco",
        "model": "tiny",
        "head": "heatmap",
        "loss": "mse",
        "seed": 0,
        "control": False,
        "loss.title": "MSE",
        "loss.parameters": '{"alpha": 2, "beta": 1.0}',
        "metrics.AP": 0.4512,
        "confidence.keypoint.spearman": 0.31,
        "confidence.pose.kendall": 0.32,
        "confidence.pose.n": 980,
        "protocol.input_size": "[96, 128]",
        "data.generated": True,
        "training.final_loss.mse": 0.1,
        "provenance.versions.torch": "2.11.0",
    }
    assert {key: row[key] for key in expected} == expected


def test_a_record_says_its_main_metric_in_a_few_words() -> None:
    alone = record(dataset="mpii", metrics={"PCKh@0.1": 0.9, "PCKh": 0.75})
    assert Record.of(Path("r.json"), alone).headline == "PCKh 75.0"
    undefined = record(metrics={"AP": None})
    assert Record.of(Path("r.json"), undefined).headline == "AP undefined"
    known = with_bootstrap(record(), {"metrics.AP": np.linspace(0.4, 0.5, 50)})
    known["bootstrap"]["intervals"]["metrics.AP"] = [0.4012, 0.5]
    assert Record.of(Path("r.json"), known).headline == "AP 45.1 [40.1, 50.0]"


def test_rows_stand_in_the_order_of_the_tables(tmp_path: Path) -> None:
    for dataset in ("mpii", "coco"):
        for loss in ("rspose", "zeta", "alpha", "kl", "mse"):
            for head in ("simcc", "heatmap"):
                write(tmp_path, record(dataset, loss, head))
        for control in ("mean_pose", "oracle"):
            write(tmp_path, record(dataset, control, control=True))
    table = collect(tmp_path)
    assert list(table.dataset.unique()) == ["coco", "mpii"]
    of_coco = table[table.dataset == "coco"]
    losses = ["mse", "kl", "rspose", "alpha", "zeta"]
    assert list(of_coco.loss) == [*losses, *losses, "oracle", "mean_pose"]
    assert list(of_coco["head"]) == ["heatmap"] * 5 + ["simcc"] * 5 + ["control"] * 2


def test_what_a_record_says_counts_and_not_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "from another machine").mkdir()
    (tmp_path / "from another machine" / "a.json").write_text(json.dumps(record(loss="kl", seed=3)))
    assert [item.cell for item in ordered_records(tmp_path)] == [Cell("coco", "tiny", "heatmap", "kl", 3)]


def _changed(**changes: Any) -> str:
    """A record as text, with values changed, or taken away where they are ``...``."""
    content = copy.deepcopy(record(loss="kl"))
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = reduce(getitem, parents, content)
        place[last] = value
        if value is ...:
            del place[last]
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (_changed()[:200], "not readable as JSON"),
        ("\udcff", "not readable as JSON"),
        ("[1, 2]", "not a record"),
        ('{"images": []}', "not a record"),
        (_changed(cell__dataset="../../home"), 'cell.dataset is "../../home": expected a name'),
        (_changed(cell__loss=".hidden"), 'cell.loss is ".hidden": expected a name'),
        (_changed(cell__seed=10**400), "expected a finite number below 1e15"),
        (_changed(loss__title="a\nline"), "loss.title is"),
        (_changed(loss__title="x" * 300), "loss.title is"),
        (_changed(diagnosis=None), "diagnosis is null: expected a value, or no such key"),
        (_changed(training=None), "training is null"),
        (_changed(training__seconds="long"), 'training.seconds is "long": expected a number'),
        (_changed(training__curve={"loss": [float("nan")]}), "training.curve.loss is NaN"),
        (_changed(training__curve={"iteration": [1, 2], "loss": [0.5]}), "lists of the same length"),
        (_changed(provenance__created=5), "provenance.created is 5: expected a text"),
        (_changed(protocol__input_size=5), "protocol.input_size is 5: expected a list"),
        (_changed(confidence__keypoint__n="many"), 'keypoint.n is "many": expected a whole number'),
        (
            _changed(config={"files": [], "directory": None, "changes": ["--snakefile"]}),
            'config.changes.0 is "--snakefile": expected a change as training.epochs=2',
        ),
        (_changed(format=3), "record format 3: expected 2 or 1"),
        (_changed(cell__loss=...), "cell.loss is missing"),
        (_changed(protocol=...), "protocol is missing"),
        (_changed(cell__seed="0"), 'cell.seed is "0": expected a whole number'),
        (_changed(cell__seed=True), "cell.seed is true: expected a whole number"),
        (_changed(cell__fold=1), "cell.fold is 1: expected no such key"),
        (_changed(control=1), "control is 1: expected true or false"),
        (_changed(control=True), 'expected "control"'),
        (_changed(training=[]), "training is []: expected an object"),
        (_changed(config={"files": "a.yaml"}), 'config.files is "a.yaml": expected a list'),
        (_changed(config={"files": [1], "directory": None, "changes": []}), "files.0 is 1: expected a text"),
        (_changed(metrics__AP=45.1), "metrics.AP is 45.1: expected a fraction from 0 to 1"),
        (_changed(diagnosis={"ordering": {"AP_lost": 5.0}}), "diagnosis.ordering.AP_lost is 5.0: expected"),
        (_changed(metrics__AP=-1), "metrics.AP is -1: expected a fraction from 0 to 1"),
        (_changed(metrics__AP=float("nan")), "metrics.AP is NaN: expected a finite number"),
        (_changed(metrics__AP="0.4"), 'metrics.AP is "0.4": expected a fraction from 0 to 1'),
        (_changed(confidence__pose__kendall=-1.5), "pose.kendall is -1.5: expected a fraction from -1"),
        (_changed(format=True), "format is true: expected a whole number"),
        (_changed(cell__seed=-1), "cell.seed is -1: expected greater than or equal to 0"),
        (_changed()[:-1] + ', "grid": "a", "grid": "b"}', 'the key "grid" stands twice'),
        (_changed(cell__dataset="all"), 'cell.dataset is "all": expected none of all, calibration'),
        (_changed(cell__model="control"), 'cell.model is "control": expected "control" of a control, and'),
        (_changed(confidence__pose={}), "the key confidence.pose.spearman is missing"),
        (_changed(confidence__calibration={"pose": {}}), "the key confidence.calibration.pose.confidence is"),
        (_changed(diagnosis={"thresholds": {"nms": {}}}), "the key diagnosis.thresholds.nms.threshold is"),
        (_changed(diagnosis={"errors": {"good": -0.1}}), "errors.good is -0.1: expected a fraction from 0"),
        (_changed(training__curve={"iteration": [2, 1], "loss": [1, 1]}), "an iteration that rises"),
        (_changed(training__curve={"iteration": [1]}), "lists of the same length, a loss and an iteration"),
        (_changed(protocol__nms_threshold=90), "protocol.nms_threshold is 90: expected a fraction"),
        (_changed(provenance__created="today"), 'provenance.created is "today": expected a time as 2026'),
    ],
)
def test_a_file_that_cannot_be_used_is_named_in_one_line_and_the_rest_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, complaint: str
) -> None:
    write(tmp_path, record(loss="mse"))
    bad = tmp_path / "bad.json"
    bad.write_bytes(text.encode("utf-8", "surrogateescape"))
    table = collect(tmp_path)
    assert list(table.loss) == ["mse"]
    (line,) = capsys.readouterr().err.splitlines()
    assert str(bad) in line
    assert complaint in line
    with pytest.raises(RecordError, match=r"bad\.json"):
        read_record(bad)


def test_good_records_are_read_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, record())
    write(tmp_path, record(loss="oracle", control=True, metrics={"AP": 1, "APL": None}))
    assert len(collect(tmp_path)) == 2
    assert capsys.readouterr().err == ""


def test_records_of_one_cell_count_once_and_are_named_and_not_used_where_they_disagree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write(tmp_path / "a", record())
    second = write(tmp_path / "b", record(provenance={"device": "another machine"}))
    write(tmp_path / "b", record(loss="kl"))
    assert list(collect(tmp_path)["provenance.device"]) == ["cpu", "cpu"]
    assert list(collect(tmp_path / "b", tmp_path / "a").loss) == ["mse", "kl"]
    assert capsys.readouterr().err == ""
    write(tmp_path / "b", record(metrics={**COCO_METRICS, "AP75": 0.25}))
    assert list(collect(tmp_path).loss) == ["kl"]
    (line,) = capsys.readouterr().err.splitlines()
    assert "coco tiny heatmap mse seed 0" in line
    assert f"metrics.AP75 is 0.5 in {first} and 0.25 in {second}" in line
    write(tmp_path / "a", record(loss="kl", metrics={**COCO_METRICS, "AP75": 0.25}))
    assert collect(tmp_path).empty
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" (1 more cells like it)")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder of records at .*nowhere"):
        collect(tmp_path / "nowhere")


def test_the_collected_table_survives_csv(tmp_path: Path) -> None:
    write(tmp_path, record(metrics={**COCO_METRICS, "AP": 0.1 + 0.2, "APL": None}))
    write(tmp_path, record("mpii", "kl", metrics={"PCKh": 1 / 3}))
    table = collect(tmp_path)
    table.to_csv(tmp_path / "collected.csv", index=False)
    again = pd.read_csv(tmp_path / "collected.csv", float_precision="round_trip")
    pd.testing.assert_frame_equal(again, table, check_dtype=False, check_exact=True)


def test_mean_and_deviation_over_seeds(tmp_path: Path) -> None:
    values = [0.41, 0.47, 0.44]
    for seed, value in enumerate(values):
        write(tmp_path, record(seed=seed, metrics={"AP": value, "APL": value if seed == 1 else None}))
    summary = over_seeds(ordered_records(tmp_path)).set_index("metric")
    assert summary.loc["metrics.AP", "mean"] == pytest.approx(statistics.mean(values))
    assert summary.loc["metrics.AP", "std"] == pytest.approx(statistics.stdev(values))
    assert summary.loc["metrics.AP", "seeds"] == 3
    assert summary.loc["metrics.APL", "mean"] == 0.47
    assert pd.isna(summary.loc["metrics.APL", "std"])
    assert summary.loc["metrics.APL", "seeds"] == 1


def test_of_equal_records_the_one_with_a_bootstrap_counts(tmp_path: Path) -> None:
    write(tmp_path / "a", record())
    write(tmp_path / "b", with_bootstrap(record(), {"metrics.AP": np.linspace(0.4, 0.5, 11)}))
    (found,) = ordered_records(tmp_path)
    assert found.draws == (200, 11, 0)
    assert found.interval("metrics.AP") == pytest.approx((0.4025, 0.4975))
    np.testing.assert_allclose(found.replicates("metrics.AP"), np.linspace(0.4, 0.5, 11), atol=2e-5)
    assert found.interval("metrics.AR") is None and found.replicates("metrics.AR") is None
    (row,) = collect(tmp_path).to_dict("records")
    assert row["bootstrap.images"] == 200
    assert row["bootstrap.metrics.AP.low"] == pytest.approx(0.4025)
    assert not any("values" in name for name in row)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"images": "many"}, 'bootstrap.images is "many": expected a whole number'),
        ({"intervals": {"metrics.AP": [0.4]}}, "bootstrap.intervals.metrics.AP is [0.4]: expected"),
        ({"intervals": {"metrics.AP": [0.4, 40]}}, "intervals.metrics.AP.1 is 40: expected a fraction"),
        ({"values": {}}, "bootstrap.values.metrics.AP: expected replicates in base64"),
        ({"values": {"metrics.AP": "%"}}, "bootstrap.values.metrics.AP: expected replicates in base64"),
        ({"replicates": 12}, "bootstrap.values.metrics.AP has 11 replicates: expected 12"),
        ({"intervals": {"metrics.AP": [0.46, 0.5]}}, "expected one that holds metrics.AP, which is 0.4512"),
        ({"intervals": {"metrics.AP": [0.5, 0.4]}}, "expected one that holds metrics.AP, which is 0.4512"),
        (
            {"intervals": {"metrics.AP": [0.4025, 0.4975], "metrics.XY": [0.4, 0.5]}},
            "expected one that holds metrics.XY, which is null",
        ),
        ({"intervals": {"metrics.AP": [0, 0.5]}}, "[0.0, 0.5]: expected the 95 % of its replicates, [0.4"),
        ({"intervals": {"metrics.AP": None}}, "null: expected the 95 % of its replicates, [0.4"),
        ({"seed": -1}, "bootstrap.seed is -1: expected greater than or equal to 0"),
    ],
)
def test_a_damaged_bootstrap_is_named(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    content = with_bootstrap(record(), {"metrics.AP": np.linspace(0.4, 0.5, 11)})
    content["bootstrap"] |= change
    with pytest.raises(RecordError) as error:
        read_record(write(tmp_path, content))
    assert complaint in str(error.value)


def test_a_failure_counts_until_there_is_a_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fail(tmp_path, "mse", 0, "train", "out of memory")
    fail(tmp_path, "kl", 0, "predict", "no such file")
    (tmp_path / "broken.failed.json").write_text("{")
    write(tmp_path, record(loss="kl"))
    records = ordered_records(tmp_path)
    assert capsys.readouterr().err == ""
    (failure,) = load_failures(records, tmp_path)
    assert (failure.cell.loss, failure.rule, failure.error) == ("mse", "train", "out of memory")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"failure left out: {tmp_path / 'broken.failed.json'}: not readable as JSON")


def test_the_diagnosis_is_among_the_scores_and_an_older_record_goes_without(tmp_path: Path) -> None:
    older = write(tmp_path / "old", record())
    content = record(seed=1)
    content["confidence"]["keypoint"]["pearson"] = 0.25
    content["confidence"]["pose_on_truth"] = {"spearman": 0.5, "kendall": 0.4, "pearson": 0.45, "n": 80}
    content["diagnosis"] = {
        "ordering": {"AP_oracle_scores": 0.5, "AP_lost": 0.05},
        "errors": {"good": 0.6, "jitter": 0.2, "miss": 0.1, "keypoints": 1000, "gain": {"jitter": -0.01}},
        "thresholds": {"nms": {"threshold": [0.9], "AP": [0.45], "AP_box_score": [0.4]}},
    }
    content["training"]["curve"] = {"iteration": [10, 20], "loss": [0.5, 0.4]}
    scores = read_record(write(tmp_path / "new", content)).scores
    assert scores["confidence.keypoint.pearson"] == 0.25
    assert scores["confidence.pose_on_truth.spearman"] == 0.5
    assert scores["diagnosis.ordering.AP_lost"] == 0.05
    assert scores["diagnosis.errors.miss"] == 0.1
    assert scores["diagnosis.errors.gain.jitter"] == -0.01
    missing = read_record(older).scores
    assert missing["confidence.keypoint.pearson"] is None
    assert not any(name.startswith("diagnosis.") for name in missing)
    table = collect(tmp_path)
    assert table["diagnosis.ordering.AP_lost"].tolist() == [pytest.approx(float("nan"), nan_ok=True), 0.05]
    # Curves are for figures, not for a table of numbers.
    assert not any("threshold" in name and "diagnosis" in name for name in table.columns)
    assert not any("curve" in name for name in table.columns)


def test_a_mean_over_types_may_lie_beside_its_interval_and_older_records_have_none(
    tmp_path: Path,
) -> None:
    """Replicates of few images lack some types; every other number lies in its interval."""
    content = record()
    content["confidence"]["within_types"] = {"spearman": 0.5}
    values = {"confidence.within_types.spearman": np.linspace(0.1, 0.2, 11)}
    found = read_record(write(tmp_path, with_bootstrap(content, values)))
    assert found.scores["confidence.within_types.spearman"] == 0.5
    assert found.interval("confidence.within_types.spearman") == pytest.approx((0.1025, 0.1975))
    assert "confidence.within_types.spearman" not in read_record(write(tmp_path, record(seed=1))).scores
    with pytest.raises(RecordError, match=r"expected one that holds confidence\.within_types"):
        read_record(write(tmp_path, with_bootstrap(record(), values)))


def test_a_record_and_its_older_version_without_a_diagnosis_agree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = record()
    content["diagnosis"] = {"ordering": {"AP_oracle_scores": 0.5, "AP_lost": 0.05}}
    write(tmp_path / "a", record())
    write(tmp_path / "b", content)
    (found,) = ordered_records(tmp_path)
    assert found.scores["diagnosis.ordering.AP_lost"] == 0.05
    content["diagnosis"] = {"ordering": {"AP_oracle_scores": 0.5, "AP_lost": 0.06}}
    write(tmp_path / "c", content)
    assert ordered_records(tmp_path / "b", tmp_path / "c") == []
    assert "diagnosis.ordering.AP_lost is 0.05" in capsys.readouterr().err


def test_a_record_of_format_1_says_with_its_commit_whether_the_tree_was_clean(tmp_path: Path) -> None:
    for commit, clean in (("abc", True), ("abc-dirty", False)):
        write(tmp_path, {**record(provenance={"git_commit": commit}), "format": 1})
        (found,) = ordered_records(tmp_path)
        assert (found.provenance.git_commit, found.provenance.clean) == ("abc", clean)


def test_a_packed_file_is_read_like_the_folder_and_gives_it_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.append(np.linspace(0.4, 0.5, 11), np.nan)
    write(tmp_path / "a", with_bootstrap(record(), {"metrics.AP": values}))
    write(tmp_path / "a", record(loss="kl"))
    (tmp_path / "a/coco/control").mkdir()
    (tmp_path / "a/coco/control/oracle.json").write_text(json.dumps(record(loss="oracle", control=True)))
    found = ordered_records(tmp_path / "a")
    pack(found, tmp_path / "b" / "all.jsonl.xz")
    for place in (tmp_path / "b", tmp_path / "b/all.jsonl.xz"):
        assert [again.content for again in ordered_records(place)] == [each.content for each in found]
    unpack(ordered_records(tmp_path / "b"), tmp_path / "c")
    for path in (tmp_path / "a").rglob("*.json"):
        unpacked = tmp_path / "c" / path.relative_to(tmp_path / "a")
        assert json.loads(unpacked.read_text()) == json.loads(path.read_text())
    pack(found, tmp_path / "coarse.jsonl.xz", coarse=True)
    (coarse,) = (each for each in ordered_records(tmp_path / "coarse.jsonl.xz") if each.cell.loss == "mse")
    np.testing.assert_allclose(coarse.replicates("metrics.AP"), values, atol=1 / 500)
    assert coarse.interval("metrics.AP") == found[0].interval("metrics.AP")
    assert coarse.scores == found[0].scores
    assert capsys.readouterr().err == ""
    with pytest.raises(ValueError, match=r"all\.json: expected a name that ends with \.jsonl\.xz"):
        pack(found, tmp_path / "all.json")


def test_what_is_damaged_in_a_packed_file_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "all.jsonl.xz"
    lines = [json.dumps(record(loss="kl")), _changed(metrics__AP=2), json.dumps(record())]
    file.write_bytes(lzma.compress("\n".join(lines).encode()))
    assert [each.cell.loss for each in ordered_records(file)] == ["mse", "kl"]
    assert f"record left out: {file}:2: metrics.AP is 2" in capsys.readouterr().err
    file.write_bytes(file.read_bytes()[:-40])
    ordered_records(file)
    assert f"record left out: {file}: not readable" in capsys.readouterr().err


_FAULTS = (
    *(None, True, -1, -0.5, 0, 2.5, 1e14, 1e308, float("nan"), float("inf")),
    *("", "x", "../../x", "=1+1|a\\", "</script><script>`$\\input{x}"),
    *([], [None], {}, {"a": 1}, {"seconds": "x"}),
)


def _places(value: Any, *above: str | int) -> Iterator[tuple[str | int, ...]]:
    """Where something stands in a record, of a list the first."""
    if above:
        yield above
    inside = (
        value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    )
    for key, inner in inside:
        yield from _places(inner, *above, key)


@pytest.mark.slow
def test_a_record_with_one_field_changed_is_refused_in_one_line_or_tabulated_beside_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = {
        **studied("kal"),
        "grid": "demo",
        "config": {"files": ["a.yaml"], "directory": "x", "changes": ["a=1"]},
    }
    whole["loss"]["learned"] = {"factor": [0.1] * 17}
    whole["confidence"]["keypoint_types"] = {"nose": whole["confidence"]["keypoint"]}
    whole["training"]["pretrained"] = {"file": "a.pth", "matched": 3, "left_out": ["fc"]}
    whole["provenance"] |= {"git_commit": "abc", "created": "2026-01-31T12:00:00+00:00"}
    whole = with_bootstrap(whole, {"metrics.AP": whole["metrics"]["AP"] + np.linspace(-0.1, 0.1, 11)})
    write(tmp_path / "records", record())
    accepted, refused = 0, 0
    for place, fault in product(_places(whole), _FAULTS):
        content = copy.deepcopy(whole)
        reduce(getitem, place[:-1], content)[place[-1]] = fault
        try:
            Record.read(Path("it"), json.dumps(content).encode())
        except RecordError as error:
            refused += 1
            assert str(place[0]) in str(error) and "\n" not in str(error) and len(str(error)) < 300
            continue
        accepted += 1
        if place[0] != "cell":  # three seeds a cell, so that they meet
            content["cell"] |= {"loss": f"loss{accepted // 3}", "seed": accepted % 3}
        write(tmp_path / "records", content)
    assert refused > 1000 and accepted > 300
    make_tables(tmp_path / "records", tmp_path)
    make_report(tmp_path / "records", tmp_path / "report.html")
    assert capsys.readouterr().err == ""


def _least(**changes: Any) -> dict[str, Any]:
    """A record without anything that a record may lack."""
    nothing = {"spearman": None, "kendall": None, "n": 0}
    return {
        "format": 2,
        "cell": {"dataset": "coco", "model": "tiny", "head": "heatmap", "loss": "kl", "seed": 0},
        "control": False,
        "loss": {"title": "KL", "reference": "", "reconstruction": False, "parameters": {}},
        "metrics": {},
        "confidence": {"keypoint": nothing, "pose": nothing},
        "protocol": {},
        "data": {"generated": True, "checksum": "abc"},
        "training": {},
        "provenance": {},
        **changes,
    }


_NEW_HERE = {"dataset": "hands", "model": "tiny", "head": "own", "loss": "kl", "seed": 0}
_SECOND = {**_NEW_HERE, "dataset": "coco", "head": "heatmap", "seed": 1}
_POINT = {"threshold": [0.5], "AP": [None], "AP_box_score": [0.1]}
_POINTS = {"threshold": [0.4, 0.5], "AP": [0.1, 0.2], "AP_box_score": [None, 0.1]}


@pytest.mark.parametrize(
    "contents",
    [
        [_least()],
        [_least(cell=_NEW_HERE)],
        [_least(cell=_NEW_HERE | {"model": "control", "head": "control"}, control=True, training=None)],
        [_least(training={"curve": {"iteration": [0], "loss": [1]}, "seconds_per_iteration": 0})],
        [
            _least(diagnosis={"thresholds": {"nms": _POINT}}),
            _least(cell=_SECOND, diagnosis={"thresholds": {"nms": _POINTS, "keypoint_score": _POINT}}),
        ],
        [
            _least(loss={**_least()["loss"], "learned": {"a": [0.5] * 17, "b": []}}),
            _least(loss={**_least()["loss"], "learned": {"c": [0.5] * 16}}, cell=_SECOND),
        ],
    ],
)
def test_records_of_the_least_that_is_allowed_make_tables_and_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], contents: list[dict[str, Any]]
) -> None:
    for content in contents:
        write(tmp_path / "records", content)
    assert [path for path in make_tables(tmp_path / "records", tmp_path) if path.name == "main.md"]
    make_report(tmp_path / "records", tmp_path / "report.html")
    assert capsys.readouterr().err == ""


def test_no_text_of_a_csv_is_a_formula_and_numbers_stay_numbers(tmp_path: Path) -> None:
    for loss, title in (("+a", "=1+1"), ("kl", "@SUM(A1)"), ("mse", "-2+3"), ("dm", "a=b")):
        write(tmp_path, record(loss=loss, title=title, correlations=(-0.25, 0.1, 0.2, 0.3)))
    table = pd.read_csv(io.StringIO(to_csv(collect(tmp_path).assign(tab="\t=1"))))
    assert set(table["loss.title"]) == {"'=1+1", "'@SUM(A1)", "'-2+3", "a=b"}
    assert set(table.loss) == {"'+a", "kl", "mse", "dm"} and set(table.tab) == {"'\t=1"}
    assert set(table["confidence.keypoint.spearman"]) == {-0.25}
    make_tables(tmp_path, tmp_path / "out")
    for path in (tmp_path / "out").glob("*.csv"):
        for line in csv.reader(path.read_text(encoding="utf-8").splitlines()):
            assert not [
                cell for cell in line if cell[:1] in tuple("=+@") or (cell[:1] == "-" and not _number(cell))
            ]


def _number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", text) is not None


def test_the_commit_is_that_of_the_package_and_not_of_the_folder_that_a_command_runs_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*command: str) -> str:
        author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.run(["git", *author, *command], check=True, capture_output=True, text=True).stdout

    monkeypatch.chdir(tmp_path)
    package = tmp_path / "package/record.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr(rspose.grid.record, "__file__", str(package))
    git("init", "-q")
    git("commit", "-qm", "somebody's own", "--allow-empty")
    assert tree() == {"git_commit": None, "clean": None}, "installed below a repository of another project"
    git("add", ".")
    git("commit", "-qm", "the package")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert tree() == {"git_commit": git("rev-parse", "HEAD").strip(), "clean": True}
    (tmp_path / "package/new.py").touch()
    assert tree()["clean"] is False


def test_the_folder_of_a_run_is_found_from_within_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "results/records", record())
    monkeypatch.chdir(tmp_path / "results/records")
    (found,) = load_records(Path("."))
    assert found.run == tmp_path / "results"
