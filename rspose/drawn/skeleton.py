"""An articulated 3D skeleton with joint limits, posed at random and seen from any side.

Frames: x to the person's own left, y up, z where the person faces. In the camera's frame x is right in the
image, y up and z towards the camera: a person at yaw 0 faces it, left shoulder at the right of the image.
Lengths are fractions of the standing height.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

JOINT_NAMES = (
    "pelvis", "thorax", "upper_neck", "head_top", "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "left_hand", "right_hand", "left_toe", "right_toe",
)  # fmt: skip
"""Joints of the skeleton: those that the datasets annotate, and tips of hands and feet, only drawn."""

JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}

_TRUNK_ANGLES = ("spine_flexion", "spine_side", "spine_twist", "head_yaw", "head_pitch", "head_roll")
_LIMB_ANGLES = (
    "shoulder_flexion", "shoulder_abduction", "shoulder_rotation", "elbow_flexion",
    "hip_flexion", "hip_abduction", "knee_flexion",
)  # fmt: skip
ANGLE_NAMES = _TRUNK_ANGLES + tuple(f"{side}_{name}" for side in ("left", "right") for name in _LIMB_ANGLES)

_LIMITS = {
    "spine_flexion": (-15, 60), "spine_side": (-25, 25), "spine_twist": (-35, 35),
    "head_yaw": (-65, 65), "head_pitch": (-35, 40), "head_roll": (-25, 25),
    "shoulder_flexion": (-45, 170), "shoulder_abduction": (-8, 88), "shoulder_rotation": (-60, 80),
    "elbow_flexion": (2, 145), "hip_flexion": (-25, 115), "hip_abduction": (-8, 45), "knee_flexion": (0, 140),
}  # fmt: skip
JOINT_LIMITS = np.array(
    [_LIMITS[name.removeprefix("left_").removeprefix("right_")] for name in ANGLE_NAMES], dtype=np.float64
)
"""Lowest and highest angle per entry of `ANGLE_NAMES`, degrees, ``[A, 2]``. A flexed elbow brings the forearm
forward of the straight arm, a flexed knee the shin backward of the straight leg; none bends the other way."""


@dataclass(frozen=True)
class _Stance:
    """A kind of pose: how often it is drawn, and mean and spread (degrees) of the angles it sets."""

    weight: float
    trunk: Mapping[str, tuple[float, float]]
    left: Mapping[str, tuple[float, float]]
    right: Mapping[str, tuple[float, float]]

    def angles(self) -> list[tuple[float, float]]:
        """Mean and spread in the order of `ANGLE_NAMES`."""
        parts = ((self.trunk, _TRUNK_ANGLES), (self.left, _LIMB_ANGLES), (self.right, _LIMB_ANGLES))
        return [part.get(name, _DEFAULTS[name]) for part, names in parts for name in names]


_RELAXED_ARM = {
    "shoulder_flexion": (5, 14), "shoulder_abduction": (12, 8), "shoulder_rotation": (12, 22),
    "elbow_flexion": (18, 16),
}  # fmt: skip
_STANDING_LEG = {"hip_flexion": (1, 7), "hip_abduction": (5, 4), "knee_flexion": (5, 6)}
_DEFAULTS = {
    "spine_flexion": (3, 6), "spine_side": (0, 5), "spine_twist": (0, 9),
    "head_yaw": (0, 20), "head_pitch": (4, 10), "head_roll": (0, 7),
    **_RELAXED_ARM, **_STANDING_LEG,
}  # fmt: skip

_SITTING = {
    "shoulder_flexion": (30, 20), "elbow_flexion": (55, 28), "hip_flexion": (84, 11), "hip_abduction": (9, 8),
    "knee_flexion": (84, 20),
}  # fmt: skip
_CROUCHING = {
    "shoulder_flexion": (50, 25), "elbow_flexion": (50, 30),
    "hip_flexion": (95, 14), "hip_abduction": (14, 9), "knee_flexion": (112, 16),
}  # fmt: skip
_ARM_UP = {"shoulder_flexion": (142, 24), "shoulder_abduction": (22, 14), "elbow_flexion": (38, 32)}
_SPREAD = {
    "shoulder_abduction": (72, 15), "elbow_flexion": (25, 24),
    "hip_abduction": (22, 10), "knee_flexion": (14, 16),
}  # fmt: skip
_HAND_ON_HIP = {
    "shoulder_flexion": (-12, 6), "shoulder_abduction": (42, 7), "shoulder_rotation": (62, 10),
    "elbow_flexion": (92, 12),
}  # fmt: skip
_ANYHOW = {
    "shoulder_flexion": (55, 60), "shoulder_abduction": (35, 32), "shoulder_rotation": (10, 40),
    "elbow_flexion": (60, 45), "hip_flexion": (30, 38), "hip_abduction": (16, 15), "knee_flexion": (45, 42),
}  # fmt: skip

_STANCES = (
    _Stance(0.30, {}, {}, {}),  # standing
    _Stance(  # walking
        0.22,
        {"spine_flexion": (6, 5)},
        {
            "shoulder_flexion": (-22, 12), "elbow_flexion": (30, 18),
            "hip_flexion": (26, 9), "knee_flexion": (10, 8),
        },
        {
            "shoulder_flexion": (28, 14), "elbow_flexion": (38, 20),
            "hip_flexion": (-12, 7), "knee_flexion": (28, 16),
        },
    ),
    _Stance(  # running
        0.09,
        {"spine_flexion": (14, 7)},
        {
            "shoulder_flexion": (-38, 10), "elbow_flexion": (85, 16),
            "hip_flexion": (58, 16), "knee_flexion": (55, 22),
        },
        {
            "shoulder_flexion": (42, 16), "elbow_flexion": (88, 16),
            "hip_flexion": (-14, 9), "knee_flexion": (78, 24),
        },
    ),
    _Stance(0.09, {"spine_flexion": (8, 10)}, _SITTING, _SITTING),
    _Stance(0.04, {"spine_flexion": (30, 12)}, _CROUCHING, _CROUCHING),
    _Stance(0.08, {"head_pitch": (-6, 12)}, _ARM_UP, _ARM_UP),
    _Stance(  # one arm gesturing
        0.13,
        {},
        {},
        {
            "shoulder_flexion": (65, 32), "shoulder_abduction": (28, 20), "shoulder_rotation": (20, 35),
            "elbow_flexion": (75, 36),
        },
    ),
    _Stance(0.05, {"spine_side": (0, 9)}, _SPREAD, _SPREAD),
    _Stance(0.04, {}, _HAND_ON_HIP, _HAND_ON_HIP),
    _Stance(
        0.03,
        {"spine_flexion": (14, 18), "spine_side": (0, 13), "spine_twist": (0, 18), "head_yaw": (0, 32)},
        _ANYHOW,
        _ANYHOW,
    ),
)  # fmt: skip


_STANCE_CUMULATED = np.cumsum([stance.weight for stance in _STANCES])
_STANCE_CUMULATED /= _STANCE_CUMULATED[-1]
_STANCE_ANGLES = np.array([stance.angles() for stance in _STANCES], dtype=np.float64)
"""Mean and spread of each angle, degrees ``[stances, A, 2]``."""

_LEFT = slice(len(_TRUNK_ANGLES), len(_TRUNK_ANGLES) + len(_LIMB_ANGLES))
_RIGHT = slice(_LEFT.stop, _LEFT.stop + len(_LIMB_ANGLES))


def sample_angles(rng: np.random.Generator, count: int) -> np.ndarray:
    """Angles of ``count`` random poses within the limits, degrees ``[count, A]`` as in `ANGLE_NAMES`."""
    stance = np.searchsorted(_STANCE_CUMULATED, rng.random(count))
    mean, spread = _STANCE_ANGLES[stance, :, 0], _STANCE_ANGLES[stance, :, 1]
    angles = mean + spread * rng.standard_normal((count, len(ANGLE_NAMES)))
    # Half of the people take the mirrored stance, or a right-handed world would give the sides away.
    mirrored = rng.random(count) < 0.5
    left = angles[:, _LEFT].copy()
    angles[:, _LEFT] = np.where(mirrored[:, None], angles[:, _RIGHT], left)
    angles[:, _RIGHT] = np.where(mirrored[:, None], left, angles[:, _RIGHT])
    return np.clip(angles, JOINT_LIMITS[:, 0], JOINT_LIMITS[:, 1])


def sample_views(rng: np.random.Generator, count: int) -> np.ndarray:
    """Yaw, roll and camera pitch of ``count`` people, degrees ``[count, 3]``.

    Half of the people more or less face the camera, a fifth turn their back to it, the rest look anywhere.
    """
    kind, around, normal = rng.random(count), rng.random(count), rng.standard_normal((count, 3))
    yaw = np.where(kind < 0.5, 34 * normal[:, 0], np.where(kind < 0.7, 180 + 34 * normal[:, 0], 360 * around))
    # One person in forty leans or lies.
    roll = np.where(kind * 20 % 1 < 0.025, 45, 7) * normal[:, 1]
    return np.stack([(yaw + 180) % 360 - 180, roll, 4 + 7 * normal[:, 2]], axis=1)


@dataclass(frozen=True)
class Proportions:
    """Body measures of ``P`` people, fractions of the standing height, each ``[P]``."""

    head: np.ndarray
    shoulder: np.ndarray
    hip: np.ndarray
    arm: np.ndarray
    leg: np.ndarray
    girth: np.ndarray


def sample_proportions(rng: np.random.Generator, count: int) -> Proportions:
    """Measures of ``count`` people: adults, and one child in six with a larger head and shorter limbs."""
    child = (rng.random(count) < 1 / 6).astype(np.float64)
    spread = 1 + 0.06 * np.clip(rng.standard_normal((count, 6)), -2, 2)
    return Proportions(
        head=(1.24 + 0.22 * child) * spread[:, 0],
        shoulder=0.122 * spread[:, 1],
        hip=0.066 * spread[:, 2],
        arm=(1.0 - 0.08 * child) * spread[:, 3],
        leg=(1.0 - 0.08 * child) * spread[:, 4],
        girth=1.32 * spread[:, 5] ** 2,
    )


HEAD_AXES = np.array([0.061, 0.081, 0.071])
"""Half axes of the head, an ellipsoid, for a head measure of 1."""

FACE_DIRECTIONS = {
    "nose": (0.0, -0.14, 0.99),
    "left_eye": (0.36, 0.16, 0.92),
    "right_eye": (-0.36, 0.16, 0.92),
    "left_ear": (0.995, -0.02, -0.1),
    "right_ear": (-0.995, -0.02, -0.1),
}
"""Directions from the centre of the head to its keypoints, on the unit sphere behind the ellipsoid."""

_NOSE_LENGTH = 1.13

# Cross-sections of the trunk: height above (thorax ring: below) its frame's origin, half width, half depth.
_THORAX_RINGS = np.array([[0.0, 0.088, 0.040], [-0.075, 0.104, 0.066], [-0.17, 0.086, 0.058]])
_PELVIS_RINGS = np.array([[0.09, 0.083, 0.056], [-0.015, 0.094, 0.066]])
_RING_ANGLES = np.arange(8) * (np.pi / 4)
_RING = np.stack([np.cos(_RING_ANGLES), np.sin(_RING_ANGLES)], axis=1)


@dataclass(frozen=True)
class Skeletons:
    """``P`` posed people in the camera's frame (x right, y up, z near), fractions of standing height.

    Attributes:
        joints: Positions, ``[P, J, 3]``.
        rings: Cross-sections of the trunk from the shoulders down, ``[P, 5, 8, 3]``.
        head_centre: ``[P, 3]``.
        head_frame: Head axes times half lengths, ``[P, 3, 3]``: maps the unit sphere to the head's surface.
        thorax_frame: Orientation of the chest, ``[P, 3, 3]``.
        girth: How stout, ``[P]``.
    """

    joints: np.ndarray
    rings: np.ndarray
    head_centre: np.ndarray
    head_frame: np.ndarray
    thorax_frame: np.ndarray
    girth: np.ndarray

    @property
    def head_view(self) -> np.ndarray:
        """The point of the head's unit sphere that looks straight at the camera, ``[P, 3]``."""
        towards = np.linalg.inv(self.head_frame)[:, :, 2]
        return towards / np.sqrt((towards**2).sum(1, keepdims=True))


