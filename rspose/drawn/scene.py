"""A picture with people in it, and what can be known about each of them.

The picture is drawn at twice its size and averaged down, which smooths the edges; labels keep the drawn size.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from rspose.datasets.interface import Drawn
from rspose.drawn.appearance import sample_appearances
from rspose.drawn.background import Backgrounds, paint_object
from rspose.drawn.drawing import FACE_FEATURES, LABELS_PER_PERSON, PART, PART_NAMES, Figures, lay_out, paint
from rspose.drawn.extremities import EXTREMITY_NAMES, FACE, FEET, HANDS, sample_gestures
from rspose.drawn.skeleton import (
    JOINT,
    JOINT_NAMES,
    pose_skeletons,
    sample_angles,
    sample_proportions,
    sample_views,
)

SUPERSAMPLING = 2

NOT_IN_IMAGE, HIDDEN, VISIBLE = 0, 1, 2

# On which of the person's own parts a joint must be seen.
_SEEN_ON: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("nose", "left_eye", "right_eye"), ("face",)),
    **dict.fromkeys(("left_ear", "right_ear", "head_top"), ("face", "head_back")),
    "upper_neck": ("face", "head_back", "torso"),
    "thorax": ("torso",),
    "pelvis": ("torso", "left_thigh", "right_thigh"),
    **{f"{side}_shoulder": (f"{side}_upper_arm", "torso") for side in ("left", "right")},
    **{f"{side}_elbow": (f"{side}_upper_arm", f"{side}_forearm") for side in ("left", "right")},
    **{f"{side}_{joint}": (f"{side}_forearm",) for side in ("left", "right") for joint in ("wrist", "hand")},
    **{f"{side}_hip": (f"{side}_thigh", "torso") for side in ("left", "right")},
    **{f"{side}_knee": (f"{side}_thigh", f"{side}_shin") for side in ("left", "right")},
    **{f"{side}_ankle": (f"{side}_shin", f"{side}_foot") for side in ("left", "right")},
    **{f"{side}_toe": (f"{side}_foot",) for side in ("left", "right")},
}
_SEEN_TABLE = np.zeros((len(JOINT_NAMES), LABELS_PER_PERSON), dtype=bool)
for _joint, _parts in _SEEN_ON.items():
    _SEEN_TABLE[JOINT[_joint], [PART[part] for part in _parts]] = True

# A joint of the trunk lies behind it, not on it, when it is this much deeper than the trunk's middle.
_BEHIND_TRUNK = np.full(len(JOINT_NAMES), -np.inf)
_BEHIND_TRUNK[[JOINT["left_shoulder"], JOINT["right_shoulder"]]] = -0.10
_BEHIND_TRUNK[[JOINT["left_hip"], JOINT["right_hip"]]] = -0.05
_FACE_JOINTS = np.array([JOINT[name] for name in FACE_FEATURES])
_FACE_COLUMNS = np.array(list(FACE_FEATURES.values()))
_FACE_TURNED_AWAY = np.array(
    [{"nose": -0.25, "left_ear": -0.25, "right_ear": -0.25}.get(name, 0.05) for name in FACE_FEATURES]
)

_OUTLINE_TOLERANCE = 0.9


@dataclass(frozen=True)
class Person:
    """One person in a scene. Lengths are image pixels; a pixel's centre has integer coordinates.

    Attributes:
        number: The person's number in the labels: ``labels // 16``, where ``labels % 16`` is a part.
        joints: Positions of `JOINT_NAMES`, ``[J, 2]``.
        visibility: 0 outside the image, 1 hidden, 2 visible, ``[J]``.
        box: x, y, width, height of the visible pixels, edges of pixels.
        area: Of the visible pixels.
        visible_share: Of the pixels of the person drawn inside the image, those that nothing covers, 0..1.
        outline: Polygons around the visible pixels, edges of pixels, each ``[N, 2]``.
        body_box: x0, y0, x1, y1 of the whole figure, also where it leaves the image.
        head_box: x0, y0, x1, y1 of the head, likewise.
        standing_height: What the person would measure standing.
        extremities: Positions of `EXTREMITY_NAMES` in a scene drawn in detail, ``[116, 2]``, or None.
        extremity_visibility: Their flags, as those of the joints, ``[116]``, or None.
    """

    number: int
    joints: np.ndarray
    visibility: np.ndarray
    box: tuple[float, float, float, float]
    area: float
    visible_share: float
    outline: list[np.ndarray]
    body_box: np.ndarray
    head_box: np.ndarray
    standing_height: float
    extremities: np.ndarray | None = None
    extremity_visibility: np.ndarray | None = None


@dataclass(frozen=True)
class Scene:
    """A picture and the people of whom something is visible, the farthest first.

    Attributes:
        image: BGR, uint8 ``[h, w, 3]``.
        labels: Person and part of each drawn pixel, ``16 * person + part``, uint8 ``[2h, 2w]``.
        people: The people.
    """

    image: np.ndarray
    labels: np.ndarray
    people: list[Person]


_SHOT_HEIGHTS = ((1.0, 1.9), (0.55, 1.0), (0.31, 0.55))


def draw_scene(
    rng: np.random.Generator,
    crowd: Drawn,
    backgrounds: Backgrounds,
    size: tuple[int, int],
    in_detail: bool = False,
) -> Scene:
    """Draw a random scene.

    Args:
        rng: Decides everything.
        crowd: How many people, and how they stand.
        backgrounds: Places, for a canvas of ``SUPERSAMPLING`` times ``size``.
        size: Width and height of the image, pixels.
        in_detail: Whether faces, hands and feet are drawn in detail.
    """
    canvas = backgrounds.sample(rng)
    count = 1 + int(np.searchsorted(np.cumsum(crowd.counts), rng.random() * sum(crowd.counts)))
    skeletons = pose_skeletons(
        sample_angles(rng, count), sample_views(rng, count), sample_proportions(rng, count)
    )
    # Across, a person stands where its joints are on average; down, on its lowest joint.
    footing = np.stack([skeletons.joints[..., 0].mean(1), -skeletons.joints[..., 1].min(1)], axis=1)
    height, centre_x, bottom = _arrange(rng, crowd, count, size)
    # The nearest last: it hides the others.
    order = np.argsort(height)
    scale = SUPERSAMPLING * height
    origin = np.stack(
        [SUPERSAMPLING * centre_x - scale * footing[:, 0], SUPERSAMPLING * bottom - scale * footing[:, 1]],
        axis=1,
    )
    angle = np.deg2rad(rng.uniform(-75, 75) - 90)
    light = np.array([np.cos(angle), np.sin(angle)])
    appearances = sample_appearances(rng, count)
    gestures = sample_gestures(rng, count) if in_detail else None
    figures = lay_out(skeletons, appearances, scale, origin, light, gestures)

    objects = np.searchsorted((0.72, 0.94, 1.0), rng.random())
    behind = rng.integers(0, count, size=objects).tolist()
    drawn_area = np.zeros(count)
    for position, index in enumerate(order.tolist()):
        paint(canvas, figures, index, position)
        window = canvas[_region(figures, index, canvas)]
        if window.size:
            drawn_area[index] = cv2.countNonZero(_own_pixels(cv2.extractChannel(window, 3), position))
        for _ in range(behind.count(position)):
            side, drop = rng.uniform(-0.32, 0.32), rng.uniform(0.22, 0.75)
            top = SUPERSAMPLING * bottom[index] - scale[index] * (1 - drop)
            middle = SUPERSAMPLING * centre_x[index] + side * scale[index]
            paint_object(rng, canvas, middle, top, scale[index])

    image = cv2.cvtColor(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGRA2BGR)
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.4, 0.9))
    labels = cv2.extractChannel(canvas, 3)
    visibility = _visibility(figures, order, labels, size)
    people = (
        _describe(
            figures, index, position, labels, visibility[index], float(drawn_area[index]), height[index]
        )
        for position, index in enumerate(order.tolist())
    )
    return Scene(image, labels, [person for person in people if person is not None])


def _arrange(
    rng: np.random.Generator, crowd: Drawn, count: int, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standing height, centre and ground line of each person, image pixels, each ``[count]``."""
    width, height = size
    shot = int(np.searchsorted(np.cumsum(crowd.shots), rng.random() * sum(crowd.shots)))
    low, high = _SHOT_HEIGHTS[shot]
    base = height * low * (high / low) ** rng.random()
    together = rng.random()
    spread = 0.08 if crowd.huddle else 0.16
    tall = base * np.exp(spread * rng.standard_normal(count))
    horizon = height * rng.uniform(0.25, 0.48)
    eye_level = rng.uniform(0.82, 0.97) if shot == 0 else rng.uniform(0.5, 0.78)
    if crowd.huddle:
        step = base * (0.58 * (1 - together) + 0.06)
        places = (np.arange(count) - (count - 1) / 2) * step
        centre = width * rng.uniform(0.4, 0.6) + places + 0.2 * step * rng.standard_normal(count)
        tall = tall[rng.permutation(count)]
    else:
        # Some stand farther away than the rest.
        away = (rng.random(count) < 0.14) & (np.arange(count) > 0)
        tall = np.where(away, tall * rng.uniform(0.35, 0.7, count), tall)
        centre = width * rng.uniform(0.04, 0.96, count)
        centre[0] = width * rng.uniform(0.16, 0.84)
        beside = rng.random(count) < together
        step = rng.uniform(0.14, 0.5, count) * rng.choice((-1.0, 1.0), count)
        for index in range(1, count):
            if beside[index]:
                centre[index] = centre[index - 1] + step[index] * tall[index]
        centre = np.clip(centre, -0.02 * width, 1.02 * width)
    bottom = horizon + eye_level * tall + 0.04 * tall * rng.standard_normal(count)
    stray = rng.random(count) < (0.03 if crowd.huddle else 0.1)
    bottom = np.where(stray, bottom + height * rng.uniform(-0.3, 0.3, count), bottom)
    return tall, centre, bottom


