"""Tables and report of finished records, where torch and mmpose are not, by the workflow and the command."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from builders.grid import REPOSITORY
from builders.records import COCO_METRICS, record, with_bootstrap, write

pytestmark = pytest.mark.slow

ABSENT = ("torch", "torchvision", "mmpose", "mmengine", "mmcv", "timm", "xtcocotools")
BLOCKER = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ImportError(name + " is not here")

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def without_torch(tmp_path: Path) -> dict[str, str]:
    """An environment for subprocesses, and theirs, in which importing torch or mmpose is an error."""
    folder = tmp_path / "without_torch"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCKER)
    path = os.pathsep.join(filter(None, [str(folder), str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def run(arguments: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def snakemake(
    folder: Path, environment: dict[str, str], config: list[str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    workflow = ["-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "2"]
    return run([*workflow, *arguments, "--config", *config], folder, environment)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_machines(root: Path, losses: tuple[str, ...], seeds: int) -> list[Path]:
    """Records of two machines, one a head, with a bootstrap each."""
    rng = np.random.default_rng(0)
    for machine, head in (("first", "heatmap"), ("second", "simcc")):
        for dataset in ("coco", "crowdpose", "mpii"):
            for loss in losses:
                for seed in range(seeds):
                    ap = rng.uniform(0.3, 0.5)
                    metrics = {**COCO_METRICS, "AP": ap} if dataset != "mpii" else {"PCKh": ap}
                    values = {f"metrics.{name}": rng.normal(ap, 0.01, 500) for name in metrics}
                    content = record(dataset, loss, head, seed, metrics=metrics)
                    write(root / machine, with_bootstrap(content, values))
    return [root / "first", root / "second"]


def test_torch_is_really_absent(tmp_path: Path, without_torch: dict[str, str]) -> None:
    for name in ("torch", "mmpose"):
        assert "is not here" in run(["-c", f"import {name}"], tmp_path, without_torch).stderr


def test_workflow_and_command_make_tables_and_report_of_five_hundred_records_without_torch(
    tmp_path: Path, without_torch: dict[str, str]
) -> None:
    losses = ("mse", "kl", "awing", "fowkal", "dm", "rspose", "wahr", "kal", "heuristic", "fwahr", "a", "b")
    folders = write_machines(tmp_path, losses, seeds=7)
    assert sum(1 for folder in folders for _ in folder.rglob("*.json")) == 504
    for target in ("tables", "report"):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        config = [f"records=[{','.join(map(str, folders))}]", "results=merged"]
        done = snakemake(tmp_path, without_torch, config, target)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr
        # Processor time: how long it takes beside other tests says nothing.
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 20
    main = (tmp_path / "merged/tables/main.md").read_text()
    assert "COCO 2D AP" in main and "MPII 1D PCKh" in main and "± standard deviation over 7 seeds" in main
    page = (tmp_path / "merged/report.html").read_bytes()
    assert b"<dd>504</dd>" in page

    command = "import sys; from rspose.cli import main; sys.exit(main())"
    done = run(["-c", command, "tables", *map(str, folders), "--out", "by_hand"], tmp_path, without_torch)
    assert done.returncode == 0, done.stderr
    assert main in done.stdout
    assert files(tmp_path / "by_hand") == files(tmp_path / "merged/tables")
    done = run(
        ["-c", command, "report", *map(str, folders), "--out", "by_hand.html"], tmp_path, without_torch
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "by_hand.html").read_bytes() == page


def test_records_of_the_results_folder_are_not_trained_again(
    tmp_path: Path, without_torch: dict[str, str]
) -> None:
    write(tmp_path / "results/records", record(model="resnet18-w24"))
    options = ("--dry-run", "--workflow-profile", "none")
    done = snakemake(tmp_path, without_torch, ["records=results/records"], *options)
    assert done.returncode == 0, done.stderr
    assert "rule tables:" in done.stdout and "rule train:" not in done.stdout


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    done = snakemake(tmp_path, dict(os.environ), ["records=nowhere"], "tables")
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "no folder of records at nowhere" in line
