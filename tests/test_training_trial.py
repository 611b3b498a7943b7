"""A trial: it trains without the images that it is scored on, and a loss that diverges has no score."""

import json
from pathlib import Path
from typing import TextIO

import pytest
import torch
from builders.training import Settings, completed, with_ordered_loss

from rspose.datasets.annotations import read_annotations
from rspose.datasets.held_out import held_out_persons
from rspose.grid.cell import Cell
from rspose.grid.tuning import points, tried
from rspose.training.compose import compose
from rspose.training.train import Training
from rspose.training.trial import run_trial

# isort: split
from mmpose.registry import DATASETS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]
TUNING = {"trials": 2, "held_out": {"share": 0.4, "seed": 0}}


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii", "wholebody"])
def test_no_image_is_both_trained_on_and_scored(dataset: str, trainable: Settings, tmp_path: Path) -> None:
    trainable.update(tuning=TUNING, datasets=[dataset])
    config = completed(trainable, tmp_path)
    cell = Cell(dataset, "tiny", "heatmap", "mse", 0)
    changed, own = tried(config, cell, 1)
    whole, part = compose(config, cell, tmp_path, None), compose(changed, own, tmp_path, None)

    def samples(settings: Settings) -> set[tuple[str, int]]:
        loaded = DATASETS.build(settings["dataset"])
        infos = [loaded.get_data_info(index) for index in range(len(loaded))]
        return {(str(info["img_path"]), int(info["id"])) for info in infos}

    everything = samples(whole["train_dataloader"])
    trained, scored = samples(part["train_dataloader"]), samples(part["held_out_dataloader"])
    assert trained | scored == everything and trained and scored
    assert not {path for path, _ in trained} & {path for path, _ in scored}
    persons = read_annotations(dataset, config.data[dataset].folder, "train")
    chosen = set(persons.annotation_id[held_out_persons(persons, 0.4, 0)].tolist())
    assert {identity for _, identity in scored} <= chosen
    # Scored as predictions are: no augmentation.
    kinds = [step["type"] for step in part["held_out_dataloader"]["dataset"]["pipeline"]]
    assert not any("Random" in kind for kind in kinds)


def test_a_trial_writes_point_score_and_seconds_and_keeps_no_weights(
    trainable: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainable.update(tuning=TUNING)
    config = completed(trainable, tmp_path)
    cell, file = Cell("coco", "tiny", "heatmap", "rspose", 0), tmp_path / "trial1.json"
    train = Training.train

    def as_other_processes(self: Training, terminal: TextIO) -> None:
        train(self, terminal)
        assert list(self.work_dir.glob("epoch_*.pth"))
        torch.set_num_threads(config.training.threads + 1)

    monkeypatch.setattr(Training, "train", as_other_processes)
    with open(tmp_path / "progress.txt", "w") as terminal:
        run_trial(config, cell, 1, file, terminal=terminal)
    found = json.loads(file.read_text())
    assert found["point"]["learning_rate"] == points(config, "rspose", "heatmap")[1].learning_rate
    assert 0 <= found["score"] <= 1 and found["seconds"] > 0 and "failed" not in found
    assert torch.get_num_threads() == config.training.threads
    assert not (tmp_path / "trial1").exists() and not list(tmp_path.rglob("*.pth"))


def test_a_loss_that_diverges_in_a_trial_has_no_score(trainable: Settings, tmp_path: Path) -> None:
    settings = with_ordered_loss({**trainable, "tuning": TUNING}, tmp_path)
    (tmp_path / "order").write_text("nan 0 2")
    config = completed(settings, tmp_path)
    file = tmp_path / "trial0.json"
    with open(tmp_path / "progress.txt", "w") as terminal:
        run_trial(config, Cell("coco", "tiny", "heatmap", "ordered", 0), 0, file, terminal=terminal)
    found = json.loads(file.read_text())
    assert found["score"] is None and "NaN" in found["failed"] and "step 2" in found["failed"]
    assert not [each for each in (tmp_path / "results/work").rglob("*") if each.is_file()]
