"""What a job of a cell leaves behind when it is killed or fails, and what its next attempt does about it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders.grid import REPOSITORY, SETTINGS, SnakemakeRun
from builders.records import record, write

from rspose.reporting.tables import make_tables

pytestmark = pytest.mark.slow

CONFIG = {**SETTINGS, "training": {**SETTINGS["training"], "device": "cpu"}}
SNAKEFILE = (
    f"config.update({CONFIG})"
    + """
from snakemake.logging import logger
from rspose.grid.job import tells_more
logger.addFilter(tells_more)
rule RULE:
    output: "{dataset}/{model}/{head}/{loss}/seed{seed}"
    log: "{dataset}-{model}-{head}-{loss}-{seed}.log"
    retries: 3
    resources: attempt=lambda wildcards, attempt: attempt
    script: "train.py"
"""
)
IMPORTS = """
import os, signal
from pathlib import Path
from rspose.grid.files import replacing
from rspose.grid.job import LastingError, job
"""
CELL = {"dataset": "coco", "model": "tiny", "head": "heatmap", "loss": "dm", "seed": 3, "length": 1.0}
TARGET = "coco/tiny/heatmap/dm/seed3"
NOTE = f"results/records/{TARGET}.failed.json"


def train(
    folder: Path, script: str, rule: str = "train", target: str = TARGET
) -> subprocess.CompletedProcess[str]:
    """Run a rule for a cell whose job does what ``script`` says, up to four times."""
    snakefile = SNAKEFILE.replace("RULE", rule)
    if "trial" in target:
        snakefile = snakefile.replace("seed{seed}", "trial{trial}").replace("{seed}", "{trial}")
    (folder / "Snakefile").write_text(snakefile)
    (folder / "train.py").write_text(IMPORTS + script)
    return subprocess.run(
        [sys.executable, "-m", "snakemake", target, "--cores", "1"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


KILLED_WHILE_IT_WRITES = """
output = Path(snakemake.output[0])
with job(snakemake), replacing(output) as temporary:
    before = sorted(path.name for path in output.parent.iterdir())
    temporary.write_text(" ".join(before))
    another = output.with_name(".seed4.elsewhere.1")  # another cell's
    if not another.exists():
        another.touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("rule", ["train", "predict"])
def test_what_a_killed_job_left_half_written_is_gone_when_it_starts_again(rule: str, tmp_path: Path) -> None:
    done = train(tmp_path, KILLED_WHILE_IT_WRITES, rule)
    assert done.returncode == 0, done.stderr
    assert f"{rule} of coco tiny heatmap dm seed 3 is tried again: killed, or ended by" in done.stderr
    output = tmp_path / TARGET
    assert output.read_text() == ".seed4.elsewhere.1"
    assert sorted(path.name for path in output.parent.iterdir()) == [".seed4.elsewhere.1", "seed3"]


KILLED_ONCE_AND_FAILED_ONCE = """
with job(snakemake):
    said = Path(snakemake.log[0]).read_text()
    print("number", said.count("number") + 1, flush=True)
    if not said:
        os.kill(os.getpid(), signal.SIGKILL)
    if "number 2" not in said:
        raise ValueError("as ordered")
    Path(snakemake.output[0]).touch()
"""


def test_a_log_has_every_attempt_until_one_succeeds(tmp_path: Path) -> None:
    log = tmp_path / "coco-tiny-heatmap-dm-3.log"
    for _ in range(2):  # the second run starts anew
        done = train(tmp_path, KILLED_ONCE_AND_FAILED_ONCE)
        assert done.returncode == 0, done.stderr
        attempts = [line for line in log.read_text().splitlines() if line.startswith("number")]
        assert attempts == ["number 1", "number 2", "number 3"]
        assert "ValueError: as ordered" in log.read_text() and not log.is_symlink()
        assert not log.with_name(f".{log.name}").exists()
        (tmp_path / TARGET).unlink()


FAILS_FOR_GOOD = """
with job(snakemake):
    print("tried", flush=True)
    raise LastingError("the loss is not finite")
"""


def test_what_would_fail_again_is_not_tried_again_in_this_run(tmp_path: Path) -> None:
    for run in (1, 2):
        done = train(tmp_path, FAILS_FOR_GOOD)
        assert done.returncode == 1
        assert done.stderr.count("train failed: LastingError: the loss is not finite") == 1
        assert not re.search("tried again|restart|exception|traceback", done.stderr, re.IGNORECASE)
        log = (tmp_path / "coco-tiny-heatmap-dm-3.log").read_text()
        assert log.count("tried\n") == run and log.endswith("LastingError: the loss is not finite\n")
    assert json.loads((tmp_path / NOTE).read_text())["failed"] == {
        "rule": "train",
        "error": "LastingError: the loss is not finite",
        "log": "coco-tiny-heatmap-dm-3.log",
    }


FAILS = """
with job(snakemake):
    raise ValueError("the loss is\\nnot finite")
"""


