"""A canvas of four channels, blue, green, red and a label, and a brush that paints colour and label at once.

Polygons are in fixed-point canvas pixels, as :func:`fixed` makes them, int32 ``[N, 2]``.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

SUPERSAMPLING = 2
"""Canvas pixels to a pixel of the image, which smooths the edges; labels keep the canvas's size."""

_SHIFT = 3
SUBPIXEL = 1 << _SHIFT
"""OpenCV takes coordinates as integers, in this fraction of a pixel."""

DARK = 0.66
"""Shade of outlines and of what the light does not reach."""


def fixed(points: np.ndarray) -> np.ndarray:
    """Canvas pixels as OpenCV's fixed-point integers."""
    return np.rint(points * SUBPIXEL).astype(np.int32, order="C")


def thickness(pixels: float) -> int:
    """The whole width of a line."""
    return max(1, round(pixels))


def hull(*points: np.ndarray) -> np.ndarray:
    """The convex hull of fixed-point points."""
    return cv2.convexHull(np.concatenate(points))


@dataclass(frozen=True)
class Brush:
    """Paints on a canvas, uint8 ``[H, W, 4]``, with one label. Colours are BGR, and come times a shade."""

    canvas: np.ndarray
    label: int

    def fill(self, polygon: np.ndarray, colour: Iterable[float], shade: float = 1.0) -> None:
        """Fill a convex polygon."""
        cv2.fillConvexPoly(self.canvas, polygon, self._ink(colour, shade), 8, _SHIFT)

    def fill_any(self, polygon: np.ndarray, colour: Iterable[float]) -> None:
        """Fill a polygon that may not be convex."""
        cv2.fillPoly(self.canvas, [polygon], self._ink(colour, 1.0), 8, _SHIFT)

    def line(
        self, points: np.ndarray, colour: Iterable[float], shade: float, width: int, closed: bool = False
    ) -> None:
        """Join points by a line, ``width`` pixels wide."""
        cv2.polylines(self.canvas, [points], closed, self._ink(colour, shade), width, 8, _SHIFT)

    def disc(
        self, centre: np.ndarray, radius: int, colour: Iterable[float], shade: float = 1.0, width: int = -1
    ) -> None:
        """Paint a disc of a fixed-point radius, or a circle ``width`` pixels wide."""
        cv2.circle(self.canvas, centre.tolist(), radius, self._ink(colour, shade), width, 8, _SHIFT)

    def _ink(self, colour: Iterable[float], shade: float) -> tuple[float, ...]:
        return (*(min(float(value) * shade, 255.0) for value in colour), float(self.label))
