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

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

Maps = Tensor | tuple[Tensor, Tensor]
"""Output of a head: 2D heatmaps ``[B, K, H, W]``, or a SimCC pair ``([B, K, Wx], [B, K, Wy])``."""

Numbers = Tensor | Sequence[Any] | float
"""A tensor, what one is made of, or one number for all."""

Reduction = Literal["visible", "mmpose"]
"""The convention of this project, or that of mmpose's loss of the same name."""

HEADS = ("heatmap", "simcc")
"""The heads by name: 2D heatmaps, and the 1D pairs of SimCC."""

BOX_SHARE = 0.53
"""Of its box that a person fills, where no area is known: that of CrowdPose's evaluator and of mmpose."""


_REST = ("keypoints", "weights", "scale", "sigmas")
"""What a target has beside the labels."""
_ROUNDING = 1e-5
"""By which labels may lie outside [0, 1]."""


class Tunable(NamedTuple):
    """A parameter of a loss that is tuned, and in which range; ``log`` on a logarithmic scale."""

    parameter: str
    lowest: float
    highest: float
    log: bool = True


@dataclass(frozen=True)
class KeypointTarget:
    """What is known about the keypoints of a batch of ``B`` instances with ``K`` keypoints each.

    Map units are heatmap pixels (2D) or bins (1D); the centre of the first pixel or bin is 0.

    Attributes:
        heatmaps: Gaussian labels in [0, 1], 1 at the keypoint itself and so at hardly any pixel, shaped like
            the prediction.
        keypoints: ``[B, K, 2]``, x and y in map units, sub-pixel.
        weights: ``[B, K]``, at least 0; 0 masks the keypoint.
        scale: ``[B]``, instance scale (the square root of its area) in map units; at 0 only
            a perfect location is similar.
        sigmas: ``[K]``, OKS sigmas as a fraction of the instance scale; the falloff of OKS is
            ``k = 2 * sigma``.
    """

    heatmaps: Maps
    keypoints: Tensor
    weights: Tensor
    scale: Tensor
    sigmas: Tensor

    @classmethod
    def from_keypoints(
        cls,
        keypoints: Tensor | Sequence[Any],
        size: tuple[int, int],
        sigma: float | tuple[float, float],
        head: str = "heatmap",
        *,
        sigmas: Numbers,
        areas: Numbers | None = None,
        boxes: Numbers | None = None,
        visible: Numbers = 1.0,
    ) -> "KeypointTarget":
        r"""Return the target of keypoints: Gaussian labels around them, and the rest.

        The scale is :math:`\sqrt{a}` of the areas, or :math:`\sqrt{0.53\, w h}` of the boxes. A keypoint more
        than three standard deviations of its label outside the maps is masked, as by mmpose's codecs.

        Args:
            keypoints: ``[B, K, 2]``, x and y in map units.
            size: width and height of the maps; for ``"simcc"``, numbers of bins.
            sigma: standard deviation of the labels in map units, or that along x and that along y.
            head: ``"heatmap"`` or ``"simcc"``.
            sigmas: OKS sigmas ``[K]``; ``rspose.datasets.dataset("coco").keypoints.sigmas`` are COCO's.
            areas: ``[B]``, in map units squared.
            boxes: ``[B, 2]``, width and height in map units, in place of areas.
            visible: weights ``[B, K]``, at least 0; 0 masks the keypoint.

        Tensors may be lists; of the last four, one number for all.

        Raises:
            ValueError: something has another shape or is no number, the head is none, or not one of areas and
                boxes is given.

        Warns:
            UserWarning: most visible keypoints lie outside the maps.

        Example:
            >>> target = KeypointTarget.from_keypoints(
            ...     [[[1.0, 1.5]]], (3, 4), sigma=1.0, sigmas=0.1, areas=16)
            >>> target.heatmaps.shape, target.heatmaps.max(), target.scale
            (torch.Size([1, 1, 4, 3]), tensor(0.8825), tensor([4.]))
        """

        def as_numbers(name: str, value: Any, **like: Any) -> Tensor:
            try:
                return torch.as_tensor(value, **like)
            except (TypeError, ValueError, RuntimeError) as error:
                raise wrong(name, "numbers", f"{value!r:.60} ({error})") from None

        def numbers(name: str, value: Any, *shape: int) -> Tensor:
            tensor = as_numbers(name, value, dtype=places.dtype, device=places.device)
            if tensor.ndim and list(tensor.shape) != list(shape):
                raise wrong(name, f"a number or shape {list(shape)}", f"shape {list(tensor.shape)}")
            return tensor.expand(shape).contiguous()

        def wrong(name: str, expected: str, found: str) -> ValueError:
            return ValueError(f"KeypointTarget: {name}: expected {expected}, found {found}")

        places = as_numbers("keypoints", keypoints)
        places = places if places.is_floating_point() else places.float()
        if places.ndim != 3 or places.shape[2] != 2:
            raise wrong("keypoints", "shape [B, K, 2]", f"{list(places.shape)}")
        try:
            width, height = map(index, size)
        except (TypeError, ValueError):
            width = height = 0
        if width < 1 or height < 1:
            raise wrong("size", "width and height, whole numbers above 0", f"{size!r}")
        check_choice("KeypointTarget", Literal["heatmap", "simcc"], head=head)
        if (areas is None) == (boxes is None):
            raise wrong("areas, boxes", "one of them", "neither" if areas is None else "both")
        b, k = places.shape[:2]
        if boxes is not None:
            areas = BOX_SHARE * numbers("boxes", boxes, b, 2).prod(dim=1)
        both = as_numbers("sigma", sigma, dtype=torch.float64).flatten()
        if len(both) not in (1, 2):
            raise wrong("sigma", "a number, or one along x and one along y", f"{sigma!r}")
        widths = both.expand(2).tolist()
        check_numbers("KeypointTarget", above=0, **dict(zip(("sigma (x)", "sigma (y)"), widths, strict=True)))
        # Of a place that is no number there is no label; unmasked, the loss refuses it by its name.
        axes = list(zip((width, height), places.unbind(-1), widths, strict=True))
        x, y = (
            torch.exp(
                -((torch.arange(n, device=places.device) - place.nan_to_num(math.inf)[..., None]) ** 2)
                / (2 * width**2)
            )
            for n, place, width in axes
        )
        far_x, far_y = ((place - place.clamp(0, n - 1)).abs() > 3 * width for n, place, width in axes)
        weights = numbers("visible", visible, b, k)
        far = (weights > 0) & (far_x | far_y)
        masked, shown = int(far.sum()), int((weights > 0).sum())
        if masked > shown / 2:
            warnings.warn(
                f"KeypointTarget: keypoints: expected map units, found {masked} of {shown} visible outside "
                f"the maps of {width} x {height}, which masks them: are they in pixels of the image?",
                stacklevel=2,
            )
        scale = numbers("areas", areas if areas is not None else 0.0, b)
        if not (scale >= 0).all():
            raise wrong(
                "areas" if boxes is None else "boxes", "numbers of at least 0", f"{scale.tolist()!r:.60}"
            )
        return cls(
            heatmaps=(x, y) if head == "simcc" else y[..., :, None] * x[..., None, :],
            keypoints=places,
            weights=weights.masked_fill(far, 0.0),
            scale=scale.sqrt(),
            sigmas=numbers("sigmas", sigmas, k),
        )

    def map(self, function: Callable[[Tensor], Tensor]) -> "KeypointTarget":
        """Return the target with a function applied to each of its tensors."""
        rest = {name: function(getattr(self, name)) for name in _REST}
        return KeypointTarget(on_maps(function, self.heatmaps), **rest)

    @cached_property
    def visible(self) -> Tensor:
        """Which keypoints have a weight above 0: their places ``[M]`` in ``weights`` read row by row.

        They are looked up once, for which a GPU has to be waited for; :meth:`to` hands them on.
        """
        return (self.weights.flatten() > 0).nonzero().squeeze(1)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "KeypointTarget":
        """Return the target on a device, in a floating-point type; None leaves it where or as it is.

        From the host to a GPU it goes without waiting for the GPU, then or later.
        """

        def moved(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
            to_gpu = device is not None and torch.device(device).type == "cuda" and not tensor.is_cuda
            tensor = tensor.pin_memory() if to_gpu else tensor
            return tensor.to(device=device, dtype=dtype, non_blocking=to_gpu)

        target = self.map(lambda each: moved(each, dtype))
        vars(target)["visible"] = moved(self.visible)
        return target


class HeatmapLoss(nn.Module, ABC):
    """A loss between predicted keypoint maps and their target, for 2D heatmaps and for SimCC.

    A subclass sets the class variables and writes :meth:`terms`; one that treats each map on its own derives
    from :class:`PerMapLoss` and writes less. Class variables:

    - ``name``: in configs and records, e.g. ``"mse"``; ``title``: in tables and figures, e.g. ``"MSE"``
    - ``reference``: paper, venue and arXiv number
    - ``reconstruction``: True where details of the paper are not available to us, and choices are ours
    - ``heads``: the heads the loss can train, of ``"heatmap"`` (2D) and ``"simcc"`` (1D)
    - ``localises``: False where it orders confidences alone: it joins another loss in a ``sum``
    - ``tunable``: at most two :class:`Tunable` parameters, tuned beside learning rate and label width

    Prediction and target are checked at every step, with one transfer to the host. ``checks = False``, of one
    loss or of the class for all, leaves that out, for code that is known to be right; so does torch.compile,
    whose graph a look would break. :meth:`extremes`,
    :meth:`unchecked` and :meth:`check` are the parts of a call, for code that has more to transfer.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reference: str
    reconstruction: bool = False
    heads: tuple[str, ...] = HEADS
    localises: ClassVar[bool] = True
    tunable: ClassVar[tuple[Tunable, ...]] = ()
    checks: bool = True

    def forward(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Return the named scalar terms of the loss, each with its weight applied; their sum is the loss.

        Raises:
            ValueError: shapes or types disagree, a label lies outside [0, 1] by more than rounding, a weight,
                scale or sigma is negative, something is not finite, or the loss does not serve this head.
        """
        if self.checks and not torch.compiler.is_compiling():  # a look would break the graph
            self.check(prediction, self.extremes(prediction, target).tolist())
        return self.unchecked(prediction, target)

    def unchecked(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Return the named terms of input that nobody has looked at."""
        with torch.autocast(device_type=as_tuple(prediction)[0].device.type, enabled=False):
            prediction = full_precision(prediction)
            return self.terms(prediction, target.to(dtype=as_tuple(prediction)[0].dtype))

    @abstractmethod
    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Compute the terms from input that is checked and in float32 or float64 throughout."""

    def to_heatmaps(self, prediction: Maps, sigma: tuple[float, float]) -> Maps:
        """Turn raw output into maps on which the location is decoded and whose peak is the confidence.

        The confidence is the peak clamped to [0, 1]; the maps themselves need not be clamped. The default is
        the identity, right for losses that regress the label. Sigma is the standard deviation (x, y) of the
        labels in map units.
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

    def extremes(self, prediction: Maps, target: KeypointTarget) -> Tensor:
        """Return the smallest and largest value of each of the T tensors, alternating, ``[2T]``.

        They are on the prediction's device; of an empty batch there are none.

        Raises:
            ValueError: shapes disagree, or the loss does not serve this head.
        """
        if not isinstance(target, KeypointTarget):
            raise self._error("target", "a KeypointTarget", f"a {type(target).__name__}")
        tensors = {"prediction": as_tuple(prediction), "target.heatmaps": as_tuple(target.heatmaps)}
        tensors |= {f"target.{name}": (getattr(target, name),) for name in _REST}
        for argument, each in tensors.items():
            if strange := [type(one).__name__ for one in each if not isinstance(one, Tensor)]:
                expected = "a tensor" if argument[7:] in _REST else "a tensor, or a tuple of two"
                raise self._error(argument, expected, f"a {strange[0]}")
        pair = isinstance(prediction, tuple)
        head = "simcc" if pair else "heatmap"
        if head not in self.heads:
            raise self._error("prediction", f"the output of a head in {self.heads}", f"that of a {head} head")
        maps, labels = as_tuple(prediction), as_tuple(target.heatmaps)
        number, dimensions = (2, 3) if pair else (1, 4)
        alike = all(map_.ndim == dimensions and map_.shape[:2] == maps[0].shape[:2] for map_ in maps)
        if not (len(maps) == number and alike):
            expected = "([B, K, Wx], [B, K, Wy])" if pair else "[B, K, H, W]"
            raise self._error("prediction", expected, " and ".join(str(list(m.shape)) for m in maps))
        if isinstance(target.heatmaps, tuple) != pair or len(labels) != len(maps):
            expected = f"labels for a {head} head, like the prediction"
            raise self._error("target.heatmaps", expected, f"{len(labels)} tensor(s)")
        if strange := [str(map_.dtype) for map_ in maps if not map_.is_floating_point()]:
            raise self._error("prediction", "floating-point numbers", strange[0])
        b, k = maps[0].shape[:2]
        shapes = {"keypoints": [b, k, 2], "weights": [b, k], "scale": [b], "sigmas": [k]}
        shaped = [(name, getattr(target, name), shape) for name, shape in shapes.items()]
        shaped += [("heatmaps", label, list(map_.shape)) for label, map_ in zip(labels, maps, strict=True)]
        for argument, tensor, shape in shaped:
            if list(tensor.shape) != shape:
                expected = f"shape {shape}, as the prediction has {list(maps[0].shape)}"
                raise self._error(f"target.{argument}", expected, f"{list(tensor.shape)}")
        if any(0 in map_.shape[2:] for map_ in maps):
            raise self._error("prediction", "maps with pixels", f"shape {list(maps[0].shape)}")
        if not all(map_.numel() for map_ in maps):
            return maps[0].new_empty(0, dtype=torch.float64)
        places = target.keypoints.where(target.weights[..., None] > 0, 0)  # a masked one may be anything
        looked_at = [*maps, *labels, target.weights, target.scale, target.sigmas, places]
        # One pass over each tensor. Where anything is NaN, both ends are.
        return torch.stack([end.double() for each in looked_at for end in torch.aminmax(each.detach())])

    def check(self, prediction: Maps, extremes: list[float]) -> None:
        """Look at the :meth:`extremes` of the input, on the host.

        Raises:
            ValueError: with this loss, the argument, what was expected and what was found.
        """
        maps = as_tuple(prediction)
        limits = [("prediction", "finite values", -math.inf, math.inf)] * len(maps)
        limits += [("target.heatmaps", "labels in [0, 1]", -_ROUNDING, 1 + _ROUNDING)] * len(maps)
        for name in ("weights", "scale", "sigmas"):
            limits.append((f"target.{name}", "finite values of at least 0", 0, math.inf))
        limits.append(("target.keypoints", "finite places of visible keypoints", -math.inf, math.inf))
        ends = zip(extremes[::2], extremes[1::2], strict=True)
        for (argument, expected, least, most), both in zip(limits if extremes else (), ends, strict=True):
            wrong = [end for end in both if not (math.isfinite(end) and least <= end <= most)]
            if wrong:
                bad = sum(int((~each.isfinite()).sum()) for each in maps)
                found = {"prediction": f"{bad} NaN or infinite (has training diverged?)"}
                found["target.keypoints"] = "NaN or infinite ones"
                raise self._error(argument, expected, found.get(argument, f"{wrong[0]:.9g}"))

    def _error(self, argument: str, expected: str, found: str) -> ValueError:
        return ValueError(f"{self.name} loss: {argument}: expected {expected}, found {found}")


class PerMapLoss(HeatmapLoss):
    """A loss that treats each map on its own: the subclass writes one function for 1D and 2D alike."""

    reduction: Reduction = "visible"

    @abstractmethod
    def map_loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the loss ``[M]`` of each of the ``M`` maps from raw output and labels, both ``[M, N]``."""

    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Return one term, called like the loss."""

        def checked(maps: Tensor, labels: Tensor) -> Tensor:
            value = self.map_loss(maps, labels)
            found = f"shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            if found != f"shape [{len(maps)}]":
                raise self._error("map_loss", f"a number a map, shape [{len(maps)}]", found)
            return value

        value = over_maps(checked, target, prediction, target.heatmaps)
        return {self.name: self.reduce(value, target)}

    def reduce(self, value: Tensor, target: KeypointTarget) -> Tensor:
        """Return the term from the loss ``[M]`` of the visible keypoints."""
        visible = visible_weights(target)
        if self.reduction == "mmpose":  # masked keypoints count in the mean
            return (visible * value).sum() / max(1, target.weights.numel())
        return weighted_mean(value, visible)


def as_tuple(maps: Maps) -> tuple[Tensor, ...]:
    """Return the map tensors: one for the 2D head, x and y for SimCC."""
    return maps if isinstance(maps, tuple) else (maps,)


def as_maps(maps: Sequence[Tensor]) -> Maps:
    """Return one tensor as heatmaps, two as a SimCC pair: the reverse of :func:`as_tuple`."""
    return (maps[0], maps[1]) if len(maps) == 2 else maps[0]


def visible_maps(maps: Maps, target: KeypointTarget) -> tuple[Tensor, ...]:
    """Return the maps of the ``M`` visible keypoints of a target, flattened: ``[M, N]`` per map tensor.

    The order is that of :attr:`KeypointTarget.visible`. 2D maps are flattened row by row: ``N = H * W``.
    """
    # A boolean index would have a GPU waited for, here and in the backward pass.
    return tuple(map_.flatten(0, 1).flatten(1).index_select(0, target.visible) for map_ in as_tuple(maps))


def visible_weights(target: KeypointTarget) -> Tensor:
    """Return the weights ``[M]`` of the keypoints that :func:`visible_maps` keeps, in its order."""
    return target.weights.flatten().index_select(0, target.visible)


def over_maps(function: Callable[..., Tensor], target: KeypointTarget, *maps: Maps) -> Tensor:
    """Return the value ``[M]`` of each visible keypoint: over the axes, the sum of what a function gives.

    The function takes ``[M, N]`` of each of the ``maps`` (prediction and labels, say), as
    :func:`visible_maps` has them, and returns ``[M]``, or several values ``[V, M]``.
    """
    axes = zip(*(visible_maps(each, target) for each in maps), strict=True)
    return torch.stack([function(*each) for each in axes]).sum(dim=0)


def weighted_mean(value: Tensor, weights: Tensor) -> Tensor:
    """Return ``sum(w * value) / sum(w)`` over visible keypoints, both ``[M]``; 0 where there are none."""
    total = (weights * value).sum()
    return total / weights.sum() if len(value) else total


def on_maps(function: Callable[[Tensor], Tensor], maps: Maps) -> Maps:
    """Return what a function makes of the map tensor (2D), or of both of a SimCC pair."""
    return (function(maps[0]), function(maps[1])) if isinstance(maps, tuple) else function(maps)


def full_precision(maps: Maps) -> Maps:
    """Return half precision maps in float32, others as they are."""
    return on_maps(lambda map_: map_.float() if map_.dtype in (torch.float16, torch.bfloat16) else map_, maps)


def check_numbers(
    where: str,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    **values: float,
) -> None:
    """Check parameters by name: each must be a finite number within the bounds.

    Raises:
        ValueError: ``<where>: <parameter>: expected a number <bounds>, found <value>``.
    """
    bounds = {"of at least": at_least, "above": above, "below": below}
    expected = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if math.isfinite(bound))
    for parameter, value in values.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not (number and at_least <= value and above < value < below):
            raise ValueError(f"{where}: {parameter}: expected a number {expected}, found {value!r}")


def check_choice(where: str, choices: Any, **values: object) -> None:
    """Check parameters by name: each must be one of the values of a ``Literal``.

    Raises:
        ValueError: ``<where>: <parameter>: expected <choices>, found <value>``.
    """
    *others, last = map(repr, get_args(choices))
    for parameter, value in values.items():
        if value not in get_args(choices):
            raise ValueError(f"{where}: {parameter}: expected {', '.join(others)} or {last}, found {value!r}")
