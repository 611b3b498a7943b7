"""Instance-Sort: the confidences of a batch's keypoints in the order of their localisation quality."""

from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from rspose.losses.interface import (
    HeatmapLoss,
    KeypointTarget,
    Maps,
    check_choice,
    check_numbers,
)
from rspose.losses.rank_sort import rank_sort
from rspose.losses.registry import register
from rspose.losses.spatial_rs import ranked_heatmaps

Level = Literal["keypoint", "pose"]
Scope = Literal["batch", "keypoint_type"]


def instance_sort(scores: Tensor, quality: Tensor, delta: float = 0.5) -> Tensor:
    """Sorting error of confidences against localisation quality: a scalar in [0, 1), 0 for an empty set.

    The sorting half of :func:`rspose.losses.rank_sort` over one set in which everything is a positive: the
    mean over i of how much the average ``1 - quality`` of those scored above i exceeds that of the ones that
    deserve it.

    A reconstruction of Instance-Sort of RSPose (Keles et al., 2025, arXiv 2511.13857), which "aligns
    per-keypoint confidence with localisation quality"; what it sorts over and its quality target are choices.

    Args:
        scores: raw confidences ``[S]`` (logits), any range.
        quality: ``[S]`` in [0, 1], 1 for a perfect location. It gets no gradient.
        delta: half width of the smoothed step in units of the scores, at least 0.

    Example:
        >>> import torch
        >>> instance_sort(torch.tensor([2.0, -1.0]), torch.tensor([0.9, 0.2]))
        tensor(0.)
        >>> # Wrong way round: ((0.5 * 0.1 + 0.8) / 1.5 - 0.1) / 2
        >>> instance_sort(torch.tensor([-1.0, 2.0]), torch.tensor([0.9, 0.2]))
        tensor(0.2333)
    """
    return rank_sort(scores[None], _as_labels(quality)[None], delta=delta)[1].squeeze(0)


def peak(maps: Maps) -> tuple[Tensor, Tensor]:
    """Return score ``[B, K]`` and location ``[B, K, 2]`` (x, y in map units) of the highest pixel or bin.

    The score of a SimCC pair is the smaller of its two peaks, as SimCC scores.
    """
    if isinstance(maps, tuple):
        (x_score, x), (y_score, y) = maps[0].max(dim=-1), maps[1].max(dim=-1)
        return torch.minimum(x_score, y_score), torch.stack([x, y], dim=-1)
    score, index = maps.flatten(2).max(dim=-1)
    return score, torch.stack([index % maps.shape[-1], index // maps.shape[-1]], dim=-1)


def keypoint_similarity(location: Tensor, target: KeypointTarget) -> Tensor:
    r"""Similarity of each keypoint, what OKS averages: :math:`\exp(-d^2 / (2 s^2 k^2))`, :math:`k = 2\sigma`.

    The location is ``[B, K, 2]`` in map units, the similarity ``[B, K]`` in [0, 1].
    """
    squared_distance = (location - target.keypoints).square().sum(dim=-1)
    reach = target.scale[:, None] * 2 * target.sigmas
    # An instance without area has no reach: only a perfect location is similar to it.
    return torch.exp(-squared_distance / (2 * reach.square()).clamp_min(torch.finfo(reach.dtype).tiny))


def _as_labels(quality: Tensor) -> Tensor:
    """A quality that underflows to 0 is still that of a positive."""
    return quality.detach().clamp_min(torch.finfo(quality.dtype).tiny)


def _joint(values: Tensor, differentiable: bool = False) -> Tensor:
    """The values of all processes along the first dimension; this process's own may keep their gradient.

    It is multiplied by the number of processes, over which DistributedDataParallel takes the mean.
    """
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values.detach().contiguous())
    if differentiable and values.requires_grad:
        parts[dist.get_rank()] = own = values.view_as(values)
        own.register_hook(lambda gradient: gradient * len(parts))
    return torch.cat(parts)


@register
class InstanceSort(HeatmapLoss):
    """Module form of :func:`instance_sort`, with the term ``instance_sort``.

    The score of a keypoint is the peak of its logits (SimCC: the smaller of the two peaks), its quality the
    :func:`keypoint_similarity` of the peak's location, through which no gradient flows. The location is a
    whole pixel: for a nose on an instance of scale 10 (sigma 0.026) the right pixel has a similarity of 0.75
    in the median, so that on small instances rounding takes part in the order. Only visible
    keypoints take part; their weights have no further effect. The loss orders confidences and does not
    localise: it joins another loss in a :class:`~rspose.losses.composition.Sum`, whose
    :meth:`~HeatmapLoss.logits` it sorts.

    Args:
        level: ``"keypoint"`` sorts keypoints, ``"pose"`` instances, by the mean score and the mean similarity
            (OKS) of their visible keypoints.
        delta: half width of the smoothed step in units of the logits, at least 0.
        scope: ``"batch"`` sorts all keypoints of the batch in one set, ``"keypoint_type"`` left elbows with
            left elbows only; the term is then the mean over the keypoint types that are visible somewhere.
            For keypoints only.
        gather: in distributed training, sort over the joint batch of all processes, each with equally many
            instances. Each then returns the value of the joint batch, with the gradient that, averaged over
            the processes as DistributedDataParallel does, is that of one process with the joint batch.
    """

    name = "instance_sort"
    title = "Instance-Sort"
    reference = "Keles et al., RSPose, 2025, arXiv:2511.13857"
    reconstruction = True
    localises = False

    def __init__(
        self, level: Level = "keypoint", delta: float = 0.5, scope: Scope = "batch", gather: bool = False
    ) -> None:
        super().__init__()
        where = f"{self.name} loss"
        check_choice(where, Level, level=level)
        check_choice(where, Scope, scope=scope)
        check_numbers(where, at_least=0, delta=delta)
        if level == "pose" and scope != "batch":
            raise ValueError(f"{where}: scope: expected 'batch' at pose level, found {scope!r}")
        self.level, self.delta, self.scope, self.gather = level, delta, scope, gather

    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Return the term ``instance_sort``."""
        score, location = peak(prediction)
        quality = keypoint_similarity(location, target)
        visible = target.weights > 0
        if self.gather and dist.is_available() and dist.is_initialized():
            score, quality, visible = _joint(score, differentiable=True), _joint(quality), _joint(visible)
        if self.level == "pose":
            number = visible.sum(dim=1)
            score, quality = (v.where(visible, 0).sum(dim=1) / number.clamp_min(1) for v in (score, quality))
            visible = number > 0
        # A row is sorted on its own: all together, or each keypoint type.
        score, quality, visible = (
            each.T.contiguous() if self.scope == "keypoint_type" else each.reshape(1, -1)
            for each in (score, quality, visible)
        )
        _, error = rank_sort(score, _as_labels(quality), visible, self.delta)
        # Rows in which nothing is visible do not count.
        return {"instance_sort": error.sum() / visible.any(dim=1).sum().clamp_min(1)}

    def to_heatmaps(self, prediction: Maps, sigma: tuple[float, float]) -> Maps:
        """Return :func:`~rspose.losses.spatial_rs.ranked_heatmaps`, like Spatial-RS."""
        return ranked_heatmaps(prediction)
