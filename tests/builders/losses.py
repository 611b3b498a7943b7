"""Losses that a test registers, and packages that a test installs."""

from pathlib import Path

import pytest

from rspose.losses import available, registry

CELLS = [(name, head) for name, loss in available().items() for head in loss.heads]
every_loss_and_head = pytest.mark.parametrize(("name", "head"), CELLS, ids=[f"{n}-{h}" for n, h in CELLS])


def forget_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the registry forget, when the test ends, what is registered from now on."""
    available()
    for memory in ("_losses", "_imported", "_unusable"):
        monkeypatch.setattr(registry, memory, getattr(registry, memory).copy())


def write_loss(folder: Path, name: str, more: str = "") -> Path:
    """Write a file with a loss of that name and ``more`` code."""
    path = folder / f"{name}.py"
    path.write_text(
        f"""
from rspose.losses import PerMapLoss, register

@register
class {name.title()}(PerMapLoss):
    name = title = reference = {name!r}

    def map_loss(self, prediction, label):
        return (prediction - label).abs().mean(dim=-1)

{more}
"""
    )
    return path


def install_package(folder: Path, name: str, files: dict[str, str], entry_point: str) -> None:
    """Put a package into a folder as pip would, with an entry point of the group of losses."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    for file, text in {"__init__.py": "", **files}.items():
        (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / file).write_text(text)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[rspose.losses]\n{entry_point}\n")
