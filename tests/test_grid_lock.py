"""Two runs do not write into one results folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from rspose.grid.lock import claim

HOLD = """
import sys, pathlib, rspose.grid.lock
rspose.grid.lock.claim(pathlib.Path(sys.argv[1]))
print(1, flush=True)
input()
"""


def held_by_another(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "1\n"
    return process


def test_a_folder_in_use_is_refused_and_free_again_when_its_run_is_killed(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as process:
        with pytest.raises(
            RuntimeError, match=rf"^{tmp_path}: .*in use by process {process.pid} on .*, started in "
        ):
            claim(tmp_path)
        process.kill()
    claim(tmp_path)


def test_other_folders_are_free(tmp_path: Path) -> None:
    with held_by_another(tmp_path / "one") as process:
        claim(tmp_path / "other")
        process.kill()
