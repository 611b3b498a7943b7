"""The grid on a real Slurm cluster: the same records as on one machine, whatever happens to the jobs."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from slurm_cluster import (
    INSTALL,
    MAX_MINUTES,
    SlurmCluster,
    SlurmJob,
    job_processes,
    missing_programs,
)
from tiny_grid import REPOSITORY, SETTINGS, SnakemakeRun

from rspose.experiment.cell import Cell
from rspose.experiment.config import cells, load_config

pytestmark = pytest.mark.timeout(2400)  # under three minutes on two idle cores; a machine may be busy

CELLS = CANCELLED, NODE_LOST, TIMED_OUT, PREEMPTED, UNDISTURBED = [
    Cell("mpii", "tiny", "simcc", loss, 0) for loss in ("mse", "kl", "awing", "kal", "rspose")
]
EPOCHS = 20
TARGET = "results/records.csv"


def test_the_profile_is_found_from_the_repository_s_folder() -> None:
    planned = subprocess.run(
        [
            sys.executable,
            "-m",
            "snakemake",
            "--profile",
            "slurm",
            "--dry-run",
            "--config",
            "losses=mse",
            "heads=simcc",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert planned.returncode == 0, planned.stderr
    assert "Using profiles slurm" in planned.stderr
    tracked = subprocess.run(
        ["git", "ls-files", "--stage", "slurm"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert tracked.stdout.startswith("120000")  # a link that a clone has too


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with running_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@contextmanager
def running_cluster(folder: Path, gpus: int = 1) -> Iterator[SlurmCluster]:
    missing = missing_programs()
    if missing:
        reason = f"Slurm is not installed ({', '.join(missing)} missing); to run these tests: {INSTALL}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    cluster = SlurmCluster(folder, gpus)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class Grid:
    """A folder with the tiny config, in which the grid is run."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        self.config_file = folder / "tiny.yaml"
        losses = [cell.loss for cell in CELLS]
        config = {
            **SETTINGS,
            "datasets": ["mpii"],
            "heads": ["simcc"],
            "losses": losses,
            "controls": False,
            "data": {"mpii": {**SETTINGS["data"]["mpii"], "root": str(data / "mpii")}},
            # Without a GPU it trains on the CPU; on a cluster each training asks for a GPU all the same.
            "training": {**SETTINGS["training"], "epochs": EPOCHS, "device": "auto"},
        }
        self.config_file.write_text(yaml.safe_dump(config))
        for link in ("slurm", "profiles"):
            (folder / link).symlink_to(REPOSITORY / link)

    def record(self, cell: Cell) -> dict[str, Any]:
        return json.loads((self.folder / "results/records" / f"{cell.path}.json").read_text())

    def weights(self, cell: Cell) -> dict[str, torch.Tensor]:
        return torch.load(self.folder / "results/cells" / cell.path / "checkpoint.pth", weights_only=True)[
            "state_dict"
        ]


