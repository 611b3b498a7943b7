"""What is made again when the files of a real dataset change: by what they hold, and who reads them."""

import json
import os
from collections.abc import Callable
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from builders.datasets import edit
from builders.grid import SETTINGS, SnakemakeRun, put
from mmengine.registry import DefaultScope

import rspose.training  # noqa: F401  (makes mmpose importable)
from rspose.datasets import DATASETS
from rspose.drawn import make_dataset
from rspose.grid.cell import Cell
from rspose.grid.config import complete
from rspose.training.compose import compose

# isort: split
from mmpose.registry import MODELS

pytestmark = pytest.mark.slow

KNOWN = DATASETS["coco"]
CELL = Cell("coco", "tiny", "simcc", "mse", 0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where one cell of a dataset that passes for a real one was trained and recorded."""
    folder = tmp_path_factory.mktemp("real")
    make_dataset("coco", folder / "data/coco", 8, 5, 4, (128, 96))
    (folder / "data/coco/manifest.json").unlink()
    settings = deepcopy(SETTINGS)
    settings.update(datasets=["coco"], heads=["simcc"], losses=["mse"], controls=False)
    settings["data"] = {"coco": {"root": "data/coco"}}
    settings["training"]["epochs"] = 1
    settings["model_settings"]["tiny"]["pretrained"] = "weights.pth"
    with DefaultScope.overwrite_default_scope("mmpose"):
        model = MODELS.build(compose(complete(settings), CELL, folder, None)["model"])
    torch.save(model.backbone.state_dict(), folder / "weights.pth")
    (folder / "real.yaml").write_text(yaml.safe_dump(settings))
    run = made_again(folder, dry=False)
    assert run["train"] == run["predict"] == run["evaluate"] == 1
    return folder


def made_again(folder: Path, dry: bool = True) -> dict[str, int]:
    target = f"results/records/{CELL.path}.json"
    return SnakemakeRun(folder, folder / "real.yaml", [*(["--dry-run"] if dry else []), target]).jobs


def test_files_that_were_only_touched_make_nothing_again(finished: Path) -> None:
    for file in KNOWN.files:
        os.utime(finished / "data/coco" / file)
    assert made_again(finished) == {}


@pytest.mark.parametrize(
    ("file", "change", "again"),
    [
        (KNOWN.detections, lambda entries: entries[0].update(score=0.5), {"predict", "evaluate", "record"}),
        (
            KNOWN.annotations["val"],
            lambda content: content["annotations"][0].update(area=99.0),
            {"predict", "evaluate", "record"},
        ),
        (
            KNOWN.annotations["train"],
            lambda content: content["annotations"][0].update(area=99.0),
            {"train", "predict", "evaluate", "record"},
        ),
    ],
    ids=["detections", "val", "train"],
)
def test_a_file_that_changes_makes_again_what_reads_it(
    file: str, change: Callable[[Any], None], again: set[str], finished: Path
) -> None:
    path = finished / "data/coco" / file
    before = path.read_bytes()
    try:
        edit(path, change)
        assert set(made_again(finished)) == again
    finally:
        path.write_bytes(before)


def test_a_fault_in_the_data_stops_the_run_before_its_first_job(finished: Path) -> None:
    path = finished / "data/coco" / KNOWN.annotations["train"]
    before = path.read_bytes()
    try:
        edit(path, lambda content: content["annotations"][0].update(bbox=[1, 2, -3, 4], area=None))
        run = SnakemakeRun(finished, finished / "real.yaml")
        assert run.returncode != 0
        (error,) = [line for line in run.output.splitlines() if line.startswith("error: ")]
        assert error.startswith(f"error: data/coco/{KNOWN.annotations['train']}: annotation 0 (id ")
        assert "area: expected a number, found null" in error
        assert "Traceback" not in run.output
    finally:
        path.write_bytes(before)


def test_data_that_was_moved_is_found_and_makes_nothing_again(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finished / "data").rename(finished / "moved")
    try:
        monkeypatch.setenv("RSPOSE_DATA", "moved")
        assert made_again(finished) == {}
    finally:
        (finished / "moved").rename(finished / "data")


@pytest.mark.parametrize("gone", ["data", "weights.pth"])
def test_data_and_weights_that_were_taken_away_make_nothing_again(finished: Path, gone: str) -> None:
    (finished / gone).rename(finished / "elsewhere")
    try:
        assert made_again(finished) == {}
    finally:
        (finished / "elsewhere").rename(finished / gone)


def test_the_record_has_the_checksum_of_the_files_of_real_data(finished: Path) -> None:
    record = json.loads((finished / "results/records/coco/tiny/simcc/mse/seed0.json").read_text())
    files = (*KNOWN.annotations.values(), KNOWN.detections)
    content = b"".join((finished / "data/coco" / file).read_bytes() for file in files)
    assert record["data"] == {**record["data"], "generated": False, "checksum": sha256(content).hexdigest()}


def test_a_record_of_drawn_data_says_so_though_its_config_takes_them_for_real_ones(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_dataset("coco", tmp_path / "data/coco", 8, 5, 4, (128, 96))
    settings["data"]["coco"] = {"root": "data/coco"}
    (tmp_path / "control.yaml").write_text(yaml.safe_dump(settings))
    target = "results/records/coco/control/mean_pose.json"
    assert SnakemakeRun(tmp_path, tmp_path / "control.yaml", (target,)).jobs == {"control": 1}
    assert json.loads((tmp_path / target).read_text())["data"]["generated"] is True


def test_a_drawn_dataset_is_drawn_again_where_its_settings_change(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    config, manifest = tmp_path / "mine.yaml", "data/coco/manifest.json"
    for seed in (1, 2):
        put(settings, "data/coco/generate/seed", seed)
        config.write_text(yaml.safe_dump(settings))
        assert SnakemakeRun(tmp_path, config, (manifest,)).jobs == {"dataset_coco": 1}
        assert json.loads((tmp_path / manifest).read_text())["seed"] == seed
