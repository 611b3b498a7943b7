"""A picture of each loss: its value as a peak moves away from the keypoint, and where it then pushes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from rspose.losses.interface import KeypointTarget
from rspose.losses.registry import available, build
from rspose.reporting.style import loss_colour
from rspose.tools.localisation import nearest_output, raw_output
from rspose.tools.targets import SMALL, Layout, gaussian_labels, target_around

SIGMA = 6.0  # bins, as raw_output takes it for SimCC
BINS = 121
REACH = 4  # of the pictures, in standard deviations of the label
SHOWN = 1.5  # displacement of the peak whose gradient is drawn, in the same


def draw_losses(folder: Path) -> None:
    """Draw every loss of the project as ``<name>.svg``, and all of them in ``situations.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in available():
        picture(name).save(folder / f"{name}.svg")
    draw_situations(folder / "situations.png")


def picture(name: str) -> alt.HConcatChart:
    """The picture of a loss, on one axis of a 1D head.

    The prediction is what the loss itself reads as a Gaussian peak of the label's width, at another place.
    Where one keypoint costs nothing, because the loss compares keypoints with each other, another one stands
    beside it, at its place and less confident.
    """
    values, steps = numbers(name)
    axis = alt.Axis(grid=False, values=list(range(-REACH, REACH + 1)))
    few = alt.Axis(tickCount=4)
    size: dict[str, Any] = {"width": 300, "height": 150}
    line: dict[str, Any] = {"color": loss_colour(name), "strokeWidth": 2.5}
    value = (
        alt.Chart(values, title="value", **size)
        .mark_line(**line)
        .encode(
            alt.X("displacement:Q", title="displacement of the peak (σ of the label)", axis=axis),
            alt.Y("value:Q", title=None, axis=few),
        )
    )
    base = alt.Chart(steps, title=f"where it pushes a peak {SHOWN} σ off", **size)
    base = base.encode(alt.X("place:Q", title="place (σ of the label)", axis=axis))
    step = alt.Y("step:Q", title=None, axis=few, scale=alt.Scale(domain=[-1, 1]))
    gradient = alt.layer(
        base.mark_area(color="#D9D9D9").encode(alt.Y("label:Q")),
        base.mark_line(color="#777777", strokeDash=[4, 3]).encode(alt.Y("heatmap:Q")),
        base.mark_line(**line).encode(step),
    )
    chart = alt.hconcat(value, gradient, spacing=40).configure_view(stroke=None)
    chart = chart.configure_title(anchor="start", fontSize=12, fontWeight="normal")
    return chart.configure_axis(titleFontWeight="normal")


def numbers(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The value at each displacement; label, heatmap and step down the gradient at each place."""
    values, steps = _follow(name, keypoints=1)
    if not steps["step"].any():
        values, steps = _follow(name, keypoints=2)
    steps["step"] /= steps["step"].abs().max()
    return values, steps


def _follow(name: str, keypoints: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    loss = build(name, {}, keypoints)
    places = torch.arange(BINS) - BINS // 2
    displacements = torch.linspace(-REACH, REACH, 49)
    offsets = SIGMA * torch.tensor([*displacements.tolist(), SHOWN])
    label, peaks = (
        torch.exp(-((places - each[:, None]) ** 2) / (2 * SIGMA**2))[:, None]
        for each in (0 * offsets, offsets)
    )
    raw = raw_output(loss, (peaks, label), "simcc")
    heatmap = loss.to_heatmaps((raw[0][-1:], raw[1][-1:]), (SIGMA, SIGMA))[0]
    sure = raw_output(loss, (label[:1], label[:1]), "simcc")[0]
    there = torch.full((1, keypoints, 2), float(BINS // 2))
    both = (label[:1].expand(1, keypoints, BINS),) * 2
    target = target_around(there, both, Layout((BINS, BINS), (SIGMA, SIGMA)))
    target = replace(target, scale=torch.full((1,), 96.0))
    values = []
    for x, y in zip(*raw, strict=True):
        maps = [torch.cat([map_[None], 0.8 * sure][:keypoints], dim=1).requires_grad_() for map_ in (x, y)]
        total = sum(loss((maps[0], maps[1]), target).values())
        values.append(total.item())
    (gradient,) = torch.autograd.grad(total, maps[:1], allow_unused=True)
    step = torch.zeros(BINS) if gradient is None else -gradient[0, 0]
    shown = {"place": places / SIGMA, "label": label[0, 0], "heatmap": heatmap[0, 0].detach(), "step": step}
    steps = pd.DataFrame(shown)[(places.abs() <= REACH * SIGMA).numpy()]
    return pd.DataFrame({"displacement": displacements, "value": values[:-1]}), steps.reset_index(drop=True)


SITUATIONS = ("clear", "occluded", "crowded")
"""Keypoints of one person: well seen, guessed at, and beside a stronger peak of somebody else's."""


def draw_situations(file: Path) -> None:
    """Draw where every loss of the project pushes three heatmaps, a column a loss, as a PNG."""
    prediction, _ = situations()
    names = sorted(name for name in available() if name != "sum")  # the losses that it adds up are there
    figure = Figure((1.05 * (len(names) + 1), 4.3), layout="constrained")
    grid = figure.subplots(len(SITUATIONS), len(names) + 1)
    for row, (situation, map_) in enumerate(zip(SITUATIONS, prediction[0], strict=True)):
        _map(grid[row, 0], map_, row, cmap="gray", vmin=0, vmax=1)
        grid[row, 0].set_ylabel(situation)
    grid[0, 0].set_title("prediction", fontsize=9)
    for column, name in enumerate(names, start=1):
        for row, step in enumerate(pushes(name)):
            size = step.abs() / step.abs().max().clamp_min(1e-12)
            shown = step.sign() * size.sqrt()  # small ones are seen too
            _map(grid[row, column], shown, row, cmap="RdBu_r", vmin=-1, vmax=1)
        grid[0, column].set_title(available()[name].title, fontsize=9)
    figure.savefig(file, dpi=100)


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


def pushes(name: str) -> Tensor:
    """What a step down the gradient adds to the raw output for :func:`situations`, ``[3, 32, 24]``."""
    prediction, target = situations()
    loss = build(name, {}, len(SITUATIONS))
    raw, _ = nearest_output(loss, prediction, "heatmap")
    assert isinstance(raw, Tensor)
    raw = raw.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(sum(loss(raw, target).values()), raw, allow_unused=True)
    return torch.zeros_like(prediction)[0] if gradient is None else -gradient[0]


def _map(axes: Axes, map_: Tensor, keypoint: int, **shown: Any) -> None:
    axes.imshow(map_.numpy(), **shown)
    place = situations()[1].keypoints[0, keypoint]
    axes.plot(*place, marker="o", markersize=9, markerfacecolor="none", markeredgecolor="#2CA02C")
    axes.set_xticks([])
    axes.set_yticks([])
