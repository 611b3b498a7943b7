"""The datasets that the project knows: each is a module of this folder with one ``Dataset``."""

import re
from importlib import import_module
from pathlib import Path

from rspose.datasets.interface import Dataset

# A dataset's module is found, not imported by name: a further one changes no file that fingerprints cover.
_DATASET = re.compile(r"^([A-Z][A-Z0-9_]*) = Dataset\(", re.MULTILINE)


def _find() -> dict[str, Dataset]:
    found: list[Dataset] = []
    for file in sorted(Path(__file__).parent.glob("*.py")):
        for name in _DATASET.findall(file.read_text(encoding="utf-8")):
            found.append(getattr(import_module(f"rspose.datasets.{file.stem}"), name))
    return {each.name: each for each in found}


DATASETS: dict[str, Dataset] = _find()
"""By name, in the order of tables."""


def dataset(name: str) -> Dataset:
    """The dataset of that name; ValueError if it is unknown."""
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}: expected one of {', '.join(DATASETS)}")
    return DATASETS[name]
