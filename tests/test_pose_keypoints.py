"""The keypoints of each dataset are those that mmpose's datasets have."""

from typing import Any

import pytest

import rspose.pose  # noqa: F401 (makes mmpose importable)
from rspose.keypoints import KEYPOINT_SETS, keypoint_set

# isort: split
from mmpose.datasets.datasets.utils import parse_pose_metainfo

pytestmark = pytest.mark.filterwarnings("ignore:The metainfo config file:UserWarning")


@pytest.fixture(params=sorted(KEYPOINT_SETS))
def dataset(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def metainfo(dataset: str) -> dict[str, Any]:
    return parse_pose_metainfo({"from_file": f"configs/_base_/datasets/{dataset}.py"})


def test_names_are_mmposes_in_its_order(dataset: str, metainfo: dict[str, Any]) -> None:
    theirs = [metainfo["keypoint_id2name"][i] for i in range(metainfo["num_keypoints"])]
    # CrowdPose's head is mmpose's top_head.
    assert [{"top_head": "head"}.get(name, name) for name in theirs] == list(keypoint_set(dataset).names)


def test_sigmas_are_mmposes(dataset: str, metainfo: dict[str, Any]) -> None:
    assert keypoint_set(dataset).sigmas == pytest.approx(metainfo["sigmas"].tolist())
    assert keypoint_set(dataset).falloff == pytest.approx(2 * metainfo["sigmas"])


def test_flip_indices_are_mmposes(dataset: str, metainfo: dict[str, Any]) -> None:
    assert list(keypoint_set(dataset).flip_indices) == list(metainfo["flip_indices"])


def test_the_skeleton_is_mmposes(dataset: str, metainfo: dict[str, Any]) -> None:
    ours = {frozenset(link) for link in keypoint_set(dataset).skeleton}
    assert ours == {frozenset(link) for link in metainfo["skeleton_links"]}


def test_an_unknown_dataset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown dataset 'lsp': expected one of coco, crowdpose, mpii"):
        keypoint_set("lsp")
