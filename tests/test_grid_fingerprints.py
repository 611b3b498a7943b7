"""The fingerprint of a cell: it changes when, and only when, the cell has to be trained again."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from builders.grid import put
from builders.losses import install_package, write_loss

import rspose
from rspose.grid import fingerprints as fingerprints_module
from rspose.grid import fingerprints as sources
from rspose.grid.cell import Cell
from rspose.grid.config import complete
from rspose.grid.fingerprints import (
    cell_settings,
    initial_weights_dataset,
    initial_weights_fingerprint,
    loss_sources,
    sha256_of,
    training_fingerprint,
)
from rspose.losses import load

pytestmark = pytest.mark.slow

Settings = dict[str, Any]


def edit(path: Path) -> None:
    path.write_text(path.read_text() + "\n# Edited.\n")


@pytest.fixture
def grid_settings(settings: Settings) -> Settings:
    settings.update(
        datasets=["coco", "crowdpose", "mpii"], losses=["mse", "awing", "awing_wide", "rspose"], seeds=[0, 1]
    )
    settings["loss_settings"] = {"awing_wide": {"loss": "awing", "parameters": {"omega": 20.0}}}
    settings["model_settings"]["other"] = {**settings["model_settings"]["tiny"]}
    settings["models"] = ["tiny", "other"]
    return settings


def fingerprints(settings: Settings) -> dict[Cell, str]:
    config = complete(settings)
    return {cell: training_fingerprint(config, cell) for cell in config.cells()}


def touched(before: dict[Cell, str], after: dict[Cell, str]) -> set[Cell]:
    assert before.keys() == after.keys()
    return {cell for cell in before if before[cell] != after[cell]}


def test_every_cell_has_a_fingerprint_of_its_own_whatever_the_order_of_the_keys(
    grid_settings: Settings,
) -> None:
    prints = fingerprints(grid_settings)
    assert len(set(prints.values())) == len(prints) == 3 * 2 * 2 * 4 * 2
    assert fingerprints({key: grid_settings[key] for key in reversed(grid_settings)}) == prints


SMALLER_CROPS = {"coco": [32, 64], "crowdpose": [64, 96], "mpii": [64, 64]}
WIDER_LABELS = {"heatmap": 1.5, "simcc": {"coco": 5.0, "crowdpose": 4.0, "mpii": 4.0, "wholebody": 4.0}}
LESS_BLUR = {"heatmap": {"codec": {"blur_kernel_size": 5}}}
OF_TINY, OF_RSPOSE = "model_settings/tiny", "loss_settings/rspose"


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("training/learning_rate", 0.002, {}),
        ("training/epochs", 3, {}),
        ("training/batch_size", 8, {}),
        ("training/devices", 2, {}),
        ("training/seeds_vary", ["order"], {}),
        (f"{OF_TINY}/training", {"seeds_vary": ["training_sample"]}, {"model": "tiny"}),
        ("training/learning_rate", {"value": 0.001, "base_batch_size": 8}, {}),
        ("training/transforms", {"RandomFlip": {"prob": 0.0}}, {}),
        ("training/head_learning_rate", {"simcc": 0.002}, {"head": "simcc"}),
        (OF_RSPOSE, {"learning_rate_factor": 0.5}, {"loss": "rspose"}),
        (OF_RSPOSE, {"parameters": {"delta": 0.25}}, {"loss": "rspose"}),
        (OF_RSPOSE, {"head_learning_rate_factor": {"simcc": 0.5}}, {"loss": "rspose", "head": "simcc"}),
        # Not its variant, which has parameters of its own.
        ("loss_settings/awing", {"parameters": {"omega": 7.0}}, {"loss": "awing"}),
        ("data/coco/generate/seed", 9, {"dataset": "coco"}),
        ("data/mpii/generate/train_images", 13, {"dataset": "mpii"}),
        (f"{OF_TINY}/input_size", SMALLER_CROPS, {"model": "tiny", "dataset": "coco"}),
        (f"{OF_TINY}/sigma", {"heatmap": 2.0, "simcc": 4.0}, {"model": "tiny", "head": "heatmap"}),
        (f"{OF_TINY}/sigma", WIDER_LABELS, {"model": "tiny", "head": "simcc", "dataset": "coco"}),
        (f"{OF_TINY}/head_overrides", LESS_BLUR, {"model": "tiny", "head": "heatmap"}),
        (f"{OF_TINY}/training", {"epochs": 3}, {"model": "tiny"}),
        (f"{OF_TINY}/dataset_training/mpii/learning_rate", 0.002, {"model": "tiny", "dataset": "mpii"}),
        (f"{OF_TINY}/pretrained", "weights.pth", {"model": "tiny"}),
        ("model_settings/other/initial_weights", {"crops": 64, "epochs": 1, "seed": 0}, {"model": "other"}),
    ],
)
def test_a_change_touches_the_cells_it_means_and_no_other(
    grid_settings: Settings, key: str, value: Any, meant: Settings
) -> None:
    before = fingerprints(grid_settings)
    put(grid_settings, key, value)
    expected = {cell for cell in before if meant.items() <= cell._asdict().items()}
    assert touched(before, fingerprints(grid_settings)) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("results", "elsewhere"),
        ("name", "another"),
        (OF_RSPOSE, {"title": "RSPose, renamed", "reading": "another"}),
        ("controls", False),
        ("data/coco/root", "elsewhere/coco"),
        ("training/workers", 2),
        ("training/cache_images", True),
        ("training/device", "cpu"),
        ("training/devices", 1),
        ("training/learning_rate", {"value": 0.001, "base_batch_size": 4}),  # what it is already
        ("pretrained_folder", "elsewhere"),
        ("training/seeds_vary", ["order", "augmentation", "initial_weights"]),  # the default
        ("model_settings/tiny/training", {"workers": 2, "epochs": 2}),  # what they are already, or no matter
        ("evaluation/flip_test", False),
        ("loss_settings/rspose", {"parameters": {"delta": 0.5}}),  # its default
        ("loss_settings/kl", {"parameters": {"beta": 2.0}}),  # not in the grid
        ("data/coco/generate/image_size", [160, 120]),  # what it is already
    ],
)
def test_what_decides_no_weight_touches_no_cell(grid_settings: Settings, key: str, value: Any) -> None:
    before = fingerprints(grid_settings)
    put(grid_settings, key, value)
    assert fingerprints(grid_settings) == before


def test_initial_weights_are_those_of_the_model_whatever_the_grid_leaves_out(grid_settings: Settings) -> None:
    put(grid_settings, "model_settings/tiny/initial_weights", {"crops": 64, "epochs": 1, "seed": 0})
    config = complete(grid_settings)
    assert len(config.datasets) > 1
    for dataset in config.datasets:
        fewer = config.changed(datasets=[dataset])
        assert initial_weights_dataset(fewer, "tiny") == initial_weights_dataset(config, "tiny")
        assert initial_weights_fingerprint(fewer, "tiny") == initial_weights_fingerprint(config, "tiny")


def test_initial_weights_stay_where_labels_or_the_1d_head_change(grid_settings: Settings) -> None:
    put(grid_settings, "model_settings/tiny/initial_weights", {"crops": 64, "epochs": 1, "seed": 0})
    before = initial_weights_fingerprint(complete(grid_settings), "tiny")
    put(grid_settings, f"{OF_TINY}/sigma", WIDER_LABELS)
    put(grid_settings, f"{OF_TINY}/head_overrides/simcc", {"deconv_out_channels": None})
    put(grid_settings, f"{OF_TINY}/training", {"epochs": 3})
    assert initial_weights_fingerprint(complete(grid_settings), "tiny") == before
    put(grid_settings, f"{OF_TINY}/overrides/model/backbone/depth", 34)
    assert initial_weights_fingerprint(complete(grid_settings), "tiny") != before


def test_initial_weights_are_trained_again_where_the_figures_change(
    grid_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(grid_settings, "model_settings/tiny/initial_weights", {"crops": 64, "epochs": 1, "seed": 0})
    config = complete(grid_settings)
    before = initial_weights_fingerprint(config, "tiny")
    monkeypatch.setattr(fingerprints_module, "dataset_settings", lambda name: f"another {name}")
    assert initial_weights_fingerprint(config, "tiny") != before


def test_more_cells_leave_the_others_as_they_are(grid_settings: Settings) -> None:
    before = fingerprints(grid_settings)
    grid_settings["losses"].append("kl")
    grid_settings["seeds"].append(2)
    after = fingerprints(grid_settings)
    assert before.items() < after.items()


def test_the_folder_of_real_data_is_part_of_the_fingerprint(grid_settings: Settings) -> None:
    for entry in grid_settings["data"].values():
        del entry["generate"]
    before = fingerprints(grid_settings)
    grid_settings["data"]["coco"]["root"] = "another/coco"
    assert touched(before, fingerprints(grid_settings)) == {cell for cell in before if cell.dataset == "coco"}


def test_an_edited_loss_file_touches_its_loss_its_variants_and_the_sums_it_is_a_part_of(
    grid_settings: Settings, fresh_registry: None, tmp_path: Path
) -> None:
    first, second = (write_loss(tmp_path, name) for name in ("first", "second"))
    for path in (first, second):
        load(str(path))
    parts = {"parts": {"first": 1, "instance_sort": 0.5}}
    grid_settings["losses"] = ["first", "second", "mse", "first_slow", "first_sum", "rspose"]
    grid_settings["loss_settings"] = {
        "first_slow": {"loss": "first", "learning_rate_factor": 0.1},
        "first_sum": {"loss": "sum", "parameters": parts},
    }
    before = fingerprints(grid_settings)
    edit(first)
    after = fingerprints(grid_settings)
    assert touched(before, after) == {cell for cell in before if cell.loss.startswith("first")}


def test_an_edit_of_a_loss_from_outside_touches_its_cells_only(
    grid_settings: Settings, fresh_registry: None, tmp_path: Path
) -> None:
    path = write_loss(tmp_path, "theirs")
    before_it = fingerprints(grid_settings)
    grid_settings["losses_from"] = [str(path)]
    grid_settings["losses"] = [*grid_settings["losses"], "theirs"]
    before = fingerprints(grid_settings)
    assert {cell: before[cell] for cell in before_it} == before_it  # nobody trains again for its sake
    edit(path)
    assert touched(before, fingerprints(grid_settings)) == {cell for cell in before if cell.loss == "theirs"}


def test_an_edit_anywhere_in_the_package_of_a_loss_touches_its_cells(
    grid_settings: Settings, fresh_registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss_file = "from packed_losses import sizes\n" + write_loss(tmp_path, "packed").read_text()
    files = {"losses/first.py": loss_file, "losses/__init__.py": "", "sizes.py": "WIDTH = 3\n"}
    install_package(tmp_path, "packed_losses", files, "packed = packed_losses.losses.first")
    monkeypatch.syspath_prepend(tmp_path)
    grid_settings.update(losses_from=["packed"], losses=["mse", "packed"])
    grid_settings["loss_settings"] = {}
    before = fingerprints(grid_settings)
    assert {path.name for path in loss_sources("packed")} >= {"first.py", "sizes.py", "interface.py"}
    edit(tmp_path / "packed_losses/sizes.py")
    assert touched(before, fingerprints(grid_settings)) == {cell for cell in before if cell.loss == "packed"}


def test_a_loss_depends_on_its_own_file_and_what_it_takes_from_the_project() -> None:
    def names(loss: str) -> set[str]:
        return {f"{path.parent.name}/{path.name}" for path in loss_sources(loss)}

    assert {"baselines/mse.py", "losses/interface.py"} <= names("mse")
    assert {"losses/rspose.py", "rank_sort/operator.py", "losses/instance_sort.py"} <= names("rspose")
    assert {"baselines/dm.py"} <= names("dm")
    assert not {"rank_sort/operator.py", "losses/rspose.py", "baselines/kl.py"} & names("mse")
    assert not {name for name in names("rspose") if name.startswith("baselines/")}


@pytest.mark.parametrize(
    "file",
    [
        "training/heads",
        "training/transforms",
        "training/compose",
        "training/pretrained",
        "datasets/interface",
    ],
)
def test_an_edit_of_what_every_training_uses_touches_every_cell(
    grid_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str
) -> None:
    shutil.copytree(Path(rspose.__file__).parent, tmp_path / "copy" / "rspose")
    monkeypatch.setattr(sources, "_ROOT", tmp_path / "copy")
    before = fingerprints(grid_settings)
    edit(tmp_path / "copy" / "rspose" / f"{file}.py")
    assert touched(before, fingerprints(grid_settings)) == set(before)


def test_a_step_depends_on_what_it_imports_from_other_rooms_and_on_no_other() -> None:
    rooms = {path.parent.name for path in sources.sources("rspose.training.train")}
    assert {"training", "grid", "datasets", "losses"} <= rooms
    assert not {"evaluation", "reporting", "tools"} & rooms
    files = {path.name for path in sources.sources("rspose.evaluation.evaluate")}
    assert {"evaluate.py", "coco.py", "interface.py", "annotations.py"} <= files


def test_hashes_do_not_depend_on_the_order_of_keys_but_on_their_values() -> None:
    assert sha256_of({"a": 1, "b": [1, 2]}) == sha256_of({"b": [1, 2], "a": 1})
    assert sha256_of({"a": 1}) != sha256_of({"a": 2})
    assert sha256_of([1, 2]) != sha256_of([2, 1])


def test_settings_without_a_choice_of_what_seeds_vary_are_those_of_before_there_was_one(
    grid_settings: Settings,
) -> None:
    config = complete(grid_settings)
    assert "seeds_vary" not in cell_settings(config, config.cells()[0])["training"]


def test_the_order_in_which_sources_are_named_is_of_no_matter(grid_settings: Settings) -> None:
    put(grid_settings, "training/seeds_vary", ["order", "training_sample"])
    before = fingerprints(grid_settings)
    put(grid_settings, "training/seeds_vary", ["training_sample", "order"])
    assert fingerprints(grid_settings) == before
