"""Two sets of results compared: beyond their intervals, in one set only, made in another way."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.records import COCO_METRICS, record, with_bootstrap, write

from rspose.cli import main
from rspose.reporting.agreement import compare, described
from rspose.reporting.frame import ordered_records

DRAWN = np.random.default_rng(0).normal(0, 0.01, 500)


def cell(loss: str, ap: float, noise: np.ndarray = DRAWN, **changes: Any) -> dict[str, Any]:
    """One seed with a bootstrap over images."""
    content = record(loss=loss, metrics={**COCO_METRICS, "AP": ap}, **changes)
    return with_bootstrap(content, {"metrics.AP": ap + noise})


def both(tmp_path: Path, first: list[dict[str, Any]], second: list[dict[str, Any]]) -> tuple[Path, Path]:
    for name, contents in (("a", first), ("b", second)):
        for content in contents:
            write(tmp_path / name, content)
    return tmp_path / "a", tmp_path / "b"


def test_a_set_agrees_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = both(tmp_path, [cell("mse", 0.4), cell("kl", 0.5)], [cell("mse", 0.4), cell("kl", 0.5)])
    agreement = compare(ordered_records(a), ordered_records(b))
    assert agreement.complete and len(agreement.equal) == 2 and agreement.settings == []
    assert main(["diff", str(a), str(b)]) == 0
    assert capsys.readouterr().out.startswith("2 cells equal, 0 within their intervals, 0 beyond")


def test_a_difference_beyond_its_interval_is_told_from_one_within(tmp_path: Path) -> None:
    other = np.random.default_rng(1).normal(0, 0.01, 500)
    first = [cell("mse", 0.40), cell("kl", 0.50), cell("dm", 0.30)]
    # The paired difference spreads by 1.4 points for KL and not at all for MSE.
    second = [cell("mse", 0.401), cell("kl", 0.51, other), cell("dm", 0.2, other)]
    a, b = both(tmp_path, first, second)
    agreement = compare(ordered_records(a), ordered_records(b))
    assert [gap.cell[3] for gap in agreement.beyond] == ["dm", "mse"]  # the largest first
    assert [gap.cell[3] for gap in agreement.within] == ["kl"]
    assert not agreement.complete
    assert str(agreement.beyond[1]) == (
        "COCO tiny 2D mse: AP 40.00 -> 40.10 (+0.10 [+0.10, +0.10] over images)"
    )


def test_several_seeds_are_compared_seed_by_seed(tmp_path: Path) -> None:
    hard = (0.0, 0.05, -0.05, 0.02)
    runs = {
        name: [record(seed=s, metrics={"AP": 0.4 + h + change(s)}) for s, h in enumerate(hard)]
        for name, change in (("a", lambda s: 0.0), ("b", lambda s: 0.01 + 0.001 * s))
    }
    a, b = both(tmp_path, runs["a"], runs["b"])
    (gap,) = compare(ordered_records(a), ordered_records(b)).beyond
    assert gap.difference is not None and (gap.difference.pairs, gap.difference.basis) == (4, "seeds")
    assert "over 4 seeds)" in str(gap)


def test_a_difference_without_an_interval_is_named(tmp_path: Path) -> None:
    a, b = both(tmp_path, [record(loss="mse")], [record(loss="mse", metrics={**COCO_METRICS, "AP": 0.4513})])
    (gap,) = compare(ordered_records(a), ordered_records(b)).unknown
    assert str(gap) == "COCO tiny 2D mse: AP 45.12 -> 45.13 (+0.01, no interval)"


def test_other_copies_of_the_data_do_not_pair_up(tmp_path: Path) -> None:
    a, b = both(tmp_path, [cell("mse", 0.4)], [cell("mse", 0.5, data={"checksum": "other"})])
    agreement = compare(ordered_records(a), ordered_records(b))
    assert "nothing pairs up" in str(agreement.unknown[0])
    assert ("data.checksum", "abc", "other", 1) in agreement.settings


def test_cells_and_seeds_in_one_set_only_are_named(tmp_path: Path) -> None:
    first = [record(loss="mse"), record(loss="mse", seed=1), record(loss="oracle", control=True)]
    second = [record(loss="mse"), record(loss="dm")]
    a, b = both(tmp_path, first, second)
    agreement = compare(ordered_records(a), ordered_records(b))
    assert agreement.only_first == ["COCO tiny 2D mse seed 1", "COCO control oracle"]
    assert agreement.only_second == ["COCO tiny 2D dm seed 0"]
    assert not agreement.complete


def test_protocol_settings_and_versions_that_differ_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def changed(content: dict[str, Any]) -> dict[str, Any]:
        content = copy.deepcopy(content)
        content["protocol"]["flip_test"] = True
        content["loss"]["parameters"]["beta"] = 2.0
        content["provenance"]["versions"]["torch"] = "2.12.0"
        content["provenance"]["config_sha256"] = "another"
        content["training"] |= {"seconds": 12, "final_loss": {"loss": 0.5}}
        return content

    first = [cell("mse", 0.4), cell("kl", 0.5)]
    a, b = both(tmp_path, first, [changed(content) for content in first])
    agreement = compare(ordered_records(a), ordered_records(b))
    assert sorted(agreement.settings) == [
        ("loss.parameters.beta", "1.0", "2.0", 2),
        ("protocol.flip_test", "False", "True", 2),
        ("provenance.versions.torch", "2.11.0", "2.12.0", 2),
    ]
    # The numbers are the same: a new version may differ in settings.
    assert main(["diff", str(a), str(b)]) == 0
    out = capsys.readouterr().out
    assert "Made in another way:\n" in out
    assert "  provenance.versions.torch: 2.11.0 -> 2.12.0 (2 records)\n" in out


def test_what_differs_is_described_and_is_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = both(tmp_path, [cell("mse", 0.4)], [cell("mse", 0.5), cell("kl", 0.5)])
    assert main(["diff", str(a), str(b)]) == 1
    expected = described(compare(ordered_records(a), ordered_records(b)), str(a), str(b))
    assert capsys.readouterr().out.rstrip("\n") == expected
    assert expected.splitlines() == [
        "0 cells equal, 0 within their intervals, 1 beyond, 0 different without an interval",
        "",
        "Beyond their intervals:",
        "  COCO tiny 2D mse: AP 40.00 -> 50.00 (+10.00 [+10.00, +10.00] over images)",
        "",
        f"Only in {b}:",
        "  COCO tiny 2D kl seed 0",
    ]


def test_an_empty_set_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = both(tmp_path, [record()], [])
    b.mkdir()
    assert main(["diff", str(a), str(b)]) == 1
    assert capsys.readouterr().err == f"error: no usable record under {b}\n"
