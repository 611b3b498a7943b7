"""Which mmpose config each dataset's own settings come from."""

from rspose.data import dataset_layout

DATASET_CONFIGS = {
    "coco": "body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py",
    "crowdpose": "body_2d_keypoint/topdown_heatmap/crowdpose/td-hm_res50_8xb64-210e_crowdpose-256x192.py",
    "mpii": "body_2d_keypoint/topdown_heatmap/mpii/td-hm_res50_8xb64-210e_mpii-256x256.py",
}
"""mmpose config per dataset whose dataset class, file names, augmentation and evaluator are used."""


def annotation_files(dataset: str) -> tuple[str, ...]:
    """Annotation and detection files of a dataset, relative to its root."""
    return dataset_layout(dataset).files
