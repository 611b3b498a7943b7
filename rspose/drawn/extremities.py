"""Faces, hands and feet in detail: the 116 keypoints that COCO-WholeBody has beyond COCO's, in its order.

Frames and lengths are those of :mod:`rspose.drawn.skeleton`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rspose.datasets.interface import mirrored
from rspose.datasets.wholebody import FACE_NAMES, FOOT_NAMES, HAND_NAMES
from rspose.drawn.appearance import Appearance
from rspose.drawn.canvas import DARK, SUBPIXEL, Brush, fixed, hull, thickness
from rspose.drawn.skeleton import SIDE_SIGN, Skeletons, both

EXTREMITY_NAMES = (*FOOT_NAMES, *FACE_NAMES, *HAND_NAMES)
FEET, FACE = slice(0, 6), slice(6, 74)
HANDS = {"left": slice(74, 95), "right": slice(95, 116)}

# Toes and heel from the ankle: along the foot, towards the sole, towards the other foot.
_FOOT = np.array([(0.112, 0.024, 0.021), (0.090, 0.024, -0.026), (-0.032, 0.032, 0.0)])
_FOOT_RADII = np.array([0.026, 0.0165, 0.0145, 0.021])[:, None, None]  # of the ankle and those

_HAND_LENGTH = 0.118
# Of a flat hand, in lengths of the hand from the wrist: along it, and across it towards the thumb.
_KNUCKLES = np.array([(0.20, 0.20), (0.50, 0.21), (0.53, 0.06), (0.49, -0.09), (0.43, -0.23)])
_FINGER_LENGTHS = np.array([0.50, 0.42, 0.47, 0.43, 0.34])
_PHALANGES = np.array([0.42, 0.32, 0.26])
_FAN = np.deg2rad([42.0, 10.0, 1.0, -8.0, -19.0])
_FINGER_RADIUS = 0.0088


@dataclass(frozen=True)
class Gestures:
    """What hands and faces of ``P`` people do."""

    roll: np.ndarray  # of each hand inwards, from a thumb that points forward or up, radians [P, 2]
    curl: np.ndarray  # bend of each finger at each of its joints, radians [P, 2, 5]
    fan: np.ndarray  # factor on the angles between the fingers, [P, 2]
    mouth: np.ndarray  # how far it is open, 0..1, [P]
    eyes: np.ndarray  # likewise


def sample_gestures(rng: np.random.Generator, count: int) -> Gestures:
    """Gestures of ``count`` people: most hands are open or relaxed, a few are fists."""
    kind = rng.random((count, 2, 1))
    low = np.where(kind < 0.6, 2.0, np.where(kind < 0.9, 14.0, 50.0))
    high = np.where(kind < 0.6, 16.0, np.where(kind < 0.9, 38.0, 75.0))
    hand = low + (high - low) * rng.random((count, 2, 1))
    curl = np.clip(hand + 5 * rng.standard_normal((count, 2, 5)), 0, 85)
    return Gestures(
        roll=np.deg2rad(15 + 40 * np.clip(rng.standard_normal((count, 2)), -2, 2)),
        curl=np.deg2rad(curl),
        fan=rng.uniform(0.6, 1.7, (count, 2)),
        mouth=np.clip(rng.uniform(-0.6, 1.0, count), 0.0, 1.0),
        eyes=rng.uniform(0.6, 1.0, count),
    )


# The points of the face, as in the 300-W annotation.
_JAW, _BROWS, _EYES = slice(0, 17), (slice(17, 22), slice(22, 27)), (slice(36, 42), slice(42, 48))
_NOSE, _NOSTRILS, _LIPS, _INNER_LIPS = slice(27, 31), slice(31, 36), slice(48, 60), slice(60, 68)

JAW_DEGREES = 66.0
"""Half the angle of the cone from the centre of the head that cuts out the face."""

# On the midline and on the left, with mouth and eyes wide open, relative to the head's unit sphere, on which
# those without depth lie.
_HALF_FACE: dict[str, tuple[float, ...]] = {
    "nose_bridge_0": (0.0, 0.18, 0.985), "nose_bridge_1": (0.0, 0.06, 1.03),
    "nose_bridge_2": (0.0, -0.05, 1.08), "nose_bridge_3": (0.0, -0.158, 1.12),
    "nose_base": (0.0, -0.27, 1.02),
    "left_nostril_0": (0.17, -0.22, 0.97), "left_nostril_1": (0.09, -0.26, 1.0),
    "left_brow_0": (0.68, 0.32), "left_brow_1": (0.56, 0.42), "left_brow_2": (0.42, 0.44),
    "left_brow_3": (0.27, 0.42), "left_brow_4": (0.14, 0.36),
    "left_eye_inner": (0.17, 0.12), "left_eye_outer": (0.57, 0.15),
    "left_eye_top_inner": (0.28, 0.25), "left_eye_top_outer": (0.45, 0.25),
    "left_eye_bottom_inner": (0.28, 0.05), "left_eye_bottom_outer": (0.45, 0.06),
    "upper_lip": (0.0, -0.42), "left_upper_lip_1": (0.10, -0.40), "left_upper_lip_0": (0.25, -0.45),
    "lower_lip": (0.0, -0.72), "left_lower_lip_1": (0.13, -0.71), "left_lower_lip_0": (0.26, -0.65),
    "inner_upper_lip": (0.0, -0.48), "left_inner_upper_lip": (0.15, -0.48),
    "inner_lower_lip": (0.0, -0.64), "left_inner_lower_lip": (0.15, -0.63),
    "left_mouth": (0.38, -0.53), "left_inner_mouth": (0.31, -0.53),
}  # fmt: skip


def _jaw() -> np.ndarray:
    """Along the edge of the face that is painted, from ear to ear below the chin, ``[17, 3]``."""
    axis = np.array((0.0, -0.22, 0.97)) / np.hypot(0.22, 0.97)
    down = np.array((0.0, -axis[2], axis[1]))
    around = np.deg2rad(13.0 * np.arange(-8, 9))[:, None]
    ring = np.cos(around) * down + np.sin(around) * np.array((1.0, 0.0, 0.0))
    radius = np.deg2rad(JAW_DEGREES)
    return np.cos(radius) * axis + np.sin(radius) * ring


def _face_point(name: str) -> np.ndarray:
    if name.startswith("right_"):
        return _face_point(mirrored(name)) * (-1, 1, 1)
    x, y, *depth = _HALF_FACE[name]
    return np.array((x, y, *(depth or [np.sqrt(1 - x * x - y * y)])))


_FACE_POINTS = np.concatenate([_jaw(), [_face_point(name) for name in FACE_NAMES[_JAW.stop :]]])
_FACE_DIRECTIONS = _FACE_POINTS / np.linalg.norm(_FACE_POINTS, axis=1, keepdims=True)
_LOWER_LIPS = ["lower_lip" in name for name in FACE_NAMES]
_LINE_OF_EYES = 0.13
_LINE_OF_MOUTH = -0.55


def _face_on_sphere(gestures: Gestures) -> np.ndarray:
    """The face's points relative to the head's unit sphere, ``[P, 68, 3]``."""
    points = np.repeat(_FACE_POINTS[None], len(gestures.mouth), axis=0)
    y = points[:, :, 1]
    eyes = slice(_EYES[0].start, _EYES[1].stop)
    y[:, eyes] = _LINE_OF_EYES + gestures.eyes[:, None] * (y[:, eyes] - _LINE_OF_EYES)
    # A closed mouth keeps the thickness of its lips.
    opening = 0.35 + 0.65 * gestures.mouth[:, None]
    y[:, _LOWER_LIPS] = _LINE_OF_MOUTH + opening * (y[:, _LOWER_LIPS] - _LINE_OF_MOUTH)
    return points


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def foot_points(skeletons: Skeletons) -> np.ndarray:
    """Big toe, small toe and heel of the left, then of the right foot, ``[P, 6, 3]``."""
    knee, ankle, toe = (skeletons.joints[:, both(name)] for name in ("knee", "ankle", "toe"))
    along, shin = _unit(toe - ankle), _unit(ankle - knee)
    down = _unit(shin - (shin * along).sum(-1, keepdims=True) * along)
    inward = -SIDE_SIGN * np.cross(along, down)
    axes = np.stack([along, down, inward], axis=2)
    return (ankle[:, :, None] + _FOOT @ axes).reshape(-1, 6, 3)


def hand_axes(skeletons: Skeletons, gestures: Gestures) -> np.ndarray:
    """Unit vectors along each hand, across it towards the thumb, and out of the palm, ``[P, 2, 3, 3]``."""
    shoulder, elbow, wrist = (skeletons.joints[:, both(name)] for name in ("shoulder", "elbow", "wrist"))
    upper, fore = _unit(elbow - shoulder), _unit(wrist - elbow)
    # In the plane of the arm: forward where it hangs, up where the elbow is bent. An elbow is never straight.
    thumb = _unit((fore * upper).sum(-1, keepdims=True) * fore - upper)
    side_of_plane = np.cross(fore, thumb)
    roll = gestures.roll[..., None]
    thumb = np.cos(roll) * thumb + np.sin(roll) * SIDE_SIGN * side_of_plane
    return np.stack([fore, thumb, SIDE_SIGN * np.cross(fore, thumb)], axis=2)


def hand_points(skeletons: Skeletons, gestures: Gestures) -> np.ndarray:
    """The root of each hand and four points of each finger from knuckle to tip, ``[P, 2, 21, 3]``."""
    fan = _FAN * gestures.fan[..., None]
    fan[..., 0] = _FAN[0] * (0.7 + 0.3 * gestures.fan)
    around = fan[..., None]
    # The thumb bends half as far.
    bend = gestures.curl * (0.5, 1, 1, 1, 1)
    angle = bend[..., None] * (1, 2, 3)
    towards = (np.cos(angle) * np.cos(around), np.cos(angle) * np.sin(around), np.sin(angle))
    fingers = np.zeros((*fan.shape, 4, 3))
    fingers[..., 0, :2] = _KNUCKLES
    fingers[..., 1:, :] = np.stack(towards, axis=-1) * np.outer(_FINGER_LENGTHS, _PHALANGES)[..., None]
    local = np.zeros((*fan.shape[:2], 21, 3))
    local[:, :, 1:] = fingers.cumsum(axis=3).reshape(*fan.shape[:2], 20, 3)
    wrist = skeletons.joints[:, both("wrist")]
    return wrist[:, :, None] + _HAND_LENGTH * local @ hand_axes(skeletons, gestures)


_CIRCLE = np.stack([np.cos(np.arange(10) * np.pi / 5), np.sin(np.arange(10) * np.pi / 5)], axis=1)


def _radius(fraction: float, scale: float) -> int:
    return max(round(fraction * scale * SUBPIXEL), round(0.75 * SUBPIXEL))


@dataclass(frozen=True)
class Extremities:
    """Face, hands and feet of a person on a canvas."""

    points: np.ndarray  # canvas pixels in the order of EXTREMITY_NAMES, [116, 2]
    facing: np.ndarray  # how much each point of the face turns to the camera, -1..1, [68]
    finger_depth: np.ndarray  # mean depth of palm and fingers of both hands towards the camera, [2, 6]
    palm: np.ndarray  # how much each palm faces the camera, -1..1, [2]

    def paint_hand(self, brush: Brush, side: int, look: Appearance, scale: float) -> None:
        """Paint the left (0) or right (1) hand, palm and fingers from the farthest to the nearest."""
        hand = fixed(self.points[FACE.stop :].reshape(2, 21, 2)[side])
        # The palm is lighter than the back of the hand.
        shade = 1.06 if self.palm[side] > 0 else 0.94
        rim, width = thickness(0.004 * scale), thickness(2 * _FINGER_RADIUS * scale)
        palm = hull(hand[[0, 1, 5, 9, 13, 17]])
        for part in np.argsort(self.finger_depth[side], kind="stable").tolist():
            if part == 0:
                brush.line(palm, look.skin, 0.55, width // 2 + 2 * rim, closed=True)
                brush.fill(palm, look.skin, shade)
                brush.line(palm, look.skin, shade, max(width // 2, 1), closed=True)
                continue
            finger = hand[4 * part - 3 : 4 * part + 1]
            brush.line(finger, look.skin, 0.55, width + 2 * rim)
            # Neighbouring fingers differ in shade, or a closed hand would be one patch.
            brush.line(finger, look.skin, shade * (1.0 if part % 2 else 0.88), width)
            brush.disc(finger[3], _radius(0.006, scale), look.skin, 1.25 if shade < 1 else 0.8)

    def paint_foot(self, brush: Brush, side: int, ankle: np.ndarray, look: Appearance, scale: float) -> None:
        """Paint the left (0) or right (1) shoe: a dark sole, lit leather, and a cap over the toes."""
        points = self.points[FEET].reshape(2, 3, 2)[side]
        centres = np.stack([ankle, *points])[:, None]
        radii = _FOOT_RADII * scale
        brush.fill(hull(*fixed(centres + radii * _CIRCLE)), look.shoes, DARK)
        brush.fill(hull(*fixed(centres + 0.72 * radii * _CIRCLE)), look.shoes)
        brush.fill(hull(*fixed(centres + 0.85 * radii * _CIRCLE)[1:3]), look.accent)
        brush.disc(fixed(points[2]), _radius(0.012, scale), look.accent, 0.6)

    def paint_face(self, brush: Brush, look: Appearance, scale: float) -> None:
        """Paint jaw, brows, eyes, nose and lips over a face whose skin is there already."""
        exact, facing = self.points[FACE], self.facing
        points = fixed(exact)
        thin, line = thickness(0.0045 * scale), thickness(0.007 * scale)

        def shown(rows: slice) -> bool:
            return bool(facing[rows].mean() > 0.05)

        jaw = points[_JAW][facing[_JAW] > -0.15]
        if len(jaw) > 1:
            brush.line(jaw, look.skin, 0.7, thin)
        for brow, eye in zip(_BROWS, _EYES, strict=True):
            if shown(brow):
                brush.line(points[brow], look.hair_colour, 0.6, line)
            if shown(eye):
                iris = fixed(exact[eye].mean(axis=0))
                brush.fill_any(points[eye], (246, 246, 246))
                brush.disc(iris, _radius(0.0085, scale), (36, 30, 26))
                brush.line(points[eye], (40, 36, 40), 1.0, thin, closed=True)
                if look.headwear == "glasses":
                    brush.disc(iris, _radius(0.026, scale), (40, 36, 34), width=thin)
        if shown(_LIPS):
            brush.fill_any(points[_LIPS], look.skin * (0.60, 0.50, 0.88))
            brush.fill_any(points[_INNER_LIPS], (40, 26, 60))
        if facing[_NOSE.stop - 1] > -0.25:
            brush.line(points[_NOSE], look.skin, 0.78, line)
            if shown(_NOSTRILS):
                brush.line(points[_NOSTRILS], look.skin, 0.6, line)


def lay_out_extremities(
    skeletons: Skeletons,
    gestures: Gestures,
    project: Callable[[np.ndarray], np.ndarray],
    on_head: Callable[[np.ndarray], np.ndarray],
) -> list[Extremities]:
    """Place them on a canvas, to which points of the camera's frame and of the head's sphere come."""
    hands = hand_points(skeletons, gestures)
    feet, face = project(foot_points(skeletons)), on_head(_face_on_sphere(gestures))
    points = np.concatenate([feet, face, project(hands.reshape(-1, 42, 3))], axis=1)
    facing = skeletons.head_view @ _FACE_DIRECTIONS.T
    of_palm = hands[:, :, [0, 1, 5, 9, 13, 17], 2].mean(-1, keepdims=True)
    of_fingers = hands[:, :, 1:, 2].reshape(-1, 2, 5, 4).mean(-1)
    depth = np.concatenate([of_palm, of_fingers], axis=2)
    palm = hand_axes(skeletons, gestures)[:, :, 2, 2]
    return [Extremities(*of_person) for of_person in zip(points, facing, depth, palm, strict=True)]
