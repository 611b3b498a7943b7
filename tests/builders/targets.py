"""Keypoint targets for the loss tests: those of the conformance checks."""

from rspose.losses import on_maps
from rspose.tools.targets import SMALL, gaussian_labels, make_target, random_prediction

SIZE = {head: layout.size for head, layout in SMALL.items()}
SIGMA = {head: layout.sigma for head, layout in SMALL.items()}

__all__ = ["SIGMA", "SIZE", "gaussian_labels", "make_target", "on_maps", "random_prediction"]
