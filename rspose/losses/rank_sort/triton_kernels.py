"""The Rank & Sort operator as Triton kernels for CUDA: all pairs of a row are compared, none is stored.

One kernel packs the positives of each row to the left, one leaves a few numbers for each of them, two write
the gradients. Nothing waits for the GPU to say how many positives there are: there are slots for as many as
there are elements, and the programs of empty ones end at once. Each number is summed up by one
program in a fixed order: the result is the same to the bit every time. ``TRITON_INTERPRET=1`` before the
first import runs the kernels on a CPU, for tests.
"""

# Triton's compiler gives the arguments of kernels their types.
# mypy: disable-error-code="no-untyped-def"

import torch
import triton
import triton.language as tl
from torch import Tensor

from rspose.losses.rank_sort.positives import NEGLIGIBLE

# A program compares some positives with a row, a block at a time. Blocks of one warp need no traffic between
# warps for their sums; the wide ones load a positive once for several elements a thread.
_ROWS, _COLUMNS = tl.constexpr(16), tl.constexpr(32)
_WIDE_ROWS, _WIDE_COLUMNS = tl.constexpr(8), tl.constexpr(512)
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
def _negatives(row, column, length, scores, negative):
    """Scores of the negatives among elements of a row; others stand above nothing."""
    place = row.to(tl.int64) * length + column
    kept = tl.load(negative + place, mask=column < length, other=0) != 0
    return tl.load(scores + place, mask=kept, other=_FAR_BELOW)


@triton.jit
def pack_positives(scores, labels, positive, packed_scores, packed_labels, places, count, length):
    """Write scores, labels and places of the positives of one row to its first slots, and their number."""
    row = tl.program_id(0)
    base = row.to(tl.int64) * length
    number, start = 0, 0
    while start < length:
        j = start + tl.arange(0, _WIDE_COLUMNS)
        there = j < length
        kept = tl.load(positive + base + j, mask=there, other=0) != 0
        slot = base + number + tl.cumsum(kept.to(tl.int32), 0) - 1
        tl.store(packed_scores + slot, tl.load(scores + base + j, mask=kept, other=0.0), mask=kept)
        tl.store(packed_labels + slot, tl.load(labels + base + j, mask=kept, other=0.0), mask=kept)
        tl.store(places + slot, j, mask=kept)
        number += tl.sum(kept.to(tl.int32), 0)
        start += _WIDE_COLUMNS
    tl.store(count + row, number)


@triton.jit
def sum_errors(
    scores, negative, packed_scores, packed_labels, count, ranking, sorting, pushing, passing,
    length, slope: tl.constexpr,
):  # fmt: skip
    """For a block of positives i of one row, sums over all elements; all results are divided by |P|.

    Writes l_R to ``ranking``, l_S - l_S* to ``sorting``, and by how much i pushes down a negative with H = 1
    (1 / rank(i)) to ``pushing``, a misplaced positive with H = 1 to ``passing``; 0 to empty slots.
    """
    row = tl.program_id(0)
    base = row.to(tl.int64) * length
    number = tl.load(count + row)
    first = tl.program_id(1) * _ROWS
    positives_end = tl.where(first < number, number, 0)
    elements_end = tl.where(first < number, length, 0)
    i = first + tl.arange(0, _ROWS)
    present = i < number
    s_i = tl.load(packed_scores + base + i, mask=present, other=0.0)
    y_i = tl.load(packed_labels + base + i, mask=present, other=0.0)
    nothing = tl.zeros([_ROWS, _COLUMNS], s_i.dtype)
    total, cost, rivals, rivals_cost, mistaken = nothing, nothing, nothing, nothing, nothing
    start = 0
    while start < positives_end:
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
    while start < elements_end:
        s_j = _negatives(row, start + tl.arange(0, _COLUMNS), length, scores, negative)
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
    stored = i < length
    tl.store(ranking + base + i, false_positives / rank, mask=stored)
    tl.store(sorting + base + i, error, mask=stored)
    tl.store(pushing + base + i, tl.where(false_positives > _NEGLIGIBLE, 1 / rank, 0.0), mask=stored)
    tl.store(passing + base + i, passed_on, mask=stored)


