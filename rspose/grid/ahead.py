"""Predictions that a training makes at its end, while it has the model: the next job takes them over."""

from pathlib import Path

from rspose.datasets.manifest import file_digest
from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig
from rspose.grid.fingerprints import sha256_of, sha256_of_modules, sha256_of_sources


def predicted_ahead(config: GridConfig, cell: Cell, checkpoint: Path) -> tuple[Path, Path]:
    """Where a training leaves the predictions and samples of these weights, data, settings and sources."""
    data = sha256_of_sources(config.dataset_files(cell.dataset, "predict"))
    code = sha256_of_modules("rspose.training.predict")
    name = sha256_of([file_digest(checkpoint), data, config.evaluation.model_dump(), code])[:12]
    folder = config.results / "work" / cell.path / f"predicted-{name}"
    return folder / "predictions.npz", folder / "samples.npz"
