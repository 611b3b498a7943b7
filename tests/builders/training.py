"""Cells that a test trains, and the weights that come of it."""

import json
from pathlib import Path
from typing import Any

import torch

from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig, complete
from rspose.training.train import train

Settings = dict[str, Any]

AVERAGED = {"type": "EMAHook", "ema_type": "ExpMomentumEMA", "momentum": 0.02, "update_buffers": True}
"""A hook that keeps a moving average of the weights."""


def completed(settings: Settings, folder: Path) -> GridConfig:
    """The config of ``settings``, with its results in ``folder``, which is made if it is not there."""
    folder.mkdir(exist_ok=True)
    return complete({**settings, "results": str(folder / "results")})


def run(settings: Settings, cell: Cell, folder: Path, initial_weights: Path | None = None) -> dict[str, Any]:
    """Train a cell in this process; what ``training.json`` says."""
    config = completed(settings, folder)
    with open(folder / "progress.txt", "w") as terminal:
        train(config, cell, folder / "cell" / "checkpoint.pth", initial_weights, terminal=terminal)
    return json.loads((folder / "cell" / "training.json").read_text())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "cell" / "checkpoint.pth", weights_only=True)["state_dict"]


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
