"""Drawn datasets in the files of the real ones."""

from rspose.drawn.crops import figure_crops
from rspose.drawn.drawing import PART_FLIP, PART_NAMES
from rspose.drawn.generate import DEMO_SIZE, make_dataset

__all__ = ["DEMO_SIZE", "PART_FLIP", "PART_NAMES", "figure_crops", "make_dataset"]
