"""Draws posed skeletons as clothed people, with the body part of every pixel.

Each polygon is filled once, and writes colour and label together, so labels are true to what is seen. A label
is ``16 * person + part``; part 0 is no person.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from rspose.datasets.interface import mirrored
from rspose.drawn.appearance import Appearance
from rspose.drawn.canvas import DARK, SUBPIXEL, Brush, fixed, hull, thickness
from rspose.drawn.extremities import JAW_DEGREES, Extremities, Gestures, lay_out_extremities
from rspose.drawn.skeleton import HEAD_POINTS, JOINT, Skeletons, both

PART_NAMES = (
    "background", "face", "head_back", "torso",
    "left_upper_arm", "right_upper_arm", "left_forearm", "right_forearm",
    "left_thigh", "right_thigh", "left_shin", "right_shin", "left_foot", "right_foot",
)  # fmt: skip
"""Name of each part label. Hands belong to the forearm, neck, skirt and backpack to the torso, hats to the
back of the head."""

PART = {name: index for index, name in enumerate(PART_NAMES)}
PART_FLIP = tuple(PART[mirrored(name)] for name in PART_NAMES)
"""For each part label the label of its mirror image."""

LABELS_PER_PERSON = 16

_PERSPECTIVE = 0.12
# part, from joint, to joint, radius there, radius here (fractions of standing height), left before right
_LIMBS = (
    *(
        (f"{side}_{part}", f"{side}_{start}", f"{side}_{end}", first, last)
        for part, start, end, first, last in (
            ("upper_arm", "shoulder", "elbow", 0.035, 0.027),
            ("forearm", "elbow", "wrist", 0.027, 0.020),
            ("forearm", "wrist", "hand", 0.021, 0.020),
            ("thigh", "hip", "knee", 0.055, 0.038),
            ("shin", "knee", "ankle", 0.039, 0.024),
            ("foot", "ankle", "toe", 0.027, 0.020),
        )
        for side in ("left", "right")
    ),
    ("torso", "thorax", "upper_neck", 0.040, 0.036),
)
_LIMB_FROM = [JOINT[start] for _, start, *_ in _LIMBS]
_LIMB_TO = [JOINT[end] for _, _, end, *_ in _LIMBS]
_LIMB_RADII = np.array([limb[3:] for limb in _LIMBS])
_LEFT_FOREARM, _HANDS, _FEET = 2, (4, 5), (10, 11)
# Who is drawn first where depths are equal: legs under the shirt, arms and neck over it.
_LIMB_BIAS = np.array([0.02] * 6 + [-0.06] * 6 + [-0.03])
# The steps of painting: these, then the limbs.
_HAIR, _HEAD, _TORSO, _FIRST_LIMB = range(4)
_CLOTH_THICKNESS = np.array([1, 1, 1.16, 1.16])

_CAPSULE = np.linspace(-np.pi / 2, np.pi / 2, 6)
_CIRCLE = np.linspace(0, 2 * np.pi, 17)[:-1]


def _sphere_ring(direction: tuple[float, float, float], radius_degrees: float) -> np.ndarray:
    """Points on the unit sphere at an angle around a direction, ``[12, 3]``."""
    axis = np.array(direction) / np.linalg.norm(direction)
    first = np.cross(axis, [1.0, 0.0, 0.0])
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    around = np.linspace(0, 2 * np.pi, 13)[:-1, None]
    radius = np.deg2rad(radius_degrees)
    return np.cos(radius) * axis + np.sin(radius) * (np.cos(around) * first + np.sin(around) * second)


_FACE_RING = _sphere_ring((0.0, -0.22, 0.97), JAW_DEGREES)
_CAP_RING = _sphere_ring((0.0, 1.0, -0.12), 68)
_BRIM = np.array([[-0.85, 0.42, 0.75], [-0.6, 0.40, 1.45], [0.6, 0.40, 1.45], [0.85, 0.42, 0.75]])
# Points of the face on the head's sphere: bridge and tip of the nose, eyes, brows, mouth corners, ears.
_FEATURES = np.array(
    [
        (0.0, 0.14, 0.99), (0.0, -0.158, 1.12),
        HEAD_POINTS["left_eye"], HEAD_POINTS["right_eye"],
        (0.20, 0.40, 0.89), (0.54, 0.36, 0.76), (-0.20, 0.40, 0.89), (-0.54, 0.36, 0.76),
        (0.27, -0.55, 0.79), (-0.27, -0.55, 0.79),
        HEAD_POINTS["left_ear"], HEAD_POINTS["right_ear"],
    ]
)  # fmt: skip
_NOSE_BRIDGE, _NOSE_TIP, _LEFT_EYE, _RIGHT_EYE = range(4)
_BROWS, _MOUTH, _LEFT_EAR, _RIGHT_EAR = 4, 8, 10, 11

# A joint of the trunk lies behind it, not on it, when it is this much deeper than the trunk's middle; one of
# the face is turned away when it faces the camera less than this.
_BEHIND_TRUNK = np.full(len(JOINT), -np.inf)
_BEHIND_TRUNK[both("shoulder")] = -0.10
_BEHIND_TRUNK[both("hip")] = -0.05
_FACE_JOINTS = [JOINT["nose"], *both("eye"), *both("ear")]
_FACE_FEATURES = [_NOSE_TIP, _LEFT_EYE, _RIGHT_EYE, _LEFT_EAR, _RIGHT_EAR]
_FACE_TURNED_AWAY = np.array([-0.25, 0.05, 0.05, -0.25, -0.25])

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
# How much each of the five rings counts at the marks' levels.
_AT_LEVEL = np.maximum(1 - np.abs(4 * _TRUNK_MARKS[:, 1:2] - np.arange(5)), 0)
_BACKPACK = np.array([(x, y, z) for x in (-0.072, 0.072) for y in (-0.02, -0.2) for z in (-0.055, -0.125)])
_STRAPS = np.array([(0.062, 0.012, 0.035), (0.068, -0.1, 0.066), (0.08, -0.19, 0.03)])
_STRAPS = np.concatenate([_STRAPS * (-1, 1, 1), _STRAPS])
_HAIR_TIP = np.array([[0.0, -0.07, -0.06]])


@dataclass(frozen=True)
class Figure:
    """A person on a canvas, ready to paint. Positions are in canvas pixels.

    Attributes:
        scale: Canvas pixels per standing height.
        joints: Positions of the joints, ``[J, 2]``.
        turned_away: Which joints lie on the far side of trunk or head, ``[J]``.
        order: Of the steps of painting, the lowest first.
        head_facing, chest_facing: How much features of the face and the chest turn to the camera, -1..1.
        head_box: Upper left and lower right corner of the head, ``[2, 2]``.
        polygons: What is painted, by name, in fixed-point pixels.
        extremities: Face, hands and feet in detail, or None for plain ones.
    """

    look: Appearance
    scale: float
    joints: np.ndarray
    turned_away: np.ndarray
    order: np.ndarray
    limb_shade: np.ndarray
    head_facing: np.ndarray
    chest_facing: float
    head_box: np.ndarray
    polygons: dict[str, np.ndarray]
    extremities: Extremities | None

    def window(self, canvas: np.ndarray) -> tuple[slice, slice]:
        """Rows and columns of a canvas that hold all that is painted; empty where that is outside."""
        points = np.concatenate([polygon.reshape(-1, 2) for polygon in self.polygons.values()]) / SUBPIXEL
        margin = 0.03 * self.scale + 3
        ends = np.clip((points.min(axis=0) - margin, points.max(axis=0) + margin), 0, canvas.shape[1::-1])
        columns, rows = ends.astype(int).T.tolist()
        return slice(*rows), slice(*columns)


def _capsules(
    start: np.ndarray, end: np.ndarray, start_radius: np.ndarray, end_radius: np.ndarray
) -> np.ndarray:
    """Outlines of two circles joined, ``[..., 12, 2]``, from points ``[..., 2]`` and radii ``[...]``."""
    along = end - start
    angle = np.arctan2(along[..., 1], along[..., 0])[..., None] + _CAPSULE
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    there = end[..., None, :] + end_radius[..., None, None] * unit
    here = start[..., None, :] - start_radius[..., None, None] * unit
    return np.concatenate([there, here], axis=-2)


def lay_out(
    skeletons: Skeletons,
    appearances: list[Appearance],
    scale: np.ndarray,
    origin: np.ndarray,
    light: np.ndarray,
    gestures: Gestures | None = None,
) -> list[Figure]:
    """Place ``P`` people on the canvas.

    Their ``scale`` is in canvas pixels per standing height ``[P]``, their ``origin`` the place of the pelvis
    ``[P, 2]``, ``light`` the direction on the canvas that the light comes from, unit ``[2]``. With gestures
    faces, hands and feet are drawn in detail.
    """
    count = len(scale)
    heights, y_down = scale[:, None, None], np.array((1.0, -1.0))

    def project(points: np.ndarray) -> np.ndarray:
        """Points of the camera's frame ``[P, N, 3]`` to canvas pixels ``[P, N, 2]``."""
        size = scale[:, None] * (1 + _PERSPECTIVE * points[..., 2])
        return origin[:, None] + size[..., None] * points[..., :2] * y_down

    def in_thorax(points: np.ndarray) -> np.ndarray:
        """Points relative to the thorax ``[N, 3]`` in the camera's frame ``[P, N, 3]``."""
        return skeletons.joints[:, [JOINT["thorax"]]] + points @ skeletons.thorax_frame.swapaxes(1, 2)

    joints = project(skeletons.joints)
    depth = skeletons.joints[..., 2]
    torso_depth = 0.5 * (depth[:, JOINT["pelvis"]] + depth[:, JOINT["thorax"]])

    # Limbs: bare (0) or covered (1), outline (0) or lit inside (1).
    limb_depth = 0.5 * (depth[:, _LIMB_FROM] + depth[:, _LIMB_TO])
    size = scale[:, None] * (1 + _PERSPECTIVE * limb_depth)
    radii = _LIMB_RADII * (size * skeletons.girth[:, None])[..., None]
    cover = np.array([look.cover for look in appearances])
    share = np.stack([np.ones_like(cover)] * 2 + [cover] * 2, axis=2)
    starts = joints[:, _LIMB_FROM][:, :, None]
    ends = starts + (joints[:, _LIMB_TO][:, :, None] - starts) * share[..., None]
    rim = (0.0075 * size)[..., None] * (0, 1, 0, 1)
    offset = (rim * 0.45)[..., None] * light
    end_radii = radii[..., :1] + (radii[..., 1:] - radii[..., :1]) * share
    start_radii, end_radii = (values * _CLOTH_THICKNESS - rim for values in (radii[..., :1], end_radii))
    limbs = _capsules(starts + offset, ends + offset, start_radii, end_radii)

    rings = project(skeletons.rings.reshape(count, -1, 3)).reshape(*skeletons.rings.shape[:3], 2)
    ring_centre = rings.mean(axis=2, keepdims=True)
    lit = ring_centre + 0.84 * (rings - ring_centre) + (0.011 * scale)[:, None, None, None] * light
    hips, knees = joints[:, both("hip")], joints[:, both("knee")]
    hems = hips + np.array([look.skirt * 1.05 for look in appearances])[:, None, None] * (knees - hips)
    flare = 0.075 * heights * (1, 0)
    skirt = np.stack([hems - flare, hems + flare], axis=2).reshape(count, 4, 2)

    view, frame = skeletons.head_view, skeletons.head_frame
    head_origin = project(skeletons.head_centre[:, None])
    head_size = heights * (1 + _PERSPECTIVE * skeletons.head_centre[:, None, 2:])

    def on_head(points: np.ndarray) -> np.ndarray:
        """Points relative to the unit sphere ``[N, 3]`` or ``[P, N, 3]`` to canvas pixels ``[P, N, 2]``."""
        return head_origin + (points @ frame.swapaxes(1, 2))[..., :2] * head_size * y_down

    # The silhouette of the ellipsoid is the circle of the unit sphere at right angles to the view.
    x, y, z = view.T
    level = np.maximum(np.hypot(x, z), 1e-9)
    right = np.stack([z / level, np.zeros(count), -x / level], axis=1)
    up = np.stack([-y * x / level, level, -y * z / level], axis=1)
    silhouette = np.cos(_CIRCLE)[:, None] * right[:, None] + np.sin(_CIRCLE)[:, None] * up[:, None]
    head = on_head(silhouette)

    def patch(ring: np.ndarray) -> list[np.ndarray]:
        """What bounds the visible part of a cap of the sphere: points of its rim and of the silhouette."""
        axis = ring.mean(axis=0)
        bounding = np.concatenate([view @ ring.T > 0, silhouette @ axis > axis @ axis], axis=1)
        points = fixed(np.concatenate([on_head(ring), head], axis=1))
        return [points[person, bounding[person]] for person in range(count)]

    facing = view @ (_FEATURES / np.linalg.norm(_FEATURES, axis=1, keepdims=True)).T
    turned_away = depth - torso_depth[:, None] < _BEHIND_TRUNK
    turned_away[:, _FACE_JOINTS] = facing[:, _FACE_FEATURES] < _FACE_TURNED_AWAY
    nape = skeletons.head_centre + frame @ np.array([0.0, 0.1, -0.35])
    hair_root, hair_tip = project(np.stack([nape, in_thorax(_HAIR_TIP)[:, 0]], axis=1)).swapaxes(0, 1)
    hair_radius = np.sqrt((frame[:, :, 0] ** 2).sum(1)) * scale

    head_order = np.maximum(skeletons.head_centre[:, 2], torso_depth - 0.02) + 0.03
    # Behind the head and the trunk seen from the front, over both seen from behind.
    hair_order = np.where(facing[:, _NOSE_BRIDGE] < -0.1, head_order + 0.01, torso_depth - 0.03)
    steps = np.stack([hair_order, head_order, torso_depth], axis=1)

    outlines = {
        "limbs": limbs,
        "torso": rings,
        "torso_lit": lit,
        "marks": project(_trunk_marks(skeletons.rings)),
        "skirt": skirt,
        "skirt_lit": skirt + 0.01 * heights * (light - (0, 1)),
        "backpack": project(in_thorax(_BACKPACK)),
        "straps": project(in_thorax(_STRAPS)),
        "head": head,
        "brim": on_head(_BRIM),
        "features": on_head(_FEATURES),
        "long_hair": _capsules(hair_root, hair_tip, hair_radius * 1.05, hair_radius * 0.8),
    }
    polygons: dict[str, Any] = {name: fixed(points) for name, points in outlines.items()}
    polygons |= {"face": patch(_FACE_RING), "cap": patch(_CAP_RING)}
    extremities: list[Extremities | None] = [None] * count
    if gestures is not None:
        extremities = [*lay_out_extremities(skeletons, gestures, project, on_head)]
        polygons["extremities"] = [fixed(each.points) for each in extremities if each]
    return [
        Figure(
            look=appearances[person],
            scale=float(scale[person]),
            joints=joints[person],
            turned_away=turned_away[person],
            order=np.concatenate([steps[person], limb_depth[person] + _LIMB_BIAS]),
            # What lies deeper gets less light: a hint of which limb is the far one.
            limb_shade=np.clip(0.97 + (limb_depth[person] - torso_depth[person]), 0.74, 1.06),
            head_facing=facing[person],
            chest_facing=float(skeletons.thorax_frame[person, 2, 2]),
            head_box=np.stack([head[person].min(axis=0), head[person].max(axis=0)]),
            polygons={name: points[person] for name, points in polygons.items()},
            extremities=extremities[person],
        )
        for person in range(count)
    ]


