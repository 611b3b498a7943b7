"""Pairs of elements compared one by one: positives with each other, and few positives with the negatives."""

from collections.abc import Callable

import torch
from torch import Tensor

from rspose.losses.rank_sort.positives import NEGLIGIBLE, Positives

_CHUNK = 1 << 18  # elements of a positive-positive block: 1 MB in float32, to stay in the cache
PAIRS = 1 << 20
"""Elements of a positive-negative block."""

Push = Callable[[Tensor, slice], Tensor]


def step(difference: Tensor, delta: float) -> Tensor:
    """Return H of the definition; overwrites its argument."""
    if delta == 0:
        return difference.ge_(0)
    return difference.div_(2 * delta).add_(0.5).clamp_(0, 1)


def among_positives(positives: Positives, delta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return rank+, l_S - l_S* and |P| times the gradient of the sorting error, all ``[M, P]``."""
    s, y, present = positives.scores, positives.labels, positives.present
    rows, width = s.shape
    rank_plus, sorting, gradient = torch.ones_like(s), torch.zeros_like(s), torch.zeros_like(s)
    # Both sums over j in one product: how many stand above i, and what they cost, the sum of their 1 - y.
    columns = torch.stack([present.to(s.dtype), (1 - y).where(present, 0)], dim=1)
    row_block, block = max(1, _CHUNK // width**2), max(1, min(width, _CHUNK // width))
    for first_row in range(0, rows, row_block):
        r = slice(first_row, first_row + row_block)
        for first in range(0, width, block):
            i = slice(first, first + block)
            valid = present[r, i]
            above = step(s[r, :, None] - s[r, None, i], delta)  # [rows, j, i]
            total, cost = (columns[r] @ above).unbind(1)
            # Masks are floats, and sums over i a product and a sum: much faster than booleans and than bmm.
            missorted = torch.lt(y[r, :, None], y[r, None, i], out=torch.empty_like(above)).mul_(above)
            rivals, rivals_cost = (columns[r] @ missorted).unbind(1)
            # i itself counts in both sums (H(0) > 0) and is no rival of its own: no denominator vanishes.
            total, others = total.where(valid, 1), (total - rivals).where(valid, 1)
            error = (cost / total - (cost - rivals_cost) / others).where(valid & (rivals > 0), 0)
            passed_on = error.where(rivals > NEGLIGIBLE, 0)
            rank_plus[r, i], sorting[r, i] = total, error
            gradient[r, i] -= passed_on
            gradient[r] += missorted.mul_((passed_on / rivals).where(rivals > NEGLIGIBLE, 0)[:, None, :]).sum(
                dim=2
            )
    return rank_plus, sorting, gradient


def positives_with_negatives(
    scores: Tensor, negative: Tensor, positives: Positives, delta: float, push: Push | None
) -> tuple[Tensor, Tensor]:
    """Compare all pairs, in blocks of fixed size, and none twice.

    Returns ``N_FP(i)``, ``[M, P]``, 0 in empty slots; and ``sum_i c_i H(s_j - s_i)``, ``[M, N]``, empty where
    there is no ``push``. That gives the coefficients c ``[m, P]`` of some of the rows from their ``N_FP``.
    """
    scores = scores.where(negative, float("-inf"))  # what is no negative stands above nothing
    width, length = positives.scores.shape[1], scores.shape[1]
    height = max(1, min(len(scores), PAIRS // max(1, width * length)))
    block = scores.new_empty(height, width, length)
    scale = 2 * delta if delta > 0 else 1.0
    sums = []
    for first in range(0, len(scores), height):
        rows = slice(first, first + height)
        s, s_i = scores[rows, None, :], positives.scores[rows, :, None]
        above = torch.sub(s, s_i, out=block[: len(s)])
        if delta > 0:
            above.clamp_(-delta, delta).add_(delta)  # 2 delta H
        else:
            above.ge_(0)
        false_positives = (above.sum(dim=2) / scale).where(positives.present[rows], 0)
        pushed = scores.new_zeros(0)
        if push is not None:
            pushed = torch.bmm(push(false_positives, rows)[:, None, :] / scale, above).squeeze(1)
        sums.append((false_positives, pushed))
    return torch.cat([each[0] for each in sums]), torch.cat([each[1] for each in sums])
