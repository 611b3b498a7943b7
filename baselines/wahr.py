"""WAHR and FWAHR: squared error weighted so that a few foreground pixels outweigh the background."""

from typing import Literal

from torch import Tensor

from rspose.losses import PerMapLoss, Tunable, check_choice, check_numbers, register

Condition = Literal["label", "prediction"]
Weighting = Literal["none", "wahr", "fwahr"]
"""Weight of the pixels in the losses of the FoWKAL poster: 1, WAHR's, or FWAHR's."""


def wahr_weight(prediction: Tensor, label: Tensor, gamma: float = 0.01) -> Tensor:
    r"""Weight of each pixel by weight-adaptive heatmap regression (WAHR), at least 0.

    .. math:: W = y^\gamma |1 - \hat y| + |\hat y| (1 - y^\gamma)

    Luo et al., "Rethinking the Heatmap Regression for Bottom-up Human Pose Estimation", CVPR 2021, arXiv
    2012.15175. The gradient flows through the weight, as in the authors' code.

    Args:
        prediction, label: of one shape, any range and in [0, 1].
        gamma: as for :class:`WAHRLoss`.

    Example:
        >>> import torch
        >>> wahr_weight(torch.tensor([0.2, 0.2]), torch.tensor([1.0, 0.0]))
        tensor([0.8000, 0.2000])
    """
    foreground = label.clamp_min(0).pow(gamma)  # one rounded below 0 has no power
    return foreground * (1 - prediction).abs() + prediction.abs() * (1 - foreground)


def fwahr_weight(
    prediction: Tensor, label: Tensor, gamma: float = 0.01, tau: float = 0.5, condition: Condition = "label"
) -> Tensor:
    r"""Weight of each pixel by foreground-weighted adaptive heatmap regression (FWAHR), at least 0.

    .. math::
        W = \begin{cases}
            y^\gamma |1 - \hat y| + |\hat y| (1 - y^\gamma) & \text{if } y \ge 2^{-1/\gamma} \\
            \tau |\hat y| & \text{otherwise}
        \end{cases}

    The first line is :func:`wahr_weight`; the second is what is left of it on the background, damped by tau.
    **A reconstruction**, in the second line: as the poster prints it (Seong, Lee, Lee, AAAI 2023),
    ``condition="prediction"``, the condition tests the prediction and the background weight is tau times the
    label, 0 for most pixels. That trains too, since the first line still holds for background with a positive
    prediction. Neither gamma nor tau is available to us.

    Args:
        prediction, label: of one shape, any range and in [0, 1].
        gamma, tau, condition: as for :class:`FWAHRLoss`.

    Example:
        >>> import torch
        >>> fwahr_weight(torch.tensor([0.2, 0.2]), torch.tensor([1.0, 0.0]))
        tensor([0.8000, 0.1000])
    """
    weight = wahr_weight(prediction, label, gamma)
    tested, other = (label, prediction.abs()) if condition == "label" else (prediction, label)
    return weight.where((tested > 0) & (tested >= 2 ** (-1 / gamma)), tau * other)


def weighted(
    pixels: Tensor, prediction: Tensor, label: Tensor, weighting: Weighting, gamma: float, tau: float
) -> Tensor:
    """Pixel losses times their weight, all of one shape; ``"none"`` leaves them as they are."""
    if weighting == "none":
        return pixels
    if weighting == "wahr":
        return wahr_weight(prediction, label, gamma) * pixels
    return fwahr_weight(prediction, label, gamma, tau) * pixels


def check_weighting(loss: str, weighting: str, gamma: float, tau: float) -> None:
    """Raise a ValueError that names the loss and the parameter, what was expected and what was found."""
    check_choice(f"{loss} loss", Weighting, weighting=weighting)
    check_numbers(f"{loss} loss", above=0, gamma=gamma)
    check_numbers(f"{loss} loss", at_least=0, tau=tau)


@register
class WAHRLoss(PerMapLoss):
    """Mean of :func:`wahr_weight` times the squared error. A map is its own heatmap, its peak the confidence.

    WAHR on its own, without SAHR, which changes the labels by a predicted scale.

    Args:
        gamma: exponent that tells foreground from background, above 0. Default: that of the authors' code.
    """

    name = "wahr"
    title = "WAHR"
    reference = "Luo et al., Rethinking the Heatmap Regression, CVPR 2021, arXiv:2012.15175"
    tunable = (Tunable("gamma", 0.001, 0.1),)

    def __init__(self, gamma: float = 0.01) -> None:
        super().__init__()
        check_weighting(self.name, "wahr", gamma, 0)
        self.gamma = gamma

    def map_loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the loss ``[M]`` of each map."""
        return (wahr_weight(prediction, label, self.gamma) * (prediction - label).square()).mean(dim=-1)


@register
class FWAHRLoss(PerMapLoss):
    """Mean of :func:`fwahr_weight` times the squared error. A map is its own heatmap.

    Args:
        gamma: exponent that tells foreground from background, above 0.
        tau: weight of the background, at least 0.
        condition: what is tested for foreground: ``"label"``, our reading, or ``"prediction"``, as printed.
    """

    name = "fwahr"
    title = "FWAHR"
    reference = "Seong et al., FoWKAL, poster at AAAI 2023; WAHR: Luo et al., CVPR 2021, arXiv:2012.15175"
    reconstruction = True
    tunable = (Tunable("gamma", 0.001, 0.1), Tunable("tau", 0.2, 0.8, log=False))

    def __init__(self, gamma: float = 0.01, tau: float = 0.5, condition: Condition = "label") -> None:
        super().__init__()
        check_weighting(self.name, "fwahr", gamma, tau)
        check_choice("fwahr loss", Condition, condition=condition)
        self.gamma, self.tau, self.condition = gamma, tau, condition

    def map_loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the loss ``[M]`` of each map."""
        weight = fwahr_weight(prediction, label, self.gamma, self.tau, self.condition)
        return (weight * (prediction - label).square()).mean(dim=-1)
