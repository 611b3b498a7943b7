"""What a grid takes, said before it is launched: time, memory and disk; what is done and what is missing."""

import io
import json
import math
import statistics
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
import torch
from mmengine.registry import DefaultScope
from mmpose.registry import DATASETS, MODELS
from tabulate import tabulate
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rspose import datasets
from rspose.datasets.check import check_dataset_once
from rspose.datasets.manifest import read_manifest
from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig
from rspose.grid.progress import progress
from rspose.grid.tuning import trials_left
from rspose.tools.steps import measure_steps, training_device
from rspose.training.compose import compose
from rspose.training.pretrained import missing_weights

TFLOPS = 20.0
"""Trillion operations a second that a training is taken to reach: an assumption, not a measurement."""

_Row = tuple[str, str, str, float]
"""Dataset, model, head and length of cells that differ in loss and seed."""
_SOURCES = {"files": "counted", "published": "not there, published", "estimated": "not there, estimated"}


def make_plan(
    config: GridConfig,
    tflops: float = TFLOPS,
    measure: bool = False,
    device_memory_gb: float = 80.0,
    machine: Path | None = None,
) -> dict[str, Any]:
    """Plan the grid of a config; what `rspose plan --json` prints.

    It has a row for each (dataset, model, head, length), whose cells differ in loss and seed.

    Args:
        tflops: Trillion operations a second that a training reaches, where nothing is measured.
        measure: Measure a training step of each row, with each of its losses, on this machine.
        device_memory_gb: Memory of a GPU that the grid is to run on.
        machine: What `rspose doctor --json` printed on the machine that it is to run on: the speed of its
            training step takes the place of ``tflops``.

    Raises:
        ValueError: ``tflops`` or ``device_memory_gb`` is no number above 0, or ``machine`` has no such speed.
    """
    on, said_of = "a GPU", "an assumed"
    if machine is not None:
        on, tflops = _measured(machine)
        said_of = f"what ResNet-50 reached on {on} ({machine}),"
    for option, number in {"--tflops": tflops, "--device-memory": device_memory_gb}.items():
        if not 0 < number < math.inf:
            raise ValueError(f"{option}: expected a number above 0, found {number}")
    unfinished = config.unfinished()
    groups: dict[_Row, list[Cell]] = {}
    for cell in config.cells():
        groups.setdefault((*cell[:3], cell.length), []).append(cell)
    tuned, waiting = _tuned_rows(config, groups), trials_left(config, unfinished)
    device = torch.device(training_device(config))
    counted: dict[str, tuple[int, str]] = {}
    rows: list[dict[str, Any]] = []
    bar = progress("networks of the grid")
    for key, group in groups.items():
        left = [cell for cell in group if cell in unfinished]
        training = config.training_of(group[0])
        composed, cost, instances, counted_from = _network(config, group[0], counted)
        fixed, per_instance = cost.fixed_bytes, float(cost.kept_bytes)
        seconds = {cell.loss: 3 * cost.flops / (tflops * 1e12) for cell in group}
        if measure:
            with DefaultScope.overwrite_default_scope("mmpose"):
                steps = measure_steps(config, group[0], composed, sorted(seconds), device)
            seconds = {loss: float(steps.seconds[loss].median()) / steps.batch for loss in seconds}
            if steps.peak_bytes:
                fixed, per_instance = 0, max(steps.peak_bytes.values()) / steps.batch
        hours = {loss: each * instances * training.epochs / 3600 for loss, each in seconds.items()}
        hours_left = sum(hours[cell.loss] for cell in left)
        trials = [each for each in waiting if tuned.get(each[0][:3]) == key]
        if trials:  # they may be of another dataset, and are a part of a cell of length 1
            _, there, as_many, _ = _network(config, trials[0][0], counted)
            passes = as_many * config.training_of(trials[0][0]).epochs * there.flops / cost.flops
            hours_left += sum(seconds[cell.loss] * passes * part for cell, part in trials) / 3600
        whole_batch, room = per_instance * training.batch_size, device_memory_gb * 1e9 - fixed
        needed = 1
        while needed < training.batch_size and whole_batch / needed > room:
            needed *= 2
        rows.append(
            {
                **dict(zip(("dataset", "model", "head", "length"), key, strict=True)),
                "cells": len(group),
                "done": len(group) - len(left),  # have a record
                "instances": instances,  # that are trained on
                "instances_from": counted_from,  # files, published or estimated
                "epochs": training.epochs,
                "batch_size": training.batch_size,
                "learning_rate": training.scaled_learning_rate,  # before the factor of a loss
                "parameters": cost.parameters,
                "flops": cost.flops,
                "hours": statistics.mean(hours[cell.loss] for cell in group),  # of one device, a cell
                "trials": len(trials),  # still to be trained
                "hours_left": hours_left,
                "memory_gb": (fixed + whole_batch) / 1e9,  # with the whole batch
                "devices": training.devices,
                "devices_needed": needed,  # so that the batch fits: a power of two
                "disk_gb": cost.disk_bytes / 1e9,  # of a cell
            }
        )
        bar(len(rows), len(groups))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    on += f" that reaches {tflops:.3g} TFLOP/s"
    time_from = (
        f"estimated: three forward passes an instance at {said_of} {tflops:.3g} TFLOP/s, without loss, "
        "loading of data and evaluation"
    )
    if device.type == "cpu":
        time_from += ". Here the CPU would train, for much longer: --measure times it"
    memory_from = "estimated for the whole batch: weights, gradients, optimizer, what the backward pass keeps"
    if measure:
        on = f"this machine's {name}"
        time_from = f"measured on this machine ({name}), without loading of data and evaluation"
        if device.type == "cuda":
            memory_from = "measured on this machine, scaled to the batch"
    whole = {key: sum(row[key] for row in rows) for key in ("cells", "done", "trials", "hours_left")}
    each = {key: sum(row["cells"] * row[key] for row in rows) for key in ("hours", "disk_gb")}
    return {
        "grid": config.name,
        "losses": config.losses,
        "seeds": config.seeds,
        "rows": rows,
        "hours_on": on,
        "time_from": time_from,
        "memory_from": memory_from,
        "device_memory_gb": device_memory_gb,  # that devices_needed goes by
        "missing_datasets": _missing_datasets(config, unfinished),  # a line each
        "missing_weights": [asdict(weights) for weights in missing_weights(config, unfinished)],
        "totals": whole | each,
    }


