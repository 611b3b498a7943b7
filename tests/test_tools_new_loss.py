"""A new loss from the template: it runs as it is written, and a name that cannot be used is said so."""

import shlex
import sys
from pathlib import Path

import pytest
import torch
from builders.grid import REPOSITORY
from builders.processes import run
from builders.targets import make_target

from rspose.losses import build, load, unusable
from rspose.tools.check_loss import described
from rspose.tools.new_loss import new_loss, what_to_do

pytestmark = pytest.mark.usefixtures("fresh_registry")


def test_the_file_goes_to_the_baselines_of_a_clone_and_elsewhere_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert new_loss("mine") == tmp_path / "mine.py"
    (tmp_path / "baselines").mkdir()
    assert new_loss("other").parent == tmp_path, "a folder of that name alone is no clone"
    (tmp_path / "rspose/losses").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "rspose")
    assert new_loss("third") == tmp_path / "baselines/third.py"


def test_outside_a_clone_the_command_that_compares_says_that_it_needs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = new_loss("mine")
    command = f"  rspose compare mine --from {path}"
    assert what_to_do(path).splitlines()[1:] == [
        "  rspose check-loss mine --from mine.py",
        f"{command}   (in a clone of the project)",
    ]
    monkeypatch.chdir(REPOSITORY)
    assert what_to_do(path).splitlines()[2] == command


def test_the_commands_that_are_printed_name_a_file_in_a_folder_with_a_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "my losses").mkdir()
    path = new_loss("mine", tmp_path / "my losses")
    for line in what_to_do(path).splitlines()[1:]:
        assert shlex.split(line)[-2:] == ["--from", str(path)]


def test_sentences_of_the_template_that_are_left_are_noted(tmp_path: Path) -> None:
    load(str(new_loss("mine", tmp_path)))
    notes = [line for line in described("mine", []).splitlines() if line.startswith("note: ")]
    assert ["compared with what" in notes[0], "its source belong here" in notes[1]] == [True, True]
    assert described("mse", []) == "mse: all checks passed"


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_the_new_loss_is_the_weighted_squared_error_it_says_it_is(tmp_path: Path, head: str) -> None:
    load(str(new_loss("fresh", tmp_path)))
    target = make_target(head)
    labels = target.heatmaps if isinstance(target.heatmaps, tuple) else (target.heatmaps,)
    zeros = tuple(torch.zeros_like(label) for label in labels)
    found = build("fresh", {"foreground": 4.0}, 5)(zeros if head == "simcc" else zeros[0], target)["fresh"]
    torch.testing.assert_close(found, sum(((1 + 4 * y) * y**2).mean() for y in labels))


def test_the_written_file_passes_the_linters_of_the_project(tmp_path: Path) -> None:
    path = new_loss("my_loss", tmp_path)
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check"], ["format", "--check"]):
        run(ruff, *command, "--config", REPOSITORY / "pyproject.toml", path)


NO_NAMES = ["", "3d", "my-loss", "my loss", "class", "_mine", "perte_é", "../mine"]
TAKEN, MODULES = ["mse", "fwahr", "rspose"], ["torch", "json", "numpy", "rspose_losses_test"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *((name, r"loss name: expected letters, digits and underscores.*found") for name in NO_NAMES),
        *((name, rf"loss name '{name}' is taken by .*\.\w+") for name in TAKEN),
        *((name, f"loss name '{name}' shadows the Python module of that name") for name in MODULES),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(
    tmp_path: Path, name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rspose_losses_test.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=said):
        new_loss(name, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = new_loss("mine", tmp_path)
    path.write_text("my work")
    with pytest.raises(FileExistsError, match=r"mine\.py"):
        new_loss("mine", tmp_path)
    assert path.read_text() == "my work"
    with pytest.raises(NotADirectoryError, match="nowhere: no such folder"):
        new_loss("mine", tmp_path / "nowhere")


def test_the_name_of_a_file_that_cannot_be_imported_is_taken(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(ImportError):
        load(str(tmp_path / "broken.py"))
    assert "ZeroDivisionError" in unusable()["broken"]
    with pytest.raises(ValueError, match=r"loss name 'broken' is taken: .*ZeroDivisionError"):
        new_loss("broken", tmp_path)
