"""A picture of each loss: its value as a peak moves away from the keypoint, and where it then pushes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import torch

from rspose.losses.registry import available, build
from rspose.reporting.style import loss_colour
from rspose.tools.localisation import raw_output
from rspose.tools.pushes import draw_pushes, losses_of_project
from rspose.tools.targets import Layout, target_around

SIGMA = 6.0  # bins, as raw_output takes it for SimCC
BINS = 121
REACH = 4  # of the pictures, in standard deviations of the label
SHOWN = 1.5  # displacement of the peak whose gradient is drawn, in the same


def draw_losses(folder: Path) -> None:
    """Draw every loss of the project as ``<name>.svg``, and all of them in ``situations.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in available():
        picture(name).save(folder / f"{name}.svg")
    draw_pushes(losses_of_project(), folder / "situations.png")


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
    (gradient,) = torch.autograd.grad(total, maps[:1], materialize_grads=True)
    shown = {"place": places / SIGMA, "label": label[0, 0], "heatmap": heatmap[0, 0].detach()}
    steps = pd.DataFrame({**shown, "step": -gradient[0, 0]})[(places.abs() <= REACH * SIGMA).numpy()]
    return pd.DataFrame({"displacement": displacements, "value": values[:-1]}), steps.reset_index(drop=True)
