"""How a record keeps the replicates of a bootstrap: a number in 16 bits, as text."""

from base64 import b64decode, b64encode
from functools import lru_cache

import numpy as np

# 0.003 percentage points apart, with one value left for undefined ones.
_STEPS = 32767
_UNDEFINED = -32768


def encode(replicates: np.ndarray) -> str:
    """Numbers in [-1, 1], NaN where undefined, as base64 of little-endian 16-bit integers."""
    steps = np.where(np.isnan(replicates), _UNDEFINED, np.rint(np.nan_to_num(replicates) * _STEPS))
    return b64encode(steps.astype("<i2").tobytes()).decode()


def _read(text: str) -> np.ndarray:
    return np.frombuffer(b64decode(text, validate=True), dtype="<i2")


@lru_cache(20_000)  # 80 MB: of one record many tables ask
def decode(text: str) -> np.ndarray:
    """What :func:`encode` was given, to 0.00002, float64, read-only; ValueError if the text is no such."""
    steps = _read(text)
    decoded = np.where(steps == _UNDEFINED, np.nan, steps / _STEPS)
    decoded.setflags(write=False)
    return decoded


def ends(text: str) -> tuple[int, list[float] | None]:
    """How many replicates there are, and the ends of the 95 % of those that are defined, if any are.

    The quantiles of numpy, of whole numbers that need not be decoded; errors as :func:`decode`.
    """
    steps = _read(text)
    known = np.sort(steps[steps != _UNDEFINED]).astype(float) / _STEPS
    if not len(known):
        return len(steps), None
    last = len(known) - 1
    found = []
    for at in (0.025 * last, 0.975 * last):
        below = int(at)
        low, high = known[below], known[min(below + 1, last)]
        found.append(float(low + (at - below) * (high - low)))
    return len(steps), found


def coarser(text: str) -> str:
    """The replicates rounded to 1/256, so that they compress to half the size."""
    steps = _read(text)
    rounded = np.clip(128 * np.rint(steps / 128), -_STEPS, _STEPS)
    return b64encode(np.where(steps == _UNDEFINED, steps, rounded).astype("<i2").tobytes()).decode()
