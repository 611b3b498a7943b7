"""The comparison tables, from records alone.

One a dataset, one of confidence quality, one that tells scoring from localisation, one of the differences to
MSE, one of what publications claim, and an overview.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from rspose.grid.record import Record
from rspose.grid.records import load_failures
from rspose.reporting import notes
from rspose.reporting.claim_table import VERDICTS, claim_numbers, claim_table
from rspose.reporting.difference_table import comparisons, difference_numbers, difference_table
from rspose.reporting.frame import ordered_records
from rspose.reporting.latex import to_latex
from rspose.reporting.markup import TIE, CellKey, Column, Entry, Row, Table, Value, to_markdown
from rspose.reporting.published import PUBLISHED, Claim, claimed, read_claims, verdict
from rspose.reporting.results import Results, dataset_title, head_label
from rspose.reporting.statistics import KEY, SIGNIFICANCE, difference, holm
from rspose.reporting.study_table import study_table
from rspose.reporting.style import head_order, loss_order

_CORRELATIONS = {
    "confidence.keypoint.spearman": "kpt. ρ",
    "confidence.keypoint.kendall": "kpt. τ",
    "confidence.pose.spearman": "pose ρ",
    "confidence.pose.kendall": "pose τ",
}
_CONTENTS = {
    "coco": "keypoint AP and AR",
    "crowdpose": "keypoint AP, also on easy, medium and hard images",
    "mpii": "PCKh@0.5 per joint group, their mean, and mean PCKh@0.1",
    "wholebody": "AP and AR of all 133 keypoints, AP of each part",
}


@dataclass(frozen=True)
class _Source:
    """Where the entries of a column come from.

    Attributes:
        dataset: None where each row has its own.
        head: Head, which controls have not.
        metric: Name of the score.
        kind: What is shown: ``measured``, ``claimed`` or the ``verdict``.
    """

    dataset: str | None
    head: str
    metric: str
    kind: str = "measured"


def make_tables(records: Path | Sequence[Path], out: Path, published: Path = PUBLISHED) -> list[Path]:
    """Write every table as Markdown, LaTeX and CSV.

    A table per dataset (``coco.md``, ...), ``confidence``, ``diagnosis`` if records have one, ``differences``
    if there is something to compare, ``claimed`` if there are records of real data, and ``main``. Markdown
    and LaTeX show percent and correlations, rounded; the CSV holds what they are made from, one number a
    line, as fractions in full precision, with standard deviation, number of seeds, interval and what that is
    from.

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
    for table, of_table in all_tables(results):
        for suffix, text in (
            ("md", to_markdown(table)),
            ("tex", to_latex(table)),
            ("csv", of_table.to_csv(index=False)),
        ):
            path = out / f"{table.name}.{suffix}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def read_results(folders: Sequence[Path], published: Path = PUBLISHED) -> Results:
    """The records and failures under the folders, merged, and the published numbers.

    Raises:
        FileNotFoundError: If a folder does not exist.
        ValueError: If there is no usable record, or the published numbers are damaged.
    """
    usable = ordered_records(*folders)
    if not usable:
        where = ", ".join(map(str, folders))
        raise ValueError(f"no usable record under {where}: run the cells first, or name another folder")
    return Results(usable, load_failures(usable, *folders), read_claims(published))


def all_tables(results: Results) -> list[tuple[Table, pd.DataFrame]]:
    """Every table of :func:`make_tables`, the overview last, with what it is made from: its CSV."""
    numbers = _numbers(results)
    is_metric = numbers.metric.str.startswith("metrics.")
    is_main = numbers.metric == numbers.dataset.map(results.main_metrics)
    tables: list[tuple[Table, pd.DataFrame]] = [
        *(
            (_dataset_table(results, dataset), numbers[is_metric & (numbers.dataset == dataset)])
            for dataset in results.datasets
        ),
        (_confidence_table(results), numbers[numbers.metric.str.startswith("confidence.")]),
    ]
    if (study := study_table(results)) is not None:
        tables.append((study, numbers[numbers.metric.str.startswith("diagnosis.")]))
    compared = comparisons(results)
    if compared:
        tables.append((difference_table(results, compared), difference_numbers(compared)))
    if results.real:
        tables.append((claim_table(results), claim_numbers(results)))
    tables.append((_main_table(results), numbers[is_main]))
    return tables


