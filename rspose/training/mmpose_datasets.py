"""mmpose's top-down datasets, on the project's own reading of their files, without needless copies.

What training and prediction read is what the check has read, so that it cannot know less than they do.
mmpose also copies the skeleton of the dataset for every sample and keeps two copies of every instance's
outline, which only bottom-up methods read. On small images that is a tenth of the time to load a sample.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mmpose.datasets.datasets import BaseCocoStyleDataset
from mmpose.registry import DATASETS

from rspose.datasets import DATASETS as KNOWN
from rspose.datasets import Dataset, KeypointSet
from rspose.datasets.annotations import read_annotations
from rspose.datasets.held_out import held_out_persons
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


class _ProjectDataset(BaseCocoStyleDataset):
    """mmpose's dataset class on the project's reading; images held out or drawn with replacement.

    Samples share the dataset's metainfo, so no step of the pipeline may write into it.

    Args:
        split: ``train`` or ``val``, of LSP, which has both in one file.
        least_keypoints: As for :func:`rspose.datasets.annotations.read_annotations`.
        held_out: Share and seed of the training images that are held out, if some are.
        only_held_out: Whether they are what is wanted, or the others.
        sample_seed: Where given, as many instances as there are, drawn with replacement: a bootstrap.
        arguments: Those of mmpose's datasets.
    """

    known: Dataset
    ann_file: str
    bbox_file: str | None

    def __init__(
        self,
        *,
        split: str = "train",
        least_keypoints: int | None = None,
        held_out: dict[str, Any] | None = None,
        only_held_out: bool = False,
        sample_seed: int | None = None,
        **arguments: Any,
    ) -> None:
        self.split, self.least_keypoints = split, least_keypoints
        self.held_out, self.only_held_out = held_out, only_held_out
        self.sample_seed = sample_seed
        super().__init__(**arguments)

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
        if self.held_out is not None:
            persons = read_annotations(self.known.name, self.data_root, self.split, self.least_keypoints)
            held_out = set(persons.annotation_id[held_out_persons(persons, **self.held_out)].tolist())
            instances = [each for each in instances if (each["id"] in held_out) == self.only_held_out]
        if self.sample_seed is None:
            return instances
        drawn = np.random.default_rng(self.sample_seed).integers(len(instances), size=len(instances))
        return [instances[at] for at in np.sort(drawn)]

    def _load_annotations(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        if self.known.format == "mpii":
            return super()._load_annotations()
        content = read_annotations(self.known.name, self.data_root, self.split, self.least_keypoints).content
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


def _metainfo_of(name: str, keypoints: KeypointSet) -> dict[str, Any]:
    """What mmpose wants to know of a dataset that it does not have."""
    mirrored = [keypoints.names[index] for index in keypoints.flip_indices]
    legs = ("hip", "knee", "ankle")
    return {
        "dataset_name": name,
        "keypoint_info": {
            index: {
                "name": joint,
                "id": index,
                "color": [0, 255, 0],
                "type": "lower" if joint.endswith(legs) else "upper",
                "swap": "" if mirror == joint else mirror,
            }
            for index, (joint, mirror) in enumerate(zip(keypoints.names, mirrored, strict=True))
        },
        "skeleton_info": {
            index: {"link": [keypoints.names[end] for end in ends], "id": index, "color": [0, 255, 0]}
            for index, ends in enumerate(keypoints.skeleton)
        },
        "joint_weights": [1.0] * len(keypoints),
        "sigmas": list(keypoints.sigmas),
    }


_OF_MMPOSE = {
    "coco": "CocoDataset",
    "wholebody": "CocoWholeBodyDataset",
    "crowdpose": "CrowdPoseDataset",
    "mpii": "MpiiDataset",
}


def class_of(name: str) -> str:
    """The name of a dataset's class in mmpose's registry."""
    return f"Fast{_OF_MMPOSE.get(name, f'{name.title()}Dataset')}"


def register(known: Dataset) -> None:
    """Make a dataset's class known to mmpose."""
    members: dict[str, Any] = {"known": known}
    bases: tuple[type, ...] = (_ProjectDataset,)
    if known.name in _OF_MMPOSE:
        bases += (DATASETS.get(_OF_MMPOSE[known.name]),)
    else:
        members["METAINFO"] = _metainfo_of(known.name, known.keypoints)
    DATASETS.register_module(module=type(class_of(known.name), bases, members))


for _known in KNOWN.values():
    register(_known)
