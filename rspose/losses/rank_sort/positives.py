"""What every form of the operator begins with: arguments checked, the positives of each row packed."""

import torch
from torch import Tensor

from rspose.losses.interface import check_numbers, full_precision

NEGLIGIBLE = 1e-10
"""The published eps: with less misplaced mass than this, a positive passes no error on."""


def checked_scores(where: str, scores: Tensor, labels: Tensor, valid: Tensor | None, delta: float) -> Tensor:
    """Return the scores in float32 or float64, or raise a ValueError that says where."""
    found = f"{list(scores.shape)} and {list(labels.shape)}"
    if scores.ndim != 2 or labels.shape != scores.shape:
        raise ValueError(f"{where}: expected scores and labels [M, N], found {found}")
    if not (scores.is_floating_point() and labels.is_floating_point()):
        found = f"{scores.dtype} and {labels.dtype}".replace("torch.", "")
        raise ValueError(f"{where}: expected scores and labels in floating point, found {found}")
    if valid is not None and valid.shape != scores.shape:
        found = f"{list(scores.shape)} and {list(valid.shape)}"
        raise ValueError(f"{where}: expected valid shaped like scores, found {found}")
    check_numbers(where, at_least=0, delta=delta)
    return full_precision(scores)  # type: ignore[return-value]  # one tensor in, one out


def split(labels: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return masks of the positives and the negatives."""
    positive, negative = labels > 0, labels <= 0
    return (positive, negative) if valid is None else (positive & valid, negative & valid)


class Positives:
    """The positives of each row, packed to the left: ``[M, P]`` with P the largest number in a row.

    Attributes:
        count: number in each row, ``[M]``.
        present: which slots hold a positive.
        scores: of the positives; 0 in empty slots.
        labels: of the positives; infinite in empty slots, so that none is a rival with a smaller label.
    """

    def __init__(self, scores: Tensor, labels: Tensor, positive: Tensor) -> None:
        self.count = positive.sum(dim=1)
        width = int(self.count.max()) if len(scores) else 0
        self.present = torch.arange(width, device=scores.device) < self.count[:, None]
        # Both in the order of the elements: the n-th positive is in the n-th slot that is not empty.
        self._index = positive.flatten().nonzero().squeeze(1)
        self._slot = self.present.flatten().nonzero().squeeze(1)
        self.scores = self.pack(scores, 0.0)
        self.labels = self.pack(labels.to(scores.dtype), float("inf"))

    def pack(self, values: Tensor, empty: float) -> Tensor:
        """Return the values ``[M, P]`` of the positives from those of all elements, ``[M, N]``."""
        packed = values.new_full(self.present.shape, empty)
        packed.view(-1)[self._slot] = values.flatten()[self._index]
        return packed

    def add_to(self, target: Tensor, values: Tensor) -> None:
        """Add values ``[M, P]`` of the positives to their places in a contiguous ``[M, N]`` tensor."""
        target.view(-1)[self._index] += values.flatten()[self._slot]
