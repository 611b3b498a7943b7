"""Draws posed skeletons as clothed people, with the body part of every pixel.

The canvas has four channels: blue, green, red and a label. Each polygon is filled once, and writes colour and
label together, so labels are true to what is seen. A label is ``16 * person + part``; part 0 is no person.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from rspose.drawn.appearance import Appearance
from rspose.drawn.canvas import DARK, SHIFT, SUBPIXEL, fixed, ink
from rspose.drawn.extremities import (
    JAW_DEGREES,
    Extremities,
    Gestures,
    face_facing,
    face_on_sphere,
    finger_depths,
    hand_and_foot_points,
    paint_face,
    paint_foot,
    paint_hand,
    palm_normal,
)
from rspose.drawn.skeleton import JOINT, Skeletons

PART_NAMES = (
    "background", "face", "head_back", "torso",
    "left_upper_arm", "right_upper_arm", "left_forearm", "right_forearm",
    "left_thigh", "right_thigh", "left_shin", "right_shin", "left_foot", "right_foot",
)  # fmt: skip
"""Name of each part label. Hands belong to the forearm, neck, skirt and backpack to the torso, hats to the
back of the head."""

PART = {name: index for index, name in enumerate(PART_NAMES)}

PART_FLIP = tuple(
    PART[name.replace("left_", "right_") if name.startswith("left_") else name.replace("right_", "left_")]
    for name in PART_NAMES
)
"""For each part label the label of its mirror image."""

LABELS_PER_PERSON = 16
MAX_PEOPLE = 15
"""People that the labels of one canvas can tell apart."""

_PERSPECTIVE = 0.12
_OUTLINE = 0.0075
_SKIRT_FLARE = 0.075

# part, from joint, to joint, radius there, radius here (fractions of standing height)
_LIMBS = (
    ("left_upper_arm", "left_shoulder", "left_elbow", 0.035, 0.027),
    ("right_upper_arm", "right_shoulder", "right_elbow", 0.035, 0.027),
    ("left_forearm", "left_elbow", "left_wrist", 0.027, 0.020),
    ("right_forearm", "right_elbow", "right_wrist", 0.027, 0.020),
    ("left_forearm", "left_wrist", "left_hand", 0.021, 0.020),
    ("right_forearm", "right_wrist", "right_hand", 0.021, 0.020),
    ("left_thigh", "left_hip", "left_knee", 0.055, 0.038),
    ("right_thigh", "right_hip", "right_knee", 0.055, 0.038),
    ("left_shin", "left_knee", "left_ankle", 0.039, 0.024),
    ("right_shin", "right_knee", "right_ankle", 0.039, 0.024),
    ("left_foot", "left_ankle", "left_toe", 0.027, 0.020),
    ("right_foot", "right_ankle", "right_toe", 0.027, 0.020),
    ("torso", "thorax", "upper_neck", 0.040, 0.036),
)
_LIMB_PART = np.array([PART[limb[0]] for limb in _LIMBS])
_LIMB_FROM = np.array([JOINT[limb[1]] for limb in _LIMBS])
_LIMB_TO = np.array([JOINT[limb[2]] for limb in _LIMBS])
_LIMB_RADII = np.array([limb[3:] for limb in _LIMBS])
_NECK = len(_LIMBS) - 1
_HANDS, _FEET = (4, 5), (10, 11)
# Who is drawn first where depths are equal: legs under the shirt, arms and neck over it.
_LIMB_BIAS = np.array([0.02] * 6 + [-0.06] * 6 + [-0.03])
_CLOTH_THICKNESS = 1.16

_CAPSULE = np.linspace(-np.pi / 2, np.pi / 2, 6)
_CIRCLE = np.linspace(0, 2 * np.pi, 17)[:-1]


def _sphere_ring(
    direction: tuple[float, float, float], radius_degrees: float, points: int = 12
) -> np.ndarray:
    """Points on the unit sphere at an angle around a direction, ``[points, 3]``."""
    axis = np.array(direction) / np.linalg.norm(direction)
    first = np.cross(axis, [1.0, 0.0, 0.0])
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    around = np.linspace(0, 2 * np.pi, points + 1)[:-1, None]
    radius = np.deg2rad(radius_degrees)
    return np.cos(radius) * axis + np.sin(radius) * (np.cos(around) * first + np.sin(around) * second)


_FACE_RING = _sphere_ring((0.0, -0.22, 0.97), JAW_DEGREES)
_CAP_RING = _sphere_ring((0.0, 1.0, -0.12), 68)
_BRIM = np.array([[-0.85, 0.42, 0.75], [-0.6, 0.40, 1.45], [0.6, 0.40, 1.45], [0.85, 0.42, 0.75]])
# Points of the face on the head's sphere: bridge and tip of the nose, eyes, brows, mouth corners, ears.
_FEATURES = np.array(
    [
        (0.0, 0.14, 0.99), (0.0, -0.158, 1.12),
        (0.36, 0.16, 0.92), (-0.36, 0.16, 0.92),
        (0.20, 0.40, 0.89), (0.54, 0.36, 0.76), (-0.20, 0.40, 0.89), (-0.54, 0.36, 0.76),
        (0.27, -0.55, 0.79), (-0.27, -0.55, 0.79),
        (0.995, -0.02, -0.1), (-0.995, -0.02, -0.1),
    ]
)  # fmt: skip
_NOSE_BRIDGE, _NOSE_TIP, _LEFT_EYE, _RIGHT_EYE, _BROWS, _MOUTH, _LEFT_EAR, _RIGHT_EAR = (
    0,
    1,
    2,
    3,
    4,
    8,
    10,
    11,
)

FACE_FEATURES = {
    "nose": _NOSE_TIP, "left_eye": _LEFT_EYE, "right_eye": _RIGHT_EYE,
    "left_ear": _LEFT_EAR, "right_ear": _RIGHT_EAR,
}  # fmt: skip
"""Column of `Figures.head_facing` for each keypoint of the face."""

# Points on the trunk's front (1) or back (-1): x as a fraction of the half width, y along the rings, side.
_TRUNK_MARKS = np.array(
    [
        (0.0, 0.02, 1), (0.0, 0.98, 1),  # front edge
        (-0.42, 0.02, 1), (0.42, 0.02, 1), (0.0, 0.28, 1),  # collar
        (0.48, 0.33, 1),  # badge
        (-0.5, 0.36, 1), (0.5, 0.36, 1), (0.5, 0.62, 1), (-0.5, 0.62, 1),  # print
        (-0.95, 0.02, -1), (0.95, 0.02, -1), (0.9, 0.25, -1), (-0.9, 0.25, -1),  # yoke
        (-0.24, 0.0, 1), (0.24, 0.0, 1), (0.16, 0.98, 1), (-0.16, 0.98, 1),  # open jacket
    ]
)  # fmt: skip
_BACKPACK = np.array([(x, y, z) for x in (-0.072, 0.072) for y in (-0.02, -0.2) for z in (-0.055, -0.125)])
_STRAPS = np.array(
    [[(s * 0.062, 0.012, 0.035), (s * 0.068, -0.1, 0.066), (s * 0.08, -0.19, 0.03)] for s in (-1, 1)]
)


@dataclass(frozen=True)
class Figures:
    """Geometry of ``P`` people on a canvas, ready to paint. Polygons are in fixed-point canvas pixels.

    Attributes:
        joints: Canvas pixels, float ``[P, J, 2]``.
        depth: Of the joints, towards the camera, fractions of standing height, ``[P, J]``.
        scale: Canvas pixels per standing height, ``[P]``.
        head_facing: Of each feature of the face, how much it turns to the camera, -1..1, ``[P, F]``.
        head_box: Bounds of the head, canvas pixels (x0, y0, x1, y1), ``[P, 4]``.
        region: Bounds of all that is painted, canvas pixels (x0, y0, x1, y1), int ``[P, 4]``.
        extremities: Faces, hands and feet in detail, or None for plain ones.
    """

    joints: np.ndarray
    depth: np.ndarray
    scale: np.ndarray
    head_facing: np.ndarray
    head_box: np.ndarray
    region: np.ndarray
    appearances: list[Appearance]
    light: np.ndarray
    limbs: np.ndarray
    limb_shade: np.ndarray
    limb_order: np.ndarray
    torso: np.ndarray
    torso_lit: np.ndarray
    torso_marks: np.ndarray
    torso_depth: np.ndarray
    chest_facing: np.ndarray
    backpack: np.ndarray
    straps: np.ndarray
    head: np.ndarray
    face: np.ndarray
    face_seen: np.ndarray
    cap: np.ndarray
    cap_seen: np.ndarray
    brim: np.ndarray
    features: np.ndarray
    long_hair: np.ndarray
    head_depth: np.ndarray
    extremities: Extremities | None


def _capsules(
    start: np.ndarray, end: np.ndarray, start_radius: np.ndarray, end_radius: np.ndarray
) -> np.ndarray:
    """Outlines of two circles joined, ``[..., 12, 2]``, from points ``[..., 2]`` and radii ``[...]``."""
    along = end - start
    angle = np.arctan2(along[..., 1], along[..., 0])[..., None] + _CAPSULE
    half = angle.shape[-1]
    outline = np.empty((*angle.shape[:-1], 2 * half, 2))
    for axis, unit in enumerate((np.cos(angle), np.sin(angle))):
        outline[..., :half, axis] = end[..., axis, None] + end_radius[..., None] * unit
        outline[..., half:, axis] = start[..., axis, None] - start_radius[..., None] * unit
    return outline


def lay_out(
    skeletons: Skeletons,
    appearances: list[Appearance],
    scale: np.ndarray,
    origin: np.ndarray,
    light: np.ndarray,
    gestures: Gestures | None = None,
) -> Figures:
    """Place people on the canvas.

    Args:
        skeletons: The posed people.
        appearances: Their looks.
        scale: Canvas pixels per standing height, ``[P]``.
        origin: Canvas position of each pelvis, ``[P, 2]``.
        light: Direction on the canvas that the light comes from, unit ``[2]``.
        gestures: What hands and faces do, to draw them and the feet in detail; None draws them plain.
    """
    count = len(scale)
    marks = _trunk_marks(skeletons)
    hair_ends = np.empty((count, 2, 3))
    hair_ends[:, 0] = skeletons.head_centre + skeletons.head_frame @ np.array([0.0, 0.1, -0.35])
    hair_ends[:, 1] = skeletons.joints[:, JOINT["thorax"]] + skeletons.thorax_frame @ np.array(
        [0.0, -0.07, -0.06]
    )
    points = np.concatenate(
        [
            skeletons.joints,
            skeletons.rings.reshape(count, -1, 3),
            marks,
            _in_thorax(skeletons, _BACKPACK),
            _in_thorax(skeletons, _STRAPS.reshape(-1, 3)),
            hair_ends,
            skeletons.head_centre[:, None],
        ],
        axis=1,
    )

    def project(points: np.ndarray) -> np.ndarray:
        """Points of the camera's frame ``[P, N, 3]`` to canvas pixels ``[P, N, 2]``."""
        flat = np.empty((count, points.shape[1], 2))
        size = scale[:, None] * (1 + _PERSPECTIVE * points[..., 2])
        flat[..., 0] = origin[:, :1] + size * points[..., 0]
        flat[..., 1] = origin[:, 1:] - size * points[..., 1]
        return flat

    flat = project(points)
    joint_count, ring_shape = skeletons.joints.shape[1], skeletons.rings.shape[1:3]
    bounds = np.cumsum(
        [joint_count, ring_shape[0] * ring_shape[1], marks.shape[1], len(_BACKPACK), _STRAPS.size // 3, 2]
    )
    joints, rings, marks, backpack, straps, hair_ends, head_origin = np.split(flat, bounds, axis=1)
    rings = rings.reshape(count, *ring_shape, 2)

    depth = skeletons.joints[..., 2]
    torso_depth = 0.5 * (depth[:, JOINT["pelvis"]] + depth[:, JOINT["thorax"]])

    # Limbs: bare (0) or covered (1), outline (0) or lit inside (1).
    limb_depth = 0.5 * (depth[:, _LIMB_FROM] + depth[:, _LIMB_TO])
    size = scale[:, None] * (1 + _PERSPECTIVE * limb_depth)
    radii = _LIMB_RADII[None] * (size * skeletons.girth[:, None])[..., None]
    cover = np.array([_cover_fractions(look) for look in appearances])
    start, full_end = joints[:, _LIMB_FROM], joints[:, _LIMB_TO]
    cover_end = start + (full_end - start) * cover[..., None]
    cover_radius = radii[..., 0] + (radii[..., 1] - radii[..., 0]) * cover
    ends = np.stack([full_end, full_end, cover_end, cover_end], axis=2)
    starts = np.repeat(start[:, :, None], 4, axis=2)
    outline = _OUTLINE * size
    offset = (outline[..., None] * 0.45)[:, :, None] * light
    starts[:, :, 1::2] += offset
    ends[:, :, 1::2] += offset
    start_radius = np.stack(
        [
            radii[..., 0],
            radii[..., 0] - outline,
            radii[..., 0] * _CLOTH_THICKNESS,
            radii[..., 0] * _CLOTH_THICKNESS - outline,
        ],
        axis=2,
    )
    end_radius = np.stack(
        [
            radii[..., 1],
            radii[..., 1] - outline,
            cover_radius * _CLOTH_THICKNESS,
            cover_radius * _CLOTH_THICKNESS - outline,
        ],
        axis=2,
    )
    limbs = _capsules(starts, ends, start_radius, end_radius)
    # What lies deeper gets less light: a hint of which limb is the far one.
    limb_shade = np.clip(0.97 + 1.0 * (limb_depth - torso_depth[:, None]), 0.74, 1.06)

    ring_centre = rings.mean(axis=2, keepdims=True)
    lit = ring_centre + 0.84 * (rings - ring_centre) + (0.011 * scale)[:, None, None, None] * light
    chest_facing = skeletons.thorax_frame[:, 2, 2]

    view = skeletons.head_view
    frame = skeletons.head_frame
    head_size = scale * (1 + _PERSPECTIVE * skeletons.head_centre[:, 2])

    def on_head(points: np.ndarray) -> np.ndarray:
        """Points relative to the unit sphere ``[P, N, 3]`` to canvas pixels ``[P, N, 2]``."""
        flat = (points @ frame.swapaxes(1, 2))[..., :2] * head_size[:, None, None]
        flat[..., 1] *= -1
        return head_origin + flat

    # The silhouette of the ellipsoid is the circle of the unit sphere at right angles to the view.
    level = np.maximum(np.hypot(view[:, 0], view[:, 2]), 1e-9)
    right, up = np.zeros((2, count, 3))
    right[:, 0], right[:, 2] = view[:, 2] / level, -view[:, 0] / level
    up[:, 0], up[:, 1], up[:, 2] = -view[:, 1] * view[:, 0] / level, level, -view[:, 1] * view[:, 2] / level
    silhouette = np.cos(_CIRCLE)[:, None] * right[:, None] + np.sin(_CIRCLE)[:, None] * up[:, None]
    head = on_head(silhouette)

    def patch(ring: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is seen of a cap of the sphere: points of rim and silhouette, and which of them bound it."""
        axis = ring.mean(axis=0)
        seen = view @ ring.T > 0
        inside = silhouette @ axis > axis @ axis
        points = np.concatenate([on_head(np.broadcast_to(ring, (count, *ring.shape))), head], axis=1)
        return fixed(points), np.concatenate([seen, inside], axis=1)

    face, face_seen = patch(_FACE_RING)
    cap, cap_seen = patch(_CAP_RING)
    features = on_head(np.broadcast_to(_FEATURES, (count, *_FEATURES.shape)))
    facing = view @ (_FEATURES / np.linalg.norm(_FEATURES, axis=1, keepdims=True)).T
    hair_radius = np.sqrt((frame[:, :, 0] ** 2).sum(1)) * scale
    long_hair = _capsules(hair_ends[:, 0], hair_ends[:, 1], hair_radius * 1.05, hair_radius * 0.8)

    head_box = np.concatenate([head.min(1), head.max(1)], axis=1)
    brim = on_head(np.broadcast_to(_BRIM, (count, *_BRIM.shape)))
    flare = np.stack([_SKIRT_FLARE * scale, np.zeros(count)], axis=1)[:, None]
    legs = joints[:, [JOINT[f"{side}_{name}"] for side in ("left", "right") for name in ("hip", "knee")]]
    limb_covers = limbs[:, :, 2].reshape(count, -1, 2)
    trunk = rings.reshape(count, -1, 2)
    extremities = None
    beyond_joints = joints
    if gestures is not None:
        outer = hand_and_foot_points(skeletons, gestures)
        detail = project(outer)
        face_points = on_head(face_on_sphere(gestures))
        extremities = Extremities(
            points=np.concatenate([detail[:, :6], face_points, detail[:, 6:]], axis=1),
            facing=face_facing(view),
            finger_depth=finger_depths(outer),
            palm=np.stack([palm_normal(skeletons, gestures, hand)[:, 2] for hand in range(2)], axis=1),
        )
        beyond_joints = np.concatenate([joints, detail], axis=1)
    everything = np.concatenate(
        [beyond_joints, limb_covers, trunk, head, brim, long_hair, backpack, legs - flare, legs + flare],
        axis=1,
    )
    margin = (0.03 * scale)[:, None] + 3
    region = np.concatenate([everything.min(1) - margin, everything.max(1) + margin], axis=1).astype(np.int32)

    return Figures(
        joints=joints,
        depth=depth,
        scale=scale,
        head_facing=facing,
        head_box=head_box,
        region=region,
        appearances=appearances,
        light=light,
        limbs=fixed(limbs),
        limb_shade=limb_shade,
        limb_order=limb_depth + _LIMB_BIAS,
        torso=fixed(rings),
        torso_lit=fixed(lit),
        torso_marks=fixed(marks),
        torso_depth=torso_depth,
        chest_facing=chest_facing,
        backpack=fixed(backpack),
        straps=fixed(straps),
        head=fixed(head),
        face=face,
        face_seen=face_seen,
        cap=cap,
        cap_seen=cap_seen,
        brim=fixed(brim),
        features=fixed(features),
        long_hair=fixed(long_hair),
        head_depth=skeletons.head_centre[:, 2],
        extremities=extremities,
    )


def _cover_fractions(look: Appearance) -> list[float]:
    """How much of each limb is covered by cloth or shoe, in the order of the limbs."""
    upper, fore = look.sleeve
    thigh, shin = look.trouser
    if look.skirt:
        thigh = shin = 0.0
    return [upper, upper, fore, fore, 0.0, 0.0, thigh, thigh, shin, shin, 1.0, 1.0, 0.0]


def _in_thorax(skeletons: Skeletons, points: np.ndarray) -> np.ndarray:
    """Points given relative to the thorax ``[N, 3]`` in the camera's frame ``[P, N, 3]``."""
    origin = skeletons.joints[:, JOINT["thorax"]]
    return origin[:, None] + points @ skeletons.thorax_frame.swapaxes(1, 2)


def _trunk_marks(skeletons: Skeletons) -> np.ndarray:
    """The marks of the trunk's surface in the camera's frame, ``[P, M, 3]``."""
    rings = skeletons.rings
    centre = rings.mean(axis=2)
    side, front = rings[:, :, 0] - centre, rings[:, :, 2] - centre
    level = _TRUNK_MARKS[:, 1] * (rings.shape[1] - 1)
    low = np.minimum(level.astype(int), rings.shape[1] - 2)
    part = (level - low)[None, :, None]

    def between(values: np.ndarray) -> np.ndarray:
        return values[:, low] * (1 - part) + values[:, low + 1] * part

    across = _TRUNK_MARKS[None, :, :1]
    bulge = np.sqrt(np.maximum(1 - across**2, 0)) * _TRUNK_MARKS[None, :, 2:]
    return between(centre) + across * between(side) + bulge * between(front)


def _hull(*points: np.ndarray) -> np.ndarray:
    return cv2.convexHull(np.concatenate(points))


def paint(canvas: np.ndarray, figures: Figures, index: int, person: int) -> None:
    """Paint one person.

    Args:
        canvas: uint8 ``[H, W, 4]``: blue, green, red, label; written in place.
        figures: Geometry of the people.
        index: Which of them.
        person: Its number in the labels, 0 to `MAX_PEOPLE` - 1.
    """
    look = figures.appearances[index]
    base = LABELS_PER_PERSON * person
    torso_depth = float(figures.torso_depth[index])
    steps: list[tuple[float, int]] = [
        (float(order), limb) for limb, order in enumerate(figures.limb_order[index].tolist())
    ]
    torso, head, hair = -1, -2, -3
    steps.append((torso_depth, torso))
    head_order = max(float(figures.head_depth[index]), torso_depth - 0.02) + 0.03
    steps.append((head_order, head))
    if look.hair == "long":
        # Behind the head and the trunk seen from the front, over both seen from behind.
        behind = float(figures.head_facing[index, _NOSE_BRIDGE])
        steps.append((head_order + 0.01 if behind < -0.1 else torso_depth - 0.03, hair))
    steps.sort()
    covers = _cover_fractions(look)
    for _, step in steps:
        if step == torso:
            _paint_torso(canvas, figures, index, base)
        elif step == head:
            _paint_head(canvas, figures, index, base)
        elif step == hair:
            label = base + PART["head_back"]
            cv2.fillConvexPoly(canvas, figures.long_hair[index], ink(look.hair_colour, 0.85, label), 8, SHIFT)
        else:
            _paint_limb(canvas, figures, index, base, step, covers[step])


def _paint_limb(canvas: np.ndarray, figures: Figures, index: int, base: int, limb: int, cover: float) -> None:
    look = figures.appearances[index]
    label = base + int(_LIMB_PART[limb])
    shade = float(figures.limb_shade[index, limb])
    if figures.extremities is not None and limb in (*_HANDS, *_FEET):
        scale = float(figures.scale[index])
        if limb in _HANDS:
            paint_hand(canvas, figures.extremities, index, _HANDS.index(limb), look, scale, label)
        else:
            ankle = figures.joints[index, _LIMB_FROM[limb]]
            paint_foot(canvas, figures.extremities, index, _FEET.index(limb), ankle, look, scale, label)
        return
    outlines = figures.limbs[index, limb]
    if cover < 1.0:
        cv2.fillConvexPoly(canvas, outlines[0], ink(look.skin, shade * DARK, label), 8, SHIFT)
        cv2.fillConvexPoly(canvas, outlines[1], ink(look.skin, shade, label), 8, SHIFT)
    if cover > 0.0:
        cloth = look.shirt if limb < 6 else look.trousers if limb < 10 else look.shoes
        cv2.fillConvexPoly(canvas, outlines[2], ink(cloth, shade * DARK, label), 8, SHIFT)
        cv2.fillConvexPoly(canvas, outlines[3], ink(cloth, shade, label), 8, SHIFT)
    if limb == 2 and look.watch:
        wrist = figures.limbs[index, 4, 0]
        centre = (wrist[6:].mean(axis=0)).astype(np.int32).tolist()
        radius = max(int(0.018 * figures.scale[index] * SUBPIXEL), SUBPIXEL)
        cv2.circle(canvas, centre, radius, ink(look.accent, 0.6, label), -1, 8, SHIFT)


def _paint_torso(canvas: np.ndarray, figures: Figures, index: int, base: int) -> None:
    look = figures.appearances[index]
    label = base + PART["torso"]
    rings, lit, marks = figures.torso[index], figures.torso_lit[index], figures.torso_marks[index]
    facing = float(figures.chest_facing[index])
    scale = float(figures.scale[index])
    pack_colour = ink(look.accent, 0.7, label)
    if look.back == "backpack" and facing > 0:
        cv2.fillConvexPoly(canvas, _hull(figures.backpack[index]), pack_colour, 8, SHIFT)

    bottom = look.trousers if look.tucked or look.skirt else look.shirt
    bands = ((0, 1, look.shirt), (1, 2, look.shirt), (2, 3, look.shirt), (3, 4, bottom))
    if look.skirt:
        _paint_skirt(canvas, figures, index, label)
    for upper, lower, colour in bands:
        cv2.fillConvexPoly(canvas, _hull(rings[upper], rings[lower]), ink(colour, DARK, label), 8, SHIFT)
    for upper, lower, colour in bands:
        cv2.fillConvexPoly(canvas, _hull(lit[upper], lit[lower]), ink(colour, 1.0, label), 8, SHIFT)
    if look.stripes:
        stripe = ink(look.accent, 0.95, label)
        for upper in (0, 1, 2):
            top = lit[upper] + ((lit[upper + 1] - lit[upper]) * 0.35).astype(np.int32)
            low = lit[upper] + ((lit[upper + 1] - lit[upper]) * 0.68).astype(np.int32)
            cv2.fillConvexPoly(canvas, _hull(top, low), stripe, 8, SHIFT)

    thin = max(1, round(0.009 * scale))
    if facing > 0.12:
        if look.front == "jacket":
            cv2.fillConvexPoly(canvas, marks[14:18], ink(look.accent, 1.0, label), 8, SHIFT)
        elif look.front == "buttons":
            cv2.line(
                canvas,
                marks[0].tolist(),
                marks[1].tolist(),
                ink(look.shirt, 0.55, label),
                thin,
                8,
                SHIFT,
            )
        elif look.front == "print":
            cv2.fillConvexPoly(canvas, marks[6:10], ink(look.accent, 1.0, label), 8, SHIFT)
        cv2.fillConvexPoly(canvas, marks[2:5], ink(look.skin, 0.9, label), 8, SHIFT)
        if look.badge:
            radius = max(int(0.017 * scale * SUBPIXEL), SUBPIXEL)
            cv2.circle(canvas, marks[5].tolist(), radius, (235, 240, 245, label), -1, 8, SHIFT)
    elif facing < -0.12 and look.back == "yoke":
        cv2.fillConvexPoly(canvas, marks[10:14], ink(look.accent, 0.8, label), 8, SHIFT)
    if look.back == "backpack":
        if facing <= 0:
            cv2.fillConvexPoly(canvas, _hull(figures.backpack[index]), ink(look.accent, 0.5, label), 8, SHIFT)
            pack = figures.backpack[index]
            inner = pack.mean(axis=0) + 0.8 * (pack - pack.mean(axis=0))
            cv2.fillConvexPoly(canvas, _hull(inner.astype(np.int32)), pack_colour, 8, SHIFT)
        else:
            strap = figures.straps[index]
            for first in (0, 3):
                cv2.polylines(canvas, [strap[first : first + 3]], False, pack_colour, 2 * thin, 8, SHIFT)


def _paint_skirt(canvas: np.ndarray, figures: Figures, index: int, label: int) -> None:
    look = figures.appearances[index]
    joints = figures.joints[index]
    rings = figures.torso[index]
    flare = np.array((_SKIRT_FLARE * float(figures.scale[index]), 0.0))
    corners = []
    for side in ("left", "right"):
        hip, knee = joints[JOINT[f"{side}_hip"]], joints[JOINT[f"{side}_knee"]]
        hem = hip + look.skirt * 1.05 * (knee - hip)
        corners += [hem - flare, hem + flare]
    hem_points = fixed(np.array(corners))
    cv2.fillConvexPoly(canvas, _hull(rings[3], hem_points), ink(look.trousers, DARK, label), 8, SHIFT)
    inner = fixed(np.array(corners) + 0.01 * figures.scale[index] * (figures.light - (0, 1)))
    centre = inner.mean(axis=0)
    inner = (centre + 0.88 * (inner - centre)).astype(np.int32)
    cv2.fillConvexPoly(
        canvas, _hull(figures.torso_lit[index, 3], inner), ink(look.trousers, 1.0, label), 8, SHIFT
    )


def _paint_head(canvas: np.ndarray, figures: Figures, index: int, base: int) -> None:
    look = figures.appearances[index]
    back, front = base + PART["head_back"], base + PART["face"]
    scale = float(figures.scale[index])
    facing = figures.head_facing[index].tolist()
    features = figures.features[index].tolist()
    skull = look.skin * 0.92 if look.hair == "none" else look.hair_colour
    dot = _dot(scale)

    cv2.fillConvexPoly(canvas, figures.head[index], ink(skull, 0.95, back), 8, SHIFT)
    face = figures.face[index][figures.face_seen[index]]
    if len(face) > 2:
        cv2.fillConvexPoly(canvas, cv2.convexHull(face), ink(look.skin, 1.02, front), 8, SHIFT)
    for ear in (_LEFT_EAR, _RIGHT_EAR):
        if look.hair != "long" and facing[ear] > -0.3:
            cv2.circle(canvas, features[ear], 2 * dot, ink(look.skin, 0.78, front), -1, 8, SHIFT)
    if figures.extremities is not None:
        paint_face(canvas, figures.extremities, index, look, scale, front)
    else:
        _paint_plain_face(canvas, figures, index, front)
    if look.headwear == "cap":
        cap = figures.cap[index][figures.cap_seen[index]]
        cv2.fillConvexPoly(canvas, cv2.convexHull(cap), ink(look.accent, 0.9, back), 8, SHIFT)
        if facing[_NOSE_BRIDGE] > -0.6:
            cv2.fillConvexPoly(canvas, _hull(figures.brim[index]), ink(look.accent, 0.6, back), 8, SHIFT)


def _paint_plain_face(canvas: np.ndarray, figures: Figures, index: int, label: int) -> None:
    """A line for the nose, dots for the eyes, lines for brows and mouth."""
    look = figures.appearances[index]
    scale = float(figures.scale[index])
    facing = figures.head_facing[index].tolist()
    features = figures.features[index].tolist()
    dot, thin = _dot(scale), _thin(scale)
    if facing[_NOSE_TIP] > -0.25:
        cv2.line(
            canvas,
            features[_NOSE_BRIDGE],
            features[_NOSE_TIP],
            ink(look.skin, 0.74, label),
            2 * thin,
            8,
            SHIFT,
        )
    for eye in (_LEFT_EYE, _RIGHT_EYE):
        if facing[eye] > 0.08:
            brow = _BROWS + 2 * (eye - _LEFT_EYE)
            cv2.line(
                canvas,
                features[brow],
                features[brow + 1],
                ink(look.hair_colour, 0.7, label),
                thin,
                8,
                SHIFT,
            )
            cv2.circle(canvas, features[eye], dot * 5 // 4, (244, 244, 244, label), -1, 8, SHIFT)
            cv2.circle(canvas, features[eye], dot * 3 // 4, (30, 26, 24, label), -1, 8, SHIFT)
            if look.headwear == "glasses":
                cv2.circle(canvas, features[eye], 2 * dot, (40, 36, 34, label), thin, 8, SHIFT)
    if facing[_MOUTH] > 0 or facing[_MOUTH + 1] > 0:
        lips = look.skin * (0.62, 0.55, 0.86)
        cv2.line(canvas, features[_MOUTH], features[_MOUTH + 1], ink(lips, 1.0, label), thin, 8, SHIFT)


def _dot(scale: float) -> int:
    return max(int(0.0115 * scale * SUBPIXEL), SUBPIXEL * 3 // 4)


def _thin(scale: float) -> int:
    return max(1, round(0.008 * scale))