def _rotations(axis: int, degrees: np.ndarray) -> np.ndarray:
    """Rotation matrices ``[P, 3, 3]`` about the x (0), y (1) or z (2) axis."""
    radians = np.deg2rad(degrees)
    cosine, sine = np.cos(radians), np.sin(radians)
    matrices = np.zeros((len(radians), 3, 3))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrices[:, axis, axis] = 1
    matrices[:, first, first] = matrices[:, second, second] = cosine
    matrices[:, first, second] = -sine
    matrices[:, second, first] = sine
    return matrices


def pose_skeletons(angles: np.ndarray, views: np.ndarray, proportions: Proportions) -> Skeletons:
    """Forward kinematics: from joint angles to joints in the camera's frame, the pelvis at the origin.

    Args:
        angles: Degrees ``[P, A]``, in the order of `ANGLE_NAMES`.
        views: Yaw, roll and camera pitch, degrees ``[P, 3]``.
        proportions: Body measures.
    """
    joints = np.zeros((len(angles), len(JOINT_NAMES), 3))
    pelvis = _rotations(0, views[:, 2]) @ _rotations(2, views[:, 1]) @ _rotations(1, views[:, 0])
    thorax = pelvis @ _rotations(0, angles[:, 0]) @ _rotations(2, angles[:, 1]) @ _rotations(1, angles[:, 2])
    head = thorax @ _rotations(1, angles[:, 3]) @ _rotations(0, angles[:, 4]) @ _rotations(2, angles[:, 5])

    up = np.array([0.0, 1.0, 0.0])
    thorax_origin = pelvis @ (0.11 * up) + thorax @ (0.18 * up)
    pelvis_origin = np.zeros((len(angles), 3))
    joints[:, JOINT["thorax"]] = thorax_origin
    upper_neck = thorax_origin + thorax @ np.array([0.0, 0.042, 0.006])
    joints[:, JOINT["upper_neck"]] = upper_neck
    half_axes = HEAD_AXES * proportions.head[:, None]
    head_frame = head * half_axes[:, None, :]
    head_centre = upper_neck + head_frame @ np.array([0.0, 0.80, 0.18])
    joints[:, JOINT["head_top"]] = head_centre + head_frame @ up
    for name, direction in FACE_DIRECTIONS.items():
        length = _NOSE_LENGTH if name == "nose" else 1.0
        joints[:, JOINT[name]] = head_centre + head_frame @ (length * np.array(direction))

    arm, leg = proportions.arm[:, None], proportions.leg[:, None]
    for side, sign, columns in (("left", 1.0, _LEFT), ("right", -1.0, _RIGHT)):
        radians = np.deg2rad(angles[:, columns])
        cosine, sine = np.cos(radians), np.sin(radians)

        shoulder = np.outer(proportions.shoulder, (sign, 0, 0)) + np.array((0, -0.012, 0))
        upper, swing, outward = _swing(cosine[:, :2], sine[:, :2], sign)
        # Rotating the upper arm about itself turns the plane in which the elbow bends, inward if positive.
        bend = cosine[:, 2, None] * swing - sine[:, 2, None] * outward
        fore = cosine[:, 3, None] * upper + sine[:, 3, None] * bend
        _place_chain(
            joints, thorax, thorax_origin, side,
            ("shoulder", shoulder, 1.0), ("elbow", upper, 0.168 * arm), ("wrist", fore, 0.150 * arm),
            ("hand", fore, 0.056 * arm),
        )  # fmt: skip

        hip = np.outer(proportions.hip, (sign, 0, 0)) + np.array((0, -0.02, 0))
        thigh, swing, _ = _swing(cosine[:, 4:6], sine[:, 4:6], sign)
        shin = cosine[:, 6, None] * thigh - sine[:, 6, None] * swing
        foot = sine[:, 6, None] * thigh + cosine[:, 6, None] * swing
        toe = 0.92 * foot + 0.39 * shin
        _place_chain(
            joints, pelvis, pelvis_origin, side,
            ("hip", hip, 1.0), ("knee", thigh, 0.245 * leg), ("ankle", shin, 0.235 * leg),
            ("toe", toe, 0.085 * leg),
        )  # fmt: skip

    of_thorax = _ring_points(_THORAX_RINGS, thorax, thorax_origin, proportions)
    of_pelvis = _ring_points(_PELVIS_RINGS, pelvis, pelvis_origin, proportions)
    rings = np.concatenate([of_thorax, of_pelvis], axis=1)
    return Skeletons(joints, rings, head_centre, head_frame, thorax, proportions.girth)


