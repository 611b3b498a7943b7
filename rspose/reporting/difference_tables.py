"""Tables of paired differences: every loss to MSE, one loss to another, and one loss beside all others."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rspose.grid.records import Record
from rspose.reporting import notes
from rspose.reporting.results import Results, head_label
from rspose.reporting.statistics import (
    ALL,
    KEY,
    REFERENCE,
    SIGNIFICANCE,
    CellKey,
    Comparison,
    comparisons,
    difference,
    differences,
)
from rspose.reporting.style import dataset_title
from rspose.reporting.table import DAGGER, DIFFERS, MISSING, Column, Entry, Row, Table, Value

_SCORES = {
    "confidence.keypoint.spearman": "kpt. ρ",
    "confidence.pose.spearman": "pose ρ",
    "diagnosis.errors.good": "good keypoints",
    "diagnosis.ordering.AP_oracle_scores": "AP with oracle scores",
    "diagnosis.ordering.AP_lost": "AP lost to ordering",
}


def difference_table(results: Results) -> Table | None:
    """A row a comparison with MSE: both losses, their difference, its probability and its corrected p."""
    compared = results.differences
    if compared.empty:
        return None
    reference = results.labels[REFERENCE]
    several = compared.model.nunique() > 1
    rows = []
    for one in comparisons(compared):
        own, others = ((*one[:3], loss) for loss in (one.loss, REFERENCE))
        cells = () if one.dataset == ALL else (others, own, own, None, None)
        stub = (*_place(one, several), results.labels[one.loss])
        entries = _entries(results, one, REFERENCE)
        rows.append(Row(stub, f"{one.dataset} {one.model} {one.head}", False, entries, cells))
    metrics = compared[compared.dataset != ALL][["dataset", "metric"]].drop_duplicates()
    what = notes.metrics_named(dict(metrics.itertuples(index=False, name=None)))
    return Table(
        "differences",
        f"Difference to {reference}, {notes.data_kind(results.runs)}: {what} (percentage points)",
        ("Dataset", *(["Model"] if several else []), "Head", "Loss"),
        _columns(reference, "loss", "P(better)"),
        tuple(rows),
        (
            *notes.gaps(results.runs, results.failures),
            " ".join([*_explained(compared, "P(better)"), *_unequal_seeds(results)]),
        ),
    )


def versus(records: Sequence[Record], loss: str, other: str) -> Table:
    """Paired differences between two losses: in accuracy, in confidence, and in what ordering costs.

    For each score a row a dataset, model and head that both losses have, and one for the mean over them.
    Everything is shown times 100, correlations too.

    Args:
        records: Records of both losses, among others.
        loss: Name of a loss.
        other: Name of the loss that is subtracted.

    Raises:
        ValueError: If a loss has no record, or nothing pairs up.
    """
    there = sorted({record.cell.loss for record in records if not record.content["control"]})
    if not there:
        raise ValueError("no usable record of a loss: run the cells first, or name another folder")
    for name in (loss, other):
        if name not in there:
            raise ValueError(f"no record of a loss {name!r}; there are records of {', '.join(there)}")
    results = Results([record for record in records if record.cell.loss in (loss, other)])
    metrics = results.main_metrics
    scores = {" / ".join(sorted({metric.removeprefix("metrics.") for metric in metrics.values()})): metrics}
    scores |= {label: dict.fromkeys(metrics, score) for score, label in _SCORES.items()}
    compared = differences(results.records, scores, other)
    if compared.empty:
        raise ValueError(f"{loss} and {other} have no seed in common on the same data: nothing pairs up")
    several = compared.model.nunique() > 1
    rows = [
        Row((score, *_place(one, several)), score, False, _entries(results, one, other))
        for score, one in zip(compared.score, comparisons(compared), strict=True)
    ]
    ours, theirs = results.labels[loss], results.labels[other]
    sentences = (
        *_explained(compared, "P(higher)"),
        *([notes.RECONSTRUCTION] if DAGGER in ours + theirs else []),
        "ρ: Spearman's, between confidence and localisation quality. Good keypoints: Ronchi and Perona's. "
        "Oracle scores: the OKS of a detection as its score; what AP gains by them is lost to ordering.",
    )
    return Table(
        "versus",
        f"{ours} minus {theirs}, {notes.data_kind(results.runs)}: percentage points, correlations times 100",
        ("Score", "Dataset", *(["Model"] if several else []), "Head"),
        _columns(theirs, ours, "P(higher)"),
        tuple(rows),
        (*notes.gaps(results.runs, ()), " ".join(sentences)),
    )


def beside(results: Results, loss: str) -> Table:
    """A row for each dataset, model and head of a loss: its main metric, its differences to MSE and the best.

    Raises:
        ValueError: If no record is of ``loss``.
    """
    rows = []
    for cell in results.cells:
        dataset, model, head, _ = cell
        if cell[3] != loss or model == "control":
            continue
        metric = results.main_metrics[dataset]
        means = {
            other: results.values[(*other, metric)].mean
            for other in results.cells
            if other[:3] == cell[:3] and other != cell and (*other, metric) in results.values
        }
        best = max(means, key=means.__getitem__, default=None)
        own = results.values.get((*cell, metric))
        entries = (
            None if own is None else Value(own.mean, interval=own.interval),
            _minus(results, cell, (dataset, model, head, REFERENCE), metric),
            _minus(results, cell, best, metric),
            results.labels[best[3]] if best else None,
        )
        stub = (dataset_title(dataset), model, head_label(head), metric.removeprefix("metrics."))
        rows.append(Row(stub, " ".join(cell), False, entries))
    if not rows:
        raise ValueError(f"expected a record of the loss {loss!r}, found none")
    title = results.labels[loss]
    return Table(
        "beside",
        f"{title} against the others (%)",
        ("Dataset", "Model", "Head", "Metric"),
        (
            Column("", title),
            Column("", "minus MSE", signed=True),
            Column("", "minus the best", signed=True),
            Column("", "which is", text=True),
        ),
        tuple(rows),
        (
            "Differences in percentage points over the seeds that both have, with 95 % intervals: over "
            "seeds, or for one seed over the validation images. tables/differences.md corrects for comparing "
            "many.",
        ),
    )


def cost_table(results: Results, loss: str, measured: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each head: the loss on its own, and within the recorded trainings.

    Args:
        results: What was trained.
        loss: Name of the loss.
        measured: By head, what the loss costs on its own: ``forward_ms`` and ``backward_ms``; ``extra_mb``,
            the peak of memory beyond the input, or None; ``times_mse``, both passes as a multiple of MSE's.
    """
    runs = results.runs
    rows = []
    for head, own in measured.items():
        of_head = runs[(runs["head"] == head) & ~runs.control].set_index(["dataset", "model"])
        mine = of_head[of_head.loss == loss]
        # On the same datasets and models only, or their sizes would be compared.
        reference = of_head[(of_head.loss == REFERENCE) & of_head.index.isin(mine.index)]
        entries = (
            f"{own['forward_ms'] + own['backward_ms']:.1f} ms",
            f"{own['times_mse']:.1f} x",
            None if own["extra_mb"] is None else f"{own['extra_mb']:.0f} MB",
            _training(mine, reference, "training.seconds_per_iteration", 1000, "ms"),
            _training(mine, reference, "training.peak_memory_mb", 1, "MB"),
        )
        rows.append(Row((head_label(head),), head, False, entries))
    headers = ("loss", "of MSE's", "memory", "training step (MSE)", "peak memory (MSE)")
    return Table(
        "cost",
        "What it costs",
        ("Head",),
        tuple(Column("", header) for header in headers),
        tuple(rows),
        (
            "Loss: forward and backward of 64 x 17 keypoints on this machine, as in rspose bench losses. "
            "Training: means over the recorded cells, under whichever load they were trained.",
        ),
    )


