"""A trained model as an ONNX file: the same maps, keypoints and confidences as predict, in ONNX Runtime."""

import json
import shutil
import sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from builders.docs import files
from builders.grid import SETTINGS
from builders.losses import write_loss
from builders.training import completed, run

from rspose.cli import main
from rspose.datasets import DATASETS
from rspose.evaluation.predictions import Predictions
from rspose.grid.cell import Cell
from rspose.tools.export import _compare
from rspose.training.predict import predict

# isort: split
from mmpose.apis import inference_topdown, init_model

pytestmark = pytest.mark.filterwarnings("ignore")


class Exported(NamedTuple):
    """A trained cell, what it predicts and its ONNX file."""

    cell: Cell
    folder: Path
    file: Path
    images: Path
    predictions: Predictions

    def image(self, row: int) -> Path:
        return self.images / f"{self.predictions.image_id[row]:012d}.jpg"

    def box(self, row: int) -> np.ndarray:
        corner, size = np.split(self.predictions.box[row], 2)
        return np.concatenate([corner, corner + size])


@pytest.fixture(
    scope="module", params=[("heatmap", "mse"), ("heatmap", "rspose"), ("simcc", "mse"), ("simcc", "rspose")]
)
def exported(
    request: pytest.FixtureRequest, tiny_datasets: Path, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    folder = tmp_path_factory.mktemp("-".join(request.param))
    settings: dict[str, Any] = {**deepcopy(SETTINGS), "datasets": ["coco"]}
    settings["data"]["coco"]["root"] = str(tiny_datasets / "coco")
    cell = Cell("coco", "tiny", *request.param, 0)
    run(settings, cell, folder)
    config, finished = completed(settings, folder), folder / "cell"
    predict(config, cell, finished / "checkpoint.pth", folder / "predictions.npz", folder / "samples.npz")
    assert main(["export", str(finished), "--out", str(folder / "model.onnx")]) == 0
    predictions = Predictions.load(folder / "predictions.npz")
    return Exported(cell, finished, folder / "model.onnx", tiny_datasets / "coco/val2017", predictions)


@pytest.mark.slow
def test_the_documented_inference_finds_what_predict_finds(exported: Exported) -> None:
    page: dict[str, Any] = {}
    for name in ("predict.py", "infer.py"):
        exec(files("mmpose.md")[name], page)
    (pose,) = page["predict"](exported.folder, str(exported.image(0)), exported.box(0)[None])
    np.testing.assert_allclose(pose.pred_instances.keypoints[0], exported.predictions.keypoints[0], atol=1e-4)
    model = page["load"](str(exported.file))
    distances = []
    for row, predicted in enumerate(exported.predictions.keypoints):
        image = cv2.imread(str(exported.image(row)))
        keypoints, confidences = page["infer"](model, image, exported.box(row))
        np.testing.assert_allclose(confidences, exported.predictions.confidence[row], rtol=0, atol=1e-5)
        distances.append(np.abs(keypoints - predicted).max(axis=-1))
    assert len(distances) > 10
    # After so short a training some maps are flat, or have two peaks: there the last digit decides.
    assert np.quantile(distances, 0.9) < 0.01


@pytest.mark.slow
def test_the_maps_are_those_of_mmposes_own_inference(exported: Exported) -> None:
    model = init_model(str(exported.folder / "config.py"), str(exported.folder / "checkpoint.pth"), "cpu")
    model.cfg.test_dataloader = model.cfg.predict_dataloader
    model.test_cfg["output_heatmaps"] = True
    crops: list[torch.Tensor] = []
    preprocess = model.data_preprocessor.forward
    model.data_preprocessor.forward = lambda data, training: (
        crops.extend(data["inputs"]) or preprocess(data, training)
    )
    boxes = np.stack([exported.box(row) for row in range(3)])
    samples = [
        inference_topdown(model, str(exported.image(row)), boxes[row : row + 1])[0] for row in range(3)
    ]
    session = onnxruntime.InferenceSession(exported.file)
    found = session.run(None, {"crops": torch.stack(crops).numpy()})
    assert [each.name for each in session.get_outputs()] == (["heatmaps"] if len(found) == 1 else ["x", "y"])
    assert [each.shape for each in session.get_outputs()] == [["batch", *each.shape[1:]] for each in found]
    if len(found) == 2:
        x, y = (each.clip(min=0) for each in found)
        found = [y[..., :, None] * x[..., None, :]]
    for one, sample in zip(found[0], samples, strict=True):
        np.testing.assert_allclose(one, sample.pred_fields.heatmaps.cpu(), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_of_a_work_directory_of_mmpose_the_last_checkpoint_is_taken(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(exported.folder / "config.py", tmp_path / "my_config.py")
    shutil.copy(exported.folder / "checkpoint.pth", tmp_path / "epoch_2.pth")
    (tmp_path / "last_checkpoint").write_text("/where/it/was/trained/epoch_2.pth")
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "moved.onnx")]) == 0
    assert onnx.load(tmp_path / "moved.onnx").graph == onnx.load(exported.file).graph
    (tmp_path / "moved.onnx").unlink()
    weights = torch.load(tmp_path / "epoch_2.pth")
    weights["state_dict"].pop("backbone.layer1.0.conv1.weight")
    torch.save(weights, tmp_path / "epoch_2.pth")
    line = refused(capsys, tmp_path)
    assert (
        f"{tmp_path / 'epoch_2.pth'}: expected the " in line and "no backbone.layer1.0.conv1.weight" in line
    )