def _measured(machine: Path) -> tuple[str, float]:
    """The device that `rspose doctor --json` examined, and what its training steps reached at least."""
    try:
        examined = json.loads(machine.read_text())
        steps = [each["numbers"]["tflops"] for each in examined["lines"] if "tflops" in each["numbers"]]
        return examined["device"], float(min(steps))
    except (ValueError, KeyError, TypeError) as error:
        expected = "expected what rspose doctor --json prints on a machine with a GPU"
        raise ValueError(f"{machine}: {expected}; found no time of a training step") from error


class NetworkCost(NamedTuple):
    """What a network takes, counted without computing anything (on the meta device)."""

    parameters: int  # that are trained
    flops: int  # of a forward pass of one instance
    kept_bytes: int  # that a forward pass of one instance keeps for the backward pass
    fixed_bytes: int  # of a training step beside those of the instances: weights, gradients, Adam's moments
    disk_bytes: int  # of the files of a cell: its weights, and two checkpoints with the moments of Adam


def network_cost(composed: Any) -> NetworkCost:
    """Count what the network of a composed config takes."""
    width, height = composed["codec"]["input_size"]
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        alive.append(tensor)  # so that no other storage takes its place, and its key
        return tensor

    alive: list[Tensor] = []
    with torch.device("meta"):
        model = MODELS.build(composed["model"]).train()
        images = torch.zeros(2, 3, height, width)
    weights = {each.untyped_storage()._cdata for each in (*model.parameters(), *model.buffers())}
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        output = model.head(model.extract_feat(images))
    del output
    parameters = sum(each.numel() for each in model.parameters() if each.requires_grad)
    state = sum(each.numel() * each.element_size() for each in model.state_dict().values())
    # Of the weights: two where the recipe keeps their moving average.
    copies = 2 if any(hook["type"] == "EMAHook" for hook in composed["custom_hooks"]) else 1
    return NetworkCost(
        parameters,
        flops=counter.get_total_flops() // 2,
        kept_bytes=sum(size for key, size in kept.items() if key not in weights) // 2,
        fixed_bytes=4 * (3 + copies) * parameters,
        disk_bytes=state + 2 * (copies * state + 8 * parameters),
    )


def _network(
    config: GridConfig, cell: Cell, counted: dict[str, tuple[int, str]]
) -> tuple[Any, NetworkCost, int, str]:
    """Composed config of a cell, what its network takes, and its training instances, counted once."""
    with DefaultScope.overwrite_default_scope("mmpose"):
        composed = compose(config, cell, Path(), None)
        if cell.dataset not in counted:
            counted[cell.dataset] = _instances(config, cell.dataset, composed)
        return composed, network_cost(composed), *counted[cell.dataset]


def _instances(config: GridConfig, dataset: str, composed: Any) -> tuple[int, str]:
    entry = config.data[dataset]
    known = datasets.dataset(dataset)
    described = {**composed["train_dataloader"]["dataset"], "pipeline": []}
    drawn = read_manifest(entry.folder) is not None
    if (entry.folder / described["ann_file"]).is_file() and drawn == bool(entry.generate):
        with redirect_stdout(io.StringIO()):  # mmpose's dataset classes print while they read
            return len(DATASETS.build(described)), "files"
    if entry.generate:
        per_image = known.drawn.instances if known.drawn else 0.0
        return round(entry.generate.train_images * per_image), "estimated"
    return known.release.instances, "published"


