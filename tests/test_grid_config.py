"""A config is checked, completed and turned into a grid; what is wrong with it is said in one line."""

import json
import os
from collections.abc import Callable
from copy import deepcopy
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders.grid import REPOSITORY, put
from builders.losses import forget_later, write_loss

from rspose.grid.cell import Cell
from rspose.grid.config import ConfigError, Evaluation, complete, extended, given, load_config, merged, typed
from rspose.losses import PerMapLoss, available, parameters, register

Settings = dict[str, Any]


def value(path: str, value: Any) -> Callable[[Settings], None]:
    """A change of one key, named by its path."""
    return lambda settings: put(settings, path, value)


def at(path: str, changed: Any, *named: str) -> tuple[Callable[[Settings], None], list[str]]:
    """A change of one key, which the message names, and what else the message names."""
    return value(path, changed), [f"'{path.replace('/', '.')}'", *named]


def missing(path: str) -> Callable[[Settings], None]:
    """A change that takes one key away."""
    *parents, key = path.split("/")
    return lambda settings: reduce(getitem, parents, settings).pop(key)


def message(settings: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        complete(settings)
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_the_grid_is_every_combination_in_the_order_of_the_config(settings: Settings) -> None:
    settings.update(datasets=["mpii", "coco"], losses=["rspose", "mse", "kl"], seeds=[3, 1])
    grid = complete(settings).cells()
    assert len(grid) == len(set(grid)) == 2 * 1 * 2 * 3 * 2
    assert grid[0] == Cell("mpii", "tiny", "heatmap", "rspose", 3)
    assert grid[1] == Cell("mpii", "tiny", "heatmap", "rspose", 1)
    assert grid[-1] == Cell("coco", "tiny", "simcc", "kl", 1)
    assert [cell.dataset for cell in grid] == ["mpii"] * 12 + ["coco"] * 12
    assert grid[0].path == "mpii/tiny/heatmap/rspose/seed3"


def test_a_length_multiplies_the_epochs_and_names_the_folder(settings: Settings) -> None:
    settings.update(lengths=[1, 0.5, 4], seeds=[7])
    put(settings, "training/epochs", 6)
    config = complete(settings)
    cells = [cell for cell in config.cells() if (cell.head, cell.loss) == ("simcc", "mse")][:3]
    assert [config.training_of(cell).epochs for cell in cells] == [6, 3, 24]
    assert [cell.path for cell in cells] == [
        f"{cells[0].dataset}/tiny/simcc/mse/seed7{suffix}" for suffix in ("", "-length0.5", "-length4")
    ]
    assert config.changed(lengths=[0.01]).training_of(cells[0]._replace(length=0.01)).epochs == 1


@pytest.mark.parametrize("lengths", [[], [0], [-1], [1, 1], [1, 1.1], ["long"], [1000]])
def test_a_length_that_nobody_could_train_is_refused(settings: Settings, lengths: Any) -> None:
    settings["lengths"] = lengths
    assert "'lengths" in message(settings)


def test_real_data_is_looked_for_where_the_environment_says_and_drawn_data_is_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dataset, root in (("coco", "data"), ("crowdpose", "./data/crowd"), ("wholebody", "other/data/coco")):
        settings["data"][dataset] = {"root": root}
    monkeypatch.delenv("RSPOSE_DATA", raising=False)
    here = complete(settings)
    places = [str(here.data[name].folder) for name in ("coco", "crowdpose", "wholebody", "mpii")]
    assert places == ["data", "data/crowd", "other/data/coco", "data/mpii"]
    monkeypatch.setenv("RSPOSE_DATA", "../photos")
    there = complete(settings)
    places = [str(there.data[name].folder) for name in ("coco", "crowdpose", "wholebody", "mpii")]
    assert places == ["../photos", "../photos/crowd", "other/data/coco", "data/mpii"]
    assert there == here and there.plain() == here.plain(), "a record says what anybody can run again"
    assert there.dataset_files("coco", "train") == [
        Path("../photos/annotations/person_keypoints_train2017.json")
    ]


def test_a_single_name_is_a_list_of_one(settings: Settings) -> None:
    settings.update(datasets="mpii", models="tiny", heads="simcc", losses="kl", seeds=7)
    assert complete(settings).cells() == [Cell("mpii", "tiny", "simcc", "kl", 7)]


def test_defaults_are_filled_in_at_every_depth(settings: Settings) -> None:
    settings["loss_settings"] = {"kl": {"parameters": {"beta": 2.0}}}
    settings["model_settings"]["tiny"]["initial_weights"] = {"crops": 64, "epochs": 1, "seed": 0}
    del settings["results"], settings["training"]["schedule"]
    del settings["data"]["coco"]["generate"]["image_size"]
    completed = complete(settings)
    assert completed.results == Path("results") and completed.controls is True
    assert completed.training.schedule == "step"
    assert completed.training.milestones == [0.81, 0.952]
    assert completed.evaluation == Evaluation(drawn_samples=2)
    assert completed.data["coco"].generate.image_size == [320, 240]
    assert completed.model_settings["tiny"].initial_weights.learning_rate == 0.003
    assert completed.loss_settings["kl"].learning_rate_factor == 1.0


def test_completing_leaves_the_config_alone_and_a_second_time_changes_nothing(settings: Settings) -> None:
    settings["training"].update(learning_rate=0.125, batch_size=3)
    before = deepcopy(settings)
    completed = complete(settings)
    assert settings == before
    assert (completed.training.learning_rate.value, completed.training.batch_size) == (0.125, 3)
    assert completed.model_settings["tiny"].overrides == settings["model_settings"]["tiny"]["overrides"]
    assert complete(completed.plain()) == complete(json.loads(json.dumps(completed.plain()))) == completed
    completed.training.milestones.append(0.99)  # defaults are not shared between configs
    assert complete(settings).training.milestones == [0.81, 0.952]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        # Unknown keys, at the top and further down.
        (value("loses", ["mse"]), ["unknown key 'loses'", "losses", "seeds"]),
        (value("training/epoch", 3), ["'training'", "unknown key 'epoch'", "epochs", "batch_size"]),
        (value("data/coco/path", "x"), ["'data.coco'", "unknown key 'path'", "root", "generate"]),
        (value("data/coco/generate/images", 3), ["'data.coco.generate'", "'images'", "train_images"]),
        (value("model_settings/tiny/size", 3), ["'model_settings.tiny'", "'size'", "input_size"]),
        (value("loss_settings/kl/rate", 1), ["'loss_settings.kl'", "'rate'", "learning_rate_factor"]),
        # Unknown names.
        at("losses", ["mse", "mes"], "'mes'", "awing", "mse", "rspose"),
        (value("loss_settings/mine/loss", "mes"), ["'loss_settings.mine'", "'mes'", "awing", "rspose"]),
        (value("loss_settings/mine/title", "M"), ["'loss_settings.mine'", "'mine'", "awing", "rspose"]),
        (value("datasets", ["coco", "aic"]), ["'datasets.1'", "'aic'", "coco, crowdpose, lsp, mpii"]),
        (value("data/aic/root", "x"), ["'data'", "'aic'", "coco, crowdpose, lsp, mpii"]),
        (value("heads", ["regression"]), ["'heads.0'", "'regression'", "heatmap, simcc"]),
        at("models", ["resnet50"], "'resnet50'", "tiny"),
        at("training/schedule", "linear", "'linear'", "step, cosine"),
        at("loss_settings/awing/parameters", {"gamma": 1}, "'gamma'", "alpha, omega, epsilon, theta"),
        (value("loss_settings/mse/parameters", {"gamma": 1}), ["'gamma'", "allowed: reduction"]),
        # Values of the wrong type, or out of range.
        at("training/epochs", "ten", "integer", "'ten'"),
        at("training/learning_rate", "fast", "a number, or a mapping of value and base_batch_size", "'fast'"),
        at("training/learning_rate", {"value": 0.1}, "'base_batch_size'"),
        (
            value("training/learning_rate", {"value": 0, "base_batch_size": 4}),
            ["'training.learning_rate.value'", "0"],
        ),
        at("training/devices", 0, "0"),
        at("training/learning_rate", 0, "0"),
        at("training/transforms", [1], "mapping", "[1]"),
        at("data", ["coco"], "mapping", "['coco']"),
        at("data/coco/generate/seed", -1, "-1"),
        at("data/coco/generate/image_size", [64], "[64]"),
        (value("seeds", ["zero"]), ["'seeds.0'", "integer", "'zero'"]),
        (value("seeds", [True]), ["'seeds.0'", "integer", "True"]),
        at("losses", {"mse": 1}, "list"),
        at("controls", "no", "true or false", "'no'"),
        at("name", "a b", "'a b'"),
        (value("loss_settings/awing/parameters", {"omega": "big"}), ["awing.parameters.omega'", "'big'"]),
        at("loss_settings/kl/parameters", {"beta": -1}, "beta", "-1"),
        at("loss_settings/rspose/parameters", {"level": "joint"}, "'joint'", "pose"),
        at("training/learning_rate", 1e9, "less than or equal to 100"),
        at("training/learning_rate", float("nan"), "finite", "nan"),
        at("training/epochs", 10**9, "10000000"),
        at("training/epochs", 2.0, "an integer", "2.0"),
        at("training/epochs", True, "an integer", "True"),
        at("training/epochs", "3", "an integer", "'3'"),
        at("training/learning_rate", True, "a number", "True"),
        at("seeds", 2**32, "less than 4294967296"),
        (value("model_settings/tiny/sigma/heatmap", [1, 2]), ["sigma.heatmap'", "a number", "[1, 2]"]),
        (value("model_settings/tiny/sigma/simcc", "wide"), ["sigma.simcc'", "a number, a pair", "'wide'"]),
        (value("model_settings/tiny/sigma/simcc", {"mpii": -1}), ["sigma.simcc.mpii'", "greater than 0"]),
        # Names become folders.
        at("name", "../elsewhere", "letters, digits", "'../elsewhere'"),
        (value("models", [".hidden"]), ["'models.0'", "letters, digits", "'.hidden'"]),
        (value("losses", ["a/b"]), ["'losses.0'", "letters, digits", "'a/b'"]),
        (value("loss_settings", {"-kl": {}}), ["'loss_settings.-kl'", "letters, digits", "'-kl'"]),
        # Sums of losses.
        (value("loss_settings/mine/sum", {"kl": "much"}), ["mine.sum.kl'", "a weight, or a mapping"]),
        at("loss_settings/mine/sum", {"lk": 1}, "'lk'", "awing"),
        at("loss_settings/mine/sum", {"kl": -1}, "-1"),
        at("loss_settings/mine/sum", {"kl": {"gamma": 2}}, "gamma", "beta"),
        (
            value("loss_settings/mine", {"sum": {"kl": 1}, "loss": "kl"}),
            ["'loss_settings.mine.sum'", "in place of loss and parameters"],
        ),
        # What is changed for a model is checked as what it changes.
        at("model_settings/tiny/training", {"epoch": 3}, "unknown key 'epoch'", "epochs"),
        at("model_settings/tiny/training/batch_size", 0, "0"),
        at("model_settings/tiny/dataset_training/coco/schedule", "linear", "'linear'", "flat_cosine"),
        at("model_settings/tiny/training", {"device": "cpu"}, "device is one for all models"),
        at("model_settings/tiny/sigma", {"heatmap": 2.0}, "'simcc'"),
        # Devices share a batch evenly.
        at("training/devices", 3, "a divisor of the batch size of tiny on coco, 4; found 3"),
        at("model_settings/tiny/training/devices", 8, "batch size of tiny on coco, 4; found 8"),
        at("model_settings/tiny/dataset_training/mpii/devices", 3, "batch size of tiny on mpii, 4; found 3"),
        at("model_settings/tiny/sigma/simcc", {"coco": 4.0}, "'crowdpose'"),
        at("loss_settings/kl/models", ["huge"], "'huge'", "tiny"),
        # Grids without a cell, and with one twice.
        at("losses", [], "empty"),
        at("datasets", [], "empty"),
        at("seeds", [], "empty"),
        at("losses", ["mse", "mse"], "once"),
        # What is missing.
        (missing("losses"), ["missing key 'losses'"]),
        (missing("training/epochs"), ["'training'", "missing key 'epochs'"]),
        (missing("data/mpii"), ["'data'", "'mpii'", "data.mpii.root"]),
        (missing("data/coco/root"), ["'data.coco'", "missing key 'root'"]),
        (missing("model_settings/tiny/base/simcc"), ["'model_settings.tiny.base'", "'simcc'"]),
        (missing("model_settings/tiny/input_size/mpii"), ["'model_settings.tiny.input_size'", "'mpii'"]),
    ],
    ids=lambda part: "" if callable(part) else " ".join(part[:2]),
)
def test_a_mistake_is_one_line_that_names_the_key_and_what_is_allowed(
    settings: Settings, change: Callable[[Settings], None], named: list[str]
) -> None:
    complete(settings)
    change(settings)
    text = message(settings)
    for part in named:
        assert part in text
    assert len(text) < 300


