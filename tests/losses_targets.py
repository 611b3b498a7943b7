"""Keypoint targets for the loss tests: exact Gaussian labels around sub-pixel keypoints, for both heads."""

from collections.abc import Callable

import torch
from torch import Tensor

from rspose.losses import KeypointTarget, Maps

SIGMA = {"heatmap": (2.0, 2.0), "simcc": (4.9, 5.66)}
SIZE = {"heatmap": (24, 32), "simcc": (48, 64)}  # width and height, in map units


def gaussian_labels(head: str, keypoints: Tensor) -> Maps:
    """Gaussian labels with peak 1 around keypoints ``[B, K, 2]``, for ``"heatmap"`` or ``"simcc"``."""
    x, y = (
        torch.exp(-((torch.arange(n, dtype=keypoints.dtype) - k[..., None]) ** 2) / (2 * s**2))
        for n, k, s in zip(SIZE[head], keypoints.unbind(-1), SIGMA[head], strict=True)
    )
    return (x, y) if head == "simcc" else y[..., :, None] * x[..., None, :]


def make_target(
    head: str, instances: int = 4, keypoints: int = 5, dtype: torch.dtype = torch.float32, seed: int = 0
) -> KeypointTarget:
    """Keypoints at random places well inside the map, on whole pixels, all visible."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor(SIZE[head], dtype=dtype)
    place = (0.25 + 0.5 * torch.rand(instances, keypoints, 2, generator=generator, dtype=dtype)) * size
    place = place.round()
    return KeypointTarget(
        heatmaps=gaussian_labels(head, place),
        keypoints=place,
        weights=torch.ones(instances, keypoints, dtype=dtype),
        scale=torch.full((instances,), float(size.min()) / 2, dtype=dtype),
        sigmas=torch.full((keypoints,), 0.08, dtype=dtype),
    )


def on_maps(function: Callable[[Tensor], Tensor], maps: Maps) -> Maps:
    """Apply a function to the map tensor (2D), or to both of a SimCC pair."""
    return (function(maps[0]), function(maps[1])) if isinstance(maps, tuple) else function(maps)


def random_prediction(target: KeypointTarget, seed: int = 1) -> Maps:
    """Standard normal raw output in the shape of the target, with gradients."""
    generator = torch.Generator().manual_seed(seed)
    return on_maps(
        lambda label: torch.randn(label.shape, generator=generator, dtype=label.dtype).requires_grad_(),
        target.heatmaps,
    )