def _swing(cosine: np.ndarray, sine: np.ndarray, sign: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions of a limb that hangs down at rest, of its flexion, and outward: orthonormal ``[P, 3]``.

    Cosine and sine are those of flexion and abduction, ``[P, 2]``.
    """
    (cos_flexion, cos_abduction), (sin_flexion, sin_abduction) = cosine.T, sine.T
    limb = (sign * sin_abduction, -cos_abduction * cos_flexion, cos_abduction * sin_flexion)
    forward = (np.zeros_like(sin_flexion), sin_flexion, cos_flexion)
    outward = (sign * cos_abduction, sin_abduction * cos_flexion, -sin_abduction * sin_flexion)
    return np.stack(limb, axis=1), np.stack(forward, axis=1), np.stack(outward, axis=1)


def _place_chain(
    joints: np.ndarray,
    frame: np.ndarray,
    position: np.ndarray,
    side: str,
    *chain: tuple[str, np.ndarray, np.ndarray | float],
) -> None:
    """Write the joints of one limb, each a step (direction in ``frame``, length) beyond the one before."""
    for name, direction, length in chain:
        position = position + (frame @ direction[:, :, None])[:, :, 0] * length
        joints[:, JOINT[f"{side}_{name}"]] = position


def _ring_points(
    rings: np.ndarray, frame: np.ndarray, origin: np.ndarray, proportions: Proportions
) -> np.ndarray:
    """Points around cross-sections of the trunk, ``[P, R, 8, 3]``."""
    local = np.empty((len(frame), len(rings), 8, 3))
    width = proportions.girth * proportions.shoulder / 0.122
    local[..., 0] = rings[None, :, 1, None] * _RING[None, None, :, 0] * width[:, None, None]
    local[..., 1] = rings[None, :, 0, None]
    local[..., 2] = rings[None, :, 2, None] * _RING[None, None, :, 1] * proportions.girth[:, None, None]
    return origin[:, None, None] + local @ frame[:, None].swapaxes(2, 3)
