"""The table of differences to MSE, and what other tables of differences share with it."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from rspose.reporting import notes
from rspose.reporting.markup import DIFFERS, Column, Entry, Row, Table, Value
from rspose.reporting.results import Results, dataset_title, head_label
from rspose.reporting.statistics import (
    KEY,
    REFERENCE,
    SIGNIFICANCE,
    Comparison,
    Difference,
    differences,
)
from rspose.reporting.style import dataset_order, head_order, loss_order


def comparisons(results: Results) -> list[Comparison]:
    """The differences to MSE in the main metrics, in the order of the tables, means over several last."""
    return ordered(differences(results.records, results.main_metrics))


def ordered(compared: Iterable[Comparison]) -> list[Comparison]:
    """Comparisons in the order of the tables, means over several last."""
    return sorted(
        compared,
        key=lambda one: (
            one.dataset == "all",
            dataset_order(one.dataset),
            one.model,
            head_order(one.head),
            loss_order(one.loss, False),
        ),
    )


def difference_numbers(compared: Sequence[Comparison]) -> pd.DataFrame:
    """The table's numbers in full, one row a comparison."""
    return pd.DataFrame(
        [(*one[:5], *one.found, one.p_holm) for one in compared],
        columns=[*KEY, "metric", *Difference._fields, "p_holm"],
    )


def difference_table(results: Results, compared: Sequence[Comparison]) -> Table:
    """A row a comparison: both losses, their difference, its probability and its corrected p-value."""
    reference = results.labels[REFERENCE]
    with_models = len({one.model for one in compared}) > 1
    rows = []
    for one in compared:
        stub = (*place(one, with_models), results.labels[one.loss])
        entries = compared_entries(results, one, REFERENCE)
        own, others = ((*one[:3], loss) for loss in (one.loss, REFERENCE))
        cells = () if one.dataset == "all" else (others, own, own, None, None)
        rows.append(Row(stub, f"{one.dataset} {one.model} {one.head}", False, entries, cells))
    metrics = dict.fromkeys((one.dataset, one.metric) for one in compared if one.dataset != "all")
    what = ", ".join(
        f"{metric.removeprefix('metrics.')} on {dataset_title(dataset)} val" for dataset, metric in metrics
    )
    return Table(
        "differences",
        f"Difference to {reference}, {notes.data_kind(results.runs)}: {what} (percentage points)",
        ("Dataset", *(["Model"] if with_models else []), "Head", "Loss"),
        compared_columns(reference, "loss", "P(better)"),
        tuple(rows),
        (
            *notes.gaps(results.runs, results.failures),
            " ".join([*explained(compared, "P(better)"), *_unequal_seeds(results, compared)]),
        ),
    )


def _unequal_seeds(results: Results, compared: Sequence[Comparison]) -> list[str]:
    """What to say where a loss has other seeds than the reference: the columns then do not subtract."""
    seeds = results.runs[~results.runs.control].groupby(KEY).seed.agg(frozenset)
    for one in compared:
        if one.dataset != "all" and seeds[one[:4]] != seeds[(*one[:3], REFERENCE)]:
            return [
                "Some losses have other seeds than the one they are compared with: a difference is over the "
                "seeds of both, the columns of the losses are over all of each."
            ]
    return []


def place(one: Comparison, with_models: bool) -> tuple[str, ...]:
    """How a row says where two losses were compared: dataset, model and head."""
    overall = one.dataset == "all"
    return (
        "All" if overall else dataset_title(one.dataset),
        *([one.model] if with_models else []),
        "all" if overall else head_label(one.head),
    )


def compared_columns(reference: str, loss: str, probability: str) -> tuple[Column, ...]:
    """The columns of :func:`compared_entries`, under the titles of both losses and of the probability."""
    return (
        Column("", reference, competes=False),
        Column("", loss, competes=False),
        Column("", "difference", signed=True, competes=False),
        Column("", probability, 1, 2, competes=False),
        Column("", "p (Holm)", 1, 3, competes=False),
    )


def compared_entries(results: Results, one: Comparison, reference: str) -> tuple[Entry, ...]:
    """Both losses, their difference, its probability and its corrected p-value."""
    found = one.found
    known = found.basis is not None
    theirs, ours = (
        results.values.get((one.dataset, one.model, one.head, loss, one.metric))
        for loss in (reference, one.loss)
    )
    return (
        "" if theirs is None else Value(theirs.mean),
        "" if ours is None else Value(ours.mean),
        Value(
            found.difference,
            interval=(found.low, found.high) if known else None,
            mark=DIFFERS if one.p_holm < SIGNIFICANCE else "",
        ),
        Value(found.probability) if known else None,
        _shown_p(one.p_holm),
    )


def _shown_p(p: float) -> Entry:
    if np.isnan(p):
        return ""
    return "< 0.001" if p < 0.0005 else Value(p)


def explained(compared: Sequence[Comparison], probability: str) -> list[str]:
    """The sentences below a table of differences, whose column of probabilities is called so."""
    sentences = []
    pairs = {one.found.pairs for one in compared if one.found.basis == "seeds"}
    if pairs:
        count = f"{min(pairs)}" if len(pairs) == 1 else f"{min(pairs)} to {max(pairs)}"
        sentences.append(
            f"Paired by seed, {count} seeds: 95 % interval of a bootstrap over the seeds, p of a paired "
            f"t-test, {probability}: probability that a run of the loss scores higher than one of the other."
        )
    if any(one.found.basis == "images" for one in compared):
        sentences.append(
            "One seed, paired by validation image: 95 % interval of a bootstrap over the images, p from its "
            f"standard error, {probability}: share of the replicates in which the loss scores higher. What "
            "another seed would change is left out."
        )
    if any(one.found.basis is None for one in compared):
        sentences.append(
            "Differences without an interval are of one seed, and have no bootstrap over the same images."
        )
    corrected = sum(not np.isnan(one.p_holm) for one in compared)
    if corrected:
        sentences.append(
            f"{DIFFERS} p below {SIGNIFICANCE} after Holm's correction over {corrected} comparisons."
        )
    if any(one.dataset == "all" for one in compared):
        sentences.append(
            "All: mean over the datasets and heads above, each resampled on its own; no further comparison, "
            "hence without a corrected p."
        )
    return sentences
