"""The pages on losses are true: commands run, code does what it says, examples keep every promise."""

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from builders.docs import blocks, files
from builders.grid import REPOSITORY, SETTINGS
from builders.losses import install_package
from builders.processes import run
from builders.sites import make_site, run_in_site
from builders.targets import make_target, random_prediction

from rspose.grid.config import complete
from rspose.grid.fingerprints import loss_sources
from rspose.losses import available, build, load
from rspose.tools.check_loss import CHECKS, Case, description
from rspose.tools.new_loss import new_loss

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fresh_registry")]

EXAMPLES = files("add-a-loss.md")
HEADS = {
    "uncertain": ("heatmap", "simcc"),
    "expected_oks": ("heatmap", "simcc"),
    "cramer": ("simcc",),
    "mixed": ("heatmap", "simcc"),
}


def test_the_walk_through_shows_the_file_that_is_written(tmp_path: Path) -> None:
    assert blocks("add-a-loss.md", "python")[0] == new_loss("my_loss", tmp_path).read_text()


def test_the_commands_of_the_walk_through_run_in_a_fresh_copy(tmp_path: Path) -> None:
    """All of them word for word; the training of the last is only planned, on the tiny grid."""
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns(".*", "results", "tests", "__pycache__", "*.egg-info")
    shutil.copytree(REPOSITORY, copy, ignore=ignored, symlinks=True)
    (copy / "config" / "demo.yaml").write_text(yaml.safe_dump(SETTINGS))
    commands = [line for block in blocks("add-a-loss.md", "bash") for line in block.splitlines()]
    new, check, compare, part = map(shlex.split, commands)
    assert (new[1], check[1], compare, part[1]) == (
        "new-loss",
        "check-loss",
        ["make", "compare", "LOSS=my_loss"],
        "compare",
    )
    assert said(copy, new).splitlines()[0].startswith("baselines/my_loss.py written")
    assert said(copy, check).endswith("my_loss: all checks passed\n")
    # make runs the tools of .venv; what it would run is asked of it, and run with the tools of these tests.
    planned = said(copy, [*compare, "CORES=2", "--dry-run", "--old-file", ".venv/installed"])
    (line,) = [line for line in planned.splitlines() if "rspose compare" in line]
    tool, *arguments = shlex.split(line)
    assert tool == ".venv/bin/rspose"
    started = said(copy, ["rspose", *arguments, "--dry-run"])
    assert "Running: snakemake tables --configfile config/demo.yaml --cores 2 --dry-run" in started
    # Nothing is there yet: MSE and the new loss, on two heads and two datasets.
    assert re.search(r"^train +8$", started, re.MULTILINE)
    assert re.search(r"^train +6$", said(copy, [*part, "--dry-run"]), re.MULTILINE)  # three seeds of each


def said(folder: Path, command: list[str]) -> str:
    """What a command prints in an environment of its own."""
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return run("env", "-i", f"PATH={path}", f"PYTHONPATH={folder}", f"HOME={folder}", *command, folder=folder)


@pytest.fixture
def examples(tmp_path: Path) -> None:
    for name, text in EXAMPLES.items():
        (tmp_path / name).write_text(text)
        load(str(tmp_path / name))


@pytest.mark.parametrize("name", HEADS)
def test_an_example_says_what_it_is_and_which_heads_it_serves(examples: None, name: str) -> None:
    assert list(EXAMPLES) == [f"{kind}.py" for kind in HEADS]
    assert description(name) == []
    assert available()[name].heads == HEADS[name]


@pytest.mark.parametrize(("name", "head"), [(name, head) for name, heads in HEADS.items() for head in heads])
def test_an_example_keeps_every_promise(examples: None, name: str, head: str) -> None:
    for check in CHECKS.values():
        check(Case(name, head))


def test_the_example_with_learned_parameters_learns_a_number_of_each_keypoint(examples: None) -> None:
    loss, target = build("uncertain", {}, 5), make_target("simcc")
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.5)
    prediction = tuple(map_.detach() for map_ in random_prediction(target))
    prediction[0][:, 2] *= 10  # harder than the others
    for _ in range(200):
        optimizer.zero_grad()
        sum(loss(prediction, target).values()).backward()
        optimizer.step()
    variances = loss.learned()["variance"]
    assert len(variances) == 5 and max(variances) == variances[2]


def test_the_example_that_combines_depends_on_the_files_of_both(examples: None) -> None:
    assert {"mixed.py", "mse.py", "awing.py"} <= {path.name for path in loss_sources("mixed")}


def test_the_configs_of_the_walk_through_name_a_variant_and_a_loss_from_outside(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant, outside, added = (yaml.safe_load(block) for block in blocks("add-a-loss.md", "yaml"))
    (source,) = outside["losses_from"]
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / source).parent.mkdir()
    new_loss("my_loss", (work / source).parent)
    assert {cell.loss for cell in complete({**settings, **outside}).cells()} == {"mse", "my_loss"}
    config = complete({**settings, **variant})
    assert {cell.loss for cell in config.cells()} == {"mse", "my_loss", "my_loss_sharp"}
    found = config.loss_of("my_loss_sharp", "simcc")
    assert (found.title, found.parameters) == ("My loss (sharp)", {"foreground": 50.0})
    found = complete({**settings, **added}).loss_of("kl+instance-sort", "simcc")
    assert found.loss == "sum" and list(found.parameters["parts"]) == ["kl", "instance_sort"]


def test_the_entry_point_of_the_walk_through_is_one(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (table,) = blocks("add-a-loss.md", "toml")
    header, entry = table.splitlines()
    assert header == '[project.entry-points."rspose.losses"]'
    loss_file = new_loss("packaged", tmp_path).read_text()
    install_package(tmp_path, "my_package", {"losses.py": loss_file}, entry.replace('"', ""))
    monkeypatch.syspath_prepend(tmp_path)
    config = complete({**settings, "losses": ["packaged"], "losses_from": ["my_package"]})
    assert {cell.loss for cell in config.cells()} == {"packaged"}


@pytest.fixture(scope="module")
def only_torch_and_numpy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_site(tmp_path_factory.mktemp("site"), "torch", "numpy")


def test_the_example_script_trains_where_there_is_only_torch_and_numpy(only_torch_and_numpy: Path) -> None:
    (command,) = blocks("pytorch.md", "bash")
    assert command.startswith("python examples/train_with_rspose.py --steps")
    code = f"""
import importlib.util, runpy
missing = ("mmpose", "mmengine", "mmcv", "cv2", "scipy", "pandas", "snakemake", "yaml")
assert not any(importlib.util.find_spec(name) for name in missing)
runpy.run_path({str(REPOSITORY / "examples/train_with_rspose.py")!r}, run_name="__main__")
"""
    lines = run_in_site(only_torch_and_numpy, code, "--steps", "60").splitlines()
    off = [float(line.split("| ")[1].split()[0]) for line in lines]
    assert lines[0].startswith("step 0: rank ") and "instance_sort" in lines[0]
    assert off[0] > 8 and off[-1] < 2.5  # in pixels


def test_the_code_on_the_page_for_pytorch_runs_where_there_is_only_torch_and_numpy(
    only_torch_and_numpy: Path,
) -> None:
    code = "".join(blocks("pytorch.md", "python"))
    check = "assert heatmaps.shape == (B, K, H, W) and prediction.grad.abs().sum() > 0 and len(terms) == 3\n"
    run_in_site(only_torch_and_numpy, code + check + "assert vectors[0].grad.abs().sum() > 0\n")
