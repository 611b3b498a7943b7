"""Tables and report of finished records, where torch and mmpose are not, by the workflow and the command."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from builders.grid import REPOSITORY
from builders.processes import python
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
    """What lets subprocesses, and theirs, raise an error where they import torch or mmpose."""
    folder = tmp_path / "without_torch"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(BLOCKER)
    path = os.pathsep.join(filter(None, [str(folder), str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path}


WORKFLOW = ("-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--cores", "2")


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
                    values = {
                        f"metrics.{name}": rng.normal(of_all, 0.01, 500) for name, of_all in metrics.items()
                    }
                    content = record(dataset, loss, head, seed, metrics=metrics)
                    write(root / machine, with_bootstrap(content, values))
    return [root / "first", root / "second"]


@pytest.mark.parametrize("name", ["torch", "mmpose"])
def test_torch_is_really_absent(name: str, without_torch: dict[str, str]) -> None:
    with pytest.raises(AssertionError, match="is not here"):
        python("-c", f"import {name}", **without_torch)


def test_workflow_and_command_make_tables_and_report_of_five_hundred_records_without_torch(
    tmp_path: Path, without_torch: dict[str, str]
) -> None:
    losses = ("mse", "kl", "awing", "fowkal", "dm", "rspose", "wahr", "kal", "heuristic", "fwahr", "a", "b")
    folders = write_machines(tmp_path, losses, seeds=7)
    assert sum(1 for folder in folders for _ in folder.rglob("*.json")) == 504
    for target in ("tables", "report"):
        config = [f"records=[{','.join(map(str, folders))}]", "results=merged"]
        python(*WORKFLOW, target, "--config", *config, folder=tmp_path, **without_torch)
    main = (tmp_path / "merged/tables/main.md").read_text()
    assert "COCO 2D AP" in main and "MPII 1D PCKh" in main and "± standard deviation over 7 seeds" in main
    page = (tmp_path / "merged/report.html").read_bytes()
    assert b"<dd>504</dd>" in page

    command = ("-c", "import sys; from rspose.cli import main; sys.exit(main())")
    said = python(*command, "tables", *folders, "--out", "by_hand", folder=tmp_path, **without_torch)
    assert main in said
    assert files(tmp_path / "by_hand") == files(tmp_path / "merged/tables")
    python(*command, "report", *folders, "--out", "by_hand.html", folder=tmp_path, **without_torch)
    assert (tmp_path / "by_hand.html").read_bytes() == page


def test_records_of_the_results_folder_are_not_trained_again(
    tmp_path: Path, without_torch: dict[str, str]
) -> None:
    write(tmp_path / "results/records", record(model="resnet18-w24"))
    options = ("--dry-run", "--workflow-profile", "none", "--config", "records=results/records")
    said = python(*WORKFLOW, *options, folder=tmp_path, **without_torch)
    assert "rule tables:" in said and "rule train:" not in said


def test_a_published_number_that_changes_makes_the_tables_again(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns(".*", "results", "data", "tests", "docs", "__pycache__", "*.egg-info")
    shutil.copytree(REPOSITORY, copy, ignore=ignored, symlinks=True)
    shutil.copytree(REPOSITORY / "results/published", copy / "results/published")
    write(tmp_path / "mine", record(model="resnet18-w24"))
    made = ("-m", "snakemake", "--cores", "1", "tables", "--config", "records=../mine", "results=made")
    python(*made, folder=copy, PYTHONPATH=str(copy))
    dry = (*made, "--dry-run")
    assert "rule tables:" not in python(*dry, folder=copy, PYTHONPATH=str(copy))
    with (copy / "results/published/rspose.csv").open("a") as numbers:
        numbers.write("\n")
    assert "rule tables:" in python(*dry, folder=copy, PYTHONPATH=str(copy))


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as stopped:
        python(*WORKFLOW, "tables", "--config", "records=nowhere", folder=tmp_path)
    (line,) = [line for line in str(stopped.value).splitlines() if line.startswith("error: ")]
    assert "no folder of records at nowhere" in line
