"""Training a cell: it can be killed at any time and goes on where it was, and never from another training."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pytest
import torch
from builders.grid import put
from builders.losses import forget_later
from builders.training import AVERAGED, Settings, completed, run, same_weights, weights

from rspose.grid.cell import Cell
from rspose.grid.job import LastingError
from rspose.training.train import _Measurements

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]

# Trains a cell and stops at one of the MOMENTS, to be killed there.
CHILD = """
import builtins, json, os, sys, time
from pathlib import Path
import rspose.training
from rspose.grid import files
from rspose.grid.cell import Cell
from rspose.grid.config import complete
from rspose.training.train import train
from rspose.training.hooks import EpochSeedHook

config, cell, checkpoint, reached, moment = json.loads(sys.argv[1])

def stop():
    Path(reached).touch()
    time.sleep(600)

def after_step(self, runner, batch_idx, data_batch=None, outputs=None):
    if moment == "in an epoch" and runner.epoch == 1 and batch_idx == 1:
        stop()

def write_bytes(path, content):
    if moment == "while a checkpoint is written" and "epoch_2" in path.name:
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])
        stop()
    with open(path, "wb") as file:
        file.write(content)

def replace(path, target):
    if moment == "before a checkpoint is in its place" and target.name == "epoch_2.pth":
        stop()
    if moment == "before the weights are in their place" and target.name == "checkpoint.pth":
        stop()
    os.replace(path, target)

def open_file(name, *arguments, **settings):
    if moment == "after a checkpoint" and str(name).endswith("last_checkpoint") and Path(name).exists():
        stop()
    return opened(name, *arguments, **settings)