def _trunk_marks(rings: np.ndarray) -> np.ndarray:
    """The marks of the trunk's surface, ``[P, M, 3]``, in the frame of its cross-sections."""
    centre = rings.mean(axis=2)
    side, front = rings[:, :, 0] - centre, rings[:, :, 2] - centre
    across = _TRUNK_MARKS[:, :1]
    bulge = np.sqrt(np.maximum(1 - across**2, 0)) * _TRUNK_MARKS[:, 2:]
    return _AT_LEVEL @ centre + across * (_AT_LEVEL @ side) + bulge * (_AT_LEVEL @ front)


def paint(canvas: np.ndarray, figure: Figure, person: int) -> None:
    """Paint one person on a canvas (`Brush`), numbered from 0 to 14."""

    def brush(part: str) -> Brush:
        return Brush(canvas, LABELS_PER_PERSON * person + PART[part])

    for step in np.argsort(figure.order, kind="stable").tolist():
        if step == _TORSO:
            _paint_torso(brush("torso"), figure)
        elif step == _HEAD:
            _paint_head(brush("head_back"), brush("face"), figure)
        elif step >= _FIRST_LIMB:
            _paint_limb(brush(_LIMBS[step - _FIRST_LIMB][0]), figure, step - _FIRST_LIMB)
        elif figure.look.hair == "long":
            brush("head_back").fill(figure.polygons["long_hair"], figure.look.hair_colour, 0.85)


