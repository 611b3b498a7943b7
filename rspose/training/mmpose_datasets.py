"""mmpose's top-down datasets without copies that nobody writes into.

mmpose copies the skeleton of the dataset for every sample and keeps two copies of every instance's outline,
which only bottom-up methods read. On small images that is a tenth of the time to load a sample.
"""

from typing import Any

from mmpose.datasets.datasets import BaseCocoStyleDataset
from mmpose.registry import DATASETS

_METAINFO = (
    "dataset_name",
    "upper_body_ids",
    "lower_body_ids",
    "flip_pairs",
    "dataset_keypoint_weights",
    "flip_indices",
    "skeleton_links",
)


class _SharedSkeleton(BaseCocoStyleDataset):
    """Samples share the dataset's metainfo, so no step of the pipeline may write into it."""

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Sample ``idx`` as the pipeline gets it."""
        info = super(BaseCocoStyleDataset, self).get_data_info(idx)
        return {**info, **{key: self._metainfo[key] for key in _METAINFO}}

    def parse_data_info(self, raw_data_info: dict[str, Any]) -> dict[str, Any] | None:
        """An instance of a COCO annotation file."""
        annotation = raw_data_info["raw_ann_info"]
        if "segmentation" in annotation:
            annotation = {**annotation, "segmentation": None}
        return super().parse_data_info({**raw_data_info, "raw_ann_info": annotation})


for _name in ("CocoDataset", "CocoWholeBodyDataset", "CrowdPoseDataset", "MpiiDataset"):
    DATASETS.register_module(module=type(f"Fast{_name}", (_SharedSkeleton, DATASETS.get(_name)), {}))
