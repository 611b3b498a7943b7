"""Old names, for the modules that still use them."""

from rspose.datasets.coco import COCO as _COCO
from rspose.datasets.crowdpose import CROWDPOSE as _CROWDPOSE
from rspose.datasets.interface import KeypointSet as KeypointSet
from rspose.datasets.mpii import MPII as _MPII
from rspose.datasets.registry import DATASETS, dataset
from rspose.datasets.wholebody import FACE_NAMES as FACE_NAMES
from rspose.datasets.wholebody import FOOT_NAMES as FOOT_NAMES
from rspose.datasets.wholebody import HAND_NAMES as HAND_NAMES
from rspose.datasets.wholebody import WHOLEBODY as _WHOLEBODY

COCO, CROWDPOSE, MPII, WHOLEBODY = (each.keypoints for each in (_COCO, _CROWDPOSE, _MPII, _WHOLEBODY))
WHOLEBODY_FIELDS = WHOLEBODY.fields
BODY_KEYPOINTS = WHOLEBODY.body
KEYPOINT_SETS = {name: each.keypoints for name, each in DATASETS.items()}


def keypoint_set(name: str) -> KeypointSet:
    """The keypoints of a dataset."""
    return dataset(name).keypoints
