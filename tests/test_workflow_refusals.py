"""What ends a run before its first job, in one line that names the file."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from builders.grid import SnakemakeRun

pytestmark = pytest.mark.slow


def refused(folder: Path, config: Path, *arguments: str) -> str:
    """What a run says that has not begun."""
    run = SnakemakeRun(folder, config, arguments)
    assert run.returncode == 1, run.output
    assert not (folder / "results/logs").exists() and "Traceback" not in run.output
    (line,) = (line for line in run.output.splitlines() if line.startswith("error: "))
    return line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"losses: [mse\nseeds: 3", "not valid YAML: while parsing"),
        (None, "no such config file"),
    ],
    ids=["no YAML", "missing"],
)
def test_a_config_that_cannot_be_read(content: bytes | None, said: str, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    if content is not None:
        config.write_bytes(content)
    assert refused(tmp_path, config).startswith(f"error: {config}: {said}")


def test_a_second_config_that_is_not_there(tmp_path: Path, tiny_config_file: Path) -> None:
    line = refused(tmp_path, tiny_config_file, "--configfile", str(tiny_config_file), "mien.yaml")
    assert line == "error: mien.yaml: no such config file"


@pytest.mark.parametrize("target", ["tables", "results/records/coco/control/oracle.json"])
def test_a_target_in_the_place_of_a_config(tmp_path: Path, tiny_config_file: Path, target: str) -> None:
    line = refused(tmp_path, tiny_config_file, "--configfile", str(tiny_config_file), target)
    expected = f"no config; a target comes first: snakemake {target} --configfile {tiny_config_file}"
    assert line == f"error: {target}: {expected}"


def test_a_mistake_in_a_key(tmp_path: Path, tiny_config_file: Path) -> None:
    line = refused(tmp_path, tiny_config_file, "--config", "losses=[mse,mes]")
    said = "config key 'losses': unknown loss 'mes'; expected one of "
    assert not (tmp_path / "results").exists()
    assert line.startswith(f"error: {tiny_config_file}: {said}")


@pytest.mark.parametrize(
    ("variable", "hours"), [("MAX_HOURS", "a day"), ("MAX_HOURS", "-3"), ("HOURS", "inf")]
)
def test_hours_that_are_none(
    variable: str, hours: str, tmp_path: Path, tiny_config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"RSPOSE_SLURM_{variable}", hours)
    said = f"error: RSPOSE_SLURM_{variable}: expected a number of hours above 0, found '{hours}'"
    assert refused(tmp_path, tiny_config_file) == said


def test_weights_that_do_not_fit(settings: dict[str, Any], tmp_path: Path) -> None:
    weights = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(3, 3)}, weights)
    settings["model_settings"]["tiny"]["pretrained"] = str(weights)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    line = refused(tmp_path, tmp_path / "mine.yaml")
    assert line.startswith(f"error: {weights}: expected the ") and "tensors of this ResNet, found " in line
