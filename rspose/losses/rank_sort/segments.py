"""Many positives with the negatives, without comparing pairs; and negatives put together in buckets."""

import torch
from torch import Tensor

from rspose.losses.rank_sort.positives import Positives


class Segments:
    """The pieces on which everything between positives and negatives is linear: O((N + P) log P) a row.

    As a function of a negative's score, H is 0 below the knot ``s_i - delta`` of positive i, 1 above its knot
    ``s_i + delta``, linear between. The 2P knots of a row cut its scores into 2P + 1 segments, and one binary
    search places each score. Sums over the negatives then need no more than the number and the sum of the
    scores in each segment, sums over the positives no more than an offset and a slope: prefix sums along the
    segments both.
    """

    def __init__(self, scores: Tensor, negative: Tensor, positives: Positives, delta: float) -> None:
        self._scores, self._s = scores.double(), positives.scores.double()
        self._present, self._delta = positives.present, delta
        knots = torch.cat([positives.scores - delta, positives.scores + delta], dim=1)
        knots, order = knots.where(self._present.repeat(1, 2), float("inf")).sort(dim=1)
        places = torch.empty_like(order)
        places.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
        self._lower, self._upper = places.chunk(2, dim=1)
        # Number of knots at or below each score: it lies above the knot in place p if this is above p.
        self._segment = torch.searchsorted(knots, scores.contiguous(), right=True)
        # What is below all knots stands above nothing. Left out, it takes no digits from the sums either,
        # however far below it is: masked scores are often the lowest number there is.
        self._negative = negative & (self._segment > 0)

    def _sums(self, *parts: tuple[Tensor, Tensor]) -> Tensor:
        """Prefix sums along the segments, ``[M, 2P + 1]``, of values that are added in some of them."""
        rows, width = self._s.shape
        sums = torch.zeros(rows, 2 * width + 1, dtype=torch.float64, device=self._s.device)
        for segment, values in parts:
            sums.scatter_add_(1, segment, values)
        return sums.cumsum(dim=1)

    def sum_over_negatives(self) -> Tensor:
        """Return ``N_FP(i) = sum_j H(s_j - s_i)`` over the negatives: float64 ``[M, P]``."""
        number = self._sums((self._segment, self._negative.double()))
        below_upper = number.gather(1, self._upper)
        above = number[:, -1:] - below_upper
        if self._delta > 0:
            total = self._sums((self._segment, self._scores.where(self._negative, 0)))
            between = below_upper - number.gather(1, self._lower)
            total_between = total.gather(1, self._upper) - total.gather(1, self._lower)
            above = above + 0.5 * between + (total_between - between * self._s) / (2 * self._delta)
        return above.clamp_min(0).where(self._present, 0)

    def sum_over_positives(self, coefficient: Tensor) -> Tensor:
        """Return ``sum_i c_i H(s_j - s_i)`` over the positives for each element j: float64 ``[M, N]``."""
        lower, upper = self._lower + 1, self._upper + 1
        if self._delta == 0:
            return self._sums((upper, coefficient)).gather(1, self._segment)
        rate = coefficient / (2 * self._delta)
        start = 0.5 * coefficient - rate * self._s
        slope = self._sums((lower, rate), (upper, -rate))
        offset = self._sums((lower, start), (upper, coefficient - start))
        # Above all knots it is flat, where rounding would leave a trace of a slope.
        last = 2 * self._present.sum(dim=1, keepdim=True)
        slope.scatter_(1, last, 0)
        offset.scatter_(1, last, coefficient.sum(dim=1, keepdim=True))
        return offset.gather(1, self._segment).addcmul_(slope.gather(1, self._segment), self._scores)


def at_bucket_means(
    scores: Tensor, negative: Tensor, positives: Positives, delta: float
) -> tuple[Tensor, Tensor]:
    """Scores with each negative at the mean of those between the same two positives, and which count."""
    knots = positives.scores.where(positives.present, float("inf")).sort(dim=1).values
    # A negative level with a positive stands above it, as H(0) says for delta = 0.
    bucket = torch.searchsorted(knots, scores.contiguous(), right=True)
    counted = negative & (scores >= knots[:, :1] - delta)
    number, total = torch.zeros(2, len(scores), knots.shape[1] + 1, dtype=torch.float64, device=scores.device)
    number.scatter_add_(1, bucket, counted.double())
    total.scatter_add_(1, bucket, scores.double().where(counted, 0))
    mean = (total / number.clamp_min(1)).to(scores.dtype).gather(1, bucket)
    return mean.where(counted, scores), counted
