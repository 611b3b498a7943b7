"""Kullback-Leibler divergence between a map's softmax and its label as a distribution (SimCC's loss)."""

import torch
from torch import Tensor

from rspose.losses import (
    KeypointTarget,
    Maps,
    PerMapLoss,
    Reduction,
    Tunable,
    check_choice,
    check_numbers,
    full_precision,
    on_maps,
    register,
)


def kl(prediction: Tensor, label: Tensor, beta: float = 1.0, label_beta: float | None = None) -> Tensor:
    r"""Kullback-Leibler divergence ``[M]`` of each map.

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
        prediction: logits ``[M, N]``; a perfect prediction is the log of the label plus a constant.
        label: Gaussian labels ``[M, N]`` in [0, 1].
        beta, label_beta: as for :class:`KLLoss`.

    Example:
        >>> import torch
        >>> kl(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))  # ln 2
        tensor([0.6931])
    """
    q = _distribution(label, label_beta)
    entropy = torch.special.entr(q).sum(dim=-1)
    return -(q * (beta * prediction).log_softmax(dim=-1)).sum(dim=-1) - entropy


def _distribution(label: Tensor, label_beta: float | None) -> Tensor:
    """Labels ``[..., N]`` as distributions."""
    if label_beta is not None:
        return (label_beta * label).softmax(dim=-1)
    label = label.clamp_min(0)  # one rounded below 0 has no logarithm
    return label / label.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(label.dtype).tiny)


@register
class KLLoss(PerMapLoss):
    """Module form of :func:`kl`.

    The heatmap is the softmax, scaled so that its peak is the confidence: how close to the peak, on a scale
    of two label widths s, a joint is that is drawn from the distribution, in the mean of
    exp(-d^2 / 2 s^2) if both are Gaussians. With r the peak of the softmax over that of a whole label, this
    is 2r / sqrt(1 + (2r)^2) in 1D and 4r / (1 + 4r) in 2D: 0.89 and 0.8 for a perfect prediction, less for a
    wider one, more for a narrower one, always below 1.

    Args:
        beta: inverse temperature of the softmax, above 0 (SimCC: 1; RTMPose: 10).
        label_beta: inverse temperature of the label's softmax, above 0 (RTMPose: 10); None for SimCC's
            labels, in proportion to the Gaussian.
        reduction: ``"visible"``, the sum over bins and the mean over visible keypoints; ``"mmpose"``, as
            ``KLDiscretLoss``, the mean over bins, the sum over the batch, the mean over keypoint types.
    """

    name = "kl"
    title = "KL"
    reference = "Li et al., SimCC, ECCV 2022, arXiv:2107.03332"
    tunable = (Tunable("beta", 0.3, 10.0),)

    def __init__(
        self, beta: float = 1.0, label_beta: float | None = None, reduction: Reduction = "visible"
    ) -> None:
        super().__init__()
        check_numbers("kl loss", above=0, beta=beta, label_beta=1.0 if label_beta is None else label_beta)
        check_choice("kl loss", Reduction, reduction=reduction)
        self.beta, self.label_beta, self.reduction = beta, label_beta, reduction

    def map_loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the loss ``[M]`` of each map."""
        value = kl(prediction, label, self.beta, self.label_beta)
        return value / label.shape[-1] if self.reduction == "mmpose" else value

    def reduce(self, value: Tensor, target: KeypointTarget) -> Tensor:
        """Return the mean over visible keypoints, or the sum over the batch of the mean over all."""
        value = super().reduce(value, target)
        return value * len(target.weights) if self.reduction == "mmpose" else value

    def to_heatmaps(self, prediction: Maps, sigma: tuple[float, float]) -> Maps:
        """Return the softmax of each map, scaled to a peak below 1."""
        prediction = full_precision(prediction)
        if isinstance(prediction, tuple):
            return self._scaled(prediction[0], sigma[:1]), self._scaled(prediction[1], sigma[1:])
        return self._scaled(prediction, sigma[::-1])

    def logits(self, prediction: Maps) -> Maps:
        """Return the log of the softmax: a constant added to a map changes no confidence."""
        return on_maps(lambda map_: (self.beta * map_).flatten(2).log_softmax(-1).view_as(map_), prediction)

    def _scaled(self, maps: Tensor, sigma: tuple[float, ...]) -> Tensor:
        """Softmax of maps, scaled; sigma of their label along each dimension."""
        softmax = (self.beta * maps.flatten(2)).softmax(-1)
        label = torch.ones(1, device=maps.device)
        for length, width in zip(maps.shape[2:], sigma, strict=True):
            steps = torch.arange(length, device=maps.device) - length // 2
            label = (label[:, None] * torch.exp(-(steps**2) / (2 * width**2))).flatten()
        peak = softmax.amax(-1, keepdim=True)
        ratio = 2 ** len(sigma) * peak / _distribution(label, self.label_beta).amax()
        confidence = ratio / (1 + ratio) if len(sigma) == 2 else ratio / (1 + ratio.square()).sqrt()
        return (softmax / peak * confidence).view_as(maps)
