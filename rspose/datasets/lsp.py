"""Leeds Sports Pose (Johnson & Everingham, BMVC 2010) and its extended training set LSPET (CVPR 2011).

Trained on the first half of LSP and on LSPET, tested on the second half of LSP, as published. The authors
give joints alone: boxes and areas are derived from them (:mod:`rspose.datasets.joints`), and nobody published
OKS sigmas for them: CrowdPose's serve, whose 14 keypoints are the same in another order.
"""

from rspose.datasets.crowdpose import CROWDPOSE
from rspose.datasets.interface import SPLITS, Dataset, Download, Drawn, KeypointSet, Release, SplitCounts

_NAMES = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    "neck", "head_top",
)  # fmt: skip
_SIGMA_OF = dict(zip(CROWDPOSE.keypoints.names, CROWDPOSE.keypoints.sigmas, strict=True))

LSP = Dataset(
    name="lsp",
    title="Leeds Sports Pose",
    keypoints=KeypointSet(
        names=_NAMES,
        skeleton=(
            (0, 1), (1, 2), (3, 4), (4, 5), (2, 3), (6, 7), (7, 8), (9, 10), (10, 11), (8, 12), (9, 12),
            (2, 12), (3, 12), (12, 13),
        ),
        sigmas=tuple(_SIGMA_OF["head" if name == "head_top" else name] for name in _NAMES),
    ),
    format="joints",
    annotations={split: "lsp/joints.mat" for split in SPLITS},
    extension="lspet/joints.mat",
    images={split: "." for split in SPLITS},
    least_keypoints=len(_NAMES),
    mmpose_config=CROWDPOSE.mmpose_config,
    evaluator="pck",
    metrics={
        "PCK_head": "Head", "PCK_shoulder": "Sho.", "PCK_elbow": "Elb.", "PCK_wrist": "Wri.",
        "PCK_hip": "Hip", "PCK_knee": "Knee", "PCK_ankle": "Ank.", "PCK": "PCK", "AUC": "AUC", "PCP": "PCP",
        "AP": "AP", "AP50": "AP50", "AP75": "AP75",
    },
    measured="PCK at 0.2 of the torso per joint group and of all, area under its curve, PCP, keypoint AP",
    main_metric="PCK",
    release=Release(
        # Of LSPET's 10,000 the persons with all 14 joints.
        counts={"train": SplitCounts(4_945, 4_945), "val": SplitCounts(1_000, 1_000)},
        instances=4_945,
        downloads=tuple(
            Download(
                f"{name}_dataset.zip",
                {"joints.mat": name, "images/*.jpg": f"{name}/images"},
                f"https://sam.johnson.io/research/{name}.html",
                f"http://sam.johnson.io/research/{name}_dataset.zip",
            )
            for name in ("lsp", "lspet")
        ),
        terms="its authors ask for citation and state no licence; the photographs are of Flickr",
        folder=".",
        sha256={
            "lsp/joints.mat": "ddcfcbe904106bfbf26561c8d11720ca62a11c7a861548064b3bae84cb396b2a",
            "lspet/joints.mat": "cc66465117888d9f43aac78c15c4548e37df5022640a193f2002fd084cba13ef",
        },
    ),
    drawn=Drawn(number=4, name_digits=4, counts=(1.0,), shots=(0.0, 0.9, 0.1), instances=1.0),
)  # fmt: skip
