"""COCO-WholeBody (Jin et al., ECCV 2020): COCO's persons with feet, faces and hands; sigmas of its evaluator.

It keeps COCO's images and persons (github.com/jin-s13/COCO-WholeBody, data_format.md).
"""

from rspose.datasets import coco
from rspose.datasets.coco import COCO
from rspose.datasets.interface import SPLITS, Dataset, Download, Drawn, KeypointSet, Release

FOOT_NAMES = tuple(
    f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel")
)

# The 68 points of the face run from the person's right to the left, as in the 300-W annotation (iBUG).
FACE_NAMES = (
    *(f"right_jaw_{i}" for i in range(8)), "chin", *(f"left_jaw_{i}" for i in reversed(range(8))),
    *(f"right_brow_{i}" for i in range(5)), *(f"left_brow_{i}" for i in reversed(range(5))),
    *(f"nose_bridge_{i}" for i in range(4)),
    "right_nostril_0", "right_nostril_1", "nose_base", "left_nostril_1", "left_nostril_0",
    "right_eye_outer", "right_eye_top_outer", "right_eye_top_inner", "right_eye_inner",
    "right_eye_bottom_inner", "right_eye_bottom_outer",
    "left_eye_inner", "left_eye_top_inner", "left_eye_top_outer", "left_eye_outer",
    "left_eye_bottom_outer", "left_eye_bottom_inner",
    "right_mouth", "right_upper_lip_0", "right_upper_lip_1", "upper_lip",
    "left_upper_lip_1", "left_upper_lip_0",
    "left_mouth", "left_lower_lip_0", "left_lower_lip_1", "lower_lip",
    "right_lower_lip_1", "right_lower_lip_0",
    "right_inner_mouth", "right_inner_upper_lip", "inner_upper_lip", "left_inner_upper_lip",
    "left_inner_mouth", "left_inner_lower_lip", "inner_lower_lip", "right_inner_lower_lip",
)  # fmt: skip

FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
HAND_NAMES = tuple(
    f"{side}_{point}"
    for side in ("left", "right")
    for point in ("hand_root", *(f"{finger}{joint}" for finger in FINGERS for joint in range(1, 5)))
)


def _extremity_links() -> tuple[tuple[int, int], ...]:
    """Lines of feet and hands among the keypoints of COCO-WholeBody."""
    feet = ((15, 17), (15, 18), (15, 19), (16, 20), (16, 21), (16, 22))
    hands = [
        (root if joint == 1 else root + 4 * finger + joint - 1, root + 4 * finger + joint)
        for root in (91, 112)
        for finger in range(5)
        for joint in range(1, 5)
    ]
    return (*feet, *hands)


_HAND_SIGMAS = (
    0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024,
    0.022, 0.026, 0.017, 0.021, 0.021, 0.032, 0.02, 0.019, 0.022, 0.031,
)  # fmt: skip

WHOLEBODY = Dataset(
    name="wholebody",
    title="COCO-WholeBody",
    keypoints=KeypointSet(
        names=(*COCO.keypoints.names, *FOOT_NAMES, *FACE_NAMES, *HAND_NAMES),
        skeleton=(*COCO.keypoints.skeleton, *_extremity_links()),
        sigmas=(
            *COCO.keypoints.sigmas,
            0.068, 0.066, 0.066, 0.092, 0.094, 0.094,
            0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032, 0.037, 0.038,
            0.043, 0.041, 0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011, 0.011, 0.013, 0.015,
            0.009, 0.007, 0.007, 0.007, 0.012, 0.009, 0.008, 0.016, 0.010, 0.017, 0.011, 0.009, 0.011, 0.009,
            0.007, 0.013, 0.008, 0.011, 0.012, 0.010, 0.034, 0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010,
            0.008, 0.009, 0.009, 0.009, 0.007, 0.007, 0.008, 0.011, 0.008, 0.008, 0.008, 0.01, 0.008,
            *_HAND_SIGMAS, *_HAND_SIGMAS,
        ),
        fields={
            "keypoints": slice(0, 17),
            "foot_kpts": slice(17, 23),
            "face_kpts": slice(23, 91),
            "lefthand_kpts": slice(91, 112),
            "righthand_kpts": slice(112, 133),
        },
    ),
    format="coco",
    annotations={split: f"annotations/coco_wholebody_{split}_v1.0.json" for split in SPLITS},
    images=COCO.images,
    detections=COCO.detections,
    mmpose_config="wholebody_2d_keypoint/topdown_heatmap/coco-wholebody/"
    "td-hm_res50_8xb64-210e_coco-wholebody-256x192.py",
    evaluator="keypoints_wholebody",
    metrics={
        "AP": "Whole", "AP_body": "Body", "AP_foot": "Foot", "AP_face": "Face", "AP_hand": "Hand", "AR": "AR",
    },
    measured="AP and AR of all 133 keypoints, AP of each part",
    main_metric="AP",
    release=Release(
        counts=COCO.release.counts,
        instances=COCO.release.instances,
        downloads=(
            *coco.IMAGES_AND_DETECTIONS,
            *(
                Download(
                    file := f"coco_wholebody_{split}_v1.0.json",
                    {file: "annotations"},
                    "https://github.com/jin-s13/COCO-WholeBody#download",
                    by_hand="its authors link it on OneDrive, Google Drive and BaiduPan",
                )
                for split in SPLITS
            ),
        ),
        terms="annotations for research and non-commercial use only; the photographs are of Flickr and under "
        "its terms (https://github.com/jin-s13/COCO-WholeBody#terms-of-use)",
        sha256={
            "annotations/coco_wholebody_val_v1.0.json": (
                "f8272e9c12f3a42457033ebc75da1167546edf1be5e2ffaf586d6ee97541ff6e"
            ),
            coco.DETECTIONS: COCO.release.sha256[coco.DETECTIONS],
        },
        folder=COCO.name,
    ),
    # Nearer than in COCO, so that faces and hands are large enough to be annotated.
    drawn=Drawn(
        number=3, name_digits=12, counts=(0.62, 0.26, 0.09, 0.03), shots=(0.30, 0.65, 0.05), instances=1.4
    ),
)  # fmt: skip
