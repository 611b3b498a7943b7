"""Commands that a test runs in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path


def run(*command: str | Path, folder: Path | None = None, **environment: str) -> str:
    """What a command prints, which has to succeed."""
    finished = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


def python(*arguments: str | Path, folder: Path | None = None, **environment: str) -> str:
    """The same for Python."""
    return run(sys.executable, *arguments, folder=folder, **environment)