opened, builtins.open = builtins.open, open_file
EpochSeedHook.after_train_iter = after_step
Path.write_bytes, Path.replace = write_bytes, replace
train(complete(config), Cell(*cell), Path(checkpoint))
"""
MOMENTS = (
    "in an epoch",
    "while a checkpoint is written",
    "before a checkpoint is in its place",
    "after a checkpoint",
    "before the weights are in their place",
)


def kill(moment: str, settings: Settings, cell: Cell, folder: Path) -> None:
    """Train a cell in a process of its own, and kill it in its second epoch or at its end."""
    assert moment in MOMENTS
    config = completed(settings, folder)
    reached = folder / "reached"
    reached.unlink(missing_ok=True)
    named = (cell.dataset, cell.model, cell.head, cell.loss, cell.seed)
    arguments = json.dumps(
        [config.plain(), named, str(folder / "cell" / "checkpoint.pth"), str(reached), moment]
    )
    with open(folder / "child.txt", "w") as output:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, arguments], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + 300
            while not reached.exists():
                assert child.poll() is None, (folder / "child.txt").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        finally:
            os.kill(child.pid, signal.SIGKILL)
            assert child.wait() in (-signal.SIGKILL, 1)


def test_what_a_loss_learned_is_written_down_per_keypoint(trainable: Settings, tmp_path: Path) -> None:
    cell = Cell("coco", "tiny", "heatmap", "kal", 0)
    trainable.update(losses=[cell.loss])
    written = run(trainable, cell, tmp_path)
    factors = torch.sigmoid(weights(tmp_path)["head.loss_module.factor_logits"])
    assert len(set(factors.tolist())) == 17
    assert written["loss"]["learned"] == {"factor": pytest.approx(factors.tolist(), abs=1e-6)}


def test_the_learning_curve_has_every_term_of_the_loss(
    trainable: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, float]] = []
    step = _Measurements.after_train_iter

    def watch(self: Any, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        seen.append({term: float(value) for term, value in outputs.items()})
        step(self, runner, batch_idx, data_batch, outputs)

    monkeypatch.setattr(_Measurements, "after_train_iter", watch)
    monkeypatch.setattr("rspose.training.train._CURVE_POINTS", 5)
    trainable.update(losses=["rspose"])
    trainable["training"]["epochs"] = 3
    written = run(trainable, Cell("coco", "tiny", "heatmap", "rspose", 0), tmp_path)
    curve = written["curve"]
    assert curve.pop("iteration")[-1] == written["iterations"] == len(seen) > 5
    assert curve.keys() == seen[0].keys() == {"loss", "loss_rank", "loss_sort", "loss_instance_sort"}
    for term, values in curve.items():
        points = np.array_split([each[term] for each in seen], 5)
        assert values == pytest.approx([point.mean() for point in points], rel=1e-5)


@pytest.mark.parametrize(
    ("cell", "changes"),
    [
        (Cell("coco", "tiny", "heatmap", "rspose", 0), {}),
        # Learned parameters in the loss, low precision, another schedule, the fused optimizer.
        (
            Cell("mpii", "tiny", "simcc", "fowkal", 3),
            {"precision": "bfloat16", "channels_last": True, "schedule": "step", "cache_images": True},
        ),
    ],
    ids=["heatmap", "simcc"],
)
def test_a_killed_cell_goes_on_and_ends_with_the_weights_of_an_uninterrupted_one(
    trainable: Settings, tmp_path: Path, cell: Cell, changes: Settings
) -> None:
    trainable.update(losses=[cell.loss], seeds=[cell.seed])
    trainable["training"].update(changes)
    put(trainable, "model_settings/tiny/overrides/optim_wrapper", {"optimizer": {"fused": bool(changes)}})
    whole, killed = tmp_path / "whole", tmp_path / "killed"

    kill("in an epoch", trainable, cell, killed)
    assert not (killed / "cell" / "checkpoint.pth").exists()
    (first_epoch,) = (killed / "results" / "work").rglob("*.pth")
    assert first_epoch.name == "epoch_1.pth"
    saved = first_epoch.stat().st_mtime_ns

    resumed, uninterrupted = run(trainable, cell, killed), run(trainable, cell, whole)
    assert resumed["resumed"] is True
    assert uninterrupted["resumed"] is False
    assert resumed["iterations"] == uninterrupted["iterations"]
    assert resumed["provenance"] == uninterrupted["provenance"]
    assert resumed["curve"] == uninterrupted["curve"]  # also of the epoch before the kill
    assert first_epoch.stat().st_mtime_ns == saved  # the first epoch was not trained again
    assert same_weights(weights(killed), weights(whole))


def test_a_cell_killed_at_every_moment_in_turn_ends_with_the_weights_of_an_uninterrupted_one(
    trainable: Settings, tmp_path: Path
) -> None:
    cell = Cell("mpii", "tiny", "heatmap", "kal", 1)
    trainable.update(losses=[cell.loss], seeds=[cell.seed])
    # State in every place that has one: the loss, the optimizer, both schedules, averaged weights.
    trainable["training"].update(epochs=3, schedule="step", milestones=[0.3, 0.6], warmup_iterations=5)
    put(trainable, "model_settings/tiny/overrides/custom_hooks", [AVERAGED])
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for moment in MOMENTS:
        kill(moment, trainable, cell, killed)
        assert not (killed / "cell" / "checkpoint.pth").exists()

    resumed, uninterrupted = run(trainable, cell, killed), run(trainable, cell, whole)
    assert (resumed["resumed"], uninterrupted["resumed"]) == (True, False)
    assert same_weights(weights(killed), weights(whole))
    for measured in ("iterations", "final_loss", "loss", "provenance"):
        assert resumed[measured] == uninterrupted[measured]
    (work,) = (killed / "results" / "work" / cell.path).iterdir()
    # Nothing half-written is left, and what a resume needs is there.
    assert sorted(path.name for path in work.glob("*epoch*")) == ["epoch_2.pth", "epoch_3.pth"]
    saved = torch.load(work / "epoch_3.pth", weights_only=True)
    assert saved["optimizer"]["state"] and len(saved["param_schedulers"]) == 2
    assert "head.loss_module.factor_logits" in saved["state_dict"]
    # What is evaluated are the averaged weights, not those of the last step.
    assert same_weights(weights(killed), saved["state_dict"])
    last_step = {
        key.removeprefix("module."): value
        for key, value in saved["ema_state_dict"].items()
        if key.startswith("module.")
    }
    assert not same_weights(last_step, saved["state_dict"])


def damage(checkpoint: Path, how: str) -> None:
    content = bytearray(checkpoint.read_bytes())
    if how == "one bit flipped":
        content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content[: {"empty": 0, "truncated": len(content) // 2}.get(how, len(content))])


@pytest.mark.parametrize("how", ["truncated", "empty", "one bit flipped"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    trainable: Settings, cell: Cell, tmp_path: Path, how: str
) -> None:
    run(trainable, cell, tmp_path)
    uninterrupted = weights(tmp_path)
    (work,) = (tmp_path / "results" / "work" / cell.path).iterdir()
    damage(work / "epoch_2.pth", how)
    untouched = (work / "epoch_1.pth").stat().st_mtime_ns

    assert run(trainable, cell, tmp_path)["resumed"] is True
    (line,) = [line for line in (tmp_path / "progress.txt").read_text().splitlines() if "damaged" in line]
    assert line.startswith(f"{work / 'epoch_2.pth'}: damaged checkpoint (")
    assert (work / "epoch_1.pth").stat().st_mtime_ns == untouched
    assert same_weights(weights(tmp_path), uninterrupted)

    for epoch in (1, 2):
        damage(work / f"epoch_{epoch}.pth", how)
    assert run(trainable, cell, tmp_path)["resumed"] is False
    assert same_weights(weights(tmp_path), uninterrupted)


class RunsCode:
    """What an attacker puts into a checkpoint: reading it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("used_as", ["checkpoint", "initial weights"])
