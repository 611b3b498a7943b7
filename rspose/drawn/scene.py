"""A picture with people in it, and what can be known about each of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from rspose.datasets.interface import SPLITS, Dataset, Drawn
from rspose.drawn.appearance import sample_appearances
from rspose.drawn.background import Backgrounds, paint_object
from rspose.drawn.canvas import SUPERSAMPLING
from rspose.drawn.drawing import LABELS_PER_PERSON, PART, Figure, lay_out, paint
from rspose.drawn.extremities import EXTREMITY_NAMES, FACE, FEET, HANDS, sample_gestures
from rspose.drawn.skeleton import joint_table, sample_skeletons

NOT_IN_IMAGE, HIDDEN, VISIBLE = 0, 1, 2

# On which of the person's own parts a joint must be seen.
_JOINT_SEEN_ON = joint_table(
    {
        "nose": "face", "left_eye": "face", "left_ear": "face head_back", "head_top": "face head_back",
        "upper_neck": "face head_back torso", "thorax": "torso", "pelvis": "torso left_thigh",
        "left_shoulder": "left_upper_arm torso", "left_elbow": "left_upper_arm left_forearm",
        "left_wrist": "left_forearm", "left_hand": "left_forearm",
        "left_hip": "left_thigh torso", "left_knee": "left_thigh left_shin",
        "left_ankle": "left_shin left_foot", "left_toe": "left_foot",
    },
    PART,
)  # fmt: skip
_EXTREMITY_SEEN_ON = np.zeros((len(EXTREMITY_NAMES), len(PART)), dtype=bool)
_EXTREMITY_SEEN_ON[FACE, [[PART["face"]], [PART["head_back"]]]] = True
for _side, _foot in (("left", slice(FEET.start, 3)), ("right", slice(3, FEET.stop))):
    _EXTREMITY_SEEN_ON[_foot, PART[f"{_side}_foot"]] = True
    _EXTREMITY_SEEN_ON[HANDS[_side], PART[f"{_side}_forearm"]] = True
# Where from the point that is looked for: a tip or an edge lies on the border of what is painted.
_ON_THE_SPOT = np.zeros((1, 2))
_AROUND = np.array([(x, y) for y in (-2, 0, 2) for x in (-2, 0, 2)])

_OUTLINE_TOLERANCE = 0.9
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class Person:
    """One person in a scene. Lengths are image pixels; a pixel's centre has integer coordinates.

    Attributes:
        number: The person's number in the labels: ``labels // 16``, where ``labels % 16`` is a part.
        joints: Positions of the joints, ``[J, 2]``.
        visibility: 0 outside the image, 1 hidden, 2 visible, ``[J]``.
        box: x, y, width, height of the visible pixels, edges of pixels.
        area: Of the visible pixels.
        visible_share: Of the pixels of the person drawn inside the image, those that nothing covers, 0..1.
        outline: Polygons around the visible pixels, edges of pixels, each ``[N, 2]``.
        head_box: Upper left and lower right corner of the head, also where it leaves the image, ``[2, 2]``.
        extremities: Positions of `EXTREMITY_NAMES`, ``[116, 2]``; empty in a scene not drawn in detail.
        extremity_visibility: Their flags, as those of the joints.
    """

    number: int
    joints: np.ndarray
    visibility: np.ndarray
    box: tuple[float, ...]
    area: float
    visible_share: float
    outline: list[np.ndarray]
    head_box: np.ndarray
    extremities: np.ndarray
    extremity_visibility: np.ndarray


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


def drawn_of(known: Dataset) -> Drawn:
    """How pictures of a dataset are drawn; a ValueError if they are not."""
    if known.drawn is None:
        raise ValueError(f"{known.name}: its module does not say how its pictures are drawn; set data.*.root")
    return known.drawn


def drawings(
    known: Dataset, split: str, count: int, seed: int, size: tuple[int, int]
) -> Iterator[tuple[np.random.Generator, Callable[[], Scene]]]:
    """For each picture of a split its own random numbers, and what draws a scene from them."""
    look = drawn_of(known)
    number = (look.number, SPLITS.index(split))
    # Train and val share no places.
    backgrounds = Backgrounds((seed, *number, 0, 1), size)
    for index in range(count):
        rng = np.random.default_rng([seed, *number, index])
        yield rng, partial(draw_scene, rng, look, backgrounds, bool(known.keypoints.parts))


def write_picture(path: Path, scene: Scene) -> None:
    """Write the picture of a scene as a JPEG."""
    _, encoded = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    path.write_bytes(encoded.tobytes())


def draw_scene(
    rng: np.random.Generator, crowd: Drawn, backgrounds: Backgrounds, in_detail: bool = False
) -> Scene:
    """Draw a random scene; the generator decides everything.

    ``crowd`` says how many people there are and how they stand. The image has the size of ``backgrounds``;
    faces, hands and feet are drawn ``in_detail`` or plain.
    """
    canvas, size = backgrounds.sample(rng), backgrounds.size
    count = 1 + int(np.searchsorted(np.cumsum(crowd.counts), rng.random() * sum(crowd.counts)))
    skeletons = sample_skeletons(rng, count)
    # Across, a person stands where its joints are on average; down, on its lowest joint.
    footing = np.stack([skeletons.joints[..., 0].mean(1), -skeletons.joints[..., 1].min(1)], axis=1)
    height, centre_x, bottom = _arrange(rng, crowd, count, size)
    # The nearest last: it hides the others.
    order = np.argsort(height)
    scale = SUPERSAMPLING * height
    origin = SUPERSAMPLING * np.stack([centre_x, bottom], axis=1) - scale[:, None] * footing
    angle = np.deg2rad(rng.uniform(-75, 75) - 90)
    light = np.array([np.cos(angle), np.sin(angle)])
    appearances = sample_appearances(rng, count)
    gestures = sample_gestures(rng, count) if in_detail else None
    figures = lay_out(skeletons, appearances, scale, origin, light, gestures)

    objects = np.searchsorted((0.72, 0.94, 1.0), rng.random())
    behind = rng.integers(0, count, size=objects).tolist()
    drawn_area = np.zeros(count)
    for position, index in enumerate(order.tolist()):
        paint(canvas, figures[index], position)
        window = canvas[figures[index].window(canvas)]
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
    found = (
        _describe(figures[index], number, labels, drawn_area[index]) for number, index in enumerate(order)
    )
    return Scene(image, labels, [person for person in found if person is not None])


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


def _own_pixels(labels: np.ndarray, number: int) -> np.ndarray:
    """Mask of a person's pixels, uint8 0 or 255."""
    first = LABELS_PER_PERSON * number + 1
    return cv2.inRange(labels, np.array(first), np.array(first + len(PART) - 2))


