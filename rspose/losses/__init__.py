"""Losses for keypoint maps in plain PyTorch: RSPose's ranking losses, the loss interface, the registry."""

from rspose.losses.composition import Sum
from rspose.losses.instance_sort import InstanceSort, instance_sort, keypoint_similarity
from rspose.losses.interface import (
    HeatmapLoss,
    KeypointTarget,
    Maps,
    PerMapLoss,
    Reduction,
    Tunable,
    as_tuple,
    check_choice,
    check_numbers,
    full_precision,
    on_maps,
    over_maps,
    visible_maps,
    visible_weights,
    weighted_mean,
)
from rspose.losses.rank_sort import ap_loss, rank_sort
from rspose.losses.registry import available, build, load, parameters, register, unusable
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
    "Sum",
    "Tunable",
    "ap_loss",
    "as_tuple",
    "available",
    "build",
    "check_choice",
    "check_numbers",
    "full_precision",
    "instance_sort",
    "keypoint_similarity",
    "load",
    "on_maps",
    "over_maps",
    "parameters",
    "rank_sort",
    "register",
    "spatial_rs",
    "unusable",
    "visible_maps",
    "visible_weights",
    "weighted_mean",
]
