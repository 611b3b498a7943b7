"""Drawn datasets in the files of the real ones."""

from rspose.drawn.crops import PART_FLIP, PART_NAMES, figure_crops
from rspose.drawn.generate import DEMO_SIZE, make_dataset

__all__ = ["DEMO_SIZE", "PART_FLIP", "PART_NAMES", "figure_crops", "make_dataset"]
