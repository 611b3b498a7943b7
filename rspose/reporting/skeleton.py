"""Where the keypoints of a person stand when only their values are drawn."""

import numpy as np

from rspose.datasets import KeypointSet

# A person who faces us, so that the own left is to our right; head and face larger than life.
_PLACES = {
    "nose": (0.0, 8.35), "left_eye": (0.55, 8.85), "right_eye": (-0.55, 8.85),
    "left_ear": (1.2, 8.5), "right_ear": (-1.2, 8.5),
    "head_top": (0.0, 9.6), "head": (0.0, 9.2), "upper_neck": (0.0, 7.9), "neck": (0.0, 7.3),
    "thorax": (0.0, 6.9), "pelvis": (0.0, 3.9),
    "left_shoulder": (1.55, 6.7), "right_shoulder": (-1.55, 6.7),
    "left_elbow": (2.35, 5.2), "right_elbow": (-2.35, 5.2),
    "left_wrist": (2.75, 3.7), "right_wrist": (-2.75, 3.7),
    "left_hip": (0.95, 3.9), "right_hip": (-0.95, 3.9),
    "left_knee": (1.15, 2.0), "right_knee": (-1.15, 2.0),
    "left_ankle": (1.3, 0.1), "right_ankle": (-1.3, 0.1),
    "left_heel": (0.9, -0.6), "right_heel": (-0.9, -0.6),
    "left_big_toe": (1.5, -0.9), "right_big_toe": (-1.5, -0.9),
    "left_small_toe": (2.1, -0.6), "right_small_toe": (-2.1, -0.6),
}  # fmt: skip
_FACE, _HANDS = slice(23, 91), slice(91, 133)  # of COCO-WholeBody


def places(joints: KeypointSet) -> np.ndarray:
    """Where each keypoint of a person who faces us is drawn, ``[K, 2]``, y upwards.

    Face and hands of COCO-WholeBody stand beside the body.
    """
    found = np.array([_PLACES.get(name, (np.nan, np.nan)) for name in joints.names])
    if "face_kpts" in joints.fields:
        found[_FACE] = np.array([0.0, 12.6]) + 2.3 * _face()
        hands = [np.array([side * 4.3, 3.4]) + _hand(side) for side in (1, -1)]
        found[_HANDS] = np.concatenate(hands)
    return found


def _face() -> np.ndarray:
    """The 68 points of a face in the order of iBUG's annotation, from -1 to 1, ``[68, 2]``."""

    def arc(count: int, center: tuple[float, float], size: tuple[float, float], step: float) -> np.ndarray:
        """Points from the person's right on, clockwise, ``step`` degrees from one to the next."""
        angle = np.radians(180 - step * np.arange(count))
        return np.array(center) + np.array(size) * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    return np.concatenate(
        [
            arc(17, (0, 0), (1, 1.1), -180 / 16),  # jaw
            *(arc(5, (x, 0.42), (0.3, 0.12), 45) for x in (-0.48, 0.48)),  # brows
            np.column_stack([np.zeros(4), np.linspace(0.28, -0.1, 4)]),  # bridge of the nose
            np.column_stack([np.linspace(-0.2, 0.2, 5), np.full(5, -0.25)]),
            *(arc(6, (x, 0.2), (0.2, 0.1), 60) for x in (-0.45, 0.45)),  # eyes
            arc(12, (0, -0.62), (0.42, 0.2), 30),  # lips
            arc(8, (0, -0.62), (0.28, 0.09), 45),
        ]
    )


def _hand(side: int) -> np.ndarray:
    """A hand that hangs from its root, four joints a finger from the thumb on, ``[21, 2]``."""
    angle = np.radians(-90 - side * np.array([-50.0, -22.0, 0.0, 20.0, 40.0]))
    reach = np.array([0.7, 1.2, 1.6, 2.0])
    fingers = np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, None] * reach[:, None]
    return np.concatenate([np.zeros((1, 2)), fingers.reshape(-1, 2)])
