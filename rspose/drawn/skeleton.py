"""An articulated 3D skeleton with joint limits, posed at random and seen from any side.

Frames: x to the person's own left, y up, z where the person faces. In the camera's frame x is right in the
image, y up and z towards the camera: a person at yaw 0 faces it, left shoulder at the right of the image.
Lengths are fractions of the standing height.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rspose.datasets.interface import mirrored

_JOINT_NAMES = (
    "pelvis", "thorax", "upper_neck", "head_top", "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "left_hand", "right_hand", "left_toe", "right_toe",
)  # fmt: skip
JOINT = {name: index for index, name in enumerate(_JOINT_NAMES)}
"""Index of each joint: those that the datasets annotate, and tips of hands and feet, only drawn."""


def joint_table(related: Mapping[str, str], columns: Mapping[str, int]) -> np.ndarray:
    """Which columns belong to each joint, bool ``[J, len(columns)]``; the left stands for both sides."""
    table = np.zeros((len(JOINT), len(columns)), dtype=bool)
    for joint, names in related.items():
        table[JOINT[joint], [columns[name] for name in names.split()]] = True
        table[JOINT[mirrored(joint)], [columns[mirrored(name)] for name in names.split()]] = True
    return table


def both(name: str) -> list[int]:
    """The left and the right joint of a name."""
    return [JOINT[f"left_{name}"], JOINT[f"right_{name}"]]


# Lowest and highest, mean and spread at rest, degrees. A flexed elbow brings the forearm forward of the
# straight arm, a flexed knee the shin backward of the straight leg; none bends the other way.
_TRUNK_ANGLES = {
    "spine_flexion": (-15, 60, 3, 6), "spine_side": (-25, 25, 0, 5), "spine_twist": (-35, 35, 0, 9),
    "head_yaw": (-65, 65, 0, 20), "head_pitch": (-35, 40, 4, 10), "head_roll": (-25, 25, 0, 7),
}  # fmt: skip
_LIMB_ANGLES = {
    "shoulder_flexion": (-45, 170, 5, 14), "shoulder_abduction": (-8, 88, 12, 8),
    "shoulder_rotation": (-60, 80, 12, 22), "elbow_flexion": (2, 145, 18, 16),
    "hip_flexion": (-25, 115, 1, 7), "hip_abduction": (-8, 45, 5, 4), "knee_flexion": (0, 140, 5, 6),
}  # fmt: skip
_ANGLES = _TRUNK_ANGLES | {f"{side}_{n}": a for side in ("left", "right") for n, a in _LIMB_ANGLES.items()}
ANGLE_NAMES = tuple(_ANGLES)
JOINT_LIMITS = np.array([angle[:2] for angle in _ANGLES.values()], dtype=np.float64)
"""Lowest and highest angle per entry of `ANGLE_NAMES`, degrees, ``[A, 2]``."""

# How often a kind of pose is drawn, and mean and spread of what is not at rest in it, on both sides or one.
_STANCES: tuple[tuple[float, dict[str, tuple[float, float]]], ...] = (
    (0.30, {}),  # standing
    (0.22, {  # walking
        "spine_flexion": (6, 5),
        "left_shoulder_flexion": (-22, 12), "right_shoulder_flexion": (28, 14),
        "left_elbow_flexion": (30, 18), "right_elbow_flexion": (38, 20),
        "left_hip_flexion": (26, 9), "right_hip_flexion": (-12, 7),
        "left_knee_flexion": (10, 8), "right_knee_flexion": (28, 16),
    }),
    (0.09, {  # running
        "spine_flexion": (14, 7),
        "left_shoulder_flexion": (-38, 10), "right_shoulder_flexion": (42, 16),
        "left_elbow_flexion": (85, 16), "right_elbow_flexion": (88, 16),
        "left_hip_flexion": (58, 16), "right_hip_flexion": (-14, 9),
        "left_knee_flexion": (55, 22), "right_knee_flexion": (78, 24),
    }),
    (0.09, {  # sitting
        "spine_flexion": (8, 10), "shoulder_flexion": (30, 20), "elbow_flexion": (55, 28),
        "hip_flexion": (84, 11), "hip_abduction": (9, 8), "knee_flexion": (84, 20),
    }),
    (0.04, {  # crouching
        "spine_flexion": (30, 12), "shoulder_flexion": (50, 25), "elbow_flexion": (50, 30),
        "hip_flexion": (95, 14), "hip_abduction": (14, 9), "knee_flexion": (112, 16),
    }),
    (0.08, {  # arms up
        "head_pitch": (-6, 12),
        "shoulder_flexion": (142, 24), "shoulder_abduction": (22, 14), "elbow_flexion": (38, 32),
    }),
    (0.13, {  # one arm gesturing
        "right_shoulder_flexion": (65, 32), "right_shoulder_abduction": (28, 20),
        "right_shoulder_rotation": (20, 35), "right_elbow_flexion": (75, 36),
    }),
    (0.05, {  # arms and legs spread
        "spine_side": (0, 9), "shoulder_abduction": (72, 15), "elbow_flexion": (25, 24),
        "hip_abduction": (22, 10), "knee_flexion": (14, 16),
    }),
    (0.04, {  # hands on the hips
        "shoulder_flexion": (-12, 6), "shoulder_abduction": (42, 7), "shoulder_rotation": (62, 10),
        "elbow_flexion": (92, 12),
    }),
    (0.03, {  # anyhow
        "spine_flexion": (14, 18), "spine_side": (0, 13), "spine_twist": (0, 18), "head_yaw": (0, 32),
        "shoulder_flexion": (55, 60), "shoulder_abduction": (35, 32), "shoulder_rotation": (10, 40),
        "elbow_flexion": (60, 45), "hip_flexion": (30, 38), "hip_abduction": (16, 15),
        "knee_flexion": (45, 42),
    }),
)  # fmt: skip
_STANCE_CUMULATED = np.cumsum([weight for weight, _ in _STANCES])
_STANCE_CUMULATED /= _STANCE_CUMULATED[-1]
# Mean and spread, degrees ``[stances, A, 2]``.
_STANCE_ANGLES = np.array(
    [
        [
            stance.get(name) or stance.get(name.partition("_")[2]) or rest
            for name, (_, _, *rest) in _ANGLES.items()
        ]
        for _, stance in _STANCES
    ],
    dtype=np.float64,
)


def sample_angles(rng: np.random.Generator, count: int) -> np.ndarray:
    """Angles of ``count`` random poses within the limits, degrees ``[count, A]`` as in `ANGLE_NAMES`."""
    stance = np.searchsorted(_STANCE_CUMULATED, rng.random(count))
    mean, spread = _STANCE_ANGLES[stance, :, 0], _STANCE_ANGLES[stance, :, 1]
    angles = mean + spread * rng.standard_normal((count, len(ANGLE_NAMES)))
    # Half of the people take the mirrored stance, or a right-handed world would give the sides away.
    swapped = rng.random(count) < 0.5
    trunk = len(_TRUNK_ANGLES)
    limbs = angles[:, trunk:].reshape(count, 2, -1)
    angles[:, trunk:] = np.where(swapped[:, None, None], limbs[:, ::-1], limbs).reshape(count, -1)
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


# Half axes of the head, an ellipsoid, for a head measure of 1.
_HEAD_AXES = np.array([0.061, 0.081, 0.071])

HEAD_POINTS = {
    "head_top": (0.0, 1.0, 0.0),
    "nose": (0.0, 1.13 * -0.14, 1.13 * 0.99),
    "left_eye": (0.36, 0.16, 0.92), "right_eye": (-0.36, 0.16, 0.92),
    "left_ear": (0.995, -0.02, -0.1), "right_ear": (-0.995, -0.02, -0.1),
}  # fmt: skip
"""Joints of the head, relative to the unit sphere behind the ellipsoid."""

# Cross-sections of the trunk, three of the thorax, two of the pelvis: height above the frame's origin, half
# width, half depth.
_RINGS = np.array(
    [
        [0.0, 0.088, 0.040], [-0.075, 0.104, 0.066], [-0.17, 0.086, 0.058],
        [0.09, 0.083, 0.056], [-0.015, 0.094, 0.066],
    ]
)  # fmt: skip
_AROUND = np.arange(8) * (np.pi / 4)
SIDE_SIGN = np.array([[1.0], [-1.0]])
"""Of x on the left and on the right side."""


@dataclass(frozen=True)
class Skeletons:
    """``P`` posed people in the camera's frame (x right, y up, z near), fractions of standing height."""

    joints: np.ndarray  # [P, J, 3]
    rings: np.ndarray  # cross-sections of the trunk from the shoulders down, [P, 5, 8, 3]
    head_centre: np.ndarray  # [P, 3]
    head_frame: np.ndarray  # axes times half lengths, [P, 3, 3]: maps the unit sphere to the head's surface
    thorax_frame: np.ndarray  # orientation of the chest, [P, 3, 3]
    girth: np.ndarray  # how stout, [P]

    @property
    def head_view(self) -> np.ndarray:
        """The point of the head's unit sphere that looks straight at the camera, ``[P, 3]``."""
        towards = np.linalg.inv(self.head_frame)[:, :, 2]
        return towards / np.sqrt((towards**2).sum(1, keepdims=True))


