"""Which mmpose config each dataset's own settings come from."""

from pathlib import Path
from typing import Any

from rspose.datasets.layout import dataset_layout
from rspose.datasets.registry import DATASETS

DATASET_CONFIGS = {name: each.mmpose_config for name, each in DATASETS.items()}


def dataset_files(config: dict[str, Any], dataset: str) -> list[Path]:
    """The files that stand for a dataset: the manifest of a generated one, the annotations of a real one."""
    entry = config["data"][dataset]
    names = ("manifest.json",) if "generate" in entry else dataset_layout(dataset).files
    return [Path(entry["root"]) / name for name in names]
