"""What the charts show, as tidy frames: one function a chart, over all records of the results at once.

Every frame has the columns ``cell`` (``dataset/model/head/loss``), ``dataset``, ``model``, ``head`` and
``loss``, the label of the loss; its rows come by model, head and loss in the order of the tables. Accuracies,
shares and differences are in percent, as in the tables; the seeds of a cell are put together unless there is
a column ``seed``. A frame without rows has no columns.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from rspose.datasets import DATASETS
from rspose.grid.record import Record
from rspose.reporting.results import Results
from rspose.reporting.skeleton import places
from rspose.reporting.statistics import ALL, Verdict
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

T = TypeVar("T")
Rows = Iterator[dict[Any, Any]]


def _frame(rows: Callable[[Results], Rows]) -> Callable[[Results], pd.DataFrame]:
    @wraps(rows)
    def framed(results: Results) -> pd.DataFrame:
        labels = list(losses(results).values())

        def place(row: dict[Any, Any]) -> tuple[Any, ...]:
            return row["model"], head_order(row["head"]), labels.index(row["loss"])

        ordered = sorted(rows(results), key=place)
        return pd.DataFrame(ordered)

    return framed


@_frame
def differences(results: Results) -> Rows:
    """Every loss minus MSE in the main metric: the comparisons of the table, with its verdicts."""
    return _compared(results, results.differences)


@_frame
def lengths(results: Results) -> Rows:
    """The differences to MSE at every training length; nothing where there is one length."""
    for row in _compared(results, results.along_lengths) if results.others else ():
        # The page has panels of the main length alone.
        yield row if row["length"] == results.length else {**row, "cell": ""}


def _compared(results: Results, compared: pd.DataFrame) -> Rows:
    one: Any  # pandas does not say what a row holds
    for one in compared.itertuples(index=False):
        if one.dataset != ALL:
            numbers = {name: 100 * getattr(one, name) for name in ("difference", "low", "high")}
            decided = one.verdict in (Verdict.BETTER, Verdict.WORSE)
            row = {"metric": _plain(one.metric), **numbers, "p": one.p, "filled": decided}
            row |= {"verdict": one.verdict or "one seed", "basis": one.basis, "region": results.region}
            yield {**_named(results, one[:4]), **row, "length": one.length}


@_frame
def calibration(results: Results) -> Rows:
    """Mean confidence, mean quality and share (%) of the pairs of each bin; NaN in one with too few pairs."""
    for named, seeds in _cells(results, lambda record: record.confidence.calibration):
        for level, title in LEVELS.items():
            curves = [calibration[level] for _, calibration in seeds if level in calibration]
            if not curves:
                continue
            counts = np.array([curve.count for curve in curves])
            pairs = counts.sum(axis=0)
            row = {"level": title, "bin": range(len(pairs)), "share": 100 * pairs / max(pairs.sum(), 1)}
            for name in ("confidence", "quality"):
                # None, of an empty bin, weighs nothing.
                values = np.nan_to_num(np.array([getattr(curve, name) for curve in curves], dtype=float))
                means = (values * counts).sum(axis=0) / np.maximum(pairs, 1)
                row[name] = np.where(pairs >= FEWEST, means, np.nan)
            yield from pd.DataFrame({**named, **row}).to_dict("records")


@_frame
def correlations(results: Results) -> Rows:
    """Spearman's and Pearson's correlation of confidence and quality, as in the table."""
    signs = {"spearman": "Spearman's ρ", "pearson": "Pearson's r"}
    names = {f"confidence.{level}.{name}": (level, name) for level in LEVELS for name in signs}
    for row in _summary(results, names):
        level, name = names[row.metric]
        numbers = {"value": row.mean, "low": row.low, "high": row.high}
        which = {"level": LEVELS[level], "filled": name == "spearman", "coefficient": signs[name]}
        yield {**_named(results, row[1:5]), **which, **numbers}


@_frame
def errors(results: Results) -> Rows:
    """Share of each kind of keypoint (:mod:`rspose.evaluation.errors`)."""
    return _errors(results, {f"diagnosis.errors.{kind}": kind for kind in ERRORS})


@_frame
def gains(results: Results) -> Rows:
    """Gain in the main metric if one kind of error were repaired, in AP if scores were oracle scores."""
    names = {f"diagnosis.errors.gain.{kind}": kind for kind in ERRORS}
    return _errors(results, names | {"diagnosis.ordering.AP_lost": "oracle scores"})


def _errors(results: Results, names: dict[str, str]) -> Rows:
    for row in _summary(results, names):
        metric = "AP" if row.metric.endswith("AP_lost") else _plain(results.main_metrics[row.dataset])
        shown = {"metric": metric, "kind": names[row.metric], "value": 100 * row.mean}
        yield {**_named(results, row[1:5]), **shown}


@_frame
def thresholds(results: Results) -> Rows:
    """AP by the threshold of OKS-NMS and of keypoint scores, with and without rescoring."""
    for named, seeds in _cells(
        results, lambda record: record.diagnosis.thresholds if record.diagnosis else None
    ):
        for kind, title in {"nms": "OKS-NMS", "keypoint_score": "keypoint scores"}.items():
            curves = [pd.DataFrame(of[kind].model_dump(), dtype=float) for _, of in seeds if kind in of]
            if not curves:
                continue
            means = pd.concat(curves).groupby("threshold", as_index=False).mean()
            row = {"kind": title, "protocol": getattr(seeds[0][0].protocol, f"{kind}_threshold")}
            for key, scores in (("AP", "from confidences"), ("AP_box_score", "of the boxes alone")):
                points = {"scores": scores, "threshold": means.threshold, "value": 100 * means[key]}
                yield from pd.DataFrame({**named, **row, **points}).to_dict("records")


@_frame
def pck(results: Results) -> Rows:
    """PCK by the fraction of the torso that counts as right."""
    for named, seeds in _cells(results, lambda record: record.diagnosis.pck if record.diagnosis else None):
        shares = pd.concat(pd.DataFrame(curve.model_dump(), dtype=float) for _, curve in seeds)
        for limit, share in shares.groupby("limit").share.mean().items():
            yield {**named, "limit": limit, "value": 100 * share}


@_frame
def learning_curves(results: Results) -> Rows:
    """The loss over the iterations of each seed, and its terms where it has several: a row each, of lists."""
    for named, seeds in _cells(results, lambda record: record.training.curve if record.training else None):
        for record, curve in seeds:
            terms = [name for name in curve if name not in ("iteration", "loss")]
            for name in ("loss", *(terms if len(terms) > 1 else ())):
                term = name if name == "loss" else name.removeprefix("loss_").replace("_", " ")
                points = {"iteration": curve["iteration"], "value": curve[name]}
                yield {**named, "seed": record.cell.seed, "term": term, **points}


@_frame
def tuning(results: Results) -> Rows:
    """The best score (%) that a number of trials may be expected to find, for each loss that was tuned.

    Of ``N`` trials with the scores ``v_1 <= ... <= v_N`` the best of ``n`` drawn with replacement is expected
    to be ``sum_i v_i ((i / N)^n - ((i - 1) / N)^n)`` (Dodge et al., EMNLP 2019, equation 7). A trial that
    failed counts as 0.
    """
    for named, seeds in _cells(results, lambda record: (record.content["training"] or {}).get("tuning")):
        tried = [trial["score"] or 0.0 for trial in seeds[0][1]["tried"]]
        place = np.arange(1, len(tried) + 1) / len(tried)
        for number in range(1, len(tried) + 1):
            chance = np.diff(place**number, prepend=0.0)
            yield {**named, "trials": number, "value": 100 * float(np.sort(tried) @ chance)}


@_frame
def factors(results: Results) -> Rows:
    """What a loss learned about each keypoint, and where that stands on a body (:func:`places`)."""
    for named, seeds in _cells(results, lambda record: record.loss.learned):
        if named["dataset"] not in DATASETS:
            continue
        joints = DATASETS[named["dataset"]].keypoints
        x, y = places(joints).T
        for name in dict.fromkeys(name for _, learned in seeds for name in learned):
            values = [learned[name] for _, learned in seeds if len(learned.get(name, ())) == len(joints)]
            if values:
                each = {"name": name, "joint": joints.names, "x": x, "y": y, "value": np.mean(values, axis=0)}
                yield from pd.DataFrame({**named, **each}).to_dict("records")


@_frame
def cost(results: Results) -> Rows:
    """The main metric and the time of a training step (ms): means over the seeds, and what these span."""
    for named, seeds in _cells(
        results, lambda record: record.training.seconds_per_iteration if record.training else None
    ):
        metric = results.main_metrics[named["dataset"]]
        pairs = [
            (1000 * seconds, 100 * score)
            for record, seconds in seeds
            if (score := record.scores.get(metric)) is not None
        ]
        if pairs:
            row = {"metric": _plain(metric)}
            for name, numbers in zip(("ms", "value"), zip(*pairs, strict=True), strict=True):
                row |= {name: np.mean(numbers), f"{name}_low": min(numbers), f"{name}_high": max(numbers)}
            yield {**named, **row}


def localisation(content: dict[str, Any]) -> pd.DataFrame:
    """Each loss along each path of :data:`PATHS`, relative to its end where the peak moves, else its start.

    ``content`` is as :func:`rspose.tools.localisation.write_localisation` writes it.
    """
    rows: list[dict[Any, Any]] = []
    for path, title in PATHS.items():
        moves = path == "shifted"
        for entry in content["losses"]:
            followed = entry["paths"][path]
            values = np.array(followed["values"])
            named = {"head": entry["head"], "model": "", "loss": loss_label(entry), "path": title}
            points = {"error": followed["errors"], "value": values / values[-1 if moves else 0]}
            ends = {} if moves else {"low": 0.0, "high": 1.0}
            rows += pd.DataFrame({**named, **points, **ends}).to_dict("records")
    rows.sort(key=lambda row: head_order(row["head"]))
    return pd.DataFrame(rows)


def loss_label(entry: dict[str, Any]) -> str:
    """How a loss of a localisation file is written, with the dagger of a reconstruction."""
    return f"{entry['title']} {DAGGER}" if entry["reconstruction"] else str(entry["title"])


def losses(results: Results) -> dict[str, str]:
    """Every trained loss and its label, in the order of the tables."""
    trained = {loss for each in results.lengths for loss in each.runs.loss[~each.runs.control]}
    return {loss: results.labels[loss] for loss in sorted(trained, key=lambda loss: loss_order(loss, False))}


def _summary(results: Results, names: Iterable[str]) -> Iterator[Any]:
    """The rows of the numbers over the seeds of trained cells."""
    rows = results.summary[results.summary.metric.isin(list(names)) & (results.summary.model != "control")]
    return rows.itertuples()


def _cells(
    results: Results, find: Callable[[Record], T | None]
) -> Iterator[tuple[dict[str, Any], list[tuple[Record, T]]]]:
    """Each trained cell with its seeds and what there is to find in them: older records lack some of it."""
    for key, records in results.cells.items():
        by_seed = sorted(records, key=lambda record: record.cell.seed)
        seeds = [(each, found) for each in by_seed if not each.control and (found := find(each))]
        if seeds:
            yield _named(results, key), seeds


def _named(results: Results, key: tuple[str, ...]) -> dict[str, Any]:
    named = dict(zip(("dataset", "model", "head", "loss"), key, strict=True))
    return {"cell": "/".join(key), **named, "loss": results.labels[key[3]]}


def _plain(metric: str) -> str:
    return metric.removeprefix("metrics.")
