"""A picture of each loss: its value as a peak moves away from the keypoint, and where it then pushes."""

from pathlib import Path

import altair as alt
import pandas as pd
import torch

from rspose.losses.interface import HeatmapLoss, KeypointTarget
from rspose.losses.registry import available, build
from rspose.reporting.style import loss_colour
from rspose.tools.localisation import raw_output

SIGMA = 6.0  # bins, as raw_output takes it for SimCC
BINS = 121
REACH = 4  # of the pictures, in standard deviations of the label
SHOWN = 1.5  # displacement of the peak whose gradient is drawn, in the same


def draw_losses(folder: Path) -> None:
    """Draw every loss of the project as ``<name>.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in available():
        picture(name).save(folder / f"{name}.svg")


def picture(name: str) -> alt.HConcatChart:
    """The picture of a loss, on one axis of a 1D head.

    The prediction is what the loss itself reads as a Gaussian peak of the label's width, at another place.
    Where one keypoint costs nothing, because the loss compares keypoints with each other, another one stands
    beside it, at its place and less confident.
    """
    values, steps = numbers(name)
    colour = loss_colour(name)
    axis = alt.Axis(grid=False, values=list(range(-REACH, REACH + 1)))
    value = alt.Chart(values, title="value", width=300, height=150).mark_line(color=colour, strokeWidth=2.5)
    value = value.encode(
        alt.X("displacement:Q", title="displacement of the peak (σ of the label)", axis=axis),
        alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=4)),
    )
    place = alt.X("place:Q", title="place (σ of the label)", axis=axis)
    base = alt.Chart(steps, title=f"where it pushes a peak {SHOWN} σ off", width=300, height=150)
    step = alt.Y("step:Q", title=None, axis=alt.Axis(tickCount=4), scale=alt.Scale(domain=[-1, 1]))
    gradient = alt.layer(
        base.mark_area(color="#D9D9D9").encode(place, alt.Y("label:Q")),
        base.mark_line(color="#777777", strokeDash=[4, 3]).encode(place, alt.Y("heatmap:Q")),
        base.mark_line(color=colour, strokeWidth=2.5).encode(place, step),
    )
    chart = alt.hconcat(value, gradient, spacing=40).configure_view(stroke=None)
    chart = chart.configure_title(anchor="start", fontSize=12, fontWeight="normal")
    return chart.configure_axis(titleFontWeight="normal")


def numbers(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The value at each displacement; label, heatmap and step down the gradient at each place."""
    values, steps = _follow(build(name, {}, num_keypoints=1), keypoints=1)
    if not steps["step"].any():
        values, steps = _follow(build(name, {}, num_keypoints=2), keypoints=2)
    steps["step"] /= steps["step"].abs().max()
    return values, steps


def _follow(loss: HeatmapLoss, keypoints: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    places = torch.arange(BINS) - BINS // 2
    displacements = torch.linspace(-REACH, REACH, 49)
    shifted = [*displacements.tolist(), SHOWN]
    label, resting = _peaks([0.0])[:, None].expand(1, keypoints, BINS), _peaks([0.0])[:, None]
    raw = raw_output(loss, (_peaks(shifted)[:, None], resting.expand(len(shifted), 1, BINS)), "simcc")
    heatmap = loss.to_heatmaps(tuple(map_[-1:] for map_ in raw), (SIGMA, SIGMA))[0]  # type: ignore[arg-type]
    sure = raw_output(loss, (resting, resting), "simcc")[0]
    target = KeypointTarget(
        heatmaps=(label, label),
        keypoints=torch.full((1, keypoints, 2), float(BINS // 2)),
        weights=torch.ones(1, keypoints),
        scale=torch.full((1,), 96.0),
        sigmas=torch.full((keypoints,), 0.08),
    )
    values = []
    for x, y in zip(*raw, strict=True):
        maps = [torch.cat([map_[None], 0.8 * sure][:keypoints], dim=1).requires_grad_() for map_ in (x, y)]
        total = sum(loss((maps[0], maps[1]), target).values())
        values.append(total.item())
    (gradient,) = torch.autograd.grad(total, maps[:1], allow_unused=True)
    step = torch.zeros(BINS) if gradient is None else -gradient[0, 0]
    near = places.abs() <= REACH * SIGMA
    return pd.DataFrame({"displacement": displacements, "value": values[:-1]}), pd.DataFrame(
        {
            "place": (places / SIGMA)[near],
            "label": label[0, 0][near],
            "heatmap": heatmap[0, 0].detach()[near],
            "step": step[near],
        }
    )


def _peaks(displacements: list[float]) -> torch.Tensor:
    """Gaussian peaks, each a map ``[n, BINS]`` displaced by so many standard deviations."""
    places = torch.arange(BINS) - BINS // 2
    offsets = SIGMA * torch.tensor(displacements)
    return torch.exp(-((places - offsets[:, None]) ** 2) / (2 * SIGMA**2))
