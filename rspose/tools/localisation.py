"""Loss against localisation: how far off a peak may be before the loss rises, if the map looks cleaner."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rspose.grid.config import GridConfig
from rspose.grid.files import write_json
from rspose.grid.fingerprints import sha256_of, sha256_of_sources, sources, sources_of_settings
from rspose.losses import build
from rspose.losses.interface import HeatmapLoss, Maps, as_maps, as_tuple, on_maps
from rspose.tools.targets import (
    FULL,
    Layout,
    gaussian_labels,
    learnable,
    squared_distance,
    target_around,
)

LARGEST_ERROR = 3.0
"""At the end of each path, in standard deviations of the label."""

_FIT_STEPS, _FIT_RATE, _EXACT = 300, 0.05, 1e-3

PATHS: dict[str, Callable[[float], dict[str, float]]] = {
    "shifted": lambda t: {},
    "blurred": lambda t: {"width": 2 - t},
    "split": lambda t: {"second": 0.9 * (1 - t)},
    "background": lambda t: {"background": 0.3 * (1 - t)},
}
"""Ways in which a map gets worse localised while, but for ``shifted``, something else about it gets better.

From t = 0 to 1 the peak moves away from the keypoint, by up to :data:`LARGEST_ERROR`. Meanwhile it narrows
from twice the label's width to the label's (``blurred``), a second peak of height 0.9, beyond the keypoint,
fades (``split``), or a background of 0.3 sinks to 0 (``background``).
"""


def along_paths(loss: HeatmapLoss, head: str, steps: int = 16) -> dict[str, dict[str, Any]]:
    """Follow every path of :data:`PATHS`, in ``steps`` maps (at least 2) with one keypoint in the middle.

    The loss, which is one for a single keypoint, is given the raw output whose heatmap, as the loss itself
    reads it, has the shape in question. Returned are, of each path, ``errors``, the distance of the peak of
    each map in standard deviations of the label; ``values``, the loss of each map; ``tolerated_error``.
    """
    layout = FULL[head]
    centre = torch.tensor([(length - 1) // 2 for length in layout.size], dtype=torch.float64)
    target = target_around(centre[None, None], _maps(head, centre), layout)
    errors = [LARGEST_ERROR * (step / (steps - 1)) for step in range(steps)]
    followed = {}
    for name, path in PATHS.items():
        shapes = (_maps(head, centre, error, **path(n / (steps - 1))) for n, error in enumerate(errors))
        stacked = zip(*map(as_tuple, shapes), strict=True)
        raw = raw_output(loss, as_maps([torch.cat(maps) for maps in stacked]), head)
        values = []
        for n in range(steps):
            with torch.no_grad():
                terms = loss(on_maps(lambda map_: map_[n : n + 1], raw), target)  # noqa: B023
            values.append(float(sum(terms.values())))
        tolerated = tolerated_error(errors, values)
        followed[name] = {"errors": errors, "values": values, "tolerated_error": tolerated}
    return followed


def tolerated_error(errors: list[float], values: list[float]) -> float:
    """The largest error at which the loss is still below its value at the start, with no error at all.

    0 where the loss never falls below it, and the largest error where it never comes back. Between two maps
    the loss is taken to be linear.
    """
    lower = [n for n, value in enumerate(values) if value < values[0]]
    last = lower[-1] if lower else 0
    if last in (0, len(values) - 1):
        return errors[last]
    share = (values[0] - values[last]) / (values[last + 1] - values[last])
    return errors[last] + share * (errors[last + 1] - errors[last])


def raw_output(loss: HeatmapLoss, heatmaps: Maps, head: str) -> Maps:
    """Raw output that the loss reads as the given heatmaps in [0, 1], up to a factor for each map.

    It is that of :func:`nearest_output`; for a loss with another way of reading (DM's spreads the mass of
    each pixel) what comes closest, found by gradient descent.
    """
    best, distance = nearest_output(loss, heatmaps, head)
    wanted = on_maps(_peak_one, heatmaps)
    exact = _EXACT * sum(float(map_.square().sum()) for map_ in as_tuple(wanted))
    return best if distance(best) <= exact else _fitted(distance, best)


def nearest_output(loss: HeatmapLoss, heatmaps: Maps, head: str) -> tuple[Maps, Callable[[Maps], Tensor]]:
    """Of heatmaps in [0, 1], their logit and their logarithm what the loss reads most nearly as the heatmaps.

    Beside it the squared distance of any raw output to them, up to a factor for each map.
    """
    wanted = on_maps(_peak_one, heatmaps)

    def distance(raw: Maps) -> Tensor:
        return squared_distance(on_maps(_peak_one, loss.to_heatmaps(raw, FULL[head].sigma)), wanted)

    floored = on_maps(lambda map_: map_.clamp(1e-6, 1 - 1e-6), heatmaps)
    log = on_maps(torch.log, floored)
    candidates = [heatmaps, on_maps(torch.logit, floored), log, on_maps(lambda map_: 0.1 * map_, log)]
    return min(candidates, key=lambda raw: distance(raw).item()), distance


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


def _maps(
    head: str, centre: Tensor, shift: float = 0, width: float = 1, second: float = 0, background: float = 0
) -> Maps:
    """One map, ``[1, 1, ...]`` each, whose peak is shifted (by sigmas of the label) in both coordinates."""
    layout = FULL[head]
    sigma_x, sigma_y = layout.sigma
    offset = torch.tensor(layout.sigma, dtype=centre.dtype) / 2**0.5
    blurred = Layout(layout.size, (width * sigma_x, width * sigma_y))
    peak = gaussian_labels(head, (centre + shift * offset)[None, None], blurred)
    other = gaussian_labels(head, (centre - LARGEST_ERROR * offset)[None, None], layout)
    both = (torch.maximum(a, second * b) for a, b in zip(as_tuple(peak), as_tuple(other), strict=True))
    return as_maps([(background + (1 - background) * map_).float() for map_ in both])


def losses_and_heads(config: GridConfig) -> list[tuple[str, str]]:
    """Every loss of the grid with every head it is trained on, in the order of the config."""
    trained = {(cell.loss, cell.head) for cell in config.cells()}
    return [(loss, head) for head in config.heads for loss in config.losses if (loss, head) in trained]


def write_localisation(config: GridConfig, out: Path) -> None:
    """Follow the paths of :data:`PATHS` with every loss of a grid, into a JSON file."""
    followed = []
    for name, head in losses_and_heads(config):
        settings = config.loss_of(name, head)
        loss = build(settings.loss, settings.parameters, num_keypoints=1)
        described = {"loss": name, "title": settings.title, "reconstruction": loss.reconstruction}
        followed.append({**described, "head": head, "paths": along_paths(loss, head)})
    write_json(out, {"largest_error": LARGEST_ERROR, "losses": followed})


def localisation_fingerprint(config: GridConfig) -> str:
    """Changes when a loss of the grid, its settings, or the maps it is shown change."""
    pairs = losses_and_heads(config)
    settings = [config.loss_of(loss, head) for loss, head in pairs]
    # Nothing is trained: the learning rate does not matter.
    plain = [(each.loss, each.title, each.parameters) for each in settings]
    files = {file for each in settings for file in sources_of_settings(each)}
    return sha256_of([pairs, plain, sha256_of_sources(files | sources("rspose.tools.pushes"))])
