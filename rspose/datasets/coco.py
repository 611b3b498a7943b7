"""COCO's keypoint task (Lin et al., ECCV 2014), 2017 files; sigmas of its evaluator."""

from rspose.datasets.interface import SPLITS, Dataset, Download, Drawn, KeypointSet, Release, SplitCounts

DETECTIONS = "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
PAGE = "https://cocodataset.org/#download"
_FILES = "http://images.cocodataset.org"  # its certificate is for another name, so that https fails
IMAGES_AND_DETECTIONS = (
    Download(
        "train2017.zip",
        {"train2017/*.jpg": "train2017"},
        PAGE,
        f"{_FILES}/zips/train2017.zip",
        bytes=19_336_861_798,
        sha256="69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    Download(
        "val2017.zip",
        {"val2017/*.jpg": "val2017"},
        PAGE,
        f"{_FILES}/zips/val2017.zip",
        bytes=815_585_330,
        sha256="4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
    Download(
        "COCO_val2017_detections_AP_H_56_person.json",
        {"COCO_val2017_detections_AP_H_56_person.json": "person_detection_results"},
        "https://github.com/leoxiaobin/deep-high-resolution-net.pytorch#data-preparation",
        by_hand="the HRNet authors link it on OneDrive and Google Drive",
        sha256="53ba0ad8d0fd461c5a000cd90797fa8c39cd8c38cd125125c0412626ff592d59",
    ),
)

COCO = Dataset(
    name="coco",
    title="COCO",
    keypoints=KeypointSet(
        names=(
            "nose", "left_eye", "right_eye", "left_ear", "right_ear",
            "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
            "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
        ),
        skeleton=(
            (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
            (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
        ),
        sigmas=(
            0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
            0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
        ),
    ),
    format="coco",
    annotations={split: f"annotations/person_keypoints_{split}2017.json" for split in SPLITS},
    images={split: f"{split}2017" for split in SPLITS},
    detections=DETECTIONS,
    mmpose_config="body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py",
    evaluator="keypoints",
    metrics={"AP": "AP", "AP50": "AP50", "AP75": "AP75", "APM": "APM", "APL": "APL", "AR": "AR"},
    measured="keypoint AP and AR",
    main_metric="AP",
    release=Release(
        counts={"train": SplitCounts(118_287, 262_465), "val": SplitCounts(5_000, 11_004)},
        instances=149_813,  # as mmpose and its predecessors count them
        downloads=(
            *IMAGES_AND_DETECTIONS,
            Download(
                "annotations_trainval2017.zip",
                {"person_keypoints_*2017.json": "annotations"},
                PAGE,
                f"{_FILES}/annotations/annotations_trainval2017.zip",
                bytes=252_907_541,
                sha256="113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
            ),
        ),
        terms="annotations under CC BY 4.0; the photographs are of Flickr and under its terms "
        "(https://cocodataset.org/#termsofuse)",
        sha256={
            "annotations/person_keypoints_train2017.json": (
                "7fc1549d934547c470384d8a207c38707ca33fc016d00e33b795e408603af83e"
            ),
            "annotations/person_keypoints_val2017.json": (
                "788e2dae83c86bd547be7fab269d6399df5671063d29a61360cdb2cc370d2b14"
            ),
            DETECTIONS: str(IMAGES_AND_DETECTIONS[-1].sha256),
        },
    ),
    drawn=Drawn(
        number=0, name_digits=12, counts=(0.56, 0.26, 0.12, 0.06), shots=(0.18, 0.68, 0.14), instances=1.5
    ),
)  # fmt: skip