def _rotations(axis: int, degrees: np.ndarray) -> np.ndarray:
    """Rotation matrices ``[P, 3, 3]`` about the x (0), y (1) or z (2) axis."""
    radians = np.deg2rad(degrees)
    cosine, sine, zero = np.cos(radians), np.sin(radians), np.zeros_like(radians)
    about_x = [zero + 1, zero, zero, zero, cosine, -sine, zero, sine, cosine]
    return np.roll(np.stack(about_x, axis=1).reshape(-1, 3, 3), axis, axis=(1, 2))


def pose_skeletons(angles: np.ndarray, views: np.ndarray, proportions: Proportions) -> Skeletons:
    """Forward kinematics: from joint angles to joints in the camera's frame, the pelvis at the origin.

    Angles are degrees ``[P, A]``, in the order of `ANGLE_NAMES`, views yaw, roll and camera pitch ``[P, 3]``.
    """
    count = len(angles)
    joints = np.zeros((count, len(JOINT), 3))
    pelvis = _rotations(0, views[:, 2]) @ _rotations(2, views[:, 1]) @ _rotations(1, views[:, 0])
    thorax = pelvis @ _rotations(0, angles[:, 0]) @ _rotations(2, angles[:, 1]) @ _rotations(1, angles[:, 2])
    head = thorax @ _rotations(1, angles[:, 3]) @ _rotations(0, angles[:, 4]) @ _rotations(2, angles[:, 5])

    thorax_origin = pelvis @ np.array([0.0, 0.11, 0.0]) + thorax @ np.array([0.0, 0.18, 0.0])
    pelvis_origin = np.zeros((count, 3))
    upper_neck = thorax_origin + thorax @ np.array([0.0, 0.042, 0.006])
    joints[:, JOINT["thorax"]], joints[:, JOINT["upper_neck"]] = thorax_origin, upper_neck
    head_frame = head * (_HEAD_AXES * proportions.head[:, None])[:, None, :]
    head_centre = upper_neck + head_frame @ np.array([0.0, 0.80, 0.18])
    for name, point in HEAD_POINTS.items():
        joints[:, JOINT[name]] = head_centre + head_frame @ np.array(point)

    # Arms and legs, ``[P, 2, 3]``: the left, then the right one.
    radians = np.deg2rad(angles[:, len(_TRUNK_ANGLES) :].reshape(count, 2, -1, 1))
    flexion, abduction, rotation, elbow, hip_flexion, hip_abduction, knee = np.moveaxis(radians, 2, 0)
    upper, swing, outward = _swing(flexion, abduction)
    # Rotating the upper arm about itself turns the plane in which the elbow bends, inward if positive.
    bend = np.cos(rotation) * swing - np.sin(rotation) * outward
    fore = np.cos(elbow) * upper + np.sin(elbow) * bend
    thigh, swing, _ = _swing(hip_flexion, hip_abduction)
    shin = np.cos(knee) * thigh - np.sin(knee) * swing
    foot = np.sin(knee) * thigh + np.cos(knee) * swing
    shoulder = proportions.shoulder[:, None, None] * SIDE_SIGN * (1, 0, 0) + np.array((0, -0.012, 0))
    hip = proportions.hip[:, None, None] * SIDE_SIGN * (1, 0, 0) + np.array((0, -0.02, 0))
    arm, leg = proportions.arm[:, None, None], proportions.leg[:, None, None]
    # Each joint lies a step, direction times length, beyond the one before.
    for frame, position, chain in (
        (thorax, thorax_origin, (
            ("shoulder", shoulder, 1.0), ("elbow", upper, 0.168 * arm), ("wrist", fore, 0.150 * arm),
            ("hand", fore, 0.056 * arm),
        )),
        (pelvis, pelvis_origin, (
            ("hip", hip, 1.0), ("knee", thigh, 0.245 * leg), ("ankle", shin, 0.235 * leg),
            ("toe", 0.92 * foot + 0.39 * shin, 0.085 * leg),
        )),
    ):  # fmt: skip
        reached = position[:, None]
        for name, direction, length in chain:
            reached = reached + (frame[:, None] @ direction[..., None])[..., 0] * length
            joints[:, both(name)] = reached

    girth = proportions.girth[:, None, None]
    across = _RINGS[:, 1, None] * np.cos(_AROUND) * (girth * proportions.shoulder[:, None, None] / 0.122)
    forward = _RINGS[:, 2, None] * np.sin(_AROUND) * girth
    local = np.stack(np.broadcast_arrays(across, _RINGS[:, :1], forward), axis=-1)
    frames = np.stack([thorax] * 3 + [pelvis] * 2, axis=1)
    origins = np.stack([thorax_origin] * 3 + [pelvis_origin] * 2, axis=1)
    rings = origins[:, :, None] + local @ frames.swapaxes(2, 3)
    return Skeletons(joints, rings, head_centre, head_frame, thorax, proportions.girth)


def sample_skeletons(rng: np.random.Generator, count: int) -> Skeletons:
    """Random people."""
    return pose_skeletons(sample_angles(rng, count), sample_views(rng, count), sample_proportions(rng, count))


def _swing(flexion: np.ndarray, abduction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Directions of a limb that hangs down at rest, of its flexion, and outward, unit ``[P, 2, 3]``."""
    cos_flexion, sin_flexion = np.cos(flexion), np.sin(flexion)
    cos_abduction, sin_abduction = np.cos(abduction), np.sin(abduction)
    limb = (SIDE_SIGN * sin_abduction, -cos_abduction * cos_flexion, cos_abduction * sin_flexion)
    forward = (np.zeros_like(sin_flexion), sin_flexion, cos_flexion)
    outward = (SIDE_SIGN * cos_abduction, sin_abduction * cos_flexion, -sin_abduction * sin_flexion)
    return np.concatenate(limb, -1), np.concatenate(forward, -1), np.concatenate(outward, -1)
