"""Parts of a body, for the losses that treat them apart: COCO-WholeBody has four, other skeletons are one."""

from torch import Tensor

from rspose.losses import KeypointTarget, visible_weights, weighted_mean

WHOLE_BODY = 133
"""Number of keypoints of COCO-WholeBody."""
BODY, FOOT, FACE, HAND = range(17), range(17, 23), range(23, 91), range(91, WHOLE_BODY)


def sum_over_parts(value: Tensor, target: KeypointTarget) -> Tensor:
    """Sum over the parts of the weighted mean of the values ``[M]``; one without visible keypoints is 0."""
    number, weights = target.weights.shape[1], visible_weights(target)
    if number != WHOLE_BODY:
        return weighted_mean(value, weights)
    keypoint, total = target.visible % number, value.new_zeros(())
    for part in (BODY, FOOT, FACE, HAND):
        inside = (keypoint >= part.start) & (keypoint < part.stop)
        total = total + weighted_mean(value[inside], weights[inside])
    return total
