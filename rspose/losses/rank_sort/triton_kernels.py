"""The Rank & Sort operator as Triton kernels for CUDA: all pairs of a row are compared, none is stored.

Three kernels forward, which leave a few numbers for each positive, and two backward, which write the gradient
of the weighted sum of both errors. Each number is summed up by one program in a fixed order: the result is
the same to the bit every time. Set ``TRITON_INTERPRET=1`` before the first import to run the kernels on a
CPU, for tests.
"""

# Triton's compiler gives the arguments of kernels their types.
# mypy: disable-error-code="no-untyped-def"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from rspose.losses.rank_sort.positives import NEGLIGIBLE

# A program compares some positives with a row, a block at a time. Blocks of one warp need no traffic between
# warps for their sums; the wide ones load a positive once for several elements a thread.
_ROWS, _COLUMNS = tl.constexpr(16), tl.constexpr(32)
_WIDE_ROWS, _WIDE_COLUMNS = tl.constexpr(8), tl.constexpr(512)
_SCAN = tl.constexpr(1024)  # elements of a row that are packed at a time
_NEGLIGIBLE = tl.constexpr(NEGLIGIBLE)
_FAR_BELOW = tl.constexpr(float("-inf"))  # the score of what stands above nothing


# Loops are `while`: Triton's interpreter cannot take the bounds of `range` from tensors under numpy 2.4.
@triton.jit
def _step(difference, slope: tl.constexpr):
    """H of the definition; its slope is 1 / (2 delta), and 0 stands for delta = 0."""
    if slope == 0:
        return (difference >= 0).to(difference.dtype)
    return tl.minimum(tl.maximum(difference * slope + 0.5, 0.0), 1.0)


@triton.jit
def _load(row, column, length, scores, labels, valid, masked: tl.constexpr):
    """Score and label of elements of a row, and whether they are positive, and whether negative."""
    there = column < length
    place = row.to(tl.int64) * length + column
    score = tl.load(scores + place, mask=there, other=0.0)
    label = tl.load(labels + place, mask=there, other=0.0).to(score.dtype)
    if masked:
        there = there & (tl.load(valid + place, mask=there, other=0) != 0)
    return score, label, there & (label > 0), there & (label <= 0)


@triton.jit
def count_positives(scores, labels, valid, count, length, masked: tl.constexpr):
    """Count the positives of one row."""
    row = tl.program_id(0)
    number = 0
    start = 0
    while start < length:
        column = start + tl.arange(0, _SCAN)
        _, _, positive, _ = _load(row, column, length, scores, labels, valid, masked)
        number += tl.sum(positive.to(tl.int32), axis=0)
        start += _SCAN
    tl.store(count + row, number)


@triton.jit
def pack_positives(
    scores, labels, valid, packed_scores, packed_labels, places, length, width, masked: tl.constexpr
):  # fmt: skip
    """Write the positives of one row side by side, with their places in the row."""
    row = tl.program_id(0)
    slot = row.to(tl.int64) * width
    start = 0
    while start < length:
        column = start + tl.arange(0, _SCAN)
        score, label, positive, _ = _load(row, column, length, scores, labels, valid, masked)
        number = positive.to(tl.int32)
        slots = slot + tl.cumsum(number, axis=0) - 1
        tl.store(packed_scores + slots, score, mask=positive)
        tl.store(packed_labels + slots, label, mask=positive)
        tl.store(places + slots, column, mask=positive)
        slot += tl.sum(number, axis=0)
        start += _SCAN


