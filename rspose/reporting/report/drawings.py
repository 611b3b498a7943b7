"""Drawn predictions for the report: each person's crop once, and of every cell the keypoints alone."""

import base64
import hashlib
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rspose.datasets import DATASETS, KeypointSet
from rspose.grid.record import Record
from rspose.reporting.figures import Entry, Samples, read_samples
from rspose.reporting.results import Results

PEOPLE = 4
"""Drawn of each cell: the first so many of those that it saved."""
_QUALITY = 80  # of WebP


def drawings(results: Results) -> dict[str, Any]:
    """The keypoints that cells predicted, over the crops that the models saw; ready for JSON.

    The files lie beside the folder of records, as the workflow puts them: ``cells/<cell>/predictions.npz``
    and ``samples.npz``. Of every cell the first seed that has them is drawn. What is not usable is left out
    with one line on stderr.

    Returns:
        ``skeletons``: names and limbs of each dataset's keypoints; ``crops``: image, size, file name and
        truth of each person; ``cells``: of each ``dataset/model/head/loss`` the seed and the people, each
        with its crop and ``[x, y, confidence, ...]`` in pixels of the crop.
    """
    crops: dict[str, dict[str, Any]] = {}
    cells: dict[str, dict[str, Any]] = {}
    for key, records in results.cells.items():
        if key[0] not in DATASETS:
            continue
        for record in sorted(records, key=lambda record: record.cell.seed):
            samples = _samples(record, DATASETS[key[0]].keypoints)
            if samples is not None:
                people = [_person(samples, index, crops) for index in range(len(samples.names))]
                cells["/".join(key)] = {"seed": record.cell.seed, "people": people}
                break
    drawn = {key.split("/")[0] for key in cells}
    return {
        "skeletons": {dataset: _skeleton(DATASETS[dataset].keypoints) for dataset in sorted(drawn)},
        "crops": crops,
        "cells": cells,
    }


def _samples(record: Record, keypoints: KeypointSet) -> Samples | None:
    if record.run is None:
        return None
    folder = record.run / "cells" / Path(*record.cell[:4], f"seed{record.cell.seed}")
    predictions, samples = folder / "predictions.npz", folder / "samples.npz"
    if not (predictions.is_file() and samples.is_file()):
        return None
    try:
        return read_samples(Entry.from_record(record, predictions, samples), keypoints, PEOPLE)
    except ValueError as error:
        print(f"drawing left out: {error}", file=sys.stderr)
        return None


def _person(samples: Samples, index: int, crops: dict[str, dict[str, Any]]) -> dict[str, Any]:
    crop = samples.crops[index]
    name = hashlib.sha256(crop.tobytes() + samples.truth[index].tobytes()).hexdigest()[:12]
    if name not in crops:
        crops[name] = {
            "name": samples.names[index],
            "size": [crop.shape[1], crop.shape[0]],
            "image": _data_uri(crop),
            "truth": _rounded(samples.truth[index], samples.visible[index]),
        }
    return {"crop": name, "points": _rounded(samples.keypoints[index], samples.confidence[index])}


def _rounded(points: NDArray, third: NDArray) -> list[float]:
    table = np.column_stack([np.round(points.astype(float), 1), np.round(third.astype(float), 2)])
    return [int(value) if value == int(value) else value for value in np.nan_to_num(table).ravel().tolist()]


def _data_uri(crop: NDArray[np.uint8]) -> str:
    _, encoded = cv2.imencode(".webp", crop[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    return "data:image/webp;base64," + base64.b64encode(encoded.tobytes()).decode()


def _skeleton(keypoints: KeypointSet) -> dict[str, Any]:
    return {
        "names": [name.replace("_", " ") for name in keypoints.names],
        "sides": [_side(name) for name in keypoints.names],
        "limbs": [list(limb) for limb in keypoints.skeleton],
        "body": keypoints.body,
    }


def _side(keypoint: str) -> str:
    return keypoint.split("_")[0] if keypoint.startswith(("left_", "right_")) else "middle"
