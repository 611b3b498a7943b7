"""The table that tells a gain in scoring from a gain in localisation."""

from rspose.reporting import notes
from rspose.reporting.markup import Column, Entry, Row, Table, Value
from rspose.reporting.results import Results, dataset_title, head_label
from rspose.reporting.statistics import KEY
from rspose.reporting.style import dataset_order, head_order, loss_order

_ERRORS = {"jitter": "jitter", "inversion": "inv.", "swap": "swap", "miss": "miss"}
_COLUMNS = {
    "confidence.keypoint.pearson": Column("Pearson's r", "kpt.", 1, 2, interval=False),
    "confidence.pose.pearson": Column("Pearson's r", "pose", 1, 2, interval=False),
    "diagnosis.errors.good": Column("Keypoints (%)", "good", interval=False),
    **{
        f"diagnosis.errors.{name}": Column("Keypoints (%)", label, interval=False, competes=False)
        for name, label in _ERRORS.items()
    },
    **{
        f"diagnosis.errors.gain.{name}": Column("Gain without", label, interval=False, competes=False)
        for name, label in _ERRORS.items()
    },
    "diagnosis.ordering.AP_lost": Column("Gain without", "misordering", interval=False, competes=False),
}
_EXPLAINED = (
    "Pearson's r of confidence with quality, as in the table of rank correlations. Keypoints: share of good "
    "ones and of each error after Ronchi and Perona (ICCV 2017), on detections, MPII: on ground-truth boxes. "
    "Gain: percentage points of AP (MPII: PCKh) if an error were repaired; without misordering: if the score "
    "of every detection that suppression kept were its OKS. Means over the seeds; their "
    "intervals stand in the CSV file."
)


def study_table(results: Results) -> Table | None:
    """A row for each dataset, head and loss; None where no record has a diagnosis."""
    runs = results.runs
    trained = runs[~runs.control]
    with_models = trained.model.nunique() > 1
    cells = sorted(
        set(trained[KEY].itertuples(index=False, name=None)),
        key=lambda cell: (dataset_order(cell[0]), cell[1], head_order(cell[2]), loss_order(cell[3], False)),
    )
    rows = []
    for cell in cells:
        values = [results.values.get((*cell, score)) for score in _COLUMNS]
        if not any(results.values.get((*cell, score)) for score in _COLUMNS if score.startswith("diagnosis")):
            continue
        entries: list[Entry] = [None if value is None else Value(value.mean) for value in values]
        dataset, model, head, loss = cell
        stub = (
            dataset_title(dataset),
            *([model] if with_models else []),
            head_label(head),
            results.labels[loss],
        )
        rows.append(Row(stub, f"{dataset} {model} {head}", False, tuple(entries), (cell,) * len(entries)))
    if not rows:
        return None
    return Table(
        "diagnosis",
        f"Scoring and localisation, {notes.data_kind(runs)}",
        ("Dataset", *(["Model"] if with_models else []), "Head", "Loss"),
        tuple(_COLUMNS.values()),
        tuple(rows),
        (_EXPLAINED, *notes.gaps(runs, results.failures), " ".join(notes.marks(rows))),
    )
