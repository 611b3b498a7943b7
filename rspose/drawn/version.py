"""The version of the drawing: a hash of the sources that decide what a dataset looks like."""

import hashlib
from pathlib import Path

_NOT_DRAWING = {"crops.py", "__init__.py"}


def generator_version() -> str:
    """A hash of the sources that decide what a dataset looks like."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    datasets = folder.parent / "datasets"
    for source in (*sorted(folder.glob("*.py")), datasets / "keypoints.py", datasets / "layout.py"):
        if source.name not in _NOT_DRAWING:
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]