def _paint_limb(brush: Brush, figure: Figure, limb: int) -> None:
    look, scale, extremities = figure.look, figure.scale, figure.extremities
    if extremities is not None and limb in _HANDS:
        extremities.paint_hand(brush, _HANDS.index(limb), look, scale)
        return
    if extremities is not None and limb in _FEET:
        extremities.paint_foot(brush, _FEET.index(limb), figure.joints[_LIMB_FROM[limb]], look, scale)
        return
    shade, cover = float(figure.limb_shade[limb]), look.cover[limb]
    dark_skin, lit_skin, dark_cloth, lit_cloth = figure.polygons["limbs"][limb]
    if cover < 1.0:
        brush.fill(dark_skin, look.skin, shade * DARK)
        brush.fill(lit_skin, look.skin, shade)
    if cover > 0.0:
        cloth = look.shirt if limb < 6 else look.trousers if limb < 10 else look.shoes
        brush.fill(dark_cloth, cloth, shade * DARK)
        brush.fill(lit_cloth, cloth, shade)
    if limb == _LEFT_FOREARM and look.watch:
        wrist = figure.polygons["limbs"][_HANDS[0], 0, 6:].mean(axis=0)
        brush.disc(wrist.astype(np.int32), _radius(0.018, scale), look.accent, 0.6)