def _tuned_rows(config: GridConfig, rows: Iterable[_Row]) -> dict[tuple[str, str, str], _Row]:
    """The row that the trials on a dataset, of a model and head, count in: one of those they serve."""
    if config.tuning is None:
        return {}
    here = config.tuning.dataset
    first: dict[tuple[str, str, str], _Row] = {}
    for row in sorted(rows, key=lambda row: row[0] != here):
        first.setdefault((here or row[0], *row[1:3]), row)
    return first


def _missing_datasets(config: GridConfig, unfinished: list[Cell]) -> list[str]:
    found = {}
    for name in config.read_datasets if unfinished else []:
        entry, memory = config.data[name], config.results / "work/checked" / name  # that of the workflow
        if not entry.generate:
            found[name] = check_dataset_once(entry.folder, name, memory, entry.least_keypoints).problems
            if read_manifest(entry.folder) is not None:
                found[name].append(f"{entry.folder}: drawn, where the config asks for real data")
    return [f"{name}: {problems[0]}" for name, problems in found.items() if problems]


def plan_page(plan: dict[str, Any], config_file: Path) -> str:
    """The plan of a config as plain text: a table, what its numbers rest on, and what is missing."""
    totals = plan["totals"]
    whole = {
        "dataset": "all",
        "cells": totals["cells"],
        "done": totals["done"],
        "trials": totals["trials"],
        "h left": _hours(totals["hours_left"]),
        "GB disk / cell": f"{totals['disk_gb']:,.0f} in all",
    }
    lines = [*map(_shown, plan["rows"]), whole]
    if not totals["trials"]:
        lines = [{key: line[key] for key in line if key != "trials"} for line in lines]
    aligned = ("left", "left", "left", *["right"] * (len(lines[0]) - 3))
    table = tabulate(lines, "keys", "simple", disable_numparse=True, colalign=aligned)
    counted: dict[str, dict[str, None]] = {}
    for row in plan["rows"]:
        instances = f"{row['dataset']} {row['instances']:,}"
        counted.setdefault(_SOURCES[row["instances_from"]], {})[instances] = None
    memory = f"{plan['device_memory_gb']:g} GB"
    fit = f"The batches fit into as many of {memory}."
    if any(row["devices"] < row["devices_needed"] for row in plan["rows"]):
        fit = f"Devices m < n: the config gives each cell m GPUs, its batch needs n of {memory}; set "
        fit += "training.devices, or a smaller batch_size."
    weights = [f"{each['file']}  {each['url'] or ''}".rstrip() for each in plan["missing_weights"]]
    hint = f" (rspose pretrained {quote(str(config_file))} downloads those with a URL)"
    return f"""{config_file}: {totals["done"]} of {totals["cells"]} cells done; the others take about \
{_hours(totals["hours_left"])} hours of training steps on {plan["hours_on"]}
Losses: {", ".join(plan["losses"])}; seeds: {", ".join(map(str, plan["seeds"]))}

{table}

Hours: {plan["time_from"]}.
h / cell and h left are hours of one device; wall h / cell is shared evenly by the devices of a cell.
Memory: {plan["memory_from"]}.
Devices: as the config says. {fit}
Disk: the final weights, and the last two checkpoints with the state of the optimizer.
Training instances: {"; ".join(f"{source}: {', '.join(texts)}" for source, texts in counted.items())}.

{_missing("datasets", plan["missing_datasets"])}
{_missing("pretrained weights", weights, hint)}"""


def _shown(row: dict[str, Any]) -> dict[str, object]:
    few = row["devices"] < row["devices_needed"]
    return {
        **{key: row[key] for key in ("dataset", "model", "head", "cells", "done", "trials", "epochs")},
        "batch": row["batch_size"],
        "rate": f"{row['learning_rate']:g}",
        "M param.": f"{row['parameters'] / 1e6:.1f}",
        "GFLOP": f"{row['flops'] / 1e9:.1f}",
        "h / cell": _hours(row["hours"]),
        "h left": _hours(row["hours_left"]),
        "GB memory": f"{row['memory_gb']:.1f}",
        "devices": f"{row['devices']} < {row['devices_needed']}" if few else row["devices"],
        "wall h / cell": _hours(row["hours"] / row["devices"]),
        "GB disk / cell": f"{row['disk_gb']:.2f}",
    }


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2f}"


def _missing(what: str, lines: list[str], hint: str = "") -> str:
    if not lines:
        return f"Missing {what}: none"
    return "\n  ".join([f"Missing {what}: {len(lines)}{hint}", *lines])
