"""The heuristic mix of the FoWKAL poster: AWing on the dense parts of a body, MSE on the others."""

import torch
from torch import Tensor

from rspose.baselines._parts import DENSE_PARTS, keypoint_parts, sum_over_parts, visible_keypoints
from rspose.baselines.awing import awing
from rspose.baselines.wahr import Weighting, check_weighting, weighted
from rspose.losses import (
    HeatmapLoss,
    KeypointTarget,
    Maps,
    check_numbers,
    over_maps,
    register,
    visible_weights,
)


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
        num_keypoints: number of keypoints K, which says what the parts are.
        dense_weight: weight of face and hands, at least 0.
        coarse_weight: weight of body and feet, at least 0.
        weighting: weight of the pixels: ``"none"``, ``"wahr"`` or ``"fwahr"`` (see
            :mod:`rspose.baselines.wahr`).
        gamma: exponent of the pixel weights, above 0.
        tau: FWAHR's weight of the background, at least 0.
    """

    name = "heuristic"
    title = "MSE/AWing"
    reference = "Seong et al., FoWKAL, poster at AAAI 2023"
    reconstruction = True

    def __init__(
        self,
        num_keypoints: int,
        dense_weight: float = 1.0,
        coarse_weight: float = 1.0,
        weighting: Weighting = "none",
        gamma: float = 0.01,
        tau: float = 0.5,
    ) -> None:
        super().__init__()
        check_weighting(self.name, weighting, gamma, tau)
        check_numbers("heuristic loss", at_least=0, dense_weight=dense_weight, coarse_weight=coarse_weight)
        self.num_keypoints = num_keypoints
        parts = keypoint_parts(num_keypoints)
        self._dense_parts = [parts[part] for part in DENSE_PARTS if part in parts]
        self.dense_weight, self.coarse_weight = dense_weight, coarse_weight
        self.weighting, self.gamma, self.tau = weighting, gamma, tau

    def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
        """Return one term, called like the loss."""
        keypoint = visible_keypoints(target.weights)
        dense = torch.zeros_like(keypoint, dtype=torch.bool)
        for indices in self._dense_parts:
            dense |= (keypoint >= indices.start) & (keypoint < indices.stop)
        value = over_maps(lambda map_, label: self._map_loss(map_, label, dense), prediction, target)
        weights = visible_weights(target.weights)
        return {self.name: sum_over_parts(value, weights, keypoint, self.num_keypoints)}

    def _map_loss(self, prediction: Tensor, label: Tensor, dense: Tensor) -> Tensor:
        """Loss ``[M]`` of each map; ``dense`` says which ones are of a dense part."""
        pixels = (prediction - label).square()
        if self._dense_parts:
            pixels = awing(prediction, label).where(dense[:, None], pixels)
        pixels = weighted(pixels, prediction, label, self.weighting, self.gamma, self.tau)
        value = pixels.mean(dim=-1)
        return (self.dense_weight * value).where(dense, self.coarse_weight * value)
