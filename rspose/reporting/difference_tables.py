"""Tables of paired differences: every loss to MSE, one loss to another, and one loss beside all others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from rspose.grid.records import Record
from rspose.reporting import notes
from rspose.reporting.results import Results
from rspose.reporting.statistics import (
    ALL,
    EQUIVALENCE,
    KEY,
    MOST_FLIPPED,
    REFERENCE,
    CellKey,
    Verdict,
    difference,
    differences,
)
from rspose.reporting.style import cell_order, dataset_title, head_label
from rspose.reporting.table import DAGGER, DIFFERS, EQUIVALENT, MISSING, Column, Entry, Row, Table, Value

_SCORES = {
    "confidence.keypoint.spearman": "kpt. ρ",
    "confidence.pose.spearman": "pose ρ",
    "diagnosis.errors.good": "good keypoints",
    "diagnosis.ordering.AP_oracle_scores": "AP with oracle scores",
    "diagnosis.ordering.AP_lost": "AP lost to ordering",
}


def difference_table(results: Results) -> Table | None:
    """A row a comparison with MSE: both losses, their difference, how sure it is, and a verdict."""
    compared = results.differences
    if compared.empty:
        return None
    reference = results.labels[REFERENCE]
    single = compared[compared.dataset != ALL]
    what = notes.metrics_named(dict(zip(single.dataset, single.metric, strict=True)))
    conditions = ", ".join(notes.conditions(results.runs[~results.runs.control]))
    caption = f"Difference to {reference}, {conditions}: {what} (percentage points)"
    unequal = (
        "Some losses have other seeds than the one they are compared with: a difference is over the seeds of "
        "both, the columns of the losses are over all of each."
    )
    seeds = results.runs[~results.runs.control].groupby(KEY).seed.agg(frozenset)
    places = single[KEY].itertuples(index=False, name=None)
    differ = any(seeds[place] != seeds[(*place[:3], REFERENCE)] for place in places)
    stub, headers = ["Dataset", "Model", "Head", "Loss"], (reference, "loss", "P(better)")
    together = _number(results.along_lengths)
    sentences = [unequal] * differ
    return _table("differences", caption, results, compared, together, REFERENCE, stub, headers, sentences)


def length_table(results: Results) -> Table | None:
    """A row for each dataset, model, head and loss: along the training length its main metric and minus MSE.

    None where all records are of one length.
    """
    if not results.others:
        return None
    compared = not results.along_lengths.empty
    labels = ("score", f"minus {results.labels[REFERENCE]}") if compared else ("score",)
    one: Any  # pandas does not say what a row holds
    found = {(*one[:4], one.length): one for one in results.along_lengths.itertuples(index=False)}
    places = sorted(
        {cell for each in results.lengths for cell in each.cells if cell[1] != "control"},
        key=lambda cell: cell_order(*cell),
    )
    rows, turned = [], []
    for cell in places:
        metric = results.all_metrics[cell[0]]
        entries: list[Entry] = []
        signs = {}
        for each in results.lengths:
            value = each.values.get((*cell, metric))
            one = found.get((*cell, each.length))
            minus: Entry = "" if cell[3] == REFERENCE else None
            if one is not None:
                signs[each.length] = one.difference > 0
                minus = gain(one)
            entries += [None if value is None else Value(value.mean), *[minus] * compared]
        stub = (dataset_title(cell[0]), cell[1], head_label(cell[2]), results.labels[cell[3]])
        rows.append(Row(stub, " ".join(cell[:3]), False, tuple(entries)))
        if len(set(signs.values())) > 1:
            spans = ", ".join(
                f"{'above' if sign else 'below'} at {notes.times(at)}" for at, sign in signs.items()
            )
            turned.append(f"{' '.join(stub)} ({spans})")
    columns = [
        Column(f"{notes.times(each.length)} the epochs", label, signed=bool(signed))
        for each in results.lengths
        for signed, label in enumerate(labels)
    ]
    metrics = notes.metrics_named(results.all_metrics)
    caption = f"Along the training length, {notes.data_kind(results.all_runs)}: {metrics} (%)"
    order = (
        f"The difference changes its sign: {'; '.join(turned)}."
        if turned
        else "No difference changes its sign."
    )
    together = f"with 95 % intervals of all {_number(results.along_lengths)} comparisons together"
    bases = set(results.along_lengths.basis.dropna())
    if not bases:
        how = "Differences of one seed, without an interval: hence no verdict."
    elif bases == {"images"}:
        how = f"Differences of one seed, {together}, of a bootstrap over the images: hence no verdict."
    else:
        how = (
            f"Differences over the seeds of both losses, {together}. {DIFFERS} better or worse, {EQUIVALENT} "
            f"equivalent. {explained_verdicts(results.region)}"
        )
    said = (
        *[f"{how} {order}"] * compared,
        *[notes.RECONSTRUCTION] * any(label.endswith(DAGGER) for label in results.labels.values()),
    )
    return Table("lengths", caption, ("Dataset", "Model", "Head", "Loss"), tuple(columns), tuple(rows), said)


MARKS = {Verdict.BETTER: DIFFERS, Verdict.WORSE: DIFFERS, Verdict.EQUIVALENT: EQUIVALENT}
"""Signs after a difference, where there is no column for its verdict."""


# Of scores some are better the lower they are.
_HIGHER = {Verdict.BETTER: "higher", Verdict.WORSE: "lower"}


def gain(one: Any) -> Value:
    """A difference as a row of a frame has it, with its interval and its mark."""
    interval = None if one.basis is None else (one.low, one.high)
    return Value(one.difference, interval=interval, mark=MARKS.get(one.verdict, ""))


def versus(records: Sequence[Record], loss: str, other: str, region: float = EQUIVALENCE) -> Table:
    """Paired differences between two losses: in accuracy, in confidence, and in what ordering costs.

    For each score a row a dataset, model and head that both losses have, and one for the mean over them.
    Everything is shown times 100, correlations too. The records may be of further losses.

    Raises:
        ValueError: If both are one loss, one has no record, or nothing pairs up.
    """
    there = sorted({record.cell.loss for record in records if not record.control})
    if not there:
        raise ValueError("no usable record of a loss: run the cells first, or name another folder")
    for name in (loss, other):
        if name not in there:
            raise ValueError(f"no record of a loss {name!r}; there are records of {', '.join(there)}")
    if loss == other:
        raise ValueError(f"expected two losses, found {loss!r} twice")
    results = Results([record for record in records if record.cell.loss in (loss, other)], region=region)
    metrics = results.main_metrics
    scores = {" / ".join(sorted({metric.removeprefix("metrics.") for metric in metrics.values()})): metrics}
    scores |= {label: dict.fromkeys(metrics, score) for score, label in _SCORES.items()}
    compared = differences(results.records, scores, other, region)
    if compared.empty:
        raise ValueError(f"{loss} and {other} have no seed in common on the same data: nothing pairs up")
    ours, theirs = results.labels[loss], results.labels[other]
    conditions = ", ".join(notes.conditions(results.runs))
    caption = f"{ours} minus {theirs}, {conditions}: percentage points, correlations times 100"
    sentences = (
        *[notes.RECONSTRUCTION] * (DAGGER in ours + theirs),
        "ρ: Spearman's, between confidence and localisation quality. Good keypoints: Ronchi and Perona's. "
        "Oracle scores: the OKS of a detection as its score; what AP gains by them is lost to ordering.",
    )
    stub, headers = ["Score", "Dataset", "Model", "Head"], (theirs, ours, "P(higher)")
    together = _number(compared)
    return _table("versus", caption, results, compared, together, other, stub, headers, sentences)


def beside(results: Results, loss: str) -> Table:
    """A row for each dataset, model and head of a loss: its main metric, its differences to MSE and the best.

    Raises:
        ValueError: If no record is of ``loss``.
    """
    rows, warnings = [], []
    for cell in results.cells:
        place, metric = cell[:3], results.main_metrics[cell[0]]
        if cell[3] != loss or cell[1] == "control":
            continue
        others = [other for other in results.cells if other[:3] == place and other != cell]
        rivals = {other: value.mean for other in others if (value := results.values.get((*other, metric)))}
        best = max(rivals, key=rivals.__getitem__, default=None)
        own = results.values.get((*cell, metric))
        entries = (
            None if own is None else Value(own.mean, interval=own.interval),
            _minus(results, cell, (*place, REFERENCE), metric),
            _minus(results, cell, best, metric),
            results.labels[best[3]] if best else None,
        )
        stub = (dataset_title(cell[0]), cell[1], head_label(cell[2]), metric.removeprefix("metrics."))
        rows.append(Row(stub, " ".join(cell), False, entries))
        if own is not None and own.mean <= _of_the_mean_pose(results, cell[0], metric):
            warnings.append(f"{stub[0]} {stub[2]}: {_learned_nothing(results.cells[cell], loss)}")
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
            "seeds, or for one seed over the validation images. tables/differences.md has those of all "
            "losses together.",
            *warnings,
        ),
    )


def _of_the_mean_pose(results: Results, dataset: str, metric: str) -> float:
    """The upper end of what the mean pose reaches, below everything where it has no record."""
    found = results.values.get((dataset, "control", "control", "mean_pose", metric))
    if found is None:
        return -1.0
    return found.mean if found.interval is None else found.interval[1]


def _learned_nothing(records: Sequence[Record], loss: str) -> str:
    """What a cell that is no better than the mean pose went through, and what to do."""
    training = records[0].content["training"] or {}
    curve = training.get("curve", {}).get("loss")
    went = f" while the loss went from {curve[0]:.3g} to {curve[-1]:.3g}" if curve else ""
    trials = len(training.get("tuning", {}).get("tried", ()))
    tried = f"the best of {trials} trials" if trials else "trained at one learning rate, not tuned"
    return (
        f"no better than the mean pose, it has learned nothing{went} ({tried}). `rspose check-loss {loss}` "
        "trains a small network with it and says what is wrong; if nothing is, try learning_rate_factor 0.1 "
        "and 10 in loss_settings, then more epochs."
    )


def _minus(results: Results, cell: CellKey, other: CellKey | None, metric: str) -> Entry:
    """The difference of two cells with its interval."""
    if other is None or other not in results.cells or other == cell:
        return None
    found = difference([(results.cells[cell], results.cells[other], metric)])
    if found is None:
        return None
    return Value(found.difference, interval=(found.low, found.high) if found.basis else None)


def cost_table(results: Results, loss: str, measured: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each head: the loss on its own, and within the recorded trainings.

    Args:
        results: What was trained.
        loss: Name of the loss.
        measured: By head, what the loss costs on its own: ``forward_ms`` and ``backward_ms``; ``extra_mb``,
            the peak of memory beyond the input, or None; ``times_mse``, both passes as a multiple of MSE's.
    """
    runs = results.runs[~results.runs.control].set_index(["dataset", "model"])
    rows = []
    for head, own in measured.items():
        of_head = runs[runs["head"] == head]
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


