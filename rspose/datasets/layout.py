"""Old names, for the modules that still use them."""

from rspose.datasets.interface import SPLITS as SPLITS
from rspose.datasets.interface import Dataset as DatasetLayout
from rspose.datasets.registry import DATASETS as LAYOUTS
from rspose.datasets.registry import dataset as dataset_layout

__all__ = ["LAYOUTS", "SPLITS", "DatasetLayout", "dataset_layout"]
