"""Losses by name: building them, their parameters, folders of loss files, and the answers to mistakes."""

import sys
from pathlib import Path

import pytest
import torch
from builders.losses import install_package
from builders.targets import make_target

from rspose.losses import (
    HeatmapLoss,
    KeypointTarget,
    Maps,
    available,
    build,
    discover,
    load,
    parameters,
    register,
    registry,
)

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


def test_published_defaults() -> None:
    assert parameters("mse") == {"reduction": "visible"}
    assert parameters("awing") == {
        "alpha": 2.1,
        "omega": 14.0,
        "epsilon": 1.0,
        "theta": 0.5,
        "map_weight": 0.0,
        "reduction": "visible",
    }
    assert parameters("rspose")["delta"] == 0.5
    assert "num_keypoints" not in parameters("fowkal")


def test_build_passes_parameters_and_the_number_of_keypoints() -> None:
    assert build("awing", {"omega": 3.0}, num_keypoints=17).omega == 3.0
    assert len(build("fowkal", {}, num_keypoints=14).factors) == 14


def test_a_file_in_a_folder_is_a_loss(fresh_registry: None, tmp_path: Path) -> None:
    (tmp_path / "mae.py").write_text(LOSS_FILE)
    (tmp_path / "_not_a_loss.py").write_text("raise RuntimeError")
    discover(tmp_path)
    discover(tmp_path)  # a second time changes nothing
    assert parameters("mae") == {"scale": 2.0}
    target = make_target("simcc")
    zeros = tuple(torch.zeros_like(label) for label in target.heatmaps)
    value = build("mae", {"scale": 3.0}, 5)(zeros, target)["mae"]
    torch.testing.assert_close(value, 3 * sum(label.mean() for label in target.heatmaps))


def test_a_file_that_cannot_be_imported_is_named(fresh_registry: None, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_this_name")
    with pytest.raises(ImportError, match=rf"loss file {broken}: cannot be imported: .*nothing_of_this_name"):
        discover(tmp_path)


def test_a_file_that_cannot_be_imported_leaves_the_others_usable(
    fresh_registry: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
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
    with pytest.raises(ImportError, match=r"other\.py: .*loss name 'mae' is taken by .*one\.py"):
        discover(tmp_path)
    assert "mae" not in available()
    with pytest.raises(ValueError, match=r"other\.py: .*loss name 'mae' is taken by .*one\.py"):
        build("mae", {}, 17)


def test_a_loss_from_outside_is_loaded_by_its_path(fresh_registry: None, tmp_path: Path) -> None:
    (tmp_path / "mae.py").write_text(LOSS_FILE)
    load(str(tmp_path / "mae.py"))
    load(str(tmp_path / "mae.py"))  # a second time changes nothing
    assert parameters("mae") == {"scale": 2.0}
    with pytest.raises(ValueError, match=r"loss file .*nowhere\.py: no such file"):
        load(str(tmp_path / "nowhere.py"))


def test_a_loss_of_an_installed_package_is_loaded_by_its_entry_point(
    fresh_registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_package(tmp_path, "their_losses", {"losses.py": LOSS_FILE}, "theirs = their_losses.losses")
    monkeypatch.syspath_prepend(tmp_path)
    load("theirs")
    assert available()["mae"].__module__ == "their_losses.losses"
    with pytest.raises(
        ValueError, match=r"'ours': .* entry point of .*rspose\.losses; installed are .*theirs"
    ):
        load("ours")


def test_an_entry_point_that_cannot_be_imported_is_named(
    fresh_registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_package(tmp_path, "torn_losses", {}, "torn = torn_losses.missing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ImportError, match=r"entry point 'torn' of rspose.losses: cannot be imported: .*Module"
    ):
        load("torn")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="nowhere: no such folder"):
        discover(tmp_path / "nowhere")


def test_a_name_can_be_taken_once(fresh_registry: None) -> None:
    class Another(available()["mse"]):  # type: ignore[misc]
        name = "mse"

    with pytest.raises(ValueError, match=r"loss name 'mse' is taken by rspose\.baselines\.mse\.MSELoss"):
        register(Another)


def test_only_losses_with_a_name_register() -> None:
    class Nameless(HeatmapLoss):
        title = "?"
        reference = "?"

    with pytest.raises(TypeError, match="loss class Nameless: class variable 'name': expected a string"):
        register(Nameless)
    with pytest.raises(TypeError, match="expected a subclass of HeatmapLoss"):
        register(torch.nn.MSELoss)  # type: ignore[type-var]

    class Spaced(Nameless):
        name = "my loss"

    with pytest.raises(TypeError, match=r"class Spaced: class variable 'name': expected letters.*'my loss'"):
        register(Spaced)


@pytest.mark.parametrize("heads", [("simcc"), (), ("heatmap", "regression"), ["simcc"]])
def test_only_losses_of_a_known_head_register(heads: object) -> None:
    class Headless(available()["mse"]):  # type: ignore[misc]
        name = "headless"

    Headless.heads = heads  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"class Headless: .*'heads': expected a tuple .*found"):
        register(Headless)


def test_an_unknown_loss_or_parameter_is_answered_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"unknown loss 'mes': expected one of awing, .*mse.*rspose"):
        build("mes", {}, 17)
    with pytest.raises(
        ValueError, match=r"awing loss: unknown parameter 'gamma': expected one of alpha, omega"
    ):
        build("awing", {"gamma": 1}, 17)
    with pytest.raises(ValueError, match=r"mse loss: unknown parameter 'beta': expected one of reduction"):
        build("mse", {"beta": 1}, 17)
    with pytest.raises(ValueError, match="unknown parameter 'num_keypoints'"):
        build("fowkal", {"num_keypoints": 3}, 17)


def test_a_loss_without_parameters_says_so(fresh_registry: None) -> None:
    class Plain(HeatmapLoss):
        name = title = reference = "plain"

        def terms(self, prediction: Maps, target: KeypointTarget) -> dict[str, torch.Tensor]:
            return {}

    register(Plain)
    with pytest.raises(ValueError, match=r"plain loss: unknown parameter 'beta': .*no parameters"):
        build("plain", {"beta": 1}, 17)
