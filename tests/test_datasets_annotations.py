"""Reading the datasets' files, and naming what is wrong with them."""

import json
from pathlib import Path

import numpy as np
import pytest
from builders.datasets import edit, write_crowded_dataset, write_mpii_dataset
from mmpose.datasets.datasets.body import MpiiDataset
from scipy.io import loadmat, savemat
from xtcocotools.coco import COCO

from rspose.datasets import DATASETS
from rspose.datasets.annotations import read_annotations, read_detections, read_head_sizes

# mmpose finds its own metainfo file inside its wheel and says so.
pytestmark = pytest.mark.filterwarnings("ignore:The metainfo config file")


@pytest.mark.parametrize("dataset", ["coco", "crowdpose"])
def test_persons_are_those_of_the_official_reader(
    dataset: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_crowded_dataset(tmp_path, dataset, seed=1)
    annotations = read_annotations(dataset, tmp_path, "val")
    official = COCO(str(tmp_path / DATASETS[dataset].annotations["val"]))
    capfd.readouterr()
    assert sorted(annotations.known_images) == sorted(official.getImgIds())
    assert len(annotations) == len(official.anns)
    for row, annotation_id in enumerate(annotations.annotation_id):
        person = official.anns[annotation_id]
        triplets = np.array(person["keypoints"]).reshape(-1, 3)
        x, y, width, height = person["bbox"]
        area = person["area"] if dataset == "coco" else 0.53 * width * height
        assert annotations.image_id[row] == person["image_id"]
        np.testing.assert_allclose(annotations.box[row], [x, y, width, height])
        np.testing.assert_allclose(annotations.keypoints[row], triplets[:, :2])
        np.testing.assert_array_equal(annotations.labelled[row], triplets[:, 2] > 0)
        assert annotations.area[row] == pytest.approx(area)
        assert annotations.ignored[row] == bool(person["iscrowd"] or person["num_keypoints"] == 0)


def test_mpii_persons_are_those_of_mmpose_counted_from_zero(tmp_path: Path) -> None:
    write_mpii_dataset(tmp_path, seed=2)
    annotations = read_annotations("mpii", tmp_path, "val")
    head_sizes = read_head_sizes("mpii", tmp_path, len(annotations))
    theirs = MpiiDataset(
        ann_file=str(tmp_path / DATASETS["mpii"].annotations["val"]),
        headbox_file=str(tmp_path / DATASETS["mpii"].headboxes),
        data_prefix={"img": str(tmp_path)},
        test_mode=True,
    )
    assert len(annotations) == len(theirs) == 40
    for row in range(len(theirs)):
        person = theirs.get_data_info(row)
        left, top, right, bottom = person["bbox"][0]
        # mmpose moves the box to pixels that count from 0 and leaves the joints as they are.
        np.testing.assert_allclose(annotations.keypoints[row], person["keypoints"][0] - 1, atol=1e-4)
        np.testing.assert_array_equal(annotations.labelled[row], person["keypoints_visible"][0] > 0)
        np.testing.assert_allclose(annotations.box[row], [left, top, right - left, bottom - top], atol=1e-3)
        assert annotations.area[row] == pytest.approx(person["area"].item(), rel=1e-5)
        assert head_sizes[row] == pytest.approx(person["head_size"].item())


def test_only_persons_are_read_from_the_detections(tmp_path: Path) -> None:
    write_crowded_dataset(tmp_path, "coco", seed=3)
    entries = json.loads((tmp_path / DATASETS["coco"].detections).read_text())
    persons = [entry for entry in entries if entry["category_id"] == 1]
    detections = read_detections("coco", tmp_path)
    assert len(persons) == len(entries) - 1
    np.testing.assert_allclose(detections.box, [entry["bbox"] for entry in persons])
    np.testing.assert_allclose(detections.score, [entry["score"] for entry in persons])
    np.testing.assert_array_equal(detections.image_id, [entry["image_id"] for entry in persons])


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_missing_file_is_named(dataset: str, tmp_path: Path) -> None:
    name = DATASETS[dataset].annotations["val"]
    with pytest.raises(FileNotFoundError, match=rf"{Path(name).name}: no such file; .*rspose data make"):
        read_annotations(dataset, tmp_path, "val")


def test_files_of_another_kind_are_named(tmp_path: Path) -> None:
    write_crowded_dataset(tmp_path, "coco", seed=7)
    write_mpii_dataset(tmp_path, seed=7)
    coco, mpii = (tmp_path / DATASETS[dataset].annotations["val"] for dataset in ("coco", "mpii"))
    content = coco.read_text()
    coco.write_text(mpii.read_text())
    mpii.write_text(content)
    with pytest.raises(ValueError, match=r"_val2017.json: expected images, annotations and categories"):
        read_annotations("coco", tmp_path, "val")
    with pytest.raises(ValueError, match=r"mpii_val.json: expected a list of MPII persons, found dict"):
        read_annotations("mpii", tmp_path, "val")


def test_damaged_detections_are_named(tmp_path: Path) -> None:
    write_crowded_dataset(tmp_path, "coco", seed=9)
    path = tmp_path / DATASETS["coco"].detections
    edit(path, lambda content: content[4].__delitem__("score"))
    with pytest.raises(ValueError, match=rf"{path.name}: detection 4: key 'score' is missing"):
        read_detections("coco", tmp_path)
    edit(path, lambda content: {"detections": content})
    with pytest.raises(ValueError, match=rf"{path.name}: expected a list of detections, found dict"):
        read_detections("coco", tmp_path)


def test_damaged_head_boxes_are_named(tmp_path: Path) -> None:
    write_mpii_dataset(tmp_path, seed=10)
    path = tmp_path / DATASETS["mpii"].headboxes

    def refused(message: str, persons: int = 40) -> None:
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            read_head_sizes("mpii", tmp_path, persons)

    refused(r"headboxes_src: expected shape \(2, 2, 41\).* found shape \(2, 2, 40\)", 41)
    valid = loadmat(path)["headboxes_src"]
    savemat(path, {"headboxes_src": valid, "cut off": np.zeros(99)})
    path.write_bytes(path.read_bytes()[:-99])
    refused(r"mpii_gt_val.mat: expected a MATLAB file, found .*is the download complete")
    savemat(path, {"headboxes": valid})
    refused(r"mpii_gt_val.mat: headboxes_src: .* found no such variable")
    path.write_bytes(path.read_bytes()[:200])
    refused(r"mpii_gt_val.mat: ")
    path.unlink()
    refused(r"mpii_gt_val.mat: no such file")
