"""Make mmpose importable beside mmcv-lite.

Two modules of mmpose 1.3 import names that only a compiled mmcv or mmdet has; heatmap and SimCC heads need
neither. Where the package is missing, a stand-in takes its place that says so to whoever uses it.
"""

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from torch import nn


def _missing(package: str, name: str) -> type[nn.Module]:
    class Missing(nn.Module):
        def __init__(self, *_: Any, **__: Any) -> None:
            raise ImportError(f"{name} needs {package}, which is not installed: install {package} to use it")

    Missing.__name__ = name
    return Missing


def install() -> None:
    """Put stand-ins for ``mmcv.ops`` and ``mmdet.utils`` into ``sys.modules`` where they are missing."""
    if "mmcv.ops" not in sys.modules and find_spec("mmcv._ext") is None:
        ops = ModuleType("mmcv.ops")
        # dekr_head and posewarper_neck guard DeformConv2d with `except ImportError`, which a stand-in hides.
        for name in ("MultiScaleDeformableAttention", "DeformConv2d"):
            setattr(ops, name, _missing("mmcv", name))
        # At the second place mmcv-lite itself looks for the attention, and warns where it is missing.
        sys.modules["mmcv.ops"] = sys.modules["mmcv.ops.multi_scale_deform_attn"] = ops
    if "mmdet" not in sys.modules and find_spec("mmdet") is None:
        utils = ModuleType("mmdet.utils")
        vars(utils).update(ConfigType=Any, reduce_mean=_missing("mmdet", "reduce_mean"))
        # mmpose looks for `mmdet.datasets` to decide whether mmdet is there: it must not find one.
        sys.modules.update({"mmdet": ModuleType("mmdet"), "mmdet.utils": utils})