def test_a_checkpoint_that_brings_code_is_refused_without_running_it(
    one_epoch: Settings, cell: Cell, tmp_path: Path, used_as: str
) -> None:
    proof, initial = tmp_path / "code_was_run", tmp_path / "initial.pth"
    harmful = {"state_dict": {}, "meta": {"epoch": 1, "iter": 1}, "message_hub": RunsCode(proof)}
    if used_as == "checkpoint":
        run(one_epoch, cell, tmp_path)
        (epoch,) = (tmp_path / "results" / "work").rglob("epoch_1.pth")
        torch.save(harmful, epoch)
    else:
        torch.save(harmful, initial)
    with pytest.raises(UnpicklingError, match="Weights only load failed"):
        run(one_epoch, cell, tmp_path, initial if used_as == "initial weights" else None)
    assert not proof.exists()


@pytest.fixture
def cell() -> Cell:
    return Cell("mpii", "tiny", "heatmap", "mse", 0)


@pytest.fixture
def one_epoch(trainable: Settings) -> Settings:
    trainable["training"]["epochs"] = 1
    return trainable


def test_the_same_cell_has_the_same_weights_and_another_seed_others(
    one_epoch: Settings, cell: Cell, tmp_path: Path
) -> None:
    one_epoch["seeds"] = [0, 1]
    run(one_epoch, cell, tmp_path / "first")
    run(one_epoch, cell, tmp_path / "second")
    run(one_epoch, cell._replace(seed=1), tmp_path / "other")
    first, second, other = (weights(tmp_path / name) for name in ("first", "second", "other"))
    assert same_weights(first, second)
    assert not same_weights(first, other)


def test_a_finished_training_takes_no_step_when_run_again(
    one_epoch: Settings, cell: Cell, tmp_path: Path
) -> None:
    first = run(one_epoch, cell, tmp_path)
    before = weights(tmp_path)
    (tmp_path / "cell" / "checkpoint.pth").unlink()
    (epoch,) = (tmp_path / "results" / "work").rglob("*.pth")
    saved = epoch.stat().st_mtime_ns
    again = run(one_epoch, cell, tmp_path)
    assert again["resumed"] is True
    assert epoch.stat().st_mtime_ns == saved
    assert again["iterations"] == first["iterations"]
    assert same_weights(weights(tmp_path), before)


def test_other_settings_data_or_initial_weights_start_anew(
    one_epoch: Settings, cell: Cell, tmp_path: Path
) -> None:
    assert run(one_epoch, cell, tmp_path)["resumed"] is False
    trained = weights(tmp_path)

    one_epoch["training"]["learning_rate"] = 0.002
    assert run(one_epoch, cell, tmp_path)["resumed"] is False
    assert not same_weights(weights(tmp_path), trained)
    one_epoch["training"]["learning_rate"] = 0.001
    assert run(one_epoch, cell, tmp_path)["resumed"] is True

    initial = tmp_path / "initial.pth"
    for factor in (0.5, 2.0):  # the same name, other weights
        scaled = {key: factor * value for key, value in trained.items() if key.startswith("backbone.")}
        torch.save({"state_dict": scaled}, initial)
        assert run(one_epoch, cell, tmp_path, initial)["resumed"] is False
        assert run(one_epoch, cell, tmp_path, initial)["resumed"] is True

    root = shutil.copytree(one_epoch["data"]["mpii"]["root"], tmp_path / "mpii")
    put(one_epoch, "data/mpii/root", str(root))
    assert run(one_epoch, cell, tmp_path)["resumed"] is True  # the same data at another place
    manifest = json.loads((root / "manifest.json").read_text())
    manifest["files"]["annotations/mpii_train.json"] = "0" * 64
    (root / "manifest.json").write_text(json.dumps(manifest))
    assert run(one_epoch, cell, tmp_path)["resumed"] is False


