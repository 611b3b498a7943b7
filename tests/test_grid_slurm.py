"""What is said where a cluster is asked for and there is none."""

import re
from pathlib import Path

import pytest
from builders.grid import REPOSITORY

from rspose.grid.slurm import require_slurm


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def test_a_machine_without_slurm_is_told_at_once() -> None:
    with pytest.raises(SystemExit, match="expected Slurm's sbatch on this machine, found none; run it on"):
        require_slurm(["snakemake", "--profile", "slurm"])


@pytest.mark.parametrize("flag", ["-n", "-np", "--dry-run"])
def test_a_plan_needs_no_slurm(flag: str) -> None:
    require_slurm(["snakemake", "--profile", "slurm", flag])


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("PARTITON", "error: RSPOSE_SLURM_PARTITON: expected one of RSPOSE_SLURM_PARTITION, "),
        ("CPU_PARTITION", "error: RSPOSE_SLURM_CPU_PARTITION: expected RSPOSE_SLURM_PARTITION beside it"),
    ],
)
def test_a_variable_that_would_send_trainings_elsewhere_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, said: str
) -> None:
    monkeypatch.setenv(f"RSPOSE_SLURM_{variable}", "gpu")
    with pytest.raises(SystemExit) as ended:
        require_slurm(["snakemake", "--profile", "slurm", "-n"])
    assert str(ended.value).startswith(said)


def test_what_only_looks_like_a_plan_needs_slurm() -> None:
    with pytest.raises(SystemExit, match="sbatch"):
        require_slurm(["snakemake", "-sSnakefile", "--profile", "slurm"])


def test_the_job_of_a_cluster_need_not_send_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    require_slurm(["snakemake"])


def test_where_there_is_sbatch_nothing_is_said(tmp_path: Path) -> None:
    program = tmp_path / "sbatch"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    require_slurm(["snakemake", "--profile", "slurm"])


def test_the_partition_with_gpus_takes_every_rule_that_asks_for_one() -> None:
    rules = "".join(file.read_text() for file in (REPOSITORY / "workflow/rules").glob("*.smk"))
    bodies = re.findall(r"^rule (\w+):\n((?:\s.*\n|\n)*)", rules, re.MULTILINE)
    asking = {name for name, body in bodies if re.search(r"^\s+(gpu=|\*\*TRAINED)", body, re.MULTILINE)}
    profile = (REPOSITORY / "workflow/profiles/slurm/profile.yaml").read_text()
    (listed,) = re.findall(r"\?for rule in \((.*)\):", profile)
    assert asking == set(re.findall(r'"(\w+)"', listed)) and {"train", "predict"} < asking
