"""The official releases of the real datasets: what they hold, checksums, and where to fetch them.

Counts: COCO, its 2017 annotation files; COCO-WholeBody keeps COCO's images and persons (github.com/jin-s13/
COCO-WholeBody, data_format.md); CrowdPose, Li et al., CVPR 2019 (10,000, 2,000 and 8,000 images to train,
validate and test; the files here join the first two); MPII, the split of Tompson et al. in the files of the
HRNet authors. Checksums: none of the authors publishes any. Those here are stated alike by at least two
unrelated public repositories that pin their downloads; files for which there are not two have none.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SplitCounts:
    """What one split holds.

    Attributes:
        images: Images of the annotation file.
        persons: Annotated persons, with or without keypoints; None where no source states it.
    """

    images: int
    persons: int | None


@dataclass(frozen=True)
class Release:
    """One official dataset.

    Attributes:
        counts: Per split.
        detections: Boxes of the person detections, or None.
        sha256: Checksum of a file, by its path below the root.
        fetch: What to fetch, from where, and where it goes below the root.
    """

    counts: dict[str, SplitCounts]
    detections: int | None
    fetch: tuple[tuple[str, str, str], ...]
    sha256: dict[str, str] = field(default_factory=dict)


_COCO_COUNTS = {"train": SplitCounts(118_287, 262_465), "val": SplitCounts(5_000, 11_004)}
_COCO_DETECTIONS = "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
_COCO_DETECTIONS_SHA256 = "53ba0ad8d0fd461c5a000cd90797fa8c39cd8c38cd125125c0412626ff592d59"
_COCO_IMAGES = (
    ("train2017.zip", "http://images.cocodataset.org/zips/train2017.zip", "train2017/"),
    ("val2017.zip", "http://images.cocodataset.org/zips/val2017.zip", "val2017/"),
)
_COCO_BOXES = (
    "COCO_val2017_detections_AP_H_56_person.json",
    "the link under COCO in mmpose's dataset documentation (Google Drive of the HRNet authors)",
    "person_detection_results/",
)

RELEASES: dict[str, Release] = {
    "coco": Release(
        counts=_COCO_COUNTS,
        detections=104_125,
        fetch=(
            *_COCO_IMAGES,
            (
                "annotations_trainval2017.zip",
                "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
                "annotations/",
            ),
            _COCO_BOXES,
        ),
        sha256={
            "annotations/person_keypoints_train2017.json": (
                "7fc1549d934547c470384d8a207c38707ca33fc016d00e33b795e408603af83e"
            ),
            "annotations/person_keypoints_val2017.json": (
                "788e2dae83c86bd547be7fab269d6399df5671063d29a61360cdb2cc370d2b14"
            ),
            _COCO_DETECTIONS: _COCO_DETECTIONS_SHA256,
        },
    ),
    "crowdpose": Release(
        counts={"train": SplitCounts(12_000, None), "val": SplitCounts(8_000, None)},
        detections=None,
        fetch=(
            ("images.zip", "the link at https://github.com/jeffffffli/CrowdPose", "images/"),
            (
                "crowdpose_annotations.tar",
                "https://download.openmmlab.com/mmpose/datasets/crowdpose_annotations.tar",
                "annotations/",
            ),
        ),
    ),
    "mpii": Release(
        counts={"train": SplitCounts(14_679, 22_246), "val": SplitCounts(2_729, 2_958)},
        detections=None,
        fetch=(
            (
                "mpii_human_pose_v1.tar.gz",
                "the link at http://human-pose.mpi-inf.mpg.de/#download",
                "images/",
            ),
            (
                "mpii_annotations.tar",
                "https://download.openmmlab.com/mmpose/datasets/mpii_annotations.tar",
                "annotations/",
            ),
        ),
    ),
    "wholebody": Release(
        counts=_COCO_COUNTS,
        detections=104_125,
        fetch=(
            *_COCO_IMAGES,
            (
                "coco_wholebody_train_v1.0.json and coco_wholebody_val_v1.0.json",
                "the links at https://github.com/jin-s13/COCO-WholeBody",
                "annotations/",
            ),
            _COCO_BOXES,
        ),
        sha256={
            "annotations/coco_wholebody_val_v1.0.json": (
                "f8272e9c12f3a42457033ebc75da1167546edf1be5e2ffaf586d6ee97541ff6e"
            ),
            _COCO_DETECTIONS: _COCO_DETECTIONS_SHA256,
        },
    ),
}
"""By the name of the dataset."""
