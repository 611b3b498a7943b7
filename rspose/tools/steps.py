"""Time and memory of training steps, one loss beside another: for `rspose plan` and `rspose bench steps`."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
import numpy as np
import pandas as pd
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed
from mmpose.registry import MODELS
from torch import Tensor
from torch.utils.benchmark import timer  # waits for a GPU first

from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig
from rspose.grid.progress import progress
from rspose.losses import KeypointTarget
from rspose.tools.bench import Columns, machine, report
from rspose.tools.targets import Layout, make_target
from rspose.training.compose import compose
from rspose.training.heads import build_loss
from rspose.training.memory import hold_memory

CPU_BATCH = 16  # where the batch of the training would take minutes


class Steps(NamedTuple):
    """Training steps of one network, in rounds: one step with each loss a round."""

    batch: int  # instances a step
    seconds: pd.DataFrame  # a column a loss, a row a round
    peak_bytes: dict[str, int]  # of the GPU, by loss; empty on a CPU


def training_device(config: GridConfig) -> str:
    """What a training of the config would take on this machine, ``"cuda"`` or ``"cpu"``."""
    return "cuda" if config.training.device != "cpu" and torch.cuda.is_available() else "cpu"


def bench_steps(
    config: GridConfig,
    dataset: str | None,
    model: str | None,
    head: str | None,
    losses: list[str] | None,
    device: str | None,
    rounds: int,
    batch: int | None,
    as_json: bool,
) -> Iterator[str]:
    """Measure the first cell of a grid that has the chosen dataset, model and head; lines to print.

    None stands for the first of the grid, all losses of such a cell, the device that a training would take.

    Raises:
        ValueError: There is no such cell, loss or device.
    """
    cells = config.cells()
    for key, value in {"dataset": dataset, "model": model, "head": head}.items():
        there = dict.fromkeys(getattr(cell, key) for cell in cells)
        if value is not None and value not in there:
            raise ValueError(f"--{key}: expected one of {', '.join(there)}, found {value!r}")
        cells = [cell for cell in cells if value in (None, getattr(cell, key))]
    first = cells[0]
    there = dict.fromkeys(cell.loss for cell in cells if cell[:3] == first[:3])
    for loss in losses or []:
        if loss not in there:
            raise ValueError(f"--losses: expected some of {', '.join(there)}, found {loss!r}")
    device = device or training_device(config)
    on, losses = machine(device), losses or list(there)
    with DefaultScope.overwrite_default_scope("mmpose"):
        composed = compose(config, first, Path(), None)
        steps = measure_steps(
            config, first, composed, losses, torch.device(device), rounds, batch, progress("rounds")
        )
    than = losses[0]
    # Within a round: what slows the machine for a while falls on all of its steps.
    times = steps.seconds.div(steps.seconds[than], axis=0)
    numbers = {"ms": 1000 * steps.seconds.median(), "times": times.median()}
    numbers |= {"times_lowest": times.min(), "times_highest": times.max()}
    setting = {"than": than, "dataset": first.dataset, "model": first.model, "head": first.head}
    measured = []
    for loss in losses:
        row = {"loss": loss, **{key: each[loss] for key, each in numbers.items()}}
        row["peak_gb"] = steps.peak_bytes[loss] / 1e9 if steps.peak_bytes else None
        measured.append({**row, **setting, "batch": steps.batch, "machine": on})
    columns: Columns = {
        "loss": ("loss", ""),
        "ms": ("ms a step", ".1f"),
        "times": (f"x {than}: median", ".3f"),
        "times_lowest": ("lowest", ".3f"),
        "times_highest": ("highest", ".3f"),
        "peak_gb": ("peak GB", ".2f"),
    }
    title = f"{first.model}, {first.head} head, {first.dataset}: batches of {steps.batch}; {on}"
    return report(title, columns, measured, as_json)


def measure_steps(
    config: GridConfig,
    cell: Cell,
    composed: Any,
    losses: list[str],
    device: torch.device,
    rounds: int = 3,
    batch: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Steps:
    """Measure training steps of a cell's network on random images: forward, loss, backward, optimizer.

    Args:
        cell: A cell with the network; its loss does not matter.
        composed: Its composed config.
        losses: Names in the config, each measured in ``rounds`` steps after one to warm up.
        batch: Instances a step. By default that of the training on a GPU, on a CPU at most ``CPU_BATCH``.
            Halved until it fits into the memory of the GPU.

    Raises:
        torch.OutOfMemoryError: Not even two instances fit.
    """
    training = config.training_of(cell)
    torch.set_num_threads(training.threads)
    hold_memory()
    set_random_seed(cell.seed, deterministic=True)  # deterministic kernels, like a training
    if batch is None:
        batch = training.batch_size if device.type == "cuda" else min(CPU_BATCH, training.batch_size)
    model = revert_sync_batchnorm(MODELS.build(composed["model"])).to(device).train()
    optimizer = build_optim_wrapper(model, dict(composed["optim_wrapper"]))
    modules = {}
    for name in losses:
        settings = config.loss_of(name, cell.head)
        modules[name] = build_loss(settings.loss, settings.parameters, len(model.head.sigmas)).to(device)
    while True:
        try:
            images, target = _random_batch(composed["codec"], model.head, batch)
            seconds: list[dict[str, float]] = []
            peaks = {}
            for number in range(rounds + 1):
                progress(number, rounds + 1)
                seconds.append({})
                for name, module in modules.items():
                    seconds[-1][name], peak = _step(model, optimizer, module, images, target)
                    if peak is not None:
                        peaks[name] = peak
            progress(rounds + 1, rounds + 1)
            return Steps(batch, pd.DataFrame(seconds[1:]), peaks)  # the first round warms up
        except torch.OutOfMemoryError:
            if batch < 4:
                raise
            optimizer.zero_grad()
            batch //= 2


def _step(
    model: Any, optimizer: Any, loss_module: Any, images: Tensor, target: KeypointTarget
) -> tuple[float, int | None]:
    """Its seconds, and the peak memory of the GPU in bytes."""
    model.head.loss_module = loss_module
    if images.is_cuda:
        torch.cuda.reset_peak_memory_stats()
    started = timer()
    with optimizer.optim_context(model):
        loss = sum(loss_module(model.head(model.extract_feat(images)), target).values())
    optimizer.update_params(loss)
    seconds = timer() - started
    return seconds, torch.cuda.max_memory_allocated() if images.is_cuda else None


def _random_batch(codec: Any, head: Any, batch: int) -> tuple[Tensor, KeypointTarget]:
    """Random images, and random keypoints with labels like the codec's."""
    width, height = codec["input_size"]
    ratio = codec.get("simcc_split_ratio", 1)
    x, y = codec.get("heatmap_size", (round(width * ratio), round(height * ratio)))
    sigma_x, sigma_y = np.broadcast_to(codec["sigma"], 2).tolist()
    kind, reach = ("heatmap", 3.0) if "heatmap_size" in codec else ("simcc", float("inf"))
    layout = Layout((x, y), (sigma_x, sigma_y))
    target = make_target(kind, batch, len(head.sigmas), layout=layout, reach=reach)
    images = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))
    device = head.sigmas.device
    return images.to(device), replace(target, sigmas=head.sigmas).to(device)
