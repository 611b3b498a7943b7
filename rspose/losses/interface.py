"""What a loss receives, what it returns, and the one convention for reduction and masking.

The convention
    Each keypoint of each instance has one value: the loss of its map (2D head), or the sum of the losses of
    its two maps (1D head, x and y). A term of a loss is the mean of those values weighted by
    ``target.weights``, ``sum(w * value) / sum(w)``. Masked keypoints (weight 0) are left out before anything
    is computed: they change neither the value nor the gradient. A batch without any visible keypoint gives 0.
    MSE, KL and AWing take ``reduction="mmpose"`` for the convention of mmpose's own loss instead.

Half precision (float16, bfloat16) is computed in float32, also under autocast; float32 and float64 stay as
they are.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

Maps = Tensor | tuple[Tensor, Tensor]
"""Output of a head: 2D heatmaps ``[B, K, H, W]``, or a SimCC pair ``([B, K, Wx], [B, K, Wy])``."""


Reduction = Literal["visible", "mmpose"]
"""The convention of this project, or that of mmpose's loss of the same name."""

HEADS = ("heatmap", "simcc")
"""The heads by name: 2D heatmaps, and the 1D pairs of SimCC."""


@dataclass(frozen=True)
class KeypointTarget:
    """What is known about the keypoints of a batch of ``B`` instances with ``K`` keypoints each.

    Map units are heatmap pixels (2D) or bins (1D); the centre of the first pixel or bin is 0.

    Attributes:
        heatmaps: Gaussian labels in [0, 1] with peak 1, shaped like the prediction.
        keypoints: ``[B, K, 2]``, x and y in map units, sub-pixel.
        weights: ``[B, K]``, at least 0; 0 masks the keypoint.
        scale: ``[B]``, instance scale (the square root of its area) in map units.
        sigmas: ``[K]``, OKS sigmas as a fraction of the instance scale; the falloff of OKS is
            ``k = 2 * sigma``.
    """

    heatmaps: Maps
    keypoints: Tensor
    weights: Tensor
    scale: Tensor
    sigmas: Tensor


