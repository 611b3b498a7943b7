"""Loss against localisation: how far off a peak may be before a loss minds, if only the map looks cleaner."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rspose.losses.interface import HeatmapLoss, KeypointTarget, Maps, as_tuple

SIZE = {"heatmap": (48, 64), "simcc": (384, 512)}
"""Width and height of the maps: heatmap pixels, and SimCC bins for an input of 192 x 256."""
SIGMA = {"heatmap": 2.0, "simcc": 6.0}
LARGEST_ERROR = 3.0
"""Localisation error at the end of each path, in standard deviations of the label."""

_FIT_STEPS, _FIT_RATE, _EXACT = 300, 0.05, 1e-3


@dataclass(frozen=True)
class _Shape:
    """A map of known error: where its peak is, and what is wrong with it besides."""

    shift: float  # of the peak, in standard deviations
    width: float = 1.0  # of the peak, in standard deviations
    second: float = 0.0  # height of a second peak, on the other side of the keypoint
    background: float = 0.0  # least value of the map


PATHS: dict[str, Callable[[float], _Shape]] = {
    "shifted": lambda t: _Shape(LARGEST_ERROR * t),
    "blurred": lambda t: _Shape(LARGEST_ERROR * t, width=2 - t),
    "split": lambda t: _Shape(LARGEST_ERROR * t, second=0.9 * (1 - t)),
    "background": lambda t: _Shape(LARGEST_ERROR * t, background=0.3 * (1 - t)),
}
"""Ways in which a map gets worse localised while, but for ``shifted``, something else about it gets better.

