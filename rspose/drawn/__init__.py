"""Drawn datasets in the files of the real ones."""

from rspose.drawn.crops import PART_FLIP, PART_NAMES, figure_crops
from rspose.drawn.generate import DEMO_SIZE, make_dataset
from rspose.drawn.version import generator_version

__all__ = ["DEMO_SIZE", "PART_FLIP", "PART_NAMES", "figure_crops", "generator_version", "make_dataset"]
