"""One loss against another or beside all: paired tests over common seeds, one correction, costs."""

from pathlib import Path

import numpy as np
import pytest
from builders.records import COCO_METRICS, MPII_METRICS, record, rows_of, write
from scipy import stats

from rspose.grid.record import Record
from rspose.reporting.difference_tables import beside, cost_table, versus
from rspose.reporting.frame import ordered_records
from rspose.reporting.markdown import to_markdown
from rspose.reporting.results import read_results
from rspose.reporting.statistics import difference
from rspose.reporting.table import Value

RHO = {"mse": [0.20, 0.22, 0.21, 0.25], "kl": [0.50, 0.51, 0.53, 0.52]}
AP = {"mse": [0.40, 0.43, 0.41, 0.42], "kl": [0.41, 0.42, 0.43, 0.415]}


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    for loss in ("mse", "kl"):
        for head, shift in (("heatmap", 0.0), ("simcc", 0.1)):
            for seed in range(4):
                noise = 0.01 * np.sin(seed + shift * 7)
                content = record(
                    "coco", loss, head=head, seed=seed, metrics={"AP": AP[loss][seed] - shift + noise}
                )
                content["confidence"]["keypoint"]["spearman"] = RHO[loss][seed] + shift
                write(tmp_path, content)
    write(tmp_path, record("coco", "dm"))
    write(tmp_path, record("coco", "oracle", control=True))
    return ordered_records(tmp_path)


def test_each_score_has_its_paired_difference_and_all_share_one_correction(records: list[Record]) -> None:
    table = versus(records, "kl", "mse")
    rows = {row.stub: row.values for row in table.rows}
    tests = {
        ("AP", "COCO", "2D"): stats.ttest_rel(AP["kl"], AP["mse"]).pvalue,
        ("AP", "COCO", "1D"): stats.ttest_rel(AP["kl"], AP["mse"]).pvalue,
        ("kpt. ρ", "COCO", "2D"): stats.ttest_rel(RHO["kl"], RHO["mse"]).pvalue,
        ("kpt. ρ", "COCO", "1D"): stats.ttest_rel(RHO["kl"], RHO["mse"]).pvalue,
    }
    for stub, alone in tests.items():
        theirs, ours, difference, _, shown, *_ = rows[stub]
        assert isinstance(theirs, Value) and isinstance(ours, Value) and isinstance(difference, Value)
        assert difference.mean == pytest.approx(ours.mean - theirs.mean)
        assert difference.interval is not None
        p = 0.0005 if shown == "< 0.001" else shown.mean
        # Corrected it is no smaller than alone, and no larger than by Bonferroni.
        assert 0.9 * alone <= p <= 1.1 * len(tests) * alone + 0.001
        assert (p < 0.05) == (not difference.interval[0] <= 0 <= difference.interval[1])
    assert rows["kpt. ρ", "COCO", "2D"][3].mean == 1.0
    _, _, overall, _, p, *_ = rows["kpt. ρ", "All", "all"]
    assert isinstance(overall, Value)
    assert overall.mean == pytest.approx(np.mean(RHO["kl"]) - np.mean(RHO["mse"]))
    assert p == ""
    assert "all 6 comparisons together" in table.notes[-1]
    turned = {row.stub: row.values for row in versus(records, "mse", "kl").rows}["kpt. ρ", "All", "all"][2]
    assert isinstance(turned, Value)
    assert turned.mean == pytest.approx(-overall.mean)


def test_what_cannot_be_paired_is_named(records: list[Record]) -> None:
    with pytest.raises(ValueError, match="no record of a loss 'awing'; there are records of dm, kl, mse"):
        versus(records, "kl", "awing")
    with pytest.raises(ValueError, match="no usable record of a loss: run the cells first"):
        versus([run for run in records if run.content["control"]], "kl", "mse")
    of_kl = [run for run in records if run.cell.loss != "kl" or run.cell.seed > 1]
    of_mse = [run for run in of_kl if run.cell.loss != "mse" or run.cell.seed < 2]
    with pytest.raises(ValueError, match="kl and mse have no seed in common on the same data"):
        versus(of_mse, "kl", "mse")


def coco(loss: str, ap: float | None, seed: int = 0, head: str = "heatmap", **training: float) -> dict:
    return record(loss=loss, seed=seed, head=head, metrics={**COCO_METRICS, "AP": ap}, training=training)


def comparison(folder: Path, *contents: dict) -> list[dict[str, str]]:
    """The rows of a loss ``mine`` beside the others."""
    for content in contents:
        write(folder, content)
    return rows_of(to_markdown(beside(read_results(folder), "mine")))


