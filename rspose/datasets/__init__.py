"""What the project knows of each dataset: keypoints, files, releases, annotations, and checks."""

from rspose.datasets.check import (
    Inspection,
    check_dataset,
    check_dataset_once,
    inspect_dataset,
    what_to_fetch,
)
from rspose.datasets.layout import LAYOUTS, DatasetLayout, dataset_layout
from rspose.datasets.manifest import read_manifest

__all__ = [
    "LAYOUTS",
    "DatasetLayout",
    "Inspection",
    "check_dataset",
    "check_dataset_once",
    "dataset_layout",
    "inspect_dataset",
    "read_manifest",
    "what_to_fetch",
]