def _minus(results: Results, cell: CellKey, other: CellKey | None, metric: str) -> Entry:
    """The difference of two cells with its interval."""
    if other is None or other not in results.cells or other == cell:
        return None
    found = difference([(results.cells[cell], results.cells[other], metric)])
    if found is None:
        return None
    return Value(found.difference, interval=(found.low, found.high) if found.basis else None)


def _training(runs: pd.DataFrame, reference: pd.DataFrame, column: str, factor: float, unit: str) -> str:
    """The mean of a number of the trainings, and in brackets that of the reference."""
    means = [group[column].mean() if column in group else np.nan for group in (runs, reference)]
    mine, theirs = (MISSING if np.isnan(mean) else f"{factor * mean:.0f} {unit}" for mean in means)
    return f"{mine} ({theirs})"


def _place(one: Comparison, several: bool) -> tuple[str, ...]:
    """How a row says where two losses were compared: dataset, model where there are several, and head."""
    dataset, model, head = one[:3]
    overall = dataset == ALL
    return (
        "All" if overall else dataset_title(dataset),
        *([model] if several else []),
        ALL if overall else head_label(head),
    )


def _columns(reference: str, loss: str, probability: str) -> tuple[Column, ...]:
    """The columns of :func:`_entries`, under the titles of both losses and of the probability."""
    return (
        Column("", reference, competes=False),
        Column("", loss, competes=False),
        Column("", "difference", signed=True, competes=False),
        Column("", probability, 1, 2, competes=False),
        Column("", "p (Holm)", 1, 3, competes=False),
    )


