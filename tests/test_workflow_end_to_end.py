"""The workflow from a config to tables, on a grid of eight cells, and what it does when run again."""

import base64
import gzip
import html
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from builders.grid import REPOSITORY, SnakemakeRun, jobs_of
from builders.processes import python

from rspose.grid.config import load_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # its first run shares the cores with other tests

METRIC = {"coco": "AP", "mpii": "PCKh"}
OF_RECORDS = dict.fromkeys(("collect", "tables", "study", "report"), 1)


def of_cells(count: int) -> dict[str, int]:
    """The jobs that ``count`` cells have each."""
    return dict.fromkeys(("train", "predict", "evaluate", "record"), count)


def run(folder: Path, *arguments: str) -> SnakemakeRun:
    return SnakemakeRun(folder, folder / "tiny.yaml", arguments)


@pytest.fixture(scope="module")
def folder(tiny_config_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole grid has been run, one epoch a cell."""
    folder = tmp_path_factory.mktemp("workflow")
    config = yaml.safe_load(tiny_config_file.read_text())
    config["training"]["epochs"] = 1
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    made = run(folder)
    assert made.jobs == {
        "dataset_coco": 1,
        "dataset_mpii": 1,
        "control": 4,
        "figures": 2,
        **of_cells(8),
        **OF_RECORDS,
        "first_table": 1,
        "localisation": 1,
        "localisation_report": 1,
    }
    result = r"^(\w+) tiny \w+ \w+ seed 0: (?:AP|PCKh) \d+\.\d \[\d"
    said = re.findall(result, made.output, re.MULTILINE)
    assert len(said) == 8, "each result is said when it is there"
    assert made.output.index("(Rule: dataset_coco)") < made.output.index("(Rule: train)")
    assert said[-1] == "mpii", "COCO comes first"
    before, after = made.output.split("**Overview, generated data: AP on COCO val (%)**")
    assert len(re.findall("^coco.*: AP", before, re.MULTILINE)) == 4
    assert "Oracle keypoints" in after
    return folder


def edited(folder: Path, tmp_path: Path, **changes: Any) -> Path:
    """The finished folder with a changed config, in a place of its own."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = yaml.safe_load((copy / "tiny.yaml").read_text())
    (copy / "tiny.yaml").write_text(yaml.safe_dump({**config, **changes}))
    return copy


def test_every_cell_and_control_has_a_record(folder: Path) -> None:
    results = folder / "results"
    grid = load_config(folder / "tiny.yaml").cells()
    expected = {f"{cell.path}.json" for cell in grid}
    expected |= {f"{dataset}/control/{name}.json" for dataset in METRIC for name in ("oracle", "mean_pose")}
    found = {str(path.relative_to(results / "records")) for path in (results / "records").rglob("*.json")}
    assert found == expected
    for cell in grid:
        record = json.loads((results / "records" / f"{cell.path}.json").read_text())
        assert record["cell"] == cell._asdict()
        assert record["control"] is False
        assert 0 <= record["metrics"][METRIC[cell.dataset]] <= 1
        assert record["data"]["generated"] is True
        assert record["training"]["resumed"] is False
        assert record["training"]["iterations"] == -(-record["data"]["train_instances"] // 4)
        assert (results / "logs" / "train" / f"{cell.path}.log").stat().st_size > 0


def test_what_the_losses_of_a_dataset_share_is_the_same_in_their_records(folder: Path) -> None:
    for dataset in METRIC:
        records = [
            json.loads(path.read_text())
            for path in (folder / "results/records" / dataset).rglob("seed0.json")
        ]
        assert len(records) == 4
        assert len({json.dumps(record["data"], sort_keys=True) for record in records}) == 1
        assert len({record["provenance"]["training_sha256"] for record in records}) == 4


def test_tables_and_figures_are_there(folder: Path) -> None:
    results = folder / "results"
    for table in ("main", "coco", "mpii", "confidence", "diagnosis"):
        for suffix in ("md", "tex", "csv"):
            assert (results / "tables" / f"{table}.{suffix}").stat().st_size > 0
    main = (results / "tables" / "main.md").read_text()
    for row in ("MSE", "RSPose", "Oracle", "Mean pose"):
        assert row in main
    for dataset in METRIC:
        for kind in ("predictions", "heatmaps"):
            assert (results / "figures" / f"{dataset}_{kind}.png").stat().st_size > 1000
        for kind in ("differences", "calibration", "errors", "learning_curves", "cost"):
            for suffix in ("png", "svg"):
                assert (results / "figures" / "study" / f"{dataset}_{kind}.{suffix}").stat().st_size > 1000
    for name in ("table.md", "table.csv", "figure.png", "figure.svg", "pushes.png"):
        assert (results / "localisation" / name).stat().st_size > 0


def test_what_a_training_predicts_at_its_end_is_what_a_job_of_its_own_predicts(
    folder: Path, tmp_path: Path
) -> None:
    logs = [path.read_text() for path in (folder / "results/logs/predict").rglob("*.log")]
    assert len(logs) == 8 and all("The training has predicted already." in log for log in logs)
    assert not [*(folder / "results/work").rglob("predicted-*")]
    copy = edited(folder, tmp_path)
    cell = copy / "results/cells/mpii/tiny/simcc/rspose/seed0"
    before = {name: dict(np.load(cell / f"{name}.npz")) for name in ("predictions", "samples")}
    (cell / "predictions.npz").unlink()
    assert run(copy, str((cell / "predictions.npz").relative_to(copy))).jobs == {"predict": 1}
    for name, arrays in before.items():
        again = np.load(cell / f"{name}.npz")
        assert all(np.array_equal(again[key], values) for key, values in arrays.items()), name


def panels(folder: Path) -> dict[str, str]:
    """What the report shows of each cell."""
    page = (folder / "results/report.html").read_text()
    (packed,) = re.findall(r'id="packed-panels">(.*?)</script>', page)
    text = gzip.decompress(base64.b64decode(packed)).decode()
    return dict(re.findall(r'<article id="cell/([^"]*)"(.*?)</article>', text, re.DOTALL))


def test_the_report_draws_the_predictions_of_every_cell(folder: Path) -> None:
    drawn = {cell for cell, panel in panels(folder).items() if "<use" in panel}
    cells = load_config(folder / "tiny.yaml").cells()
    assert drawn == {str(Path(cell.path).parent) for cell in cells}


def test_the_command_that_the_report_gives_for_a_cell_runs_it_alone(folder: Path) -> None:
    (command,) = re.findall("<code>(snakemake .*?)</code>", panels(folder)["mpii/tiny/simcc/rspose"])
    command = html.unescape(command)
    # Where the page says. Its data and the weights it starts from are there: they lie in the folder, not in
    # the repository.
    planned = python("-m", *shlex.split(command), "--cores", "1", "--dry-run", folder=REPOSITORY)
    assert jobs_of(planned) == of_cells(1)


def test_the_report_has_the_heatmaps_and_loss_against_localisation(folder: Path) -> None:
    page = (folder / "results/report.html").read_text()
    for dataset in ("COCO", "MPII"):
        assert f'alt="Heatmaps over people of {dataset} val' in page
    (chart,) = json.loads(re.findall(r'id="data-localisations">(.*?)</script>', page)[0])
    assert "localisation" in json.dumps(chart) and page.count('class="picture" data-localisation') == 1
    assert 'id="table-localisation"' in page


def test_snakemake_makes_its_own_report_too(folder: Path) -> None:
    made = run(folder, "--report", "snakemake.html")
    assert made.returncode == 0, made.output
    page = (folder / "snakemake.html").read_text()
    for name in ("report.html", "coco_predictions.png", "coco_differences.png", "main.md"):
        assert name in page


def test_a_second_run_does_nothing_though_scripts_are_newer_as_in_a_new_clone(folder: Path) -> None:
    scripts = {script: script.stat() for script in (REPOSITORY / "workflow/scripts").iterdir()}
    try:
        for script in scripts:
            script.touch()
        assert run(folder).jobs == {}
    finally:  # other tests leave out the profile, by which scripts go by their contents
        for script, was in scripts.items():
            os.utime(script, ns=(was.st_atime_ns, was.st_mtime_ns))


def test_a_changed_learning_rate_factor_reruns_the_cells_of_its_loss_only(
    folder: Path, tmp_path: Path
) -> None:
    changed = edited(folder, tmp_path, loss_settings={"rspose": {"learning_rate_factor": 0.5}})
    planned = run(changed, "--dry-run", "--workflow-profile", "none")
    assert planned.jobs == {**of_cells(4), **OF_RECORDS, "first_table": 1, "figures": 2}
    trained = re.findall(r"^rule train:\n.*?output: (\S+?),", planned.output, re.MULTILINE | re.DOTALL)
    assert sorted(trained) == [
        f"results/cells/{dataset}/tiny/{head}/rspose/seed0/checkpoint.pth"
        for dataset in METRIC
        for head in ("heatmap", "simcc")
    ]


def test_another_title_or_reading_makes_records_again_and_trains_nothing(
    folder: Path, tmp_path: Path
) -> None:
    said = {"title": "RSPose, ours", "reading": "another"}
    planned = run(edited(folder, tmp_path, loss_settings={"rspose": said}), "--dry-run").jobs
    assert planned["record"] == 4
    assert not planned.keys() & {"train", "predict", "evaluate", "control", "dataset_coco", "dataset_mpii"}


def test_a_cell_that_is_added_runs_alone(folder: Path, tmp_path: Path) -> None:
    selected = ["losses=[mse,rspose,kl]", "heads=simcc", "datasets=mpii"]
    planned = run(edited(folder, tmp_path), "--dry-run", "--config", *selected)
    assert planned.jobs == {
        **of_cells(1),
        **OF_RECORDS,
        "figures": 1,
        "localisation": 1,
        "localisation_report": 1,
    }


def test_tables_are_made_again_from_records_alone(folder: Path, tmp_path: Path) -> None:
    copy = edited(folder, tmp_path)
    before = {path.name: path.read_bytes() for path in (copy / "results/tables").iterdir()}
    drawn = {path.name: path.read_bytes() for path in (copy / "results/figures/study").iterdir()}
    shutil.rmtree(copy / "data")
    for made in ("cells", "work", "controls", "figures", "tables"):
        shutil.rmtree(copy / "results" / made)
    for made in ("records.csv", "report.html"):
        (copy / "results" / made).unlink()
    assert run(copy, "tables").jobs == {"collect": 1, "tables": 1}
    assert {path.name: path.read_bytes() for path in (copy / "results/tables").iterdir()} == before
    assert run(copy, "report").jobs == {"report": 1}
    page = (copy / "results/report.html").read_text()
    assert "No prediction files were at hand" in page and "No sheets of heatmaps were at hand" in page
    assert run(copy, "study").jobs == {"study": 1}
    assert {path.name: path.read_bytes() for path in (copy / "results/figures/study").iterdir()} == drawn
    assert not (copy / "results/cells").exists() and not (copy / "data").exists()


def test_real_data_are_asked_for_only_where_a_record_is_missing(folder: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((folder / "tiny.yaml").read_text())
    config["data"] = {dataset: {"root": f"elsewhere/{dataset}"} for dataset in config["data"]}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    shutil.copytree(folder / "results/records", tmp_path / "results/records")
    assert run(tmp_path, "--dry-run", "tables").jobs == {"collect": 1, "tables": 1}

    (tmp_path / "results/records/mpii/tiny/simcc/mse/seed0.json").unlink()
    refused = run(tmp_path, "--dry-run", "tables")
    assert refused.returncode != 0
    (line,) = [line for line in refused.output.splitlines() if line.startswith("error: ")]
    assert "elsewhere/mpii: expected the folder of the mpii dataset" in line
