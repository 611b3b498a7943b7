"""The grid of photographs: a cell from drawings in LSP's files to tables, and the photographs themselves."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from builders.grid import REPOSITORY, SnakemakeRun
from builders.training import batch_of
from mmengine.optim import build_optim_wrapper
from mmpose.registry import MODELS

from rspose.datasets import DATASETS
from rspose.datasets.annotations import read_annotations
from rspose.datasets.check import inspect_dataset
from rspose.evaluation.controls import oracle
from rspose.evaluation.evaluate import evaluate_predictions
from rspose.grid.config import load_config
from rspose.training.compose import compose

PHOTOS = REPOSITORY / "config/photos.yaml"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cell_of_drawings_in_the_files_of_lsp_runs_to_its_tables(tmp_path: Path) -> None:
    drawn = {"root": str(tmp_path / "lsp"), "generate": {"train_images": 40, "val_images": 12, "seed": 3}}
    changes = {
        "extends": str(PHOTOS),
        "results": str(tmp_path / "results"),
        "losses": ["mse"],
        "heads": ["heatmap"],
        "seeds": [0],
        "data": {"lsp": drawn},
        "training": {"epochs": 1, "batch_size": 8, "warmup_iterations": 1},
    }
    config = tmp_path / "photos.yaml"
    config.write_text(yaml.safe_dump(changes))
    SnakemakeRun(tmp_path, config, ("tables",))
    record = json.loads((tmp_path / "results/records/lsp/lite0/heatmap/mse/seed0.json").read_text())
    assert set(DATASETS["lsp"].metrics) <= set(record["metrics"])
    assert record["data"]["generated"] and record["protocol"]["boxes"] == "derived"
    assert record["training"]["pretrained"]["left_out"] == ["conv_head", "bn2", "classifier"]
    for table in ("lsp", "main", "confidence", "diagnosis"):
        text = (tmp_path / f"results/tables/{table}.md").read_text()
        assert "Leeds Sports Pose" in text and (
            table in ("confidence", "diagnosis") or "derived from the annotated joints" in text
        )


@pytest.mark.slow
def test_the_photographs_are_whole_and_their_near_duplicates_named(photographs: Path) -> None:
    found = inspect_dataset(photographs, "lsp")
    assert found.problems == []
    assert found.counts == DATASETS["lsp"].release.counts
    across = next(note for note in found.notes if "(val) and" in note and "(train)" in note)
    assert "(3 more like it)" in across
    assert not any("checksum" in note or "byte for byte" in note for note in found.notes)


@pytest.mark.slow
def test_the_truth_of_the_photographs_scores_full_marks(photographs: Path, few_replicates: None) -> None:
    metrics = evaluate_predictions("lsp", oracle("lsp", photographs), photographs)["metrics"]
    assert {metrics[name] for name in DATASETS["lsp"].metrics} == {1.0}
    flags = read_annotations("lsp", photographs, "train").flags
    assert np.unique(flags[:1000]).tolist() == [1, 2] and (flags[1000:] == 2).all()


@pytest.mark.slow
@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_a_step_on_photographs_changes_what_is_not_frozen(
    head: str, photographs: Path, tmp_path: Path
) -> None:
    config = load_config(PHOTOS).changed(data={"lsp": {"root": str(photographs)}}, losses=["rspose"])
    cell = next(cell for cell in config.cells() if cell.head == head)
    composed = compose(config, cell, tmp_path, None)
    model = MODELS.build(composed["model"])
    model.init_weights()
    model.train()
    stem = model.backbone.network.conv_stem.weight.clone()
    last = model.backbone.network.blocks[4][0].conv_pw.weight.clone()
    terms = model.train_step(batch_of(composed, 4), build_optim_wrapper(model, composed["optim_wrapper"]))
    assert torch.isfinite(terms["loss"])
    assert torch.equal(model.backbone.network.conv_stem.weight, stem)
    assert not torch.equal(model.backbone.network.blocks[4][0].conv_pw.weight, last)
