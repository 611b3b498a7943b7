"""CrowdPose (Li et al., CVPR 2019), in the files that mmpose publishes; sigmas of its toolkit's evaluator."""

from rspose.datasets.interface import SPLITS, Dataset, Download, Drawn, KeypointSet, Release, SplitCounts

CROWDPOSE = Dataset(
    name="crowdpose",
    title="CrowdPose",
    keypoints=KeypointSet(
        names=(
            "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
            "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck",
        ),
        skeleton=(
            (10, 8), (8, 6), (11, 9), (9, 7), (6, 7), (0, 6), (1, 7), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5),
            (12, 13), (13, 0), (13, 1),
        ),
        sigmas=(
            0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079,
        ),
    ),
    format="coco",
    annotations={
        "train": "annotations/mmpose_crowdpose_trainval.json",
        "val": "annotations/mmpose_crowdpose_test.json",
    },
    images={split: "images" for split in SPLITS},
    detections="annotations/det_for_crowd_test_0.1_0.5.json",
    mmpose_config="body_2d_keypoint/topdown_heatmap/crowdpose/td-hm_res50_8xb64-210e_crowdpose-256x192.py",
    evaluator="keypoints_crowd",
    metrics={"AP": "AP", "AP50": "AP50", "AP75": "AP75", "APE": "APE", "APM": "APM", "APH": "APH"},
    measured="keypoint AP, also on easy, medium and hard images",
    main_metric="AP",
    release=Release(
        # 10,000, 2,000 and 8,000 images to train, validate and test; the files here join the first two. The
        # paper (arXiv 1812.00324) counts about 80,000 persons in the 20,000 images.
        counts={"train": SplitCounts(12_000, None), "val": SplitCounts(8_000, None)},
        instances=48_000,
        downloads=(
            Download(
                "images.zip",
                {"*.jpg": "images"},
                "https://github.com/jeffffffli/CrowdPose#dataset",
                by_hand="its authors link it on Google Drive",
            ),
            Download(
                "crowdpose_annotations.tar",
                {
                    "mmpose_crowdpose_trainval.json": "annotations",
                    "mmpose_crowdpose_test.json": "annotations",
                    "det_for_crowd_test_0.1_0.5.json": "annotations",
                },
                "https://github.com/open-mmlab/mmpose",
                "https://download.openmmlab.com/mmpose/datasets/crowdpose_annotations.tar",
            ),
        ),
        terms="its authors state none and ask for citation (https://github.com/jeffffffli/CrowdPose)",
    ),
    drawn=Drawn(
        number=1, name_digits=6, counts=(0.05, 0.18, 0.22, 0.22, 0.16, 0.10, 0.05, 0.02),
        shots=(0.08, 0.62, 0.30), instances=3.4, huddle=True,
    ),
)  # fmt: skip
