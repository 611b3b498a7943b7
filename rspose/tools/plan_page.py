"""A plan as a page for the terminal."""

from pathlib import Path

from tabulate import tabulate

from rspose.tools.plan import Plan, Row

_HEADERS = (
    "dataset",
    "model",
    "head",
    "cells",
    "done",
    "epochs",
    "batch",
    "rate",
    "M param.",
    "GFLOP",
    "h / cell",
    "h left",
    "GB memory",
    "devices",
    "wall h / cell",
    "GB disk / cell",
)


def plan_page(plan: Plan, config_file: Path) -> str:
    """The plan of a config as plain text: a table, what its numbers rest on, and what is missing."""
    totals = plan.totals()
    table = tabulate(
        [*(_cells(row) for row in plan.rows), _total(plan)],
        headers=_HEADERS,
        tablefmt="simple",
        disable_numparse=True,
        colalign=("left", "left", "left", *["right"] * (len(_HEADERS) - 3)),
    )
    counted: dict[str, list[str]] = {}
    for row in plan.rows:
        number = "unknown" if row.instances is None else f"{row.instances:,}"
        text = f"{row.dataset} {number}"
        if text not in (texts := counted.setdefault(row.instances_from, [])):
            texts.append(text)
    lines = [
        f"{config_file}: {totals['done']} of {totals['cells']} cells done; the others take about "
        f"{_hours(totals['hours_left'])} device hours",
        "",
        table,
        "",
        f"Hours: {plan.time_from}.",
        "Of these, h / cell and h left are hours of one device; wall h / cell is shared evenly by the "
        "devices of the cell.",
        f"Memory: {plan.memory_from}.",
        f"Devices: as the config says. {_too_few(plan)}",
        "Disk: the final weights, and the last two checkpoints with the state of the optimizer.",
        "Training instances: "
        + "; ".join(f"{_SOURCES[source]}: {', '.join(texts)}" for source, texts in counted.items())
        + ".",
        "",
        *_missing("datasets", plan.missing_datasets),
        *_missing(
            "pretrained weights",
            [f"{each.file}  {each.url or ''}".rstrip() for each in plan.missing_weights],
            f" (rspose pretrained {config_file} downloads those with a URL)",
        ),
    ]
    return "\n".join(lines)


_SOURCES = {"files": "counted", "published": "not there, published", "estimated": "not there, estimated"}


def _cells(row: Row) -> list[str]:
    return [
        row.dataset,
        row.model,
        row.head,
        str(row.cells),
        str(row.done),
        str(row.epochs),
        str(row.batch_size),
        f"{row.learning_rate:g}",
        f"{row.parameters / 1e6:.1f}",
        f"{row.flops / 1e9:.1f}",
        _hours(row.hours),
        _hours(row.hours_left),
        f"{row.memory_gb:.1f}",
        f"{row.devices} < {row.devices_needed}" if row.devices < row.devices_needed else str(row.devices),
        _hours(row.wall_hours),
        f"{row.disk_gb:.2f}",
    ]


def _total(plan: Plan) -> list[str]:
    totals = plan.totals()
    numbers = [str(totals["cells"]), str(totals["done"]), "", "", "", "", ""]
    return [
        "all",
        "",
        "",
        *numbers,
        "",
        _hours(totals["hours_left"]),
        "",
        "",
        "",
        f"{totals['disk_gb']:,.0f} in all",
    ]


def _too_few(plan: Plan) -> str:
    memory = f"{plan.device_memory_gb:g} GB"
    if all(row.devices >= row.devices_needed for row in plan.rows):
        return f"The batches fit into as many of {memory}."
    return f"1 < 2: the batch needs 2 of {memory}; set training.devices, or a smaller batch_size."


def _hours(hours: float | None) -> str:
    if hours is None:
        return "?"
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2f}"


def _missing(what: str, lines: list[str], hint: str = "") -> list[str]:
    if not lines:
        return [f"Missing {what}: none"]
    return [f"Missing {what}: {len(lines)}{hint}", *(f"  {line}" for line in lines)]
