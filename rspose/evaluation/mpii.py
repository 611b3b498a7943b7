"""PCKh on MPII: the share of keypoints within a fraction of the head size, on ground-truth boxes."""

import numpy as np

from rspose import __version__
from rspose.datasets.mpii import MPII
from rspose.evaluation.pck import SIDES, Judgement, weighted_mean
from rspose.evaluation.resampling import mean_of_known

EVALUATOR = f"rspose {__version__} (PCKh as mmpose's MpiiPCKAccuracy)"

GROUPS = {"head": ("head_top",), **SIDES}
LIMITS = (0.5, 0.1)
# MPII's evaluation leaves them out of the mean.
_LEFT_OUT = ("pelvis", "thorax")


def pckh(judgement: Judgement, counts: np.ndarray) -> dict[str, np.ndarray]:
    """PCKh@0.5 of each joint group and of all, PCKh@0.1 of all, if image i occurred ``counts[i]`` times.

    The mean of all weighs every keypoint by the number of its labels. For ``counts`` ``[I, R]`` fractions,
    float64 ``[R]``, NaN where nothing is labelled.
    """
    at_half, weight = judgement.shares(0.5, counts)
    at_tenth, _ = judgement.shares(0.1, counts)
    weight[:, [MPII.keypoints.names.index(name) for name in _LEFT_OUT]] = 0.0
    metrics = {"PCKh": weighted_mean(at_half, weight)}
    for group, names in GROUPS.items():
        joints = [MPII.keypoints.names.index(name) for name in names]
        metrics[f"PCKh_{group}"] = mean_of_known(at_half[:, joints].T)
    metrics["PCKh@0.1"] = weighted_mean(at_tenth, weight)
    return metrics
