"""Time and memory of training steps, one loss beside another: for `rspose plan` and `rspose bench steps`."""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
import numpy as np
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed
from mmpose.registry import KEYPOINT_CODECS, MODELS
from torch import Tensor

from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig
from rspose.grid.progress import progress
from rspose.losses import KeypointTarget
from rspose.tools.bench import machine
from rspose.tools.targets import as_maps
from rspose.training.compose import compose
from rspose.training.heads import build_loss

_FORMS = (".1f", ".3f", ".3f", ".3f", ".2f")
CPU_BATCH = 16
"""Instances of a step on a CPU, where the batch of the training would take minutes."""


@dataclass(frozen=True)
class Steps:
    """Training steps of one network, in rounds: one step with each loss a round."""

    batch: int  # instances a step
    seconds: dict[str, list[float]]  # by loss, in each round
    peak_bytes: dict[str, int]  # of the GPU, by loss; empty on a CPU

    def times(self, loss: str, other: str) -> list[float]:
        """How many times as long as with another loss a step took, in each round.

        The steps of a round follow each other, so what slows the machine for a while falls on both.
        """
        return [a / b for a, b in zip(self.seconds[loss], self.seconds[other], strict=True)]


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
    """Measure the first cell of a grid that has the chosen dataset, model and head.

    Lines of a Markdown table, or one JSON object a loss. None stands for the first dataset, model or head of
    the grid, all losses that it trains in such a cell, and the device that the training would take.

    Raises:
        ValueError: There is no such cell, loss or device.
    """
    grid = config.cells()
    given = {"dataset": dataset, "model": model, "head": head}
    chosen = {key: value for key, value in given.items() if value is not None}
    for key, value in chosen.items():
        there = dict.fromkeys(getattr(cell, key) for cell in grid)
        if value not in there:
            raise ValueError(f"--{key}: expected one of {', '.join(there)}, found {value!r}")
    grid = [cell for cell in grid if all(getattr(cell, key) == value for key, value in chosen.items())]
    if not grid:
        raise ValueError(f"{config.name}: no cell has {' and '.join(chosen.values())}")
    first = grid[0]
    there = dict.fromkeys(cell.loss for cell in grid if cell[:3] == first[:3])
    for loss in losses or []:
        if loss not in there:
            raise ValueError(f"--losses: expected some of {', '.join(there)}, found {loss!r}")
    if device is None:
        device = training_device(config)
    elif device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no GPU")
    with DefaultScope.overwrite_default_scope("mmpose"):
        composed = compose(config, first, Path(), None)
        measured = losses or list(there)
        steps = measure_steps(
            config, first, composed, measured, torch.device(device), rounds, batch, progress("rounds")
        )
    on, reference = machine(device), measured[0]
    if not as_json:
        yield f"{first.model}, {first.head} head, {first.dataset}: batches of {steps.batch}; {on}\n"
        yield f"| loss | ms a step | x {reference}: median | lowest | highest | peak GB |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for loss in measured:
        ratios = steps.times(loss, reference)
        ms, peak = 1000 * statistics.median(steps.seconds[loss]), steps.peak_bytes.get(loss)
        said: dict[str, float | None] = {"ms": ms, "times": statistics.median(ratios)}
        said |= {"times_lowest": min(ratios), "times_highest": max(ratios)}
        said["peak_gb"] = None if peak is None else peak / 1e9
        if as_json:
            setting = {"than": reference, "dataset": first.dataset, "model": first.model, "head": first.head}
            yield json.dumps({"loss": loss, **said, **setting, "batch": steps.batch, "machine": on})
        else:
            texts = [
                f"{number:{form}}" if number is not None else ""
                for number, form in zip(said.values(), _FORMS, strict=True)
            ]
            yield f"| {loss} | {' | '.join(texts)} |"


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
        losses: Names of losses of the config.
        device: Where to measure.
        rounds: Steps with each loss, after one to warm up.
        batch: Instances a step. By default that of the training on a GPU, on a CPU at most ``CPU_BATCH``.
            Halved until it fits into the memory of the GPU.
        progress: Called with the number of rounds done, and of all, before each round.

    Raises:
        torch.OutOfMemoryError: Not even two instances fit.
    """
    training = config.training_of(cell)
    torch.set_num_threads(training.threads)
    set_random_seed(cell.seed, deterministic=True)  # deterministic kernels, like a training
    if batch is None:
        batch = training.batch_size if device.type == "cuda" else min(CPU_BATCH, training.batch_size)
    model = revert_sync_batchnorm(MODELS.build(composed["model"])).to(device).train()
    optimizer = build_optim_wrapper(model, dict(composed["optim_wrapper"]))
    while True:
        try:
            images, target = _random_batch(composed, model, batch, device)
            modules = {}
            for name in losses:
                settings = config.loss_of(name, cell.head)
                module = build_loss(settings.loss, settings.parameters, target.weights.shape[1])
                modules[name] = module.to(device)
            steps = Steps(batch, {name: [] for name in losses}, {})
            for number in range(rounds + 1):
                progress(number, rounds + 1)
                for name, module in modules.items():
                    seconds, peak = _step(model, optimizer, module, images, target)
                    if number > 0:  # the first round warms up
                        steps.seconds[name].append(seconds)
                    if peak is not None:
                        steps.peak_bytes[name] = peak
            progress(rounds + 1, rounds + 1)
            return steps
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
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    with optimizer.optim_context(model):
        prediction = model.head(model.extract_feat(images))
        loss = sum(loss_module(prediction, target).values())
    optimizer.update_params(loss)
    if not images.is_cuda:
        return time.perf_counter() - started, None
    torch.cuda.synchronize()
    return time.perf_counter() - started, torch.cuda.max_memory_allocated()


def _random_batch(
    composed: Any, model: Any, batch: int, device: torch.device
) -> tuple[Tensor, KeypointTarget]:
    generator = np.random.default_rng(0)
    width, height = composed["codec"]["input_size"]
    count = composed["model"]["head"]["out_channels"]
    codec = KEYPOINT_CODECS.build(composed["codec"])
    keypoints = generator.uniform(0, 1, (batch, count, 2)) * [width - 1, height - 1]
    encoded = [codec.encode(each[None], np.ones((1, count), dtype=np.float32)) for each in keypoints]

    def stacked(key: str) -> Tensor:
        return torch.as_tensor(np.stack([each[key].squeeze() for each in encoded]), device=device)

    two_dimensional = "heatmaps" in encoded[0]
    per_map = codec.scale_factor if two_dimensional else 1 / codec.simcc_split_ratio
    images = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0)).to(device)
    labels = ["heatmaps"] if two_dimensional else ["keypoint_x_labels", "keypoint_y_labels"]
    return images, KeypointTarget(
        heatmaps=as_maps([stacked(each) for each in labels]),
        keypoints=torch.as_tensor(keypoints / per_map, dtype=torch.float32, device=device),
        weights=torch.ones(batch, count, device=device),
        scale=torch.full((batch,), width / 2 / float(np.mean(per_map)), device=device),
        sigmas=model.head.sigmas,
    )
