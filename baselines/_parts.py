"""Which keypoints make up which part of the body, for the losses that treat parts apart."""

import torch
from torch import Tensor

from rspose.losses import weighted_mean

COCO_WHOLE_BODY = {"body": range(17), "foot": range(17, 23), "face": range(23, 91), "hand": range(91, 133)}
DENSE_PARTS = ("face", "hand")


def keypoint_parts(num_keypoints: int) -> dict[str, range]:
    """The index ranges of the parts: those of COCO-WholeBody for its 133 keypoints, else all are the body."""
    return COCO_WHOLE_BODY if num_keypoints == 133 else {"body": range(num_keypoints)}


def visible_keypoints(weights: Tensor) -> Tensor:
    """Index of the keypoint of each visible map ``[M]``, in the order of ``visible_maps``."""
    return torch.arange(weights.shape[1], device=weights.device).expand_as(weights)[weights > 0]


def sum_over_parts(value: Tensor, weights: Tensor, keypoint: Tensor, num_keypoints: int) -> Tensor:
    """Sum over the parts of the weighted mean of ``value`` in each; a part without visible keypoints is 0.

    Value, weight and index of the visible keypoints are ``[M]``; their number in all says what the parts are.
    """
    total = value.new_zeros(())
    for indices in keypoint_parts(num_keypoints).values():
        inside = (keypoint >= indices.start) & (keypoint < indices.stop)
        total = total + weighted_mean(value[inside], weights[inside])
    return total