def _shrunk(polygon: np.ndarray, factor: float) -> np.ndarray:
    centre = polygon.mean(axis=0)
    return (centre + factor * (polygon - centre)).astype(np.int32)


def _paint_torso(brush: Brush, figure: Figure) -> None:
    look, polygons, facing = figure.look, figure.polygons, figure.chest_facing
    rings, lit, marks, pack = (polygons[name] for name in ("torso", "torso_lit", "marks", "backpack"))
    if look.back == "backpack" and facing > 0:
        brush.fill(hull(pack), look.accent, 0.7)

    bottom = look.trousers if look.tucked or look.skirt else look.shirt
    colours = (look.shirt, look.shirt, look.shirt, bottom)
    if look.skirt:
        brush.fill(hull(rings[3], polygons["skirt"]), look.trousers, DARK)
        brush.fill(hull(lit[3], _shrunk(polygons["skirt_lit"], 0.88)), look.trousers)
    for bands, shade in ((rings, DARK), (lit, 1.0)):
        for (upper, lower), colour in zip(pairwise(bands), colours, strict=True):
            brush.fill(hull(upper, lower), colour, shade)
    if look.stripes:
        for upper, lower in pairwise(lit[:4]):
            ends = (upper + ((lower - upper) * share).astype(np.int32) for share in (0.35, 0.68))
            brush.fill(hull(*ends), look.accent, 0.95)

    thin = thickness(0.009 * figure.scale)
    if facing > 0.12:
        if look.front == "jacket":
            brush.fill(marks[14:18], look.accent)
        elif look.front == "buttons":
            brush.line(marks[:2], look.shirt, 0.55, thin)
        elif look.front == "print":
            brush.fill(marks[6:10], look.accent)
        brush.fill(marks[2:5], look.skin, 0.9)
        if look.badge:
            brush.disc(marks[5], _radius(0.017, figure.scale), (235, 240, 245))
    elif facing < -0.12 and look.back == "yoke":
        brush.fill(marks[10:14], look.accent, 0.8)
    if look.back == "backpack" and facing <= 0:
        brush.fill(hull(pack), look.accent, 0.5)
        brush.fill(hull(_shrunk(pack, 0.8)), look.accent, 0.7)
    elif look.back == "backpack":
        for strap in np.split(polygons["straps"], 2):
            brush.line(strap, look.accent, 0.7, 2 * thin)


