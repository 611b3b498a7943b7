"""Where losses push three heatmaps: a picture for the documentation, and for the report of a grid."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from rspose.grid.config import GridConfig
from rspose.losses.interface import HeatmapLoss, KeypointTarget
from rspose.losses.registry import available, build
from rspose.tools.localisation import losses_and_heads, nearest_output
from rspose.tools.targets import SMALL, Layout, gaussian_labels, target_around

SITUATIONS = ("clear", "occluded", "crowded")
"""Keypoints of one person: well seen, guessed at, and beside a stronger peak of somebody else's."""


def draw_pushes(losses: Mapping[str, HeatmapLoss], file: Path) -> None:
    """Draw as a PNG where losses, each under its title, push :func:`situations`: a column a loss."""
    prediction, _ = situations()
    figure = Figure((1.05 * (len(losses) + 1), 4.3), layout="constrained")
    grid = figure.subplots(len(SITUATIONS), len(losses) + 1, squeeze=False)
    for row, (situation, map_) in enumerate(zip(SITUATIONS, prediction[0], strict=True)):
        _map(grid[row, 0], map_, row, cmap="gray", vmin=0, vmax=1)
        grid[row, 0].set_ylabel(situation)
    grid[0, 0].set_title("prediction", fontsize=9)
    for column, (title, loss) in enumerate(losses.items(), start=1):
        for row, step in enumerate(pushes(loss)):
            size = step.abs() / step.abs().max().clamp_min(1e-12)
            shown = step.sign() * size.sqrt()  # small ones are seen too
            _map(grid[row, column], shown, row, cmap="RdBu_r", vmin=-1, vmax=1)
        grid[0, column].set_title(fill(title, 14), fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=100)


def losses_of_project() -> dict[str, HeatmapLoss]:
    """Every loss by its title, but for the sum: what it adds up is there."""
    names = sorted(set(available()) - {"sum"})
    return {available()[name].title: build(name, {}, len(SITUATIONS)) for name in names}


def losses_of_grid(config: GridConfig) -> dict[str, HeatmapLoss]:
    """The losses of a grid that serve 2D heads, by title, as the grid trains them."""
    chosen = {name: config.loss_of(name, head) for name, head in reversed(losses_and_heads(config))}
    found = {each.title: build(each.loss, each.parameters, len(SITUATIONS)) for each in chosen.values()}
    return {title: loss for title, loss in reversed(found.items()) if "heatmap" in loss.heads}


def situations() -> tuple[Tensor, KeypointTarget]:
    """Heatmaps ``[1, 3, 32, 24]`` in [0, 1] of one person's keypoints, and their target."""
    layout = SMALL["heatmap"]
    there = torch.tensor([[[11.5, 15.5], [11.5, 15.5], [8.0, 15.5]]])

    def peak(dx: float, dy: float, height: float, width: float = 1.0) -> Tensor:
        blurred = Layout(layout.size, (width * layout.sigma[0], width * layout.sigma[1]))
        maps = gaussian_labels("heatmap", there + torch.tensor([dx, dy]), blurred)
        assert isinstance(maps, Tensor)
        return height * maps[0]

    clear, _, _ = peak(0.8, 0.4, 0.85)
    _, occluded, _ = peak(2.5, -2.0, 0.3, 1.8)
    (_, _, own), (_, _, other) = peak(0.4, 0.3, 0.5), peak(9.0, 1.0, 0.65)
    target = target_around(there, gaussian_labels("heatmap", there, layout, reach=3), layout)
    return torch.stack([clear, occluded, torch.maximum(own, other)])[None], target


def pushes(loss: HeatmapLoss) -> Tensor:
    """What a step down the gradient adds to the raw output for :func:`situations`, ``[3, 32, 24]``."""
    prediction, target = situations()
    raw, _ = nearest_output(loss, prediction, "heatmap")
    assert isinstance(raw, Tensor)
    raw = raw.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(sum(loss(raw, target).values()), raw, materialize_grads=True)
    return -gradient[0]


def _map(axes: Axes, map_: Tensor, keypoint: int, **shown: Any) -> None:
    axes.imshow(map_.numpy(), **shown)
    place = situations()[1].keypoints[0, keypoint]
    axes.plot(*place, marker="o", markersize=9, markerfacecolor="none", markeredgecolor="#2CA02C")
    axes.set_xticks([])
    axes.set_yticks([])
