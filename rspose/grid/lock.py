"""One run at a time in a results folder, and at a drawing; Snakemake locks the working directory alone."""

import fcntl
import os
import socket
from pathlib import Path
from typing import IO

_held: list[IO[str]] = []  # open until the process ends, which gives the lock back even if it is killed


def claim_results(folder: Path) -> None:
    """Keep other runs out of a results folder until this process ends.

    Raises:
        RuntimeError: Another run is in it; the message says which, in one line.
    """
    expected = "a results folder that no other run writes to"
    _claim(folder, folder / "work/run.lock", expected, "with --config results=FOLDER")


def claim_drawing(root: Path, dataset: str) -> None:
    """Keep other runs from drawing a dataset into a folder until this process ends; errors as above."""
    expected = "a dataset that no other run draws"
    _claim(root, root.with_name(f".{root.name}.lock"), expected, f"in data.{dataset}.root")


def _claim(folder: Path, path: Path, expected: str, instead: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a+")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise RuntimeError(
            f"{folder}: expected {expected}, found one that is in use by "
            f"{file.read().strip() or 'another process'}; wait for it, or choose another folder {instead}"
        ) from None
    except OSError:  # a file system without locks
        file.close()
        return
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}, started in {Path.cwd()}")
    file.flush()
    _held.append(file)
