"""The Rank & Sort operator on independent rows, with identity-update gradients and no N x P tensor."""

import importlib.util
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from rspose.losses.rank_sort.pairs import PAIRS, among_positives, positives_with_negatives
from rspose.losses.rank_sort.positives import NEGLIGIBLE, Positives, checked_scores, split
from rspose.losses.rank_sort.reference import rank_sort_reference
from rspose.losses.rank_sort.segments import Segments, at_bucket_means

Implementation = Literal["auto", "reference", "torch", "triton", "bucketed"]

_ROW_BLOCK = 1 << 18  # elements of the rows that are compared at a time
_FEW = 128  # positives in a row, up to which comparing all pairs is faster than cutting the row into segments


def rank_sort(
    scores: Tensor,
    labels: Tensor,
    valid: Tensor | None = None,
    delta: float = 0.5,
    implementation: Implementation = "auto",
) -> tuple[Tensor, Tensor]:
    r"""Ranking and sorting error of each row: positives above negatives, and among themselves by label.

    Within a row, positives :math:`\mathcal P` are the elements with a label above 0, negatives
    :math:`\mathcal N` those with label 0. With :math:`x_{ij} = s_j - s_i` and
    :math:`H(x) = \min(\max(x / 2\delta + 1/2, 0), 1)`, or :math:`[x \ge 0]` for :math:`\delta = 0`, each
    positive :math:`i` has (sums over :math:`j`, itself included):

    .. math::
        \mathrm{rank}^+(i) &= \sum_{\mathcal P} H(x_{ij}), \qquad
        N_{FP}(i) = \sum_{\mathcal N} H(x_{ij}), \qquad
        \ell_R(i) = \frac{N_{FP}(i)}{\mathrm{rank}^+(i) + N_{FP}(i)} \\
        \ell_S(i) &= \frac{\sum_{\mathcal P} H(x_{ij}) (1 - y_j)}{\mathrm{rank}^+(i)} \\
        \ell_S^*(i) &= \frac{\sum_{\mathcal P} H(x_{ij}) [y_j \ge y_i] (1 - y_j)}
            {\sum_{\mathcal P} H(x_{ij}) [y_j \ge y_i]}

    and the row's values are the means over its positives of :math:`\ell_R` and of :math:`\ell_S - \ell_S^*`.
    Oksuz et al., "Rank & Sort Loss for Object Detection and Instance Segmentation", ICCV 2021,
    arXiv 2107.11669, equations 7 and 8.

    The gradients are its identity update (equation 9), written directly: the error of a positive pulls it up
    and pushes down, by the same amount, the elements that cause the error, in proportion to :math:`H`:
    negatives for the ranking error, positives with a smaller label for the sorting error. Rank and sort carry
    separate gradients, so they can be weighted separately; in the published code one joint gradient takes the
    weight of the rank term.

    Memory is O(N + P) a row, up to blocks of fixed size; time O(N log P + P^2), on a GPU O(N P).

    Implementations: ``"torch"`` in plain PyTorch, on any device; ``"triton"``, kernels for CUDA that compare
    all pairs; ``"reference"``, loops that read like the definition, for tests. They agree but for rounding.
    ``"bucketed"`` is an approximation: negatives between two neighbouring positives all count as if they had
    their mean score (Yavuz et al., "Bucketed Ranking-based Losses for Efficient Training of Object
    Detectors", ECCV 2024, arXiv 2407.14204); it is exact for delta = 0.

    Args:
        scores: raw logits ``[M, N]``, floating point, any range.
        labels: ``[M, N]`` in [0, 1], 0 for negatives.
        valid: boolean ``[M, N]``, False for elements that are neither; None for all valid.
        delta: half width of the smoothed step, at least 0, in units of the scores. Default: the paper's 0.5.
        implementation: see above; ``"auto"`` is ``"triton"`` on a GPU with Triton, else ``"torch"``.

    Returns:
        The ranking error and the sorting error, each ``[M]``; 0 for a row without positives. Both are below
        1, the ranking error is at least 0. In float32 where the scores are in half precision.

    Raises:
        ValueError: shapes disagree, scores or labels are not in floating point, delta is negative, or there
            is no such implementation. Values are not looked at, which a GPU would have to wait for: the
            losses do that.
        ImportError: Triton is asked for and not installed.

    Example:
        >>> import torch
        >>> rank, sort = rank_sort(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[1.0, 0.5, 0.0]]))
        >>> rank, sort  # the second positive stands below the negative: 1 / (1.5 + 1), over 2 positives
        (tensor([0.2000]), tensor([0.]))
    """
    scores = checked_scores("rank_sort", scores, labels, valid, delta)
    if implementation not in get_args(Implementation):
        expected = ", ".join(get_args(Implementation))
        raise ValueError(f"rank_sort: implementation: expected one of {expected}, found {implementation!r}")
    if implementation == "auto":
        implementation = "triton" if scores.is_cuda and importlib.util.find_spec("triton") else "torch"
    with torch.autocast(device_type=scores.device.type, enabled=False):
        return _RankSort.apply(scores, labels, valid, float(delta), implementation)


