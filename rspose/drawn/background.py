"""Places for people to stand in, and things for them to stand behind."""

from functools import cache

import cv2
import numpy as np

from rspose.drawn.canvas import SUPERSAMPLING

_POOL = 24


class Backgrounds:
    """A pool of textured places. Making them once and showing another part each time keeps drawing fast.

    Args:
        seed: Entropy of the pool, any sequence of integers.
        size: Width and height of the image, pixels.
    """

    def __init__(self, seed: tuple[int, ...], size: tuple[int, int]) -> None:
        self.size = size
        # A place depends on its index alone, so it does not matter when, or whether, the others are made.
        self._place = cache(lambda index: _draw_place(np.random.default_rng([*seed, index]), size))

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """A canvas to draw on: uint8 ``[H, W, 4]``, the label channel 0."""
        draws = rng.random(4)
        place = self._place(int(draws[0] * _POOL))
        width, height = (SUPERSAMPLING * side for side in self.size)
        left, top = int(draws[1] * (place.shape[1] - width)), int(draws[2] * (place.shape[0] - height))
        window = place[top : top + height, left : left + width]
        return cv2.convertScaleAbs(window, alpha=0.72 + 0.38 * draws[3])


def _noise(rng: np.random.Generator, width: int, height: int, cells: float) -> np.ndarray:
    """Smooth noise, about ``cells`` cells across, float32 ``[height, width]``."""
    shape = (max(2, round(cells * height / width)), max(2, round(cells)))
    small = rng.standard_normal(shape, dtype=np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _colour(rng: np.random.Generator, low: float, high: float, saturation: float) -> np.ndarray:
    value = rng.uniform(low, high)
    return np.clip(value * (1 + saturation * rng.uniform(-1, 1, 3)), 0, 255)


def _bgra(colour: np.ndarray) -> tuple[float, ...]:
    return (*np.clip(colour, 0, 255).tolist(), 0.0)


def _draw_place(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A room, a street or a field for an image of a size: uint8 ``[H, W, 4]``, the last channel 0."""
    margin = SUPERSAMPLING * rng.uniform(1.05, 1.5)
    full_width, full_height = (round(side * margin) for side in size)
    # Drawn at half the resolution: the places are a little out of focus, the people are not.
    width, height = full_width // 2, full_height // 2
    canvas = np.zeros((height, width, 4), np.uint8)

    def between(low: float, high: float) -> int:
        return int(rng.uniform(low, high))

    horizon = int(height * rng.uniform(0.35, 0.7))
    kind = rng.choice(["room", "street", "field"])
    if kind == "room":
        canvas[:horizon, :, :3] = _colour(rng, 110, 225, 0.16)
        canvas[horizon:, :, :3] = _colour(rng, 70, 180, 0.22)
        for _ in range(rng.integers(2, 7)):
            # A framed picture, window or cupboard door.
            x, y = between(0, width), between(0, horizon)
            corner = (x + int(rng.uniform(0.08, 0.26) * width), y + int(rng.uniform(0.08, 0.26) * height))
            cv2.rectangle(canvas, (x, y), corner, _bgra(_colour(rng, 40, 235, 0.4)), -1)
            cv2.rectangle(canvas, (x, y), corner, _bgra(_colour(rng, 30, 120, 0.3)), 2)
        if rng.random() < 0.6:
            boards = _bgra(canvas[-1, 0, :3] * 0.82)
            for x in np.linspace(-width, 2 * width, int(rng.integers(12, 26))):
                start = (int(width / 2 + (x - width / 2) * 0.5), horizon)
                cv2.line(canvas, start, (int(x), height), boards, 1, cv2.LINE_AA)
        cv2.line(canvas, (0, horizon), (width, horizon), _bgra(_colour(rng, 60, 235, 0.1)), 3)
    elif kind == "street":
        canvas[:horizon, :, :3] = np.array((235, 205, 170)) * rng.uniform(0.75, 1.05)
        canvas[horizon:, :, :3] = _colour(rng, 90, 150, 0.08)
        left = -5
        while left < width:
            span, top = int(rng.uniform(0.12, 0.34) * width), int(horizon * rng.uniform(0.0, 0.65))
            wall = _colour(rng, 80, 200, 0.25)
            cv2.rectangle(canvas, (left, top), (left + span, horizon), _bgra(wall), -1)
            pane, gap = max(4, span // 9), max(8, span // 5)
            glass = _bgra(wall * rng.uniform(0.45, 0.75))
            for x in range(left + gap // 2, left + span - pane, gap):
                for y in range(top + gap // 2, horizon - gap, gap):
                    cv2.rectangle(canvas, (x, y), (x + pane, y + int(1.4 * pane)), glass, -1)
            left += span
        for offset in (0.25, 0.6):
            y = int(horizon + offset * (height - horizon))
            end = (width, y + between(-8, 8))
            cv2.line(canvas, (0, y), end, _bgra(_colour(rng, 150, 230, 0.05)), 2)
    else:
        ramp = np.linspace(0.75, 1.0, horizon)[:, None, None]
        canvas[:horizon, :, :3] = np.array((240, 205, 165)) * ramp
        ground = np.array((70, 140, 105)) if rng.random() < 0.7 else np.array((150, 195, 215))
        canvas[horizon:, :, :3] = np.clip(ground * rng.uniform(0.7, 1.05), 0, 255)
        hill = np.array((90, 125, 80)) * rng.uniform(0.6, 1.1)
        for _ in range(rng.integers(3, 9)):
            centre = (between(0, width), horizon)
            axes = (int(rng.uniform(0.05, 0.3) * width), int(rng.uniform(0.08, 0.35) * horizon))
            cv2.ellipse(canvas, centre, axes, 0, 180, 360, _bgra(hill * rng.uniform(0.75, 1.2)), -1)
        for _ in range(rng.integers(0, 6)):
            x, top = between(0, width), int(rng.uniform(0.2, 0.8) * horizon)
            trunk = _bgra(_colour(rng, 40, 90, 0.25))
            cv2.line(canvas, (x, top), (x, horizon + 6), trunk, between(3, 8))
            radius = int(rng.uniform(0.04, 0.1) * width)
            cv2.circle(canvas, (x, top), radius, _bgra(hill * rng.uniform(0.7, 1.3)), -1)
    # Things of about a limb's width and colour, so that a limb is not the only long smooth shape.
    for _ in range(rng.integers(2, 8)):
        start = (between(0, width), between(0, height))
        end = (start[0] + int(rng.normal(0, 0.12 * width)), start[1] + int(rng.normal(0, 0.2 * height)))
        cv2.line(canvas, start, end, _bgra(_colour(rng, 50, 220, 0.35)), between(2, 9), cv2.LINE_AA)

    coarse, middle, fine = (_noise(rng, width, height, cells) for cells in (5, 24, width / 3))
    texture = 7 * coarse + 5 * middle + 4 * fine
    light = np.linspace(rng.uniform(0.8, 1.15), rng.uniform(0.8, 1.15), width, dtype=np.float32)
    # All four channels at once, in OpenCV: a place takes a sixth less time than with numpy in three of them.
    textures = cv2.merge([texture, texture, texture, np.zeros_like(texture)])
    lights = cv2.merge([np.broadcast_to(light, (height, width)).copy()] * 4)
    textured = cv2.add(cv2.multiply(canvas, lights, dtype=cv2.CV_32F), textures, dtype=cv2.CV_8U)
    blurred = cv2.GaussianBlur(textured, (0, 0), rng.uniform(0.4, 1.6))
    return cv2.resize(blurred, (full_width, full_height), interpolation=cv2.INTER_LINEAR)


def paint_object(rng: np.random.Generator, canvas: np.ndarray, x: float, y: float, size: float) -> None:
    """Paint a thing that hides what is behind it: its labels are no person's.

    Its top is at ``x, y``, canvas pixels; ``size`` is the height of a person at its distance.
    """
    draws = rng.random(8)
    base = (40 + 180 * draws[1]) * (1 + 0.45 * (draws[2:5] - 0.5))
    colour, dark, bright = _bgra(base), _bgra(base * 0.66), _bgra(np.minimum(base * 1.22, 255))
    thin = max(1, int(0.012 * size))
    bottom = int(y + size * (0.35 + 0.4 * draws[5]))

    def block(
        left: float, top: float, right: float, low: float, colour: tuple[float, ...], width: int = -1
    ) -> None:
        cv2.rectangle(canvas, (int(left), int(top)), (int(right), int(low)), colour, width)

    if draws[0] < 0.26:  # a box or cupboard
        half = size * (0.12 + 0.2 * draws[6])
        block(x - half, y, x + half, bottom, colour)
        block(x - half, y, x + half, y + 0.05 * size, bright)
        block(x - half, y, x + half, bottom, dark, 2 * thin)
        cv2.line(canvas, (int(x), int(y + 0.05 * size)), (int(x), bottom), dark, thin)
    elif draws[0] < 0.48:  # a pole or trunk
        half = max(2.0, size * (0.02 + 0.035 * draws[6]))
        block(x - half, -9, x + half, y + 1.4 * size, dark)
        block(x - half * 0.5, -9, x + half * 0.7, y + 1.4 * size, colour)
    elif draws[0] < 0.74:  # a table
        half = size * (0.2 + 0.28 * draws[6])
        top = int(y + 0.12 * size)
        for leg in (int(x - 0.86 * half), int(x + 0.86 * half)):
            cv2.line(canvas, (leg, top), (leg, top + int(0.45 * size)), dark, 4 * thin)
        block(x - half, top, x + half, top + int(0.07 * size), colour)
        block(x - half, top, x + half, top + int(0.025 * size), bright)
        if draws[7] < 0.6:
            side, spot = 0.11 * size, x + half * (draws[7] - 0.3)
            block(spot - side, top - 1.1 * side, spot + side, top, dark)
    else:  # a bush
        green = np.array((60.0, 120.0, 80.0)) * (0.6 + 0.6 * draws[1])
        radius = size * (0.08 + 0.08 * draws[6])
        for dx, dy, shade in (
            (-1, 1.1, 0.8), (1, 1.0, 0.85), (0, 0, 1.0), (-0.5, 1.9, 0.75), (0.7, 2.0, 0.9), (0.1, 1.1, 1.1)
        ):  # fmt: skip
            centre = (int(x + dx * radius), int(y + radius * (1 + dy)))
            cv2.circle(canvas, centre, int(radius), _bgra(green * shade), -1)