def _region(figures: Figures, index: int, canvas: np.ndarray) -> tuple[slice, slice]:
    """The part of the canvas that holds a person, rows and columns; empty where the person is outside."""
    left, top, right, bottom = figures.region[index].tolist()
    rows, columns = np.clip((top, bottom), 0, canvas.shape[0]), np.clip((left, right), 0, canvas.shape[1])
    return slice(*rows.tolist()), slice(*columns.tolist())


def _own_pixels(labels: np.ndarray, number: int) -> np.ndarray:
    """Mask of a person's pixels, uint8 0 or 255."""
    first = LABELS_PER_PERSON * number + 1
    return cv2.inRange(labels, np.array(first), np.array(first + len(PART_NAMES) - 2))


def _visibility(figures: Figures, order: np.ndarray, labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Visibility flags of all joints, ``[P, J]``, rows as in ``figures``."""
    position = np.argsort(order)
    inside, label = _inside(figures.joints, size), _labels_at(np.rint(figures.joints), labels)
    own = label // LABELS_PER_PERSON == position[:, None]
    seen = _SEEN_TABLE[np.arange(len(JOINT_NAMES)), label % LABELS_PER_PERSON]
    turned_away = figures.depth - figures.torso_depth[:, None] < _BEHIND_TRUNK
    turned_away[:, _FACE_JOINTS] = figures.head_facing[:, _FACE_COLUMNS] < _FACE_TURNED_AWAY
    return np.where(inside, np.where(own & seen & ~turned_away, VISIBLE, HIDDEN), NOT_IN_IMAGE)


# Where the label of a point's own part is looked for: a tip or an edge lies on the border of what is painted.
_NEIGHBOURS = np.array([(x, y) for y in (-2, 0, 2) for x in (-2, 0, 2)])
_EXTREMITY_SEEN_TABLE = np.zeros((len(EXTREMITY_NAMES), LABELS_PER_PERSON), dtype=bool)
for _rows, _parts in (
    (FACE, ("face", "head_back")),
    (slice(FEET.start, 3), ("left_foot",)),
    (slice(3, FEET.stop), ("right_foot",)),
    (HANDS["left"], ("left_forearm",)),
    (HANDS["right"], ("right_forearm",)),
):
    _EXTREMITY_SEEN_TABLE[_rows, [[PART[part]] for part in _parts]] = True
_FACE_POINT_TURNED_AWAY = 0.0


def _extremity_visibility(
    figures: Figures, index: int, number: int, labels: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Visibility flags of a person's points of feet, face and hands, ``[116]``."""
    assert figures.extremities is not None
    points = figures.extremities.points[index]
    inside, label = _inside(points, size), _labels_at(np.rint(points)[:, None] + _NEIGHBOURS, labels)
    own = label // LABELS_PER_PERSON == number
    on_part = _EXTREMITY_SEEN_TABLE[np.arange(len(points))[:, None], label % LABELS_PER_PERSON]
    seen = (own & on_part).any(axis=1)
    seen[FACE] &= figures.extremities.facing[index] > _FACE_POINT_TURNED_AWAY
    return np.where(inside, np.where(seen, VISIBLE, HIDDEN), NOT_IN_IMAGE)


def _inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which canvas points ``[..., 2]`` lie in a pixel of the image, ``[...]``."""
    rounded = np.rint(_to_image(points))
    return ((rounded >= 0) & (rounded < size)).all(axis=-1)


def _labels_at(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The labels of canvas pixels ``[..., 2]``, or of the nearest ones on the canvas, int64 ``[...]``."""
    column, row = np.clip(pixels.astype(np.int64), 0, np.array(labels.shape[::-1]) - 1).T
    return labels[row, column].T.astype(np.int64)


def _to_image(points: np.ndarray) -> np.ndarray:
    """Canvas pixels to image pixels, both with integer coordinates at the centres of pixels."""
    return (points - (SUPERSAMPLING - 1) / 2) / SUPERSAMPLING


def _describe(
    figures: Figures,
    index: int,
    number: int,
    labels: np.ndarray,
    visibility: np.ndarray,
    drawn_area: float,
    standing_height: float,
) -> Person | None:
    """What can be known about a person; None if nothing of it is visible."""
    if not drawn_area:
        return None
    rows, columns = _region(figures, index, labels)
    mask = _own_pixels(labels[rows, columns], number)
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    corner = np.array((columns.start, rows.start))
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    simple = [cv2.approxPolyDP(each, _OUTLINE_TOLERANCE, True)[:, 0] for each in contours if len(each) > 4]
    outline = [(polygon + corner + 0.5) / SUPERSAMPLING for polygon in simple if len(polygon) > 2]
    pixels = cv2.countNonZero(mask)
    extremities = extremity_visibility = None
    if figures.extremities is not None:
        extremities = _to_image(figures.extremities.points[index])
        size = (labels.shape[1] // SUPERSAMPLING, labels.shape[0] // SUPERSAMPLING)
        extremity_visibility = _extremity_visibility(figures, index, number, labels, size)
    joints = _to_image(figures.joints[index])
    box = (left + columns.start, top + rows.start, width, height)
    return Person(
        number=number,
        joints=joints,
        visibility=visibility,
        box=tuple(float(value) / SUPERSAMPLING for value in box),  # type: ignore[arg-type]
        area=pixels / SUPERSAMPLING**2,
        visible_share=pixels / drawn_area,
        outline=outline,
        body_box=np.concatenate([joints.min(axis=0), joints.max(axis=0)]),
        head_box=_to_image(figures.head_box[index].reshape(2, 2)).reshape(4),
        standing_height=float(standing_height),
        extremities=extremities,
        extremity_visibility=extremity_visibility,
    )
