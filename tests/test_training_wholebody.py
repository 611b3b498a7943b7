"""A cell of COCO-WholeBody goes the whole way: trained, predicted, evaluated, recorded, tabulated, drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from builders.grid import REPOSITORY, SETTINGS
from builders.training import batch_of

from rspose.evaluation.evaluate import evaluate
from rspose.evaluation.predictions import Predictions
from rspose.grid.cell import Cell
from rspose.grid.config import complete, load_config
from rspose.grid.files import write_json
from rspose.grid.record import read_record, said_of_loss, write_record
from rspose.reporting.figures import Entry, make_heatmap_sheet, make_sheet
from rspose.reporting.tables import make_tables
from rspose.training.compose import compose
from rspose.training.heads import build_loss
from rspose.training.mmpose_configs import mmpose_config
from rspose.training.predict import predict
from rspose.training.train import Training

# isort: split
from mmpose.registry import MODELS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]

Finished = tuple[Path, Path]
PARTS = ("body", "foot", "face", "lefthand", "righthand", "hand")


@pytest.fixture(scope="module", params=["heatmap", "simcc"])
def finished(
    request: pytest.FixtureRequest, tiny_datasets: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """A folder with everything that is made of one cell, and its record."""
    folder = tmp_path_factory.mktemp(request.param)
    root = tiny_datasets / "wholebody"
    data = {"wholebody": {**SETTINGS["data"]["wholebody"], "root": str(root)}}
    changes = {"results": str(folder), "datasets": ["wholebody"], "losses": ["fowkal"], "data": data}
    changes["loss_settings"] = {"fowkal": {"title": "Parts", "reading": "The factors stay free"}}
    config = complete({**SETTINGS, **changes})
    cell = Cell("wholebody", "tiny", request.param, "fowkal", 0)
    with open(folder / "terminal", "w") as terminal:
        Training(config, cell, folder / "checkpoint.pth").train(terminal)
    predict(config, cell, folder / "checkpoint.pth", folder / "predictions.npz", folder / "samples.npz")
    write_json(folder / "scores.json", evaluate("wholebody", folder / "predictions.npz", root))
    record = folder / "records" / f"{cell.path}.json"
    said = said_of_loss(config, cell)
    write_record(config, cell, folder / "scores.json", folder / "training.json", record, said)
    return folder, record


def test_fowkal_learns_a_factor_for_each_of_the_133_keypoints(finished: Finished) -> None:
    factors = np.array(json.loads(finished[1].read_text())["loss"]["learned"]["factor"])
    assert factors.shape == (133,)
    # Gradients reached each part: no factor of a labelled keypoint is where it began.
    for part in (slice(0, 17), slice(17, 23), slice(23, 91), slice(91, 133)):
        assert (factors[part] != 0.5).any()


def test_the_record_has_what_the_config_says_of_the_loss_and_the_scores_of_every_part(
    finished: Finished,
) -> None:
    record = json.loads(finished[1].read_text())
    assert (record["loss"]["title"], record["loss"]["reading"]) == ("Parts", "The factors stay free")
    expected = {f"{name}_{part}" for name in ("AP", "AR") for part in PARTS} | {"AP", "AR"}
    assert expected <= set(record["metrics"])
    assert record["confidence"]["keypoint"]["n"] > 100


def test_predictions_are_of_all_boxes_and_keypoints(finished: Finished) -> None:
    predictions = Predictions.load(finished[0] / "predictions.npz")
    assert predictions.keypoints.shape[1:] == (133, 2)
    assert len(predictions.detections()) and len(predictions.ground_truth_boxes())


def test_the_table_has_a_column_for_each_part(finished: Finished, tmp_path: Path) -> None:
    make_tables(finished[0] / "records", tmp_path)
    table = (tmp_path / "wholebody.md").read_text()
    assert "COCO-WholeBody val, generated data: AP and AR of all 133 keypoints" in table
    assert all(column in table for column in ("Whole", "Body", "Foot", "Face", "Hand"))
    assert "COCO-WholeBody" in (tmp_path / "main.md").read_text()


def test_the_cell_is_drawn_with_its_annotation(finished: Finished, tmp_path: Path) -> None:
    folder, record = finished
    drawn = np.load(folder / "samples.npz")["truth_keypoints"]
    assert drawn.shape[1:] == (133, 3)
    assert (drawn[..., 2] > 0).any(axis=0)[:17].any()
    entry = Entry(read_record(record), folder / "predictions.npz", folder / "samples.npz")
    assert entry.record.scores["metrics.AP"] is not None
    for make in (make_sheet, make_heatmap_sheet):
        make("wholebody", [entry], tmp_path / "sheet.png")
        assert (tmp_path / "sheet.png").stat().st_size > 10_000
        (tmp_path / "sheet.png").unlink()


def test_the_published_recipe_takes_a_step_with_every_loss_of_its_grid(
    tiny_datasets: Path, tmp_path: Path
) -> None:
    config = load_config(REPOSITORY / "config" / "paper_wholebody.yaml").changed(
        data={"wholebody": {"root": str(tiny_datasets / "wholebody")}}
    )
    assert len(config.cells()) == 8
    first = config.cells()[0]
    composed = compose(config, first, tmp_path, None)
    theirs = mmpose_config(config.model_settings["hrnet-w32-dark"].base["heatmap"])
    assert composed["optim_wrapper"]["optimizer"]["lr"] == theirs["optim_wrapper"]["optimizer"]["lr"]
    assert composed["codec"].items() >= theirs["codec"].items()
    assert composed["model"]["test_cfg"].items() >= theirs["model"]["test_cfg"].items()

    composed["model"]["backbone"]["init_cfg"] = None
    model = MODELS.build(composed["model"])
    data = model.data_preprocessor(batch_of(composed, 2), training=True)
    with torch.no_grad():
        features = model.extract_feat(data["inputs"])
    for cell in config.cells():
        loss = config.loss_of(cell.loss, cell.head)
        model.head.loss_module = build_loss(loss.loss, loss.parameters, 133)
        total = sum(model.head.loss(features, data["data_samples"]).values())
        assert torch.isfinite(total) and total > 0
