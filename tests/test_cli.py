"""The command line: what it makes and prints, and that an error is one line and exit code 1."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml
from builders.records import record, write

from rspose.cli import GROUPS, main
from rspose.datasets.manifest import read_manifest
from rspose.grid.lock import claim_drawing
from rspose.losses import available
from rspose.tools import mmpose_numbers, pages
from rspose.tools.check_loss import CHECKS
from rspose.tools.commands import COMMANDS, parser


def failure(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The line that a failing command says."""
    assert main([str(argument) for argument in arguments]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    return printed.err


def success(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    printed = capsys.readouterr()
    assert "error" not in printed.err
    return printed.out


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii", "wholebody"])
def test_a_dataset_is_made_checked_and_shown(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, sheet = tmp_path / dataset, tmp_path / "sheet.png"
    named = ("--dataset", dataset)
    made = ["--images", "6", "--val-images", "3", "--seed", "5", "--size", "128", "96"]
    success(capsys, "data", "make", *named, "--out", root, *made)
    manifest = read_manifest(root)
    assert (manifest["dataset"], manifest["images"]) == (dataset, {"train": 6, "val": 3})
    assert (manifest["seed"], manifest["size"]) == (5, [128, 96])

    assert f"every file of the {dataset} dataset" in success(capsys, "data", "check", root, *named)
    success(capsys, "data", "show", root, *named, "--split", "train", "--images", "2", "--out", sheet)
    image = cv2.imread(str(sheet))
    assert image is not None and image.std() > 10


def test_the_number_of_validation_images_is_a_quarter_unless_said_otherwise_and_progress_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "d"
    assert main(f"data make --dataset mpii --out {made} --images 8 --size 64 64".split()) == 0
    assert capsys.readouterr().err == "10/10 images\n"
    manifest = read_manifest(made)
    assert (manifest["images"], manifest["seed"]) == ({"train": 8, "val": 2}, 0)


def test_every_problem_of_a_dataset_is_a_line(
    tiny_datasets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "expected the folder" in failure(capsys, "data", "check", tmp_path / "no", "--dataset", "coco")
    root = shutil.copytree(tiny_datasets / "mpii", tmp_path / "mpii")
    (root / "annotations/mpii_val.json").write_text("[")
    (root / "annotations/mpii_gt_val.mat").unlink()
    assert main(["data", "check", str(root), "--dataset", "mpii"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: ") for line in lines)
    assert any("mpii_val.json" in line for line in lines) and any("mpii_gt_val.mat" in line for line in lines)


def test_checking_counts_says_what_is_generated_and_what_to_fetch(
    tiny_datasets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = success(capsys, "data", "check", tiny_datasets / "coco", "--dataset", "coco")
    assert "train: 12 images" in printed and "val: 6 images" in printed
    assert "note: a generated dataset" in printed
    assert "every image opens" in printed
    quick = success(capsys, "data", "check", tiny_datasets / "coco", "--dataset", "coco", "--quick")
    assert "image" not in quick.splitlines()[-1]
    assert main(["data", "check", str(tmp_path / "no"), "--dataset", "wholebody"]) == 1
    told = capsys.readouterr().out
    assert "http://images.cocodataset.org/zips/val2017.zip" in told
    assert f"{tmp_path / 'no' / 'val2017'}/" in told and f"{tmp_path / 'no' / 'annotations'}/" in told


def test_what_cannot_be_made_or_shown_is_one_line(
    tiny_datasets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make = ("data", "make", "--dataset", "coco", "--images", "2", "--out")
    assert "seed" in failure(capsys, *make, tmp_path / "d", "--seed", "-1")
    assert "64x64" in failure(capsys, *make, tmp_path / "e", "--size", "32", "32")
    claim_drawing(tmp_path / "claimed", "coco")  # as another process that draws there
    (tmp_path / "link").symlink_to("claimed")
    assert "found one that is in use by process" in failure(capsys, *make, tmp_path / "link")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("not to be lost")
    assert str(tmp_path / "mine") in failure(capsys, *make, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").is_file()
    sheet = tmp_path / "sheet.png"
    said = failure(capsys, "data", "show", tmp_path / "no", "--dataset", "coco", "--out", sheet)
    assert "person_keypoints_val2017.json" in said
    assert not sheet.exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "COMMAND"),
        (["data", "make", "--dataset", "aic", "--out", "x"], "'aic'"),
        (["data", "make", "--dataset", "coco"], "--out"),
        (["data", "make", "--dataset", "coco", "--out", "x", "--images", "0"], "at least 1"),
        (["tables", "records", "--equivalence", "-1"], "percentage points from 0 to 100, found -1"),
        (["report", "records", "--equivalence", "nan"], "percentage points from 0 to 100, found nan"),
        (["versus", "kl", "mse", "--equivalence", "much"], "percentage points from 0 to 100, found much"),
        (["data", "show", "x", "--dataset", "coco", "--split", "test"], "'test'"),
        (["tabulate"], "'tabulate'"),
    ],
)
def test_a_command_that_cannot_be_read_is_answered_with_its_usage(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: ") and named in said


@pytest.fixture
def config_file(settings: dict[str, Any], tmp_path: Path) -> Path:
    settings["results"] = str(tmp_path / "results")
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_the_main_table_is_printed_and_the_others_are_pointed_to(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = tmp_path / "results" / "tables"
    assert "main.md: no such table; run snakemake" in failure(capsys, "tables", config_file)
    tables.mkdir(parents=True)
    (tables / "main.md").write_text("| Loss | AP |\n")
    said = success(capsys, "tables", config_file)
    assert "| Loss | AP |" in said
    assert str(tables) in said and "Next:" not in said
    (tmp_path / "results" / "report.html").touch()
    said = success(capsys, "tables", config_file)
    assert str(tmp_path / "results" / "report.html") in said and "Next: a loss of your own" in said
    assert "expected records beside" in failure(capsys, "tables", config_file, "--equivalence", 1)


def test_without_a_folder_for_tables_the_main_table_of_records_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "records", record())
    success(capsys, "tables", tmp_path / "records", "--out", tmp_path / "tables")
    said = success(capsys, "tables", tmp_path / "records")
    assert said == (tmp_path / "tables" / "main.md").read_text()


def test_a_folder_without_records_takes_no_packed_file_s_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, empty = tmp_path / "good.jsonl.xz", tmp_path / "empty"
    write(tmp_path / "records", record())
    success(capsys, "records", "pack", tmp_path / "records", "--out", good)
    before = good.read_bytes()
    empty.mkdir()
    expected = f"error: no usable record under {empty}\n"
    assert failure(capsys, "records", "pack", empty, "--out", good) == expected
    assert failure(capsys, "records", "unpack", empty, "--out", tmp_path / "out") == expected
    assert good.read_bytes() == before


def test_a_fault_in_a_dataset_is_named_by_all_that_read_it(
    settings: dict[str, Any], tiny_datasets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = shutil.copytree(tiny_datasets / "coco", tmp_path / "coco")
    (root / "manifest.json").unlink()  # so it passes for a real one
    config = tmp_path / "tiny.yaml"
    settings.update(datasets=["coco"], data={"coco": {"root": str(root)}})
    config.write_text(yaml.safe_dump(settings))
    for split in ("train", "val"):
        file = root / f"annotations/person_keypoints_{split}2017.json"
        content = json.loads(file.read_text())
        del content["images"][0]["width"]
        file.write_text(json.dumps(content))
    named = f"{root}/annotations/person_keypoints_%s2017.json: image 0 (id "
    for split in ("train", "val"):
        shown = failure(capsys, "data", "show", root, "--dataset", "coco", "--split", split)
        assert named % split in shown and "key 'width' is missing" in shown
    assert named % "train" in failure(capsys, "plan", config)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "edit", "complaint"),
    [
        ("config", ("Passes over the training set", "Something else"), "the models of the config"),
        ("schema", ("Passes over the training set", "Something else"), "the models of the config"),
        ("losses", ("AWing", "Wing"), "the loss files"),
        ("published", (",0.718,", ",0.818,"), "the metadata of the installed mmpose"),
    ],
)
def test_a_page_is_up_to_date_and_compared_with_what_it_is_made_from(
    name: str, edit: tuple[str, str], complaint: str,
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    right = (pages.ROOT / pages.PAGES[name][0]).read_text()
    page = tmp_path / pages.PAGES[name][0]
    page.parent.mkdir(parents=True)
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(mmpose_numbers, "PUBLISHED", page.parent)
    page.write_text(right.replace(*edit))
    assert complaint in failure(capsys, "docs", name, "--check")
    success(capsys, "docs", name)
    success(capsys, "docs", name, "--check")
    assert page.read_text() == right


def test_a_new_loss_is_written_and_listed(
    fresh_registry: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = success(capsys, "new-loss", "my_loss", "--folder", tmp_path)
    path = tmp_path / "my_loss.py"
    assert path.is_file() and f"rspose check-loss my_loss --from {path}" in said
    assert "my_loss" not in success(capsys, "list", "losses")
    rows = success(capsys, "list", "losses", "--from", path).splitlines()
    assert "| `my_loss` | My loss | unpublished | 2D, 1D | `foreground=10.0` |  | `BenchmarkMyLoss` |" in rows
    assert len(rows) == 2 + len(available())
    assert "is taken" in failure(capsys, "new-loss", "mse", "--folder", tmp_path)
    assert "no such file" in failure(capsys, "list", "losses", "--from", tmp_path / "no.py")


@pytest.mark.slow
def test_a_loss_is_checked_and_told_what_is_wrong(
    fresh_registry: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    success(capsys, "new-loss", "good_loss", "--folder", tmp_path)
    said = success(capsys, "check-loss", "good_loss", "--from", tmp_path / "good_loss.py")
    every = f"{len(CHECKS)} of {len(CHECKS)} checks passed"
    assert said.splitlines() == [
        "description: 1 of 1 checks passed",
        f"2D (heatmap): {every}",
        f"1D (simcc): {every}",
        'note: the file still has "say in one line what is compared with what", of the template',
        'note: the file still has "the formula and its source belong here", of the template',
        "good_loss: all checks passed",
    ]

    text = (tmp_path / "good_loss.py").read_text()
    path = tmp_path / "copied_loss.py"
    path.write_text(text.replace("good_loss", "copied_loss"))
    taken = "class name 'GoodLoss' of the loss 'copied_loss' is taken by"
    assert taken in failure(capsys, "check-loss", "copied_loss", "--from", path)

    path = tmp_path / "bad_loss.py"
    text = text.replace("good_loss", "bad_loss").replace("GoodLoss", "BadLoss")
    path.write_text(
        text.replace("return (weight", "return -(weight").replace('("heatmap", "simcc")', '("simcc",)')
    )
    assert main(["check-loss", "bad_loss", "--from", str(path)]) == 1
    said = capsys.readouterr().out
    assert "the value must fall as the prediction gets better" in said
    assert "2D" not in said and said.endswith("bad_loss: not yet a loss of the benchmark\n")
    assert "unknown loss 'mes'" in failure(capsys, "check-loss", "mes")


def test_the_list_of_losses_says_what_each_is(capsys: pytest.CaptureFixture[str]) -> None:
    listed = success(capsys, "list", "losses")
    assert listed in (pages.ROOT / "docs/losses.md").read_text()
    rows = {row.split("`")[1]: row for row in listed.splitlines() if row.startswith("| `")}
    reference = "Luo et al., Rethinking the Heatmap Regression, CVPR 2021, arXiv:2012.15175"
    assert rows["wahr"] == f"| `wahr` | WAHR | {reference} | 2D, 1D | `gamma=0.01` |  | `BenchmarkWAHRLoss` |"
    assert rows["rspose"].endswith(" yes | `BenchmarkRSPose` |")


def test_a_reader_that_stops_early_is_no_error(tmp_path: Path) -> None:
    write(tmp_path, record())
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "import sys; from rspose.cli import main; sys.exit(main())"]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    streams = {"stdout": writing, "stderr": subprocess.PIPE}
    ended = subprocess.run([*command, "tables", tmp_path], env=buffered, check=False, **streams)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).with_name("rspose")
    helped = subprocess.run([command, "data", "--help"], capture_output=True, text=True, check=True)
    assert "make" in helped.stdout and "check" in helped.stdout and "show" in helped.stdout


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_has_an_example_that_can_be_read(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*words.split(), "--help"])
    example = " ".join(capsys.readouterr().out.partition("example: rspose ")[2].split())
    run, *_ = COMMANDS[words]
    assert parser(GROUPS).parse_args(example.split()).run is run


@pytest.mark.parametrize("group", GROUPS)
def test_the_help_of_a_group_shows_an_example_of_each_of_its_commands(
    group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([group, "--help"])
    shown = capsys.readouterr().out
    within = [words for words in COMMANDS if words.startswith(f"{group} ")]
    assert within and all(f"rspose {words} {COMMANDS[words][1]}" in shown for words in within)
