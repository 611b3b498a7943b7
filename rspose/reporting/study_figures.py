"""The figures of the confidence study and of training, from records alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from rspose.grid.record import Record
from rspose.reporting.comparison_figures import difference_figure, error_figure
from rspose.reporting.confidence_figures import calibration_figure, threshold_figure
from rspose.reporting.frame import ordered_records
from rspose.reporting.panels import saved
from rspose.reporting.training_figures import cost_figure, factor_figure, learning_curve_figure

FIGURES: dict[str, Callable[[Sequence[Record]], Figure | None]] = {
    "differences": difference_figure,
    "calibration": calibration_figure,
    "errors": error_figure,
    "thresholds": threshold_figure,
    "learning_curves": learning_curve_figure,
    "factors": factor_figure,
    "cost": cost_figure,
}
"""What draws each figure from the records of one dataset; None where they have nothing to draw."""


def make_study_figures(records: Path | Sequence[Path], out: Path) -> list[Path]:
    """Draw every figure of every dataset, ``<dataset>_<figure>.png`` (150 dpi) and ``.svg``.

    A figure for which the records have nothing is left out.

    Args:
        records: Folder of records, or several, whose records are merged.
        out: Folder of the figures, made if it is not there.

    Returns:
        The files written.

    Raises:
        FileNotFoundError: If there is no folder of records.
    """
    folders = [records] if isinstance(records, Path) else list(records)
    usable = ordered_records(*folders)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for dataset in dict.fromkeys(record.cell.dataset for record in usable):
        of_dataset = [record for record in usable if record.cell.dataset == dataset]
        for name, draw in FIGURES.items():
            figure = draw(of_dataset)
            if figure is None:
                continue
            # Arranged once for both files.
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            written += [saved(figure, out / f"{dataset}_{name}.{suffix}") for suffix in ("png", "svg")]
    return written