def test_only_what_the_grid_uses_has_to_be_there(settings: Settings) -> None:
    settings.update(datasets=["coco"], heads=["heatmap"])
    del settings["data"]["mpii"], settings["model_settings"]["tiny"]["base"]["simcc"]
    del settings["model_settings"]["tiny"]["input_size"]["mpii"]
    assert len(complete(settings).cells()) == 2


def test_a_model_may_lack_heads_and_datasets(settings: Settings) -> None:
    other = settings["model_settings"]["other"] = deepcopy(settings["model_settings"]["tiny"])
    settings["models"] = ["tiny", "other"]
    del other["base"]["simcc"], other["sigma"]["simcc"], other["input_size"]["mpii"]
    served = {cell[:3] for cell in complete(settings).cells()}
    assert {cell for cell in served if cell[1] == "other"} == {("coco", "other", "heatmap")}
    assert len(served) == 1 + 2 * 2
    settings["models"] = ["other"]
    assert "no mmpose config for head 'simcc'" in message(settings)


def test_a_loss_may_be_meant_for_some_models(settings: Settings) -> None:
    settings["model_settings"]["other"] = deepcopy(settings["model_settings"]["tiny"])
    settings.update(models=["tiny", "other"], losses=["mse", "kl"])
    settings["loss_settings"] = {"kl": {"models": ["other"]}}
    grid = complete(settings).cells()
    assert {cell.model for cell in grid if cell.loss == "kl"} == {"other"}
    assert {cell.model for cell in grid if cell.loss == "mse"} == {"tiny", "other"}


