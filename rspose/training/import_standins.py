"""Make mmpose importable beside mmcv-lite, and in less time.

Two modules of mmpose 1.3 import names that only a compiled mmcv or mmdet has; heatmap and SimCC heads need
neither. Where the package is missing, a stand-in takes its place that says so to whoever uses it. mmpose
reads datasets by xtcocotools, which does not build on Python 3.13: pycocotools reads them there.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
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
    """Put stand-ins for ``mmcv.ops``, ``mmdet.utils`` and xtcocotools into ``sys.modules`` where missing."""
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
    if "xtcocotools" not in sys.modules and find_spec("xtcocotools") is None:
        evaluator = ModuleType("xtcocotools.cocoeval")
        vars(evaluator)["COCOeval"] = _missing("xtcocotools", "COCOeval")
        sys.modules.update({"xtcocotools": ModuleType("xtcocotools"), "xtcocotools.cocoeval": evaluator})
        for name in ("coco", "mask"):
            sys.modules[f"xtcocotools.{name}"] = import_module(f"pycocotools.{name}")


class _Deferred:
    """A function or class of a module that is imported when it is used."""

    def __init__(self, module: str, name: str) -> None:
        self._place = module, name

    def _found(self) -> Any:
        module, name = self._place
        return getattr(import_module(module), name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._found()(*arguments, **named)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._found(), attribute)


def _deferring(module: str) -> ModuleType:
    def deferred(name: str) -> _Deferred:
        if name.startswith("__"):  # what the import system and inspect ask of a module
            raise AttributeError(name)
        return _Deferred(module, name)

    standin = ModuleType(module)
    vars(standin)["__getattr__"] = deferred
    return standin


@contextmanager
def deferring(*modules: str) -> Iterator[None]:
    """Let what is imported meanwhile import these modules when it first calls something of them."""
    standins = {module: _deferring(module) for module in modules if module not in sys.modules}
    sys.modules.update(standins)
    try:
        yield
    finally:
        for module in standins:
            del sys.modules[module]
