"""One loss beside the others: differences over common seeds, and costs of the same datasets and models."""

from pathlib import Path

import pytest
from builders.records import COCO_METRICS, MPII_METRICS, record, rows_of, write

from rspose.grid.record import Record
from rspose.reporting.difference_tables import beside, cost_table
from rspose.reporting.frame import ordered_records
from rspose.reporting.markdown import to_markdown
from rspose.reporting.results import read_results
from rspose.reporting.statistics import difference

COST = {"forward_ms": 10.0, "backward_ms": 2.34, "extra_mb": 89.6, "times_mse": 1.52}


def coco(loss: str, ap: float | None, seed: int = 0, head: str = "heatmap", **training: float) -> dict:
    return record(loss=loss, seed=seed, head=head, metrics={**COCO_METRICS, "AP": ap}, training=training)


def comparison(folder: Path, loss: str) -> list[dict[str, str]]:
    return rows_of(to_markdown(beside(read_results([folder]), loss)))


def cost(folder: Path, measured: dict[str, dict]) -> list[dict[str, str]]:
    return rows_of(to_markdown(cost_table(read_results([folder]), "mine", measured)))


def runs(folder: Path, loss: str) -> list[Record]:
    return [run for run in ordered_records(folder) if run.cell.loss == loss]


def test_differences_are_to_mse_and_to_the_best_other_loss(tmp_path: Path) -> None:
    for each in (
        coco("mse", 0.4),
        coco("kl", 0.45),
        coco("mine", 0.42),
        coco("mse", 0.2, head="simcc"),
        coco("kl", 0.1, head="simcc"),
        coco("mine", 0.3, head="simcc"),
        record("mpii", "mine", metrics={**MPII_METRICS, "PCKh": 0.75}),
        record("coco", "oracle", metrics={**COCO_METRICS, "AP": 0.99}, control=True),
    ):
        write(tmp_path, each)
    one, other, alone = comparison(tmp_path, "mine")
    assert (one["Dataset"], one["Head"], one["Metric"], one["MINE"]) == ("COCO", "2D", "AP", "42.0")
    assert (one["minus MSE"], one["minus the best"], one["which is"]) == ("+2.0", "-3.0", "KL")
    assert (other["Head"], other["minus MSE"], other["which is"]) == ("1D", "+10.0", "MSE")
    assert (alone["Dataset"], alone["Metric"], alone["MINE"]) == ("MPII", "PCKh", "75.0")
    assert {alone["minus MSE"], alone["minus the best"], alone["which is"]} == {"—"}


def test_differences_are_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    for each in (
        coco("mse", 0.4, 0),
        coco("mse", 0.5, 1),
        coco("mse", 0.1, 7),
        coco("mine", 0.41, 0),
        coco("mine", 0.53, 1),
        coco("mine", 0.9, 3),
    ):
        write(tmp_path, each)
    (row,) = comparison(tmp_path, "mine")
    assert row["minus MSE"].startswith("+2.0 [")  # the mean of 1 and 3
    assert row["MINE"].startswith("61.3 [")
    low, high = (float(end) for end in row["minus MSE"].removeprefix("+2.0 [").removesuffix("]").split(", "))
    found = difference([(runs(tmp_path, "mine"), runs(tmp_path, "mse"), "metrics.AP")])
    assert (low, high) == (round(100 * found.low, 1), round(100 * found.high, 1))
    assert low < 2 < high


def test_a_loss_without_a_record_is_said_so(tmp_path: Path) -> None:
    write(tmp_path, coco("mse", 0.4))
    with pytest.raises(ValueError, match="expected a record of the loss 'mine', found none"):
        comparison(tmp_path, "mine")


def test_the_cost_is_that_of_the_loss_and_of_trainings_of_the_same_dataset_and_model(tmp_path: Path) -> None:
    mine = {"seconds_per_iteration": 0.25, "peak_memory_mb": 900.0}
    for each in (
        coco("mine", 0.4, 0, **mine),
        coco("mine", 0.4, 1, **{**mine, "seconds_per_iteration": 0.35}),
        coco("mse", 0.4, 0, seconds_per_iteration=0.2, peak_memory_mb=800.0),
        record("mpii", "mse", metrics=MPII_METRICS, training={"seconds_per_iteration": 9.0}),
    ):
        write(tmp_path, each)
    (row,) = cost(tmp_path, {"heatmap": COST})
    assert (row["Head"], row["loss"], row["of MSE's"], row["memory"]) == ("2D", "12.3 ms", "1.5 x", "90 MB")
    assert row["training step (MSE)"] == "300 ms (200 ms)"
    assert row["peak memory (MSE)"] == "900 MB (800 MB)"
    (row,) = cost(tmp_path, {"simcc": {**COST, "extra_mb": None}})
    assert (row["memory"], row["training step (MSE)"]) == ("—", "— (—)")
