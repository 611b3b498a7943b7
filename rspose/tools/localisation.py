"""Loss against localisation: how far off a peak may be before the loss rises, if the map looks cleaner."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from rspose.grid.config import GridConfig
from rspose.grid.files import write_json
from rspose.grid.fingerprints import sha256_of, sha256_of_sources, sources, sources_of_settings
from rspose.losses import build
from rspose.losses.interface import HeatmapLoss, Maps, as_tuple, on_maps
from rspose.tools.targets import (
    FULL,
    Layout,
    as_maps,
    gaussian_labels,
    learnable,
    squared_distance,
    target_around,
)

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
class Followed:
    """What a loss says along a path."""

    errors: list[float]  # distance of the peak of each map, in standard deviations of the label
    values: list[float]  # the loss of each map

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


def along_paths(loss: HeatmapLoss, head: str, steps: int = 16) -> dict[str, Followed]:
    """Follow every path of :data:`PATHS`, in ``steps`` maps (at least 2) with one keypoint in the middle.

    The loss, which is one for a single keypoint, is given the raw output whose heatmap, as the loss itself
    reads it, has the shape in question. What compares keypoints with each other (Instance-Sort) has nothing
    to say here.
    """
    layout = FULL[head]
    centre = torch.tensor([(length - 1) // 2 for length in layout.size], dtype=torch.float64)
    target = target_around(centre[None, None], _maps(head, centre, _Shape(0.0)), layout)
    followed = {}
    for name, path in PATHS.items():
        shapes = [path(step / (steps - 1)) for step in range(steps)]
        stacked = zip(*(as_tuple(_maps(head, centre, shape)) for shape in shapes), strict=True)
        raw = raw_output(loss, as_maps([torch.cat(maps) for maps in stacked]), head)
        values = []
        for step in range(steps):
            with torch.no_grad():
                terms = loss(on_maps(lambda map_: map_[step : step + 1], raw), target)  # noqa: B023
            values.append(float(sum(terms.values())))
        followed[name] = Followed([shape.shift for shape in shapes], values)
    return followed


def raw_output(loss: HeatmapLoss, heatmaps: Maps, head: str) -> Maps:
    """Return raw output that the loss reads as the given heatmaps, up to a factor for each map.

    It is the map itself, its logit or its logarithm, where one of them is read so. A loss with another way of
    reading (DM's spreads the mass of each pixel) gets what comes closest, found by gradient descent. Heatmaps
    are in [0, 1].
    """
    wanted = on_maps(_peak_one, heatmaps)

    def distance(raw: Maps) -> Tensor:
        return squared_distance(on_maps(_peak_one, loss.to_heatmaps(raw, FULL[head].sigma)), wanted)

    floored = on_maps(lambda map_: map_.clamp(1e-6, 1 - 1e-6), heatmaps)
    log = on_maps(torch.log, floored)
    candidates = [heatmaps, on_maps(torch.logit, floored), log, on_maps(lambda map_: 0.1 * map_, log)]
    best = min(candidates, key=lambda raw: distance(raw).item())
    exact = _EXACT * sum(float(map_.square().sum()) for map_ in as_tuple(wanted))
    return best if distance(best) <= exact else _fitted(distance, best)


def _fitted(distance: Callable[[Maps], Tensor], start: Maps) -> Maps:
    raw = learnable(start)
    optimizer = torch.optim.Adam(as_tuple(raw), lr=_FIT_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _FIT_STEPS)
    for _ in range(_FIT_STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(distance(raw))
        optimizer.step()
        schedule.step()
    return on_maps(Tensor.detach, raw)


def _peak_one(maps: Tensor) -> Tensor:
    peak = maps.flatten(2).amax(dim=-1)
    return maps / peak.view(*peak.shape, *[1] * (maps.ndim - 2))


def _maps(head: str, centre: Tensor, shape: _Shape) -> Maps:
    """One map, ``[1, 1, ...]`` each, with its peak at a shifted place; both coordinates shift alike."""
    layout = FULL[head]
    blurred = Layout(layout.size, (shape.width * layout.sigma[0], shape.width * layout.sigma[1]))
    offset = torch.tensor(layout.sigma, dtype=centre.dtype) / 2**0.5
    peak = gaussian_labels(head, (centre + shape.shift * offset)[None, None], blurred)
    other = gaussian_labels(head, (centre - LARGEST_ERROR * offset)[None, None], layout)
    both = [torch.maximum(a, shape.second * b) for a, b in zip(as_tuple(peak), as_tuple(other), strict=True)]
    return as_maps([(shape.background + (1 - shape.background) * map_).float() for map_ in both])


def losses_and_heads(config: GridConfig) -> list[tuple[str, str]]:
    """Every loss of the grid with every head it is trained on, in the order of the config."""
    return sorted(
        {(cell.loss, cell.head) for cell in config.cells()},
        key=lambda pair: (config.heads.index(pair[1]), config.losses.index(pair[0])),
    )


def write_localisation(config: GridConfig, out: Path) -> None:
    """Follow the paths of :data:`PATHS` with every loss of a grid, into a JSON file."""
    followed = []
    for name, head in losses_and_heads(config):
        settings = config.loss_of(name, head)
        loss = build(settings.loss, settings.parameters, num_keypoints=1)
        described = {
            "loss": name,
            "title": settings.title,
            "reconstruction": loss.reconstruction,
            "head": head,
        }
        paths = {
            path: {**asdict(found), "tolerated_error": found.tolerated_error}
            for path, found in along_paths(loss, head).items()
        }
        followed.append({**described, "paths": paths})
    write_json(out, {"largest_error": LARGEST_ERROR, "losses": followed})


def localisation_fingerprint(config: GridConfig) -> str:
    """Changes when a loss of the grid, its settings, or the maps it is shown change."""
    pairs = losses_and_heads(config)
    settings = [config.loss_of(loss, head) for loss, head in pairs]
    # Nothing is trained: the learning rate does not matter.
    plain = [(each.loss, each.title, each.parameters) for each in settings]
    files = {file for each in settings for file in sources_of_settings(each)}
    return sha256_of([pairs, plain, sha256_of_sources(files | sources("rspose.tools.localisation"))])