def main_table(records: Sequence[Record]) -> str:
    """The overview in Markdown: a row a loss, a column a dataset and head, the main metric of each dataset.

    Args:
        records: Records; at least one.
    """
    return to_markdown(_main_table(Results(records)))


def _dataset_table(results: Results, dataset: str) -> Table:
    results = results.of(dataset)
    names = results.metrics(dataset)
    main = results.main_metrics[dataset]
    sources = [_Source(dataset, head, f"metrics.{name}") for head in _heads(results.runs) for name in names]
    columns = [
        Column(
            head_label(source.head),
            names[source.metric.removeprefix("metrics.")],
            # A dozen columns of intervals are nothing to read: the CSV has them all.
            interval=source.metric == main,
        )
        for source in sources
    ]
    contents = _CONTENTS.get(dataset, "all metrics")
    caption = f"{dataset_title(dataset)} val, {notes.data_kind(results.runs)}: {contents} (%)"
    return _table(dataset, caption, results, sources, columns)


def _confidence_table(results: Results) -> Table:
    sources = [_Source(None, head, metric) for head in _heads(results.runs) for metric in _CORRELATIONS]
    columns = [Column(head_label(source.head), _CORRELATIONS[source.metric], 1, 2) for source in sources]
    kind = notes.data_kind(results.runs)
    caption = f"Rank correlation between confidence and localisation quality, {kind}"
    explained = (
        "Spearman's ρ and Kendall's τ. Keypoint (kpt.): confidence of a keypoint against its keypoint "
        "similarity. Pose: score of an instance against its OKS."
    )
    return _table("confidence", caption, results, sources, columns, results.datasets, explained)


def _main_table(results: Results) -> Table:
    sources, columns = [], []
    metrics = results.main_metrics
    for dataset in results.datasets:
        name = metrics[dataset].removeprefix("metrics.")
        for head in _heads(results.runs[results.runs.dataset == dataset]):
            measured = _Source(dataset, head, metrics[dataset])
            if not _claims_of(results, dataset, head):
                sources.append(measured)
                columns.append(Column(dataset_title(dataset), f"{head_label(head)} {name}"))
                continue
            group = f"{dataset_title(dataset)} {head_label(head)} {name}"
            sources += [replace(measured, kind="claimed"), measured, replace(measured, kind="verdict")]
            columns += [
                Column(group, "claimed", competes=False),
                Column(group, "measured"),
                Column(group, "verdict", competes=False, text=True),
            ]
    what = ", ".join(
        f"{metrics[dataset].removeprefix('metrics.')} on {dataset_title(dataset)} val"
        for dataset in results.datasets
    )
    caption = f"Overview, {notes.data_kind(results.runs)}: {what} (%)"
    table = _table("main", caption, results, sources, columns)
    if any(source.kind == "verdict" for source in sources):
        table = replace(table, notes=(*table.notes, f"{VERDICTS} Table claimed has the commands."))
    return table


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


