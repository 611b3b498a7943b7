"""Progress of a cell and of the grid around it, one line every few seconds."""

import sys
import time
from typing import Any, TextIO

from mmengine.hooks import Hook

from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig
from rspose.grid.progress import duration


class GridProgress:
    """How many cells of the grid are trained, and how long the rest takes.

    Args:
        config: The completed config.
        parallel: Cells that train at the same time; 0 if nobody knows, as on a cluster.
    """

    def __init__(self, config: GridConfig, parallel: int) -> None:
        folder = config.results / "cells"
        self.checkpoints = [folder / cell.path / "checkpoint.pth" for cell in config.cells()]
        self.parallel = parallel

    def done(self) -> int:
        """Cells whose training is finished."""
        return sum(path.exists() for path in self.checkpoints)

    def describe(self, cell_seconds: float) -> str:
        """``cells 7/36 trained, about 6 min left`` for cells that take ``cell_seconds`` each."""
        done, total = self.done(), len(self.checkpoints)
        if not self.parallel:
            return f"cells {done}/{total} trained"
        left = (total - done) * cell_seconds / self.parallel
        return f"cells {done}/{total} trained, about {duration(left)} of training left"


class ProgressHook(Hook):
    """Print the step, the loss and the time left of a cell to the terminal.

    Args:
        cell: The cell that trains.
        grid: Progress of the grid.
        stream: Where to print; the terminal, while everything else goes to the cell's log.
    """

    priority = "VERY_LOW"
    interval = 10.0  # seconds between two lines

    def __init__(self, cell: Cell, grid: GridProgress, stream: TextIO = sys.stderr) -> None:
        self.cell = cell
        self.grid = grid
        self.stream = stream

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
        print(
            f"{self.cell}: step {step}/{steps}{loss}, {per_step * 1000:.0f} ms a step, "
            f"{duration(per_step * (steps - step))} left | {self.grid.describe(per_step * steps)}",
            file=self.stream,
            flush=True,
        )
