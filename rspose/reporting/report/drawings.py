"""Drawn predictions for the report: each person's crop once, and over it what every cell predicted."""

import hashlib
import sys
from typing import Any

from rspose.datasets import DATASETS
from rspose.grid.record import Record
from rspose.reporting.figures import Entry, Samples, image_address, predictions, read_samples, truths
from rspose.reporting.results import Results

PEOPLE = 4
"""Drawn of each cell: the first so many of those that it saved."""


def drawings(results: Results) -> tuple[dict[str, Any], dict[str, Any]]:
    """The crops that the models saw, and the people over them.

    The files lie beside the folder of records, as the workflow puts them: ``cells/<cell>/predictions.npz``
    and ``samples.npz``. Of every cell the first seed that has them is drawn. What is not usable is left out
    with one line on stderr.

    Returns:
        Address and width of each crop, by name; and of each ``dataset/model/head/loss`` the ``seed`` and the
        ``people``: the name of the ``crop``, that of its ``file``, and ``truth`` and ``prediction`` as
        ``person.svg`` draws them.
    """
    crops: dict[str, Any] = {}
    cells: dict[str, Any] = {}
    for key, records in results.cells.items():
        if key[0] not in DATASETS:
            continue
        for record in sorted(records, key=lambda record: record.cell.seed):
            samples = _samples(record)
            if samples is not None:
                cells["/".join(key)] = {"seed": record.cell.seed, "people": _people(samples, key[0], crops)}
                break
    return crops, cells


def _samples(record: Record) -> Samples | None:
    if record.run is None:
        return None
    folder = record.run / "cells" / record.cell.path
    entry = Entry(record, folder / "predictions.npz", folder / "samples.npz")
    if not (entry.predictions.is_file() and entry.samples.is_file()):
        return None
    try:
        return read_samples(entry, DATASETS[record.cell.dataset].keypoints, PEOPLE)
    except ValueError as error:
        print(f"drawing left out: {error}", file=sys.stderr)
        return None


def _people(samples: Samples, dataset: str, crops: dict[str, Any]) -> list[dict[str, Any]]:
    keypoints = DATASETS[dataset].keypoints
    people = []
    each = zip(
        samples.names, samples.crops, truths(samples, keypoints), predictions(samples, keypoints), strict=True
    )
    for file, crop, truth, prediction in each:
        name = hashlib.sha256(crop.tobytes()).hexdigest()[:12]
        if name not in crops:
            crops[name] = {"address": image_address(crop, ".webp"), "width": truth["width"]}
        people.append({"file": file, "crop": name, "truth": truth, "prediction": prediction})
    return people