def _paint_head(back: Brush, front: Brush, figure: Figure) -> None:
    look, polygons, facing = figure.look, figure.polygons, figure.head_facing
    skull = look.skin * 0.92 if look.hair == "none" else look.hair_colour
    back.fill(polygons["head"], skull, 0.95)
    if len(polygons["face"]) > 2:
        front.fill(hull(polygons["face"]), look.skin, 1.02)
    for ear in (_LEFT_EAR, _RIGHT_EAR):
        if look.hair != "long" and facing[ear] > -0.3:
            front.disc(polygons["features"][ear], 2 * _dot(figure.scale), look.skin, 0.78)
    if figure.extremities is not None:
        figure.extremities.paint_face(front, look, figure.scale)
    else:
        _paint_plain_face(front, figure)
    if look.headwear == "cap":
        back.fill(hull(polygons["cap"]), look.accent, 0.9)
        if facing[_NOSE_BRIDGE] > -0.6:
            back.fill(hull(polygons["brim"]), look.accent, 0.6)


def _paint_plain_face(brush: Brush, figure: Figure) -> None:
    """A line for the nose, dots for the eyes, lines for brows and mouth."""
    look, facing, features = figure.look, figure.head_facing, figure.polygons["features"]
    dot, thin = _dot(figure.scale), thickness(0.008 * figure.scale)
    if facing[_NOSE_TIP] > -0.25:
        brush.line(features[[_NOSE_BRIDGE, _NOSE_TIP]], look.skin, 0.74, 2 * thin)
    for eye in (_LEFT_EYE, _RIGHT_EYE):
        if facing[eye] > 0.08:
            brow = _BROWS + 2 * (eye - _LEFT_EYE)
            brush.line(features[brow : brow + 2], look.hair_colour, 0.7, thin)
            brush.disc(features[eye], dot * 5 // 4, (244, 244, 244))
            brush.disc(features[eye], dot * 3 // 4, (30, 26, 24))
            if look.headwear == "glasses":
                brush.disc(features[eye], 2 * dot, (40, 36, 34), width=thin)
    if facing[_MOUTH : _MOUTH + 2].max() > 0:
        brush.line(features[_MOUTH : _MOUTH + 2], look.skin * (0.62, 0.55, 0.86), 1.0, thin)


def _radius(fraction: float, scale: float, least: int = SUBPIXEL) -> int:
    return max(int(fraction * scale * SUBPIXEL), least)


def _dot(scale: float) -> int:
    return _radius(0.0115, scale, SUBPIXEL * 3 // 4)