def _entries(results: Results, one: Comparison, reference: str) -> tuple[Entry, ...]:
    """Both losses, their difference, its probability and its corrected p-value."""
    theirs, ours = (results.values.get((*one[:3], loss, one.metric)) for loss in (reference, one.loss))
    known = one.basis is not None
    return (
        "" if theirs is None else Value(theirs.mean),
        "" if ours is None else Value(ours.mean),
        Value(
            one.difference,
            interval=(one.low, one.high) if known else None,
            mark=DIFFERS if one.p_holm < SIGNIFICANCE else "",
        ),
        Value(one.probability) if known else None,
        "" if np.isnan(one.p_holm) else "< 0.001" if one.p_holm < 0.0005 else Value(one.p_holm),
    )


def _explained(compared: pd.DataFrame, probability: str) -> list[str]:
    """The sentences below a table of differences, whose column of probabilities is called so."""
    sentences = []
    pairs = compared.pairs[compared.basis == "seeds"]
    if len(pairs):
        count = f"{pairs.min()}" if pairs.nunique() == 1 else f"{pairs.min()} to {pairs.max()}"
        sentences.append(
            f"Paired by seed, {count} seeds: 95 % interval of a bootstrap over the seeds, p of a paired "
            f"t-test, {probability}: probability that a run of the loss scores higher than one of the other."
        )
    if (compared.basis == "images").any():
        sentences.append(
            "One seed, paired by validation image: 95 % interval of a bootstrap over the images, p from its "
            f"standard error, {probability}: share of the replicates in which the loss scores higher. What "
            "another seed would change is left out."
        )
    if compared.basis.isna().any():
        sentences.append(
            "Differences without an interval are of one seed, and have no bootstrap over the same images."
        )
    if corrected := compared.p_holm.notna().sum():
        sentences.append(
            f"{DIFFERS} p below {SIGNIFICANCE} after Holm's correction over {corrected} comparisons."
        )
    if (compared.dataset == ALL).any():
        sentences.append(
            "All: mean over the datasets and heads above, each resampled on its own; no further comparison, "
            "hence without a corrected p."
        )
    return sentences


def _unequal_seeds(results: Results) -> list[str]:
    """What to say where a loss has other seeds than the reference: the columns then do not subtract."""
    seeds = results.runs[~results.runs.control].groupby(KEY).seed.agg(frozenset)
    for *place, loss in results.differences[KEY].itertuples(index=False):
        if place[0] != ALL and seeds[(*place, loss)] != seeds[(*place, REFERENCE)]:
            return [
                "Some losses have other seeds than the one they are compared with: a difference is over the "
                "seeds of both, the columns of the losses are over all of each."
            ]
    return []
