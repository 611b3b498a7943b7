"""One loss against another: every number is that of a paired test, and p is corrected over all of them."""

from pathlib import Path

import numpy as np
import pytest
from builders.records import record, write
from scipy import stats

from rspose.cli import main
from rspose.grid.record import Record
from rspose.reporting.difference_tables import versus
from rspose.reporting.frame import ordered_records
from rspose.reporting.statistics import holm
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
    # The pose correlations of these records are equal, which is no difference: p is 1.
    corrected = holm([*tests.values(), 1, 1])[:4]
    for (stub, p), expected in zip(tests.items(), corrected, strict=True):
        theirs, ours, difference, _, shown = rows[stub]
        assert isinstance(theirs, Value) and isinstance(ours, Value) and isinstance(difference, Value)
        assert difference.mean == pytest.approx(ours.mean - theirs.mean)
        assert difference.mark == ("*" if expected < 0.05 else "")
        assert shown == ("< 0.001" if expected < 0.0005 else Value(pytest.approx(expected)))
        assert p <= expected
    assert rows["kpt. ρ", "COCO", "2D"][3] == Value(1.0)
    _, _, overall, _, p = rows["kpt. ρ", "All", "all"]
    assert isinstance(overall, Value)
    assert overall.mean == pytest.approx(np.mean(RHO["kl"]) - np.mean(RHO["mse"]))
    assert p == ""
    assert "over 6 comparisons" in table.notes[-1]
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


def test_the_command_prints_the_table(
    records: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["versus", "kl", "mse", "--records", str(tmp_path)]) == 0
    assert "| kpt. ρ  | COCO      | 2D     |" in capsys.readouterr().out
    assert main(["versus", "kl", "nothing", "--records", str(tmp_path)]) == 1
    assert "no record of a loss 'nothing'" in capsys.readouterr().err
