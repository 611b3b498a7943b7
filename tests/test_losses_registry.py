"""Losses by name: building them, their parameters, loss files, and the answers to mistakes."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.losses import install_package
from builders.targets import make_target

from rspose.losses import HeatmapLoss, available, build, load, parameters, register, registry

LOSS_FILE = """
from rspose.losses import PerMapLoss, register


@register
class MAELoss(PerMapLoss):
    name = "mae"
    title = "MAE"
    reference = "none"

    def __init__(self, scale: float = 2.0) -> None:
        super().__init__()
        self.scale = scale

    def map_loss(self, prediction, label):
        return self.scale * (prediction - label).abs().mean(dim=-1)
"""


def test_reconstructions_are_marked() -> None:
    losses = ("mse", "kl", "awing", "fowkal", "dm", "rspose")
    assert {name for name in losses if available()[name].reconstruction} == {"fowkal", "dm", "rspose"}


def test_build_passes_parameters_and_the_number_of_keypoints() -> None:
    assert build("awing", {"omega": 3.0}, num_keypoints=17).omega == 3.0
    assert len(build("fowkal", {}, num_keypoints=14).factors) == 14


def test_a_loss_from_outside_is_loaded_by_its_path(fresh_registry: None, tmp_path: Path) -> None:
    path = tmp_path / "mae.py"
    path.write_text(LOSS_FILE)
    load(str(path))
    load(str(path))  # a second time changes nothing
    assert parameters("mae") == {"scale": 2.0}
    target = make_target("simcc")
    zeros = tuple(torch.zeros_like(label) for label in target.heatmaps)
    value = build("mae", {"scale": 3.0}, 5)(zeros, target)["mae"]
    torch.testing.assert_close(value, 3 * sum(label.mean() for label in target.heatmaps))
    with pytest.raises(ValueError, match=r"loss file .*nowhere\.py: no such file"):
        load(str(tmp_path / "nowhere.py"))


@pytest.mark.parametrize(
    ("code", "said"),
    [("import nothing_of_this_name", "nothing_of_this"), ("import sys; sys.exit(0)", "SystemExit: 0")],
)
def test_a_file_that_cannot_be_imported_is_named(
    fresh_registry: None, tmp_path: Path, code: str, said: str
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(code)
    for _ in range(2):
        with pytest.raises(ImportError, match=rf"loss file {broken}: cannot be imported: .*{said}"):
            load(str(broken))


def test_a_file_whose_loss_is_not_registered_is_told_so(fresh_registry: None, tmp_path: Path) -> None:
    path = tmp_path / "mae.py"
    path.write_text(LOSS_FILE.replace("@register\n", ""))
    with pytest.raises(
        ImportError, match=r"mae\.py: .*class MAELoss is not registered: write @register above"
    ):
        load(str(path))


def test_every_file_of_the_folder_is_a_loss_but_for_those_that_cannot_be_imported(
    fresh_registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "_not_a_loss.py").write_text("raise RuntimeError")
    (tmp_path / "broken.py").write_text(LOSS_FILE.replace("mae", "half") + "\n1 / 0")
    (tmp_path / "mae.py").write_text(LOSS_FILE)
    monkeypatch.setattr(registry, "baselines_folder", lambda: tmp_path)
    monkeypatch.setattr("rspose.baselines.__path__", [str(tmp_path)])
    losses = available()
    assert "mae" in losses and "mse" in losses
    assert not {"half", "broken"} & set(losses)  # registered before the file failed
    available()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "broken.py: cannot be imported: ZeroDivisionError" in said
    for name in ("half", "broken"):
        with pytest.raises(ValueError, match=r"loss file .*broken\.py: cannot be imported: ZeroDivision"):
            build(name, {}, 17)
    for module in ("rspose.baselines.mae", "rspose.baselines.broken"):
        sys.modules.pop(module, None)


def test_a_name_that_two_files_give_their_loss_is_neither_of_them(
    fresh_registry: None, tmp_path: Path
) -> None:
    (tmp_path / "one.py").write_text(LOSS_FILE)
    (tmp_path / "other.py").write_text(LOSS_FILE)
    load(str(tmp_path / "one.py"))
    both = r"other\.py: .*loss name 'mae' is taken by .*one\.py"
    with pytest.raises(ImportError, match=both):
        load(str(tmp_path / "other.py"))
    assert "mae" not in available()
    with pytest.raises(ValueError, match=both):
        build("mae", {}, 17)


def test_a_loss_of_an_installed_package_is_loaded_by_its_entry_point(
    fresh_registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_package(tmp_path, "their_losses", {"losses.py": LOSS_FILE}, "theirs = their_losses.losses")
    install_package(tmp_path, "torn_losses", {}, "torn = torn_losses.missing")
    monkeypatch.syspath_prepend(tmp_path)
    load("theirs")
    assert available()["mae"].__module__ == "their_losses.losses"
    with pytest.raises(ValueError, match=r"'ours': .* entry point of .*rspose\.losses; installed .*theirs"):
        load("ours")
    with pytest.raises(ImportError, match=r"entry point 'torn' of rspose.losses: cannot be .*: .*Module"):
        load("torn")


def test_a_name_can_be_taken_once(fresh_registry: None) -> None:
    class Another(available()["mse"]):  # type: ignore[misc]
        name = "mse"

    with pytest.raises(ValueError, match=r"loss name 'mse' is taken by rspose\.baselines\.mse\.MSELoss"):
        register(Another)


def test_a_class_can_be_named_once_for_mmpose_knows_losses_by_their_classes(fresh_registry: None) -> None:
    again = type("MSELoss", (available()["mse"],), {"name": "squared"})
    with pytest.raises(
        ValueError, match=r"class name 'MSELoss' of the loss 'squared' is taken by .*loss 'mse'"
    ):
        register(again)
    assert "squared" not in available()
    assert available()["mse"].__module__ == "rspose.baselines.mse"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"name": None}, "class variable 'name': expected a string, found none"),
        ({"name": "my loss"}, "class variable 'name': expected letters.*'my loss'"),
        *(
            ({"heads": heads}, "'heads': expected a tuple .*found")
            for heads in ("simcc", (), ("x",), ["simcc"])
        ),
    ],
)
def test_only_losses_with_a_name_and_known_heads_register(variables: dict[str, Any], message: str) -> None:
    wrong = type("Wrong", (available()["mse"],), {"name": "wrong", **variables})
    with pytest.raises(TypeError, match=f"loss class Wrong: .*{message}"):
        register(wrong)


def test_only_losses_register() -> None:
    with pytest.raises(TypeError, match="expected a subclass of HeatmapLoss"):
        register(torch.nn.MSELoss)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("mes", {}, r"unknown loss 'mes': expected one of awing, .*mse.*rspose"),
        ("awing", {"gamma": 1}, r"awing loss: unknown parameter 'gamma': expected one of alpha, omega"),
        ("mse", {"beta": 1}, r"mse loss: unknown parameter 'beta': expected one of reduction"),
        ("fowkal", {"num_keypoints": 3}, "unknown parameter 'num_keypoints'"),
        ("plain", {"beta": 1}, r"plain loss: unknown parameter 'beta': .*no parameters"),
    ],
)
def test_an_unknown_loss_or_parameter_is_answered_with_what_there_is(
    fresh_registry: None, name: str, given: dict[str, Any], message: str
) -> None:
    plain = {"name": "plain", "title": "Plain", "reference": "none", "terms": lambda self, maps, target: {}}
    register(type("Plain", (HeatmapLoss,), plain))
    with pytest.raises(ValueError, match=message):
        build(name, given, 17)
