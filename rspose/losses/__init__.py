"""Losses for keypoint maps in plain PyTorch: RSPose's ranking losses, the loss interface, the registry."""

from rspose.losses.instance_sort import InstanceSort, instance_sort, keypoint_similarity
from rspose.losses.interface import (
    HeatmapLoss,
    KeypointTarget,
    Maps,
    PerMapLoss,
    Reduction,
    as_tuple,
    checked_reduction,
    full_precision,
    mean_over_all,
    sum_over_axes,
    visible_maps,
    visible_weights,
    weighted_mean,
)
from rspose.losses.rank_sort.operator import ap_loss, rank_sort
from rspose.losses.registry import available, build, discover, load, parameters, register, unusable
from rspose.losses.rspose import RSPose
from rspose.losses.spatial_rs import SpatialRS, spatial_rs

__all__ = [
    "HeatmapLoss",
    "InstanceSort",
    "KeypointTarget",
    "Maps",
    "PerMapLoss",
    "RSPose",
    "Reduction",
    "SpatialRS",
    "ap_loss",
    "as_tuple",
    "available",
    "build",
    "checked_reduction",
    "discover",
    "full_precision",
    "instance_sort",
    "keypoint_similarity",
    "load",
    "mean_over_all",
    "parameters",
    "rank_sort",
    "register",
    "spatial_rs",
    "sum_over_axes",
    "unusable",
    "visible_maps",
    "visible_weights",
    "weighted_mean",
]
