"""Two sets of results compared: beyond their intervals, in one set only, made in another way."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.records import COCO_METRICS, record, with_bootstrap, write

from rspose.cli import main
from rspose.reporting.agreement import Agreement, compare, described
from rspose.reporting.frame import ordered_records

DRAWN, OTHER = (np.random.default_rng(seed).normal(0, 0.01, 500) for seed in (0, 1))


def cell(loss: str, ap: float, noise: np.ndarray = DRAWN, **changes: Any) -> dict[str, Any]:
    """One seed with a bootstrap over images."""
    content = record(loss=loss, metrics={**COCO_METRICS, "AP": ap}, **changes)
    return with_bootstrap(content, {"metrics.AP": ap + noise})


def compared(root: Path, first: list[dict[str, Any]], second: list[dict[str, Any]]) -> Agreement:
    """Two sets of records, written to the folders ``a`` and ``b``."""
    for name, contents in (("a", first), ("b", second)):
        for content in contents:
            write(root / name, content)
    return compare(ordered_records(root / "a"), ordered_records(root / "b"))


def diff(root: Path) -> int:
    return main(["diff", str(root / "a"), str(root / "b")])


def test_a_set_agrees_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agreement = compared(tmp_path, *[[cell("mse", 0.4), cell("kl", 0.5)]] * 2)
    assert agreement.complete and len(agreement.equal) == 2 and not agreement.settings
    assert diff(tmp_path) == 0
    assert capsys.readouterr().out.startswith("2 cells equal, 0 within their intervals, 0 beyond")


def test_a_replay_agrees_to_the_last_digit_or_not(tmp_path: Path) -> None:
    compared(tmp_path, [cell("kl", 0.50)], [cell("kl", 0.50 + 1e-9, OTHER)])
    both = ["diff", str(tmp_path / "a"), str(tmp_path / "b")]
    assert (main(both), main([*both, "--exact"])) == (0, 1)
    assert main(["diff", "--exact", str(tmp_path / "a"), str(tmp_path / "a")]) == 0


def test_a_replay_has_all_numbers_and_not_the_main_metric_alone(tmp_path: Path) -> None:
    other = cell("kl", 0.5)
    other["confidence"]["pose"]["spearman"] = 0.05
    agreement = compared(tmp_path, [cell("kl", 0.5)], [other])
    assert agreement.complete and not agreement.exact
    (said,) = agreement.elsewhere
    assert said.startswith("COCO tiny 2D kl seed 0: confidence.pose.spearman ") and said.endswith(" -> 0.05")


def test_a_number_that_vanished_is_no_replay(tmp_path: Path) -> None:
    agreement = compared(
        tmp_path, [cell("kl", 0.5)], [record(loss="kl", metrics={**COCO_METRICS, "AP": None})]
    )
    (gap,) = agreement.unknown
    assert str(gap).startswith("COCO tiny 2D kl: AP 50.00 -> none (") and not agreement.complete


def test_a_difference_beyond_its_interval_is_told_from_one_within(tmp_path: Path) -> None:
    first = [cell("mse", 0.40), cell("kl", 0.50), cell("dm", 0.30)]
    # The paired difference spreads by 1.4 points for KL and not at all for MSE.
    second = [cell("mse", 0.401), cell("kl", 0.51, OTHER), cell("dm", 0.2, OTHER)]
    agreement = compared(tmp_path, first, second)
    assert [gap.cell[3] for gap in agreement.beyond] == ["dm", "mse"]  # the largest first
    assert [gap.cell[3] for gap in agreement.within] == ["kl"]
    assert not agreement.complete
    assert str(agreement.beyond[1]) == (
        "COCO tiny 2D mse: AP 40.00 -> 40.10 (+0.10 [+0.10, +0.10] over images)"
    )


def test_several_seeds_are_compared_seed_by_seed(tmp_path: Path) -> None:
    hard = list(enumerate((0.0, 0.05, -0.05, 0.02)))
    first = [record(seed=seed, metrics={"AP": 0.4 + h}) for seed, h in hard]
    second = [record(seed=seed, metrics={"AP": 0.41 + h + 0.001 * seed}) for seed, h in hard]
    (gap,) = compared(tmp_path, first, second).beyond
    assert gap.difference is not None and (gap.difference.pairs, gap.difference.basis) == (4, "seeds")
    assert "over 4 seeds)" in str(gap)


def test_a_difference_without_an_interval_is_named(tmp_path: Path) -> None:
    (gap,) = compared(tmp_path, [record()], [record(metrics={**COCO_METRICS, "AP": 0.4513})]).unknown
    assert str(gap) == "COCO tiny 2D mse: AP 45.12 -> 45.13 (+0.01, no interval)"


def test_other_copies_of_the_data_do_not_pair_up(tmp_path: Path) -> None:
    agreement = compared(tmp_path, [cell("mse", 0.4)], [cell("mse", 0.5, data={"checksum": "other"})])
    assert "nothing pairs up" in str(agreement.unknown[0])
    assert agreement.settings["data.checksum", "abc", "other"] == 1


def test_cells_and_seeds_in_one_set_only_are_named(tmp_path: Path) -> None:
    first = [record(), record(seed=1), record(loss="oracle", control=True)]
    agreement = compared(tmp_path, first, [record(), record(loss="dm")])
    assert agreement.only_first == ["COCO tiny 2D mse seed 1", "COCO control oracle"]
    assert agreement.only_second == ["COCO tiny 2D dm seed 0"]
    assert not agreement.complete


def test_protocol_settings_and_versions_that_differ_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = [cell("mse", 0.4), cell("kl", 0.5)]
    second = copy.deepcopy(first)
    for content in second:
        content["protocol"]["flip_test"] = True
        content["loss"]["parameters"]["beta"] = 2.0
        content["provenance"]["versions"]["torch"] = "2.12.0"
        content["provenance"]["config_sha256"] = "another"
        content["training"] |= {"seconds": 12, "final_loss": {"loss": 0.5}}
    assert compared(tmp_path, first, second).settings == {
        ("loss.parameters.beta", "1.0", "2.0"): 2,
        ("protocol.flip_test", "False", "True"): 2,
        ("provenance.versions.torch", "2.11.0", "2.12.0"): 2,
    }
    # The numbers are the same: a new version may differ in settings.
    assert diff(tmp_path) == 0
    out = capsys.readouterr().out
    assert "Made in another way:\n" in out
    assert "  provenance.versions.torch: 2.11.0 -> 2.12.0 (2 records)\n" in out


def test_what_differs_is_described_and_is_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agreement = compared(tmp_path, [cell("mse", 0.4)], [cell("mse", 0.5), cell("kl", 0.5)])
    assert diff(tmp_path) == 1
    expected = described(agreement, f"{tmp_path}/a", f"{tmp_path}/b")
    assert capsys.readouterr().out.rstrip("\n") == expected
    assert expected.splitlines() == [
        "0 cells equal, 0 within their intervals, 1 beyond, 0 different without an interval",
        "",
        "Beyond their intervals:",
        "  COCO tiny 2D mse: AP 40.00 -> 50.00 (+10.00 [+10.00, +10.00] over images)",
        "",
        f"Only in {tmp_path}/b:",
        "  COCO tiny 2D kl seed 0",
    ]


def test_an_empty_set_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a", record())
    (tmp_path / "b").mkdir()
    assert diff(tmp_path) == 1
    assert capsys.readouterr().err == f"error: no usable record under {tmp_path}/b\n"


def test_curves_that_differ_are_said_in_a_few_words(tmp_path: Path) -> None:
    def trained(loss: str, last: float, steps: int = 50) -> dict[str, Any]:
        curve = {"iteration": [*range(1, steps + 1)], "loss": [*np.linspace(1, last, steps)]}
        return cell(loss, 0.4, training={"curve": curve})

    first, second = ([trained("mse", last), trained("kl", last)] for last in (0.5, 0.4))
    said = described(compared(tmp_path, first, second), "a", "b")
    assert (
        said.splitlines()[-1] == "  training.curve: a curve of 50 points -> another of 50 points (2 records)"
    )
