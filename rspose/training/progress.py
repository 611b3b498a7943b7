"""Progress of a cell and of the grid around it, one line every few seconds."""

import time
from typing import Any, TextIO

from mmengine.hooks import Hook

from rspose.grid.config import GridConfig
from rspose.grid.progress import duration
from rspose.grid.tuning import trials_left


class ProgressHook(Hook):
    """Print the step, the loss and the time left of a cell, and how many cells of its grid are trained.

    Args:
        config: The config of the grid.
        length: Of the training, in trainings of the recipe's length.
        title: What the training is called.
        parallel: Cells that train at the same time; 0 if nobody knows.
        terminal: Where the lines go.
    """

    priority = "VERY_LOW"
    interval = 10.0  # seconds between two lines

    def __init__(
        self, config: GridConfig, length: float, title: str, parallel: int, terminal: TextIO
    ) -> None:
        self.config, self.length, self.cells = config, length, config.cells()
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
        folder = self.config.results / "cells"
        untrained = [each for each in self.cells if not (folder / each.path / "checkpoint.pth").exists()]
        trials = trials_left(self.config, untrained)
        left = f", {len(trials)} trials to go" if trials else ""
        if self.parallel:
            lengths = sum(each.length for each in untrained) + sum(part for _, part in trials)
            seconds = lengths * per_step * steps / self.length / self.parallel
            left += f", about {duration(seconds)} of training left"
        done, total = len(self.cells) - len(untrained), len(self.cells)
        print(
            f"{self.title}: step {step}/{steps}{loss}, {per_step * 1000:.0f} ms a step, "
            f"{duration(per_step * (steps - step))} left | cells {done}/{total} trained{left}",
            file=self.terminal,
            flush=True,
        )
