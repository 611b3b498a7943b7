"""Every loss in mmpose's registry, for mmpose's own heads.

These hand a loss maps, labels and weights. What a :class:`~rspose.losses.KeypointTarget` holds beside them is
derived here: the keypoints from the labels, the scale from the size of the map. To predict, a loss on logits
needs the heads of :mod:`rspose.training.heads`.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmpose.registry import MODELS
from torch import Tensor, nn

from rspose.datasets import DATASETS
from rspose.losses import HeatmapLoss, KeypointTarget, Maps, as_tuple, available, build, on_maps
from rspose.losses.interface import BOX_SHARE
from rspose.training.watch import watched_terms

_PADDING = 1.25  # mmpose's crop is so many times as wide and high as the box
# The first of those with as many: CrowdPose before LSP, which has its keypoints in another order.
_SIGMAS = {len(each.keypoints): each.keypoints.sigmas for each in reversed(DATASETS.values())}


class MapLoss(nn.Module):
    """A loss of the benchmark with the call of mmpose's losses.

    Args:
        num_keypoints: Number of keypoints of the dataset.
        sigmas: OKS sigma of each keypoint; those of the benchmark's datasets are known by the number of
            keypoints, others are 0.07, the mean of COCO's.
        loss_weight: Factor on the loss.
        parameters: Arguments of the loss.
    """

    loss_name: str
    sigmas: Tensor

    def __init__(
        self,
        num_keypoints: int = 17,
        sigmas: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        **parameters: Any,
    ) -> None:
        super().__init__()
        self.loss: HeatmapLoss = build(self.loss_name, parameters, num_keypoints)
        self.loss_weight = loss_weight
        sigmas = sigmas or _SIGMAS.get(num_keypoints) or [0.07] * num_keypoints
        if len(sigmas) != num_keypoints:
            raise ValueError(
                f"{type(self).__name__}: sigmas: expected {num_keypoints}, as num_keypoints says, "
                f"found {len(sigmas)}"
            )
        self.register_buffer("sigmas", torch.tensor(sigmas, dtype=torch.float32), persistent=False)

    def forward(self, output: Maps, target: Maps, target_weight: Tensor | None = None) -> Tensor:
        """The sum of the terms of the loss.

        Args:
            output: Raw output of the head, ``[B, K, H, W]`` or ``([B, K, Wx], [B, K, Wy])``.
            target: Gaussian labels of the same shapes. Labels that are normalised to a sum of 1 (the default
                of ``SimCCLabel``) are scaled to a peak of 1.
            target_weight: ``[B, K]``; 0 masks a keypoint.
        """
        # Only SimCC's codec has labels that are distributions; in 2D a low peak is that of a joint outside.
        labels = on_maps(_scaled, target) if isinstance(target, tuple) else target
        first = as_tuple(labels)[0]
        if first.shape[1] != len(self.sigmas):
            raise ValueError(
                f"{type(self).__name__}: num_keypoints: expected {first.shape[1]}, as the head puts out, "
                f"found {len(self.sigmas)}"
            )
        weights = first.new_ones(first.shape[:2]) if target_weight is None else target_weight
        scale = first.new_full((len(first),), map_scale(labels))
        complete = KeypointTarget(labels, label_centres(labels), weights, scale, self.sigmas)
        terms = watched_terms(self.loss, output, complete)
        return self.loss_weight * torch.stack(list(terms.values())).sum()


def label_centres(labels: Maps) -> Tensor:
    """Where Gaussian labels are centred, ``[B, K, 2]`` in map units, sub-pixel.

    The logarithm of a Gaussian is a parabola: its peak follows from the highest pixel and its neighbours. A
    label that lies in the corner of a map, or is empty, gives its highest pixel.
    """
    # The profile of a 2D Gaussian along an axis is a Gaussian with the same centre.
    profiles = labels if isinstance(labels, tuple) else (labels.amax(dim=2), labels.amax(dim=3))
    return torch.stack([_centre(profile) for profile in profiles], dim=-1)


def _centre(profile: Tensor) -> Tensor:
    highest = profile.argmax(dim=-1, keepdim=True)
    inside = highest.clamp(1, profile.shape[-1] - 2)
    before, at, after = (profile.gather(-1, inside + step).squeeze(-1) for step in (-1, 0, 1))
    usable = (torch.stack([before, at, after]) > 0).all(0) & (inside == highest).squeeze(-1)
    ones = torch.ones_like(at)
    before, at, after = (each.where(usable, ones).log() for each in (before, at, after))
    curvature = before - 2 * at + after
    offset = ((before - after) / (2 * curvature).where(curvature < 0, ones)).where(curvature < 0, 0 * ones)
    return highest.squeeze(-1) + offset


def map_scale(labels: Maps) -> float:
    """The scale of a person that fills mmpose's crop: the square root of its area in map units."""
    height, width = (map_.shape[-1] for map_ in labels) if isinstance(labels, tuple) else labels.shape[-2:]
    return math.sqrt(BOX_SHARE * width * height) / _PADDING


def _scaled(labels: Tensor) -> Tensor:
    highest = float(labels.max()) if labels.numel() else 0.0
    return labels / highest if 0 < highest < 0.5 else labels


for _loss in available().values():
    _members = {"loss_name": _loss.name, "__doc__": _loss.__doc__}
    MODELS.register_module(module=type(f"Benchmark{_loss.__name__}", (MapLoss,), _members))