def _table(
    name: str,
    caption: str,
    results: Results,
    sources: list[_Source],
    columns: list[Column],
    row_datasets: list[str] | None = None,
    explained: str | None = None,
) -> Table:
    """A row for each model and loss, or, with ``row_datasets``, for each dataset, model and loss."""
    runs = results.runs
    labels = results.labels
    with_models = runs[~runs.control].model.nunique() > 1
    shown_claims = [
        claim
        for source in sources
        if source.kind == "claimed" and source.dataset is not None
        for claim in _claims_of(results, source.dataset, source.head)
    ]
    rows = []
    blocks: Sequence[str | None] = row_datasets or [None]
    for dataset in blocks:
        subset = results if dataset is None else results.of(dataset)
        lines = _lines(subset, shown_claims)
        for model in dict.fromkeys(model for model, _, _ in lines):
            of_model = [line for line in lines if line[0] == model]
            entries = [_column_entries(results, source, dataset, of_model) for source in sources]
            for (_, control, loss), values in zip(of_model, zip(*entries, strict=True), strict=True):
                if control and not any(values):  # a constant confidence has no rank correlation
                    continue
                stub = [] if dataset is None else [dataset_title(dataset)]
                stub += [model, labels[loss]] if with_models else [labels[loss]]
                cells = tuple(_cell(source, dataset, model, control, loss) for source in sources)
                rows.append(Row(tuple(stub), f"{dataset} {model}", control, values, cells))
    stub_headers = ["Dataset"] * bool(row_datasets) + ["Model"] * with_models + ["Loss"]
    metrics = {source.metric for source in sources}
    shown = results.summary[results.summary.metric.isin(metrics)]
    sentences = [*notes.provenance(runs), *notes.gaps(runs, results.failures)]
    sentences.append(" ".join([notes.spread(runs, shown), *notes.marks(rows)]))
    if explained:
        sentences.insert(0, explained)
    return Table(name, caption, tuple(stub_headers), tuple(columns), tuple(rows), tuple(sentences))


def _cell(source: _Source, dataset: str | None, model: str, control: bool, loss: str) -> CellKey:
    """The cell of a row in a column; a control has no head."""
    return source.dataset or dataset or "", model, "control" if control else source.head, loss


def _column_entries(
    results: Results, source: _Source, dataset: str | None, lines: Sequence[tuple[str, bool, str]]
) -> list[Entry]:
    """The entries of one column for the losses of one model, in their order."""
    cells = [_cell(source, dataset, *line) for line in lines]
    dataset = source.dataset or dataset or ""
    values = [results.values.get((*cell, source.metric)) for cell in cells]
    metric = source.metric.removeprefix("metrics.")
    claims = [claimed(results.claims, cell, metric) if dataset in results.real else None for cell in cells]
    if source.kind == "claimed":
        return ["" if claim is None else Value(claim.value) for claim in claims]
    if source.kind == "verdict":
        return [
            "" if claim is None else verdict(claim, None if value is None else value.mean)
            for claim, value in zip(claims, values, strict=True)
        ]
    failed = {failure.cell[:4] for failure in results.failures}
    competing = [
        cell
        for cell, value, line in zip(cells, values, lines, strict=True)
        if value is not None and not line[1]
    ]
    ties = _ties(results, competing, source.metric)
    entries: list[Entry] = []
    for cell, value, claim in zip(cells, values, claims, strict=True):
        if value is not None:
            entries.append(replace(value, mark=TIE) if cell in ties else value)
        elif cell in failed and cell not in results.cells:
            entries.append("failed")
        else:
            entries.append(None if claim is None else "not run")
    return entries


def _ties(
    results: Results, competing: Sequence[tuple[str, str, str, str]], metric: str
) -> set[tuple[str, str, str, str]]:
    """The cells whose score cannot be told from that of the best one."""
    if len(competing) < 2:
        return set()
    best = max(competing, key=lambda cell: results.values[(*cell, metric)].mean)
    others = [cell for cell in competing if cell != best]
    found = [difference([(results.cells[best], results.cells[other], metric)]) for other in others]
    corrected = holm([np.nan if one is None else one.p for one in found])
    return {other for other, p in zip(others, corrected, strict=True) if p >= SIGNIFICANCE}


def _numbers(results: Results) -> pd.DataFrame:
    """What the tables show, one number a line: the contents of the CSV files."""
    facts = results.runs[[*KEY, "control", "loss.title", "loss.reconstruction"]].drop_duplicates(KEY)
    facts = facts.rename(columns={"loss.title": "title", "loss.reconstruction": "reconstruction"})
    return facts.merge(results.summary, on=KEY)


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
