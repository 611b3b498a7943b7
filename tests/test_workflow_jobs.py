"""What a job of a cell leaves behind when it is killed or fails, and what its next attempt does about it."""

import os
import subprocess
import sys
from pathlib import Path

from tiny_grid import REPOSITORY

SNAKEFILE = """
config.update(training={"device": "cpu"}, results="results")
rule train:
    output: "{dataset}/{model}/{head}/{loss}/seed{seed}"
    log: "{dataset}-{model}-{head}-{loss}-{seed}.log"
    retries: 3
    script: "train.py"
"""
TARGET = "coco/tiny/heatmap/dm/seed3"


def train(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a rule for a cell whose job does what ``script`` says, up to four times."""
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "train.py").write_text(script)
    return subprocess.run(
        [sys.executable, "-m", "snakemake", TARGET, "--cores", "1"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


KILLED_WHILE_IT_WRITES = """
import os, signal
from pathlib import Path
from rspose.experiment.files import replacing
from rspose.experiment.job import job

output = Path(snakemake.output[0])
with job(snakemake), replacing(output) as temporary:
    before = sorted(path.name for path in output.parent.iterdir())
    temporary.write_text(" ".join(before))
    another = output.with_name(".seed4.elsewhere.1")  # another cell's
    if not another.exists():
        another.touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_job_left_half_written_is_gone_when_it_starts_again(tmp_path: Path) -> None:
    done = train(tmp_path, KILLED_WHILE_IT_WRITES)
    assert done.returncode == 0, done.stderr
    output = tmp_path / TARGET
    assert output.read_text() == ".seed4.elsewhere.1"
    assert sorted(path.name for path in output.parent.iterdir()) == [".seed4.elsewhere.1", "seed3"]


KILLED_ONCE_AND_FAILED_ONCE = """
import os, signal
from pathlib import Path
from rspose.experiment.job import job

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