@triton.jit
def push_negatives(scores, negative, packed_scores, count, pushing, gradient, length, slope: tl.constexpr):
    """For a block of elements j of one row, what all positives push it down by; 0 where it is no negative."""
    row = tl.program_id(0)
    base = row.to(tl.int64) * length
    number = tl.load(count + row)
    j = tl.program_id(1) * _WIDE_COLUMNS + tl.arange(0, _WIDE_COLUMNS)
    s_j = _negatives(row, j, length, scores, negative)
    pushed = tl.zeros([_WIDE_ROWS, _WIDE_COLUMNS], s_j.dtype)
    start = 0
    while start < number:
        i = start + tl.arange(0, _WIDE_ROWS)
        s_i = tl.load(packed_scores + base + i, mask=i < number, other=0.0)
        by_i = tl.load(pushing + base + i, mask=i < number, other=0.0)
        pushed += _step(s_j[None, :] - s_i[:, None], slope) * by_i[:, None]
        start += _WIDE_ROWS
    tl.store(gradient + base + j, tl.sum(pushed, axis=0), mask=j < length)


@triton.jit
def pull_positives(
    packed_scores, packed_labels, places, count, ranking, sorting, pushing, passing,
    rank_gradient, sort_gradient, length, slope: tl.constexpr,
):  # fmt: skip
    """For a block of positives j of one row, their gradients, at their places among the elements.

    That of the ranking error pulls them up by their own; that of the sorting error pushes them down by what
    others pass on, less their own. An error that is passed on to nothing pulls nothing.
    """
    row = tl.program_id(0)
    base = row.to(tl.int64) * length
    number = tl.load(count + row)
    first = tl.program_id(1) * _COLUMNS
    end = tl.where(first < number, number, 0)
    j = first + tl.arange(0, _COLUMNS)
    there = j < number
    s_j = tl.load(packed_scores + base + j, mask=there, other=0.0)
    y_j = tl.load(packed_labels + base + j, mask=there, other=0.0)
    pushed = tl.zeros([_ROWS, _COLUMNS], s_j.dtype)
    start = 0
    while start < end:
        i = start + tl.arange(0, _ROWS)
        s_i = tl.load(packed_scores + base + i, mask=i < number, other=0.0)
        y_i = tl.load(packed_labels + base + i, mask=i < number, other=0.0)
        by_i = tl.load(passing + base + i, mask=i < number, other=0.0)
        above = _step(s_j[None, :] - s_i[:, None], slope)
        pushed += tl.where(y_j[None, :] < y_i[:, None], above * by_i[:, None], 0.0)
        start += _ROWS
    sorts = tl.load(passing + base + j, mask=there, other=0.0) != 0
    own = tl.load(sorting + base + j, mask=sorts, other=0.0)
    place = base + tl.load(places + base + j, mask=there, other=0)
    tl.store(sort_gradient + place, tl.sum(pushed, axis=0) - own, mask=there)
    ranks = tl.load(pushing + base + j, mask=there, other=0.0) > 0
    tl.store(rank_gradient + place, -tl.load(ranking + base + j, mask=ranks, other=0.0), mask=there)


def compare(
    scores: Tensor, labels: Tensor, positive: Tensor, negative: Tensor, delta: float, wanted: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compare all elements of some rows.

    Returns their ranking and sorting errors ``[M]``, and the gradient of each ``[M, N]``; 0 unless wanted.
    """
    rows, length = scores.shape
    slope = 0.5 / delta if delta else 0.0
    elements = scores.contiguous(), negative.contiguous()
    packed = scores.new_empty(2, rows, length).unbind()
    errors = ranking, sorting, pushing, _ = scores.new_empty(4, rows, length).unbind()
    by_rank, by_sort = scores.new_zeros(2, rows, length)
    if scores.numel() == 0:
        return scores.new_zeros(rows), scores.new_zeros(rows), by_rank, by_sort
    places = torch.empty(rows, length, dtype=torch.int32, device=scores.device)
    count = places.new_empty(rows)
    given = elements[0], labels.to(scores.dtype).contiguous(), positive.contiguous()
    with torch.cuda.device_of(scores):  # Triton launches on the current one
        pack_positives[(rows,)](*given, *packed, places, count, length)
        sum_errors[(rows, triton.cdiv(length, _ROWS.value))](
            *elements, *packed, count, *errors, length, slope, num_warps=1
        )
        if wanted:
            push_negatives[(rows, triton.cdiv(length, _WIDE_COLUMNS.value))](
                *elements, packed[0], count, pushing, by_rank, length, slope
            )
            pull_positives[(rows, triton.cdiv(length, _COLUMNS.value))](
                *packed, places, count, *errors, by_rank, by_sort, length, slope, num_warps=1
            )
    return ranking.sum(dim=1), sorting.sum(dim=1), by_rank, by_sort
