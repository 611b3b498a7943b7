"""Parts of a body, for the losses that treat them apart: COCO-WholeBody has four, other skeletons are one."""

from torch import Tensor

from rspose.losses import visible_weights, weighted_mean

_BODY, _FOOT, _FACE, _HAND = range(17), range(17, 23), range(23, 91), range(91, 133)


def first_dense(num_keypoints: int) -> int:
    """The first keypoint of face and hand, which come last; the number of keypoints where there are none."""
    return _FACE.start if num_keypoints == 133 else num_keypoints


def visible_keypoints(weights: Tensor) -> Tensor:
    """Index of the keypoint of each visible map ``[M]``, in the order of ``visible_maps``."""
    return weights.gt(0).nonzero()[:, 1]


def sum_over_parts(value: Tensor, weights: Tensor) -> Tensor:
    """Sum over the parts of the weighted mean of the values ``[M]``; one without visible keypoints is 0."""
    keypoint, visible, number = visible_keypoints(weights), visible_weights(weights), weights.shape[1]
    total = value.new_zeros(())
    for part in (_BODY, _FOOT, _FACE, _HAND) if number == 133 else (range(number),):
        inside = (keypoint >= part.start) & (keypoint < part.stop)
        total = total + weighted_mean(value[inside], visible[inside])
    return total
