"""Mean squared error between heatmap and Gaussian label, the field's default loss."""

from torch import Tensor

from rspose.losses import PerMapLoss, Reduction, check_choice, register


def mse(prediction: Tensor, label: Tensor) -> Tensor:
    r"""Mean squared error ``[M]`` of each map.

    .. math:: L = \frac{1}{N} \sum_n (\hat y_n - y_n)^2

    Tompson et al., "Joint Training of a Convolutional Network and a Graphical Model for Human Pose
    Estimation", NeurIPS 2014, arXiv 1406.2984. Like mmpose's ``KeypointMSELoss`` it has no factor 1/2; unlike
    it, masked keypoints do not count in the mean over the batch.

    Args:
        prediction, label: ``[M, N]``, of any range and in [0, 1]; a perfect prediction equals the label.

    Example:
        >>> import torch
        >>> mse(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.5]]))
        tensor([0.2500])
    """
    return (prediction - label).square().mean(dim=-1)


@register
class MSELoss(PerMapLoss):
    """Module form of :func:`mse`. A map is its own heatmap, its peak the confidence.

    Args:
        reduction: ``"visible"``, the mean over visible keypoints; ``"mmpose"``, as ``KeypointMSELoss``, with
            masked keypoints counted in the mean as 0.
    """

    name = "mse"
    title = "MSE"
    reference = "Tompson et al., Joint Training of a CNN and a Graphical Model, NeurIPS 2014, arXiv:1406.2984"

    def __init__(self, reduction: Reduction = "visible") -> None:
        super().__init__()
        check_choice("mse loss", Reduction, reduction=reduction)
        self.reduction = reduction

    def map_loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the loss ``[M]`` of each map."""
        return mse(prediction, label)
