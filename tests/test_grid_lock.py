"""Two runs do not write into one results folder, nor draw one dataset."""

import subprocess
import sys
from pathlib import Path

import pytest

from rspose.grid.lock import claim_drawing, claim_results

HOLD = """
import sys, pathlib, rspose.grid.lock
rspose.grid.lock.claim_results(pathlib.Path(sys.argv[1]))
print(1, flush=True)
input()
"""


def held_by_another(folder: Path, hold: str = HOLD) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", hold, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "1\n"
    return process


def test_a_folder_in_use_is_refused_and_free_again_when_its_run_is_killed(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as process:
        with pytest.raises(
            RuntimeError, match=rf"^{tmp_path}: .*in use by process {process.pid} on .*, started in "
        ):
            claim_results(tmp_path)
        process.kill()
    claim_results(tmp_path)


def test_other_folders_are_free(tmp_path: Path) -> None:
    with held_by_another(tmp_path / "one") as process:
        claim_results(tmp_path / "other")
        process.kill()


def test_a_dataset_that_another_run_draws_is_refused(tmp_path: Path) -> None:
    drawing = HOLD.replace(
        "claim_results(pathlib.Path(sys.argv[1])", "claim_drawing(pathlib.Path(sys.argv[1]), 'coco'"
    )
    with held_by_another(tmp_path / "coco", drawing) as process:
        expected = rf"^{tmp_path}/coco: expected a dataset that no other run draws, .*in data.coco.root$"
        with pytest.raises(RuntimeError, match=expected):
            claim_drawing(tmp_path / "coco", "coco")
        claim_drawing(tmp_path / "mpii", "mpii")
        process.kill()
    assert not (tmp_path / "coco").exists()
