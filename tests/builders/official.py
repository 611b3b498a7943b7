"""The official evaluators, as far as they are at hand."""

import sys

import pytest

needs_xtcocotools = pytest.mark.skipif(
    sys.version_info >= (3, 13),
    reason="xtcocotools does not build on Python 3.13: make PYTHON=python3.12 setup, and run it there",
)