class ClusterGrid(Grid):
    """The same grid on the cluster."""

    def __init__(self, folder: Path, data: Path, cluster: SlurmCluster) -> None:
        super().__init__(folder, data)
        self.cluster = cluster

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
        site = ["--slurm-init-seconds-before-status-checks", "1"]  # instead of 40, which is no test's pace
        with open(self.folder / "snakemake.txt", "ab") as output:
            return subprocess.Popen(
                [*command, "--configfile", self.config_file.name, "--profile", "slurm", *site, TARGET],
                cwd=self.folder,
                env={
                    **self.cluster.environment,
                    "PATH": f"{Path(sys.executable).parent}:{self.cluster.environment['PATH']}",
                    "RSPOSE_SLURM_PARTITION": "gpus",
                    "RSPOSE_SLURM_CPU_PARTITION": "all",
                    "RSPOSE_SLURM_GPU": "a100",
                    "RSPOSE_SLURM_EXTRA": "--nice=10",
                    "RSPOSE_SLURM_HOURS": "0.25",
                    "RSPOSE_SLURM_MAX_HOURS": str(MAX_MINUTES / 60),
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return (self.folder / "snakemake.txt").read_text()

    def trainings(self, cell: Cell) -> list[SlurmJob]:
        wildcards = f"{cell.dataset}_{cell.model}_{cell.head}_{cell.loss}_{cell.seed}"
        return [job for job in self.cluster.jobs() if job.comment == f"rule_train_wildcards_{wildcards}"]

    def stop_in_the_middle(self, cell: Cell) -> SlurmJob | None:
        """Hold the training of a cell once it has a checkpoint to go on from; None until there is one."""
        if not list((self.folder / "results/work" / cell.path).glob("*/epoch_*.pth")):
            return None
        (job,) = self.trainings(cell)
        for process in job_processes(job.number, "train.py"):
            os.kill(process, signal.SIGSTOP)
        assert not (self.folder / "results/cells" / cell.path / "checkpoint.pth").exists(), (
            "too late to stop it"
        )
        return job


@pytest.fixture(scope="module")
def local(tiny_datasets: Path, tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """The grid, run without a cluster."""
    grid = Grid(tmp_path_factory.mktemp("local"), tiny_datasets)
    assert SnakemakeRun(grid.folder, grid.config_file, [TARGET]).jobs == {
        "train": len(CELLS),
        "predict": len(CELLS),
        "evaluate": len(CELLS),
        "record": len(CELLS),
        "collect": 1,
    }
    return grid


@pytest.fixture(scope="module")
def disturbed(
    cluster: SlurmCluster, tiny_datasets: Path, tmp_path_factory: pytest.TempPathFactory
) -> ClusterGrid:
    """The grid, run on the cluster, with a fault in the middle of each of its trainings but one."""
    grid = ClusterGrid(tmp_path_factory.mktemp("cluster"), tiny_datasets, cluster)
    waiting = {*CELLS} - {UNDISTURBED}
    lost_node = ""
    snakemake = grid.start()
    try:
        while snakemake.poll() is None:
            time.sleep(0.1)
            for cell in sorted(waiting):
                job = grid.stop_in_the_middle(cell)
                if job is None:
                    continue
                waiting.remove(cell)
                if cell == CANCELLED:
                    cluster.command("scancel", job.number)
                elif cell == TIMED_OUT:
                    cluster.command("scontrol", "update", f"JobId={job.number}", "TimeLimit=0")
                elif cell == PREEMPTED:
                    cluster.take_node(job.node)
                else:
                    lost_node = job.node
                    cluster.kill_node(lost_node)
            if lost_node and grid.trainings(NODE_LOST)[-1].state != "RUNNING":  # Slurm has noticed
                cluster.start_node(lost_node)
                lost_node = ""
    finally:
        if snakemake.poll() is None:
            snakemake.kill()
            snakemake.wait()
    assert snakemake.returncode == 0, grid.output
    assert not waiting, grid.output
    return grid


class TestAGridWhoseJobsAreDisturbed:
    def test_every_cell_has_its_record_once(self, disturbed: ClusterGrid) -> None:
        grid = cells(load_config(disturbed.config_file))
        found = {
            str(path.relative_to(disturbed.folder / "results/records"))
            for path in (disturbed.folder / "results/records").rglob("*")
            if path.is_file()
        }
        assert found == {f"{cell.path}.json" for cell in grid}
        with open(disturbed.folder / TARGET) as file:
            losses = [row["loss"] for row in csv.DictReader(file)]
        assert Counter(losses) == {cell.loss: 1 for cell in grid}

    @pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.loss)
    def test_its_records_and_weights_equal_those_of_a_local_run(
        self, disturbed: ClusterGrid, local: Grid, cell: Cell
    ) -> None:
        here, there = local.record(cell), disturbed.record(cell)
        for same in ("cell", "metrics", "confidence", "protocol", "data", "loss"):
            assert there[same] == here[same]
        for same in ("training_sha256", "config_sha256", "code_sha256", "versions"):
            assert there["provenance"][same] == here["provenance"][same]
        for same in ("iterations", "epochs", "learning_rate", "final_loss"):
            assert there["training"][same] == here["training"][same]
        ours, theirs = disturbed.weights(cell), local.weights(cell)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)

    @pytest.mark.parametrize(
        ("cell", "states"),
        [
            (CANCELLED, ["CANCELLED", "COMPLETED"]),
            (TIMED_OUT, ["TIMEOUT", "COMPLETED"]),
            (NODE_LOST, ["COMPLETED"]),  # started again by Slurm, under the same number
            (PREEMPTED, ["COMPLETED"]),  # likewise
            (UNDISTURBED, ["COMPLETED"]),
        ],
        ids=lambda value: value.loss if isinstance(value, Cell) else "",
    )
    def test_an_interrupted_training_is_resumed_and_its_record_says_so(
        self, disturbed: ClusterGrid, local: Grid, cell: Cell, states: list[str]
    ) -> None:
        trainings = disturbed.trainings(cell)
        assert [job.state for job in trainings] == states
        assert disturbed.record(cell)["training"]["resumed"] is (cell != UNDISTURBED)
        assert local.record(cell)["training"]["resumed"] is False
        log = (disturbed.folder / "results/logs/train" / f"{cell.path}.log").read_text()
        assert log.count("resumed epoch: ") == (cell != UNDISTURBED)
        # The second attempt asks for more time, as long as the partition allows it.
        limits = [job.time_limit for job in trainings if job.state == "COMPLETED"]
        assert limits == ["30:00" if len(states) == 2 else "15:00"]

    def test_the_job_that_an_urgent_one_took_the_node_of_went_back_into_the_queue(
        self, disturbed: ClusterGrid
    ) -> None:
        (training,) = disturbed.trainings(PREEMPTED)
        assert training.number in disturbed.cluster.preempted()
        (urgent,) = [job for job in disturbed.cluster.jobs() if job.comment == "urgent"]
        assert (urgent.state, urgent.partition) == ("COMPLETED", "urgent")

    def test_jobs_ask_for_what_their_rules_need(self, disturbed: ClusterGrid) -> None:
        jobs = [job for job in disturbed.cluster.jobs() if job.comment != "urgent"]
        rules = Counter(job.comment.removeprefix("rule_").split("_")[0] for job in jobs)
        assert rules == {"train": 7, "predict": 5, "score": 5}  # evaluation and record of a cell are one job
        for job in jobs:
            runs_a_model = job.comment.startswith(("rule_train", "rule_predict"))
            assert job.gpus == ("gres:gpu:a100:1" if runs_a_model else "N/A")
            assert job.partition == ("gpus" if runs_a_model else "all")
            assert job.cpus == "1"
            if not job.comment.startswith("rule_train"):
                assert job.time_limit == "30:00"  # as long as the partitions allow, also for a group

    def test_a_second_run_does_nothing(self, disturbed: ClusterGrid) -> None:
        before = disturbed.cluster.jobs()
        snakemake = disturbed.start()
        assert snakemake.wait(timeout=300) == 0
        assert "Nothing to be done" in disturbed.output
        assert disturbed.cluster.jobs() == before


def test_a_training_on_two_devices_gets_two_gpus_of_one_node(
    tiny_datasets: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_cluster(tmp_path_factory.mktemp("gpus"), gpus=2) as cluster:
        grid = ClusterGrid(tmp_path_factory.mktemp("devices"), tiny_datasets, cluster)
        config = yaml.safe_load(grid.config_file.read_text())
        config["losses"] = [UNDISTURBED.loss]
        config["training"].update(devices=2, epochs=1)
        config["loss_settings"] = {UNDISTURBED.loss: {"parameters": {"gather": True}}}
        grid.config_file.write_text(yaml.safe_dump(config))
        assert grid.start().wait() == 0, grid.output
        asked = {job.comment.split("_")[1]: job for job in cluster.jobs()}
    assert (asked["train"].gpus, asked["train"].cpus) == ("gres:gpu:a100:2", "2")
    assert (asked["predict"].gpus, asked["predict"].cpus) == ("gres:gpu:a100:1", "1")
    training = grid.record(UNDISTURBED)["training"]
    assert (training["devices"], training["batch_size_per_device"]) == (2, 2)
