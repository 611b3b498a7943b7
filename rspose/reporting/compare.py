"""One loss beside the others: its differences to MSE and to the best of them, and what it costs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from rspose.grid.record import Record
from rspose.reporting.frame import ordered_records
from rspose.reporting.markup import MISSING
from rspose.reporting.statistics import REFERENCE, Difference, Estimate, by_cell, difference, estimate
from rspose.reporting.style import DATASET_TITLES, HEAD_LABELS, MAIN_METRIC


@dataclass(frozen=True)
class LossCost:
    """What a loss costs on a head, measured apart from any training.

    Attributes:
        milliseconds: Forward and backward pass.
        extra_mb: Peak memory beyond the input; None where the system does not tell.
        times_reference: Milliseconds as a multiple of MSE's.
    """

    milliseconds: float
    extra_mb: float | None
    times_reference: float


def comparison(records: Path, loss: str) -> str:
    """Markdown: a row for each dataset, model and head that has a record of ``loss``, in percent.

    The columns are its main metric, the paired differences to MSE and to the best other loss, each with its
    95 % interval where there is one.

    Raises:
        ValueError: If no record is of ``loss``.
    """
    cells = by_cell(_trained(records))
    rows = []
    for (dataset, model, head, name), runs in cells.items():
        if name != loss:
            continue
        metric = f"metrics.{MAIN_METRIC[dataset]}"
        others = {
            other: found
            for (*where, other), found in cells.items()
            if where == [dataset, model, head] and other != loss and estimate(found, metric) is not None
        }
        best = max(others, key=lambda other: _mean(others[other], metric), default=None)
        own = estimate(runs, metric)
        rows.append(
            [
                DATASET_TITLES[dataset],
                model,
                HEAD_LABELS[head],
                MAIN_METRIC[dataset],
                MISSING if own is None else f"{100 * own.mean:.1f}{_interval(own)}",
                _difference(runs, others.get(REFERENCE, []), metric),
                _difference(runs, others[best], metric) if best else MISSING,
                _title(others[best]) if best else MISSING,
            ]
        )
    if not rows:
        raise ValueError(f"{records}: expected a record of the loss {loss!r}, found none")
    title = _title(cells[next(cell for cell in cells if cell[3] == loss)])
    headers = ["Dataset", "Model", "Head", "Metric", title, "minus MSE", "minus the best", "which is"]
    grid = tabulate(
        rows, headers, "pipe", colalign=["left"] * 4 + ["right"] * 3 + ["left"], disable_numparse=True
    )
    note = (
        "Differences in percentage points over the seeds that both have, with 95 % intervals: over seeds, or "
        "for one seed over the validation images. tables/differences.md corrects for comparing many."
    )
    return f"**{title} against the others (%)**\n\n{grid}\n\n{note}\n"


def cost(records: Path, loss: str, measured: Mapping[str, LossCost]) -> str:
    """Markdown: a row for each head, with the loss on its own and within the recorded trainings.

    Args:
        records: Folder of records.
        loss: Name of the loss in the records.
        measured: What the loss costs on its own, by head.
    """
    runs = _trained(records)
    rows = []
    for head, own in measured.items():
        of_head = [run for run in runs if run.cell.head == head]
        mine = [run for run in of_head if run.cell.loss == loss]
        # On the same datasets and models only, or their sizes would be compared.
        places = {run.cell[:2] for run in mine}
        reference = [run for run in of_head if run.cell.loss == REFERENCE and run.cell[:2] in places]
        rows.append(
            [
                HEAD_LABELS[head],
                f"{own.milliseconds:.1f} ms",
                f"{own.times_reference:.1f} x",
                MISSING if own.extra_mb is None else f"{own.extra_mb:.0f} MB",
                _training(mine, reference, "seconds_per_iteration", 1000, "ms"),
                _training(mine, reference, "peak_memory_mb", 1, "MB"),
            ]
        )
    headers = ["Head", "loss", "of MSE's", "memory", "training step (MSE)", "peak memory (MSE)"]
    grid = tabulate(rows, headers, "pipe", colalign=["left"] + ["right"] * 5, disable_numparse=True)
    note = (
        "Loss: forward and backward of 64 x 17 keypoints on this machine, as in rspose bench losses. "
        "Training: means over the recorded cells, under whichever load they were trained."
    )
    return f"**What it costs**\n\n{grid}\n\n{note}\n"


def _trained(records: Path) -> list[Record]:
    return [record for record in ordered_records(records) if not record.content["control"]]


def _difference(first: Sequence[Record], second: Sequence[Record], metric: str) -> str:
    """The first minus the second, with its interval."""
    found = difference([(first, second, metric)])
    return MISSING if found is None else f"{100 * found.difference:+.1f}{_interval(found, '+')}"


def _interval(found: Estimate | Difference, sign: str = "") -> str:
    if math.isnan(found.low):
        return ""
    return f" [{100 * found.low:{sign}.1f}, {100 * found.high:{sign}.1f}]"


def _mean(runs: Sequence[Record], metric: str) -> float:
    found = estimate(runs, metric)
    return -math.inf if found is None else found.mean


def _training(runs: Sequence[Record], reference: Sequence[Record], key: str, factor: float, unit: str) -> str:
    """The mean of a number of the trainings, and in brackets that of the reference."""
    shown = []
    for group in (runs, reference):
        values = [run.content["training"][key] for run in group if key in (run.content["training"] or {})]
        shown.append(f"{factor * sum(values) / len(values):.0f} {unit}" if values else MISSING)
    return f"{shown[0]} ({shown[1]})"


def _title(runs: Sequence[Record]) -> str:
    return str(runs[0].content["loss"]["title"])
