"""PCK and PCP on Leeds Sports Pose, person-centric, on derived boxes."""

from dataclasses import replace

import numpy as np

from rspose import __version__
from rspose.datasets.annotations import Annotations
from rspose.datasets.lsp import LSP
from rspose.evaluation.pck import SIDES, Judgement, weighted_mean
from rspose.evaluation.predictions import Predictions
from rspose.evaluation.resampling import mean_of_known

EVALUATOR = f"rspose {__version__} (PCK of the torso as mmpose's PCKAccuracy, strict PCP)"

LIMIT = 0.2
"""Of the torso, below which a keypoint is right."""
LIMITS = tuple(round(step / 100, 2) for step in range(1, 21))
"""Those of the curve, whose mean is its AUC."""
PCP_LIMIT = 0.5
"""Of a limb's length, up to which both of its ends may be off."""

# A limb of fewer pixels is a point, and gives no measure.
_LEAST_LENGTH = 1e-3

_AT = {name: index for index, name in enumerate(LSP.keypoints.names)}
GROUPS = {"head": ("head_top", "neck"), **SIDES}
_LIMBS = (
    ("head_top", "neck"),
    ("neck", "pelvis"),
    *(
        (f"{side}_{upper}", f"{side}_{lower}")
        for side in ("left", "right")
        for upper, lower in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
    ),
)


def torso_lengths(annotations: Annotations) -> np.ndarray:
    """Distance from the left shoulder to the right hip in pixels, ``[N]``; 0 where one is not labelled."""
    ends = [_AT["left_shoulder"], _AT["right_hip"]]
    first, second = annotations.keypoints[:, ends].swapaxes(0, 1)
    return np.where(annotations.labelled[:, ends].all(axis=1), np.linalg.norm(first - second, axis=1), 0.0)


def pck(judgement: Judgement, counts: np.ndarray) -> dict[str, np.ndarray]:
    """PCK at 0.2 of the torso of each joint group and of all, and the area under the curve of PCK.

    The area is the mean of PCK at 0.01, 0.02, ... 0.2, of all keypoints. For ``counts`` ``[I, R]``, how often
    each image occurs, fractions, float64 ``[R]``, NaN where nothing is labelled.
    """
    curve = pck_curve(judgement, counts)
    shares, weight = judgement.shares(LIMIT, counts)
    metrics = {"PCK": weighted_mean(shares, weight), "AUC": curve.mean(axis=0)}
    for group, names in GROUPS.items():
        joints = [_AT[name] for name in names]
        metrics[f"PCK_{group}"] = mean_of_known(shares[:, joints].T)
    return metrics


def pck_curve(judgement: Judgement, counts: np.ndarray) -> np.ndarray:
    """PCK of all keypoints at each of :data:`LIMITS`, ``[20, R]``."""
    return np.stack([weighted_mean(*judgement.shares(limit, counts)) for limit in LIMITS])


def pcp(
    predictions: Predictions, annotations: Annotations, judgement: Judgement, counts: np.ndarray
) -> np.ndarray:
    """Share of limbs of which both ends are within half of the limb's length of their true place, ``[R]``.

    The strict one (Ferrari et al., CVPR 2008): torso from the neck to the middle of the hips, head, upper and
    lower arms and legs, ten in all, each weighed by the number of its labels.
    """
    found = _ends(predictions.keypoints)
    truth = _ends(annotations.keypoints[judgement.person])
    flags = np.repeat(judgement.labelled[..., None].astype(float), 2, axis=-1)
    off = np.linalg.norm(found - truth, axis=-1).max(axis=-1)
    length = np.linalg.norm(truth[:, :, 0] - truth[:, :, 1], axis=-1)
    labelled = (_ends(flags)[..., 0].min(axis=-1) == 1) & (length > _LEAST_LENGTH)
    right = {PCP_LIMIT: (off <= PCP_LIMIT * length) & labelled}
    limbs = replace(judgement, right=right, judged=labelled, labelled=labelled)
    return weighted_mean(*limbs.shares(PCP_LIMIT, counts))


def _ends(keypoints: np.ndarray) -> np.ndarray:
    """Both ends of each limb, ``[N, K, 2]`` to ``[N, limbs, 2, 2]``."""
    pelvis = keypoints[:, [_AT["left_hip"], _AT["right_hip"]]].mean(axis=1)
    places = np.concatenate([keypoints, pelvis[:, None]], axis=1)
    rows = {**_AT, "pelvis": len(_AT)}
    return places[:, [[rows[name] for name in limb] for limb in _LIMBS]]
