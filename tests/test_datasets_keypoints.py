"""The keypoints of each dataset are those that mmpose's datasets have."""

from typing import Any

import pytest

import rspose.training  # noqa: F401 (makes mmpose importable)
from rspose.datasets import DATASETS, KeypointSet
from rspose.datasets import dataset as dataset_of
from rspose.datasets.wholebody import FACE_NAMES, WHOLEBODY

# isort: split
from mmpose.datasets.datasets.utils import parse_pose_metainfo

pytestmark = pytest.mark.filterwarnings("ignore:The metainfo config file:UserWarning")

Both = tuple[KeypointSet, dict[str, Any]]
_MMPOSE_FILES = {"wholebody": "coco_wholebody"}


@pytest.fixture(params=sorted(DATASETS.keys() - {"lsp"}))  # mmpose has no LSP
def both(request: pytest.FixtureRequest) -> Both:
    """Keypoints of a dataset, and what mmpose says of them."""
    file = f"configs/_base_/datasets/{_MMPOSE_FILES.get(request.param, request.param)}.py"
    return DATASETS[request.param].keypoints, parse_pose_metainfo({"from_file": file})


def test_names_are_mmposes_in_its_order_each_once(both: Both) -> None:
    ours, metainfo = both
    theirs = [metainfo["keypoint_id2name"][i] for i in range(metainfo["num_keypoints"])]
    # CrowdPose's head is mmpose's top_head, and mmpose numbers the points of a face.
    renamed = {"top_head": "head", **{f"face-{i}": name for i, name in enumerate(FACE_NAMES)}}
    assert [renamed.get(name, name) for name in theirs] == list(ours.names)
    assert len(set(ours.names)) == len(ours.names)


def test_sigmas_flips_and_skeleton_are_mmposes(both: Both) -> None:
    ours, metainfo = both
    assert ours.sigmas == pytest.approx(metainfo["sigmas"].tolist())
    assert ours.falloff == pytest.approx(2 * metainfo["sigmas"])
    assert list(ours.flip_indices) == list(metainfo["flip_indices"])
    assert set(map(frozenset, ours.skeleton)) == set(map(frozenset, metainfo["skeleton_links"]))


def test_an_unknown_dataset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown dataset 'aic': expected one of coco, crowdpose, lsp"):
        dataset_of("aic")


def test_the_fields_of_wholebody_follow_each_other_without_a_gap() -> None:
    covered = [i for rows in WHOLEBODY.keypoints.fields.values() for i in range(rows.start, rows.stop)]
    assert covered == list(range(133))
