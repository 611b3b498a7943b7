"""Folders of packages that hold less than the environment of the tests."""

import subprocess
import sys
import tomllib
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from builders.grid import REPOSITORY

EXTRAS: dict[str, list[str]] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]


def make_site(folder: Path, *names: str, alone: Collection[str] = ()) -> Path:
    """Link into a folder what is installed of some packages, of all that they require, and the project.

    Packages ``alone`` come without what they require.
    """
    pending, seen = [*alone, *names], set()
    while pending:
        try:
            found = distribution(name := pending.pop())
        except PackageNotFoundError:
            continue  # required on other systems only
        if found.name in seen:
            continue
        seen.add(found.name)
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
            if not (folder / top).exists():
                (folder / top).symlink_to(found.locate_file(top))
        requirements = [] if name in alone else [Requirement(text) for text in found.requires or []]
        pending += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    (folder / "rspose").symlink_to(REPOSITORY / "rspose")
    return folder


def run_in_site(site: Path, code: str, *arguments: str | Path, cwd: Path | None = None) -> str:
    """Run code that finds the packages of a site alone; what it prints."""
    # Without the folder of installed packages, the environment and the user's own packages.
    start = f"import sys; sys.path.append({str(site)!r}); sys.argv = {['x', *map(str, arguments)]!r}\n"
    command = [sys.executable, "-I", "-S", "-c", start + code]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
