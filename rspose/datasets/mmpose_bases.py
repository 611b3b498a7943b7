"""Which mmpose config each dataset's own settings come from."""

from pathlib import Path
from typing import Any

from rspose.datasets import dataset_layout

DATASET_CONFIGS = {
    "coco": "body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py",
    "crowdpose": "body_2d_keypoint/topdown_heatmap/crowdpose/td-hm_res50_8xb64-210e_crowdpose-256x192.py",
    "mpii": "body_2d_keypoint/topdown_heatmap/mpii/td-hm_res50_8xb64-210e_mpii-256x256.py",
    "wholebody": "wholebody_2d_keypoint/topdown_heatmap/coco-wholebody/"
    "td-hm_res50_8xb64-210e_coco-wholebody-256x192.py",
}
"""mmpose config per dataset whose dataset class, file names, augmentation and evaluator are used."""


def dataset_files(config: dict[str, Any], dataset: str) -> list[Path]:
    """The files that stand for a dataset: the manifest of a generated one, the annotations of a real one."""
    entry = config["data"][dataset]
    names = ("manifest.json",) if "generate" in entry else dataset_layout(dataset).files
    return [Path(entry["root"]) / name for name in names]
