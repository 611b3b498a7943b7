"""A plan as a page for the terminal."""

from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from rspose.tools.plan import Plan, Row

_COLUMNS: dict[str, Callable[[Row], object]] = {
    "dataset": lambda row: row.dataset,
    "model": lambda row: row.model,
    "head": lambda row: row.head,
    "cells": lambda row: row.cells,
    "done": lambda row: row.done,
    "epochs": lambda row: row.epochs,
    "batch": lambda row: row.batch_size,
    "rate": lambda row: f"{row.learning_rate:g}",
    "M param.": lambda row: f"{row.parameters / 1e6:.1f}",
    "GFLOP": lambda row: f"{row.flops / 1e9:.1f}",
    "h / cell": lambda row: _hours(row.hours),
    "h left": lambda row: _hours(row.hours_left),
    "GB memory": lambda row: f"{row.memory_gb:.1f}",
    "devices": lambda row: f"{row.devices} < {row.devices_needed}" if row.too_few else row.devices,
    "wall h / cell": lambda row: _hours(row.wall_hours),
    "GB disk / cell": lambda row: f"{row.disk_gb:.2f}",
}
_SOURCES = {"files": "counted", "published": "not there, published", "estimated": "not there, estimated"}


def plan_page(plan: Plan, config_file: Path) -> str:
    """The plan of a config as plain text: a table, what its numbers rest on, and what is missing."""
    totals = plan.totals()
    whole = {
        "dataset": "all",
        "cells": totals["cells"],
        "done": totals["done"],
        "h left": _hours(totals["hours_left"]),
        "GB disk / cell": f"{totals['disk_gb']:,.0f} in all",
    }
    table = tabulate(
        [
            *([text(row) for text in _COLUMNS.values()] for row in plan.rows),
            [whole.get(name, "") for name in _COLUMNS],
        ],
        headers=list(_COLUMNS),
        tablefmt="simple",
        disable_numparse=True,
        colalign=("left", "left", "left", *["right"] * (len(_COLUMNS) - 3)),
    )
    counted: dict[str, dict[str, None]] = {}
    for row in plan.rows:
        counted.setdefault(_SOURCES[row.instances_from], {})[f"{row.dataset} {row.instances:,}"] = None
    memory = f"{plan.device_memory_gb:g} GB"
    fit = f"The batches fit into as many of {memory}."
    if any(row.too_few for row in plan.rows):
        fit = f"1 < 2: the batch needs 2 of {memory}; set training.devices, or a smaller batch_size."
    weights = [f"{each.file}  {each.url or ''}".rstrip() for each in plan.missing_weights]
    hint = f" (rspose pretrained {config_file} downloads those with a URL)"
    return f"""{config_file}: {totals["done"]} of {totals["cells"]} cells done; the others take about \
{_hours(totals["hours_left"])} device hours

{table}

Hours: {plan.time_from}.
h / cell and h left are hours of one device; wall h / cell is shared evenly by the devices of a cell.
Memory: {plan.memory_from}.
Devices: as the config says. {fit}
Disk: the final weights, and the last two checkpoints with the state of the optimizer.
Training instances: {"; ".join(f"{source}: {', '.join(texts)}" for source, texts in counted.items())}.

{_missing("datasets", plan.missing_datasets)}
{_missing("pretrained weights", weights, hint)}"""


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2f}"


def _missing(what: str, lines: list[str], hint: str = "") -> str:
    if not lines:
        return f"Missing {what}: none"
    return "\n  ".join([f"Missing {what}: {len(lines)}{hint}", *lines])
