"""Results at several training lengths: tables of one length each, and what changes along it."""

import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from builders.grid import REPOSITORY
from builders.records import fail, record, rows_of, with_bootstrap, write

from rspose.cli import main
from rspose.reporting import chart_frames
from rspose.reporting.charts import page_charts
from rspose.reporting.difference_tables import difference_table, length_table, versus
from rspose.reporting.markdown import to_markdown
from rspose.reporting.report.cells import cell_details
from rspose.reporting.report.page import _cell_rows, _summary
from rspose.reporting.results import read_results
from rspose.reporting.statistics import ALL, Verdict
from rspose.reporting.study_figures import make_study_figures
from rspose.reporting.tables import main_table, make_tables

GAIN = {1.0: 0.04, 2.0: 0.01, 4.0: -0.02}
"""Of a loss that learns faster at first and is overtaken, by length."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """MSE, a loss that is better only early, and one at the recipe's length alone; four seeds."""
    rng = np.random.default_rng(0)
    for length, gain in GAIN.items():
        for loss, ap in (("mse", 0.4), ("rspose", 0.4 + gain)):
            for seed in range(4):
                value = ap + 0.05 * np.log2(length) + 0.001 * seed
                content = record(loss=loss, seed=seed, metrics={"AP": value}, cell={"length": length})
                write(tmp_path, with_bootstrap(content, {"metrics.AP": rng.normal(value, 0.001, 50)}))
    write(tmp_path, record(loss="kl", metrics={"AP": 0.3}))
    write(tmp_path, record(loss="oracle", control=True, metrics={"AP": 1.0}))
    return tmp_path


def test_the_lengths_are_told_apart_and_the_controls_stand_beside_each(folder: Path) -> None:
    results = read_results(folder)
    assert [each.length for each in results.lengths] == [1.0, 2.0, 4.0]
    assert results.length == 1.0  # with the most losses
    for each in results.lengths:
        assert {record.cell.length for record in each.records if not record.control} == {each.length}
        assert sum(record.control for record in each.records) == 1
        assert each.values["coco", "tiny", "heatmap", "mse", "metrics.AP"].mean == pytest.approx(
            0.4 + 0.05 * np.log2(each.length) + 0.0015
        )


def test_of_lengths_with_equally_many_losses_the_longest_is_the_main_one(folder: Path) -> None:
    (folder / "coco/tiny/heatmap/kl/seed0.json").unlink()
    assert read_results(folder).length == 4.0


def test_a_loss_that_is_better_only_early_shows_its_crossing(folder: Path) -> None:
    results = read_results(folder)
    table = length_table(results)
    assert table is not None
    assert "COCO tiny 2D RSPOSE (above at 1 ×, above at 2 ×, below at 4 ×)" in table.notes[0]
    assert "KL" not in table.notes[0]
    frame = chart_frames.lengths(results).query("loss == 'RSPOSE'").set_index("length")
    opened = frame.cell[frame.cell != ""]
    assert list(opened.index) == [results.length], "a point opens the panel of its own length, or none"
    for length, gain in GAIN.items():
        at = frame.loc[length]
        assert at.difference == pytest.approx(100 * gain)
        assert at.low < 100 * gain < at.high and (at.low > 0 or at.high < 0)


def test_every_length_has_its_tables_and_the_differences_along_it_one(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables"
    make_tables(folder, out)
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"length2", "length4"}
    assert "training length 4 × the recipe's" in (out / "length4/coco.md").read_text()
    assert "training length" not in (out / "coco.md").read_text()
    rows = rows_of((out / "lengths.md").read_text())
    assert [row["Loss"] for row in rows] == ["MSE", "KL", "RSPOSE"]
    assert list(rows[1].values())[-4:] == ["—"] * 4  # of KL at the other lengths
    figures = {path.name for path in make_study_figures(folder, tmp_path / "figures")}
    assert "coco_lengths.png" in figures


def test_one_length_makes_no_table_along_it(tmp_path: Path) -> None:
    write(tmp_path, record(loss="mse"))
    write(tmp_path, record(loss="kl"))
    results = read_results(tmp_path)
    assert length_table(results) is None and chart_frames.lengths(results).empty


def test_a_failure_is_told_at_its_length(folder: Path) -> None:
    path = fail(folder, "dm", 0, "train", "no memory")
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 0, "length": 4.0'))
    results = read_results(folder)
    assert [len(each.failures) for each in results.lengths] == [0, 0, 1]


def test_a_failure_at_a_length_without_records_and_all_of_the_others_are_told(folder: Path) -> None:
    for loss, length in (("awing", 4.0), ("dm", 8.0)):
        path = fail(folder, loss, 0, "train", "no memory")
        path.write_text(path.read_text().replace('"seed": 0', f'"seed": 0, "length": {length}'))
    results = read_results(folder)
    assert "dm seed 0, 8 × (no memory)" in to_markdown(main_table(results))
    rows = _cell_rows(results, set())
    assert [row["status"] for row in rows].count("failed") == 2 == _summary(results)["failed"]
    assert _summary(results)["records"] == len(rows) - 2 - _summary(results)["missing"]


def test_a_dataset_with_records_of_another_length_alone(folder: Path, tmp_path: Path) -> None:
    write(folder, record("mpii", metrics={"PCKh": 0.5}, cell={"length": 4.0}))
    make_tables(folder, tmp_path / "tables")
    assert "MPII" in (tmp_path / "tables/lengths.md").read_text()
    assert any(row["dataset"] == "MPII" for row in _cell_rows(read_results(folder), set()))
    assert "mpii_lengths.png" not in {path.name for path in make_study_figures(folder, tmp_path / "figures")}
    write(folder, record("mpii", "kl", metrics={"PCKh": 0.6}, cell={"length": 4.0}))
    kinds = [(chart["kind"], chart["dataset"]) for chart in page_charts(read_results(folder))]
    assert ("lengths", "MPII") in kinds


