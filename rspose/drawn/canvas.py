"""Fixed-point coordinates and labelled colours: what everything painted on a canvas shares.

The canvas has four channels: blue, green, red and a label.
"""

import numpy as np

SHIFT = 3
SUBPIXEL = 1 << SHIFT
"""OpenCV takes coordinates as integers, in this fraction of a pixel."""

DARK = 0.66
"""Shade of outlines and of what the light does not reach."""


def fixed(points: np.ndarray) -> np.ndarray:
    """Canvas pixels as OpenCV's fixed-point integers."""
    return np.rint(points * SUBPIXEL).astype(np.int32, order="C")


def ink(colour: np.ndarray, shade: float, label: int) -> tuple[float, float, float, float]:
    """A BGR colour times a shade, and the label that is written with it."""
    blue, green, red = colour.tolist()
    return (min(blue * shade, 255.0), min(green * shade, 255.0), min(red * shade, 255.0), float(label))