From t = 0 to 1 the peak moves away from the keypoint, by up to 3 standard deviations of the label. Meanwhile
it narrows from twice the label's width to the label's (``blurred``), a second peak of height 0.9 fades
(``split``), or a background of 0.3 sinks to 0 (``background``).
"""


@dataclass(frozen=True)
class Path:
    """What a loss says along a path.

    Attributes:
        errors: Localisation error of each map: distance of its peak, in standard deviations of the label.
        values: The loss of each map.
    """

    errors: list[float]
    values: list[float]

    @property
    def tolerated_error(self) -> float:
        """The largest error at which the loss is still below its value at the start, with no error at all.

        In standard deviations of the label; 0 where the loss never falls below it, and the largest error
        where it never comes back. Between two maps the loss is taken to be linear.
        """
        start = self.values[0]
        lower = [n for n, value in enumerate(self.values) if value < start]
        if not lower:
            return 0.0
        last = lower[-1]
        if last == len(self.values) - 1:
            return self.errors[-1]
        share = (start - self.values[last]) / (self.values[last + 1] - self.values[last])
        return self.errors[last] + share * (self.errors[last + 1] - self.errors[last])


def along_paths(loss: HeatmapLoss, head: str, steps: int = 16) -> dict[str, Path]:
    """Follow every path of :data:`PATHS` with one keypoint in the middle of a map.

    The loss is given the raw output whose heatmap, as the loss itself reads it, has the shape in question.
    What compares keypoints with each other (Instance-Sort) has nothing to say here.

    Args:
        loss: A loss for one keypoint.
        head: ``"heatmap"`` or ``"simcc"``.
        steps: Maps on each path, at least 2.

    Returns:
        The path of each name in :data:`PATHS`.
    """
    width, height = SIZE[head]
    centre = torch.tensor([(width - 1) // 2, (height - 1) // 2], dtype=torch.float64)
    label = _maps(head, centre, _Shape(0.0))
    target = KeypointTarget(
        heatmaps=label,
        keypoints=centre[None, None],
        weights=torch.ones(1, 1),
        scale=torch.full((1,), width / 2),
        sigmas=torch.full((1,), 0.08),
    )
    followed = {}
    for name, path in PATHS.items():
        shapes = [path(step / (steps - 1)) for step in range(steps)]
        raw = raw_output(loss, _stacked([_maps(head, centre, shape) for shape in shapes]), head)
        values = []
        for step in range(steps):
            one = tuple(map_[step : step + 1] for map_ in as_tuple(raw))
            with torch.no_grad():
                terms = loss(one if head == "simcc" else one[0], target)
            values.append(float(sum(terms.values())))
        followed[name] = Path([shape.shift for shape in shapes], values)
    return followed


def raw_output(loss: HeatmapLoss, heatmaps: Maps, head: str) -> Maps:
    """Return raw output that the loss reads as the given heatmaps, up to a factor for each map.

    It is the map itself, its logit or its logarithm, where one of them is read so. A loss with another way of
    reading (DM's spreads the mass of each pixel) gets what comes closest, found by gradient descent.

    Args:
        loss: Any loss.
        heatmaps: ``[B, K, H, W]`` or a pair ``([B, K, Wx], [B, K, Wy])``, in [0, 1].
        head: ``"heatmap"`` or ``"simcc"``.
    """
    sigma = (SIGMA[head], SIGMA[head])
    wanted = [_peak_one(map_) for map_ in as_tuple(heatmaps)]

    def distance(raw: tuple[Tensor, ...]) -> Tensor:
        read = loss.to_heatmaps(raw if head == "simcc" else raw[0], sigma)  # type: ignore[arg-type]
        return torch.stack(
            [(_peak_one(a) - b).square().sum() for a, b in zip(as_tuple(read), wanted, strict=True)]
        ).sum()

    floored = [map_.clamp(1e-6, 1 - 1e-6) for map_ in as_tuple(heatmaps)]
    candidates: list[tuple[Tensor, ...]] = [
        as_tuple(heatmaps),
        tuple(map_.logit() for map_ in floored),
        *(tuple(map_.log() * factor for map_ in floored) for factor in (1.0, 0.1)),
    ]
    best = min(candidates, key=lambda raw: distance(raw).item())
    if distance(best) > _EXACT * sum(map_.square().sum() for map_ in wanted):
        best = _fitted(distance, best)
    return best if head == "simcc" else best[0]  # type: ignore[return-value]


def _fitted(
    distance: Callable[[tuple[Tensor, ...]], Tensor], start: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    raw = tuple(map_.clone().requires_grad_() for map_ in start)
    optimizer = torch.optim.Adam(raw, lr=_FIT_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _FIT_STEPS)
    for _ in range(_FIT_STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(distance(raw))
        optimizer.step()
        schedule.step()
    return tuple(map_.detach() for map_ in raw)


def _peak_one(maps: Tensor) -> Tensor:
    peak = maps.flatten(2).amax(dim=-1)
    return maps / peak.view(*peak.shape, *[1] * (maps.ndim - 2))


def _maps(head: str, centre: Tensor, shape: _Shape) -> Maps:
    """One map, ``[1, 1, ...]`` each, with its peak at a shifted place; both coordinates shift alike."""
    sigma = SIGMA[head]
    offset = sigma / 2**0.5
    profiles = []
    for length, middle in zip(SIZE[head], centre.tolist(), strict=True):
        places = torch.arange(length, dtype=torch.float64)
        peak = middle + shape.shift * offset
        other = middle - LARGEST_ERROR * offset
        profiles.append(
            (
                torch.exp(-((places - peak) ** 2) / (2 * (shape.width * sigma) ** 2)),
                torch.exp(-((places - other) ** 2) / (2 * sigma**2)),
            )
        )
    (x, x_other), (y, y_other) = profiles
    if head == "simcc":
        found = [torch.maximum(x, shape.second * x_other), torch.maximum(y, shape.second * y_other)]
    else:
        found = [torch.maximum(y[:, None] * x, shape.second * (y_other[:, None] * x_other))]
    maps = [(shape.background + (1 - shape.background) * map_)[None, None].float() for map_ in found]
    return (maps[0], maps[1]) if head == "simcc" else maps[0]


def _stacked(maps: list[Maps]) -> Maps:
    stacked = [torch.cat(each) for each in zip(*(as_tuple(map_) for map_ in maps), strict=True)]
    return (stacked[0], stacked[1]) if len(stacked) == 2 else stacked[0]