@triton.jit
def sum_errors(
    scores, labels, valid, packed_scores, packed_labels, count, ranking, sorting, pushing, passing,
    length, width, slope: tl.constexpr, masked: tl.constexpr,
):  # fmt: skip
    """For a block of positives i of one row, sums over all elements; all results are divided by |P|.

    Writes l_R to ``ranking``, l_S - l_S* to ``sorting``, and by how much i pushes down a negative with H = 1
    (1 / rank(i)) to ``pushing``, a misplaced positive with H = 1 to ``passing``; 0 to empty slots.
    """
    row = tl.program_id(0)
    base = row.to(tl.int64) * width
    number = tl.load(count + row)
    i = tl.program_id(1) * _ROWS + tl.arange(0, _ROWS)
    present = i < number
    s_i = tl.load(packed_scores + base + i, mask=present, other=0.0)
    y_i = tl.load(packed_labels + base + i, mask=present, other=0.0)
    nothing = tl.zeros([_ROWS, _COLUMNS], s_i.dtype)
    total, cost, rivals, rivals_cost, mistaken = nothing, nothing, nothing, nothing, nothing
    start = 0
    while start < number:
        j = start + tl.arange(0, _COLUMNS)
        s_j = tl.load(packed_scores + base + j, mask=j < number, other=_FAR_BELOW)
        y_j = tl.load(packed_labels + base + j, mask=j < number, other=1.0)
        above = _step(s_j[None, :] - s_i[:, None], slope)
        missorted = tl.where(y_j[None, :] < y_i[:, None], above, 0.0)
        total += above
        cost += above * (1 - y_j)[None, :]
        rivals += missorted
        rivals_cost += missorted * (1 - y_j)[None, :]
        start += _COLUMNS
    start = 0
    while start < length:
        column = start + tl.arange(0, _COLUMNS)
        s_j, _, _, negative = _load(row, column, length, scores, labels, valid, masked)
        s_j = tl.where(negative, s_j, _FAR_BELOW)
        mistaken += _step(s_j[None, :] - s_i[:, None], slope)
        start += _COLUMNS
    # i itself counts in both sums and is no rival of its own: neither denominator vanishes.
    rank_plus, wrongly = tl.where(present, tl.sum(total, axis=1), 1.0), tl.sum(rivals, axis=1)
    rightly = tl.where(present, rank_plus - wrongly, 1.0)
    error = tl.sum(cost, axis=1) / rank_plus - tl.sum(cost - rivals_cost, axis=1) / rightly
    error = tl.where(present & (wrongly > 0), error, 0.0) / tl.maximum(number, 1)
    misplaced = wrongly > _NEGLIGIBLE
    passed_on = tl.where(misplaced, error / tl.where(misplaced, wrongly, 1.0), 0.0)
    false_positives = tl.where(present, tl.sum(mistaken, axis=1), 0.0)
    rank = (rank_plus + false_positives) * tl.maximum(number, 1)
    stored = i < width
    tl.store(ranking + base + i, false_positives / rank, mask=stored)
    tl.store(sorting + base + i, error, mask=stored)
    tl.store(pushing + base + i, tl.where(false_positives > _NEGLIGIBLE, 1 / rank, 0.0), mask=stored)
    tl.store(passing + base + i, passed_on, mask=stored)


@triton.jit
def push_negatives(
    scores, labels, valid, packed_scores, count, pushing, rank_weight, gradient,
    length, width, slope: tl.constexpr, masked: tl.constexpr,
):  # fmt: skip
    """For a block of elements j of one row, what all positives push it down by if it is a negative."""
    row = tl.program_id(0)
    base = row.to(tl.int64) * width
    number = tl.load(count + row)
    j = tl.program_id(1) * _WIDE_COLUMNS + tl.arange(0, _WIDE_COLUMNS)
    s_j, _, positive, negative = _load(row, j, length, scores, labels, valid, masked)
    pushed = tl.zeros([_WIDE_ROWS, _WIDE_COLUMNS], s_j.dtype)
    start = 0
    while start < number:
        i = start + tl.arange(0, _WIDE_ROWS)
        s_i = tl.load(packed_scores + base + i, mask=i < number, other=0.0)
        by_i = tl.load(pushing + base + i, mask=i < number, other=0.0)
        pushed += _step(s_j[None, :] - s_i[:, None], slope) * by_i[:, None]
        start += _WIDE_ROWS
    value = tl.where(negative, tl.sum(pushed, axis=0) * tl.load(rank_weight + row), 0.0)
    # pull_positives writes the gradients of positives.
    tl.store(gradient + row.to(tl.int64) * length + j, value, mask=(j < length) & ~positive)


