"""Train one cell with mmpose's Runner."""

import resource
import sys
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
import numpy as np
import torch
from mmengine.dist import all_reduce, get_world_size, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import Runner

from rspose.datasets import dataset
from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig
from rspose.grid.files import replacing, write_json
from rspose.grid.fingerprints import (
    cell_settings,
    code_sha256,
    sha256_of,
    sha256_of_sources,
    training_fingerprint,
)
from rspose.grid.job import LastingError
from rspose.grid.machine import cpu_name
from rspose.grid.tuning import part_of_cell
from rspose.losses import build
from rspose.training.checkpoints import latest_checkpoint
from rspose.training.compose import compose
from rspose.training.memory import hold_memory
from rspose.training.pretrained import pretrained
from rspose.training.progress import ProgressHook
from rspose.training.torchrun import torchrun
from rspose.training.watch import LossFailure
from rspose.training.weights import load_safely, sha256_of_weights

_CURVE_POINTS = 50


class _Measurements(Hook):
    """Time and losses of a training, over all attempts and processes; logs what the loss learned."""

    window = 20  # iterations that the final loss is a mean of

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.averaged = 0  # how many of them are means over the processes
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Without what earlier attempts did after their last checkpoints."""
        return time.monotonic() - self.started

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        values = {term: torch.tensor(each, dtype=torch.float64) for term, each in self.values.items()}
        checkpoint["measurements"] = {"seconds": self.seconds, "values": values}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if "measurements" in checkpoint:  # not in initial weights
            self.values = {term: each.tolist() for term, each in checkpoint["measurements"]["values"].items()}
            self.averaged = max(map(len, self.values.values()), default=0)
            self.started -= checkpoint["measurements"]["seconds"]

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        assert outputs
        # Fetched from a GPU together, and left as numbers to mmengine's log, which would ask for each.
        outputs.update(zip(outputs, torch.stack([*outputs.values()]).double().tolist(), strict=True))
        for term, value in outputs.items():
            self.values.setdefault(term, []).append(value)

    def after_train_epoch(self, runner: Any) -> None:
        if get_world_size() > 1:
            for values in self.values.values():
                means = torch.tensor(values[self.averaged :], dtype=torch.float64)
                all_reduce(means, "mean")
                values[self.averaged :] = means.tolist()
            self.averaged = max(map(len, self.values.values()), default=0)
        for name, values in _learned(runner).items():
            runner.logger.info(f"{name} of each keypoint: {' '.join(f'{value:.4f}' for value in values)}")

    def final(self) -> dict[str, float]:
        """The mean of every term over the last iterations."""
        recent = {term: values[-self.window :] for term, values in self.values.items()}
        return {term: round(sum(values) / len(values), 8) for term, values in recent.items()}

    def curve(self) -> dict[str, list[float]]:
        """Every term at up to 50 points, means over iterations of which ``iteration`` is the last, from 1."""
        steps = len(self.values["loss"])
        points = np.array_split(np.arange(steps), min(_CURVE_POINTS, steps))
        curve: dict[str, list[float]] = {"iteration": [int(point[-1]) + 1 for point in points]}
        for term, values in self.values.items():
            if term.startswith("loss"):
                curve[term] = [float(f"{np.array(values)[point].mean():.6g}") for point in points]
        return curve


@dataclass(frozen=True)
class Training:
    """The training of a cell.

    Args:
        config: The config of the grid.
        cell: The cell.
        checkpoint: Where the final weights go, with ``training.json`` and ``config.py`` beside them.
        initial_weights: Weights that every cell of the model starts from.
        parallel: Cells that train at the same time, for the estimate of the time left; 0 if nobody knows.
        title: What progress calls the training; the cell if left out.
    """

    config: GridConfig
    cell: Cell
    checkpoint: Path
    initial_weights: Path | None = None
    parallel: int = 1
    title: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Of the settings and sources that decide the weights."""
        return training_fingerprint(self.config, self.cell)

    @cached_property
    def work_dir(self) -> Path:
        """Where the checkpoints of every epoch are, from the last of which the same training goes on."""
        # The same settings on other data, or from other weights, are another training.
        starts = pretrained(self.config, self.cell.model, self.cell.head)
        weights = self.initial_weights, starts.file if starts else None
        inputs = [*self.config.dataset_files(self.cell.dataset, "train"), *filter(None, weights)]
        folder = sha256_of([self.fingerprint, sha256_of_sources(inputs)])[:12]
        return self.config.results / "work" / self.cell.path / folder

    def train(self, terminal: TextIO = sys.stderr) -> None:
        """Train the cell and write its weights; progress goes to ``terminal``."""
        settings = self.config.training_of(self.cell)
        gpus = torch.cuda.device_count() if settings.device != "cpu" and torch.cuda.is_available() else 0
        if settings.device == "cuda" and not gpus:
            raise RuntimeError(
                "config key 'training.device': cuda asked for, but torch sees no GPU; use auto or cpu"
            )
        if 0 < gpus < settings.devices:
            raise RuntimeError(
                f"config key 'training.devices': {settings.devices} GPUs asked for, but torch sees {gpus}"
            )
        previous = latest_checkpoint(self.work_dir, {terminal, sys.stderr})
        if settings.devices > 1:
            each = settings.devices, settings.threads, terminal
            torchrun("rspose.training.train_process", (self, previous), *each)
        else:
            self.run(previous, terminal)

    def run(self, previous: Path | None, terminal: TextIO) -> None:
        """Train in this process, together with those of its process group if there is one.

        The first process writes all that is written, and reports progress to ``terminal``; they go on from
        the checkpoint ``previous``, where there is one.

        Raises:
            LastingError: The loss failed; the message says at which step, term and keypoint.
        """
        settings = self.config.training_of(self.cell)
        torch.set_num_threads(settings.threads)
        load_safely()
        hold_memory()
        composed = compose(self.config, self.cell, self.work_dir, self.initial_weights)
        if previous is not None:
            composed["resume"], composed["load_from"] = True, str(previous)
        if is_main_process():
            self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
            composed.dump(self.checkpoint.parent / "config.py")

        measurements = _Measurements()
        runner = Runner.from_cfg(composed)
        if not torch.cuda.is_available():
            revert_sync_batchnorm(runner.model)  # torch has it on GPUs only
        runner.register_hook(measurements, priority="HIGHEST")
        if is_main_process():
            tuning = self.config.tuning
            is_trial = tuning is not None and settings.held_out == tuning.held_out
            length = part_of_cell(self.config) if is_trial else self.cell.length
            runner.register_hook(
                ProgressHook(self.config, length, self.title or str(self.cell), self.parallel, terminal)
            )
        _unwrapped(runner.model).head.watch_gradients = True
        try:
            runner.train()
        except LossFailure as failure:
            step, names = runner.iter + 1, dataset(self.cell.dataset).keypoints.names
            # Steps are the same in every attempt.
            raise LastingError(failure.message(step, names)) from failure
        peak_memory = _peak_memory_mb()
        if is_main_process():
            self._write(runner, measurements, peak_memory, resumed=previous is not None)

    def _write(self, runner: Runner, measurements: _Measurements, peak_memory: float, resumed: bool) -> None:
        settings, seconds = self.config.training_of(self.cell), measurements.seconds
        chosen = self.config.loss_of(self.cell.loss, self.cell.head)
        start = self.initial_weights
        loss = build(chosen.loss, chosen.parameters, num_keypoints=1)
        averages = (hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook))
        weights = _unwrapped(next(averages, runner.model)).state_dict()
        with replacing(self.checkpoint) as temporary:
            torch.save({"state_dict": weights, "fingerprint": self.fingerprint}, temporary)
        write_json(
            self.checkpoint.parent / "training.json",
            {
                "iterations": runner.iter,
                "epochs": settings.epochs,
                "batch_size": settings.batch_size,
                "devices": settings.devices,
                "batch_size_per_device": settings.batch_size // settings.devices,
                "learning_rate": settings.scaled_learning_rate * chosen.learning_rate_factor,
                "base_batch_size": settings.learning_rate.base_batch_size,
                "precision": settings.precision,
                "seeds_vary": settings.seeds_vary,
                "seconds": round(seconds, 2),
                "seconds_per_iteration": round(seconds / runner.iter, 5),
                "peak_memory_mb": round(peak_memory, 1),
                "resumed": resumed,
                "final_loss": measurements.final(),
                "curve": measurements.curve(),
                "train_instances": len(runner.train_dataloader.dataset),
                **_pretrained(_unwrapped(runner.model).backbone),
                "loss": {
                    "reference": loss.reference,
                    "reconstruction": loss.reconstruction,
                    "parameters": chosen.parameters,
                    "learned": _learned(runner),
                },
                "provenance": {
                    **({"initial_weights_sha256": sha256_of_weights(start)} if start else {}),
                    "config_sha256": sha256_of(cell_settings(self.config, self.cell)),
                    "code_sha256": code_sha256(chosen),
                    "training_sha256": self.fingerprint,
                    "device": torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name(),
                },
            },
        )


def _unwrapped(model: Any) -> Any:
    return getattr(model, "module", model)


def _pretrained(backbone: Any) -> dict[str, Any]:
    loaded = getattr(backbone, "loaded_weights", None)
    return {"pretrained": asdict(loaded)} if loaded else {}


def _learned(runner: Runner) -> dict[str, list[float]]:
    learned = _unwrapped(runner.model).head.loss_module.learned()
    return {name: [round(value, 6) for value in values] for name, values in learned.items()}


def _peak_memory_mb() -> float:
    if torch.cuda.is_available():
        memory = torch.tensor(torch.cuda.max_memory_allocated() / 2**20)
    else:
        memory = torch.tensor(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    all_reduce(memory, "max")
    return float(memory)
