"""One run at a time in a results folder; Snakemake itself locks the working directory alone."""

import fcntl
import os
import socket
from pathlib import Path
from typing import IO

_held: list[IO[str]] = []  # open until the process ends, which gives the lock back even if it is killed


def claim(results: Path) -> None:
    """Keep other runs out of a results folder until this process ends.

    Raises:
        RuntimeError: Another run is in it; the message says which, in one line.
    """
    path = results / "work/run.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a+")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise RuntimeError(
            f"{results}: expected a results folder that no other run writes to, found one that is in use "
            f"by {file.read().strip() or 'another process'}; wait for it, or choose another folder with "
            "--config results=FOLDER"
        ) from None
    except OSError:  # a file system without locks
        file.close()
        return
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}, started in {Path.cwd()}")
    file.flush()
    _held.append(file)