def _training(runs: pd.DataFrame, reference: pd.DataFrame, column: str, factor: float, unit: str) -> str:
    """The mean of a number of the trainings, and in brackets that of the reference."""
    means = [group[column].mean() if column in group else np.nan for group in (runs, reference)]
    mine, theirs = (MISSING if np.isnan(mean) else f"{factor * mean:.0f} {unit}" for mean in means)
    return f"{mine} ({theirs})"


def _table(
    name: str,
    caption: str,
    results: Results,
    compared: pd.DataFrame,
    together: int,
    reference: str,
    stub: list[str],
    headers: tuple[str, str, str],
    sentences: Sequence[str],
) -> Table:
    """A row a comparison: both losses, their difference, how sure it is, and a verdict.

    Args:
        together: How many comparisons are corrected together, those shown among them.
        stub: Headers of the labels. Each score is a block of rows if it is one of them, else each place.
        headers: Those of the reference, the other loss, and the probability.
        sentences: Notes after those on how losses are compared.
    """
    if compared.model.nunique() < 2:
        stub.remove("Model")
    rows = []
    one: Any  # pandas does not say what a row holds
    for one in compared.itertuples(index=False):
        own, others = ((*one[:3], loss) for loss in (one.loss, reference))
        ours, theirs = (results.values.get((*cell, one.metric)) for cell in (own, others))
        entries = (
            "" if theirs is None else Value(theirs.mean),
            "" if ours is None else Value(ours.mean),
            replace(gain(one), mark=""),
            _probability(one),
            p_value(one.p),
            p_value(one.flip),
            (_HIGHER.get(one.verdict, one.verdict) if "Score" in stub else one.verdict) or "",
        )
        overall = one.dataset == ALL
        labels = {
            "Score": one.score,
            "Dataset": "All" if overall else dataset_title(one.dataset),
            "Model": one.model,
            "Head": ALL if overall else head_label(one.head),
            "Loss": results.labels[one.loss],
        }
        block = one.score if "Score" in stub else " ".join(one[:3])
        cells = () if overall else (others, own, own, *[None] * 4)
        rows.append(Row(tuple(labels[header] for header in stub), block, False, entries, cells))
    columns = (
        Column("", headers[0]),
        Column("", headers[1]),
        Column("", "difference", signed=True),
        Column("", headers[2], 1, 2),
        Column("", "p", 1, 3),
        Column("", "p (signs)", 1, 3),
        Column("", "verdict", text=True),
    )
    words = " ".join([*_explained(compared, together, headers[2], results.region), *sentences])
    said = (*notes.gaps(results.runs, results.failures), words)
    return Table(name, caption, tuple(stub), columns, tuple(rows), said)


