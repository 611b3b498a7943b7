"""mmpose's top-down datasets, on the project's own reading of their files, without needless copies.

What training and prediction read is what the check has read, so that it cannot know less than they do.
mmpose also copies the skeleton of the dataset for every sample and keeps two copies of every instance's
outline, which only bottom-up methods read. On small images that is a tenth of the time to load a sample.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmpose.datasets.datasets import BaseCocoStyleDataset
from mmpose.registry import DATASETS

from rspose.datasets import DATASETS as KNOWN
from rspose.datasets import Dataset
from rspose.datasets.validation import Findings, read

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

    known: Dataset
    ann_file: str
    bbox_file: str | None

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Sample ``idx`` as the pipeline gets it."""
        info = super(BaseCocoStyleDataset, self).get_data_info(idx)
        return {**info, **{key: self._metainfo[key] for key in _METAINFO}}

    def load_data_list(self) -> list[dict[str, Any]]:
        """The instances; mmpose gets detections, and MPII's persons, as plain files once they are read."""
        files = self.ann_file, self.bbox_file
        with TemporaryDirectory() as folder:
            if self.bbox_file:
                self.bbox_file = _rewritten(Path(self.bbox_file), "detections", self.known, Path(folder))
            if self.bbox_file or self.known.format == "mpii":
                self.ann_file = _rewritten(Path(self.ann_file), self.known.format, self.known, Path(folder))
            instances = super().load_data_list()
        self.ann_file, self.bbox_file = files
        return instances

    def _load_annotations(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        if self.known.format == "mpii":
            return super()._load_annotations()
        content = _content(Path(self.ann_file), "coco", self.known)
        self._metainfo["CLASSES"] = content["categories"]
        images: dict[int, dict[str, Any]] = {}
        for image in content["images"]:
            path = str(Path(self.data_prefix["img"], image["file_name"]))
            images[image["id"]] = {**image, "img_id": image["id"], "img_path": path}
        place = {image_id: at for at, image_id in enumerate(images)}
        persons = sorted(content["annotations"], key=lambda person: place[person["image_id"]])
        infos = [
            self.parse_data_info({"raw_ann_info": person, "raw_img_info": images[person["image_id"]]})
            for person in persons
        ]
        return [info for info in infos if info], list(images.values())

    def parse_data_info(self, raw_data_info: dict[str, Any]) -> dict[str, Any] | None:
        """An instance of a COCO annotation file."""
        annotation = {**raw_data_info["raw_ann_info"], "segmentation": None}
        return super().parse_data_info({**raw_data_info, "raw_ann_info": annotation})


def _content(path: Path, kind: str, known: Dataset) -> Any:
    findings = Findings(path)
    content = read(path, kind, known, findings)
    findings.raise_first()
    return content


def _rewritten(path: Path, kind: str, known: Dataset, folder: Path) -> str:
    plain = folder / path.name
    plain.write_text(json.dumps(_content(path, kind, known)))
    return str(plain)


for _of_mmpose, _name in {
    "CocoDataset": "coco",
    "CocoWholeBodyDataset": "wholebody",
    "CrowdPoseDataset": "crowdpose",
    "MpiiDataset": "mpii",
}.items():
    _bases = (_SharedSkeleton, DATASETS.get(_of_mmpose))
    DATASETS.register_module(module=type(f"Fast{_of_mmpose}", _bases, {"known": KNOWN[_name]}))