class HeatmapLoss(nn.Module, ABC):
    """A loss between predicted keypoint maps and their target, for 2D heatmaps and for SimCC.

    A subclass sets the class variables and writes :meth:`terms`; one that treats each map on its own derives
    from :class:`PerMapLoss` and writes less. Class variables:

    - ``name``: the name in configs and records, e.g. ``"mse"``
    - ``title``: the name in tables and figures, e.g. ``"MSE"``
    - ``reference``: paper, venue and arXiv number
    - ``reconstruction``: True where the paper does not publish all that is needed, and choices are ours
    - ``heads``: the heads the loss can train, of ``"heatmap"`` (2D) and ``"simcc"`` (1D)
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reference: ClassVar[str]
    reconstruction: ClassVar[bool] = False
    heads: ClassVar[tuple[str, ...]] = HEADS

    def forward(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Return the named scalar terms of the loss, each with its weight applied; their sum is the loss.

        Raises:
            ValueError: shapes disagree, a label lies outside [0, 1], a weight, scale or sigma is negative,
                something is not finite, or the loss does not serve this head.
        """
        self._check(prediction, target)
        maps = as_tuple(prediction)
        with torch.autocast(device_type=maps[0].device.type, enabled=False):
            prediction = full_precision(prediction)
            like = as_tuple(prediction)[0]
            target = KeypointTarget(
                heatmaps=_cast(target.heatmaps, like),
                keypoints=target.keypoints.to(like.dtype),
                weights=target.weights.to(like.dtype),
                scale=target.scale.to(like.dtype),
                sigmas=target.sigmas.to(like.dtype),
            )
            return self.terms(prediction, target)

    @abstractmethod
    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Compute the terms from input that is checked and in float32 or float64 throughout."""

    def to_heatmaps(self, prediction: Maps, sigma: tuple[float, float]) -> Maps:
        """Turn raw output into maps on which the location is decoded and whose peak is the confidence.

        The confidence is the peak clamped to [0, 1]; the maps themselves need not be clamped. The default is
        the identity, right for losses that regress the label.

        Args:
            prediction: raw output of the head.
            sigma: standard deviation (x, y) of the labels in map units.
        """
        return prediction

    def logits(self, prediction: Maps) -> Maps:
        """Return raw maps whose peaks are in the order of the confidences, without bounds.

        They are what Instance-Sort sorts where it is added to a loss. The default is the raw output, right
        where the confidence depends on the height of its peak alone, and not on the rest of the map.
        """
        return prediction

    def learned(self) -> dict[str, list[float]]:
        """Return what the loss has learned per keypoint, by name: it is logged and recorded with the cell."""
        return {}

    def _check(self, prediction: Maps, target: KeypointTarget) -> None:
        """Raise a ValueError that names this loss, the argument, what was expected and what was found."""
        if not isinstance(target, KeypointTarget):
            raise self._error("target", "a KeypointTarget", f"a {type(target).__name__}")
        head = "simcc" if isinstance(prediction, tuple) else "heatmap"
        if head not in self.heads:
            raise self._error("prediction", f"the output of a head in {self.heads}", f"that of a {head} head")
        if isinstance(prediction, tuple) != isinstance(target.heatmaps, tuple):
            found = "a pair" if isinstance(target.heatmaps, tuple) else "one tensor"
            raise self._error("target.heatmaps", f"labels for a {head} head, like the prediction", found)
        maps, labels = as_tuple(prediction), as_tuple(target.heatmaps)
        expected_maps, dimensions = (2, 3) if head == "simcc" else (1, 4)
        if len(maps) != expected_maps or len(labels) != expected_maps:
            raise self._error(
                "prediction", f"{expected_maps} map tensor(s)", f"{len(maps)} and {len(labels)} labels"
            )
        for map_, label in zip(maps, labels, strict=True):
            if map_.ndim != dimensions or map_.shape[:2] != maps[0].shape[:2]:
                expected = "([B, K, Wx], [B, K, Wy])" if head == "simcc" else "[B, K, H, W]"
                raise self._error("prediction", expected, " and ".join(str(list(m.shape)) for m in maps))
            if label.shape != map_.shape:
                raise self._error("target.heatmaps", f"shape {list(map_.shape)}", f"{list(label.shape)}")
        instances, keypoints = maps[0].shape[:2]
        shapes = {
            "keypoints": (instances, keypoints, 2),
            "weights": (instances, keypoints),
            "scale": (instances,),
            "sigmas": (keypoints,),
        }
        for argument, shape in shapes.items():
            found_shape = getattr(target, argument).shape
            if found_shape != shape:
                raise self._error(f"target.{argument}", f"shape {list(shape)}", f"{list(found_shape)}")
        if any(0 in map_.shape[2:] for map_ in maps):
            raise self._error("prediction", "maps with pixels", f"shape {list(maps[0].shape)}")
        if any(map_.numel() == 0 for map_ in maps):
            return
        # One pass over each tensor and one transfer to the host: this runs at every training step. A sum is
        # finite only if all its parts are.
        sums = [map_.detach().sum(dtype=torch.float64) for map_ in maps]
        bounds = [bound.double() for label in labels for bound in torch.aminmax(label)]
        weights, scale, sigmas = target.weights, target.scale, target.sigmas
        small = [*torch.aminmax(weights), *torch.aminmax(scale), *torch.aminmax(sigmas)]
        # Where a keypoint is masked its place may be anything.
        places = target.keypoints.where(weights[..., None] > 0, 0).sum(dtype=torch.float64)
        values = torch.stack([*sums, places, *(each.double() for each in small), *bounds]).tolist()
        total, (place, *values) = sum(values[: len(maps)]), values[len(maps) :]
        ranges = {"weights": values[0:2], "scale": values[2:4], "sigmas": values[4:6]}
        extremes = values[6:]
        if not abs(total) < float("inf"):
            bad = sum(int((~map_.isfinite()).sum()) for map_ in maps)
            raise self._error(
                "prediction", "finite values", f"{bad} NaN or infinite (has training diverged?)"
            )
        outside = [extreme for extreme in extremes if not 0 <= extreme <= 1]
        if outside:
            raise self._error("target.heatmaps", "labels in [0, 1]", f"{outside[0]:.9g}")
        for argument, ends in ranges.items():
            wrong = [end for end in ends if not 0 <= end < float("inf")]
            if wrong:
                raise self._error(f"target.{argument}", "finite values of at least 0", f"{wrong[0]:g}")
        if not abs(place) < float("inf"):
            raise self._error(
                "target.keypoints", "finite places of visible keypoints", "NaN or infinite ones"
            )

    def _error(self, argument: str, expected: str, found: str) -> ValueError:
        return ValueError(f"{self.name} loss: {argument}: expected {expected}, found {found}")


class PerMapLoss(HeatmapLoss):
    """A loss that treats each map on its own: the subclass writes one function for 1D and 2D alike."""

    @abstractmethod
    def map_loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the loss ``[M]`` of each of the ``M`` maps from raw output and labels, both ``[M, N]``."""

    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Return one term, called like the loss."""
        predictions = visible_maps(prediction, target.weights)
        labels = visible_maps(target.heatmaps, target.weights)
        values = [self.map_loss(p, t) for p, t in zip(predictions, labels, strict=True)]
        for each, maps in zip(values, predictions, strict=True):
            if each.shape != maps.shape[:1]:
                found = f"shape {list(each.shape)}"
                raise self._error("map_loss", f"a number a map, shape [{len(maps)}]", found)
        value = sum_over_axes(values)
        return {self.name: self.reduce(value, target.weights)}

    def reduce(self, value: Tensor, weights: Tensor) -> Tensor:
        """Return the term from the loss ``[M]`` of the visible keypoints and all weights ``[B, K]``."""
        return weighted_mean(value, visible_weights(weights))


def as_tuple(maps: Maps) -> tuple[Tensor, ...]:
    """Return the map tensors: one for the 2D head, x and y for SimCC."""
    return maps if isinstance(maps, tuple) else (maps,)


def visible_maps(maps: Maps, weights: Tensor) -> tuple[Tensor, ...]:
    """Return the maps of the ``M`` keypoints with a weight above 0, flattened: ``[M, N]`` per map tensor.

    The order is that of ``weights > 0`` read row by row. 2D maps are flattened row by row too: ``N = H * W``.
    """
    visible = weights > 0
    return tuple(map_[visible].flatten(1) for map_ in as_tuple(maps))


def visible_weights(weights: Tensor) -> Tensor:
    """Return the weights ``[M]`` of the keypoints that :func:`visible_maps` keeps, in its order."""
    return weights[weights > 0]


def sum_over_axes(values: list[Tensor]) -> Tensor:
    """Return the value ``[M]`` of each keypoint from those of its maps: one (2D), or x and y (1D)."""
    return values[0] if len(values) == 1 else values[0] + values[1]


def weighted_mean(value: Tensor, weights: Tensor) -> Tensor:
    """Return ``sum(w * value) / sum(w)`` over visible keypoints, both ``[M]``; 0 where there are none."""
    total = (weights * value).sum()
    return total / weights.sum() if len(value) else total


def checked_reduction(loss: str, reduction: str) -> Reduction:
    """Return the reduction, or raise a ValueError that names the loss."""
    if reduction not in ("visible", "mmpose"):
        raise ValueError(f"{loss} loss: reduction: expected 'visible' or 'mmpose', found {reduction!r}")
    return reduction  # type: ignore[return-value]


def mean_over_all(value: Tensor, weights: Tensor) -> Tensor:
    """Return ``sum(w * value) / (B * K)``, masked keypoints counted in the mean, as mmpose has it.

    Args:
        value: of the visible keypoints, ``[M]``.
        weights: ``[B, K]``.
    """
    return (visible_weights(weights) * value).sum() / max(1, weights.numel())


def full_precision(maps: Maps) -> Maps:
    """Return half precision maps in float32, others as they are."""
    if isinstance(maps, tuple):
        return tuple(full_precision(m) for m in maps)  # type: ignore[return-value]
    return maps.float() if maps.dtype in (torch.float16, torch.bfloat16) else maps


def _cast(maps: Maps, like: Tensor) -> Maps:
    return (
        (maps[0].to(like.dtype), maps[1].to(like.dtype)) if isinstance(maps, tuple) else maps.to(like.dtype)
    )
