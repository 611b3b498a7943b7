"""The tables of a result set, from records alone.

One a dataset, one of confidence quality, one that tells scoring from localisation, one of the differences to
MSE, one of what publications claim, and an overview.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from rspose.reporting import notes
from rspose.reporting.difference_tables import difference_table
from rspose.reporting.latex import to_latex
from rspose.reporting.markdown import to_markdown
from rspose.reporting.published import PUBLISHED, TOLERANCE, Claim, claimed, verdict
from rspose.reporting.results import Results, head_label, read_results
from rspose.reporting.statistics import KEY, CellKey
from rspose.reporting.style import dataset_order, dataset_title, head_order, loss_order, main_metric
from rspose.reporting.table import TIE, Column, Entry, Row, Table, Value

_CONTENTS = {
    "coco": "keypoint AP and AR",
    "crowdpose": "keypoint AP, also on easy, medium and hard images",
    "mpii": "PCKh@0.5 per joint group, their mean, and mean PCKh@0.1",
    "wholebody": "AP and AR of all 133 keypoints, AP of each part",
}
_CORRELATIONS = {
    "confidence.keypoint.spearman": "kpt. ρ",
    "confidence.keypoint.kendall": "kpt. τ",
    "confidence.pose.spearman": "pose ρ",
    "confidence.pose.kendall": "pose τ",
}
_ERRORS = {"jitter": "jitter", "inversion": "inv.", "swap": "swap", "miss": "miss"}
_DIAGNOSIS = {
    "confidence.keypoint.pearson": Column("Pearson's r", "kpt.", 1, 2),
    "confidence.pose.pearson": Column("Pearson's r", "pose", 1, 2),
    "diagnosis.errors.good": Column("Keypoints (%)", "good"),
    **{
        f"diagnosis.errors.{name}": Column("Keypoints (%)", label, competes=False)
        for name, label in _ERRORS.items()
    },
    **{
        f"diagnosis.errors.gain.{name}": Column("Gain without", label, competes=False)
        for name, label in _ERRORS.items()
    },
    "diagnosis.ordering.AP_lost": Column("Gain without", "misordering", competes=False),
}
_VERDICTS = (
    "Claimed: published for this cell (results/published). A measured number within "
    f"{100 * TOLERANCE:.1f} points of it has reproduced it. Only numbers on real data are compared."
)


@dataclass(frozen=True)
class _Source:
    """A column and where its entries come from."""

    column: Column
    dataset: str | None  # None where each row has its own
    head: str
    metric: str
    kind: str = "measured"  # or "claimed" or "verdict"


def make_tables(records: Path | Sequence[Path], out: Path, published: Path = PUBLISHED) -> list[Path]:
    """Write every table as Markdown, LaTeX and CSV.

    A table per dataset (``coco.md``, ...), ``confidence``, ``diagnosis`` if records have one, ``differences``
    if there is something to compare, ``claimed`` if there are records of real data, and ``main``. The CSV
    holds what the others show, one number a line, as fractions in full precision.

    Args:
        records: Folder of records, or several, whose records are merged.
        out: Folder of the tables, made if it is not there.
        published: Folder of published numbers.

    Returns:
        The files written.

    Raises:
        FileNotFoundError: If there is no folder of records.
        ValueError: If it holds no usable record, or the published numbers are damaged.
    """
    results = read_results([records] if isinstance(records, Path) else records, published)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for table, numbers in all_tables(results):
        texts = {"md": to_markdown(table), "tex": to_latex(table), "csv": numbers.to_csv(index=False)}
        for suffix, text in texts.items():
            path = out / f"{table.name}.{suffix}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def all_tables(results: Results) -> list[tuple[Table, pd.DataFrame]]:
    """Every table of :func:`make_tables`, the overview last, with what it is made from: its CSV."""
    facts = results.runs[[*KEY, "control", "loss.title", "loss.reconstruction"]].drop_duplicates(KEY)
    facts = facts.rename(columns={"loss.title": "title", "loss.reconstruction": "reconstruction"})
    numbers = facts.merge(results.summary, on=KEY)
    kind = numbers.metric.str.partition(".")[0]
    tables: list[tuple[Table | None, pd.DataFrame]] = [
        *(
            (
                _dataset_table(results.of(dataset), dataset),
                numbers[(kind == "metrics") & (numbers.dataset == dataset)],
            )
            for dataset in results.datasets
        ),
        (_confidence_table(results), numbers[kind == "confidence"]),
        (diagnosis_table(results), numbers[kind == "diagnosis"]),
        (difference_table(results), results.differences),
        _claim_table(results),
        (main_table(results), numbers[numbers.metric == numbers.dataset.map(results.main_metrics)]),
    ]
    return [(table, of_table) for table, of_table in tables if table is not None]


def _dataset_table(results: Results, dataset: str) -> Table:
    main = results.main_metrics[dataset]
    sources = []
    for head in _heads(results.runs):
        for name, label in results.metrics(dataset).items():
            metric = f"metrics.{name}"
            # A dozen columns of intervals are nothing to read: the CSV has them all.
            column = Column(head_label(head), label, interval=metric == main)
            sources.append(_Source(column, dataset, head, metric))
    contents = _CONTENTS.get(dataset, "all metrics")
    caption = f"{dataset_title(dataset)} val, {notes.data_kind(results.runs)}: {contents} (%)"
    return _table(dataset, caption, results, sources)


def _confidence_table(results: Results) -> Table:
    sources = [
        _Source(Column(head_label(head), label, 1, 2), None, head, metric)
        for head in _heads(results.runs)
        for metric, label in _CORRELATIONS.items()
    ]
    kind = notes.data_kind(results.runs)
    caption = f"Rank correlation between confidence and localisation quality, {kind}"
    table = _table("confidence", caption, results, sources, results.datasets)
    explained = (
        "Spearman's ρ and Kendall's τ. Keypoint (kpt.): confidence of a keypoint against its keypoint "
        "similarity. Pose: score of an instance against its OKS."
    )
    return replace(table, notes=(explained, *table.notes))


def main_table(results: Results) -> Table:
    """The overview: the main metric of every dataset and head."""
    sources = []
    metrics = results.main_metrics
    for dataset in results.datasets:
        metric, title = metrics[dataset], dataset_title(dataset)
        for head in _heads(results.runs[results.runs.dataset == dataset]):
            label = f"{head_label(head)} {metric.removeprefix('metrics.')}"
            if not _claims_of(results, dataset, head):
                sources.append(_Source(Column(title, label), dataset, head, metric))
                continue
            for kind in ("claimed", "measured", "verdict"):
                measured = kind == "measured"
                column = Column(f"{title} {label}", kind, competes=measured, text=kind == "verdict")
                sources.append(_Source(column, dataset, head, metric, kind))
    caption = f"Overview, {notes.data_kind(results.runs)}: {notes.metrics_named(metrics)} (%)"
    table = _table("main", caption, results, sources)
    if any(source.kind == "verdict" for source in sources):
        table = replace(table, notes=(*table.notes, f"{_VERDICTS} Table claimed has the commands."))
    return table


def diagnosis_table(results: Results) -> Table | None:
    """What tells a gain in scoring from one in localisation: a row for each dataset, model, head and loss.

    None where no record has a diagnosis.
    """
    runs = results.runs
    cells = sorted(
        set(runs[~runs.control][KEY].itertuples(index=False, name=None)),
        key=lambda cell: (dataset_order(cell[0]), cell[1], head_order(cell[2]), loss_order(cell[3], False)),
    )
    rows = []
    for cell in cells:
        values = {score: results.values.get((*cell, score)) for score in _DIAGNOSIS}
        if not any(value for score, value in values.items() if score.startswith("diagnosis")):
            continue
        entries = tuple(None if value is None else Value(value.mean) for value in values.values())
        dataset, model, head, loss = cell
        stub = [dataset_title(dataset), model, head_label(head), results.labels[loss]]
        if not results.several_models:
            del stub[1]
        rows.append(Row(tuple(stub), f"{dataset} {model} {head}", False, entries, (cell,) * len(entries)))
    if not rows:
        return None
    explained = (
        "Pearson's r of confidence with quality, as in the table of rank correlations. Keypoints: share of "
        "good ones and of each error after Ronchi and Perona (ICCV 2017), on detections, MPII: on "
        "ground-truth boxes. Gain: percentage points of AP (MPII: PCKh) if an error were repaired; without "
        "misordering: if the score of every detection that suppression kept were its OKS. Means over the "
        "seeds; their intervals stand in the CSV file."
    )
    return Table(
        "diagnosis",
        f"Scoring and localisation, {notes.data_kind(runs)}",
        ("Dataset", *(["Model"] if results.several_models else []), "Head", "Loss"),
        tuple(_DIAGNOSIS.values()),
        tuple(rows),
        (explained, *notes.gaps(runs, results.failures), " ".join(notes.marks(rows))),
    )


def _claim_table(results: Results) -> tuple[Table | None, pd.DataFrame]:
    """A row a published number: claimed, measured, verdict, source, and the command where it was not run.

    LaTeX has the source in short and no commands: they are wider than a page. None without real data.
    """
    claims = [claim for claim in results.claims if claim.model and claim.metric == main_metric(claim.dataset)]
    claims.sort(
        key=lambda claim: (
            dataset_order(claim.dataset),
            head_order(claim.head),
            claim.model,
            loss_order(claim.loss, False),
        )
    )
    rows, lines = [], []
    for claim in claims:
        metric = f"metrics.{claim.metric}"
        value = results.values.get((*claim.cell, metric)) if claim.dataset in results.real else None
        mean = None if value is None else value.mean
        found = verdict(claim, mean)
        # Of a file of mmpose's documentation the name says no more than the row's labels.
        place = "" if "/" in claim.table else claim.table
        entries = (
            Value(claim.value),
            value or "not run",
            found,
            ", ".join(filter(None, (claim.source, place))),
            f"{', '.join(filter(None, (claim.source, claim.table)))}: {claim.row}",
            "" if value else f"`{claim.command}`",
        )
        stub = (dataset_title(claim.dataset), claim.model, head_label(claim.head), claim.title)
        cells = (None, claim.cell, *[None] * 4)
        rows.append(Row(stub, f"{claim.dataset} {claim.model}", False, entries, cells))
        low, high = (value and value.interval) or (None, None)
        numbers = (*claim.cell, metric, claim.value, mean, low, high, found)
        lines.append((*numbers, claim.source, claim.table, claim.row, claim.command))
    table = Table(
        "claimed",
        "Claimed and measured, real data: AP, on MPII PCKh (%)",
        ("Dataset", "Model", "Head", "Loss"),
        (
            Column("", "claimed", competes=False),
            Column("", "measured", competes=False),
            Column("", "verdict", competes=False, text=True),
            Column("", "source", competes=False, text=True, only="paper"),
            Column("", "source", competes=False, text=True, only="screen"),
            Column("", "command", competes=False, text=True, only="screen"),
        ),
        tuple(rows),
        (
            _VERDICTS
            + " The sources in full, and the commands that run what was not run, are in claimed.md.",
            notes.spread(results.runs, results.summary),
        ),
    )
    measured = ["claimed", "measured", "low", "high", "verdict"]
    columns = [*KEY, "metric", *measured, "source", "table", "row", "command"]
    return (table if results.real else None), pd.DataFrame(lines, columns=columns)


def _table(
    name: str,
    caption: str,
    results: Results,
    sources: Sequence[_Source],
    row_datasets: Sequence[str | None] = (None,),
) -> Table:
    """A row for each model and loss, or, with ``row_datasets``, for each dataset, model and loss."""
    shown_claims = [
        claim
        for source in sources
        if source.kind == "claimed" and source.dataset is not None
        for claim in _claims_of(results, source.dataset, source.head)
    ]
    ties = {metric: results.ties(metric) for metric in {source.metric for source in sources}}
    rows = []
    for dataset in row_datasets:
        for model, control, loss in _lines(results if dataset is None else results.of(dataset), shown_claims):
            cells = tuple(
                (source.dataset or dataset or "", model, "control" if control else source.head, loss)
                for source in sources
            )
            values = tuple(
                _entry(results, source, cell, cell in ties[source.metric])
                for source, cell in zip(sources, cells, strict=True)
            )
            if control and not any(values):  # a constant confidence has no rank correlation
                continue
            stub = [] if dataset is None else [dataset_title(dataset)]
            stub += [model] * results.several_models + [results.labels[loss]]
            rows.append(Row(tuple(stub), f"{dataset} {model}", control, values, cells))
    stub_headers = ["Dataset"] * (row_datasets[0] is not None) + ["Model"] * results.several_models + ["Loss"]
    shown = results.summary[results.summary.metric.isin({source.metric for source in sources})]
    sentences = [*notes.provenance(results.runs), *notes.gaps(results.runs, results.failures)]
    sentences.append(" ".join([notes.spread(results.runs, shown), *notes.marks(rows)]))
    columns = tuple(source.column for source in sources)
    return Table(name, caption, tuple(stub_headers), columns, tuple(rows), tuple(sentences))


def _entry(results: Results, source: _Source, cell: CellKey, tie: bool) -> Entry:
    """What stands in the row of a cell."""
    value = results.values.get((*cell, source.metric))
    claim = None
    if cell[0] in results.real:
        claim = claimed(results.claims, cell, source.metric.removeprefix("metrics."))
    if source.kind == "claimed":
        return "" if claim is None else Value(claim.value)
    if source.kind == "verdict":
        return "" if claim is None else verdict(claim, None if value is None else value.mean)
    if value is not None:
        return replace(value, mark=TIE) if tie else value
    if cell not in results.cells and any(failure.cell[:4] == cell for failure in results.failures):
        return "failed"
    return None if claim is None else "not run"


def _claims_of(results: Results, dataset: str, head: str) -> list[Claim]:
    """The claims that the main table shows: of models that there are records of on real data."""
    if dataset not in results.real:
        return []
    metric = results.main_metrics[dataset].removeprefix("metrics.")
    models = set(results.runs.model)
    return [
        claim
        for claim in results.claims
        if (claim.dataset, claim.head, claim.metric) == (dataset, head, metric) and claim.model in models
    ]


def _lines(results: Results, claims: Sequence[Claim]) -> list[tuple[str, bool, str]]:
    """Model, whether a control, and loss of every row: the losses of each model, then the controls."""
    runs = results.runs
    lines = set(zip(runs.model, runs.control, runs.loss, strict=True))
    lines |= {(failure.cell.model, False, failure.cell.loss) for failure in results.failures}
    lines |= {(claim.model, False, claim.loss) for claim in claims}
    return sorted(lines, key=lambda line: (line[1], line[0], loss_order(line[2], line[1])))


def _heads(runs: pd.DataFrame) -> list[str]:
    """The heads of the losses; controls have none, and a table of controls alone has one group for them."""
    return sorted(runs[~runs.control]["head"].unique(), key=head_order) or ["control"]
