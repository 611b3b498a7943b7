"""How a record keeps the replicates of a bootstrap: a number in 16 bits, as text."""

from base64 import b64decode, b64encode

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


def decode(text: str) -> np.ndarray:
    """What :func:`encode` was given, to 0.00002, float64; ValueError if the text is something else."""
    steps = _read(text)
    return np.where(steps == _UNDEFINED, np.nan, steps / _STEPS)


def coarser(text: str) -> str:
    """The replicates rounded to 1/256, so that they compress to half the size."""
    steps = _read(text)
    rounded = np.clip(128 * np.rint(steps / 128), -_STEPS, _STEPS)
    return b64encode(np.where(steps == _UNDEFINED, steps, rounded).astype("<i2").tobytes()).decode()
