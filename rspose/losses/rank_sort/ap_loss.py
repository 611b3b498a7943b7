"""AP loss on the parts of the Rank & Sort operator."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from rspose.losses.rank_sort.pairs import among_positives
from rspose.losses.rank_sort.positives import NEGLIGIBLE, Positives, checked_scores, split
from rspose.losses.rank_sort.segments import Segments


def ap_loss(
    scores: Tensor, labels: Tensor, valid: Tensor | None = None, delta: float = 1.0, interpolate: bool = True
) -> Tensor:
    r"""Average precision loss of each row, ``[M]`` in [0, 1): one minus the mean precision at its positives.

    With H, positives and negatives of :func:`~rspose.losses.rank_sort.operator.rank_sort`, but each positive
    counting itself once,

    .. math::
        \mathrm{rank}^+(i) = 1 + \sum_{\mathcal P \setminus i} H(x_{ij}), \qquad
        \mathrm{precision}(i) = \frac{\mathrm{rank}^+(i)}{\mathrm{rank}^+(i) + N_{FP}(i)}

    interpolated: a positive has the best precision of those with a score no higher than its own. The error
    of a positive, one minus that precision, pulls it up and pushes its false positives down in proportion to
    H, as in :func:`rank_sort`. Chen et al., "AP-Loss for Accurate One-Stage Object Detection", TPAMI 2020,
    arXiv 2008.07294, as in the code of Rank & Sort Loss. Beside the ranking error of :func:`rank_sort` it
    shows what the self term and the interpolation do. A row without positives has 0.

    Args:
        scores, labels, valid, delta: as for :func:`rank_sort`; delta is by default the published 1.
        interpolate: whether precisions are interpolated, as published.

    Example:
        >>> import torch
        >>> ap_loss(torch.tensor([[5.0, 1.0, 3.0]]), torch.tensor([[1.0, 1.0, 0.0]]))  # precisions 1, 2 / 3
        tensor([0.1667])
    """
    scores = checked_scores("ap_loss", scores, labels, valid, delta)
    with torch.autocast(device_type=scores.device.type, enabled=False):
        return _APLoss.apply(scores, labels, valid, float(delta), interpolate)


class _APLoss(Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, labels: Tensor, valid: Tensor | None, delta: float, interpolate: bool
    ) -> Tensor:
        positive, negative = split(labels, valid)
        positives = Positives(scores, labels, positive)
        present = positives.present
        if present.shape[1] == 0:
            ctx.save_for_backward(scores.new_zeros(scores.shape))
            return scores.new_zeros(len(scores))
        count = positives.count.clamp_min(1).double()
        segments = Segments(scores, negative, positives, delta)
        false_positives = segments.sum_over_negatives()
        own = 0.5 if delta > 0 else 1.0  # H(0), which is replaced by 1
        rank_plus = among_positives(positives, delta)[0].double() + 1 - own
        precision = rank_plus / (rank_plus + false_positives)
        if interpolate:
            # The best so far, from the lowest score upwards; empty slots come last.
            order = positives.scores.where(present, float("inf")).argsort(dim=1, stable=True)
            best = precision.gather(1, order).cummax(dim=1).values
            precision = torch.empty_like(best).scatter_(1, order, best)
        error = (1 - precision).where(present, 0)
        share = present & (false_positives > NEGLIGIBLE)
        coefficient = (error / false_positives).where(share, 0) / count[:, None]
        gradient = segments.sum_over_positives(coefficient).to(scores.dtype)
        gradient.masked_fill_(~negative, 0)
        positives.add_to(gradient, -(error.where(share, 0) / count[:, None]).to(scores.dtype))
        ctx.save_for_backward(gradient)
        return (error.sum(dim=1) / count).to(scores.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * weight[:, None], None, None, None, None
