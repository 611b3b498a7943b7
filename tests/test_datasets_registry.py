"""A dataset is one object: a fifth one goes all the way from its drawing to its table."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders.datasets import with_noise
from builders.records import record, write

from rspose.datasets import DATASETS, KeypointSet
from rspose.datasets.check import inspect_dataset
from rspose.datasets.coco import COCO
from rspose.drawn import make_dataset
from rspose.evaluation.controls import oracle
from rspose.evaluation.evaluate import evaluate_predictions
from rspose.grid.cell import Cell
from rspose.grid.config import complete
from rspose.reporting.tables import make_tables
from rspose.training.compose import compose
from rspose.training.mmpose_datasets import register

# isort: split
from mmpose.registry import DATASETS as MMPOSE_DATASETS

ARMS = KeypointSet(
    names=tuple(f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist") for side in ("left", "right")),
    skeleton=((0, 1), (0, 2), (1, 3), (2, 4), (3, 5)),
    sigmas=(0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
)


@pytest.fixture
def arms(monkeypatch: pytest.MonkeyPatch) -> str:
    known = replace(
        COCO,
        name="arms",
        title="Arms",
        keypoints=ARMS,
        annotations={split: f"arms_{split}.json" for split in ("train", "val")},
        detections="arms_detections.json",
        metrics={"AP": "AP of arms", "AR": "AR of arms"},
        drawn=replace(COCO.drawn, number=9),
    )
    monkeypatch.setitem(DATASETS, "arms", known)
    return "arms"


def test_a_fifth_dataset_is_drawn_checked_evaluated_and_told_of(arms: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    make_dataset(arms, root, 4, 0, 12)
    found = inspect_dataset(root, arms)
    assert found.problems == [] and found.counts["val"].images == 12
    assert (root / "arms_train.json").is_file() and (root / "arms_detections.json").is_file()

    perfect = oracle(arms, root)
    assert perfect.keypoints.shape[1:] == (6, 2)
    best, worse = (evaluate_predictions(arms, each, root) for each in (perfect, with_noise(perfect, 1)))
    assert best["metrics"]["AP"] > worse["metrics"]["AP"]
    assert set(best["confidence"]["keypoint_types"]) == set(ARMS.names)

    write(tmp_path / "results", record(arms, metrics=best["metrics"]))
    make_tables(tmp_path / "results", tmp_path / "tables")
    text = (tmp_path / "tables" / "arms.md").read_text()
    assert "Arms" in text and "AP of arms" in text and "AR of arms" in text


def test_each_dataset_is_trained_as_itself(arms: str, settings: dict[str, Any], tmp_path: Path) -> None:
    register(DATASETS[arms])
    config = complete(settings)
    for name in DATASETS:
        config.data[name] = config.data["coco"]
        config.model_settings["tiny"].input_size[name] = (64, 96)
        composed = compose(config, Cell(name, "tiny", "simcc", "mse", 0), tmp_path, None)
        for loader in ("train_dataloader", "predict_dataloader"):
            assert MMPOSE_DATASETS.get(composed[loader]["dataset"]["type"]).known is DATASETS[name]
