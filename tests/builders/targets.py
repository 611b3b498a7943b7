"""Keypoint targets for the loss tests: those of the conformance checks."""

from rspose.tools.conformance import SIGMA, SIZE, gaussian_labels, make_target, on_maps, random_prediction

__all__ = ["SIGMA", "SIZE", "gaussian_labels", "make_target", "on_maps", "random_prediction"]
