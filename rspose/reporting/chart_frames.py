"""What the charts show, as tidy frames: one function a chart, over all records of the results at once.

Every frame has the columns ``cell`` (``dataset/model/head/loss``), ``dataset``, ``model``, ``head`` and
``loss``, the label of the loss. Accuracies, shares and differences are in percent, as in the tables; the
seeds of a cell are put together unless there is a column ``seed``. A frame without rows has no columns.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from rspose.datasets import DATASETS
from rspose.grid.record import Record
from rspose.reporting.results import Results
from rspose.reporting.skeleton import places
from rspose.reporting.statistics import SIGNIFICANCE
from rspose.reporting.style import head_order, loss_order
from rspose.reporting.table import DAGGER

FEWEST = 10
"""A mean over fewer pairs moves about too much to be read: a bin with less has none."""
ERRORS = ("good", "jitter", "inversion", "swap", "miss")
PATHS = {
    "shifted": "peak moves",
    "blurred": "... and narrows from twice its width",
    "split": "... and a second peak fades",
    "background": "... and a background sinks",
}
"""What happens to a heatmap whose localisation error grows, by name in the file of localisation."""
LEVELS = {"keypoint": "keypoints", "pose": "poses"}


def differences(results: Results) -> pd.DataFrame:
    """Every loss minus MSE in the main metric: the comparisons of the table, with its corrected p-values."""
    return _frame(
        results,
        (
            {
                **_named(results, one[:4]),
                "metric": one.metric.removeprefix("metrics."),
                "difference": 100 * one.difference,
                "low": 100 * one.low,
                "high": 100 * one.high,
                "p": one.p_holm,
                "filled": one.p_holm < SIGNIFICANCE,
                "verdict": "differs" if one.p_holm < SIGNIFICANCE else "may be a tie",
                "basis": one.basis,
            }
            for one in results.differences.itertuples(index=False)
            if one.dataset != "all"
        ),
    )


def calibration(results: Results) -> pd.DataFrame:
    """Mean confidence, mean quality and share (%) of the pairs of each bin; NaN in one with too few pairs."""

    def rows() -> Iterator[dict[str, Any]]:
        for named, records in _cells(results, lambda record: record.content["confidence"].get("calibration")):
            curves_of = [record.content["confidence"]["calibration"] for record in records]
            for level in LEVELS:
                curves = [curve[level] for curve in curves_of if level in curve]
                if not curves:
                    continue
                counts = np.array([curve["count"] for curve in curves])
                total = counts.sum(axis=0)
                means = {
                    # None, of an empty bin, weighs nothing.
                    name: np.nan_to_num(np.array([curve[name] for curve in curves], dtype=float)) * counts
                    for name in ("confidence", "quality")
                }
                for index, pairs in enumerate(total):
                    row = {**named, "level": LEVELS[level], "bin": index}
                    for name, weighted in means.items():
                        row[name] = weighted[:, index].sum() / pairs if pairs >= FEWEST else np.nan
                    yield {**row, "share": 100 * pairs / max(total.sum(), 1)}

    return _frame(results, rows())


def correlations(results: Results) -> pd.DataFrame:
    """Spearman's and Pearson's correlation of confidence and quality, as in the table."""
    signs = {"spearman": "Spearman's ρ", "pearson": "Pearson's r"}
    names = {f"confidence.{level}.{name}": (level, name) for level in LEVELS for name in signs}
    return _frame(
        results,
        (
            {
                **_named(results, (row.dataset, row.model, row.head, row.loss)),
                "level": LEVELS[names[row.metric][0]],
                "filled": names[row.metric][1] == "spearman",
                "coefficient": signs[names[row.metric][1]],
                "value": row.mean,
                "low": row.low,
                "high": row.high,
            }
            for row in _summary(results, names)
        ),
    )


def errors(results: Results) -> pd.DataFrame:
    """Share of each kind of keypoint (:mod:`rspose.evaluation.errors`)."""
    names = {f"diagnosis.errors.{kind}": kind for kind in ERRORS}
    return _errors(results, names)


def gains(results: Results) -> pd.DataFrame:
    """Gain in the main metric if one kind of error were repaired, or scores were oracle scores."""
    names = {f"diagnosis.errors.gain.{kind}": kind for kind in ERRORS}
    return _errors(results, names | {"diagnosis.ordering.AP_lost": "oracle scores"})


def _errors(results: Results, names: dict[str, str]) -> pd.DataFrame:
    return _frame(
        results,
        (
            {
                **_named(results, (row.dataset, row.model, row.head, row.loss)),
                "metric": results.main_metrics[row.dataset].removeprefix("metrics."),
                "kind": names[row.metric],
                "value": 100 * row.mean,
            }
            for row in _summary(results, names)
        ),
    )


def thresholds(results: Results) -> pd.DataFrame:
    """AP by the threshold of OKS-NMS and of keypoint scores, with and without rescoring."""

    def rows() -> Iterator[dict[str, Any]]:
        own = {
            "nms": ("OKS-NMS", "nms_threshold"),
            "keypoint_score": ("keypoint scores", "keypoint_score_threshold"),
        }
        for named, records in _cells(results, lambda one: one.content.get("diagnosis", {}).get("thresholds")):
            for kind, (title, protocol) in own.items():
                curves = [record.content["diagnosis"]["thresholds"][kind] for record in records]
                for key, scores in (("AP", "from confidences"), ("AP_box_score", "of the boxes alone")):
                    values = np.array([curve[key] for curve in curves], dtype=float).mean(axis=0)
                    for threshold, value in zip(curves[0]["threshold"], values, strict=True):
                        yield {
                            **named,
                            "kind": title,
                            "scores": scores,
                            "threshold": threshold,
                            "value": 100 * value,
                            "protocol": records[0].content["protocol"][protocol],
                        }

    return _frame(results, rows())


def learning_curves(results: Results) -> pd.DataFrame:
    """The loss over the iterations of each seed, and its terms where it has several: a row each, of lists."""

    def rows() -> Iterator[dict[str, Any]]:
        for named, records in _cells(results, lambda record: record.content["training"].get("curve")):
            for record in records:
                curve = record.content["training"]["curve"]
                terms = [name for name in curve if name not in ("iteration", "loss")]
                for name in ("loss", *(terms if len(terms) > 1 else ())):
                    term = name if name == "loss" else name.removeprefix("loss_").replace("_", " ")
                    points = {"iteration": curve["iteration"], "value": curve[name]}
                    yield {**named, "seed": record.cell.seed, "term": term, **points}

    return _frame(results, rows())


def factors(results: Results) -> pd.DataFrame:
    """What a loss learned about each keypoint, and where that stands on a body (:func:`places`)."""

    def rows() -> Iterator[dict[str, Any]]:
        for named, records in _cells(results, lambda record: record.content["loss"].get("learned")):
            learned = [record.content["loss"]["learned"] for record in records]
            for name in learned[0]:
                values = np.mean([each[name] for each in learned], axis=0)
                known = DATASETS.get(named["dataset"])
                if known is None or len(known.keypoints) != len(values):
                    continue
                joints = known.keypoints
                for joint, (x, y), value in zip(joints.names, places(joints), values, strict=True):
                    yield {**named, "name": name, "joint": joint, "x": x, "y": y, "value": value}

    return _frame(results, rows())


def cost(results: Results) -> pd.DataFrame:
    """The main metric and the time of a training step (ms): means over the seeds, and what these span."""

    def rows() -> Iterator[dict[str, Any]]:
        for named, records in _cells(
            results, lambda one: one.content["training"].get("seconds_per_iteration")
        ):
            metric = results.main_metrics[named["dataset"]]
            of_seeds = [record for record in records if record.scores.get(metric) is not None]
            if of_seeds:
                ms = [1000 * record.content["training"]["seconds_per_iteration"] for record in of_seeds]
                values = [100 * record.scores[metric] for record in of_seeds]  # type: ignore[operator]
                spans = {
                    f"{name}{end}": found(numbers)
                    for name, numbers in (("ms", ms), ("value", values))
                    for end, found in (("", np.mean), ("_low", min), ("_high", max))
                }
                yield {**named, "metric": metric.removeprefix("metrics."), **spans}

    return _frame(results, rows())


def localisation(content: dict[str, Any]) -> pd.DataFrame:
    """Each loss along each path of :data:`PATHS`, relative to its end where the peak moves, else its start.

    Args:
        content: As :func:`rspose.tools.localisation.write_localisation` writes it.
    """
    rows: list[dict[str, Any]] = []
    for path, title in PATHS.items():
        moves = path == "shifted"
        for entry in content["losses"]:
            followed = entry["paths"][path]
            unit = followed["values"][-1 if moves else 0]
            for error, value in zip(followed["errors"], followed["values"], strict=True):
                row: dict[str, Any] = {
                    "head": entry["head"],
                    "model": "",
                    "loss": loss_label(entry),
                    "path": title,
                }
                ends = {} if moves else {"low": 0, "high": 1}
                rows.append({**row, "error": error, "value": value / unit, **ends})
    ordered = sorted(rows, key=lambda row: head_order(row["head"]))
    return pd.DataFrame(ordered)


def loss_label(entry: dict[str, Any]) -> str:
    """How a loss of a localisation file is written, with the dagger of a reconstruction."""
    return f"{entry['title']} {DAGGER}" if entry["reconstruction"] else str(entry["title"])


def losses(results: Results) -> dict[str, str]:
    """Every trained loss and its label, in the order of the tables."""
    trained = results.runs.loss[~results.runs.control].unique()
    return {loss: results.labels[loss] for loss in sorted(trained, key=lambda loss: loss_order(loss, False))}


def _summary(results: Results, names: Iterable[str]) -> Iterator[Any]:
    """The rows of the numbers over the seeds of trained cells."""
    rows = results.summary[results.summary.metric.isin(list(names)) & (results.summary.model != "control")]
    return rows.itertuples()


def _cells(
    results: Results, having: Callable[[Record], object]
) -> Iterator[tuple[dict[str, Any], list[Record]]]:
    """Each trained cell with its seeds for which ``having``: older records lack what newer ones have."""
    for key, records in results.cells.items():
        usable = [record for record in records if not record.content["control"] and having(record)]
        if usable:
            yield _named(results, key), sorted(usable, key=lambda record: record.cell.seed)


def _named(results: Results, key: tuple[str, str, str, str]) -> dict[str, Any]:
    dataset, model, head, loss = key
    cell = "/".join(key)
    return {"cell": cell, "dataset": dataset, "model": model, "head": head, "loss": results.labels[loss]}


def _frame(results: Results, rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """The rows by model, head and loss in the order of the tables, otherwise as they come."""
    place = list(losses(results).values())
    ordered = sorted(rows, key=lambda row: (row["model"], head_order(row["head"]), place.index(row["loss"])))
    return pd.DataFrame(ordered)
