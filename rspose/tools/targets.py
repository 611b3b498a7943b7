"""Keypoints, labels and raw output that losses are tried on: for checks, times and localisation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rspose.losses.interface import KeypointTarget, Maps, as_maps, as_tuple, on_maps


@dataclass(frozen=True)
class Layout:
    """The maps of a head, each as (x, y) in map units: width and height, standard deviation of the labels."""

    size: tuple[int, int]
    sigma: tuple[float, float]


SMALL = {"heatmap": Layout((24, 32), (2.0, 2.0)), "simcc": Layout((48, 64), (4.9, 5.66))}
"""For checks."""
FULL = {"heatmap": Layout((48, 64), (2.0, 2.0)), "simcc": Layout((384, 512), (6.0, 6.0))}
"""For an input of 192 x 256."""


def gaussian_labels(
    head: str, keypoints: Tensor, layout: Layout | None = None, reach: float = float("inf")
) -> Maps:
    """Gaussian labels, 1 at the keypoints ``[B, K, 2]``, 0 beyond ``reach`` standard deviations."""
    layout = layout or SMALL[head]
    profiles = []
    for length, place, sigma in zip(layout.size, keypoints.unbind(-1), layout.sigma, strict=True):
        distance = torch.arange(length, dtype=keypoints.dtype) - place[..., None]
        profiles.append(torch.exp(-(distance**2) / (2 * sigma**2)) * (distance.abs() <= reach * sigma))
    x, y = profiles
    return (x, y) if head == "simcc" else y[..., :, None] * x[..., None, :]


def target_around(keypoints: Tensor, heatmaps: Maps, layout: Layout) -> KeypointTarget:
    """All keypoints ``[B, K, 2]`` visible, on instances half as large as the map."""
    instances, number = keypoints.shape[:2]
    return KeypointTarget(
        heatmaps=heatmaps,
        keypoints=keypoints,
        weights=torch.ones(instances, number, dtype=keypoints.dtype),
        scale=torch.full((instances,), min(layout.size) / 2, dtype=keypoints.dtype),
        sigmas=torch.full((number,), 0.08, dtype=keypoints.dtype),
    )


def make_target(
    head: str,
    instances: int = 4,
    keypoints: int = 5,
    seed: int = 0,
    layout: Layout | None = None,
    reach: float = float("inf"),
) -> KeypointTarget:
    """Keypoints at random places well inside the map, on whole pixels, all visible."""
    layout = layout or SMALL[head]
    generator = torch.Generator().manual_seed(seed)
    shares = 0.25 + 0.5 * torch.rand(instances, keypoints, 2, generator=generator)
    place = (shares * torch.tensor(layout.size)).round()
    return target_around(place, gaussian_labels(head, place, layout, reach), layout)


def noise(like: Maps, seed: int, scale: float = 1.0) -> Maps:
    """Normal raw output in the shape of ``like``."""
    generator = torch.Generator().manual_seed(seed)
    return on_maps(lambda map_: scale * torch.randn(map_.shape, generator=generator, dtype=map_.dtype), like)


def random_prediction(target: KeypointTarget, seed: int = 1) -> Maps:
    """Standard normal raw output in the shape of the target, with gradients."""
    return learnable(noise(target.heatmaps, seed))


def learnable(maps: Maps) -> Maps:
    """The maps as leaves that get gradients."""
    return on_maps(lambda map_: map_.detach().clone().requires_grad_(), maps)


def with_noise(maps: Maps, seed: int, scale: float) -> Maps:
    """Maps with normal noise added."""
    pairs = zip(as_tuple(maps), as_tuple(noise(maps, seed, scale)), strict=True)
    return as_maps([map_ + other for map_, other in pairs])


def squared_distance(one: Maps, other: Maps) -> Tensor:
    """Sum over all pixels or bins."""
    pairs = zip(as_tuple(one), as_tuple(other), strict=True)
    return torch.stack([(a - b).square().sum() for a, b in pairs]).sum()