def test_what_is_said_closer_to_a_cell_decides_how_it_is_trained(settings: Settings) -> None:
    settings["training"].update(learning_rate=0.1, head_learning_rate={"simcc": 0.2}, epochs=10)
    settings["model_settings"]["tiny"]["training"] = {"learning_rate": 0.3, "epochs": 20}
    settings["model_settings"]["tiny"]["dataset_training"] = {
        "mpii": {"head_learning_rate": {"heatmap": 0.4}, "batch_size": 7}
    }
    settings["model_settings"]["other"] = {**settings["model_settings"]["tiny"], "training": {}}
    completed = complete(settings)

    def trained(dataset: str, model: str, head: str) -> tuple[float, int, int]:
        chosen = completed.training_of(Cell(dataset, model, head, "mse", 0))
        assert not chosen.head_learning_rate
        return chosen.scaled_learning_rate, chosen.epochs, chosen.batch_size

    assert trained("coco", "other", "heatmap") == (0.1, 10, 4)
    assert trained("coco", "other", "simcc") == (0.2, 10, 4)
    assert trained("coco", "tiny", "heatmap") == (0.3, 20, 4)
    assert trained("coco", "tiny", "simcc") == (0.3, 20, 4)
    assert trained("mpii", "tiny", "heatmap") == (0.4, 20, 7)
    assert trained("mpii", "tiny", "simcc") == (0.3, 20, 7)
    assert trained("mpii", "other", "simcc") == (0.2, 10, 7)


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_a_rate_with_its_batch_size_follows_the_batch_size_and_a_number_does_not(
    settings: Settings, head: str
) -> None:
    def rate(dataset: str = "coco") -> float:
        cell = Cell(dataset, "tiny", head, "mse", 0)
        return complete(settings).training_of(cell).scaled_learning_rate

    at_512 = {"value": 0.003, "base_batch_size": 512}
    put(settings, "training/learning_rate", at_512)
    put(settings, "training/batch_size", 512)
    assert rate() == 0.003
    put(settings, "training/batch_size", 96)
    assert rate() == pytest.approx(0.003 * 96 / 512)
    put(settings, "training/head_learning_rate", {head: 0.02})
    assert rate() == 0.02
    put(settings, "model_settings/tiny/training", {"head_learning_rate": {head: at_512}})
    assert rate() == pytest.approx(0.003 * 96 / 512)
    put(settings, "model_settings/tiny/dataset_training", {"mpii": {"batch_size": 1024}})
    assert (rate("mpii"), rate("coco")) == pytest.approx((0.006, 0.003 * 96 / 512))
    own = {"batch_size": 1024, "learning_rate": 0.5}
    put(settings, "model_settings/tiny/dataset_training", {"mpii": own})
    assert rate("mpii") == 0.5


