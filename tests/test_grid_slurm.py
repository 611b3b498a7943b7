"""What is said where a cluster is asked for and there is none."""

from pathlib import Path

import pytest

from rspose.grid.slurm import require_slurm


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def test_a_machine_without_slurm_is_told_at_once() -> None:
    with pytest.raises(SystemExit, match="expected Slurm's sbatch on this machine, found none; run it on"):
        require_slurm(["snakemake", "--profile", "slurm"])


@pytest.mark.parametrize("flag", ["-n", "--dry-run"])
def test_a_plan_needs_no_slurm(flag: str) -> None:
    require_slurm(["snakemake", "--profile", "slurm", flag])


def test_the_job_of_a_cluster_need_not_send_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    require_slurm(["snakemake"])


def test_where_there_is_sbatch_nothing_is_said(tmp_path: Path) -> None:
    program = tmp_path / "sbatch"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    require_slurm(["snakemake", "--profile", "slurm"])
