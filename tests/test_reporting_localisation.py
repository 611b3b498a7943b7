"""Loss against localisation: the table says what the file holds, the figure shows every loss."""

import json
from pathlib import Path

import pandas as pd
from builders.records import LOCALISATION

from rspose.reporting.localisation import localisation_figure, localisation_table, make_localisation


def test_the_table_has_a_row_a_loss_and_the_least_error_in_bold() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in localisation_table(LOCALISATION).splitlines()
        if line.startswith("|")
    ]
    assert rows[0] == ["Loss", "2D blurred", "2D split", "2D background", *(f"1D {n}" for n in rows_of_1d())]
    assert rows[2] == ["MSE", "1.0", "1.0", "1.0", "**0.5**", "**0.5**", "**0.5**"]
    assert rows[3] == ["RSPOSE †", "**0.3**", "**0.3**", "**0.3**", "—", "—", "—"]


def rows_of_1d() -> list[str]:
    return ["blurred", "split", "background"]


def test_the_figure_draws_each_loss_relative_to_its_start_or_its_end() -> None:
    figure = localisation_figure(LOCALISATION)
    assert len(figure.axes) == 2 * 4
    moved, blurred = figure.axes[0], figure.axes[1]
    assert list(moved.lines[0].get_ydata()) == [0.0, 0.5, 1.0]
    drawn = [line for line in blurred.lines if len(line.get_xdata()) == 3]
    assert [list(line.get_ydata()) for line in drawn] == [[1.0, 0.5, 2.0]] * 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["MSE", "RSPOSE †"]
    assert all(axes.get_title() for axes in figure.axes[:4])


def test_all_files_are_written(tmp_path: Path) -> None:
    source = tmp_path / "localisation.json"
    source.write_text(json.dumps(LOCALISATION))
    written = make_localisation(source, tmp_path / "out")
    assert {path.name for path in written} == {"table.md", "table.csv", "figure.svg", "figure.png"}
    assert all(path.stat().st_size for path in written)
    numbers = pd.read_csv(tmp_path / "out" / "table.csv")
    assert len(numbers) == 3 * 4 and set(numbers.columns) >= {"loss", "head", "path", "tolerated_error"}