class _RankSort(Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, labels: Tensor, valid: Tensor | None, delta: float, implementation: str
    ) -> tuple[Tensor, Tensor]:
        # Rows do not depend on each other: a few at a time need little memory and stay in the cache of a CPU.
        at_once = max(1, scores.numel()) if implementation == "triton" else _ROW_BLOCK
        height = max(1, at_once // max(1, scores.shape[1]))
        blocks = scores.split(height), labels.split(height)
        masks = [None] * len(blocks[0]) if valid is None else valid.split(height)
        parts = [
            _compare(*rows, delta, implementation, ctx.needs_input_grad[0])
            for rows in zip(*blocks, masks, strict=True)
        ]
        rank, sort, rank_gradients, sort_gradients, ctx.positives = zip(*parts, strict=True)
        ctx.save_for_backward(*rank_gradients, *sort_gradients)
        return torch.cat(rank), torch.cat(sort)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, rank_weight: Tensor, sort_weight: Tensor) -> tuple[Tensor, None, None, None, None]:
        blocks = len(ctx.positives)
        by_rank, by_sort = ctx.saved_tensors[:blocks], ctx.saved_tensors[blocks:]
        heights = [len(each) for each in by_rank]
        weights = rank_weight[:, None].split(heights), sort_weight[:, None].split(heights)
        gradients = []
        for positives, rank, sort, *weight in zip(ctx.positives, by_rank, by_sort, *weights, strict=True):
            gradients.append(rank * weight[0])
            if positives is None:
                gradients[-1] += sort * weight[1]
            else:
                positives.add_to(gradients[-1], sort * weight[1])
        return torch.cat(gradients), None, None, None, None


def _compare(
    scores: Tensor, labels: Tensor, valid: Tensor | None, delta: float, implementation: str, wanted: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Positives | None]:
    """Compare the elements of some rows.

    Returns their errors ``[M]``, the gradient of the ranking error ``[M, N]``, that of the sorting error
    packed as the positives are, ``[M, P]``, and the positives; no gradients unless they are wanted. Triton
    packs for itself: None for the positives, and both gradients ``[M, N]``.
    """
    positive, negative = split(labels, valid)
    if implementation == "triton":
        from rspose.losses.rank_sort.triton_kernels import compare  # it is not everywhere installed

        return *compare(scores, labels, positive, negative, delta, wanted), None
    positives = Positives(scores, labels, positive)
    if implementation == "reference":
        rank, sort, rank_gradient, sorting = rank_sort_reference(scores.contiguous(), labels, delta, valid)
        return rank, sort, rank_gradient, positives.pack(sorting, 0.0), positives
    nothing = scores.new_zeros(len(scores))
    present, width = positives.present, positives.present.shape[1]
    if width == 0:
        return nothing, nothing, scores.new_zeros(scores.shape), positives.scores, positives
    count = positives.count.clamp_min(1).to(scores.dtype)
    rank_plus, sorting, sort_gradient = among_positives(positives, delta)

    def push(false_positives: Tensor, rows: slice) -> Tensor:
        """What a positive pushes a negative with H = 1 down by: l_R / N_FP = 1 / rank, where N_FP cancels."""
        share = present[rows] & (false_positives > NEGLIGIBLE)
        return share / count[rows, None] / (rank_plus[rows] + false_positives)

    if implementation == "bucketed":
        scores, negative = at_bucket_means(scores, negative, positives, delta)
    rank_gradient = nothing
    if width <= _FEW and width * scores.shape[1] <= PAIRS:
        given = push if wanted else None
        false_positives, rank_gradient = positives_with_negatives(scores, negative, positives, delta, given)
    else:
        segments = Segments(scores, negative, positives, delta)
        false_positives = segments.sum_over_negatives()
        if wanted:
            rank_gradient = segments.sum_over_positives(push(false_positives, slice(None)))
    ranking = (false_positives / (rank_plus + false_positives)).where(present, 0)
    if wanted:
        rank_gradient = rank_gradient.to(scores.dtype).masked_fill_(~negative, 0)
        own = ranking.where(false_positives > NEGLIGIBLE, 0) / count[:, None]
        positives.add_to(rank_gradient, -own.to(scores.dtype))
        sort_gradient = sort_gradient / count[:, None]
    rank, sort = ranking.sum(dim=1).to(scores.dtype) / count, sorting.sum(dim=1) / count
    return rank, sort, rank_gradient, sort_gradient, positives
