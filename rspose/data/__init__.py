"""Generated datasets in the files of the real ones, and checks of both.

Needs numpy, OpenCV and scipy's reader and writer of MATLAB files only.
"""

from rspose.data.check import (
    Inspection,
    check_dataset,
    check_dataset_once,
    inspect_dataset,
    what_to_fetch,
)
from rspose.data.contact_sheet import contact_sheet
from rspose.data.crops import PART_FLIP, PART_NAMES, figure_crops
from rspose.data.generate import DEMO_SIZE, make_dataset
from rspose.data.layout import LAYOUTS, DatasetLayout, dataset_layout
from rspose.data.manifest import generator_version, read_manifest

__all__ = [
    "DEMO_SIZE",
    "LAYOUTS",
    "PART_FLIP",
    "PART_NAMES",
    "DatasetLayout",
    "Inspection",
    "check_dataset",
    "check_dataset_once",
    "contact_sheet",
    "dataset_layout",
    "figure_crops",
    "generator_version",
    "inspect_dataset",
    "make_dataset",
    "read_manifest",
    "what_to_fetch",
]