@triton.jit
def pull_positives(
    packed_scores, packed_labels, places, count, ranking, sorting, pushing, passing, rank_weight, sort_weight,
    gradient, length, width, slope: tl.constexpr,
):  # fmt: skip
    """For a block of positives j of one row, their own errors and what they are pushed down by."""
    row = tl.program_id(0)
    base = row.to(tl.int64) * width
    number = tl.load(count + row)
    j = tl.program_id(1) * _COLUMNS + tl.arange(0, _COLUMNS)
    there = j < number
    s_j = tl.load(packed_scores + base + j, mask=there, other=0.0)
    y_j = tl.load(packed_labels + base + j, mask=there, other=0.0)
    pushed = tl.zeros([_ROWS, _COLUMNS], s_j.dtype)
    start = 0
    while start < number:
        i = start + tl.arange(0, _ROWS)
        s_i = tl.load(packed_scores + base + i, mask=i < number, other=0.0)
        y_i = tl.load(packed_labels + base + i, mask=i < number, other=0.0)
        by_i = tl.load(passing + base + i, mask=i < number, other=0.0)
        above = _step(s_j[None, :] - s_i[:, None], slope)
        pushed += tl.where(y_j[None, :] < y_i[:, None], above * by_i[:, None], 0.0)
        start += _ROWS
    # An error that is passed on to nothing pulls nothing.
    ranks = tl.load(pushing + base + j, mask=there, other=0.0) != 0
    sorts = tl.load(passing + base + j, mask=there, other=0.0) != 0
    by_rank = tl.load(ranking + base + j, mask=ranks, other=0.0) * tl.load(rank_weight + row)
    by_sort = tl.sum(pushed, axis=0) - tl.load(sorting + base + j, mask=sorts, other=0.0)
    place = row.to(tl.int64) * length + tl.load(places + base + j, mask=there, other=0)
    tl.store(gradient + place, by_sort * tl.load(sort_weight + row) - by_rank, mask=there)


def rank_sort_triton(
    scores: Tensor, labels: Tensor, valid: Tensor | None, delta: float
) -> tuple[Tensor, Tensor]:
    """Ranking and sorting error of each row; arguments and results are those of ``rank_sort``.

    Scores are in float32 or float64.
    """
    rank, sort = _RankSort.apply(scores, labels, valid, 0.5 / delta if delta else 0.0)
    return rank, sort


class _RankSort(Function):
    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, labels: Tensor, valid: Tensor | None, slope: float
    ) -> tuple[Tensor, Tensor]:
        rows, length = scores.shape
        if scores.numel() == 0:
            ctx.save_for_backward(scores)
            return scores.new_zeros(rows), scores.new_zeros(rows)
        masked = valid is not None
        mask = labels if valid is None else valid  # labels are not read as a mask
        elements = scores.contiguous(), labels.contiguous(), mask.contiguous()
        count = torch.empty(rows, dtype=torch.int32, device=scores.device)
        count_positives[(rows,)](*elements, count, length, masked)
        width = max(1, int(count.max()))
        places = torch.empty(rows, width, dtype=torch.int32, device=scores.device)
        packed = scores.new_empty(6, rows, width)
        packed_scores, packed_labels, ranking, sorting, pushing, passing = packed
        pack_positives[(rows,)](*elements, packed_scores, packed_labels, places, length, width, masked)
        sum_errors[(rows, triton.cdiv(width, _ROWS.value))](
            *elements, packed_scores, packed_labels, count, ranking, sorting, pushing, passing,
            length, width, slope, masked, num_warps=1,
        )  # fmt: skip
        ctx.save_for_backward(*elements, count, places, packed)
        ctx.slope, ctx.masked = slope, masked
        rank, sort = packed[2:4].sum(dim=2)
        return rank, sort

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, rank_weight: Tensor, sort_weight: Tensor) -> tuple[Tensor, None, None, None]:
        scores, *saved = ctx.saved_tensors
        gradient = torch.empty_like(scores)
        if scores.numel() == 0:
            return gradient, None, None, None
        labels, mask, count, places, packed = saved
        packed_scores, packed_labels, ranking, sorting, pushing, passing = packed
        rank_weight, sort_weight = rank_weight.contiguous(), sort_weight.contiguous()
        (rows, length), width = scores.shape, places.shape[1]
        push_negatives[(rows, triton.cdiv(length, _WIDE_COLUMNS.value))](
            scores, labels, mask, packed_scores, count, pushing, rank_weight, gradient,
            length, width, ctx.slope, ctx.masked,
        )  # fmt: skip
        pull_positives[(rows, triton.cdiv(width, _COLUMNS.value))](
            packed_scores, packed_labels, places, count, ranking, sorting, pushing, passing,
            rank_weight, sort_weight, gradient, length, width, ctx.slope, num_warps=1,
        )  # fmt: skip
        return gradient, None, None, None