@pytest.mark.slow
def test_the_file_says_what_it_was_made_of(exported: Exported) -> None:
    written = onnx.load(exported.file)
    onnx.checker.check_model(written, full_check=True)
    known = {each.key: each.value for each in written.metadata_props}
    keypoints = DATASETS["coco"].keypoints
    assert json.loads(known["keypoints"]) == list(keypoints.names)
    assert json.loads(known["sigmas"]) == list(keypoints.sigmas)
    assert json.loads(known["loss"])["name"] == exported.cell.loss
    heads = {"heatmap": "BenchmarkHeatmapHead", "simcc": "BenchmarkSimCCHead"}
    assert (known["head"], known["dataset"]) == (heads[exported.cell.head], "coco")
    assert (known["flip_test"], known["padding"], known["use_udp"]) == ("true", "1.25", "false")
    assert len(known["commit"]) == 40


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """The line that a refused export says; nothing is written."""
    capsys.readouterr()
    assert main(["export", str(folder), "--out", str(folder / "model.onnx"), *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert not list(folder.glob("*.onnx"))
    return line


def test_what_is_not_a_trained_model_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "seed7"
    expected = "expected the folder of a trained cell, results/cells/DATASET/MODEL/HEAD/LOSS/seedN, or "
    assert f"error: {missing}: {expected}" in refused(capsys, missing)
    assert "in it; found none" in refused(capsys, tmp_path)
    config = tmp_path / "config.py"
    config.write_text("lr = 1")
    assert "model.head: expected a head of the benchmark, found none" in refused(capsys, tmp_path)
    config.write_text("model = dict(head=dict(type='HeatmapHead', loss=dict(type='BenchmarkRSPose')))")
    plain = refused(capsys, tmp_path)
    assert "config.py: model.head: expected a head of the benchmark, found HeatmapHead: " in plain
    config.write_text("model = dict(head=dict(type='BenchmarkHeatmapHead'))")
    untrained = refused(capsys, tmp_path)
    assert f"{tmp_path}: expected checkpoint.pth of a cell, or last_checkpoint of mmpose" in untrained


def test_a_missing_package_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "rspose.tools.export", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    line = refused(capsys, tmp_path)
    assert "onnxruntime" in line and "rspose-bench[train] brings it" in line


# The exporter takes the length of a batch for constant, and ONNX has no Bessel functions.
UNEXPORTABLE = {
    "prediction * len(prediction)": "expected maps of ONNX Runtime within 1e-05 of torch's, found",
    "__import__('torch').special.bessel_j0(prediction)": "expected operations that ONNX has: Exporting the",
}


@pytest.mark.slow
@pytest.mark.parametrize(("maps", "expected"), UNEXPORTABLE.items())
def test_maps_that_cannot_be_exported_are_refused(
    maps: str,
    expected: str,
    trainable: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    fresh_registry: None,
) -> None:
    source = write_loss(
        tmp_path, "own", f"    def to_heatmaps(self, prediction, sigma):\n        return {maps}"
    )
    trainable.update(losses=["own"], losses_from=[str(source)], datasets=["coco"])
    run(trainable, Cell("coco", "tiny", "heatmap", "own", 0), tmp_path)
    assert expected in refused(capsys, tmp_path / "cell", "--from", str(source))


def test_maps_that_are_no_numbers_are_not_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.zeros((1, 2, 3), np.float32), np.full((1, 2, 3), np.nan, np.float32)
    session = SimpleNamespace(run=lambda *_: [x, y])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: session)
    with pytest.raises(ValueError, match="found a difference of nan"):
        _compare(Path("any.onnx"), torch.zeros(1), (torch.zeros(1, 2, 3), torch.zeros(1, 2, 3)))