def _probability(one: Any) -> Entry:
    if one.basis is None:
        return None
    known = not np.isnan(one.probability_low)
    return Value(one.probability, interval=(one.probability_low, one.probability_high) if known else None)


def p_value(p: float) -> Entry:
    """A p-value as tables have it, nothing where there is none."""
    return "" if np.isnan(p) else "< 0.001" if p < 0.0005 else Value(p)


def explained_verdicts(region: float) -> str:
    """What the verdicts say."""
    return (
        "Verdict: better or worse (higher or lower) where the interval lies beyond a region of "
        f"±{region:g} points (correlations: ±{region / 100:g}) that is of no practical importance, "
        "equivalent where it lies in it, else undecided."
    )


def _number(compared: pd.DataFrame) -> int:
    """How many comparisons are corrected together."""
    return int(compared.p.notna().sum())


def _explained(compared: pd.DataFrame, count: int, probability: str, region: float) -> Iterator[str]:
    """How the losses are compared, and what the column of probabilities means, which is called so."""
    together = (
        f", all {count} comparisons together (min-p over their joint distribution)" if count > 1 else ""
    )
    seeded = compared[compared.basis.isin(["seeds and images", "seeds"])]
    if len(seeded):
        pairs = seeded.pairs
        number = f"{pairs.min()}" if pairs.nunique() == 1 else f"{pairs.min()} to {pairs.max()}"
        bases = set(seeded.basis)
        many = f"left out beyond {MOST_FLIPPED} seeds, " if pairs.max() > MOST_FLIPPED else ""
        alone = ", over seeds alone where records have no replicates over images" * (len(bases) > 1)
        yield (
            f"Paired by seed, {number} seeds: 95 % interval over {max(bases, key=len)}{alone}{together}, and "
            f"its p; p (signs): exact, over all changes of signs of the seeds' differences, {many}"
            "uncorrected. "
            f"{probability}: share of the seeds in which the loss scores higher, with Wilson's 95 % interval."
        )
        yield explained_verdicts(region)
    if (compared.basis == "images").any():
        yield (
            f"One seed, paired by validation image: 95 % interval of a bootstrap over the images"
            f"{'' if len(seeded) else together}, and its p; {probability}: share of the replicates in which "
            "the loss scores higher. What another seed would change is left out, hence no verdict."
        )
    if compared.basis.isna().any():
        yield "Differences without an interval are of one seed, and have no bootstrap over the same images."
    if (compared.dataset == ALL).any():
        yield "All: mean over the datasets and heads above, with its own interval: no further comparison."
