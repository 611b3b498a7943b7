"""Cells that a test trains, also in a process that is killed, and the weights that come of it."""

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DefaultScope

from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig, complete
from rspose.training.train import Training

# isort: split
from mmpose.registry import DATASETS

DefaultScope.get_instance("tests", scope_name="mmpose")  # where mmpose's configs look for their types

Settings = dict[str, Any]
Batch = dict[str, list[Any]]

AVERAGED = {"type": "EMAHook", "ema_type": "ExpMomentumEMA", "momentum": 0.02, "update_buffers": True}
"""A hook that keeps a moving average of the weights."""

# A loss that does what a file beside it says: "<what> <rank> <call>".
ORDERED_LOSS = """
import os, signal, time
from pathlib import Path
from mmengine.dist import get_rank
from rspose.losses import HeatmapLoss, as_tuple, register
from rspose.losses.instance_sort import InstanceSort

ORDER = Path(__file__).with_name("order")


@register
class Ordered(HeatmapLoss):
    name = title = reference = "ordered"

    def __init__(self) -> None:
        super().__init__()
        self.instance_sort = InstanceSort(gather=True)
        self.calls = 0

    def terms(self, prediction, target):
        square = (as_tuple(prediction)[0] - as_tuple(target.heatmaps)[0]).square().mean()
        terms = {"square": square, **self.instance_sort.terms(prediction, target)}
        self.calls += 1
        what, rank, call = ORDER.read_text().split() if ORDER.exists() else ("nothing", 0, 0)
        if what == "nothing" or int(rank) != get_rank() or int(call) > self.calls:
            return terms
        if what == "stop":
            ORDER.with_name("reached").write_text(str(os.getpid()))
            time.sleep(600)
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if (target.weights[:, 5] > 0).any():
            if what == "raise":
                raise KeyError("elbow")
            terms["square"] = square * float("nan")
        return terms
"""


def with_ordered_loss(settings: Settings, folder: Path) -> Settings:
    """A config with that loss alone, which looks for its orders in ``order`` in the folder."""
    (folder / "ordered.py").write_text(ORDERED_LOSS)
    settings.update(losses=["ordered"], losses_from=[str(folder / "ordered.py")])
    return settings


def completed(settings: Settings, folder: Path) -> GridConfig:
    """The config of ``settings``, with its results in ``folder``, which is made if it is not there."""
    folder.mkdir(exist_ok=True)
    return complete({**settings, "results": str(folder / "results")})


def run(settings: Settings, cell: Cell, folder: Path, initial_weights: Path | None = None) -> dict[str, Any]:
    """Train a cell in this process; what ``training.json`` says."""
    config = completed(settings, folder)
    with open(folder / "progress.txt", "w") as terminal:
        Training(config, cell, folder / "cell" / "checkpoint.pth", initial_weights).train(terminal)
    return json.loads((folder / "cell" / "training.json").read_text())


def start(
    settings: Settings, cell: Cell, folder: Path, prepare: Callable[[], None] = lambda: None
) -> BaseProcess:
    """The same in a process that can be killed, a copy of this one in which ``prepare`` is called first."""
    folder.mkdir(exist_ok=True)

    def body() -> None:
        with open(folder / "child.txt", "w") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        prepare()
        run(settings, cell, folder)

    child = multiprocessing.get_context("fork").Process(target=body)
    child.start()
    return child


def wait_until_reached(mark: Path, child: BaseProcess, folder: Path) -> None:
    """Wait until a child that trains in ``folder`` has made the file ``mark``."""
    deadline = time.monotonic() + 300
    while not mark.exists():
        assert child.is_alive(), (folder / "child.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def batch_of(composed: Any, count: int, loader: str = "train_dataloader") -> Batch:
    """The first samples of a composed config, at most ``count``, as mmpose's models take them."""
    dataset = DATASETS.build(composed[loader]["dataset"])
    items = [dataset[index] for index in range(min(count, len(dataset)))]
    return {key: [item[key] for item in items] for key in ("inputs", "data_samples")}


class RunsCode:
    """What an attacker puts into a checkpoint: reading it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "cell" / "checkpoint.pth", weights_only=True)["state_dict"]


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
