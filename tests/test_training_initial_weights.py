"""The weights that every cell of a model starts from."""

import io
import shutil
from pathlib import Path

import pytest
from builders.grid import put
from builders.training import Settings

from rspose.grid.config import complete
from rspose.training.initial_weights import train_initial_weights
from rspose.training.weights import sha256_of_weights


class _Stopped(io.StringIO):
    """A terminal whose first line comes as the process is killed."""

    def write(self, text: str) -> int:
        raise KeyboardInterrupt(text)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_initial_weights_that_were_stopped_go_on_to_the_same_bits(settings: Settings, tmp_path: Path) -> None:
    put(settings, "model_settings/tiny/initial_weights", {"crops": 32, "epochs": 51, "seed": 0})
    config = complete(settings)
    stopped, whole = tmp_path / "stopped.pth", tmp_path / "whole.pth"
    with pytest.raises(KeyboardInterrupt, match="step 100/102"):
        train_initial_weights(config, "tiny", stopped, _Stopped())
    other = tmp_path / "other.pth"
    shutil.copy(stopped.with_suffix(".unfinished.pth"), other.with_suffix(".unfinished.pth"))

    said = io.StringIO()
    train_initial_weights(config, "tiny", stopped, said)
    assert [line.split("step ")[1].split(",")[0] for line in said.getvalue().splitlines()] == ["102/102"]
    train_initial_weights(config, "tiny", whole, io.StringIO())
    assert sha256_of_weights(stopped) == sha256_of_weights(whole)

    # What was stopped under other settings is of no use.
    put(settings, "model_settings/tiny/initial_weights/epochs", 1)
    train_initial_weights(complete(settings), "tiny", other, said := io.StringIO())
    assert "step 2/2" in said.getvalue()
    assert sorted(tmp_path.iterdir()) == [other, stopped, whole]
