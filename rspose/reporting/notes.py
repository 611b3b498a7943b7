"""The sentences under a table: where its numbers come from and how to read them."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from rspose.grid.cell import Cell
from rspose.grid.record import Failure
from rspose.reporting.style import dataset_title, head_label
from rspose.reporting.table import DAGGER, EQUIVALENT, MISSING, Row, Value

RECONSTRUCTION = f"{DAGGER} Reconstruction: the publication leaves details open, which were filled in here."
_INTERVALS = {
    "images": "In brackets: 95 % interval of a bootstrap over the validation images, which says what other "
    "images would change, not what another seed would.",
    "seeds and images": "In brackets: 95 % interval over seeds and validation images together, which says "
    "what other seeds and other images would change.",
    "seeds": "In brackets: 95 % interval over the seeds, which says what other seeds would change, not what "
    "other images would.",
}


def provenance(runs: pd.DataFrame) -> list[str]:
    """Where the numbers come from: data, training and evaluation protocol of each dataset in ``runs``.

    What all datasets share is said once. Where the records of one dataset differ, all values are named: such
    rows cannot be compared without a thought.
    """
    facts = {
        dataset_title(str(dataset)): _facts(of_dataset)
        for dataset, of_dataset in runs.groupby("dataset", sort=False)
    }
    shared = [fact for fact in next(iter(facts.values())) if all(fact in other for other in facts.values())]
    if len(facts) > 1 and shared:
        own = {title: [fact for fact in other if fact not in shared] for title, other in facts.items()}
        facts = {"All datasets": shared, **own}
    return [f"{title}: {'; '.join(found)}." for title, found in facts.items() if found]


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


def spread(summary: pd.DataFrame) -> str:
    """How sure the numbers are: over how many seeds, and what their intervals are from.

    ``summary`` is what is shown, as :func:`rspose.reporting.statistics.over_seeds` gives it.
    """
    trained = summary[summary.model != "control"]
    counts = trained.seeds
    bases = set(trained.basis.dropna())
    if counts.empty and summary.basis.eq("images").any():  # control rows alone
        return _INTERVALS["images"]
    if counts.empty or counts.max() == 1:
        if not bases:
            return "One seed per cell: the numbers have no interval."
        sentence = "One seed per cell, so that nothing is bold: another may turn the order round. "
        sentence += _INTERVALS["images"]
        drawn = trained[~trained.metric.str.endswith(".kendall")]
        if drawn[drawn.metric.isin(drawn.metric[drawn.basis == "images"])].basis.isna().any():
            sentence += " A number without an interval is from a record of an earlier version."
        return sentence
    over_seeds = next((text for basis, text in _INTERVALS.items() if basis in bases - {"images"}), "")
    if {"seeds and images", "seeds"} <= bases:
        over_seeds += " Over the seeds alone where a number has no replicates over images"
        over_seeds += ", as τ and between ρ." if trained.metric.str.endswith(".kendall").any() else "."
    if counts.min() == counts.max():
        return f"Mean ± standard deviation over {counts.max()} seeds. {over_seeds}"
    single = "its interval is from a bootstrap over the images" if "images" in bases else "has no interval"
    single = f"; a number without ± is from one seed and {single}" if counts.min() == 1 else ""
    return f"Mean ± standard deviation over {counts.min()} to {counts.max()} seeds{single}. {over_seeds}"


def marks(rows: Sequence[Row], region: float) -> list[str]:
    """What bold, signs, italics and the dash stand for, those that occur in ``rows``."""
    entries = [entry for row in rows for entry in row.values]
    values = [entry for entry in entries if isinstance(entry, Value)]
    bold = (
        "Bold: the best loss of a column for one dataset and model, and all that pair with it and are "
        f"not shown to be worse by more than {region:g} points, correlations by {region / 100:g} "
        "(95 % intervals of the paired differences to the best, of all columns and lengths together)."
    )
    equivalent = f"{EQUIVALENT} Equivalent to the best: within {region:g} points of it."
    control = "Italics: controls, without a model and a head; they frame the losses and do not compete."
    sentences = (
        (any(value.bold for value in values), bold),
        (any(value.mark == EQUIVALENT for value in values), equivalent),
        (any(label.endswith(DAGGER) for row in rows for label in row.stub), RECONSTRUCTION),
        (any(row.control for row in rows), control),
        (
            None in entries,
            f"{MISSING} No record of this cell, or nothing to compute the number from: scores that are all "
            "the same, as of poses without a keypoint above the threshold, have no correlation.",
        ),
    )
    return [sentence for holds, sentence in sentences if holds]


def gaps(runs: pd.DataFrame, failures: Sequence[Failure]) -> list[str]:
    """What is not there: cells that failed, and seeds that some cells of a dataset and model lack."""
    absent: dict[tuple[str, ...], list[str]] = {}
    for cell in missing(runs, failures):
        absent.setdefault(cell[:4], []).append(str(cell.seed))
    named = {
        "Failed": [f"{cell_name(each.cell)} {run_name(each.cell)} ({each.error})" for each in failures],
        "Missing": [f"{cell_name(cell)} seed {', '.join(seeds)}" for cell, seeds in absent.items()],
    }
    more = {what: f"; and {len(words) - 5} more" for what, words in named.items() if len(words) > 5}
    return [f"{what}: {'; '.join(words[:5])}{more.get(what, '')}." for what, words in named.items() if words]


def missing(runs: pd.DataFrame, failures: Sequence[Failure]) -> list[Cell]:
    """The cells that lack a seed that others of their dataset and model have, and that did not fail."""
    lacking = []
    for (dataset, model), group in runs[~runs.control].groupby(["dataset", "model"], sort=False):
        for (head, loss), cell in group.groupby(["head", "loss"], sort=False):
            absent = sorted(set(group.seed) - set(cell.seed))
            place = str(dataset), str(model), str(head), str(loss)
            lacking += [Cell(*place, int(seed), float(cell.length.iloc[0])) for seed in absent]
    failed = {failure.cell for failure in failures}
    return [cell for cell in lacking if cell not in failed]


def cell_name(cell: Sequence[Any]) -> str:
    """How sentences name a cell, without its seed."""
    dataset, model, head, loss = cell[:4]
    return f"{dataset_title(dataset)} {model} {head_label(head)} {loss}"


def run_name(cell: Cell) -> str:
    """How sentences name one training among those of :func:`cell_name`."""
    return f"seed {cell.seed}" if cell.length == 1 else f"seed {cell.seed}, {times(cell.length)}"


def times(length: float) -> str:
    """How a training length is written."""
    return f"{length:g} ×"


def conditions(trained: pd.DataFrame) -> list[str]:
    """Of which data, length and tuning the numbers of trained cells are; the kind of data comes first."""
    trials, lengths = "training.tuning.trials", [times(length) for length in _distinct(trained, "length")]
    tuned_on = " / ".join(map(dataset_title, _distinct(trained, "training.tuning.dataset")))
    tuned = f"tuned on {tuned_on}" if tuned_on else "tuned"
    budgets = _distinct(trained.fillna({trials: 0}), trials)
    found = (
        data_kind(trained),
        f"training length {' / '.join(lengths)} the recipe's" if lengths not in ([], [times(1)]) else "",
        " / ".join(f"{tuned}, {count:.0f} trials a loss" if count else "as published" for count in budgets),
    )
    return [one for one in found if one]


def iterations(trained: pd.DataFrame) -> str:
    """How long the cells were trained."""
    batch = _said(trained, "training.batch_size", " of batch ")
    return _said(trained, "training.iterations", "", f" iterations{batch}")


def _facts(runs: pd.DataFrame) -> list[str]:
    """How the numbers of a dataset were made."""
    trained = runs[~runs.control]
    evaluated = runs if trained.empty else trained
    copies = len(_distinct(runs, "data.checksum"))
    files = [PurePosixPath(name).name for name in _distinct(evaluated, "protocol.detection_file")]
    boxes = f"detection boxes {' / '.join(files)}" if files else "ground-truth boxes"
    if _distinct(evaluated, "protocol.boxes"):
        boxes = "boxes, and areas for AP, derived from the annotated joints"
    flips = _distinct(evaluated, "protocol.flip_test")
    nms = _said(evaluated, "protocol.nms").upper()
    started = "training.pretrained.file"
    facts = (
        data_kind(runs),
        _said(runs, "data.train_instances", "", " training instances"),
        _said(runs, "data.val_instances", "", " validation instances"),
        f"WARNING: the records come from {copies} different copies of the data" if copies > 1 else "",
        _version(runs),
        _said(trained, "model", "model "),
        _said(trained.fillna({started: "none"}), started, "pretrained weights "),
        iterations(trained),
        *conditions(trained)[1:],
        _said(evaluated, "protocol.input_size", "input ").translate({91: None, 93: None, 44: " ×"}),
        boxes if "protocol.detection_file" in evaluated else "",
        " / ".join("flip test" if flip else "no flip test" for flip in flips),
        _said(evaluated, "protocol.score_mode", "score mode "),
        _said(evaluated, "protocol.keypoint_score_threshold", "keypoint score threshold "),
        _said(evaluated, "protocol.nms_threshold", f"{nms}-NMS threshold "),
        _said(evaluated, "protocol.evaluator", "evaluator "),
        _said(evaluated, "protocol.pck", "and "),
    )
    return [fact for fact in facts if fact]


def _version(runs: pd.DataFrame) -> str:
    """That a table mixes versions of the code, or was made by one that nobody can look up."""
    commits = len(_distinct(runs, "provenance.git_commit"))
    changed = False in _distinct(runs, "provenance.clean")
    said = [
        f"of {commits} commits" if commits > 1 else "",
        "of a tree with uncommitted changes" if changed else "",
    ]
    return "NOTE: the records are " + " and ".join(filter(None, said)) if any(said) else ""


def _distinct(runs: pd.DataFrame, column: str) -> list[Any]:
    return list(runs[column].dropna().unique()) if column in runs else []


def _said(runs: pd.DataFrame, column: str, before: str = "", after: str = "") -> str:
    """The distinct values of a column with words around them, nothing where there is none."""
    values = " / ".join(
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        for value in _distinct(runs, column)
    )
    return values and f"{before}{values}{after}"
