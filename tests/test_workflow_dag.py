"""Planning a grid: what a cell costs does not depend on how many there are, and what a job asks for."""

import json
import pstats
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders.grid import REPOSITORY, SETTINGS, SnakemakeRun
from builders.processes import python

from rspose.grid.config import complete

pytestmark = pytest.mark.slow

# A dry-run in each of some folders. What all of them import is imported once, and not counted.
COUNT_CALLS = """
import cProfile, os, sys
from snakemake.cli import main
import rspose.losses

rspose.losses.available()
snakefile, *folders = sys.argv[1:]
for folder in folders:
    if os.fork() == 0:
        os.chdir(folder)
        command = f"--snakefile {snakefile} --configfile grid.yaml --cores 1 --dry-run --quiet all"
        calls = cProfile.Profile()
        try:
            calls.runcall(main, command.split())
        except SystemExit as ended:
            calls.dump_stats("calls")
            os._exit(ended.code)
    assert os.wait()[1] == 0
"""


def write_grid(folder: Path, cells: int) -> Path:
    folder.mkdir()
    config = {
        **SETTINGS,
        "datasets": ["mpii", "coco"],
        "heads": ["simcc"],
        "losses": ["mse", "rspose"],
        "seeds": list(range(cells // 4)),
    }
    (folder / "grid.yaml").write_text(yaml.safe_dump(config))
    return folder


def calls_of(folder: Path) -> tuple[int, int]:
    """Function calls of a dry-run, of this repository's functions and of all.

    Counts, unlike times, are the same on a busy machine.
    """
    calls = pstats.Stats(str(folder / "calls")).stats.items()
    ours = sum(count for (file, *_), (_, count, *_) in calls if file.startswith(f"{REPOSITORY}/"))
    return ours, sum(count for _, (_, count, *_) in calls)


def test_the_work_of_planning_a_cell_does_not_grow_with_the_grid(tmp_path: Path) -> None:
    grids = [write_grid(tmp_path / str(cells), cells) for cells in (20, 40, 60)]
    python("-c", COUNT_CALLS, REPOSITORY / "Snakefile", *grids)
    for few, some, many in zip(*map(calls_of, grids), strict=True):
        assert some > few
        assert many - some <= 1.02 * (some - few)


def planned(folder: Path, *arguments: str, **changes: Any) -> SnakemakeRun:
    """A dry run of one cell, or of what the changes make of it."""
    one = {"datasets": ["coco"], "heads": ["simcc"], "losses": ["mse"], "seeds": [0]}
    (folder / "grid.yaml").write_text(yaml.safe_dump({**SETTINGS, **one, **changes}))
    return SnakemakeRun(folder, folder / "grid.yaml", [*arguments, "--dry-run"])


def test_an_evaluation_asks_for_the_memory_that_it_takes(tmp_path: Path) -> None:
    said = planned(tmp_path, "--until", "evaluate", datasets=["coco", "wholebody"]).output
    jobs = re.findall(r"^ *rule evaluate:.*?dataset=(\w+),.*?mem_mb=(\d+)", said, re.MULTILINE | re.DOTALL)
    asked = {dataset: int(memory) for dataset, memory in jobs}
    measured = {"coco": 419, "wholebody": 1310}  # at full size, by `rspose bench evaluate`
    assert asked.keys() == measured.keys()
    for dataset, taken in measured.items():
        assert 1.2 * taken < asked[dataset] < 1.4 * max(taken, 3000)


@pytest.mark.parametrize(("devices", "places"), [(1, 1), (2, 12)])
def test_small_cells_share_a_gpu_where_the_config_says_so(tmp_path: Path, devices: int, places: int) -> None:
    training = {**SETTINGS["training"], "device": "cuda", "devices": devices}
    gpus = ["--resources", f"gpu={devices}"]
    said = planned(tmp_path, *gpus, "--until", "predict", training=training, cells_per_gpu=6).output
    jobs = re.findall(r"^ *rule (train|predict):.*?\bgpu=(\d+)", said, re.MULTILINE | re.DOTALL)
    assert dict(jobs) == {"train": str(places), "predict": "1"}
    run = SnakemakeRun(tmp_path, tmp_path / "grid.yaml", [*gpus, "--until", "dataset_coco"])
    assert f'Provided resources: gpu=Resource("gpu", {6 * devices})' in run.output


def test_every_length_is_trained_and_tuned_once_for_all(tmp_path: Path) -> None:
    run = planned(tmp_path, "--until", "train", lengths=[1, 2.5], tuning={"trials": 3})
    assert run.jobs == {"dataset_coco": 1, "trial": 3, "choose": 1, "train": 2}
    trained = re.findall(r"mse/(seed\S+)/checkpoint.pth", run.output)
    assert sorted(set(trained)) == ["seed0", "seed0-length2.5"]


def test_a_loss_that_was_chosen_before_needs_no_trials(tmp_path: Path) -> None:
    settings = complete({**SETTINGS, "tuning": {"trials": 3}}).tuning
    assert settings is not None
    made = settings.model_dump(mode="json", exclude={"choices"})
    entry = {**made, "tried": [{"point": {}, "score": 0.5}], "chosen": 0}
    (tmp_path / "choices.json").write_text(json.dumps({"coco/tiny/simcc/mse": entry}))
    tuning = {"trials": 3, "choices": str(tmp_path / "choices.json")}
    run = planned(tmp_path, "--until", "train", losses=["mse", "kl"], tuning=tuning)
    assert run.jobs == {"dataset_coco": 1, "trial": 3, "choose": 2, "train": 2}
    refused = planned(tmp_path, losses=["mse", "kl"], tuning={**tuning, "trials": 4})
    assert refused.returncode == 1 and "error: config key 'tuning.trials': " in refused.output


def test_a_tuned_cell_is_trained_after_the_trials_of_its_loss(tmp_path: Path) -> None:
    run = planned(tmp_path, "--until", "train", losses=["mse", "rspose"], tuning={"trials": 3}, seeds=[0, 1])
    assert run.jobs == {"dataset_coco": 1, "trial": 6, "choose": 2, "train": 4}
