"""What a run or a job has for itself: a results folder, a drawing, GPUs; Snakemake locks one folder alone."""

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import IO

_held: list[IO[str]] = []  # open until the process ends, which gives the lock back even if it is killed


def claim_results(folder: Path) -> None:
    """Keep other runs out of a results folder until this process ends.

    Raises:
        OSError: Another run is in it; the message says which, in one line.
    """
    expected = "a results folder that no other run writes to"
    _claim(folder, folder / "work/run.lock", expected, "with --config results=FOLDER")


def claim_drawing(root: Path, dataset: str) -> None:
    """Keep other runs from drawing a dataset into a folder until this process ends; errors as above."""
    expected = "a dataset that no other run draws"
    _claim(root, root.with_name(f".{root.name}.lock"), expected, f"with --out, or in data.{dataset}.root")


def claim_gpus(number: int, cells_per_gpu: int, folder: Path) -> None:
    """Give this process GPUs of its own among those of the machine, until it ends.

    Snakemake counts GPUs and does not say which. A job that sees no more than it needs, as a cluster's, is
    left alone; else ``CUDA_VISIBLE_DEVICES`` names those that the fewest jobs are on. To be called before
    CUDA starts.

    Args:
        number: How many; of one it takes a place, several it has to itself.
        cells_per_gpu: Places on a GPU.
        folder: Where the locks are, the same for all jobs that share the GPUs.
    """
    visible = _visible_gpus()
    if len(visible) <= number:
        return
    folder.mkdir(parents=True, exist_ok=True)
    free = _free_gpus(visible, cells_per_gpu, folder) if number > 1 else _free_place(visible, folder)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(islice(free, number))


def _free_place(gpus: list[str], folder: Path) -> Iterator[str]:
    """The GPU that the fewest jobs are on, once this process has its next place."""
    for place in count():
        for gpu in gpus:
            if _takes(folder / f"{gpu}.{place}.lock"):
                yield gpu


def _free_gpus(gpus: list[str], cells_per_gpu: int, folder: Path) -> Iterator[str]:
    """GPUs that no job is on, as they become free: Snakemake counts places, wherever they are."""
    others = list(gpus)
    for attempt in count():
        for gpu in list(others):
            before = len(_held)
            if all(_takes(folder / f"{gpu}.{place}.lock") for place in range(cells_per_gpu)):
                others.remove(gpu)
                yield gpu
            else:
                while len(_held) > before:
                    _held.pop().close()
        if not attempt:
            print(
                f"waiting until other jobs leave a GPU free (locks in {folder})", file=sys.stderr, flush=True
            )
        time.sleep(1)


def _visible_gpus() -> list[str]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu for gpu in named.split(",") if gpu]
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []


def _takes(path: Path) -> bool:
    """Whether this process has the lock now; true on a file system without locks."""
    file = open(path, "a")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    except OSError:
        file.close()
        return True
    _held.append(file)
    return True


def _claim(folder: Path, path: Path, expected: str, instead: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _takes(path):
        user = path.read_text().strip() or "another process"
        raise OSError(
            f"{folder}: expected {expected}, found one that is in use by {user}; wait for it, or choose "
            f"another folder {instead}"
        )
    path.write_text(f"process {os.getpid()} on {socket.gethostname()}, started in {Path.cwd()}")
