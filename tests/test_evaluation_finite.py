"""Evaluation meets no NaN and no infinity: comparisons with them are false, and a metric moves in silence."""

import json
import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.datasets import JOINTS, noisy_predictions
from scipy.io import loadmat, savemat

from rspose.datasets import DATASETS
from rspose.evaluation.controls import oracle
from rspose.evaluation.evaluate import evaluate
from rspose.evaluation.predictions import ARRAY_NAMES

pytestmark = pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
in_all_datasets = pytest.mark.parametrize("dataset", JOINTS)


def written(root: Path, dataset: str) -> Path:
    """The file of predictions on a new dataset."""
    path = root / "predictions.npz"
    noisy_predictions(root, dataset, 3, images=6).save(path)
    return path


def spoilt(value: Any, wrong: float) -> Any:
    """A value with its last number replaced."""
    return [*value[:-1], spoilt(value[-1], wrong)] if isinstance(value, list) else wrong


def refused(path: Path, name: str, read: Any, *arguments: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{path}: .*\b{name}\b") as raised:
        read(*arguments)
    assert "\n" not in str(raised.value)


@in_all_datasets
def test_in_an_annotation(dataset: str, wrong: float, tmp_path: Path) -> None:
    predictions = written(tmp_path, dataset)
    path = tmp_path / DATASETS[dataset].annotations["val"]
    content = json.loads(path.read_text())
    groups = {"persons": content} if dataset == "mpii" else content
    unused = set() if dataset == "crowdpose" else {"crowdIndex"}
    for entry in [entries[0] for entries in groups.values()]:
        for name in entry.keys() - unused:
            if isinstance(entry[name], str):
                continue
            before = deepcopy(entry[name])
            entry[name] = spoilt(before, wrong)
            path.write_text(json.dumps(content))
            refused(path, name, evaluate, dataset, predictions, tmp_path)
            entry[name] = before


@pytest.mark.parametrize("dataset", [name for name in JOINTS if DATASETS[name].detections])
def test_in_a_detection(dataset: str, wrong: float, tmp_path: Path) -> None:
    written(tmp_path, dataset)
    path = tmp_path / str(DATASETS[dataset].detections)
    detections = json.loads(path.read_text())
    for name in detections[0]:
        changed = [{**detections[0], name: spoilt(detections[0][name], wrong)}, *detections[1:]]
        path.write_text(json.dumps(changed))
        refused(path, name, oracle, dataset, tmp_path)


def test_in_a_head_box(wrong: float, tmp_path: Path) -> None:
    predictions = written(tmp_path, "mpii")
    path = tmp_path / str(DATASETS["mpii"].headboxes)
    boxes = loadmat(path)["headboxes_src"]
    boxes[0, 1, 2] = wrong
    savemat(path, {"headboxes_src": boxes})
    refused(path, "person 2: headboxes_src", evaluate, "mpii", predictions, tmp_path)


@pytest.mark.parametrize("row", [0, 1, 2])
def test_in_a_joint_of_lsp(row: int, wrong: float, tmp_path: Path) -> None:
    predictions = written(tmp_path, "lsp")
    path = tmp_path / "lsp/joints.mat"
    joints = loadmat(path)["joints"]
    joints[row, 4, 5] = wrong
    savemat(path, {"joints": joints})
    refused(path, "picture 6, joint 5", evaluate, "lsp", predictions, tmp_path)


@pytest.mark.parametrize("dataset", [*JOINTS, "lsp"])
def test_in_a_prediction(dataset: str, wrong: float, tmp_path: Path) -> None:
    path = written(tmp_path, dataset)
    with np.load(path) as archive:
        arrays = dict(archive)
    for name in ARRAY_NAMES:
        array = arrays[name].astype(np.float64)
        array.flat[-1] = wrong
        np.savez(path, **{**arrays, name: array})
        refused(path, name, evaluate, dataset, path, tmp_path)