def test_differences_are_to_mse_and_to_the_best_other_loss(tmp_path: Path) -> None:
    one, other, alone = comparison(
        tmp_path,
        *(coco(loss, ap) for loss, ap in (("mse", 0.4), ("kl", 0.45), ("mine", 0.42))),
        *(coco(loss, ap, head="simcc") for loss, ap in (("mse", 0.2), ("kl", 0.1), ("mine", 0.3))),
        record("mpii", "mine", metrics={**MPII_METRICS, "PCKh": 0.75}),
        record("coco", "oracle", metrics={**COCO_METRICS, "AP": 0.99}, control=True),
    )
    assert (one["Dataset"], one["Head"], one["Metric"], one["MINE"]) == ("COCO", "2D", "AP", "42.0")
    assert (one["minus MSE"], one["minus the best"], one["which is"]) == ("+2.0", "-3.0", "KL")
    assert (other["Head"], other["minus MSE"], other["which is"]) == ("1D", "+10.0", "MSE")
    assert (alone["Dataset"], alone["Metric"], alone["MINE"]) == ("MPII", "PCKh", "75.0")
    assert {alone["minus MSE"], alone["minus the best"], alone["which is"]} == {"—"}


def test_differences_are_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    aps = {"mse": {0: 0.4, 1: 0.5, 7: 0.1}, "mine": {0: 0.41, 1: 0.53, 3: 0.9}}
    contents = [coco(loss, ap, seed) for loss, seeds in aps.items() for seed, ap in seeds.items()]
    (row,) = comparison(tmp_path, *contents)
    assert row["minus MSE"].startswith("+2.0 [")  # the mean of 1 and 3
    assert row["MINE"].startswith("61.3 [")
    low, high = (float(end) for end in row["minus MSE"].removeprefix("+2.0 [").removesuffix("]").split(", "))
    cells = read_results(tmp_path).cells
    ours, theirs = (cells["coco", "tiny", "heatmap", loss] for loss in ("mine", "mse"))
    found = difference([(ours, theirs, "metrics.AP")])
    assert (low, high) == (round(100 * found.low, 1), round(100 * found.high, 1))
    assert low < 2 < high


def test_a_loss_that_is_no_better_than_the_mean_pose_is_said_to_have_learned_nothing(tmp_path: Path) -> None:
    curve = {"iteration": [5, 10, 15], "loss": [124.0, 3.0, 8e-5]}
    for head, ap in (("heatmap", 0.001), ("simcc", 0.2)):
        write(tmp_path, coco("mine", ap, head=head, curve=curve))
    write(tmp_path, record("coco", "mean_pose", metrics={**COCO_METRICS, "AP": 0.001}, control=True))
    (said,) = [note for note in beside(read_results(tmp_path), "mine").notes if "mean pose" in note]
    assert said.startswith(
        "COCO 2D: no better than the mean pose, it has learned nothing while the loss went "
    )
    assert "from 124 to 8e-05 (trained at one learning rate, not tuned). `rspose check-loss mine`" in said


def test_a_loss_without_a_record_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a record of the loss 'mine', found none"):
        comparison(tmp_path, coco("mse", 0.4))


def test_the_cost_is_that_of_the_loss_and_of_trainings_of_the_same_dataset_and_model(tmp_path: Path) -> None:
    for each in (
        coco("mine", 0.4, 0, seconds_per_iteration=0.25, peak_memory_mb=900.0),
        coco("mine", 0.4, 1, seconds_per_iteration=0.35, peak_memory_mb=900.0),
        coco("mse", 0.4, 0, seconds_per_iteration=0.2, peak_memory_mb=800.0),
        record("mpii", "mse", metrics=MPII_METRICS, training={"seconds_per_iteration": 9.0}),
    ):
        write(tmp_path, each)
    own = {"forward_ms": 10.0, "backward_ms": 2.34, "extra_mb": 89.6, "times_mse": 1.52}
    measured = {"heatmap": own, "simcc": {**own, "extra_mb": None}}
    row, other = rows_of(to_markdown(cost_table(read_results(tmp_path), "mine", measured)))
    assert (row["Head"], row["loss"], row["of MSE's"], row["memory"]) == ("2D", "12.3 ms", "1.5 x", "90 MB")
    assert row["training step (MSE)"] == "300 ms (200 ms)"
    assert row["peak memory (MSE)"] == "900 MB (800 MB)"
    assert (other["memory"], other["training step (MSE)"]) == ("—", "— (—)")
