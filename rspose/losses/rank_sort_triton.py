"""Triton kernels of the Rank & Sort operator for CUDA: all pairs are compared, none is stored.

Set ``TRITON_INTERPRET=1`` before the first import to run them on a CPU, for tests.
"""

# Triton's compiler gives the arguments of kernels their types.
# mypy: disable-error-code="no-untyped-def"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_POSITIVES = 32
_ELEMENTS = 256


@triton.jit
def _step(difference, delta, smooth: tl.constexpr):
    """H of the definition."""
    if smooth:
        return tl.minimum(tl.maximum(difference / (2 * delta) + 0.5, 0.0), 1.0)
    return (difference >= 0).to(difference.dtype)


@triton.jit
def _compare_positives(
    scores, labels, count, rank_plus, sorting, passed_on, width, delta, eps,
    smooth: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """For a block of positives i of one row, sums over all positives j of that row."""
    row = tl.program_id(0)
    base = row * width
    i = tl.program_id(1) * rows + tl.arange(0, rows)
    present = i < tl.load(count + row)
    s_i = tl.load(scores + base + i, mask=present, other=0.0)
    y_i = tl.load(labels + base + i, mask=present, other=0.0)
    total = tl.zeros_like(s_i)
    cost = tl.zeros_like(s_i)
    rivals = tl.zeros_like(s_i)
    rivals_cost = tl.zeros_like(s_i)
    first = 0
    while first < width:
        j = first + tl.arange(0, columns)
        there = j < tl.load(count + row)
        s_j = tl.load(scores + base + j, mask=there, other=0.0)
        y_j = tl.load(labels + base + j, mask=there, other=1.0)
        above = _step(s_j[None, :] - s_i[:, None], delta, smooth) * there[None, :]
        missorted = above * (y_j[None, :] < y_i[:, None])
        price = 1.0 - y_j
        total += tl.sum(above, axis=1)
        cost += tl.sum(above * price[None, :], axis=1)
        rivals += tl.sum(missorted, axis=1)
        rivals_cost += tl.sum(missorted * price[None, :], axis=1)
        first += columns
    # i itself counts in both sums and is no rival of its own: neither denominator vanishes.
    total = tl.where(present, total, 1.0)
    others = tl.where(present, total - rivals, 1.0)
    error = tl.where(present & (rivals > 0), cost / total - (cost - rivals_cost) / others, 0.0)
    share = rivals > eps
    tl.store(rank_plus + base + i, total, mask=i < width)
    tl.store(sorting + base + i, error, mask=i < width)
    tl.store(passed_on + base + i, tl.where(share, error / tl.where(share, rivals, 1.0), 0.0), mask=i < width)


@triton.jit
def _sort_gradient(
    scores, labels, count, passed_on, gradient, width, delta,
    smooth: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """For a block of positives j of one row, what all positives i of that row push it down by."""
    row = tl.program_id(0)
    base = row * width
    j = tl.program_id(1) * columns + tl.arange(0, columns)
    there = j < tl.load(count + row)
    s_j = tl.load(scores + base + j, mask=there, other=0.0)
    y_j = tl.load(labels + base + j, mask=there, other=2.0)
    pushed = tl.zeros_like(s_j)
    first = 0
    while first < width:
        i = first + tl.arange(0, rows)
        present = i < tl.load(count + row)
        s_i = tl.load(scores + base + i, mask=present, other=0.0)
        y_i = tl.load(labels + base + i, mask=present, other=0.0)
        share = tl.load(passed_on + base + i, mask=present, other=0.0)
        above = _step(s_j[None, :] - s_i[:, None], delta, smooth)
        pushed += tl.sum(above * (y_j[None, :] < y_i[:, None]) * share[:, None], axis=0)
        first += rows
    tl.store(gradient + base + j, pushed, mask=j < width)


@triton.jit
def _sum_over_negatives(
    positives, count, scores, negative, result, width, length, delta,
    smooth: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """For a block of positives i of one row, the sum of H over its negatives."""
    row = tl.program_id(0)
    i = tl.program_id(1) * rows + tl.arange(0, rows)
    present = i < tl.load(count + row)
    s_i = tl.load(positives + row * width + i, mask=present, other=0.0)
    total = tl.zeros_like(s_i)
    first = 0
    while first < length:
        j = first + tl.arange(0, columns)
        there = j < length
        s_j = tl.load(scores + row * length + j, mask=there, other=0.0)
        counts = tl.load(negative + row * length + j, mask=there, other=0) != 0
        total += tl.sum(_step(s_j[None, :] - s_i[:, None], delta, smooth) * counts[None, :], axis=1)
        first += columns
    tl.store(result + row * width + i, tl.where(present, total, 0.0), mask=i < width)


@triton.jit
def _sum_over_positives(
    positives, count, coefficient, scores, result, width, length, delta,
    smooth: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """For a block of elements j of one row, the sum of coefficient times H over its positives."""
    row = tl.program_id(0)
    j = tl.program_id(1) * columns + tl.arange(0, columns)
    s_j = tl.load(scores + row * length + j, mask=j < length, other=0.0)
    total = tl.zeros_like(s_j)
    first = 0
    while first < width:
        i = first + tl.arange(0, rows)
        present = i < tl.load(count + row)
        s_i = tl.load(positives + row * width + i, mask=present, other=0.0)
        c_i = tl.load(coefficient + row * width + i, mask=present, other=0.0)
        total += tl.sum(_step(s_j[None, :] - s_i[:, None], delta, smooth) * c_i[:, None], axis=0)
        first += rows
    tl.store(result + row * length + j, total, mask=j < length)


def compare_positives(positives: Any, delta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Compare positives with positives: rank+, l_S - l_S* and |P| times the gradient of the sorting error."""
    from rspose.losses.rank_sort import NEGLIGIBLE

    scores, labels = positives.scores, positives.labels
    rows, width = scores.shape
    count = positives.present.sum(dim=1)
    rank_plus, sorting, passed_on, gradient = (torch.empty_like(scores) for _ in range(4))
    options = {"smooth": delta > 0, "rows": _POSITIVES, "columns": _POSITIVES}
    grid = (rows, triton.cdiv(width, _POSITIVES))
    _compare_positives[grid](
        scores, labels, count, rank_plus, sorting, passed_on, width, delta, NEGLIGIBLE, **options
    )
    _sort_gradient[grid](scores, labels, count, passed_on, gradient, width, delta, **options)
    return rank_plus, sorting, gradient - sorting.where(passed_on != 0, 0)


class Pairs:
    """Positives against negatives, pair by pair; the methods are those of the ``"torch"`` implementation."""

    def __init__(self, scores: Tensor, positives: Any, delta: float) -> None:
        self._s, self._count, self._delta = positives.scores, positives.present.sum(dim=1), delta
        self._options = {"smooth": delta > 0, "rows": _POSITIVES, "columns": _ELEMENTS}

    def sum_over_negatives(self, scores: Tensor, negative: Tensor) -> Tensor:
        """Return ``N_FP(i) = sum_j H(s_j - s_i)`` over the negatives: float64 ``[M, P]``."""
        rows, width = self._s.shape
        result = torch.empty_like(self._s)
        _sum_over_negatives[(rows, triton.cdiv(width, _POSITIVES))](
            self._s, self._count, scores.contiguous(), negative.to(torch.uint8).contiguous(), result,
            width, scores.shape[1], self._delta, **self._options,
        )  # fmt: skip
        return result.double()

    def sum_over_positives(self, scores: Tensor, coefficient: Tensor) -> Tensor:
        """Return ``sum_i c_i H(s_j - s_i)`` over the positives for each element j: float64 ``[M, N]``."""
        rows, length = scores.shape
        result = torch.empty(rows, length, dtype=scores.dtype, device=scores.device)
        _sum_over_positives[(rows, triton.cdiv(length, _ELEMENTS))](
            self._s, self._count, coefficient.to(scores.dtype).contiguous(), scores.contiguous(), result,
            self._s.shape[1], length, self._delta, **self._options,
        )  # fmt: skip
        return result.double()
