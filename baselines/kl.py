"""Kullback-Leibler divergence between a map's softmax and its label as a distribution (SimCC's loss)."""

import math

import torch
from torch import Tensor

from rspose.losses import (
    Maps,
    PerMapLoss,
    Reduction,
    checked_reduction,
    full_precision,
    mean_over_all,
    register,
)


def kl(prediction: Tensor, label: Tensor, beta: float = 1.0, label_beta: float | None = None) -> Tensor:
    r"""Kullback-Leibler divergence of each map.

    .. math::
        L = \sum_n q_n (\ln q_n - \ln p_n), \quad p = \mathrm{softmax}(\beta z), \quad q \propto y

    Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation", ECCV 2022,
    arXiv 2107.03332, with mmpose's setting ``beta=1``. In 2D the classes are the pixels. Unlike mmpose's
    ``KLDiscretLoss``, which divides by the number of bins, this is the divergence itself: the sum over the
    bins; and a label that the border cuts is normalised to sum 1 all the same. A label without any mass gives
    0.

    RTMPose (Jiang et al., 2023, arXiv 2303.07399) takes :math:`q = \mathrm{softmax}(\beta_y y)` instead, with
    both betas 10: a label with a floor of mass over the whole map.

    Args:
        prediction: logits ``[M, N]``, any range; a perfect prediction is the log of the label plus a
            constant.
        label: Gaussian labels ``[M, N]`` in [0, 1].
        beta: inverse temperature of the softmax, above 0 (SimCC: 1; RTMPose: 10).
        label_beta: inverse temperature of the label's softmax, above 0 (RTMPose: 10); None for SimCC's
            labels, in proportion to y.

    Returns:
        ``[M]``, at least 0.

    Example:
        >>> import torch
        >>> kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))  # ln 2
        tensor([0.6931])
    """
    if label_beta is None:
        q = label / label.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(label.dtype).tiny)
    else:
        q = (label_beta * label).softmax(dim=-1)
    entropy = torch.special.entr(q).sum(dim=-1)
    return -(q * (beta * prediction).log_softmax(dim=-1)).sum(dim=-1) - entropy


@register
class KLLoss(PerMapLoss):
    """Module form of :func:`kl`.

    The heatmap is the softmax over the peak of the normalised label, so that a perfect prediction gives the
    Gaussian label itself, with peak 1: the confidence is how much of the mass that a perfect peak has is at
    the peak.

    Args:
        beta: inverse temperature of the softmax, above 0.
        label_beta: inverse temperature of the label's softmax, above 0, as in RTMPose; None for labels in
            proportion to the Gaussian.
        reduction: ``"visible"``, the sum over bins and the mean over visible keypoints; ``"mmpose"``, as
            ``KLDiscretLoss``, the mean over bins, the sum over the batch, the mean over keypoint types.
    """

    name = "kl"
    title = "KL"
    reference = "Li et al., SimCC, ECCV 2022, arXiv:2107.03332"

    def __init__(
        self, beta: float = 1.0, label_beta: float | None = None, reduction: Reduction = "visible"
    ) -> None:
        super().__init__()
        if not beta > 0:
            raise ValueError(f"kl loss: beta: expected a number above 0, found {beta}")
        if label_beta is not None and not label_beta > 0:
            raise ValueError(f"kl loss: label_beta: expected a number above 0 or null, found {label_beta}")
        self.beta, self.label_beta = beta, label_beta
        self.reduction = checked_reduction(self.name, reduction)

    def map_loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the loss ``[M]`` of each map."""
        value = kl(prediction, label, self.beta, self.label_beta)
        return value / label.shape[-1] if self.reduction == "mmpose" else value

    def reduce(self, value: Tensor, weights: Tensor) -> Tensor:
        """Return the mean over visible keypoints, or the sum over the batch of the mean over all."""
        if self.reduction == "mmpose":
            return mean_over_all(value, weights) * len(weights)
        return super().reduce(value, weights)

    def to_heatmaps(self, prediction: Maps, sigma: tuple[float, float]) -> Maps:
        """Return the softmax times the area (2D) or length (1D) of a Gaussian of peak 1."""
        prediction = full_precision(prediction)
        widths = [math.sqrt(2 * math.pi) * s for s in sigma]
        if isinstance(prediction, tuple):
            x, y = prediction
            return (self.beta * x).softmax(-1) * widths[0], (self.beta * y).softmax(-1) * widths[1]
        softmax = (self.beta * prediction).flatten(2).softmax(-1).view_as(prediction)
        return softmax * (widths[0] * widths[1])
