"""Training a cell: it can be killed at any time and goes on where it was, and never from another training."""

import builtins
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders.grid import put
from builders.training import (
    AVERAGED,
    RunsCode,
    Settings,
    run,
    same_weights,
    start,
    wait_until_reached,
    weights,
    with_ordered_loss,
)
from builders.transfers import Transfers, comparing_elsewhere
from mmengine.runner import EpochBasedTrainLoop

from rspose.grid.cell import Cell
from rspose.grid.job import LastingError
from rspose.training.hooks import EpochSeedHook
from rspose.training.train import _Measurements
from rspose.training.weights import sha256_of_weights

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]

MOMENTS = (
    "in an epoch",
    "while a checkpoint is written",
    "before a checkpoint is in its place",
    "after a checkpoint",
    "before the weights are in their place",
)


def stand_still_at(moment: str, reached: Path) -> None:
    """Let a training in this process make a file and go no further, in its second epoch or at its end."""

    def stop() -> None:
        reached.touch()
        time.sleep(600)

    def after_step(self: Any, runner: Any, batch_idx: int, **_: Any) -> None:
        if moment == "in an epoch" and runner.epoch == 1 and batch_idx == 1:
            stop()

    def write_bytes(path: Path, content: bytes) -> None:
        half = moment == "while a checkpoint is written" and "epoch_2" in path.name
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2] if half else content)
        if half:
            stop()

    def replace(path: Path, target: Path) -> None:
        if moment == "before a checkpoint is in its place" and target.name == "epoch_2.pth":
            stop()
        if moment == "before the weights are in their place" and target.name == "checkpoint.pth":
            stop()
        renamed(path, target)

    def open_file(name: Any, *arguments: Any, **settings: Any) -> Any:
        if moment == "after a checkpoint" and str(name).endswith("last_checkpoint") and Path(name).exists():
            stop()
        return opened(name, *arguments, **settings)

    opened, renamed = builtins.open, Path.replace
    builtins.open = open_file
    EpochSeedHook.after_train_iter = after_step
    Path.write_bytes, Path.replace = write_bytes, replace


def kill(moment: str, settings: Settings, cell: Cell, folder: Path) -> None:
    """Train a cell in a process of its own, and kill it at one of the moments."""
    assert moment in MOMENTS
    reached = folder / "reached"
    reached.unlink(missing_ok=True)
    child = start(settings, cell, folder, lambda: stand_still_at(moment, reached))
    try:
        wait_until_reached(reached, child, folder)
    finally:
        child.kill()
        child.join()


def test_a_training_step_asks_a_gpu_for_one_look_and_for_its_terms(
    trainable: Settings, cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainable["training"]["epochs"] = 1
    # Adam counts its steps on the host, where a GPU computes: what it asks is no transfer.
    plain = {"optim_wrapper": {"optimizer": {"_delete_": True, "type": "SGD", "lr": 0.01}}}
    trainable["model_settings"][cell.model]["overrides"].update(plain)
    steps, run_iter = [], EpochBasedTrainLoop.run_iter

    def counted(loop: EpochBasedTrainLoop, *arguments: Any) -> None:
        with monkeypatch.context() as patch, Transfers(patch) as transfers:
            run_iter(loop, *arguments)
        steps.append(transfers.found)

    monkeypatch.setattr(EpochBasedTrainLoop, "run_iter", counted)
    with comparing_elsewhere(monkeypatch):
        run(trainable, cell._replace(loss="rspose"), tmp_path)
    # The visible keypoints are looked up on the host, before they go to a GPU.
    assert steps == [["nonzero", "tolist", "tolist"]] * len(steps)
    assert len(steps) > 1


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
    ("cell", "changes", "moments"),
    [
        (Cell("coco", "tiny", "heatmap", "rspose", 0), {}, MOMENTS[:1]),
        # Learned parameters in the loss, low precision, another schedule, the fused optimizer.
        (
            Cell("mpii", "tiny", "simcc", "fowkal", 3),
            {"precision": "bfloat16", "channels_last": True, "schedule": "step", "cache_images": True},
            MOMENTS[:1],
        ),
        # State in every place that has one: the loss, the optimizer, both schedules, averaged weights.
        (
            Cell("mpii", "tiny", "heatmap", "kal", 1),
            {"epochs": 3, "schedule": "step", "milestones": [0.3, 0.6], "warmup_iterations": 5},
            MOMENTS,
        ),
    ],
    ids=["heatmap", "simcc", "every moment"],
)
def test_a_killed_cell_goes_on_and_ends_with_the_weights_of_an_uninterrupted_one(
    trainable: Settings, tmp_path: Path, cell: Cell, changes: Settings, moments: tuple[str, ...]
) -> None:
    trainable.update(losses=[cell.loss], seeds=[cell.seed])
    trainable["training"].update(changes)
    overrides = trainable["model_settings"]["tiny"]["overrides"]
    overrides["optim_wrapper"] = {"optimizer": {"fused": cell.loss == "fowkal"}}
    if cell.loss == "kal":
        overrides["custom_hooks"] = [AVERAGED]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for moment in moments:
        kill(moment, trainable, cell, killed)
        assert not (killed / "cell" / "checkpoint.pth").exists()
    (work,) = (killed / "results" / "work" / cell.path).iterdir()
    saved = {path: path.stat().st_mtime_ns for path in work.glob("epoch_*.pth")}

    resumed, uninterrupted = run(trainable, cell, killed), run(trainable, cell, whole)
    assert (resumed["resumed"], uninterrupted["resumed"]) == (True, False)
    for measured in ("iterations", "final_loss", "curve", "loss", "provenance"):
        assert resumed[measured] == uninterrupted[measured]
    assert same_weights(weights(killed), weights(whole))
    # What was trained is not trained again, and nothing half-written is left.
    assert saved and all(path.stat().st_mtime_ns == time for path, time in saved.items())
    last = trainable["training"]["epochs"]
    assert {path.name for path in work.glob("*epoch*")} == {f"epoch_{last - 1}.pth", f"epoch_{last}.pth"}


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
    (work / "epoch_last.pth").write_bytes(b"of somebody else")
    (work / "epoch_9.pth").mkdir()
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


