"""The keypoints of each dataset: names, skeleton and OKS sigmas, as the datasets' authors define them.

Sources: the COCO keypoint task (sigmas of its evaluator), the CrowdPose toolkit (sigmas of its evaluator) and
the MPII Human Pose annotation format. MPII has no published OKS sigmas: those here are mmpose's, and they
only serve the losses and the confidence study, never PCKh.
"""

from dataclasses import dataclass

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

KEYPOINT_SETS: dict[str, KeypointSet] = {
    keypoints.dataset: keypoints for keypoints in (COCO, CROWDPOSE, MPII)
}


def keypoint_set(dataset: str) -> KeypointSet:
    """The keypoints of ``dataset``.

    Raises:
        ValueError: If the dataset is unknown; the message names those that are known.
    """
    if dataset not in KEYPOINT_SETS:
        raise ValueError(f"unknown dataset {dataset!r}: expected one of {', '.join(KEYPOINT_SETS)}")
    return KEYPOINT_SETS[dataset]
