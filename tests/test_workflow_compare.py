"""A loss of one's own beside the others: what is trained, what is printed, and what a failure stops."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders.grid import jobs_of
from builders.losses import forget_later
from builders.records import COCO_METRICS, fail, record, rows_of, write

from rspose.cli import main
from rspose.grid.cell import Cell
from rspose.grid.config import ConfigError, complete
from rspose.tools.compare_run import _print_comparison, compare_with

pytestmark = pytest.mark.slow

FAILING_LOSS = """
from rspose.losses import PerMapLoss, register


@register
class FailingLoss(PerMapLoss):
    name = title = reference = "failing"

    def map_loss(self, prediction, label):
        return (prediction - label).square().mean(-1) * float("nan")
"""


@pytest.fixture(scope="module")
def folder(tiny_config_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config of one cell, MPII in 1D with MSE, and a new loss; nothing has run."""
    folder = tmp_path_factory.mktemp("compare")
    config = yaml.safe_load(tiny_config_file.read_text())
    config.update(datasets=["mpii"], heads=["simcc"], losses=["mse", "kl"], controls=False)
    config["training"]["epochs"] = 1
    config["loss_settings"] = {"my_loss_wide": {"loss": "my_loss", "parameters": {"foreground": 99.0}}}
    config["losses_from"] = ["my_loss.py"]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    assert main(["new-loss", "my_loss", "--folder", str(folder)]) == 0
    return folder


@pytest.fixture(autouse=True)
def in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    forget_later(monkeypatch)


def compare(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["compare", *arguments[:1], "tiny.yaml", *arguments[1:], "--cores", "2"])
    captured = capfd.readouterr()
    return status, captured.out + captured.err


