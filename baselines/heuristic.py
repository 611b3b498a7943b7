"""The heuristic mix of the FoWKAL poster: AWing on the dense parts of a body, MSE on the others."""

from torch import Tensor

from rspose.baselines._parts import FACE, WHOLE_BODY, sum_over_parts
from rspose.baselines.awing import awing
from rspose.baselines.wahr import Weighting, check_weighting, weighted
from rspose.losses import HeatmapLoss, KeypointTarget, Maps, check_numbers, over_maps, register


@register
class HeuristicLoss(HeatmapLoss):
    r"""AWing on face and hands, MSE on body and feet.

    .. math::
        L = \lambda_{fh} \sum_{face, hand} \frac{1}{N} \sum_k \mathrm{AWing}_k
            + \lambda_{bf} \sum_{body, foot} \frac{1}{N} \sum_k \mathrm{MSE}_k

    Seong, Lee, Lee, poster at AAAI 2023, row (c) of its Table 2. **A reconstruction**: the two weights are
    not available to us. The mean over the N keypoints of a part counts visible ones only. COCO, CrowdPose and
    MPII have one part, the body, on which this is MSE; COCO-WholeBody (133 keypoints) has four.

    A map is its own heatmap, its peak the confidence.

    Args:
        dense_weight, coarse_weight: weight of face and hands, and of body and feet, at least 0.
        weighting: weight of the pixels: ``"none"``, ``"wahr"`` or ``"fwahr"``.
        gamma, tau: as for :class:`rspose.baselines.wahr.FWAHRLoss`.
    """

    name = "heuristic"
    title = "MSE/AWing"
    reference = "Seong et al., FoWKAL, poster at AAAI 2023"
    reconstruction = True

    def __init__(
        self,
        dense_weight: float = 1.0,
        coarse_weight: float = 1.0,
        weighting: Weighting = "none",
        gamma: float = 0.01,
        tau: float = 0.5,
    ) -> None:
        super().__init__()
        check_weighting(self.name, weighting, gamma, tau)
        check_numbers("heuristic loss", at_least=0, dense_weight=dense_weight, coarse_weight=coarse_weight)
        self.dense_weight, self.coarse_weight = dense_weight, coarse_weight
        self.weighting, self.gamma, self.tau = weighting, gamma, tau

    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Return one term, called like the loss."""
        number = target.weights.shape[1]
        whole_body = number == WHOLE_BODY
        # Of each visible map; face and hands come last.
        dense = (target.visible % number >= FACE.start) & whole_body

        def map_loss(prediction: Tensor, label: Tensor) -> Tensor:
            pixels = (prediction - label).square()
            if whole_body:
                pixels = awing(prediction, label).where(dense[:, None], pixels)
            pixels = weighted(pixels, prediction, label, self.weighting, self.gamma, self.tau)
            value = pixels.mean(dim=-1)
            return (self.dense_weight * value).where(dense, self.coarse_weight * value)

        return {self.name: sum_over_parts(over_maps(map_loss, target, prediction, target.heatmaps), target)}