def test_a_job_that_fails_leaves_a_note_that_the_tables_show(tmp_path: Path) -> None:
    assert train(tmp_path, FAILS).returncode == 1
    assert json.loads((tmp_path / NOTE).read_text()) == {
        "format": 2,
        "cell": CELL,
        "failed": {
            "rule": "train",
            "error": "ValueError: the loss is not finite",
            "log": "coco-tiny-heatmap-dm-3.log",
        },
    }
    write(tmp_path / "results/records", record())
    make_tables(tmp_path / "results/records", tmp_path / "tables")
    main = (tmp_path / "tables/main.md").read_text()
    assert "failed" in main and "COCO tiny 2D dm seed 3 (ValueError: the loss is not finite)" in main


def test_a_trial_that_fails_leaves_a_note_of_its_own_that_the_next_run_forgets(tmp_path: Path) -> None:
    """Of the first cell of its loss: without a choice none of them is trained."""
    of_loss, records = "coco/tiny/heatmap/dm", tmp_path / "results/records"
    for number in (1, 2):
        failed = train(tmp_path, FAILS, "trial", f"{of_loss}/trial{number}")
        assert failed.returncode == 1
        assert failed.stderr.count("is tried again") == 3  # it may be luckier, as a training
    notes = [records / of_loss / f"trial{number}.failed.json" for number in (1, 2)]
    for number, note in enumerate(notes, start=1):
        written = json.loads(note.read_text())
        assert written["cell"] == {**CELL, "seed": CONFIG["seeds"][0]}
        error = f"ValueError: the loss is not finite (tuning: trial{number})"
        assert (written["failed"]["rule"], written["failed"]["error"]) == ("trial", error)
    write(records, record())
    make_tables(records, tmp_path / "tables")
    main = (tmp_path / "tables/main.md").read_text()
    assert "failed" in main and "COCO tiny 2D dm seed 0 (ValueError: the loss is not finite (tun" in main

    succeeds = "with job(snakemake):\n    Path(snakemake.output[0]).touch()"
    assert train(tmp_path, succeeds, "trial", f"{of_loss}/trial1").returncode == 0
    assert [note.exists() for note in notes] == [False, True]


DISK_FULL = """
with job(snakemake):
    print("written to the log")
"""


def test_a_full_disk_is_said_though_nothing_can_be_logged(tmp_path: Path) -> None:
    (tmp_path / ".coco-tiny-heatmap-dm-3.log").symlink_to("/dev/full")
    done = train(tmp_path, DISK_FULL)
    assert done.returncode == 1
    assert "train failed: OSError: [Errno 28] No space left on device (log: " in done.stderr


def test_a_prediction_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    done = train(tmp_path, FAILS, "predict")
    assert done.stderr.count("predict failed: ValueError: the loss is") == 1
    assert (tmp_path / "coco-tiny-heatmap-dm-3.log").read_text().count("Traceback") == 1


KILLED_ONCE = """
with job(snakemake):
    if snakemake.resources.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    Path(snakemake.output[0]).touch()
"""


def test_a_trial_that_was_killed_once_leaves_no_note(tmp_path: Path) -> None:
    done = train(tmp_path, KILLED_ONCE, "trial", "coco/tiny/heatmap/dm/trial1")
    assert done.returncode == 0 and done.stderr.count("is tried again: killed, or ended") == 1
    assert not list(tmp_path.rglob("*.failed.json"))


ALWAYS_KILLED = """
with job(snakemake):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_cell_whose_every_attempt_is_killed_is_noted_as_failed(tmp_path: Path) -> None:
    note = tmp_path / NOTE
    note.parent.mkdir(parents=True)
    note.write_text('{"failed": {"error": "LastingError: in an earlier run"}}')
    assert train(tmp_path, ALWAYS_KILLED).returncode == 1
    said = json.loads(note.read_text())
    assert said["cell"] == CELL
    assert said["failed"]["error"].startswith("killed, or ended by a limit of time or memory")


KILLED_AS_IT_PREDICTS = """
import os, signal
from pathlib import Path
from rspose.baselines.mse import MSELoss
from rspose.losses import register

@register
class Deadly(MSELoss):
    name, title, reference = "deadly", "Deadly", "none"

    def to_heatmaps(self, prediction, sigma):
        killed = Path(__file__).with_name("killed")
        if not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return prediction
"""


def test_a_training_that_its_prediction_killed_leaves_predicting_to_a_job_of_its_own(
    trainable: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "deadly.py").write_text(KILLED_AS_IT_PREDICTS)
    trainable.update(datasets=["coco"], heads=["heatmap"], losses=["deadly"], losses_from=["deadly.py"])
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(trainable))
    record = tmp_path / "results/records/coco/tiny/heatmap/deadly/seed0.json"
    run = SnakemakeRun(tmp_path, config, (str(record),))
    assert run.returncode == 0, run.output
    assert (tmp_path / "killed").exists() and record.exists()
    assert run.output.count("is tried again: killed, or ended by a limit of time or memory") == 1
    assert "train of coco tiny heatmap deadly seed 0 is tried again" in run.output
    log = tmp_path / "results/logs/predict/coco/tiny/heatmap/deadly/seed0.log"
    assert log.exists() and "The training has predicted already." not in log.read_text()