def test_a_comparison_shows_its_own_length_where_the_folder_has_more_records_of_another(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = complete({**settings, "results": str(tmp_path), "losses": ["mse", "kl"], "controls": False})
    for loss, ap in (("mse", 0.3), ("kl", 0.4)):
        metrics = {**COCO_METRICS, "AP": ap}
        write(tmp_path / "records", record(loss=loss, metrics=metrics))
        for seed in range(3):
            longer = record(loss="dm", seed=seed, metrics=metrics, cell={"length": 4.0})
            write(tmp_path / "records", longer)
    _print_comparison(config, "kl", failed=False)
    first, *_ = capsys.readouterr().out.split("\n\n\n")
    assert "| KL" in first and "DM" not in first and "40.0" in first


def test_why_cells_failed_is_said_where_none_has_a_record(
    settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(tmp_path / "records", "mse", 0, "train", "out of memory")
    config = complete({**settings, "results": str(tmp_path), "losses": ["mse"], "controls": False})
    with pytest.raises(ValueError, match="no usable record"):
        _print_comparison(config, "mse", failed=True)
    assert re.search(r"^failed: coco .* mse seed 0: .*out of memory", capsys.readouterr().err)


def test_a_loss_of_other_models_is_said_to_be_so(folder: Path) -> None:
    config = yaml.safe_load((folder / "tiny.yaml").read_text())
    config["model_settings"]["other"] = config["model_settings"]["tiny"]
    config["loss_settings"]["kl_other"] = {"loss": "kl", "models": ["other"]}
    (folder / "two.yaml").write_text(yaml.safe_dump(config))
    expected = r"loss 'kl_other' is trained with none of .* models; see loss_settings\.kl_other\.models"
    with pytest.raises(ConfigError, match=expected):
        compare_with(folder / "two.yaml", "kl_other")


# The tests of one folder follow each other: what one has trained, the next finds.


def test_a_loss_is_compared_and_only_what_is_missing_is_trained(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, said = compare(capfd, "my_loss")
    assert status == 0, said
    assert re.search(
        r"^Running: snakemake tables --configfile tiny.yaml .*losses=\[mse,my_loss\]", said, re.M
    )
    assert "Not compared in every cell with kl: some have no record" in said
    assert jobs_of(said)["train"] == 2
    _, main_table, differences, costs = re.split(r"^\*\*", said, flags=re.MULTILINE)
    assert [row["Loss"] for row in rows_of(main_table)] == ["MSE", "My loss"]
    (row,) = rows_of(differences)
    record = {
        loss: json.loads((folder / f"results/records/mpii/tiny/simcc/{loss}/seed0.json").read_text())
        for loss in ("mse", "my_loss")
    }
    mine, mse = (record[loss]["metrics"]["PCKh"] for loss in ("my_loss", "mse"))
    # One seed: the intervals are over the images.
    assert re.fullmatch(rf"{100 * mine:.1f} \[.*, .*\]", row["My loss"])
    assert float(row["minus MSE"].split(" [")[0]) == pytest.approx(100 * (mine - mse), abs=0.051)
    assert row["which is"] == "MSE"
    (row,) = rows_of(costs)
    assert float(row["loss"].removesuffix(" ms")) > 0 and float(row["of MSE's"].removesuffix(" x")) > 0
    step = record["my_loss"]["training"]["seconds_per_iteration"]
    assert row["training step (MSE)"].startswith(f"{1000 * step:.0f} ms (")


def test_a_variant_trains_its_own_cell_alone(capfd: pytest.CaptureFixture[str]) -> None:
    planned = compare_with(Path("tiny.yaml"), "my_loss_wide", cores=2)
    assert planned.arguments[-2] == "losses=[mse,my_loss_wide]"
    status, said = compare(capfd, "my_loss_wide", "--dry-run")
    assert (status, jobs_of(said)["train"]) == (0, 1)
    assert "Cells without a record:\n  mpii tiny simcc my_loss_wide seed 0\n" in said
    assert len(said.splitlines()) < 80


def test_a_part_of_the_grid_is_compared(capfd: pytest.CaptureFixture[str]) -> None:
    planned = compare_with(Path("tiny.yaml"), "my_loss", part={"datasets": ["mpii"], "seeds": [0, 1]})
    assert planned.arguments[-4:-1] == ["losses=[mse,my_loss]", "datasets=[mpii]", "seeds=[0,1]"]
    status, said = compare(capfd, "my_loss", "--datasets", "mpii", "--seeds", "2", "--dry-run")
    assert (status, jobs_of(said)["train"]) == (0, 2)  # seed 1 of MSE and of the loss
    with pytest.raises(ConfigError, match=r"'heads\.0': expected"):
        compare_with(Path("tiny.yaml"), "my_loss", part={"heads": ["3d"]})


def test_a_loss_that_fails_stops_its_own_cell_and_the_tables_show_what_is_there(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "failing.py").write_text(FAILING_LOSS)
    status, said = compare(capfd, "failing", "--from", "failing.py")
    assert status == 1
    reason = "loss failing, step 1: term 'failing' is NaN, at every one of 16 keypoints"
    assert said.count(f"train failed: LastingError: {reason}") == 1
    assert not re.search("tried again|restart|exception|traceback", said, re.IGNORECASE)
    failure = folder / "results/records/mpii/tiny/simcc/failing/seed0.failed.json"
    assert f"failed: mpii tiny simcc failing seed 0: LastingError: {reason}" in said
    written = json.loads(failure.read_text())
    assert Cell(**written["cell"]) == Cell("mpii", "tiny", "simcc", "failing", 0)
    assert written["failed"]["rule"] == "train" and reason in written["failed"]["error"]
    assert re.search(r"^\| My loss +\| +[\d*]", said, re.MULTILINE)
    assert re.search(r"^\| failing +\| +failed \|", said, re.MULTILINE)
    assert "no record of failing: none of its cells was finished" in said


def test_a_loss_that_is_mended_is_trained_again_and_no_other(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    failure = folder / "results/records/mpii/tiny/simcc/failing/seed0.failed.json"
    assert failure.is_file()
    (folder / "failing.py").write_text(FAILING_LOSS.replace("nan", "1"))
    status, said = compare(capfd, "failing", "--from", "failing.py")
    assert status == 0, said
    assert jobs_of(said)["train"] == 1
    assert json.loads(failure.with_name("seed0.json").read_text())["config"] == {
        "files": [str(folder / "tiny.yaml")],
        "directory": str(folder),
        "changes": ['losses_from=["my_loss.py", "failing.py"]'],
    }
    assert re.search(r"^\| failing +\|", said, re.MULTILINE) and "failed:" not in said


def test_a_loss_that_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    config = Path("tiny.yaml")
    with pytest.raises(ConfigError, match="unknown loss 'mes'; expected one of"):
        compare_with(config, "mes")
    with pytest.raises(ConfigError, match=r"'losses_from': loss file nowhere.py: no such file"):
        compare_with(config, "mine", "nowhere.py")
    text = FAILING_LOSS.replace("failing", "flat").replace("    name", "    heads = ('heatmap',)\n    name")
    (tmp_path / "flat.py").write_text(text)
    with pytest.raises(ConfigError, match="loss 'flat' serves none of the config's heads"):
        compare_with(config, "flat", str(tmp_path / "flat.py"))


def test_a_grid_has_the_losses_whose_cells_all_have_records(folder: Path) -> None:
    planned = compare_with(Path("tiny.yaml"), "rspose")
    assert planned.left_out == ["kl"]
    assert planned.config.losses == ["mse", "rspose"]
    record = folder / "results/records/mpii/tiny/simcc/kl/seed0.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.touch()
    planned = compare_with(Path("tiny.yaml"), "mse")
    record.unlink()
    assert planned.left_out == [] and planned.config.losses == ["kl", "mse"]


def test_a_loss_is_tuned_as_mse_is_and_another_choice_trains_it_alone_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load((folder / "tiny.yaml").read_text())
    tuning = {"trials": 2, "held_out": {"share": 0.4, "seed": 0}}
    loss = str(folder / "my_loss.py")
    config.update(losses=["mse"], tuning=tuning, losses_from=[loss], loss_settings={})
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    status, said = compare(capfd, "my_loss")
    assert status == 0, said
    jobs = jobs_of(said)
    assert (jobs["trial"], jobs["choose"], jobs["train"]) == (4, 2, 2)
    assert "Of each loss that has no choice yet, 2 trials come first" in said
    assert "tuned, 2 trials a loss" in said
    folders = {name: tmp_path / f"results/tuning/mpii/tiny/simcc/{name}" for name in ("mse", "my_loss")}
    choices = {name: json.loads((path / "choice.json").read_text()) for name, path in folders.items()}
    points = [[each["point"]["learning_rate"] for each in choice["tried"]] for choice in choices.values()]
    assert points[0] == points[1] and len(set(points[0])) == 2

    status, said = compare(capfd, "my_loss", "--dry-run")
    assert status == 0 and "Nothing to be done" in said
    choice = choices["my_loss"]
    changed = json.dumps({**choice, "chosen": 1 - choice["chosen"]})
    (folders["my_loss"] / "choice.json").write_text(changed)
    status, said = compare(capfd, "my_loss", "--dry-run")
    assert status == 0, said
    jobs = jobs_of(said)
    assert (jobs["train"], jobs["record"]) == (1, 1) and not {"trial", "choose"} & jobs.keys()
    status, said = compare(capfd, "mse", "--dry-run")
    assert status == 0 and "train" not in said


def test_a_loss_that_fails_in_every_trial_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = yaml.safe_load((folder / "tiny.yaml").read_text())
    (tmp_path / "failing.py").write_text(FAILING_LOSS)
    config.update(losses=["mse"], losses_from=["failing.py"], loss_settings={}, tuning={"trials": 2})
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    status, said = compare(capfd, "failing")
    assert status == 1
    reason = "failing loss: all 2 trials failed; the first: loss failing, step 1: term 'failing' is NaN"
    assert said.count(f"choose failed: ValueError: {reason}") == 1
    assert f"failed: mpii tiny simcc failing seed 0: ValueError: {reason}" in said
    assert re.search(r"^\| failing +\| +failed \|", said, re.MULTILINE)
    assert "Traceback" not in said


def test_of_several_seeds_the_first_gives_a_table_before_the_others_are_trained(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, said = compare(capfd, "kl", "--seeds", "2")
    assert status == 0, said
    first, both = said.split("Running: ")[1:]
    assert "seeds=[0]" in first and "seeds=[0,1]" in both
    assert re.search(r"^\| KL +\| +[\d.]+ \[", first, re.MULTILINE)
    assert "Cells without a record:\n  mpii tiny simcc mse seed 1\n  mpii tiny simcc kl seed 1\n" in both
    assert re.search(r"^\| KL +\| +[\d.*]+ ± ", both, re.MULTILINE)
