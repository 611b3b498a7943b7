"""Many positives with the negatives, without comparing pairs: O((N + P) log P) a row."""

import torch
from torch import Tensor

from rspose.losses.rank_sort.positives import Positives


class Segments:
    """The pieces on which everything between positives and negatives is linear.

    As a function of a negative's score, H is 0 below the knot ``s_i - delta`` of positive i, 1 above its knot
    ``s_i + delta``, linear between. The 2P knots of a row cut its scores into 2P + 1 segments, and one binary
    search places each score. Sums over the negatives then need no more than the number and the sum of the
    scores in each segment, sums over the positives no more than an offset and a slope: prefix sums along the
    segments both.
    """

    def __init__(self, scores: Tensor, negative: Tensor, positives: Positives, delta: float) -> None:
        self._scores, self._negative = scores.double(), negative
        self._s, present, self._delta = positives.scores.double(), positives.present, delta
        knots = torch.cat([positives.scores - delta, positives.scores + delta], dim=1)
        knots, order = knots.where(present.repeat(1, 2), float("inf")).sort(dim=1)
        places = torch.empty_like(order)
        places.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
        self._present, self._lower, self._upper = present, *places.chunk(2, dim=1)
        # Number of knots at or below each score: it lies above the knot in place p if this is above p.
        self._segment = torch.searchsorted(knots, scores.contiguous(), right=True)

    def sum_over_negatives(self) -> Tensor:
        """Return ``N_FP(i) = sum_j H(s_j - s_i)`` over the negatives: float64 ``[M, P]``."""
        shape = (len(self._s), 2 * self._s.shape[1] + 1)
        number = torch.zeros(shape, dtype=torch.float64, device=self._s.device)
        number.scatter_add_(1, self._segment, self._negative.double())
        # What is below all knots stands above nothing. Left out, it takes no digits from the sums either,
        # however far below it is: masked scores are often the lowest number there is.
        number[:, 0] = 0
        number = number.cumsum(dim=1)
        below_upper = number.gather(1, self._upper)
        above = number[:, -1:] - below_upper
        if self._delta > 0:
            total = torch.zeros(shape, dtype=torch.float64, device=self._s.device)
            total.scatter_add_(1, self._segment, self._scores.where(self._negative, 0))
            total[:, 0] = 0
            total = total.cumsum(dim=1)
            between = below_upper - number.gather(1, self._lower)
            total_between = total.gather(1, self._upper) - total.gather(1, self._lower)
            above = above + 0.5 * between + (total_between - between * self._s) / (2 * self._delta)
        return above.clamp_min(0).where(self._present, 0)

    def sum_over_positives(self, coefficient: Tensor) -> Tensor:
        """Return ``sum_i c_i H(s_j - s_i)`` over the positives for each element j: float64 ``[M, N]``."""
        shape = (len(self._s), 2 * self._s.shape[1] + 1)
        offset = torch.zeros(shape, dtype=torch.float64, device=self._s.device)
        if self._delta == 0:
            return offset.scatter_add_(1, self._upper + 1, coefficient).cumsum(dim=1).gather(1, self._segment)
        slope = torch.zeros_like(offset)
        rate = coefficient / (2 * self._delta)
        start = 0.5 * coefficient - rate * self._s
        slope = (
            slope.scatter_add_(1, self._lower + 1, rate).scatter_add_(1, self._upper + 1, -rate).cumsum(dim=1)
        )
        offset.scatter_add_(1, self._lower + 1, start).scatter_add_(1, self._upper + 1, coefficient - start)
        offset = offset.cumsum(dim=1)
        # Above all knots it is flat, where rounding would leave a trace of a slope.
        last = 2 * self._present.sum(dim=1, keepdim=True)
        slope.scatter_(1, last, 0)
        offset.scatter_(1, last, coefficient.sum(dim=1, keepdim=True))
        return offset.gather(1, self._segment).addcmul_(slope.gather(1, self._segment), self._scores)
