"""The mmpose side of the benchmark: heads that hand a loss its target, and what mmpose needs to be imported.

Importing this package makes mmpose importable and registers the benchmark's modules and losses with it, so
that one line in an mmpose config is enough: ``custom_imports = dict(imports=["rspose.training"])``. Only
:mod:`rspose.training.timm_backbones` is left to those who need it: timm takes two seconds to import.
"""

import logging
import os

import numpy as np
from torch.serialization import add_safe_globals

from rspose.training import import_standins

import_standins.install()
# It warns of a CUDA toolkit without a GPU, as on a login node, before every answer; doctor says so too.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)

# A checkpoint is data. torch then refuses one that brings code, which mmengine and torch.hub would run.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
# That of plain mmpose describes its dataset in arrays of these, which mmengine's list of what is data lacks.
add_safe_globals([type(np.dtype(kind)) for kind in (np.float32, np.uint8)])
# Trainings are deterministic, and on a GPU torch refuses matrix products that are not. Read when CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

# For a few functions that no training calls these modules take a third of the time of the import.
with import_standins.deferring("matplotlib.pyplot", "scipy.io", "scipy.stats"):
    import mmpose.datasets
    import mmpose.models  # noqa: F401

from rspose.training import heads, hooks, map_losses, mmpose_datasets, necks, transforms  # noqa: E402  (mmpose is importable only now)

__all__ = ["heads", "hooks", "map_losses", "mmpose_datasets", "necks", "transforms"]
