"""Training steps are measured with one loss beside another."""

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from rspose.cli import main
from rspose.losses.rspose import RSPose
from rspose.tools import steps
from rspose.tools.steps import Steps

pytestmark = pytest.mark.filterwarnings("ignore")

Settings = dict[str, Any]


@pytest.fixture
def config(trainable: Settings, tmp_path: Path) -> Path:
    trainable["losses"] = ["mse", "rspose"]
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(trainable))
    return path


def test_a_loss_that_takes_longer_makes_the_step_as_much_longer(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = RSPose.terms

    def slow(self: RSPose, *arguments: Any) -> dict[str, torch.Tensor]:
        time.sleep(0.3)
        return terms(self, *arguments)

    monkeypatch.setattr(RSPose, "terms", slow)
    command = f"bench steps {config} --head simcc --device cpu --rounds 2 --batch 2".split()
    assert main([*command, "--json"]) == 0
    mse, rspose = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (mse["loss"], rspose["loss"], rspose["than"]) == ("mse", "rspose", "mse")
    assert (mse["dataset"], mse["model"], mse["head"], mse["batch"]) == ("coco", "tiny", "simcc", 2)
    assert mse["times"] == mse["times_lowest"] == mse["times_highest"] == 1
    assert rspose["ms"] >= 300 and rspose["times"] > 1
    assert main([*command, "--losses", "rspose"]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| rspose "))
    assert row.split(" | ")[2:5] == ["1.000"] * 3


def test_a_step_is_compared_with_the_one_beside_it(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine was twice as slow in the second round: that is no difference between the losses."""
    measured = Steps(4, pd.DataFrame({"mse": [1.0, 2.0], "rspose": [1.5, 3.0]}), {})
    monkeypatch.setattr(steps, "measure_steps", lambda *_: measured)
    assert main(["bench", "steps", str(config), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[1])
    assert (said["times_lowest"], said["times"], said["times_highest"]) == (1.5, 1.5, 1.5)
    assert (said["ms"], said["peak_gb"]) == (2250, None)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--model", "huge", "--model: expected one of tiny, found 'huge'"),
        ("--losses", "focal", "--losses: expected some of mse, rspose, found 'focal'"),
        pytest.param(
            *("--device", "cuda", "--device cuda: torch sees no GPU"),
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU here"),
        ),
    ],
)
def test_what_is_not_there_is_named(
    config: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, expected: str
) -> None:
    assert main(["bench", "steps", str(config), option, value]) == 1
    assert capsys.readouterr().err == f"error: {expected}\n"
