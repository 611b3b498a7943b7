"""mmpose's own configs, read without importing mmpose."""

from copy import deepcopy
from pathlib import Path

from mmengine.config import Config
from mmengine.utils import get_installed_path

from rspose.grid.config import ModelSettings


def mmpose_config(path: str) -> Config:
    """One of mmpose's own configs, by its path below ``configs``.

    Raises:
        ValueError: If mmpose has no such config.
    """
    file = Path(get_installed_path("mmpose")) / ".mim" / "configs" / path
    if not file.is_file():
        raise ValueError(f"mmpose has no config {path!r}: expected a path below its folder configs/")
    return Config.fromfile(file)


def model_config(model_settings: ModelSettings, head: str) -> Config:
    """The mmpose config of a model and head with what ``model_settings`` changes merged into it."""
    composed = mmpose_config(model_settings.base[head])
    if model_settings.backbone is not None:
        donor = mmpose_config(model_settings.backbone)["model"]
        composed["model"]["backbone"] = donor["backbone"]
        composed["model"].pop("neck", None)
        if "neck" in donor:
            composed["model"]["neck"] = donor["neck"]
        composed["model"]["head"]["in_channels"] = donor["head"]["in_channels"]
    # mmengine removes `_delete_` from what it merges.
    composed.merge_from_dict(deepcopy(model_settings.overrides))
    composed.merge_from_dict(deepcopy(model_settings.head_overrides.get(head, {})))
    return composed