class LooksUp:
    """What mmengine's own list of harmless functions lets a file do: reading it calls ``getattr``."""

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (slice, "indices")


@pytest.mark.parametrize("used_as", ["checkpoint", "initial weights"])
@pytest.mark.parametrize("kind", [RunsCode, LooksUp])
def test_a_checkpoint_that_brings_code_is_refused_without_running_it(
    one_epoch: Settings, cell: Cell, tmp_path: Path, kind: Any, used_as: str
) -> None:
    proof, initial = tmp_path / "code_was_run", tmp_path / "initial.pth"
    code = LooksUp() if kind is LooksUp else RunsCode(proof)
    harmful = {"state_dict": {}, "meta": {"epoch": 1, "iter": 1}, "message_hub": code}
    if used_as == "checkpoint":
        run(one_epoch, cell, tmp_path)
        (epoch,) = (tmp_path / "results" / "work").rglob("epoch_1.pth")
        torch.save(harmful, epoch)
    else:
        torch.save(harmful, initial)
    with pytest.raises(ValueError, match=r"\.pth: expected a file of weights alone.* holds code"):
        run(one_epoch, cell, tmp_path, initial if used_as == "initial weights" else None)
    assert not proof.exists()


@pytest.fixture
def cell() -> Cell:
    return Cell("mpii", "tiny", "heatmap", "mse", 0)


@pytest.fixture
def one_epoch(trainable: Settings) -> Settings:
    trainable["training"]["epochs"] = 1
    return trainable


def test_images_can_be_held_out_of_any_training(one_epoch: Settings, cell: Cell, tmp_path: Path) -> None:
    whole = run(one_epoch, cell, tmp_path)["train_instances"]
    put(one_epoch, "training/held_out", {"share": 0.3, "seed": 0})
    assert run(one_epoch, cell, tmp_path)["train_instances"] < whole


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
        again = run(one_epoch, cell, tmp_path, initial)
        assert again["resumed"] is True
        assert again["provenance"]["initial_weights_sha256"] == sha256_of_weights(initial)

    whole, pretrained = weights(tmp_path), tmp_path / "pretrained.pth"
    put(one_epoch, "model_settings/tiny/pretrained", str(pretrained))
    for factor in (0.5, 2.0):  # of the backbone alone
        named = ((key.partition("backbone."), value) for key, value in whole.items())
        torch.save({key: factor * value for (before, _, key), value in named if not before}, pretrained)
        assert run(one_epoch, cell, tmp_path)["resumed"] is False
    put(one_epoch, "model_settings/tiny/pretrained", None)

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
    saved = torch.load(epoch, weights_only=True)  # mmengine puts the average under `state_dict`
    assert same_weights(weights(tmp_path), saved["state_dict"])
    of_last_step = saved["ema_state_dict"]["module.head.final_layer.weight"]
    assert not torch.equal(weights(tmp_path)["head.final_layer.weight"], of_last_step)


def test_training_json_says_how_the_cell_was_trained(one_epoch: Settings, cell: Cell, tmp_path: Path) -> None:
    put(one_epoch, "loss_settings/mse", {"learning_rate_factor": 0.5})
    said = run(one_epoch, cell, tmp_path)
    annotations = Path(one_epoch["data"]["mpii"]["root"]) / "annotations/mpii_train.json"
    instances = len(json.loads(annotations.read_text()))
    assert said["train_instances"] == instances
    assert said["iterations"] == -(-instances // 4)
    assert (said["epochs"], said["batch_size"], said["learning_rate"]) == (1, 4, 0.0005)
    assert said["seconds"] > 0 and said["seconds_per_iteration"] > 0 and said["peak_memory_mb"] > 0
    assert said["loss"]["reconstruction"] is False
    assert said["final_loss"]["loss_mse"] > 0
    assert (tmp_path / "cell" / "config.py").is_file()


@pytest.mark.usefixtures("fresh_registry")
@pytest.mark.parametrize(
    ("what", "said"), [("spoil", "term 'square' is NaN"), ("raise", "raises KeyError: 'elbow'")]
)
@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_a_loss_that_goes_wrong_is_named_with_step_term_and_keypoint(
    one_epoch: Settings, tmp_path: Path, head: str, what: str, said: str
) -> None:
    (tmp_path / "order").write_text(f"{what} 0 3")
    settings = with_ordered_loss(one_epoch, tmp_path)
    settings["training"].update(batch_size=16, epochs=9)  # so that every batch shows a left shoulder
    with pytest.raises(LastingError) as raised:
        run(settings, Cell("coco", "tiny", head, "ordered", 0), tmp_path)
    assert str(raised.value) == f"loss ordered, step 3: {said}, at keypoint left_shoulder"
    assert not (tmp_path / "cell" / "checkpoint.pth").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_said_so(one_epoch: Settings, cell: Cell, tmp_path: Path) -> None:
    one_epoch["training"]["device"] = "cuda"
    with pytest.raises(RuntimeError, match=r"training\.device.*no GPU; use auto or cpu"):
        run(one_epoch, cell, tmp_path)
