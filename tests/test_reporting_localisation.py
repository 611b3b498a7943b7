"""Loss against localisation: the table says what the file holds, the figure shows every loss."""

import json
from pathlib import Path

import pandas as pd
from builders.records import LOCALISATION, rows_of

from rspose.reporting.chart_frames import localisation
from rspose.reporting.charts import LOCALISATION as FIGURE
from rspose.reporting.charts import specification
from rspose.reporting.localisation import localised_losses, make_localisation, tolerated_errors
from rspose.reporting.markdown import to_markdown


def test_the_table_has_a_row_a_loss_and_the_least_error_in_bold() -> None:
    mse, rspose = rows_of(to_markdown(tolerated_errors(LOCALISATION)))
    paths = ("blurred", "split", "background")
    assert list(mse) == ["Loss", *(f"2D {path}" for path in paths), *(f"1D {path}" for path in paths)]
    assert list(mse.values()) == ["MSE", "1.0", "1.0", "1.0", "**0.5**", "**0.5**", "**0.5**"]
    assert list(rspose.values()) == ["RSPOSE †", "**0.3**", "**0.3**", "**0.3**", "—", "—", "—"]


def test_the_figure_draws_each_loss_relative_to_its_start_or_its_end() -> None:
    frame = localisation(LOCALISATION)
    assert len(frame) == 3 * 4 * 3
    rspose = frame[(frame.loss == "RSPOSE †") & (frame["head"] == "heatmap")]
    assert rspose[rspose.path == "peak moves"].value.tolist() == [0.0, 0.5, 1.0]
    assert rspose[rspose.path == "... and a second peak fades"].value.tolist() == [1.0, 0.5, 2.0]
    assert localised_losses(LOCALISATION) == {"mse": "MSE", "rspose": "RSPOSE †"}
    spec = specification(FIGURE, frame, ["MSE", "RSPOSE †"])
    (rows,) = spec["datasets"].values()
    assert len(rows) == len(frame) and len({row["panel"] for row in rows}) == 2 * 4


def test_all_files_are_written(tmp_path: Path) -> None:
    source = tmp_path / "localisation.json"
    source.write_text(json.dumps(LOCALISATION))
    written = make_localisation(source, tmp_path / "out")
    assert {path.name for path in written} == {"table.md", "table.csv", "figure.svg", "figure.png"}
    assert all(path.stat().st_size for path in written)
    numbers = pd.read_csv(tmp_path / "out" / "table.csv")
    assert len(numbers) == 3 * 4 and set(numbers.columns) >= {"loss", "head", "path", "tolerated_error"}
