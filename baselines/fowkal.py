"""FoWKAL: AWing and MSE mixed by a learned factor per keypoint, with weighted pixels."""

import torch
from torch import Tensor, nn

from baselines.awing import awing
from rspose.losses import (
    HeatmapLoss,
    KeypointTarget,
    Maps,
    register,
    sum_over_axes,
    visible_maps,
    visible_weights,
    weighted_mean,
)


def fwahr_weight(prediction: Tensor, label: Tensor, gamma: float = 0.01, tau: float = 0.5) -> Tensor:
    r"""Weight of each pixel by foreground-weighted adaptive heatmap regression (FWAHR).

    .. math::
        W = \begin{cases}
            y^\gamma |1 - \hat y| + |\hat y| (1 - y^\gamma) & \text{if } y \ge 2^{-1/\gamma} \\
            \tau |\hat y| & \text{otherwise}
        \end{cases}

    The first line is the weight of WAHR (Luo et al., "Rethinking the Heatmap Regression for Bottom-up Human
    Pose Estimation", CVPR 2021, arXiv 2012.15175), with its gamma. The second is what is left of it on the
    background, damped by tau. **A reconstruction**: as the poster prints it (Seong, Lee, Lee, AAAI 2023) the
    condition tests the prediction and the background weight is tau times the label, which is 0 there and
    cannot train; this is the reading that works. Neither gamma nor tau is published. The gradient flows
    through the weight, as in the code of WAHR.

    Args:
        prediction: predicted maps, any shape and range.
        label: Gaussian labels in [0, 1], of the same shape.
        gamma: exponent that tells foreground from background, above 0. Default: that of WAHR's code.
        tau: weight of the background, at least 0.

    Returns:
        The weight of each pixel, at least 0, of the same shape.

    Example:
        >>> import torch
        >>> fwahr_weight(torch.tensor([0.2, 0.2]), torch.tensor([1.0, 0.0]))
        tensor([0.8000, 0.1000])
    """
    foreground = label.pow(gamma)
    magnitude = prediction.abs()
    wahr = foreground * (1 - prediction).abs() + magnitude * (1 - foreground)
    return wahr.where(label >= 2 ** (-1 / gamma), tau * magnitude)


def fowkal(
    prediction: Tensor, label: Tensor, factor: Tensor, gamma: float = 0.01, tau: float = 0.5
) -> Tensor:
    r"""FoWKAL of each map, without its regulariser.

    .. math::
        L = \frac{1}{N} \sum_n W_n (\lambda \mathrm{AWing}(y_n, \hat y_n) + (1 - \lambda) (y_n - \hat y_n)^2)

    with W of :func:`fwahr_weight` and AWing of :func:`baselines.awing.awing` with its published parameters.
    Seong, Lee, Lee, poster at AAAI 2023.

    Args:
        prediction: predicted maps ``[M, N]``, any range; a perfect prediction equals the label.
        label: Gaussian labels ``[M, N]`` in [0, 1].
        factor: lambda of each map, ``[M]`` in [0, 1].
        gamma: exponent of the foreground weight, above 0.
        tau: weight of the background, at least 0.

    Returns:
        ``[M]``, at least 0.

    Example:
        >>> import torch
        >>> fowkal(torch.tensor([[0.4]]), torch.tensor([[1.0]]), torch.tensor([0.0]))  # 0.6 * 0.6 ** 2
        tensor([0.2160])
    """
    share = factor[:, None]
    pixels = share * awing(prediction, label) + (1 - share) * (prediction - label).square()
    return (fwahr_weight(prediction, label, gamma, tau) * pixels).mean(dim=-1)


@register
class FoWKALLoss(HeatmapLoss):
    r"""Module form of :func:`fowkal`, with the terms ``fowkal`` and ``regulariser``.

    **A reconstruction**: how lambda is parametrised, its regulariser, gamma and tau are not public. Here
    :math:`\lambda_k = \mathrm{sigmoid}(a_k)` with one learned scalar per keypoint, 0.5 at first, and the
    regulariser is :math:`(2 \lambda_k - 1)^2`, from 0 at an even mix to 1 at either loss alone. Without one
    every factor would fall to 0, since MSE is the smaller loss everywhere. It is averaged over the visible
    keypoints like the loss itself. The mean over keypoints is the poster's mean over one part, the body; its
    parts of whole-body pose are not here.

    A map is its own heatmap, its peak the confidence.

    Args:
        num_keypoints: number of keypoints K.
        gamma: exponent of the foreground weight, above 0.
        tau: weight of the background, at least 0.
        regulariser_weight: weight of the regulariser, at least 0.
    """

    name = "fowkal"
    title = "FoWKAL"
    reference = "Seong et al., FoWKAL, poster at AAAI 2023; WAHR: Luo et al., CVPR 2021, arXiv:2012.15175"
    reconstruction = True

    def __init__(
        self, num_keypoints: int, gamma: float = 0.01, tau: float = 0.5, regulariser_weight: float = 1.0
    ) -> None:
        super().__init__()
        if not gamma > 0:
            raise ValueError(f"fowkal loss: gamma: expected a number above 0, found {gamma}")
        for parameter, value in {"tau": tau, "regulariser_weight": regulariser_weight}.items():
            if not value >= 0:
                raise ValueError(f"fowkal loss: {parameter}: expected a number of at least 0, found {value}")
        self.gamma, self.tau, self.regulariser_weight = gamma, tau, regulariser_weight
        self.factor_logits = nn.Parameter(torch.zeros(num_keypoints))

    @property
    def factors(self) -> Tensor:
        """The factor lambda of each keypoint, ``[K]`` in (0, 1): 1 is AWing alone, 0 MSE alone."""
        return self.factor_logits.sigmoid()

    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Return the terms ``fowkal`` and ``regulariser``."""
        keypoints = target.weights.shape[1]
        if keypoints != len(self.factor_logits):
            raise ValueError(
                f"fowkal loss: prediction: expected {len(self.factor_logits)} keypoints (num_keypoints), "
                f"found {keypoints}"
            )
        factor = self.factors.to(target.weights.dtype).expand_as(target.weights)[target.weights > 0]
        predictions = visible_maps(prediction, target.weights)
        labels = visible_maps(target.heatmaps, target.weights)
        values = [
            fowkal(p, y, factor, self.gamma, self.tau) for p, y in zip(predictions, labels, strict=True)
        ]
        weights = visible_weights(target.weights)
        return {
            "fowkal": weighted_mean(sum_over_axes(values), weights),
            "regulariser": self.regulariser_weight * weighted_mean((2 * factor - 1).square(), weights),
        }
