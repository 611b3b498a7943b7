"""The sentences under a table: where its numbers come from and how to read them."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from rspose.grid.cell import Cell
from rspose.grid.record import Failure
from rspose.reporting.statistics import KEY
from rspose.reporting.style import HEAD_LABELS, dataset_title
from rspose.reporting.table import DAGGER, MISSING, TIE, Row, Value

RECONSTRUCTION = f"{DAGGER} Reconstruction: the publication leaves details open, which were filled in here."
_INTERVALS = {
    "images": "In brackets: 95 % interval of a bootstrap over the validation images, which says what other "
    "images would change, not what another seed would.",
    "seeds": "In brackets: 95 % interval of a bootstrap over the seeds, which says what other seeds would "
    "change, not what other images would.",
}


def provenance(runs: pd.DataFrame) -> list[str]:
    """Where the numbers come from: data, training and evaluation protocol of each dataset in ``runs``.

    What all datasets share is said once. Where the records of one dataset differ, all values are named: such
    rows cannot be compared without a thought.
    """
    parts: dict[str, list[str]] = {}
    for dataset, of_dataset in runs.groupby("dataset", sort=False):
        trained = of_dataset[~of_dataset.control]
        evaluated = of_dataset if trained.empty else trained
        title = dataset_title(str(dataset))
        parts[title] = [*_data(of_dataset), *_training(trained), *_protocol(evaluated)]
    shared = [part for part in next(iter(parts.values())) if all(part in other for other in parts.values())]
    if len(parts) > 1 and shared:
        own = {title: [part for part in other if part not in shared] for title, other in parts.items()}
        parts = {"All datasets": shared, **own}
    return [f"{title}: {'; '.join(facts)}." for title, facts in parts.items() if facts]


def data_kind(runs: pd.DataFrame) -> str:
    """Whether the numbers are from generated or real data."""
    return " and ".join(
        "generated data" if generated else "real data" for generated in _distinct(runs, "data.generated")
    )


def metrics_named(metrics: Mapping[str, str]) -> str:
    """The metric of each dataset, given as ``metrics.AP``, in words."""
    return ", ".join(
        f"{metric.removeprefix('metrics.')} on {dataset_title(dataset)} val"
        for dataset, metric in metrics.items()
    )


def spread(runs: pd.DataFrame, summary: pd.DataFrame) -> str:
    """How sure the numbers are: over how many seeds, and what their intervals are from.

    Args:
        runs: One row a record.
        summary: What is shown of them, as :func:`rspose.reporting.statistics.over_seeds` gives it.
    """
    counts = runs[~runs.control].groupby(KEY).size()
    trained = summary[summary.model != "control"]
    bases = set(trained.basis.dropna())
    if counts.empty and summary.basis.eq("images").any():  # control rows alone
        return _INTERVALS["images"]
    if counts.empty or counts.max() == 1:
        if not bases:
            return "One seed per cell: the numbers have no interval."
        sentence = f"One seed per cell. {_INTERVALS['images']}"
        if trained[trained.metric.isin(trained.metric[trained.basis == "images"])].basis.isna().any():
            sentence += " A number without an interval is from a record of an earlier version."
        return sentence
    if counts.min() == counts.max():
        return f"Mean ± standard deviation over {counts.max()} seeds. {_INTERVALS['seeds']}"
    single = "its interval is from a bootstrap over the images" if "images" in bases else "has no interval"
    return (
        f"Mean ± standard deviation over {counts.min()} to {counts.max()} seeds per cell; "
        f"a number without ± is from one seed and {single}. {_INTERVALS['seeds']}"
    )


def marks(rows: Sequence[Row]) -> list[str]:
    """What bold, signs, italics and the dash stand for, those that occur in ``rows``."""
    sentences = ["Bold: the best loss of a column for one dataset and model, ties included."]
    entries = [entry for row in rows for entry in row.values]
    if any(isinstance(entry, Value) and entry.mark == TIE for entry in entries):
        sentences = [
            f"Bold: the best loss of a column for one dataset and model. {TIE} A tie: it cannot be told from "
            "the best one (paired difference, 5 %, Holm's correction over the column)."
        ]
    if any(label.endswith(DAGGER) for row in rows for label in row.stub):
        sentences.append(RECONSTRUCTION)
    if any(row.control for row in rows):
        sentences.append(
            "Italics: controls, without a model and a head; they frame the losses and do not compete."
        )
    if None in entries:
        sentences.append(f"{MISSING} No record of this cell, or nothing to compute the number from.")
    return sentences


def gaps(runs: pd.DataFrame, failures: Sequence[Failure]) -> list[str]:
    """What is not there: cells that failed, and seeds that some cells of a dataset and model lack."""
    sentences = []
    if failures:
        words = [
            f"{cell_name(failure.cell)} seed {failure.cell.seed} ({failure.error})" for failure in failures
        ]
        sentences.append(f"Failed: {_listed(words)}.")
    absent: dict[tuple[str, ...], list[int]] = {}
    for cell in missing(runs, failures):
        absent.setdefault(cell[:4], []).append(cell.seed)
    lacking = [f"{cell_name(cell)} seed {', '.join(map(str, seeds))}" for cell, seeds in absent.items()]
    if lacking:
        sentences.append(f"Missing: {_listed(lacking)}.")
    return sentences


def missing(runs: pd.DataFrame, failures: Sequence[Failure]) -> list[Cell]:
    """The cells that lack a seed that others of their dataset and model have, and that did not fail."""
    failed = {failure.cell for failure in failures}
    lacking = []
    for (dataset, model), group in runs[~runs.control].groupby(["dataset", "model"], sort=False):
        seeds = sorted(group.seed.unique())
        for (head, loss), cell in group.groupby(["head", "loss"], sort=False):
            where = str(dataset), str(model), str(head), str(loss)
            absent = [Cell(*where, int(seed)) for seed in seeds if seed not in set(cell.seed)]
            lacking += [each for each in absent if each not in failed]
    return lacking


def cell_name(cell: Sequence[Any]) -> str:
    """How sentences name a cell, without its seed."""
    dataset, model, head, loss = cell[:4]
    return f"{dataset_title(dataset)} {model} {HEAD_LABELS.get(head, head)} {loss}"


def _listed(words: Sequence[str], most: int = 5) -> str:
    shown = "; ".join(words[:most])
    return shown if len(words) <= most else f"{shown}; and {len(words) - most} more"


def _data(runs: pd.DataFrame) -> list[str]:
    parts = [data_kind(runs)]
    for split, name in (("train", "training"), ("val", "validation")):
        if _distinct(runs, f"data.{split}_instances"):
            parts.append(f"{_joined(runs, f'data.{split}_instances')} {name} instances")
    copies = len(_distinct(runs, "data.checksum"))
    if copies > 1:
        parts.append(f"WARNING: the records come from {copies} different copies of the data")
    return parts


def _training(trained: pd.DataFrame) -> list[str]:
    parts = []
    if not trained.empty:
        parts.append(f"model {_joined(trained, 'model')}")
    if _distinct(trained, "training.iterations"):
        batch = (
            f" of batch {_joined(trained, 'training.batch_size')}" if "training.batch_size" in trained else ""
        )
        parts.append(f"{_joined(trained, 'training.iterations')} iterations{batch}")
    return parts


def _protocol(runs: pd.DataFrame) -> list[str]:
    parts = []
    if sizes := _distinct(runs, "protocol.input_size"):
        parts.append("input " + " / ".join(size.strip("[]").replace(", ", " × ") for size in sizes))
    if "protocol.detection_file" in runs:
        files = [PurePosixPath(name).name for name in _distinct(runs, "protocol.detection_file")]
        parts.append(f"detection boxes {' / '.join(files)}" if files else "ground-truth boxes")
    if flips := _distinct(runs, "protocol.flip_test"):
        parts.append(" / ".join("flip test" if flip else "no flip test" for flip in flips))
    for key, words in (
        ("score_mode", "score mode"),
        ("keypoint_score_threshold", "keypoint score threshold"),
        ("nms_threshold", f"{_joined(runs, 'protocol.nms').upper()}-NMS threshold"),
        ("evaluator", "evaluator"),
    ):
        if _distinct(runs, f"protocol.{key}"):
            parts.append(f"{words} {_joined(runs, f'protocol.{key}')}")
    return parts


def _distinct(runs: pd.DataFrame, column: str) -> list[Any]:
    return list(runs[column].dropna().unique()) if column in runs else []


def _joined(runs: pd.DataFrame, column: str) -> str:
    return " / ".join(
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        for value in _distinct(runs, column)
    )
