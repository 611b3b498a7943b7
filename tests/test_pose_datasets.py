"""The benchmark's dataset classes hand out mmpose's samples."""

import pickle
from pathlib import Path
from typing import Any

import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmpose.registry import DATASETS

from rspose.drawn import make_dataset
from rspose.grid.cell import Cell
from rspose.grid.config import complete
from rspose.training.compose import compose


@pytest.fixture(scope="module")
def wholebody_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wholebody")
    make_dataset("wholebody", root, 4, 3, 3, (200, 150))
    return root


@pytest.fixture(params=["coco", "crowdpose", "mpii", "wholebody"])
def datasets(
    request: pytest.FixtureRequest, trainable: dict[str, Any], wholebody_root: Path
) -> dict[str, Any]:
    """The settings of a cell's dataset for each split."""
    trainable["datasets"] = [request.param]
    trainable["data"]["wholebody"] = {"root": str(wholebody_root)}
    model = trainable["models"][0]
    trainable["model_settings"][model]["input_size"]["wholebody"] = [96, 128]
    config = complete(trainable)
    composed = compose(config, Cell(request.param, model, "heatmap", "mse", 0), Path(), None)
    return {split: composed[f"{split}_dataloader"]["dataset"] for split in ("train", "predict")}


@pytest.mark.parametrize("split", ["train", "predict"])
def test_samples_are_those_of_mmpose_without_the_outline(datasets: dict[str, Any], split: str) -> None:
    with DefaultScope.overwrite_default_scope("mmpose"):
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
def test_no_step_of_the_pipeline_writes_into_what_samples_share(datasets: dict[str, Any], split: str) -> None:
    with DefaultScope.overwrite_default_scope("mmpose"):
        dataset = DATASETS.build(dict(datasets[split]))
        before = pickle.dumps(dataset.metainfo)
        for _ in range(3):
            for index in range(len(dataset)):
                dataset[index]
                assert pickle.dumps(dataset.metainfo) == before  # each time: a flip twice is none
