"""Progress of a cell and of the grid around it, one line every few seconds."""

import time
from typing import Any, TextIO

from mmengine.hooks import Hook

from rspose.grid.config import GridConfig
from rspose.grid.progress import duration


class ProgressHook(Hook):
    """Print the step, the loss and the time left of a cell, and how many cells of its grid are trained.

    ``title`` is what the training is called; other arguments as for :func:`rspose.training.train.train`.
    """

    priority = "VERY_LOW"
    interval = 10.0  # seconds between two lines

    def __init__(self, config: GridConfig, title: str, parallel: int, terminal: TextIO) -> None:
        folder = config.results / "cells"
        self.checkpoints = [folder / each.path / "checkpoint.pth" for each in config.cells()]
        self.title, self.parallel, self.terminal = title, parallel, terminal

    def before_train(self, runner: Any) -> None:
        """Start the clock."""
        self.started = self.printed = time.monotonic()
        self.first_step = runner.iter

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Print a line when the interval has passed."""
        now = time.monotonic()
        if now - self.printed < self.interval:
            return
        self.printed = now
        step, steps = runner.iter + 1, runner.max_iters
        per_step = (now - self.started) / (step - self.first_step)
        loss = f", loss {float(outputs['loss']):.4g}" if outputs and "loss" in outputs else ""
        done, total = sum(path.exists() for path in self.checkpoints), len(self.checkpoints)
        left = ""
        if self.parallel:
            seconds = (total - done) * per_step * steps / self.parallel
            left = f", about {duration(seconds)} of training left"
        print(
            f"{self.title}: step {step}/{steps}{loss}, {per_step * 1000:.0f} ms a step, "
            f"{duration(per_step * (steps - step))} left | cells {done}/{total} trained{left}",
            file=self.terminal,
            flush=True,
        )
