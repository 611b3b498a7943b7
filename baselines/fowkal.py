"""FoWKAL: KAL with the pixels weighted by FWAHR."""

from torch import Tensor

from rspose.baselines.kal import KALLoss, Regulariser, adaptive_pixels
from rspose.baselines.wahr import Weighting, check_weighting, weighted
from rspose.losses import Tunable, register


def fowkal(
    prediction: Tensor,
    label: Tensor,
    factor: Tensor,
    gamma: float = 0.01,
    tau: float = 0.5,
    weighting: Weighting = "fwahr",
) -> Tensor:
    r"""FoWKAL of each map, ``[M]``, without its regulariser.

    .. math::
        L = \frac{1}{N} \sum_n W_n (\lambda \mathrm{AWing}(y_n, \hat y_n) + (1 - \lambda) (y_n - \hat y_n)^2)

    with W of :func:`rspose.baselines.wahr.fwahr_weight` and AWing of
    :func:`rspose.baselines.awing.awing` with its published parameters. Seong, Lee, Lee, poster at AAAI 2023.

    Args:
        prediction, label, factor: as for :func:`rspose.baselines.kal.kal`.
        gamma, tau, weighting: as for :class:`FoWKALLoss`.

    Example:
        >>> import torch
        >>> fowkal(torch.tensor([[0.4]]), torch.tensor([[1.0]]), torch.tensor([0.0]))  # 0.6 * 0.6 ** 2
        tensor([0.2160])
    """
    pixels = adaptive_pixels(prediction, label, factor)
    return weighted(pixels, prediction, label, weighting, gamma, tau).mean(dim=-1)


@register
class FoWKALLoss(KALLoss):
    """Module form of :func:`fowkal`, with the terms ``fowkal`` and ``regulariser``.

    **A reconstruction**, in lambda and its regulariser (see :class:`rspose.baselines.kal.KALLoss`) and in the
    pixel weight (see :func:`rspose.baselines.wahr.fwahr_weight`).

    Args:
        num_keypoints: number of keypoints K.
        gamma, tau: as for :class:`rspose.baselines.wahr.FWAHRLoss`.
        regulariser_weight, regulariser: as for :class:`rspose.baselines.kal.KALLoss`.
        weighting: ``"fwahr"``, or ``"wahr"`` for KAL with the weights of WAHR (the poster's Table 3).
    """

    name = "fowkal"
    title = "FoWKAL"
    reference = "Seong et al., FoWKAL, poster at AAAI 2023; WAHR: Luo et al., CVPR 2021, arXiv:2012.15175"
    tunable = (Tunable("gamma", 0.001, 0.1), Tunable("regulariser_weight", 0.1, 10.0))

    def __init__(
        self,
        num_keypoints: int,
        gamma: float = 0.01,
        tau: float = 0.5,
        regulariser_weight: float = 1.0,
        weighting: Weighting = "fwahr",
        regulariser: Regulariser = "each",
    ) -> None:
        super().__init__(num_keypoints, regulariser_weight, regulariser)
        check_weighting(self.name, weighting, gamma, tau)
        self.gamma, self.tau, self.weighting = gamma, tau, weighting

    def map_loss(self, prediction: Tensor, label: Tensor, factor: Tensor) -> Tensor:
        """Return the loss ``[M]`` of each map."""
        return fowkal(prediction, label, factor, self.gamma, self.tau, self.weighting)
