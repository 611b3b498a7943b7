"""What a grid takes, said before it is launched: time, memory and disk; what is done and what is missing."""

import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
import torch
from mmengine.registry import DefaultScope
from mmpose.registry import DATASETS, MODELS
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rspose import datasets
from rspose.datasets.check import check_dataset
from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig
from rspose.tools.steps import measure_steps, training_device
from rspose.training.compose import compose
from rspose.training.pretrained import Pretrained, missing_weights

TFLOPS = 20.0
"""Trillion operations a second that a training is taken to reach: an assumption, not a measurement."""


@dataclass(frozen=True)
class Row:
    """The cells of a (dataset, model, head): they differ in loss and seed.

    Attributes:
        dataset, model, head: What they are.
        cells: How many of them there are.
        done: How many have a record.
        instances: Training instances; None if it is not known how many there are.
        instances_from: ``files``, ``published`` or ``estimated``.
        epochs, batch_size, learning_rate: How they are trained; the rate before the factor of a loss.
        parameters: Of the network.
        flops: Operations of a forward pass of one instance, two for each multiplication with its addition.
        hours: Mean time of a cell, in hours of one device; None if the instances are unknown.
        hours_left: Of the cells that are not done.
        memory_gb: Of a training step with the whole batch on one device.
        devices: How many devices a cell trains on.
        devices_needed: How many devices the batch has to be spread over to fit: a power of two.
        disk_gb: Of a cell: its weights, and the last two checkpoints with the state of the optimizer.
    """

    dataset: str
    model: str
    head: str
    cells: int
    done: int
    instances: int | None
    instances_from: str
    epochs: int
    batch_size: int
    learning_rate: float
    parameters: int
    flops: int
    hours: float | None
    hours_left: float | None
    memory_gb: float
    devices: int
    devices_needed: int
    disk_gb: float

    @property
    def wall_hours(self) -> float | None:
        """Time of a cell on the clock, if its devices share the work evenly."""
        return None if self.hours is None else self.hours / self.devices

    @property
    def too_few(self) -> bool:
        """Whether its batch does not fit into the memory of its devices."""
        return self.devices < self.devices_needed


@dataclass(frozen=True)
class Plan:
    """What a grid takes.

    Attributes:
        grid: Name of the grid.
        rows: One per (dataset, model, head).
        time_from: Where the hours come from, in words.
        memory_from: Where the memory comes from, in words.
        device_memory_gb: Memory of a device that ``devices`` of the rows goes by.
        missing_datasets: What cells that are not done need: a line per dataset.
        missing_weights: The same for pretrained weights.
    """

    grid: str
    rows: list[Row]
    time_from: str
    memory_from: str
    device_memory_gb: float
    missing_datasets: list[str]
    missing_weights: list[Pretrained]

    def totals(self) -> dict[str, float | int]:
        """Cells, cells done, hours, hours left and disk of the whole grid."""
        return {
            "cells": sum(row.cells for row in self.rows),
            "done": sum(row.done for row in self.rows),
            "hours": sum(row.cells * (row.hours or 0) for row in self.rows),
            "hours_left": sum(row.hours_left or 0 for row in self.rows),
            "disk_gb": sum(row.cells * row.disk_gb for row in self.rows),
        }

    def as_json(self) -> str:
        """All of it, and the totals."""
        return json.dumps({**asdict(self), "totals": self.totals()}, indent=1, default=str)


