"""A cell that several processes train together: as one process trains it, whatever happens to them."""

import io
import json
import os
import re
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
import yaml
from builders.grid import SnakemakeRun, put
from builders.training import (
    AVERAGED,
    Settings,
    run,
    same_weights,
    start,
    wait_until_reached,
    weights,
    with_ordered_loss,
)

from rspose.grid.cell import Cell
from rspose.grid.job import LastingError
from rspose.training.torchrun import torchrun

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
    pytest.mark.timeout(900),  # a few seconds on two idle cores; a machine may be busy
]

CELL = Cell("mpii", "tiny", "heatmap", "ordered", 0)


@pytest.fixture
def ordered(trainable: Settings, tmp_path: Path, fresh_registry: None) -> Settings:
    """A config of two processes whose loss can be told to fail."""
    put(trainable, "training/devices", 2)
    return with_ordered_loss(trainable, tmp_path)


def is_running(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def processes_of(child: BaseProcess, order: Path, folder: Path) -> list[int]:
    """Wait until the training stands still, where ``order`` told it to; the processes that train."""
    wait_until_reached(order.with_name("reached"), child, folder)
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    assert len(children) == 2
    return [int(each) for each in children]


GROUP_NORM = {"type": "GN", "num_groups": 4}


@pytest.mark.parametrize(
    ("loss", "parameters", "rate"),
    [
        ("mse", {"reduction": "mmpose"}, 5.0),
        ("rspose", {"gather": True, "rank_weight": 0.0, "sort_weight": 0.0, "instance_weight": 1.0}, 0.5),
    ],
    ids=["mse", "instance-sort"],
)
def test_two_processes_train_as_one_with_the_whole_batch(
    trainable: Settings, tmp_path: Path, loss: str, parameters: Settings, rate: float
) -> None:
    cell = Cell("mpii", "tiny", "heatmap", loss, 0)
    trainable.update(losses=[loss])
    put(trainable, f"loss_settings/{loss}", {"parameters": parameters})
    trainable["training"].update(learning_rate=rate, schedule="step", warmup_iterations=0)
    # Batch norm sees its own part of a batch, and Adam makes steps of one size of gradients that are nothing
    # but rounding.
    overrides = "model_settings/tiny/overrides"
    put(trainable, f"{overrides}/model/backbone/norm_cfg", GROUP_NORM)
    put(trainable, f"{overrides}/model/neck/norm_cfg", GROUP_NORM)
    sgd = {"_delete_": True, "type": "SGD", "lr": 0.1, "momentum": 0.9}
    put(trainable, f"{overrides}/optim_wrapper", {"optimizer": sgd})
    alone = run(trainable, cell, tmp_path / "alone")
    assert alone["train_instances"] % 2 == 0  # an odd one would be there twice
    put(trainable, "training/devices", 2)
    together = run(trainable, cell, tmp_path / "together")

    for same in ("iterations", "epochs", "batch_size", "learning_rate", "train_instances"):
        assert together[same] == alone[same]
    assert (alone["devices"], alone["batch_size_per_device"]) == (1, 4)
    assert (together["devices"], together["batch_size_per_device"]) == (2, 2)
    assert together["provenance"]["training_sha256"] != alone["provenance"]["training_sha256"]
    for term, values in alone["curve"].items():
        assert together["curve"][term] == pytest.approx(values, rel=1e-3), term
    put(trainable, "training", {**trainable["training"], "devices": 1, "epochs": 1})
    run(trainable, cell, tmp_path / "shorter")
    ours, theirs, earlier = (weights(tmp_path / name) for name in ("alone", "together", "shorter"))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-5)
    assert max(float((earlier[name] - ours[name]).abs().max()) for name in ours) > 1e-3


def test_a_training_killed_as_a_whole_or_in_part_ends_with_the_weights_of_an_uninterrupted_one(
    ordered: Settings, tmp_path: Path
) -> None:
    ordered["training"].update(epochs=3, schedule="step", milestones=[0.3, 0.6])
    put(ordered, "model_settings/tiny/overrides/custom_hooks", [AVERAGED])
    uninterrupted = run(ordered, CELL, tmp_path / "whole")
    steps = uninterrupted["iterations"] // 3
    killed = tmp_path / "killed"

    # The whole job at once, as a power cut does: nobody is left to tell the processes.
    order = tmp_path / "order"
    order.write_text(f"stop 1 {steps + 2}")
    child = start(ordered, CELL, killed)
    processes = processes_of(child, order, killed)
    child.kill()
    child.join()
    deadline = time.monotonic() + 60
    while any(is_running(each) for each in processes):
        assert time.monotonic() < deadline, processes
        time.sleep(0.1)

    # One of its processes.
    order.write_text(f"kill 1 {steps + 2}")
    with pytest.raises(RuntimeError, match=r"^process 2 of 2 was killed \(SIGKILL\)$"):
        run(ordered, CELL, killed)
    assert not (killed / "cell" / "checkpoint.pth").exists()

    order.unlink()
    resumed = run(ordered, CELL, killed)
    assert (resumed["resumed"], uninterrupted["resumed"]) == (True, False)
    for measured in ("iterations", "final_loss", "curve", "provenance"):
        assert resumed[measured] == uninterrupted[measured]
    assert same_weights(weights(killed), weights(tmp_path / "whole"))


