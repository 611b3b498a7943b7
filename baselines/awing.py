"""Adaptive Wing loss: small errors still count on the foreground, and fade on the background."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import max_pool1d, max_pool2d

from rspose.losses import (
    KeypointTarget,
    Maps,
    PerMapLoss,
    Reduction,
    Tunable,
    check_choice,
    check_numbers,
    on_maps,
    over_maps,
    register,
)


def awing(
    prediction: Tensor,
    label: Tensor,
    alpha: float = 2.1,
    omega: float = 14.0,
    epsilon: float = 1.0,
    theta: float = 0.5,
) -> Tensor:
    r"""Adaptive Wing loss of each pixel, at least 0.

    .. math::
        \mathrm{AWing}(y, \hat y) = \begin{cases}
            \omega \ln(1 + |\frac{y - \hat y}{\epsilon}|^{\alpha - y}) & \text{if } |y - \hat y| < \theta \\
            A |y - \hat y| - C & \text{otherwise}
        \end{cases}

    with the slope and the offset that make it smooth where the two meet:

    .. math::
        A &= \omega \frac{1}{1 + (\theta/\epsilon)^{\alpha - y}} (\alpha - y)
            (\theta/\epsilon)^{\alpha - y - 1} \frac{1}{\epsilon} \\
        C &= \theta A - \omega \ln(1 + (\theta/\epsilon)^{\alpha - y})

    Wang, Bo, Li, "Adaptive Wing Loss for Robust Face Alignment via Heatmap Regression", ICCV 2019,
    arXiv 1904.07399, section 4; the defaults are the paper's, and mmpose's.

    Args:
        prediction, label: of one shape, any range and in [0, 1]; a perfect prediction equals the label.
        alpha, omega, epsilon, theta: as for :class:`AdaptiveWingLoss`.

    Example:
        >>> import torch
        >>> awing(torch.tensor([0.0, 0.4, 3.0]), torch.tensor([0.0, 0.0, 1.0]))
        tensor([ 0.0000,  1.9078, 20.0572])
    """
    return _AWing.apply(prediction, label, alpha, omega, epsilon, theta)


class _AWing(Function):
    """With its gradient written out: autograd would take every power and logarithm a second time."""

    @staticmethod
    def forward(
        ctx: Any, prediction: Tensor, label: Tensor, alpha: float, omega: float, epsilon: float, theta: float
    ) -> Tensor:
        # Nothing in place: under torch.compile the gradient of in-place steps in here comes out wrong.
        exponent = alpha - label
        error = prediction - label
        magnitude = error.abs()
        # Beyond theta the loss goes on as a line from where the curve is left, with the slope it has there: A
        # and C of the definition are no more than that.
        curved = magnitude.clamp_max(theta)
        power = (curved / epsilon).pow(exponent)
        slope = omega * exponent * power / ((1 + power) * curved.clamp_min(torch.finfo(curved.dtype).tiny))
        ctx.save_for_backward(slope * error.sign())
        return omega * power.log1p() + slope * (magnitude - curved)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return weight * gradient, None, None, None, None, None


def weighted_loss_map(label: Tensor, weight: float = 10.0) -> Tensor:
    """Weight of each pixel by the paper's weighted loss map: ``1 + weight`` near the keypoint, 1 elsewhere.

    Near are the pixels whose label, dilated by one pixel to every side, is at least 0.2. Wang, Bo, Li, ICCV
    2019, arXiv 1904.07399; the dilation, the 0.2 and the weight of 10 are as secondary sources give them.

    Args:
        label: Gaussian labels in [0, 1], ``[..., H, W]`` with at least four dimensions, or ``[..., N]``.
        weight: what is added to 1 near the keypoint, at least 0.

    Example:
        >>> import torch
        >>> weighted_loss_map(torch.tensor([[[0.0, 0.0, 0.0, 0.1, 0.4]]]))
        tensor([[[ 1.,  1.,  1., 11., 11.]]])
    """
    pool = max_pool2d if label.ndim == 4 else max_pool1d
    return 1 + weight * (pool(label, 3, stride=1, padding=1) >= 0.2).to(label.dtype)


@register
class AdaptiveWingLoss(PerMapLoss):
    """Mean of :func:`awing` over the pixels of each map. A map is its own heatmap, its peak the confidence.

    By default, like mmpose's ``AdaptiveWingLoss``, without the paper's weighted loss map; unlike there,
    masked keypoints do not count.

    Args:
        alpha: exponent on the background, above 2 so that the loss is smooth at 0 for every label.
        omega, epsilon: scale and width of the non-linear part, above 0.
        theta: error at which the loss becomes linear, above 0.
        map_weight: weight of :func:`weighted_loss_map`, at least 0 (the paper: 10); 0 leaves the map out.
        reduction: ``"visible"``, the mean over visible keypoints; ``"mmpose"``, as ``AdaptiveWingLoss`` with
            target weights (of 0 and 1), with masked keypoints counted in the mean as 0.
    """

    name = "awing"
    title = "AWing"
    reference = "Wang et al., Adaptive Wing Loss for Robust Face Alignment, ICCV 2019, arXiv:1904.07399"
    tunable = (Tunable("omega", 3.0, 30.0), Tunable("theta", 0.2, 0.8, log=False))

    def __init__(
        self,
        alpha: float = 2.1,
        omega: float = 14.0,
        epsilon: float = 1.0,
        theta: float = 0.5,
        map_weight: float = 0.0,
        reduction: Reduction = "visible",
    ) -> None:
        super().__init__()
        check_numbers("awing loss", above=2, alpha=alpha)
        check_numbers("awing loss", above=0, omega=omega, epsilon=epsilon, theta=theta)
        check_numbers("awing loss", at_least=0, map_weight=map_weight)
        check_choice("awing loss", Reduction, reduction=reduction)
        self.alpha, self.omega, self.epsilon, self.theta = alpha, omega, epsilon, theta
        self.map_weight, self.reduction = map_weight, reduction

    def map_loss(self, prediction: Tensor, label: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss ``[M]`` of each map; weight of its pixels ``[M, N]``."""
        pixels = awing(prediction, label, self.alpha, self.omega, self.epsilon, self.theta)
        return (pixels if weight is None else pixels * weight).mean(dim=-1)

    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Return one term, called like the loss."""
        labels = target.heatmaps
        if not (self.map_weight and target.weights.numel()):
            return super().terms(prediction, target)
        # Dilation needs the maps in their shape, before they are flattened.
        near = on_maps(lambda label: weighted_loss_map(label, self.map_weight), labels)
        return {self.name: self.reduce(over_maps(self.map_loss, target, prediction, labels, near), target)}
