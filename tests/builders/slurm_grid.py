"""The tiny grid on a Slurm cluster, and what is done to its jobs."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from builders.grid import REPOSITORY, SETTINGS
from builders.slurm_cluster import (
    ACCOUNT,
    ACCOUNTING_PROGRAMS,
    MAX_MINUTES,
    PROGRAMS,
    SEARCH_PATH,
    SlurmCluster,
    SlurmJob,
    job_processes,
)
from rspose.grid.cell import Cell

EPOCHS = 20
TARGET = "results/records.csv"

# Asks every two seconds how the jobs are, instead of after 40 to 180, which is no test's pace.
SNAKEMAKE = """
from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda self: 2, lambda self, seconds: None)
main()
"""


@contextmanager
def running_cluster(folder: Path, gpus: int = 1, accounting: bool = False) -> Iterator[SlurmCluster]:
    """A Slurm cluster while it is needed; without Slurm the test is skipped, or fails with ``CI`` set."""
    programs = (*PROGRAMS, *ACCOUNTING_PROGRAMS) if accounting else PROGRAMS
    missing = [name for name in programs if shutil.which(name, path=SEARCH_PATH) is None]
    if missing:
        packages = "slurm-wlm munge"
        if accounting:
            packages += " slurmdbd mariadb-server-core mariadb-client-core"
        reason = f"{', '.join(missing)} missing; to run these tests: apt-get install {packages}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    cluster = SlurmCluster(folder, gpus, accounting)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class Grid:
    """A folder with the tiny config, in which some cells of MPII and SimCC are run, on a cluster or not."""

    def __init__(
        self, folder: Path, data: Path, cells: Sequence[Cell], cluster: SlurmCluster | None = None
    ) -> None:
        self.folder = folder
        self.cluster = cluster
        self.config_file = folder / "tiny.yaml"
        config = {
            **SETTINGS,
            "datasets": ["mpii"],
            "heads": ["simcc"],
            "losses": [cell.loss for cell in cells],
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
        path = self.folder / "results/cells" / cell.path / "checkpoint.pth"
        return torch.load(path, weights_only=True)["state_dict"]

    def resumed(self, cell: Cell) -> int:
        """How often the training of a cell says that it goes on from a checkpoint."""
        log = self.folder / "results/logs/train" / f"{cell.path}.log"
        return log.read_text().count("resumed epoch: ")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Snakemake with ``arguments``, or to make the table of records."""
        snakemake = [sys.executable, "-c", SNAKEMAKE, "--profile", "slurm"]
        config = ["--configfile", self.config_file.name, "--snakefile", str(REPOSITORY / "Snakefile")]
        with open(self.folder / "snakemake.txt", "ab") as output:
            return subprocess.Popen(
                [*snakemake, *config, *(arguments or [TARGET])],
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
                    **({"RSPOSE_SLURM_ACCOUNT": ACCOUNT} if self.cluster.accounting else {}),
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

    def stop_in_the_middle(self, cell: Cell, after: int) -> tuple[SlurmJob, int] | None:
        """Hold the training of a cell once it has a checkpoint to go on from that is newer than an epoch.

        Its job and the epoch of the checkpoint; None until there is one.
        """

        def newest() -> int:
            files = (self.folder / "results/work" / cell.path).glob("*/epoch_*.pth")
            return max((int(file.stem.removeprefix("epoch_")) for file in files), default=0)

        if newest() <= after:
            return None
        job = self.trainings(cell)[-1]
        for process in job_processes(job.number, "train.py"):
            process.suspend()
        finished = (self.folder / "results/cells" / cell.path / "checkpoint.pth").exists()
        assert not finished, "too late to stop it"
        return job, newest()

    def run(
        self,
        faults: dict[Cell, Sequence[Callable[[SlurmJob], object]]],
        meanwhile: Callable[[], object],
        *arguments: str,
    ) -> None:
        """Run it to its end.

        Args:
            faults: What is done to the trainings of a cell, one after the other, in the middle of each.
            meanwhile: What is done ten times a second.
            arguments: As for `start`.
        """
        waiting = {cell: list(of_cell) for cell, of_cell in faults.items()}
        epochs = dict.fromkeys(faults, 0)
        snakemake = self.start(*arguments)
        try:
            while snakemake.poll() is None:
                time.sleep(0.1)
                for cell, of_cell in waiting.items():
                    if of_cell and (held := self.stop_in_the_middle(cell, epochs[cell])):
                        job, epochs[cell] = held
                        of_cell.pop(0)(job)
                meanwhile()
        finally:
            if snakemake.poll() is None:
                snakemake.kill()
                snakemake.wait()
        assert snakemake.returncode == 0, self.output
        assert not any(waiting.values()), self.output