@pytest.mark.parametrize("config", [None, [], "coco", 3])
def test_a_config_that_is_no_mapping_is_said_so(config: Any) -> None:
    assert "expected a mapping" in message(config)


def test_a_loss_that_serves_one_head_has_no_cell_on_the_other(
    settings: Settings, fresh_registry: None
) -> None:
    @register
    class OneHead(PerMapLoss):
        name, title, reference, heads = "one_head", "One head", "none", ("simcc",)

        def map_loss(self, prediction: Any, label: Any) -> Any:
            return (prediction - label).abs().mean(-1)

    settings.update(datasets=["coco"], losses=["one_head", "mse"])
    grid = complete(settings).cells()
    expected = [("heatmap", "mse"), ("simcc", "one_head"), ("simcc", "mse")]
    assert [(cell.head, cell.loss) for cell in grid] == expected
    settings.update(losses=["one_head"], heads=["heatmap"])
    text = message(settings)
    assert "empty" in text and "one_head" in text and "simcc" in text


def test_a_model_has_to_serve_the_dataset_that_losses_are_tuned_on(settings: Settings) -> None:
    settings.update(datasets=["mpii"], tuning={"trials": 2, "dataset": "coco"})
    complete(settings)
    del settings["model_settings"]["tiny"]["input_size"]["coco"]
    text = message(settings)
    assert "model_settings.tiny.input_size" in text and "'coco', which tuning.dataset names" in text