def test_a_row_of_all_cells_leads_to_a_panel_that_has_its_number(folder: Path, tmp_path: Path) -> None:
    results = read_results(folder)
    rows = _cell_rows(results, set(cell_details(results)))
    assert len(rows) == 26 + 3  # KL lacks three seeds
    assert {row["seed"] for row in rows if row["address"]} == {"0", "1", "2", "3", ""}
    assert {row["seed"] for row in rows if not row["address"]} == {
        f"{seed}, {length} ×" for seed in range(4) for length in (2, 4)
    }


def test_lengths_without_a_loss_to_compare_with_have_scores_alone(tmp_path: Path) -> None:
    for length in (1.0, 4.0):
        for loss in ("kl", "rspose"):
            write(tmp_path / "records", record(loss=loss, cell={"length": length}))
    make_tables(tmp_path / "records", tmp_path / "tables")
    table = length_table(read_results(tmp_path / "records"))
    assert table is not None and [column.label for column in table.columns] == ["score"] * 2
    assert "Differences" not in " ".join(table.notes)


def test_the_length_with_the_most_cells_is_the_main_one_where_longer_ones_have_as_many_losses(
    tmp_path: Path,
) -> None:
    for length, seeds in ((1.0, 3), (4.0, 1)):
        for loss, seed in product(("mse", "kl"), range(seeds)):
            write(tmp_path, record(loss=loss, seed=seed, cell={"length": length}))
    assert read_results(tmp_path).length == 1.0


def test_every_table_says_how_many_comparisons_are_corrected_together_and_over_what(
    folder: Path, tmp_path: Path
) -> None:
    make_tables(folder, tmp_path / "tables")
    for name in ("lengths.md", "differences.md", "length4/differences.md"):
        assert "all 3 comparisons together" in (tmp_path / "tables" / name).read_text()
    for file in folder.glob("coco/*/*/*/seed[123]*.json"):
        file.unlink()
    make_tables(folder, tmp_path / "tables")
    said = (tmp_path / "tables/lengths.md").read_text()
    assert "of a bootstrap over the images: hence no verdict" in said and "over the seeds" not in said


def test_a_difference_says_at_which_length_it_is(folder: Path) -> None:
    results = read_results(folder)
    for each in results.lengths:
        at = f"training length {each.length:g} × the recipe's"
        tables = difference_table(each), versus(each.records, "rspose", "mse")
        assert [at in table.caption for table in tables] == [each.length > 1] * 2


def test_no_file_of_somebody_else_is_written_over_or_removed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "paper"
    (out / "lengthy").mkdir(parents=True)
    others = [out / "mpii.csv", out / "lengthy/claimed.md", out / "main.tex"]
    for file in others[:2]:
        file.write_text("mine")
    make_tables(folder, out)
    others[2].write_text("mine")
    (out / "coco.md").write_text("** of before")
    with pytest.raises(ValueError, match=r"main\.tex: expected a table of before, found another file"):
        make_tables(folder, out)
    assert [file.read_text() for file in others] == ["mine"] * 3
    assert (out / "coco.md").read_text() == "** of before", "nothing is written where something is in the way"


def test_tables_of_an_earlier_call_go_and_files_of_others_stay(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables"
    unknown = write(folder, record("hands", metrics={"AP": 0.5}))
    make_tables(folder, out)
    assert (out / "hands.md").exists()
    (out / "notes.md").touch()
    shutil.copy(out / "hands.tex", out / "newest.tex")  # as of another command, with > newest.tex
    unknown.unlink()
    for record_of in folder.glob("coco/*/*/*/seed*-length4.json"):
        record_of.unlink()
    make_tables(folder, out)
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"length2"}
    assert {path.name for path in out.glob("[hn]*.*")} == {"notes.md", "newest.tex"}


def test_a_loss_is_bold_where_it_is_not_worse_than_the_best_by_the_differences_too() -> None:
    compared = 0
    for each in read_results(REPOSITORY / "results/reference/photos").lengths:
        standing = each.standing("metrics.PCK")
        best = {cell[:3] for cell, found in standing.items() if found is None and cell[3] == "mse"}
        for one in each.differences[each.differences.dataset != ALL].itertuples(index=False):
            if one[:3] in best:
                assert (standing[one[:4]] is Verdict.WORSE) == (one.verdict is Verdict.WORSE), one
                compared += 1
    assert compared > 5


def test_two_losses_are_compared_at_the_length_that_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for length, gain in GAIN.items():
        assert main(["versus", "rspose", "mse", "--records", str(folder), "--length", f"{length:g}"]) == 0
        (row,) = (row for row in rows_of(capsys.readouterr().out) if row["Score"] == "AP")
        assert row["difference"].startswith((f"{100 * gain:+.1f}* [", f"{100 * gain:+.1f} ["))
    assert main(["versus", "rspose", "mse", "--records", str(folder), "--length", "3"]) == 1
    assert "--length: expected one of 1, 2, 4; found 3" in capsys.readouterr().err


def test_result_sets_are_compared_length_by_length(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = shutil.copytree(folder, folder.parent / "other")
    for seed in range(4):
        write(other, record(loss="mse", seed=seed, metrics={"AP": 0.6 + 0.01 * seed}, cell={"length": 4.0}))
    assert main(["diff", str(folder), str(other)]) == 1
    assert "COCO tiny 2D mse, 4 ×: AP 50.15 -> 61.50" in capsys.readouterr().out
    assert main(["diff", str(folder), str(folder)]) == 0
    assert capsys.readouterr().out.startswith("8 cells equal, 0")
