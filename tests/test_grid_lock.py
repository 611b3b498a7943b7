"""Two runs do not write into one results folder nor draw one dataset, and jobs share GPUs evenly."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rspose.grid import lock
from rspose.grid.lock import claim_drawing, claim_gpus, claim_results

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
            OSError, match=rf"^{tmp_path}: .*in use by process {process.pid} on .*, started in "
        ):
            claim_results(tmp_path)
        process.kill()
    claim_results(tmp_path)


def test_a_dataset_that_another_run_draws_is_refused(tmp_path: Path) -> None:
    drawing = HOLD.replace(
        "claim_results(pathlib.Path(sys.argv[1])", "claim_drawing(pathlib.Path(sys.argv[1]), 'coco'"
    )
    with held_by_another(tmp_path / "coco", drawing) as process:
        expected = rf"^{tmp_path}/coco: expected a dataset that no other run draws, .* in data.coco.root$"
        with pytest.raises(OSError, match=expected):
            claim_drawing(tmp_path / "coco", "coco")
        claim_drawing(tmp_path / "mpii", "mpii")
        process.kill()
    assert not (tmp_path / "coco").exists()


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """A function that claims GPUs of three as a job would, and gives what the job sees then."""
    monkeypatch.setattr(lock, "_held", [])

    def job(number: int = 1, cells_per_gpu: int = 1) -> str:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b,c")
        claim_gpus(number, cells_per_gpu, tmp_path / "gpus")
        return os.environ["CUDA_VISIBLE_DEVICES"]

    return job


def test_jobs_get_a_gpu_each_and_share_them_evenly_when_there_are_more(gpus: Callable[..., str]) -> None:
    assert [gpus() for _ in range(7)] == ["a", "b", "c", "a", "b", "c", "a"]


def test_a_gpu_is_free_again_when_its_job_ends(gpus: Callable[..., str]) -> None:
    assert [gpus(), gpus()] == ["a", "b"]
    lock._held[0].close()  # as the end of the first job's process does
    assert [gpus(), gpus()] == ["a", "c"]


def test_a_job_on_several_gpus_shares_none_of_them(gpus: Callable[..., str]) -> None:
    assert [gpus(2, 2), gpus(1, 2), gpus(1, 2)] == ["a,b", "c", "c"]


def test_a_job_on_several_gpus_waits_until_they_are_free(
    gpus: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [gpus(1, 2), gpus(1, 2)] == ["a", "b"]
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        lock._held[len(waited) - 1].close()  # the job on a ends, then that on b

    monkeypatch.setattr(lock.time, "sleep", sleep)
    assert gpus(2, 2) == "c,a" and len(waited) == 1


def test_a_job_that_sees_no_more_gpus_than_it_needs_is_left_alone(
    gpus: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpus(3) == "a,b,c"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    claim_gpus(1, 1, tmp_path / "gpus")  # a machine without nvidia-smi
    assert "CUDA_VISIBLE_DEVICES" not in os.environ and not (tmp_path / "gpus").exists()


def test_without_a_choice_nvidia_smi_names_the_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    asked = "--query-gpu=uuid --format=csv,noheader"
    program.write_text(f"#!/bin/sh\n[ \"$*\" = '{asked}' ] && printf 'GPU-1\\nGPU-2\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(lock, "_held", [])
    claim_gpus(1, 1, tmp_path / "gpus")
    assert os.environ.pop("CUDA_VISIBLE_DEVICES") == "GPU-1"