def _visibility(
    points: np.ndarray,
    turned_away: np.ndarray,
    labels: np.ndarray,
    number: int,
    seen_on: np.ndarray,
    near: np.ndarray,
) -> np.ndarray:
    """Flags of canvas points of a person, ``[N]``.

    A point is visible where a part that it may be ``seen_on``, ``[N, parts]``, is drawn in one of the pixels
    ``near`` it, ``[M, 2]`` relative to it.
    """
    size = np.array(labels.shape[::-1])
    rounded = np.rint(_to_image(points))
    inside = ((rounded >= 0) & (rounded < size // SUPERSAMPLING)).all(axis=1)
    column, row = np.clip((np.rint(points)[:, None] + near).astype(np.int64), 0, size - 1).T
    label = labels[row, column].T
    on_part = seen_on[np.arange(len(points))[:, None], label % LABELS_PER_PERSON]
    seen = ((label // LABELS_PER_PERSON == number) & on_part).any(axis=1) & ~turned_away
    return np.where(inside, np.where(seen, VISIBLE, HIDDEN), NOT_IN_IMAGE)


def _to_image(points: np.ndarray) -> np.ndarray:
    """Canvas pixels to image pixels, both with integer coordinates at the centres of pixels."""
    return (points - (SUPERSAMPLING - 1) / 2) / SUPERSAMPLING


def _describe(figure: Figure, number: int, labels: np.ndarray, drawn_area: float) -> Person | None:
    """What can be known about a person; None if nothing of it is visible."""
    if not drawn_area:
        return None
    rows, columns = figure.window(labels)
    mask = _own_pixels(labels[rows, columns], number)
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    corner = np.array((columns.start, rows.start))
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    simple = [cv2.approxPolyDP(each, _OUTLINE_TOLERANCE, True)[:, 0] for each in contours if len(each) > 4]
    outline = [(polygon + corner + 0.5) / SUPERSAMPLING for polygon in simple if len(polygon) > 2]
    pixels = cv2.countNonZero(mask)
    visibility = _visibility(figure.joints, figure.turned_away, labels, number, _JOINT_SEEN_ON, _ON_THE_SPOT)
    extremities, extremity_visibility = np.empty((0, 2)), np.empty(0)
    if figure.extremities is not None:
        extremities = figure.extremities.points
        turned_away = np.zeros(len(extremities), dtype=bool)
        turned_away[FACE] = figure.extremities.facing <= 0
        extremity_visibility = _visibility(
            extremities, turned_away, labels, number, _EXTREMITY_SEEN_ON, _AROUND
        )
    box = (left + columns.start, top + rows.start, width, height)
    return Person(
        number=number,
        joints=_to_image(figure.joints),
        visibility=visibility,
        box=tuple(float(value) / SUPERSAMPLING for value in box),
        area=pixels / SUPERSAMPLING**2,
        visible_share=float(pixels / drawn_area),
        outline=outline,
        head_box=_to_image(figure.head_box),
        extremities=_to_image(extremities),
        extremity_visibility=extremity_visibility,
    )
