"""KAL: AWing and MSE mixed by a learned factor per keypoint."""

from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from rspose.baselines._parts import sum_over_parts
from rspose.baselines.awing import awing
from rspose.losses import (
    HeatmapLoss,
    KeypointTarget,
    Maps,
    Tunable,
    check_choice,
    check_numbers,
    over_maps,
    register,
)

Regulariser = Literal["each", "mean"]


def adaptive_pixels(prediction: Tensor, label: Tensor, factor: Tensor) -> Tensor:
    """Return the loss of each pixel, ``factor * AWing + (1 - factor) * MSE``, as :func:`kal` takes it."""
    share = factor[:, None]
    return share * awing(prediction, label) + (1 - share) * (prediction - label).square()


def kal(prediction: Tensor, label: Tensor, factor: Tensor) -> Tensor:
    r"""Keypoint-wise adaptive loss ``[M]`` of each map, without its regulariser.

    .. math:: L = \frac{1}{N} \sum_n \lambda \mathrm{AWing}(y_n, \hat y_n) + (1 - \lambda) (y_n - \hat y_n)^2

    with AWing of :func:`rspose.baselines.awing.awing` with its published parameters. Seong, Lee, Lee,
    poster at AAAI 2023.

    Args:
        prediction, label: ``[M, N]``, of any range and in [0, 1]; a perfect prediction equals the label.
        factor: lambda of each map, ``[M]`` in [0, 1].

    Example:
        >>> import torch
        >>> kal(torch.tensor([[0.4]]), torch.tensor([[1.0]]), torch.tensor([0.0]))  # 0.6 ** 2
        tensor([0.3600])
    """
    return adaptive_pixels(prediction, label, factor).mean(dim=-1)


@register
class KALLoss(HeatmapLoss):
    r"""Module form of :func:`kal`, with the terms ``kal`` and ``regulariser``.

    **A reconstruction**: how lambda is parametrised and its regulariser are not available to us. Here
    :math:`\lambda_k = \mathrm{sigmoid}(a_k)` with one learned scalar per keypoint, 0.5 at first, and the
    regulariser is :math:`(2 \lambda_k - 1)^2`, from 0 at an even mix to 1 at either loss alone. Without one
    every factor would fall to 0, since MSE is the smaller loss at every error below 10. The poster says of it
    that it concerns relationships between body parts: ``regulariser="mean"`` reads that as
    :math:`(2 \bar\lambda - 1)^2` of the mean over all keypoints, visible or not, so that one keypoint takes
    as much of AWing as others give up.

    Both terms are the poster's sum over parts of the mean over a part's (visible) keypoints. COCO, CrowdPose
    and MPII have one part, the body; COCO-WholeBody (133 keypoints) has body, foot, face and hand.

    A map is its own heatmap, its peak the confidence.

    Args:
        num_keypoints: number of keypoints K.
        regulariser_weight: weight of the regulariser, at least 0.
        regulariser: what it holds at an even mix: ``"each"`` factor, or their ``"mean"``.
    """

    name = "kal"
    title = "KAL"
    reference = "Seong et al., FoWKAL, poster at AAAI 2023"
    reconstruction = True
    tunable: ClassVar[tuple[Tunable, ...]] = (Tunable("regulariser_weight", 0.1, 10.0),)

    def __init__(
        self, num_keypoints: int, regulariser_weight: float = 1.0, regulariser: Regulariser = "each"
    ) -> None:
        super().__init__()
        check_numbers(f"{self.name} loss", at_least=0, regulariser_weight=regulariser_weight)
        check_choice(f"{self.name} loss", Regulariser, regulariser=regulariser)
        self.regulariser_weight, self.regulariser = regulariser_weight, regulariser
        self.factor_logits = nn.Parameter(torch.zeros(num_keypoints))

    @property
    def factors(self) -> Tensor:
        """The factor lambda of each keypoint, ``[K]`` in (0, 1): 1 is AWing alone, 0 MSE alone."""
        return self.factor_logits.sigmoid()

    def learned(self) -> dict[str, list[float]]:
        """Return the factor of each keypoint."""
        return {"factor": self.factors.tolist()}

    def map_loss(self, prediction: Tensor, label: Tensor, factor: Tensor) -> Tensor:
        """Return the loss ``[M]`` of each map from raw output and labels ``[M, N]`` and factors ``[M]``."""
        return kal(prediction, label, factor)

    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Return a term called like the loss, and ``regulariser``."""
        number, known = target.weights.shape[1], len(self.factor_logits)
        if number != known:
            raise self._error("prediction", f"{known} keypoints (num_keypoints)", str(number))
        factor = self.factors.to(target.weights.dtype)[target.visible % number]  # of each visible map
        value = over_maps(partial(self.map_loss, factor=factor), target, prediction, target.heatmaps)
        value, regulariser = (sum_over_parts(each, target) for each in (value, (2 * factor - 1).square()))
        if self.regulariser == "mean" and len(factor):
            regulariser = (2 * self.factors.mean() - 1).square().to(value.dtype)
        return {self.name: value, "regulariser": self.regulariser_weight * regulariser}
