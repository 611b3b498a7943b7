"""RSPose Bench: which heatmap loss trains the better human-pose estimator?"""

__version__ = "0.1.0"
