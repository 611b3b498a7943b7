"""Draws posed skeletons as clothed people, with the body part of every pixel.

Each polygon is filled once, and writes colour and label together, so labels are true to what is seen. A label
is ``16 * person + part``; part 0 is no person.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rspose.datasets.interface import mirrored
from rspose.drawn.appearance import Appearance
from rspose.drawn.canvas import DARK, SUBPIXEL, Brush, fixed, hull
from rspose.drawn.extremities import (
    JAW_DEGREES,
    Extremities,
    Gestures,
    lay_out_extremities,
    paint_face,
    paint_foot,
    paint_hand,
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

PART_FLIP = tuple(PART[mirrored(name)] for name in PART_NAMES)
"""For each part label the label of its mirror image."""

LABELS_PER_PERSON = 16
MAX_PEOPLE = 15
"""People that the labels of one canvas can tell apart."""

_PERSPECTIVE = 0.12
_OUTLINE = 0.0075
_SKIRT_FLARE = 0.075

# part, from joint, to joint, radius there, radius here (fractions of standing height)
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
_LIMB_PART = np.array([PART[limb[0]] for limb in _LIMBS])
_LIMB_FROM = np.array([JOINT[limb[1]] for limb in _LIMBS])
_LIMB_TO = np.array([JOINT[limb[2]] for limb in _LIMBS])
_LIMB_RADII = np.array([limb[3:] for limb in _LIMBS])
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
_NOSE_BRIDGE, _NOSE_TIP, _LEFT_EYE, _RIGHT_EYE = range(4)
_BROWS, _MOUTH, _LEFT_EAR, _RIGHT_EAR = 4, 8, 10, 11

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
    [
        (s * x, y, z)
        for s in (-1, 1)
        for x, y, z in ((0.062, 0.012, 0.035), (0.068, -0.1, 0.066), (0.08, -0.19, 0.03))
    ]
)
_HAIR_TIP = np.array([[0.0, -0.07, -0.06]])


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

    def project(points: np.ndarray) -> np.ndarray:
        """Points of the camera's frame ``[P, N, 3]`` to canvas pixels ``[P, N, 2]``."""
        flat = np.empty((count, points.shape[1], 2))
        size = scale[:, None] * (1 + _PERSPECTIVE * points[..., 2])
        flat[..., 0] = origin[:, :1] + size * points[..., 0]
        flat[..., 1] = origin[:, 1:] - size * points[..., 1]
        return flat

    joints, marks = project(skeletons.joints), project(_trunk_marks(skeletons))
    rings = project(skeletons.rings.reshape(count, -1, 3)).reshape(*skeletons.rings.shape[:3], 2)
    backpack, straps = (project(_in_thorax(skeletons, points)) for points in (_BACKPACK, _STRAPS))
    nape = skeletons.head_centre + skeletons.head_frame @ np.array([0.0, 0.1, -0.35])
    hair_ends = project(np.stack([nape, _in_thorax(skeletons, _HAIR_TIP)[:, 0]], axis=1))
    head_origin = project(skeletons.head_centre[:, None])

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
    thickness = np.array([1, 1, _CLOTH_THICKNESS, _CLOTH_THICKNESS])
    rim = outline[..., None] * (0, 1, 0, 1)
    end_radii = np.stack([radii[..., 1], radii[..., 1], cover_radius, cover_radius], axis=2)
    limbs = _capsules(starts, ends, radii[..., :1] * thickness - rim, end_radii * thickness - rim)
    # What lies deeper gets less light: a hint of which limb is the far one.
    limb_shade = np.clip(0.97 + 1.0 * (limb_depth - torso_depth[:, None]), 0.74, 1.06)

    ring_centre = rings.mean(axis=2, keepdims=True)
    lit = ring_centre + 0.84 * (rings - ring_centre) + (0.011 * scale)[:, None, None, None] * light

    view = skeletons.head_view
    frame = skeletons.head_frame
    head_size = scale * (1 + _PERSPECTIVE * skeletons.head_centre[:, 2])

    def on_head(points: np.ndarray) -> np.ndarray:
        """Points relative to the unit sphere ``[N, 3]`` or ``[P, N, 3]`` to canvas pixels ``[P, N, 2]``."""
        flat = (points @ frame.swapaxes(1, 2))[..., :2] * head_size[:, None, None]
        flat[..., 1] *= -1
        return head_origin + flat

    # The silhouette of the ellipsoid is the circle of the unit sphere at right angles to the view.
    level = np.maximum(np.hypot(view[:, 0], view[:, 2]), 1e-9)
    right = np.stack([view[:, 2], np.zeros(count), -view[:, 0]], axis=1) / level[:, None]
    up = np.stack([-view[:, 1] * view[:, 0] / level, level, -view[:, 1] * view[:, 2] / level], axis=1)
    silhouette = np.cos(_CIRCLE)[:, None] * right[:, None] + np.sin(_CIRCLE)[:, None] * up[:, None]
    head = on_head(silhouette)

    def patch(ring: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is seen of a cap of the sphere: points of rim and silhouette, and which of them bound it."""
        axis = ring.mean(axis=0)
        seen = view @ ring.T > 0
        inside = silhouette @ axis > axis @ axis
        points = np.concatenate([on_head(ring), head], axis=1)
        return fixed(points), np.concatenate([seen, inside], axis=1)

    face, face_seen = patch(_FACE_RING)
    cap, cap_seen = patch(_CAP_RING)
    facing = view @ (_FEATURES / np.linalg.norm(_FEATURES, axis=1, keepdims=True)).T
    hair_radius = np.sqrt((frame[:, :, 0] ** 2).sum(1)) * scale
    long_hair = _capsules(hair_ends[:, 0], hair_ends[:, 1], hair_radius * 1.05, hair_radius * 0.8)

    brim = on_head(_BRIM)
    flare = np.stack([_SKIRT_FLARE * scale, np.zeros(count)], axis=1)[:, None]
    legs = joints[:, [JOINT[f"{side}_{name}"] for side in ("left", "right") for name in ("hip", "knee")]]
    outermost = [joints, limbs[:, :, 2].reshape(count, -1, 2), rings.reshape(count, -1, 2), head, brim]
    outermost += [long_hair, backpack, legs - flare, legs + flare]
    extremities = None
    if gestures is not None:
        extremities = lay_out_extremities(skeletons, gestures, project, on_head)
        outermost.append(extremities.points)
    everything = np.concatenate(outermost, axis=1)
    margin = (0.03 * scale)[:, None] + 3
    region = np.concatenate([everything.min(1) - margin, everything.max(1) + margin], axis=1).astype(np.int32)

    return Figures(
        joints=joints,
        depth=depth,
        scale=scale,
        head_facing=facing,
        head_box=np.concatenate([head.min(1), head.max(1)], axis=1),
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
        chest_facing=skeletons.thorax_frame[:, 2, 2],
        backpack=fixed(backpack),
        straps=fixed(straps),
        head=fixed(head),
        face=face,
        face_seen=face_seen,
        cap=cap,
        cap_seen=cap_seen,
        brim=fixed(brim),
        features=fixed(on_head(_FEATURES)),
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


def paint(canvas: np.ndarray, figures: Figures, index: int, person: int) -> None:
    """Paint one person.

    Args:
        canvas: uint8 ``[H, W, 4]``: blue, green, red, label; written in place.
        figures: Geometry of the people.
        index: Which of them.
        person: Its number in the labels, 0 to `MAX_PEOPLE` - 1.
    """
    look = figures.appearances[index]
    torso_depth = float(figures.torso_depth[index])
    steps = [(order, limb) for limb, order in enumerate(figures.limb_order[index].tolist())]
    torso, head, hair = -1, -2, -3
    steps.append((torso_depth, torso))
    head_order = max(float(figures.head_depth[index]), torso_depth - 0.02) + 0.03
    steps.append((head_order, head))
    if look.hair == "long":
        # Behind the head and the trunk seen from the front, over both seen from behind.
        behind = float(figures.head_facing[index, _NOSE_BRIDGE])
        steps.append((head_order + 0.01 if behind < -0.1 else torso_depth - 0.03, hair))
    covers = _cover_fractions(look)

    def brush(part: int) -> Brush:
        return Brush(canvas, LABELS_PER_PERSON * person + part)

    for _, step in sorted(steps):
        if step == torso:
            _paint_torso(brush(PART["torso"]), figures, index)
        elif step == head:
            _paint_head(brush(PART["head_back"]), brush(PART["face"]), figures, index)
        elif step == hair:
            brush(PART["head_back"]).fill(figures.long_hair[index], look.hair_colour, 0.85)
        else:
            _paint_limb(brush(int(_LIMB_PART[step])), figures, index, step, covers[step])


def _paint_limb(brush: Brush, figures: Figures, index: int, limb: int, cover: float) -> None:
    look, scale = figures.appearances[index], float(figures.scale[index])
    if figures.extremities is not None and limb in _HANDS:
        paint_hand(brush, figures.extremities, index, _HANDS.index(limb), look, scale)
        return
    if figures.extremities is not None and limb in _FEET:
        ankle = figures.joints[index, _LIMB_FROM[limb]]
        paint_foot(brush, figures.extremities, index, _FEET.index(limb), ankle, look, scale)
        return
    shade = float(figures.limb_shade[index, limb])
    outlines = figures.limbs[index, limb]
    if cover < 1.0:
        brush.fill(outlines[0], look.skin, shade * DARK)
        brush.fill(outlines[1], look.skin, shade)
    if cover > 0.0:
        cloth = look.shirt if limb < 6 else look.trousers if limb < 10 else look.shoes
        brush.fill(outlines[2], cloth, shade * DARK)
        brush.fill(outlines[3], cloth, shade)
    if limb == 2 and look.watch:
        wrist = figures.limbs[index, 4, 0]
        brush.disc(wrist[6:].mean(axis=0).astype(np.int32), _radius(0.018, scale), look.accent, 0.6)


def _paint_torso(brush: Brush, figures: Figures, index: int) -> None:
    look, scale = figures.appearances[index], float(figures.scale[index])
    rings, lit, marks = figures.torso[index], figures.torso_lit[index], figures.torso_marks[index]
    facing, pack = float(figures.chest_facing[index]), figures.backpack[index]
    if look.back == "backpack" and facing > 0:
        brush.fill(hull(pack), look.accent, 0.7)

    bottom = look.trousers if look.tucked or look.skirt else look.shirt
    colours = (look.shirt, look.shirt, look.shirt, bottom)
    if look.skirt:
        _paint_skirt(brush, figures, index)
    for bands, shade in ((rings, DARK), (lit, 1.0)):
        for (upper, lower), colour in zip(pairwise(bands), colours, strict=True):
            brush.fill(hull(upper, lower), colour, shade)
    if look.stripes:
        for upper, lower in pairwise(lit[:4]):
            ends = (upper + ((lower - upper) * share).astype(np.int32) for share in (0.35, 0.68))
            brush.fill(hull(*ends), look.accent, 0.95)

    thin = max(1, round(0.009 * scale))
    if facing > 0.12:
        if look.front == "jacket":
            brush.fill(marks[14:18], look.accent)
        elif look.front == "buttons":
            brush.line(marks[:2], look.shirt, 0.55, thin)
        elif look.front == "print":
            brush.fill(marks[6:10], look.accent)
        brush.fill(marks[2:5], look.skin, 0.9)
        if look.badge:
            brush.disc(marks[5], _radius(0.017, scale), (235, 240, 245))
    elif facing < -0.12 and look.back == "yoke":
        brush.fill(marks[10:14], look.accent, 0.8)
    if look.back == "backpack" and facing <= 0:
        brush.fill(hull(pack), look.accent, 0.5)
        inner = pack.mean(axis=0) + 0.8 * (pack - pack.mean(axis=0))
        brush.fill(hull(inner.astype(np.int32)), look.accent, 0.7)
    elif look.back == "backpack":
        for strap in np.split(figures.straps[index], 2):
            brush.line(strap, look.accent, 0.7, 2 * thin)


def _paint_skirt(brush: Brush, figures: Figures, index: int) -> None:
    look, joints, scale = figures.appearances[index], figures.joints[index], float(figures.scale[index])
    flare = np.array((_SKIRT_FLARE * scale, 0.0))
    corners = []
    for side in ("left", "right"):
        hip, knee = joints[JOINT[f"{side}_hip"]], joints[JOINT[f"{side}_knee"]]
        hem = hip + look.skirt * 1.05 * (knee - hip)
        corners += [hem - flare, hem + flare]
    brush.fill(hull(figures.torso[index, 3], fixed(np.array(corners))), look.trousers, DARK)
    inner = fixed(np.array(corners) + 0.01 * scale * (figures.light - (0, 1)))
    centre = inner.mean(axis=0)
    inner = (centre + 0.88 * (inner - centre)).astype(np.int32)
    brush.fill(hull(figures.torso_lit[index, 3], inner), look.trousers)


def _paint_head(back: Brush, front: Brush, figures: Figures, index: int) -> None:
    look, scale = figures.appearances[index], float(figures.scale[index])
    facing, features = figures.head_facing[index].tolist(), figures.features[index]
    skull = look.skin * 0.92 if look.hair == "none" else look.hair_colour

    back.fill(figures.head[index], skull, 0.95)
    face = figures.face[index][figures.face_seen[index]]
    if len(face) > 2:
        front.fill(hull(face), look.skin, 1.02)
    for ear in (_LEFT_EAR, _RIGHT_EAR):
        if look.hair != "long" and facing[ear] > -0.3:
            front.disc(features[ear], 2 * _dot(scale), look.skin, 0.78)
    if figures.extremities is not None:
        paint_face(front, figures.extremities, index, look, scale)
    else:
        _paint_plain_face(front, facing, features, look, scale)
    if look.headwear == "cap":
        back.fill(hull(figures.cap[index][figures.cap_seen[index]]), look.accent, 0.9)
        if facing[_NOSE_BRIDGE] > -0.6:
            back.fill(hull(figures.brim[index]), look.accent, 0.6)


def _paint_plain_face(
    brush: Brush, facing: list[float], features: np.ndarray, look: Appearance, scale: float
) -> None:
    """A line for the nose, dots for the eyes, lines for brows and mouth."""
    dot, thin = _dot(scale), max(1, round(0.008 * scale))
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
    if facing[_MOUTH] > 0 or facing[_MOUTH + 1] > 0:
        brush.line(features[_MOUTH : _MOUTH + 2], look.skin * (0.62, 0.55, 0.86), 1.0, thin)


def _radius(fraction: float, scale: float) -> int:
    return max(int(fraction * scale * SUBPIXEL), SUBPIXEL)


def _dot(scale: float) -> int:
    return max(int(0.0115 * scale * SUBPIXEL), SUBPIXEL * 3 // 4)
