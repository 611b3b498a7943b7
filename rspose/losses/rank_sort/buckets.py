"""Positives with the negatives by the approximation of Bucketed Rank & Sort."""

import torch
from torch import Tensor

from rspose.losses.rank_sort.pairs import step
from rspose.losses.rank_sort.positives import Positives


class Buckets:
    """Positives against buckets: the negatives between two neighbouring positives, at their mean score."""

    def __init__(self, scores: Tensor, negative: Tensor, positives: Positives, delta: float) -> None:
        self._s, self._present = positives.scores.double(), positives.present
        knots = positives.scores.where(self._present, float("inf")).sort(dim=1).values
        # A negative level with a positive stands above it, as H(0) says for delta = 0.
        self._bucket = torch.searchsorted(knots, scores.contiguous(), right=True)
        self._relevant = (negative & (scores >= knots[:, :1] - delta)).double()
        shape = (len(scores), self._s.shape[1] + 1)
        self._number, total = (
            torch.zeros(shape, dtype=torch.float64, device=scores.device).scatter_add_(1, self._bucket, each)
            for each in (self._relevant, self._relevant * scores)
        )
        mean = total / self._number.clamp_min(1)
        self._step = step(mean[:, :, None] - self._s[:, None, :], delta)

    def sum_over_negatives(self) -> Tensor:
        """Return ``N_FP(i) = sum_b n_b H(mean_b - s_i)``: float64 ``[M, P]``."""
        return (self._number[:, None, :] @ self._step).squeeze(1).where(self._present, 0)

    def sum_over_positives(self, coefficient: Tensor) -> Tensor:
        """Return ``sum_i c_i H(mean_b - s_i)`` for the bucket of each negative: float64 ``[M, N]``."""
        pushed = (self._step @ coefficient[:, :, None]).squeeze(2)
        return pushed.gather(1, self._bucket) * self._relevant
