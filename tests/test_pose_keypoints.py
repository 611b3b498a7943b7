"""The keypoints of each dataset are those that mmpose's datasets have."""

from typing import Any

import pytest

import rspose.training  # noqa: F401 (makes mmpose importable)
from rspose.datasets import DATASETS
from rspose.datasets import dataset as dataset_of
from rspose.datasets.wholebody import FACE_NAMES, WHOLEBODY

# isort: split
from mmpose.datasets.datasets.utils import parse_pose_metainfo

pytestmark = pytest.mark.filterwarnings("ignore:The metainfo config file:UserWarning")


_MMPOSE_FILES = {"wholebody": "coco_wholebody"}


@pytest.fixture(params=sorted(DATASETS))
def dataset(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def metainfo(dataset: str) -> dict[str, Any]:
    return parse_pose_metainfo(
        {"from_file": f"configs/_base_/datasets/{_MMPOSE_FILES.get(dataset, dataset)}.py"}
    )


def test_names_are_mmposes_in_its_order(dataset: str, metainfo: dict[str, Any]) -> None:
    theirs = [metainfo["keypoint_id2name"][i] for i in range(metainfo["num_keypoints"])]
    # CrowdPose's head is mmpose's top_head, and mmpose numbers the points of a face.
    renamed = {"top_head": "head", **{f"face-{i}": name for i, name in enumerate(FACE_NAMES)}}
    assert [renamed.get(name, name) for name in theirs] == list(DATASETS[dataset].keypoints.names)


def test_sigmas_are_mmposes(dataset: str, metainfo: dict[str, Any]) -> None:
    assert DATASETS[dataset].keypoints.sigmas == pytest.approx(metainfo["sigmas"].tolist())
    assert DATASETS[dataset].keypoints.falloff == pytest.approx(2 * metainfo["sigmas"])


def test_flip_indices_are_mmposes(dataset: str, metainfo: dict[str, Any]) -> None:
    assert list(DATASETS[dataset].keypoints.flip_indices) == list(metainfo["flip_indices"])


def test_the_skeleton_is_mmposes(dataset: str, metainfo: dict[str, Any]) -> None:
    ours = {frozenset(link) for link in DATASETS[dataset].keypoints.skeleton}
    assert ours == {frozenset(link) for link in metainfo["skeleton_links"]}


def test_an_unknown_dataset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown dataset 'lsp': expected one of coco, crowdpose, mpii"):
        dataset_of("lsp")


def test_keypoints_have_names_of_their_own(dataset: str) -> None:
    names = DATASETS[dataset].keypoints.names
    assert len(set(names)) == len(names)


def test_the_fields_of_wholebody_follow_each_other_without_a_gap() -> None:
    covered = [i for rows in WHOLEBODY.keypoints.fields.values() for i in range(rows.start, rows.stop)]
    assert covered == list(range(133))