def test_initial_weights_are_trained_through_the_2d_head(settings: Settings) -> None:
    model = settings["model_settings"]["tiny"]
    model["initial_weights"] = {"crops": 64, "epochs": 1, "seed": 0}
    del model["base"]["heatmap"]
    settings["heads"] = ["simcc"]
    assert "model_settings.tiny.initial_weights': expected base.heatmap" in message(settings)


def test_a_length_is_what_its_path_says(settings: Settings) -> None:
    settings["lengths"] = [1 / 3]
    cell = complete(settings).cells()[0]
    assert cell.path.endswith(f"seed0-length{cell.length!r}")


def test_losses_from_outside_are_named_like_any_other(
    settings: Settings, fresh_registry: None, tmp_path: Path
) -> None:
    path = str(write_loss(tmp_path, "theirs"))
    settings.update(datasets=["coco"], heads=["simcc"], losses=["mse", "theirs", "theirs_too"])
    settings.update(losses_from=path, loss_settings={"theirs_too": {"loss": "theirs"}})
    assert [cell.loss for cell in complete(settings).cells()] == ["mse", "theirs", "theirs_too"]
    settings["losses_from"] = [str(tmp_path / "no.py")]
    assert "'losses_from': loss file" in message(settings) and "no.py: no such file" in message(settings)
    settings["losses_from"] = ["no_package"]
    assert "expected a path that ends in .py, or an entry point" in message(settings)


def test_a_job_knows_the_losses_from_outside_without_completing_the_config_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.update(losses=["theirs"], losses_from=[str(write_loss(tmp_path, "theirs"))])
    with monkeypatch.context() as patch:
        forget_later(patch)
        config = complete(settings)
    forget_later(monkeypatch)
    assert "theirs" not in available()
    assert config.loss_of("theirs", "heatmap").title == "theirs"


