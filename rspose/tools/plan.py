"""What a grid takes, said before it is launched: time, memory and disk; what is done and what is missing."""

import io
import json
import statistics
from contextlib import redirect_stdout
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
from rspose.grid.progress import progress
from rspose.tools.steps import measure_steps, training_device
from rspose.training.compose import compose
from rspose.training.pretrained import Pretrained, missing_weights

TFLOPS = 20.0
"""Trillion operations a second that a training is taken to reach: an assumption, not a measurement."""


@dataclass(frozen=True)
class Row:
    """The cells of a (dataset, model, head): they differ in loss and seed."""

    dataset: str
    model: str
    head: str
    cells: int
    done: int  # how many have a record
    instances: int  # that are trained on
    instances_from: str  # files, published or estimated
    epochs: int
    batch_size: int
    learning_rate: float  # before the factor of a loss
    parameters: int  # of the network
    flops: int  # of a forward pass of one instance, two for each multiplication with its addition
    hours: float  # of one device, for a cell in the mean
    hours_left: float  # of the cells that are not done
    memory_gb: float  # of a training step with the whole batch on one device
    devices: int  # that a cell trains on
    devices_needed: int  # that the batch has to be spread over to fit: a power of two
    disk_gb: float  # of a cell: its weights, and two checkpoints with the state of the optimizer

    @property
    def wall_hours(self) -> float:
        """Time of a cell on the clock, if its devices share the work evenly."""
        return self.hours / self.devices

    @property
    def too_few(self) -> bool:
        """Whether its batch does not fit into the memory of its devices."""
        return self.devices < self.devices_needed


@dataclass(frozen=True)
class Plan:
    """What a grid takes, with a row for each (dataset, model, head)."""

    grid: str
    rows: list[Row]
    time_from: str  # where the hours come from, in words
    memory_from: str
    device_memory_gb: float  # that ``devices_needed`` of the rows goes by
    missing_datasets: list[str]  # that cells which are not done need, a line each
    missing_weights: list[Pretrained]

    def totals(self) -> dict[str, float | int]:
        """Cells, cells done, hours, hours left and disk of the whole grid."""
        return {
            "cells": sum(row.cells for row in self.rows),
            "done": sum(row.done for row in self.rows),
            "hours": sum(row.cells * row.hours for row in self.rows),
            "hours_left": sum(row.hours_left for row in self.rows),
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
) -> Plan:
    """Plan the grid of a config.

    Args:
        tflops: Trillion operations a second that a training reaches, where nothing is measured.
        measure: Measure a training step of each row, with each of its losses, on this machine.
        device_memory_gb: Memory of a GPU that the grid is to run on.

    Raises:
        ValueError: ``tflops`` is not above 0.
    """
    if not tflops > 0:
        raise ValueError(f"--tflops: expected a number above 0, found {tflops}")
    records = config.results / "records"
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in config.cells():
        groups.setdefault((cell.dataset, cell.model, cell.head), []).append(cell)
    scope = DefaultScope.get_instance(f"plan {config.name}", scope_name="mmpose")
    device = torch.device(training_device(config))
    instances: dict[str, tuple[int, str]] = {}
    rows: list[Row] = []
    bar = progress("networks of the grid")
    unfinished: list[Cell] = []
    for (dataset, model, head), group in groups.items():
        left = [cell for cell in group if not (records / f"{cell.path}.json").is_file()]
        unfinished += left
        training = config.training_of(group[0])
        composed = compose(config, group[0], Path(), None)
        if dataset not in instances:
            instances[dataset] = _instances(config, dataset, composed)
        count, counted_from = instances[dataset]
        cost = network_cost(composed)
        fixed = cost.fixed_memory
        per_instance: float = cost.kept_bytes
        seconds = {cell.loss: 3 * cost.flops / (tflops * 1e12) for cell in group}
        if measure:
            steps = measure_steps(config, group[0], composed, sorted(seconds), device)
            seconds = {loss: statistics.median(each) / steps.batch for loss, each in steps.seconds.items()}
            if steps.peak_bytes:
                fixed, per_instance = 0, max(steps.peak_bytes.values()) / steps.batch
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
                hours=statistics.mean(hours[cell.loss] for cell in group),
                hours_left=sum(hours[cell.loss] for cell in left),
                memory_gb=(fixed + per_instance * training.batch_size) / 1e9,
                devices=training.devices,
                devices_needed=_devices(fixed, per_instance, training.batch_size, device_memory_gb),
                disk_gb=cost.disk / 1e9,
            )
        )
        bar(len(rows), len(groups))
    del scope
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return Plan(
        config.name,
        rows,
        time_from=(
            f"measured on this machine ({name}), without loading of data and evaluation"
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


@dataclass(frozen=True)
class NetworkCost:
    """What a network takes, counted without computing anything (on the meta device)."""

    parameters: int  # that are trained
    state_bytes: int  # of the weights and buffers in a checkpoint
    flops: int  # of a forward pass of one instance
    kept_bytes: int  # that a forward pass of one instance keeps for the backward pass
    copies: int  # of the weights: two where the recipe keeps their moving average

    @property
    def fixed_memory(self) -> int:
        """Bytes of a training step beside those of the instances: weights, gradients and Adam's moments."""
        return 4 * (3 + self.copies) * self.parameters

    @property
    def disk(self) -> int:
        """Bytes of the files of a cell: its weights, and two checkpoints with the moments of Adam."""
        return self.state_bytes + 2 * (self.copies * self.state_bytes + 8 * self.parameters)


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
        copies=2 if any(hook["type"] == "EMAHook" for hook in composed["custom_hooks"]) else 1,
    )


def _instances(config: GridConfig, dataset: str, composed: Any) -> tuple[int, str]:
    entry = config.data[dataset]
    known = datasets.dataset(dataset)
    described = {**composed["train_dataloader"]["dataset"], "pipeline": []}
    if (entry.root / described["ann_file"]).is_file():
        with redirect_stdout(io.StringIO()):  # mmpose's dataset classes print while they read
            return len(DATASETS.build(described)), "files"
    if entry.generate:
        per_image = known.drawn.instances if known.drawn else 0.0
        return round(entry.generate.train_images * per_image), "estimated"
    return known.release.instances, "published"


def _missing_datasets(config: GridConfig, unfinished: list[Cell]) -> list[str]:
    entries = {cell.dataset: config.data[cell.dataset] for cell in unfinished}
    real = {
        dataset: check_dataset(each.root, dataset) for dataset, each in entries.items() if not each.generate
    }
    return [f"{dataset}: {problems[0]}" for dataset, problems in real.items() if problems]


def _devices(fixed: float, per_instance: float, batch_size: int, device_memory_gb: float) -> int:
    devices = 1
    while fixed + per_instance * batch_size / devices > device_memory_gb * 1e9 and devices < batch_size:
        devices *= 2
    return devices