def make_plan(
    config: GridConfig,
    tflops: float = TFLOPS,
    measure: bool = False,
    device_memory_gb: float = 80.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Plan:
    """Plan the grid of a config.

    Args:
        config: The config of the grid.
        tflops: Trillion operations a second that a training reaches, where nothing is measured.
        measure: Measure a training step of each row, with each of its losses, on this machine.
        device_memory_gb: Memory of a GPU that the grid is to run on.
        progress: Called with the number of rows worked out, and of all.

    Raises:
        ValueError: ``tflops`` is not above 0.
    """
    if not tflops > 0:
        raise ValueError(f"--tflops: expected a number above 0, found {tflops}")
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in config.cells():
        groups.setdefault((cell.dataset, cell.model, cell.head), []).append(cell)
    scope = DefaultScope.get_instance(f"plan {config.name}", scope_name="mmpose")
    device = torch.device(training_device(config))
    instances: dict[str, tuple[int | None, str]] = {}
    rows = []
    unfinished: list[Cell] = []
    for (dataset, model, head), group in groups.items():
        left = [cell for cell in group if not record_of(config, cell).is_file()]
        unfinished += left
        training = config.training_of(group[0])
        composed = compose(config, group[0], Path(), None)
        if dataset not in instances:
            instances[dataset] = _instances(config, dataset, composed)
        count, counted_from = instances[dataset]
        cost = network_cost(composed)
        fixed = cost.fixed_memory(_keeps_average(composed))
        per_instance: float = cost.kept_bytes
        seconds = {cell.loss: 3 * cost.flops / (tflops * 1e12) for cell in group}
        if measure:
            steps = measure_steps(config, group[0], composed, sorted(seconds), device)
            seconds = {loss: statistics.median(each) / steps.batch for loss, each in steps.seconds.items()}
            if steps.peak_bytes:
                fixed, per_instance = 0, max(steps.peak_bytes.values()) / steps.batch
        hours = None
        if count is not None:
            hours = {loss: each * count * training.epochs / 3600 for loss, each in seconds.items()}
        rows.append(
            Row(
                dataset,
                model,
                head,
                cells=len(group),
                done=len(group) - len(left),
                instances=count,
                instances_from=counted_from,
                epochs=training.epochs,
                batch_size=training.batch_size,
                learning_rate=training.scaled_learning_rate,
                parameters=cost.parameters,
                flops=cost.flops,
                hours=None if hours is None else statistics.mean(hours[cell.loss] for cell in group),
                hours_left=None if hours is None else sum(hours[cell.loss] for cell in left),
                memory_gb=(fixed + per_instance * training.batch_size) / 1e9,
                devices=training.devices,
                devices_needed=_devices(fixed, per_instance, training.batch_size, device_memory_gb),
                disk_gb=cost.disk(_keeps_average(composed)) / 1e9,
            )
        )
        progress(len(rows), len(groups))
    del scope
    return Plan(
        config.name,
        rows,
        time_from=(
            f"measured on this machine ({_name(device)}), without loading of data and evaluation"
            if measure
            else f"estimated: three forward passes an instance at an assumed {tflops:g} TFLOP/s, without "
            "loss, loading of data and evaluation"
        ),
        memory_from=(
            "measured on this machine, scaled to the batch"
            if measure and device.type == "cuda"
            else "estimated for the whole batch: weights, gradients, optimizer, what the backward pass keeps"
        ),
        device_memory_gb=device_memory_gb,
        missing_datasets=_missing_datasets(config, unfinished),
        missing_weights=missing_weights(config, unfinished),
    )


def record_of(config: GridConfig, cell: Cell) -> Path:
    """Where the record of a cell is once it is done."""
    return config.results / "records" / f"{cell.path}.json"


@dataclass(frozen=True)
class NetworkCost:
    """What a network takes, counted without computing anything (on the meta device).

    Attributes:
        parameters: Numbers that are trained.
        state_bytes: Of the weights and buffers in a checkpoint.
        flops: Operations of a forward pass of one instance.
        kept_bytes: Of what a forward pass of one instance keeps for the backward pass.
    """

    parameters: int
    state_bytes: int
    flops: int
    kept_bytes: int

    def fixed_memory(self, keeps_average: bool) -> int:
        """Bytes of a training step beside those of the instances: weights, gradients and Adam's moments."""
        return 4 * (5 if keeps_average else 4) * self.parameters

    def disk(self, keeps_average: bool) -> int:
        """Bytes of the files of a cell: its weights, and two checkpoints with the moments of Adam."""
        checkpoint = self.state_bytes * (2 if keeps_average else 1) + 8 * self.parameters
        return self.state_bytes + 2 * checkpoint


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
    return NetworkCost(
        parameters=sum(each.numel() for each in model.parameters() if each.requires_grad),
        state_bytes=sum(each.numel() * each.element_size() for each in model.state_dict().values()),
        flops=counter.get_total_flops() // 2,
        kept_bytes=sum(size for key, size in kept.items() if key not in weights) // 2,
    )


def _instances(config: GridConfig, dataset: str, composed: Any) -> tuple[int | None, str]:
    entry = config.data[dataset]
    known = datasets.dataset(dataset)
    described = {**composed["train_dataloader"]["dataset"], "pipeline": []}
    if (entry.root / described["ann_file"]).is_file():
        return len(DATASETS.build(described)), "files"
    if entry.generate:
        per_image = known.drawn.instances if known.drawn else 0.0
        return round(entry.generate.train_images * per_image), "estimated"
    return known.release.instances, "published"


def _missing_datasets(config: GridConfig, unfinished: list[Cell]) -> list[str]:
    missing = []
    for dataset in dict.fromkeys(cell.dataset for cell in unfinished):
        if config.data[dataset].generate:
            continue
        problems = check_dataset(config.data[dataset].root, dataset)
        missing += [f"{dataset}: {problem}" for problem in problems[:1]]
    return missing


def _devices(fixed: float, per_instance: float, batch_size: int, device_memory_gb: float) -> int:
    devices = 1
    while fixed + per_instance * batch_size / devices > device_memory_gb * 1e9 and devices < batch_size:
        devices *= 2
    return devices


def _keeps_average(composed: Any) -> bool:
    return any(hook["type"] == "EMAHook" for hook in composed["custom_hooks"])


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
