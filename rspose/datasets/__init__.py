"""What the project knows of each dataset, and the reading and checking of its files."""

from rspose.datasets.interface import SPLITS, Dataset, KeypointSet
from rspose.datasets.registry import DATASETS, dataset

__all__ = ["DATASETS", "SPLITS", "Dataset", "KeypointSet", "dataset"]