def test_a_file_that_cannot_be_imported_stops_only_the_grids_that_name_its_loss(
    settings: Settings, fresh_registry: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings["losses_from"] = [str(write_loss(tmp_path, "torn", "import nothing_of_this_name"))]
    settings["loss_settings"] = {"torn_too": {"loss": "torn"}}
    assert complete(settings).cells()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "torn.py: cannot be imported: ModuleNotFoundError" in said
    for loss in ("torn", "torn_too"):
        settings["losses"] = ["mse", loss]
        assert "torn.py: cannot be imported: ModuleNotFoundError" in message(settings)


def test_a_variant_of_a_loss_stands_beside_it(settings: Settings) -> None:
    settings["losses"] = ["awing", "awing_wide"]
    settings["loss_settings"] = {
        "awing_wide": {"loss": "awing", "title": "AWing, wide", "parameters": {"omega": 20.0}},
        "awing": {"head_learning_rate_factor": {"simcc": 0.5}},
    }
    completed = complete(settings)
    assert [cell.loss for cell in completed.cells()[:2]] == ["awing", "awing_wide"]
    variant = completed.loss_of("awing_wide", "heatmap")
    assert (variant.loss, variant.title) == ("awing", "AWing, wide")
    assert variant.parameters == {**parameters("awing"), "omega": 20.0}
    assert variant.learning_rate_factor == 1.0
    assert completed.loss_of("awing", "heatmap").title == available()["awing"].title
    assert completed.loss_of("awing", "heatmap").learning_rate_factor == 1.0
    assert completed.loss_of("awing", "simcc").learning_rate_factor == 0.5


def test_a_sum_is_said_by_the_names_of_its_parts(settings: Settings) -> None:
    settings.update(losses=["mine"])
    put(settings, "loss_settings/mine", {"sum": {"kl": 1, "instance_sort": {"delta": 0.25}}, "title": "Mine"})
    chosen = complete(settings).loss_of("mine", "heatmap")
    assert (chosen.loss, chosen.title) == ("sum", "Mine")
    parts = {"kl": {"weight": 1.0}, "instance_sort": {"weight": 1.0, "delta": 0.25}}
    assert chosen.parameters == {"parts": parts}


def test_what_yaml_takes_for_a_text_is_the_number_that_was_meant(settings: Settings) -> None:
    settings["training"]["learning_rate"] = yaml.safe_load("1e-3")
    settings["loss_settings"] = {"kl": {"parameters": {"beta": "2e0"}}}
    put(settings, "model_settings/tiny/overrides/optim_wrapper", {"clip_grad": {"max_norm": "1e2"}})
    completed = complete(settings)
    assert completed.training.learning_rate.value == 0.001
    assert completed.loss_settings["kl"].parameters == {"beta": 2.0}
    overrides = completed.model_settings["tiny"].overrides
    assert overrides["optim_wrapper"] == {"clip_grad": {"max_norm": 100.0}}


@pytest.mark.parametrize("path", sorted((REPOSITORY / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_the_configs_of_the_repository_are_valid_and_name_data_where_they_are_run(path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem
    assert config.cells()
    for entry in config.data.values():
        assert entry.root.parts[0] == ("results" if entry.generate else "data")


def test_the_default_grid_is_three_datasets_two_heads_and_six_losses() -> None:
    grid = load_config(REPOSITORY / "config" / "demo.yaml").cells()
    assert len(grid) == 36
    assert {cell.dataset for cell in grid} == {"coco", "crowdpose", "mpii"}
    assert {cell.loss for cell in grid} == {"mse", "kl", "awing", "fowkal", "dm", "rspose"}


def test_lengths_are_those_of_what_is_trained(settings: Settings) -> None:
    settings["lengths"] = [1, 2.5]
    put(settings, "model_settings/tiny/dataset_training/lsp/epochs", 1)
    assert complete(settings).lengths == [1, 2.5]


def test_what_a_config_names_lies_beside_it_whatever_is_laid_over_it(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "base.yaml").write_text(
            f"name: {folder}\ntuning: {{choices: of.json, trials: 2}}\n"
        )
    (tmp_path / "a/grid.yaml").write_text("extends: base.yaml\nlosses: [mse, kl]\n")
    (tmp_path / "b/mine.yaml").write_text("losses: [kl]\nseeds: [1]\n")
    files = [tmp_path / "a/grid.yaml", tmp_path / "b/mine.yaml"]
    said = merged(files, {"seeds": [2], "tuning": {"trials": 3}})
    choices = os.path.relpath(tmp_path / "a/of.json")
    assert said == {"name": "a", "losses": ["kl"], "seeds": [2], "tuning": {"choices": choices, "trials": 3}}
    for wrong in ((files[::-1], {}), (files, {"extends": "base.yaml"})):
        with pytest.raises(ConfigError, match=r"'extends': expected in the first of several configs alone"):
            merged(*wrong)


def test_a_config_is_laid_over_the_one_it_extends(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.yaml").write_text("a: {b: 1, c: [1, 2], d: {e: 3, f: 4}}\ng: 5\n")
    (tmp_path / "deep" / "middle.yaml").write_text("extends: ../base.yaml\na: {d: {e: null}, h: 6}\n")
    change = {"extends": "deep/middle.yaml", "a": {"c": [7]}, "g": None, "i": {"j": None}}
    merged = {"a": {"b": 1, "c": [7], "d": {"f": 4}, "h": 6}, "i": {"j": None}}
    assert extended(change, tmp_path) == merged
    assert extended({"a": None}, tmp_path) == {"a": None}, "without a base nothing is touched"


def test_choices_lie_beside_the_config_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/base.yaml").write_text("tuning: {trials: 4, choices: choices.json}\n")
    monkeypatch.chdir(tmp_path)
    change = {"extends": "deep/base.yaml", "a": 1}
    assert extended(change, tmp_path)["tuning"] == {"trials": 4, "choices": "deep/choices.json"}
    monkeypatch.chdir(tmp_path / "deep")
    assert extended(change, tmp_path)["tuning"]["choices"] == "choices.json"


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("two.yaml", "'extends': files extend each other: two.yaml -> one.yaml -> two.yaml"),
        ("nowhere.yaml", "'extends': expected a config file; found none at "),
        ("broken.yaml", "broken.yaml: not valid YAML"),
        ("latin.yaml", "latin.yaml: expected UTF-8, found byte 0xe9 in line 2"),
        ("empty.yaml", "empty.yaml: expected a mapping of keys, found nothing"),
        ("list.yaml", "list.yaml: expected a mapping of keys, found a list"),
        ([1], "'extends': expected the name of a config file; found [1]"),
    ],
)
def test_what_cannot_be_read_or_extended_is_one_line(tmp_path: Path, base: Any, said: str) -> None:
    (tmp_path / "one.yaml").write_text("extends: two.yaml\n")
    (tmp_path / "two.yaml").write_text("extends: one.yaml\n")
    (tmp_path / "broken.yaml").write_text("losses: [mse\nseeds: 3")
    (tmp_path / "latin.yaml").write_bytes("seeds: [0]\nname: caf\xe9".encode("latin-1"))
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "list.yaml").write_text("- mse\n")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"extends": base}))
    with pytest.raises(ConfigError) as raised:
        load_config(tmp_path / "config.yaml")
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_numbers_within_the_lists_and_mappings_of_a_command_line_are_numbers() -> None:
    read_by_snakemake = {
        "seeds": ["0", "1"],
        "records": ["a/b", "2026-01-01", "a: b: c", ""],
        "training": {"learning_rate": "0.5", "cache_images": "false", "head_learning_rate": "null"},
        "name": "3",
    }
    assert typed(read_by_snakemake) == {
        "seeds": [0, 1],
        "records": ["a/b", "2026-01-01", "a: b: c", ""],
        "training": {"learning_rate": 0.5, "cache_images": False, "head_learning_rate": None},
        "name": "3",
    }


def test_what_a_grid_was_given_is_told_from_the_repository(tmp_path: Path) -> None:
    repository, elsewhere = tmp_path / "repository", tmp_path / "elsewhere"
    files = [repository / "config" / "demo.yaml", elsewhere / "mine.yaml"]
    changes = {
        "losses": ["mse"],
        "seeds": 0,
        "losses_from": ["my loss.py"],
        "results": "out",
        "controls": False,
    }
    assert given(files, changes, repository, repository) == {
        "files": ["config/demo.yaml", str(elsewhere / "mine.yaml")],
        "directory": None,
        "changes": ['losses_from=["my loss.py"]', "results=out", "controls=False"],
    }
    assert given(files, {}, repository, elsewhere)["directory"] == str(elsewhere)
