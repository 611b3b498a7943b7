"""MPII Human Pose (Andriluka et al., CVPR 2014): the split of Tompson et al. in the HRNet authors' files.

MPII has no published OKS sigmas: those here are mmpose's, and they only serve the losses and the confidence
study, never PCKh.
"""

from rspose.datasets.interface import SPLITS, Dataset, Download, Drawn, KeypointSet, Release, SplitCounts

MPII = Dataset(
    name="mpii",
    title="MPII",
    keypoints=KeypointSet(
        names=(
            "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
            "pelvis", "thorax", "upper_neck", "head_top",
            "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
        ),
        skeleton=(
            (0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9),
            (8, 12), (12, 11), (11, 10), (8, 13), (13, 14), (14, 15),
        ),
        sigmas=(
            0.089, 0.083, 0.107, 0.107, 0.083, 0.089, 0.026, 0.026, 0.026, 0.026,
            0.062, 0.072, 0.179, 0.179, 0.072, 0.062,
        ),
    ),
    format="mpii",
    annotations={split: f"annotations/mpii_{split}.json" for split in SPLITS},
    images={split: "images" for split in SPLITS},
    headboxes="annotations/mpii_gt_val.mat",
    first_pixel=1,
    mmpose_config="body_2d_keypoint/topdown_heatmap/mpii/td-hm_res50_8xb64-210e_mpii-256x256.py",
    evaluator="pckh",
    metrics={
        "PCKh_head": "Head", "PCKh_shoulder": "Sho.", "PCKh_elbow": "Elb.", "PCKh_wrist": "Wri.",
        "PCKh_hip": "Hip", "PCKh_knee": "Knee", "PCKh_ankle": "Ank.", "PCKh": "Mean", "PCKh@0.1": "@0.1",
    },
    measured="PCKh@0.5 per joint group, their mean, and mean PCKh@0.1",
    main_metric="PCKh",
    release=Release(
        counts={"train": SplitCounts(14_679, 22_246), "val": SplitCounts(2_729, 2_958)},
        instances=22_246,
        downloads=(
            Download(
                "mpii_human_pose_v1.tar.gz",
                {"images/*.jpg": "images"},
                "http://human-pose.mpi-inf.mpg.de/#download",
                "https://datasets.d2.mpi-inf.mpg.de/andriluka14cvpr/mpii_human_pose_v1.tar.gz",
                bytes=12_900_000_000,
            ),
            Download(
                "mpii_annotations.tar",
                {"mpii_train.json": "annotations", "mpii_val.json": "annotations",
                 "mpii_gt_val.mat": "annotations"},
                "https://github.com/open-mmlab/mmpose",
                "https://download.openmmlab.com/mmpose/datasets/mpii_annotations.tar",
            ),
        ),
        terms="for research, not commercially: its authors have no copyright in the images "
        "(http://human-pose.mpi-inf.mpg.de)",
    ),
    drawn=Drawn(
        number=2, name_digits=9, counts=(0.55, 0.25, 0.13, 0.07), shots=(0.12, 0.66, 0.22), instances=1.4
    ),
)  # fmt: skip
