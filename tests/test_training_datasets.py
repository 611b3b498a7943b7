"""The benchmark's dataset classes hand out mmpose's samples."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from builders.training import Settings

from rspose.grid.cell import Cell
from rspose.grid.config import complete
from rspose.training.compose import compose

# isort: split
from mmpose.registry import DATASETS


@pytest.fixture(params=["coco", "crowdpose", "mpii", "wholebody"])
def datasets(request: pytest.FixtureRequest, trainable: Settings) -> Settings:
    """The settings of a cell's dataset for each split."""
    trainable["datasets"] = [request.param]
    cell = Cell(request.param, "tiny", "heatmap", "mse", 0)
    composed = compose(complete(trainable), cell, Path(), None)
    return {split: composed[f"{split}_dataloader"]["dataset"] for split in ("train", "predict")}


@pytest.mark.parametrize("split", ["train", "predict"])
def test_samples_are_those_of_mmpose_without_the_outline(datasets: Settings, split: str) -> None:
    settings = {**datasets[split], "pipeline": []}
    ours = DATASETS.build(dict(settings))
    theirs = DATASETS.build({**settings, "type": settings["type"].removeprefix("Fast")})
    assert type(ours).__mro__[2] is type(theirs)
    assert len(ours) == len(theirs) > 0
    for index in range(len(theirs)):
        expected, found = theirs.get_data_info(index), ours.get_data_info(index)
        for annotation in (expected, expected.get("raw_ann_info", {})):
            if "segmentation" in annotation:
                annotation["segmentation"] = None
        np.testing.assert_equal(found, expected)


@pytest.mark.parametrize("split", ["train", "predict"])
def test_no_step_of_the_pipeline_writes_into_what_samples_share(datasets: Settings, split: str) -> None:
    dataset = DATASETS.build(dict(datasets[split]))
    before = pickle.dumps(dataset.metainfo)
    for _ in range(3):
        for index in range(len(dataset)):
            dataset[index]
            assert pickle.dumps(dataset.metainfo) == before  # each time: a flip twice is none
