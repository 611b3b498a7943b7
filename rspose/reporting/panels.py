"""What charts share: which records a line is made of, a grid of panels, a loss's looks, and saving."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from rspose.grid.record import Record
from rspose.reporting.results import Results, head_label
from rspose.reporting.statistics import by_cell
from rspose.reporting.style import (
    dataset_title,
    head_order,
    loss_colour,
    loss_marker,
    loss_order,
)
from rspose.reporting.table import DAGGER

SMALL, NORMAL, LARGE = 8, 9, 11  # points
GREY = "#6E6E6E"
_LEGEND_COLUMN, _LEAST_WIDTH = 1.2, 4.5  # inches


@dataclass(frozen=True)
class Runs:
    """The seeds of a loss with a model and a head on a dataset.

    Attributes:
        records: Their records, in the order of the seeds; at least one.
        title: The loss as written in figures, with a dagger for a reconstruction.
    """

    records: tuple[Record, ...]
    title: str

    @property
    def model(self) -> str:
        """The model."""
        return self.records[0].cell.model

    @property
    def head(self) -> str:
        """The head."""
        return self.records[0].cell.head

    @property
    def loss(self) -> str:
        """Name of the loss."""
        return self.records[0].cell.loss

    def values(self, score: str) -> list[float]:
        """A score, as ``metrics.AP``, of every seed that has it."""
        found = (record.scores.get(score) for record in self.records)
        return [value for value in found if value is not None]


def runs_of(records: Sequence[Record], having: Callable[[Record], object] = bool) -> list[Runs]:
    """The records of trained cells, those of one model, head and loss together, in canonical order.

    Args:
        records: Of one dataset; controls are left out.
        having: Records of which this is false are left out: older ones lack what newer ones have.
    """
    trained = [record for record in records if not record.content["control"] and having(record)]
    labels = Results(trained).labels if trained else {}
    runs = [
        Runs(tuple(sorted(group, key=lambda record: record.cell.seed)), labels[loss])
        for (_, _, _, loss), group in by_cell(trained).items()
    ]
    return sorted(runs, key=lambda each: (each.model, head_order(each.head), loss_order(each.loss, False)))


def models_and_heads(runs: Sequence[Runs]) -> list[tuple[str, str]]:
    """Every model and head that occurs, in canonical order."""
    return list(dict.fromkeys((each.model, each.head) for each in runs))


def panel_title(model: str, head: str, runs: Sequence[Runs]) -> str:
    """The head, with the model where there are several."""
    label = head_label(head)
    return label if len({each.model for each in runs}) == 1 else f"{model}, {label}"


def new_figure(subject: str, runs: Sequence[Runs], width: float, height: float) -> Figure:
    """An empty figure that arranges what is put into it.

    Args:
        subject: What it shows: the first line of its title. The second names dataset and kind of data.
        runs: What is drawn.
        width: In inches; it becomes wide enough for a title at least.
        height: In inches.
    """
    drawn = [record for each in runs for record in each.records]
    kinds = {"generated data" if record.content["data"]["generated"] else "real data" for record in drawn}
    where = f"{dataset_title(drawn[0].cell.dataset)}, {' and '.join(sorted(kinds))}"
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.09, wspace=0.03, hspace=0.03)
    figure = Figure((max(width, _LEAST_WIDTH), height), dpi=150, facecolor="white", layout=layout)
    figure.suptitle(f"{subject}\n{where}", fontsize=LARGE, fontweight="bold")
    return figure


def tidied(axes: Axes) -> Axes:
    """The panel with a faint grid, without a frame on top and right, and with legible numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL)
    return axes


def panels(figure: Figure, rows: int, columns: int, **options: Any) -> NDArray:
    """A grid of tidied panels, ``[rows, columns]``; ``options`` as for ``Figure.subplots``."""
    grid: NDArray = figure.subplots(rows, columns, squeeze=False, **options)
    for axes in grid.flat:
        tidied(axes)
    return grid


def mark_of(runs: Runs, label: str | None = None) -> Line2D:
    """The loss in a legend."""
    return Line2D(
        [],
        [],
        color=loss_colour(runs.loss),
        marker=loss_marker(runs.loss),
        markersize=_marker_size(runs.loss),
        linewidth=1.5,
        label=runs.title if label is None else label,
    )


def draw_line(axes: Axes, runs: Runs, x: Sequence[float], y: Sequence[float], **changes: Any) -> None:
    """A line with markers in the looks of the loss."""
    looks: dict[str, Any] = {
        "color": loss_colour(runs.loss),
        "marker": loss_marker(runs.loss),
        "markersize": _marker_size(runs.loss),
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
        "linewidth": 1.5,
    }
    axes.plot(x, y, **{**looks, **changes})


def legend(figure: Figure, runs: Sequence[Runs], marks: Sequence[Artist]) -> None:
    """A legend below the panels: ``marks``, row by row, and what the dagger of a loss of ``runs`` means."""
    marks = list(marks)
    if any(each.title.endswith(DAGGER) for each in runs):
        marks.append(Line2D([], [], linestyle="", marker="", label=f"{DAGGER} reconstruction"))
    if not marks:
        return
    columns = min(len(marks), max(1, int(figure.get_size_inches()[0] / _LEGEND_COLUMN)))
    # matplotlib fills column by column.
    in_columns = [mark for column in range(columns) for mark in marks[column::columns]]
    figure.legend(
        handles=in_columns, loc="outside lower center", ncols=columns, fontsize=SMALL, frameon=False
    )


def marks_of(runs: Sequence[Runs]) -> list[Artist]:
    """Every loss of ``runs`` once, for a legend."""
    return list({each.loss: mark_of(each) for each in runs}.values())


def _marker_size(loss: str) -> float:
    return 8.5 if loss_marker(loss) == "*" else 5.5


def saved(figure: Figure, path: Path) -> Path:
    """Write the figure as the suffix says; the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # No date and no random ids: the same numbers give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "rspose"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path
