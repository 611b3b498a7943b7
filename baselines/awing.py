"""Adaptive Wing loss: small errors still count on the foreground, and fade on the background."""

from torch import Tensor

from rspose.losses import PerMapLoss, register


def awing(
    prediction: Tensor,
    label: Tensor,
    alpha: float = 2.1,
    omega: float = 14.0,
    epsilon: float = 1.0,
    theta: float = 0.5,
) -> Tensor:
    r"""Adaptive Wing loss of each pixel.

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
        prediction: predicted maps, any shape and range; a perfect prediction equals the label.
        label: Gaussian labels in [0, 1], of the same shape.
        alpha: exponent on the background, above 2 so that the loss is smooth at 0 for every label.
        omega: scale of the non-linear part.
        epsilon: width of the non-linear part.
        theta: error at which the loss becomes linear.

    Returns:
        The loss of each pixel, at least 0, of the same shape.

    Example:
        >>> import torch
        >>> awing(torch.tensor([0.0, 0.4, 3.0]), torch.tensor([0.0, 0.0, 1.0]))
        tensor([ 0.0000,  1.9078, 20.0572])
    """
    exponent = alpha - label
    ratio = (theta / epsilon) ** exponent
    slope = omega / (1 + ratio) * exponent * ratio / theta  # ratio / theta is the last two factors of A
    offset = theta * slope - omega * ratio.log1p()
    error = (label - prediction).abs()
    # Clamped, so that the branch not taken cannot overflow and turn the gradient into NaN.
    curved = omega * (error.clamp_max(theta) / epsilon).pow(exponent).log1p()
    return curved.where(error < theta, slope * error - offset)


@register
class AdaptiveWingLoss(PerMapLoss):
    """Mean of :func:`awing` over the pixels of each map. A map is its own heatmap, its peak the confidence.

    Like mmpose's ``AdaptiveWingLoss`` it has no weighted loss map; unlike it, masked keypoints do not count.

    Args:
        alpha: exponent on the background, above 2.
        omega: scale of the non-linear part, above 0.
        epsilon: width of the non-linear part, above 0.
        theta: error at which the loss becomes linear, above 0.
    """

    name = "awing"
    title = "AWing"
    reference = "Wang et al., Adaptive Wing Loss for Robust Face Alignment, ICCV 2019, arXiv:1904.07399"

    def __init__(
        self, alpha: float = 2.1, omega: float = 14.0, epsilon: float = 1.0, theta: float = 0.5
    ) -> None:
        super().__init__()
        if not alpha > 2:
            raise ValueError(f"awing loss: alpha: expected a number above 2, found {alpha}")
        for parameter, value in {"omega": omega, "epsilon": epsilon, "theta": theta}.items():
            if not value > 0:
                raise ValueError(f"awing loss: {parameter}: expected a number above 0, found {value}")
        self.alpha, self.omega, self.epsilon, self.theta = alpha, omega, epsilon, theta

    def map_loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the loss ``[M]`` of each map."""
        return awing(prediction, label, self.alpha, self.omega, self.epsilon, self.theta).mean(dim=-1)