def test_where_the_recipe_keeps_an_average_of_the_weights_the_average_is_what_is_evaluated(
    one_epoch: Settings, cell: Cell, tmp_path: Path
) -> None:
    put(one_epoch, "model_settings/tiny/overrides/custom_hooks", [{**AVERAGED, "momentum": 0.1}])
    run(one_epoch, cell, tmp_path)
    (epoch,) = (tmp_path / "results" / "work").rglob("*.pth")
    saved = torch.load(epoch, weights_only=False)  # mmengine puts the average under `state_dict`
    latest = {key.removeprefix("module."): value for key, value in saved["ema_state_dict"].items()}
    assert same_weights(weights(tmp_path), saved["state_dict"])
    assert not torch.equal(weights(tmp_path)["head.final_layer.weight"], latest["head.final_layer.weight"])


def test_training_json_says_how_the_cell_was_trained(one_epoch: Settings, cell: Cell, tmp_path: Path) -> None:
    put(one_epoch, "loss_settings/mse", {"learning_rate_factor": 0.5, "title": "Mean squares"})
    said = run(one_epoch, cell, tmp_path)
    instances = len(
        json.loads((Path(one_epoch["data"]["mpii"]["root"]) / "annotations/mpii_train.json").read_text())
    )
    assert said["train_instances"] == instances
    assert said["iterations"] == -(-instances // 4)
    assert (said["epochs"], said["batch_size"], said["learning_rate"]) == (1, 4, 0.0005)
    assert said["seconds"] > 0 and said["seconds_per_iteration"] > 0 and said["peak_memory_mb"] > 0
    assert said["loss"]["title"] == "Mean squares"
    assert said["loss"]["reconstruction"] is False
    assert said["final_loss"]["loss_mse"] > 0
    assert (tmp_path / "cell" / "config.py").is_file()


FAILING_LOSS = """
import torch
from rspose.losses import HeatmapLoss, register, visible_maps, weighted_mean


@register
class FailingLoss(HeatmapLoss):
    name = title = reference = "failing"

    def __init__(self, how: str = "NaN") -> None:
        super().__init__()
        self.how, self.calls = how, 0

    def terms(self, prediction, target):
        self.calls += 1
        maps = prediction[0] if isinstance(prediction, tuple) else prediction
        value = {"sound": maps.square().mean(), "torn": maps[:, 5].mean()}
        if self.calls < 3 or not (target.weights[:, 5] > 0).any():
            return value
        if self.how == "raises":
            raise KeyError("elbow")
        return {**value, "torn": value["torn"] * torch.nan}
"""


@pytest.mark.parametrize(
    ("how", "said"), [("NaN", "term 'torn' is NaN"), ("raises", "raises KeyError: 'elbow'")]
)
@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_a_loss_that_goes_wrong_is_named_with_step_term_and_keypoint(
    one_epoch: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, how: str, said: str
) -> None:
    forget_later(monkeypatch)
    (tmp_path / "failing.py").write_text(FAILING_LOSS)
    one_epoch.update(losses=["failing"], losses_from=[str(tmp_path / "failing.py")])
    put(one_epoch, "loss_settings/failing", {"parameters": {"how": how}})
    # Every batch shows a left shoulder.
    one_epoch["training"].update(batch_size=16, epochs=9)
    with pytest.raises(LastingError) as raised:
        run(one_epoch, Cell("coco", "tiny", head, "failing", 0), tmp_path)
    assert str(raised.value) == f"loss failing, step 3: {said}, at keypoint left_shoulder"
    assert not (tmp_path / "cell" / "checkpoint.pth").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_said_so(one_epoch: Settings, cell: Cell, tmp_path: Path) -> None:
    one_epoch["training"]["device"] = "cuda"
    with pytest.raises(RuntimeError, match=r"training\.device.*no GPU; use auto or cpu"):
        run(one_epoch, cell, tmp_path)
