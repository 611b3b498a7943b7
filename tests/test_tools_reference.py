"""Reference results: of one clean commit, with the full config, or refused in one line."""

from pathlib import Path
from typing import Any

import pytest
from builders.records import record, write

from rspose.grid import tuning
from rspose.grid.cell import Cell
from rspose.grid.config import load_config
from rspose.grid.fingerprints import cell_settings, sha256_of
from rspose.grid.records import load_records
from rspose.tools import reference
from rspose.tools.reference import keep_reference

CLEAN = {"git_commit": "a" * 40, "clean": True}


def of_cell(config: Path, loss: str, **provenance: Any) -> dict[str, Any]:
    """The record of a cell of the grid, by its settings."""
    content = record(loss=loss, model="resnet18-w24")
    cell = Cell(**content["cell"])
    settings = {"config_sha256": sha256_of(cell_settings(tuning.tuned(load_config(config), cell), cell))}
    return record(loss=loss, model="resnet18-w24", provenance={**CLEAN, **settings, **provenance})


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of a grid of two cells, which have run, in a tree without changes."""
    config = tmp_path / "config.yaml"
    demo = Path(__file__).parents[1] / "config/demo.yaml"
    config.write_text(
        f"extends: {demo}\nname: mine\ncontrols: false\n"
        "datasets: [coco]\nheads: [heatmap]\nlosses: [mse, kl]\n"
    )
    grid = load_config(config)
    for cell in grid.cells():
        tuning.write_choice(grid, cell, [], tmp_path / tuning.folder(grid, cell) / "choice.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reference, "tree", lambda: CLEAN)
    for loss in ("mse", "kl"):
        write(tmp_path / "results/records", of_cell(config, loss))
    write(tmp_path / "results/records", record(loss="awing", model="resnet18-w24"))  # of another grid
    write(tmp_path / "results/records", record(loss="oracle", control=True))  # this one has no controls
    return config


def test_records_full_config_and_tables_are_kept(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, said = keep_reference(study)
    assert place == Path("results/reference/mine") and said.startswith("2 of 2 cells of ")
    assert len(load_records(place)) == 2
    assert "left out" not in capsys.readouterr().err
    assert (place / "tables/coco.md").is_file()
    kept, given = load_config(place / "config.yaml"), load_config(study)
    assert kept.tuning and kept.tuning.choices == place / "choices.json"
    assert all(tuning.kept(kept, cell) == tuning.read_choice(given, cell) for cell in given.cells())
    assert kept.changed(tuning=None) == given.changed(tuning=None)
    assert "extends" not in (place / "config.yaml").read_text()


def test_what_cannot_be_made_again_is_refused(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(expected: str) -> None:
        with pytest.raises(ValueError, match=expected):
            keep_reference(study)
        assert not Path("results/reference").exists()

    records = study.parent / "results/records"
    write(records, of_cell(study, "kl", git_commit="b" * 40))
    refused("expected records of one commit, found 2: make them again from one commit without changes")
    write(records, of_cell(study, "kl", clean=False))
    refused("1 of 2 records are of a tree with changes, .*kl.* first")
    write(records, of_cell(study, "kl", config_sha256="c"))
    refused("1 of 2 records are of other settings, .*kl.* first")
    monkeypatch.setattr(reference, "tree", lambda: {**CLEAN, "clean": False})
    refused(r"expected a tree without changes, found some \(git status\)")
    monkeypatch.setattr(reference, "tree", lambda: {"git_commit": None, "clean": None})
    refused("expected rspose to run from its git checkout, found an installed package")
    for file in records.rglob("*.json"):
        file.unlink()
    monkeypatch.setattr(reference, "tree", lambda: CLEAN)
    refused("results/records: expected records, found none: run the grid first")
