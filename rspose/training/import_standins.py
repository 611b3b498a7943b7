"""Make mmpose importable beside mmcv-lite.

Two modules of mmpose 1.3 import, at import time, names that only a compiled mmcv or mmdet provides. Neither
is needed by the heatmap and SimCC heads. Where the real package is missing, a stand-in takes its place in
``sys.modules`` that lets mmpose import and raises a clear error if anything ever tries to use it.
"""

import importlib.util
import sys
from types import ModuleType
from typing import Any

from torch import nn


def _missing(package: str, name: str) -> type[nn.Module]:
    class Missing(nn.Module):
        def __init__(self, *_: Any, **__: Any) -> None:
            raise ImportError(f"{name} needs {package}, which is not installed: install {package} to use it")

    Missing.__name__ = name
    return Missing


def _available(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def install() -> None:
    """Put stand-ins for ``mmcv.ops`` and ``mmdet.utils`` into ``sys.modules`` where they are missing."""
    if "mmcv.ops" not in sys.modules and not _available("mmcv._ext"):
        ops = ModuleType("mmcv.ops")
        # dekr_head and posewarper_neck guard DeformConv2d with `except ImportError`, which a stand-in hides.
        for name in ("MultiScaleDeformableAttention", "DeformConv2d"):
            setattr(ops, name, _missing("mmcv", name))
        sys.modules["mmcv.ops"] = ops
        # Here mmcv-lite itself looks for the attention, and warns where it is missing.
        sys.modules["mmcv.ops.multi_scale_deform_attn"] = ops
    if "mmdet" not in sys.modules and not _available("mmdet"):
        mmdet_utils = ModuleType("mmdet.utils")
        mmdet_utils.ConfigType = Any  # type: ignore[attr-defined]
        mmdet_utils.reduce_mean = _missing("mmdet", "reduce_mean")  # type: ignore[attr-defined]
        # mmpose looks for `mmdet.datasets` to decide whether mmdet is there: it must not find one, so only
        # `mmdet.utils` is put in place and the parent package stays absent.
        sys.modules["mmdet.utils"] = mmdet_utils
        sys.modules["mmdet"] = ModuleType("mmdet")