def test_a_job_that_is_asked_to_end_takes_its_processes_with_it(ordered: Settings, tmp_path: Path) -> None:
    order = tmp_path / "order"
    order.write_text("stop 0 1")
    child = start(ordered, CELL, tmp_path / "job")
    processes = processes_of(child, order, tmp_path / "job")
    child.terminate()
    child.join(timeout=60)
    assert child.exitcode == -signal.SIGTERM
    assert not any(is_running(each) for each in processes)


def test_what_goes_wrong_in_one_process_is_said_as_if_it_were_the_only_one(
    ordered: Settings, tmp_path: Path
) -> None:
    ordered["training"].update(batch_size=16, epochs=9)  # so that every part of a batch shows a left wrist
    (tmp_path / "order").write_text("spoil 1 3")
    before = os.environ.copy()
    with pytest.raises(LastingError) as raised:
        run(ordered, Cell("coco", "tiny", "heatmap", "ordered", 0), tmp_path / "job")
    said = str(raised.value)
    assert re.fullmatch(r"loss ordered, step [3-9]: term 'square' is NaN, at keypoint left_shoulder", said)
    assert {key: os.environ.get(key) for key in before} == before


REPORTER = """
import os, pickle, sys
from pathlib import Path

told, rank = pickle.loads(Path(sys.argv[1]).read_bytes()), int(os.environ["RANK"])
with open(sys.argv[2], "w") as terminal:
    print(told, rank, os.environ["OMP_NUM_THREADS"], file=terminal)
sys.exit(7 * rank if told == "fail" else 0)
"""


def test_what_processes_report_reaches_the_terminal_and_how_one_ended_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reporter.py").write_text(REPORTER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    before = signal.getsignal(signal.SIGTERM), os.environ["PYTHONPATH"]
    terminal = io.StringIO()
    torchrun("reporter", "hello", processes=2, threads=3, terminal=terminal)
    assert sorted(terminal.getvalue().splitlines()) == ["hello 0 3", "hello 1 3"]
    with pytest.raises(RuntimeError, match=r"^process 2 of 2 exited \(7\)$"):
        torchrun("reporter", "fail", processes=2, threads=1, terminal=terminal)
    assert (signal.getsignal(signal.SIGTERM), os.environ["PYTHONPATH"]) == before


# A loss of the repository, and a line of progress at every step.
TALKATIVE_LOSS = """
from rspose.baselines.kal import KALLoss
from rspose.training.progress import ProgressHook
from rspose.losses import register

ProgressHook.interval = 0


@register
class Talkative(KALLoss):
    name = title = "talkative"
"""


def test_a_grid_whose_cells_train_in_two_processes_has_its_records_and_reports_each_step_once(
    trainable: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.yaml"
    (tmp_path / "talkative.py").write_text(TALKATIVE_LOSS)
    trainable.update(results="results", datasets=["mpii"], heads=["simcc"], controls=False)
    trainable.update(losses=["talkative"], losses_from=["talkative.py"])
    trainable["training"].update(devices=2, device="cpu")
    path.write_text(yaml.safe_dump(trainable))
    planned = SnakemakeRun(tmp_path, path, ["--dry-run", "--workflow-profile", "none", "results/records.csv"])
    (train_job,) = re.findall(r"^rule train:\n.*?\n\n", planned.output, re.MULTILINE | re.DOTALL)
    assert "threads: 2" in train_job
    ran = SnakemakeRun(tmp_path, path, ["results/records.csv"])
    assert ran.jobs["train"] == 1
    cell = Cell("mpii", "tiny", "simcc", "talkative", 0)
    record = json.loads((tmp_path / "results/records" / f"{cell.path}.json").read_text())
    assert (record["training"]["devices"], record["training"]["batch_size_per_device"]) == (2, 2)
    steps = record["training"]["iterations"]
    reported = re.findall(rf"^{cell}: step (\d+/\d+), loss [\d.]+, ", ran.output, re.MULTILINE)
    assert reported == [f"{step}/{steps}" for step in range(1, steps + 1)]
    factors = record["loss"]["learned"]["factor"]
    assert record["metrics"] and len(factors) == 16 and all(factor != 0.5 for factor in factors)
    (work,) = (tmp_path / "results/work" / cell.path).iterdir()
    log = (tmp_path / "results/logs/train" / f"{cell.path}.log").read_text()
    assert (work / "epoch_2.pth").is_file() and log.count("factor of each keypoint: ") == 2
