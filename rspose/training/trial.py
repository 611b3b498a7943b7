"""One trial of the tuning of a loss: a training, and its score on images that are held out of it."""

import math
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from rspose.datasets.annotations import read_annotations
from rspose.datasets.held_out import held_out_persons
from rspose.evaluation.evaluate import precision_on_boxes
from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig
from rspose.grid.files import write_json
from rspose.grid.job import LastingError
from rspose.grid.tuning import points, tried
from rspose.training.predict import nobody_held_out, predict_held_out
from rspose.training.train import Training


def run_trial(
    config: GridConfig,
    cell: Cell,
    number: int,
    trial: Path,
    initial_weights: Path | None = None,
    parallel: int = 1,
    terminal: TextIO = sys.stderr,
) -> None:
    """Train at a point, score, and write both; a loss that diverges there has no score, and why.

    Args:
        config: The config of the grid.
        cell: A cell of the loss; its seed does not matter.
        number: Of the trial, from 0.
        trial: Where point, score and seconds go.
        initial_weights, parallel, terminal: As for :class:`rspose.training.train.Training`.
    """
    started = time.monotonic()
    changed, own = tried(config, cell, number)
    found: dict[str, Any] = {"point": asdict(points(config, cell.loss, cell.head)[number]), "score": None}
    title = f"{' '.join(cell[:4])} trial {number}"
    weights = trial.with_suffix("") / "checkpoint.pth"
    training = Training(changed, own, weights, initial_weights, parallel, title)
    try:
        training.train(terminal)
        found["score"] = round(_score(changed, own, weights), 6)
    except LastingError as error:
        found["failed"] = str(error)
    write_json(trial, {**found, "seconds": round(time.monotonic() - started, 1)})
    for folder in (weights.parent, training.work_dir):
        shutil.rmtree(folder, ignore_errors=True)


def _score(config: GridConfig, cell: Cell, weights: Path) -> float:
    held_out, data = config.training_of(cell).held_out, config.data[cell.dataset]
    assert held_out is not None
    persons = read_annotations(cell.dataset, data.folder, "train", data.least_keypoints)
    chosen = persons.take(held_out_persons(persons, held_out.share, held_out.seed))
    score = precision_on_boxes(cell.dataset, predict_held_out(config, cell, weights), chosen)
    if math.isnan(score):
        raise nobody_held_out(cell.dataset)
    return score
