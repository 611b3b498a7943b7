"""Planning a large grid: what a cell costs does not depend on how many there are."""

import pstats
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from builders.grid import REPOSITORY, SETTINGS

pytestmark = pytest.mark.slow

SIZES = (20, 40, 60)


class Work(NamedTuple):
    """Function calls of a dry-run: of this repository's functions, and of all."""

    ours: int
    everyone: int


def planning(folder: Path, cells: int) -> Work:
    """Count what a dry-run of a grid does: counts, unlike times, are the same on a busy machine."""
    folder.mkdir()
    config = {
        **SETTINGS,
        "datasets": ["mpii", "coco"],
        "heads": ["simcc"],
        "losses": ["mse", "rspose"],
        "seeds": list(range(cells // 4)),
    }
    (folder / "grid.yaml").write_text(yaml.safe_dump(config))
    snakemake = ["-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", "grid.yaml"]
    profiled = [sys.executable, "-m", "cProfile", "-o", "calls", *snakemake]
    subprocess.run([*profiled, "--cores", "1", "--dry-run", "--quiet", "all"], cwd=folder, check=True)
    calls = {file: 0 for file in ("ours", "everyone")}
    for (file, _, _), (_, count, *_) in pstats.Stats(str(folder / "calls")).stats.items():
        calls["everyone"] += count
        calls["ours"] += count if file.startswith(f"{REPOSITORY}/") else 0
    return Work(**calls)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> tuple[Work, ...]:
    folder = tmp_path_factory.mktemp("plans")
    return tuple(planning(folder / str(cells), cells) for cells in SIZES)


@pytest.mark.parametrize("whose", Work._fields)
def test_the_work_of_planning_a_cell_does_not_grow_with_the_grid(work: tuple[Work, ...], whose: str) -> None:
    few, some, many = (getattr(each, whose) for each in work)
    first, second = some - few, many - some  # 20 more cells each time
    assert first > 0
    assert second <= 1.02 * first
