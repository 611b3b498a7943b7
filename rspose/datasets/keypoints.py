"""The keypoints of each dataset: names, skeleton and OKS sigmas, as the datasets' authors define them.

Sources: the COCO keypoint task (sigmas of its evaluator), the CrowdPose toolkit (sigmas of its evaluator),
the MPII Human Pose annotation format and COCO-WholeBody (Jin et al., ECCV 2020; sigmas of its evaluator, as
in mmpose). MPII has no published OKS sigmas: those here are mmpose's, and they only serve the losses and the
confidence study, never PCKh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class KeypointSet:
    """The keypoints of one dataset.

    Attributes:
        dataset: Name of the dataset, as used in configs.
        names: One name per keypoint, in annotation order.
        skeleton: Pairs of keypoint indices (0-based) that are joined by a line when drawn.
        sigmas: Standard deviation of human annotation per keypoint, as a fraction of the object scale
            (the square root of its area). The OKS falloff is ``k = 2 * sigma``.
    """

    dataset: str
    names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def flip_indices(self) -> tuple[int, ...]:
        """For each keypoint, the index of its mirror image (itself on the body's midline)."""
        return tuple(self.names.index(_mirrored(name)) for name in self.names)

    @property
    def falloff(self) -> np.ndarray:
        """OKS falloff constants ``k = 2 * sigma``, float64 ``[K]``."""
        import numpy as np  # the command line reads names only, and runs where torch alone is installed

        return 2.0 * np.asarray(self.sigmas, dtype=np.float64)


def _mirrored(name: str) -> str:
    if name.startswith("left_"):
        return "right_" + name.removeprefix("left_")
    if name.startswith("right_"):
        return "left_" + name.removeprefix("right_")
    return name


COCO = KeypointSet(
    dataset="coco",
    names=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    skeleton=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
        (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
    sigmas=(
        0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
        0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
    ),
)  # fmt: skip

CROWDPOSE = KeypointSet(
    dataset="crowdpose",
    names=(
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck",
    ),
    skeleton=(
        (10, 8), (8, 6), (11, 9), (9, 7), (6, 7), (0, 6), (1, 7), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5),
        (12, 13), (13, 0), (13, 1),
    ),
    sigmas=(
        0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079,
    ),
)  # fmt: skip

MPII = KeypointSet(
    dataset="mpii",
    names=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "pelvis", "thorax", "upper_neck", "head_top",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    ),
    skeleton=(
        (0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9),
        (8, 12), (12, 11), (11, 10), (8, 13), (13, 14), (14, 15),
    ),
    sigmas=(
        0.089, 0.083, 0.107, 0.107, 0.083, 0.089, 0.026, 0.026, 0.026, 0.026,
        0.062, 0.072, 0.179, 0.179, 0.072, 0.062,
    ),
)  # fmt: skip

FOOT_NAMES = tuple(
    f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel")
)

# The 68 points of the face run from the person's right to the left, as in the 300-W annotation (iBUG).
FACE_NAMES = (
    *(f"right_jaw_{i}" for i in range(8)), "chin", *(f"left_jaw_{i}" for i in reversed(range(8))),
    *(f"right_brow_{i}" for i in range(5)), *(f"left_brow_{i}" for i in reversed(range(5))),
    *(f"nose_bridge_{i}" for i in range(4)),
    "right_nostril_0", "right_nostril_1", "nose_base", "left_nostril_1", "left_nostril_0",
    "right_eye_outer", "right_eye_top_outer", "right_eye_top_inner", "right_eye_inner",
    "right_eye_bottom_inner", "right_eye_bottom_outer",
    "left_eye_inner", "left_eye_top_inner", "left_eye_top_outer", "left_eye_outer",
    "left_eye_bottom_outer", "left_eye_bottom_inner",
    "right_mouth", "right_upper_lip_0", "right_upper_lip_1", "upper_lip",
    "left_upper_lip_1", "left_upper_lip_0",
    "left_mouth", "left_lower_lip_0", "left_lower_lip_1", "lower_lip",
    "right_lower_lip_1", "right_lower_lip_0",
    "right_inner_mouth", "right_inner_upper_lip", "inner_upper_lip", "left_inner_upper_lip",
    "left_inner_mouth", "left_inner_lower_lip", "inner_lower_lip", "right_inner_lower_lip",
)  # fmt: skip

FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
HAND_NAMES = tuple(
    f"{side}_{point}"
    for side in ("left", "right")
    for point in ("hand_root", *(f"{finger}{joint}" for finger in FINGERS for joint in range(1, 5)))
)


def _extremity_links() -> tuple[tuple[int, int], ...]:
    """Lines of feet and hands among the keypoints of COCO-WholeBody."""
    feet = ((15, 17), (15, 18), (15, 19), (16, 20), (16, 21), (16, 22))
    hands = [
        (root if joint == 1 else root + 4 * finger + joint - 1, root + 4 * finger + joint)
        for root in (91, 112)
        for finger in range(5)
        for joint in range(1, 5)
    ]
    return (*feet, *hands)


_HAND_SIGMAS = (
    0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024,
    0.022, 0.026, 0.017, 0.021, 0.021, 0.032, 0.02, 0.019, 0.022, 0.031,
)  # fmt: skip

WHOLEBODY = KeypointSet(
    dataset="wholebody",
    names=(*COCO.names, *FOOT_NAMES, *FACE_NAMES, *HAND_NAMES),
    skeleton=(*COCO.skeleton, *_extremity_links()),
    sigmas=(
        *COCO.sigmas,
        0.068, 0.066, 0.066, 0.092, 0.094, 0.094,
        0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032, 0.037, 0.038,
        0.043, 0.041, 0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011, 0.011, 0.013, 0.015,
        0.009, 0.007, 0.007, 0.007, 0.012, 0.009, 0.008, 0.016, 0.010, 0.017, 0.011, 0.009, 0.011, 0.009,
        0.007, 0.013, 0.008, 0.011, 0.012, 0.010, 0.034, 0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010,
        0.008, 0.009, 0.009, 0.009, 0.007, 0.007, 0.008, 0.011, 0.008, 0.008, 0.008, 0.01, 0.008,
        *_HAND_SIGMAS, *_HAND_SIGMAS,
    ),
)  # fmt: skip

WHOLEBODY_FIELDS: dict[str, slice] = {
    "keypoints": slice(0, 17),
    "foot_kpts": slice(17, 23),
    "face_kpts": slice(23, 91),
    "lefthand_kpts": slice(91, 112),
    "righthand_kpts": slice(112, 133),
}
"""The fields of an annotation of COCO-WholeBody that hold its keypoints, and which ones."""

BODY_KEYPOINTS = 17
"""The first so many of COCO-WholeBody are the body's; the others lie close together and are drawn smaller."""

KEYPOINT_SETS: dict[str, KeypointSet] = {
    keypoints.dataset: keypoints for keypoints in (COCO, CROWDPOSE, MPII, WHOLEBODY)
}


def keypoint_set(dataset: str) -> KeypointSet:
    """The keypoints of ``dataset``.

    Raises:
        ValueError: If the dataset is unknown; the message names those that are known.
    """
    if dataset not in KEYPOINT_SETS:
        raise ValueError(f"unknown dataset {dataset!r}: expected one of {', '.join(KEYPOINT_SETS)}")
    return KEYPOINT_SETS[dataset]
