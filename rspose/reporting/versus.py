"""One loss against another: did a part of it do what it is said to do?"""

from collections.abc import Sequence

import numpy as np

from rspose.grid.record import Record
from rspose.reporting import notes
from rspose.reporting.difference_table import compared_columns, compared_entries, explained, ordered, place
from rspose.reporting.markup import DAGGER, Row, Table
from rspose.reporting.results import Results
from rspose.reporting.statistics import Comparison, differences, holm

_SCORES = {
    "confidence.keypoint.spearman": "kpt. ρ",
    "confidence.pose.spearman": "pose ρ",
    "diagnosis.errors.good": "good keypoints",
    "diagnosis.ordering.AP_oracle_scores": "AP with oracle scores",
    "diagnosis.ordering.AP_lost": "AP lost to ordering",
}


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
    found = _comparisons(results, other)
    if not found:
        raise ValueError(f"{loss} and {other} have no seed in common on the same data: nothing pairs up")
    with_models = len({one.model for _, one in found}) > 1
    rows = [
        Row((score, *place(one, with_models)), score, False, compared_entries(results, one, other))
        for score, one in found
    ]
    ours, theirs = results.labels[loss], results.labels[other]
    sentences = (
        *explained([one for _, one in found], "P(higher)"),
        *([notes.RECONSTRUCTION] if DAGGER in ours + theirs else []),
        "ρ: Spearman's, between confidence and localisation quality. Good keypoints: Ronchi and Perona's. "
        "Oracle scores: the OKS of a detection as its score; what AP gains by them is lost to ordering.",
    )
    return Table(
        "versus",
        f"{ours} minus {theirs}, {notes.data_kind(results.runs)}: percentage points, correlations times 100",
        ("Score", "Dataset", *(["Model"] if with_models else []), "Head"),
        compared_columns(theirs, ours, "P(higher)"),
        tuple(rows),
        (*notes.gaps(results.runs, ()), " ".join(sentences)),
    )


def _comparisons(results: Results, other: str) -> list[tuple[str, Comparison]]:
    """What each score says, with p corrected over all of them."""
    names = {metric.removeprefix("metrics.") for metric in results.main_metrics.values()}
    metrics = {" / ".join(sorted(names)): results.main_metrics}
    metrics |= {label: dict.fromkeys(results.datasets, score) for score, label in _SCORES.items()}
    found = [
        (label, one)
        for label, of_datasets in metrics.items()
        for one in ordered(differences(results.records, of_datasets, other))
    ]
    corrected = holm([np.nan if one.dataset == "all" else one.found.p for _, one in found])
    return [(label, one._replace(p_holm=float(p))) for (label, one), p in zip(found, corrected, strict=True)]
