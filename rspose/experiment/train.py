"""Train one cell with mmpose's Runner."""

import resource
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import rspose.pose  # noqa: F401  # isort: skip  (makes mmpose importable)
import numpy as np
import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from rspose.experiment.checkpoints import latest_checkpoint
from rspose.experiment.compose import compose
from rspose.experiment.config import Cell, loss_settings, registered_losses, training_settings
from rspose.experiment.datasets import dataset_files
from rspose.experiment.files import replacing, write_json
from rspose.experiment.progress import GridProgress, ProgressHook
from rspose.experiment.sources import (
    cell_settings,
    code_sha256,
    sha256_of,
    sha256_of_sources,
    training_fingerprint,
)
from rspose.keypoints import keypoint_set
from rspose.pose.watch import LossFailure

_CURVE_POINTS = 50


class _Measurements(Hook):
    """Time and losses of a training, over all of its attempts; logs what the loss learned."""

    window = 20  # iterations that the final loss is a mean of

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time that the training took, without what earlier attempts did after their last checkpoints."""
        return time.monotonic() - self.started

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        values = {term: torch.tensor(each, dtype=torch.float64) for term, each in self.values.items()}
        checkpoint["measurements"] = {"seconds": self.seconds, "values": values}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if "measurements" in checkpoint:  # not in initial weights
            self.values = {term: each.tolist() for term, each in checkpoint["measurements"]["values"].items()}
            self.started -= checkpoint["measurements"]["seconds"]

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        for term, value in (outputs or {}).items():
            self.values.setdefault(term, []).append(float(value))

    def after_train_epoch(self, runner: Any) -> None:
        for name, values in _learned(runner).items():
            runner.logger.info(f"{name} of each keypoint: {' '.join(f'{value:.4f}' for value in values)}")

    def final(self) -> dict[str, float]:
        """The mean of every term over the last iterations."""
        recent = {term: values[-self.window :] for term, values in self.values.items()}
        return {term: round(sum(values) / len(values), 8) for term, values in recent.items()}

    def curve(self) -> dict[str, list[float]]:
        """Every term of the loss over the training, also over the part before a resume, at up to 50 points.

        A point is the mean over consecutive iterations; ``iteration`` is the last of each, counted from 1.
        """
        terms = {term: np.array(values) for term, values in self.values.items() if term.startswith("loss")}
        steps = len(terms["loss"])
        points = np.array_split(np.arange(steps), min(_CURVE_POINTS, steps))
        means = {
            term: [float(f"{values[point].mean():.6g}") for point in points] for term, values in terms.items()
        }
        return {"iteration": [int(point[-1]) + 1 for point in points], **means}


def train(
    config: dict[str, Any],
    cell: Cell,
    checkpoint: Path,
    initial_weights: Path | None = None,
    parallel: int = 1,
    terminal: TextIO = sys.stderr,
) -> None:
    """Train ``cell`` and write its weights.

    Checkpoints of every epoch are kept below ``<results>/work``, in a folder that belongs to the cell's
    settings, sources, data and initial weights: a run that was stopped goes on from the last of them, and a
    run with others never does.

    Args:
        config: A completed config.
        cell: The cell to train.
        checkpoint: Where the final weights go; ``training.json`` and ``config.py`` are written beside it.
        initial_weights: Weights that every cell of the model starts from.
        parallel: Cells that train at the same time, for the estimate of the time left; 0 if nobody knows.
        terminal: Where progress is printed.
    """
    settings = training_settings(config, cell)
    torch.set_num_threads(settings["threads"])
    if settings["device"] == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            "config key 'training.device': cuda asked for, but torch sees no GPU; use auto or cpu"
        )
    fingerprint = training_fingerprint(config, cell)
    # The same settings on other data, or from other initial weights, are another training.
    inputs = [*dataset_files(config, cell.dataset), *([initial_weights] if initial_weights else [])]
    training = sha256_of([fingerprint, sha256_of_sources(inputs)])
    work_dir = Path(config["results"]) / "work" / cell.path / training[:12]
    composed = compose(config, cell, work_dir, initial_weights)
    previous = latest_checkpoint(work_dir, {terminal, sys.stderr})
    if previous is not None:
        composed["resume"], composed["load_from"] = True, str(previous)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    composed.dump(checkpoint.parent / "config.py")

    measurements = _Measurements()
    runner = Runner.from_cfg(composed)
    runner.register_hook(measurements)
    runner.register_hook(ProgressHook(cell, GridProgress(config, parallel), terminal))
    # Under a gradient scaler an infinite gradient is no mistake.
    _model(runner).head.watch_gradients = composed["optim_wrapper"].get("type") != "AmpOptimWrapper"
    try:
        runner.train()
    except LossFailure as failure:
        step, names = runner.iter + 1, keypoint_set(cell.dataset).names
        raise RuntimeError(failure.message(step, names)) from failure
    seconds = measurements.seconds

    with replacing(checkpoint) as temporary:
        torch.save({"state_dict": _final_weights(runner), "fingerprint": fingerprint}, temporary)
    write_json(
        checkpoint.parent / "training.json",
        {
            "iterations": runner.iter,
            "epochs": settings["epochs"],
            "batch_size": settings["batch_size"],
            "learning_rate": composed["optim_wrapper"]["optimizer"]["lr"],
            "precision": settings["precision"],
            "seconds": round(seconds, 2),
            "seconds_per_iteration": round(seconds / runner.iter, 5),
            "peak_memory_mb": round(_peak_memory_mb(), 1),
            "resumed": previous is not None,
            "final_loss": measurements.final(),
            "curve": measurements.curve(),
            "train_instances": len(runner.train_dataloader.dataset),
            "loss": {**_description(config, cell), "learned": _learned(runner)},
            "provenance": {
                "config_sha256": sha256_of(cell_settings(config, cell)),
                "code_sha256": code_sha256(loss_settings(config, cell.loss, cell.head)),
                "training_sha256": fingerprint,
                "device": _device_name(),
            },
        },
    )


def _final_weights(runner: Runner) -> dict[str, torch.Tensor]:
    """The weights of the model, or their moving average where the recipe keeps one."""
    model = next((hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)), runner.model)
    return (model.module if hasattr(model, "module") else model).state_dict()


def _model(runner: Runner) -> Any:
    return runner.model.module if hasattr(runner.model, "module") else runner.model


def _learned(runner: Runner) -> dict[str, list[float]]:
    learned = _model(runner).head.loss_module.learned()
    return {name: [round(value, 6) for value in values] for name, values in learned.items()}


def _description(config: dict[str, Any], cell: Cell) -> dict[str, Any]:
    settings = loss_settings(config, cell.loss, cell.head)
    registered = registered_losses(config)[settings["loss"]]
    return {
        "title": settings["title"],
        "reference": registered.reference,
        "reconstruction": registered.reconstruction,
        "parameters": settings["parameters"],
    }


def _peak_memory_mb() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "cpu"
