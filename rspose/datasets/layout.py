"""Where the files of each dataset lie under its root: the same for real and generated ones."""

from dataclasses import dataclass

SPLITS = ("train", "val")


@dataclass(frozen=True)
class DatasetLayout:
    """Paths of a dataset, relative to its root.

    Attributes:
        annotations: Annotation file per split.
        images: Image folder per split.
        detections: Person detections of the val split, or None.
        headboxes: Head boxes of the val split (MATLAB), or None.
    """

    annotations: dict[str, str]
    images: dict[str, str]
    detections: str | None
    headboxes: str | None

    @property
    def files(self) -> tuple[str, ...]:
        """Every file beside the images."""
        optional = tuple(path for path in (self.detections, self.headboxes) if path is not None)
        return (*self.annotations.values(), *optional)


LAYOUTS: dict[str, DatasetLayout] = {
    "coco": DatasetLayout(
        annotations={split: f"annotations/person_keypoints_{split}2017.json" for split in SPLITS},
        images={split: f"{split}2017" for split in SPLITS},
        detections="person_detection_results/COCO_val2017_detections_AP_H_56_person.json",
        headboxes=None,
    ),
    "crowdpose": DatasetLayout(
        annotations={
            "train": "annotations/mmpose_crowdpose_trainval.json",
            "val": "annotations/mmpose_crowdpose_test.json",
        },
        images={split: "images" for split in SPLITS},
        detections="annotations/det_for_crowd_test_0.1_0.5.json",
        headboxes=None,
    ),
    "mpii": DatasetLayout(
        annotations={split: f"annotations/mpii_{split}.json" for split in SPLITS},
        images={split: "images" for split in SPLITS},
        detections=None,
        headboxes="annotations/mpii_gt_val.mat",
    ),
    "wholebody": DatasetLayout(
        annotations={split: f"annotations/coco_wholebody_{split}_v1.0.json" for split in SPLITS},
        images={split: f"{split}2017" for split in SPLITS},
        detections="person_detection_results/COCO_val2017_detections_AP_H_56_person.json",
        headboxes=None,
    ),
}


def dataset_layout(dataset: str) -> DatasetLayout:
    """The layout of ``dataset``.

    Raises:
        ValueError: If the dataset is unknown; the message names those that are known.
    """
    if dataset not in LAYOUTS:
        raise ValueError(f"unknown dataset {dataset!r}: expected one of {', '.join(LAYOUTS)}")
    return LAYOUTS[dataset]
