"""The tables of a result set, from records alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from rspose.datasets import DATASETS
from rspose.grid.files import replacing
from rspose.grid.record import Failure
from rspose.reporting import notes
from rspose.reporting.difference_tables import difference_table, length_table
from rspose.reporting.frame import to_csv
from rspose.reporting.latex import to_latex
from rspose.reporting.markdown import to_markdown
from rspose.reporting.published import TOLERANCE, Claim, claimed, verdict
from rspose.reporting.results import Results, read_results
from rspose.reporting.statistics import EQUIVALENCE, KEY, REFERENCE, CellKey, Verdict
from rspose.reporting.style import (
    cell_order,
    dataset_order,
    dataset_title,
    head_label,
    head_order,
    loss_order,
    main_metric,
)
from rspose.reporting.table import EQUIVALENT, Column, Entry, Row, Table, Value

_CORRELATIONS = {
    "confidence.keypoint.spearman": Column("", "kpt. ρ", 1, 2),
    "confidence.keypoint.kendall": Column("", "kpt. τ", 1, 2, competes=False),
    "confidence.pose.spearman": Column("", "pose ρ", 1, 2),
    "confidence.pose.kendall": Column("", "pose τ", 1, 2, competes=False),
}
_CORRELATED = (
    "Spearman's ρ and Kendall's τ. Keypoint (kpt.): confidence of a keypoint against its keypoint "
    "similarity. Pose: score of an instance against its OKS. Of τ there are no replicates over images: it "
    "stands beside ρ, and nothing of it is bold."
)
# In records that have them.
_BY_TYPE = {
    "confidence.within_types.spearman": Column("", "within ρ", 1, 2),
    "confidence.between_types.spearman": Column("", "between ρ", 1, 2, competes=False),
}
_CONSTANTS = ("confidence.keypoint.spearman", "confidence.type_constants.spearman")
_TYPES = (
    "Within: kpt. ρ within a keypoint type, the mean over the types; between: of the types' means. In "
    "italics with one constant a type: what confidences reach times constants fitted on other images."
)
_SCORED = {
    "AP": Column("", "AP"),
    "AP_own_threshold": Column("", "own thr."),
    "AP_lost": Column("", "lost"),
    "keypoint_spearman": Column("", "kpt. ρ", 1, 2),
    "pose_spearman": Column("", "pose ρ", 1, 2),
    "pose_on_truth_spearman": Column("", "GT pose ρ", 1, 2),
}
_NATIVE = {
    "AP": "metrics.AP",
    "AP_own_threshold": "diagnosis.ordering.AP_own_threshold",
    "AP_lost": "diagnosis.ordering.AP_lost",
    "keypoint_spearman": "confidence.keypoint.spearman",
    "pose_spearman": "confidence.pose.spearman",
    "pose_on_truth_spearman": "confidence.pose_on_truth.spearman",
}
_FITS = {"pooled": "Calibrated", "by_type": "By type"}
_CALIBRATED = {_NATIVE[name]: replace(column, group="As scored") for name, column in _SCORED.items()} | {
    f"confidence.calibrated.{fit}.{name}": replace(column, group=title)
    for fit, title in _FITS.items()
    for name, column in _SCORED.items()
}
_CALIBRATION = (
    "Calibrated: by one isotonic regression from confidence to keypoint similarity, the same for every loss, "
    "fitted on the other half of the images; by type: one for each keypoint type. Own thr.: AP at the best "
    "of ten thresholds on keypoint scores, chosen on these very images. Lost: AP lost to ordering. ρ: "
    "Spearman's, calibrated the mean of both halves; GT, where boxes are detected: on annotated ones. "
    "Means over the seeds; their intervals stand in the CSV file."
)
_READ = {
    "confidence.keypoint.spearman": Column("", "kpt. ρ", 1, 2),
    "confidence.within_types.spearman": Column("", "within ρ", 1, 2),
    "confidence.pose.spearman": Column("", "pose ρ", 1, 2),
    "confidence.calibrated.pooled.pose_spearman": Column("", "pose ρ, calibrated", 1, 2),
}
_PLACE = ("Dataset", "Model", "Head", "Loss")
_ERRORS = {"jitter": "jitter", "inversion": "inv.", "swap": "swap", "miss": "miss"}
_DIAGNOSIS = {
    "confidence.keypoint.pearson": Column("Pearson's r", "kpt.", 1, 2),
    "confidence.pose.pearson": Column("Pearson's r", "pose", 1, 2),
    "diagnosis.errors.good": Column("Keypoints (%)", "good"),
    **{f"diagnosis.errors.{name}": Column("Keypoints (%)", label) for name, label in _ERRORS.items()},
    **{f"diagnosis.errors.gain.{name}": Column("Gain without", label) for name, label in _ERRORS.items()},
    "diagnosis.ordering.AP_lost": Column("Gain without", "misordering"),
}
_DIAGNOSED = (
    "Pearson's r of confidence with quality, as in the table of rank correlations. Keypoints: share of "
    "good ones and of each error after Ronchi and Perona (ICCV 2017), on detections, MPII and LSP: on "
    "ground-truth boxes. Gain: percentage points of the main metric if an error were repaired; without "
    "misordering, of AP: if the score of every detection that suppression kept were its OKS. Means over the "
    "seeds; their intervals stand in the CSV file."
)
_VERDICTS = (
    "Claimed: published for this cell (results/published). A measured number within "
    f"{100 * TOLERANCE:.1f} points of it has reproduced it. Only numbers on real data are compared."
)


class _Source(NamedTuple):
    """A column and where its entries come from: dataset and head are those of the row where empty."""

    column: Column
    metric: str
    dataset: str = ""
    head: str = ""
    kind: str = "measured"  # or "mean", "claimed" or "verdict"


def make_tables(records: Path | Sequence[Path], out: Path, region: float = EQUIVALENCE) -> list[Path]:
    """Write every table as Markdown, LaTeX and CSV into the folder ``out``; the files written.

    Those of the training length with the most cells stand there, of each other length ``L`` in ``lengthL``;
    ``lengths`` has the differences along it.

    A table per dataset (``coco.md``, ...), ``confidence``, ``diagnosis`` and ``calibration`` if records have
    one, ``differences`` if there is something to compare, ``claimed`` if there are records of real data
    of which numbers are published, and ``main``. The CSV holds what the others show, one number a line, as
    fractions in full precision.

    Raises:
        FileNotFoundError, ValueError: As :func:`rspose.reporting.results.read_results` does; or a file of
            another's lies where a table is to be written.
    """
    results = read_results(records, region)
    texts: dict[Path, str] = {}
    for of_length in results.lengths:
        folder = out if of_length.length == results.length else out / f"length{of_length.length:g}"
        for table, numbers in all_tables(of_length):
            texts[folder / f"{table.name}.md"] = to_markdown(table)
            texts[folder / f"{table.name}.tex"] = to_latex(table)
            texts[folder / f"{table.name}.csv"] = to_csv(numbers)
    for path in texts:
        if path.exists() and not _is_ours(path):
            raise ValueError(f"{path}: expected a table of before, found another file; use another folder")
    for path, text in texts.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    _remove_outdated(out, texts)
    return list(texts)


def _remove_outdated(out: Path, written: Iterable[Path]) -> None:
    """Remove tables of an earlier call that this one did not write, and nothing else."""
    for folder in [*out.glob("length[0-9]*/"), out]:
        outdated = [
            three
            for path in folder.glob("*.tex")
            # All three, in case that somebody keeps a table of another command here.
            if path not in written
            and all(map(_is_ours, three := [path.with_suffix(each) for each in _BEGINS]))
        ]
        for path in chain.from_iterable(outdated):
            path.unlink()
        if outdated and not any(folder.iterdir()):
            folder.rmdir()


_BEGINS = {".md": "**", ".tex": "% Needs \\usepackage{booktabs", ".csv": "dataset,model,head,loss,"}


def _is_ours(path: Path) -> bool:
    """Whether a file begins as a table of :func:`make_tables` does."""
    return path.is_file() and path.read_bytes().startswith(_BEGINS.get(path.suffix, "?").encode())


def all_tables(results: Results) -> list[tuple[Table, pd.DataFrame]]:
    """Every table of :func:`make_tables`, the overview last, with what it is made from: its CSV."""
    facts = results.runs[[*KEY, "control", "loss.title", "loss.reconstruction"]].drop_duplicates(KEY)
    facts = facts.rename(columns={"loss.title": "title", "loss.reconstruction": "reconstruction"})
    numbers = facts.merge(results.summary, on=KEY)
    kind = numbers.metric.str.split(".").str[0]
    of_dataset = {name: numbers[(kind == "metrics") & (numbers.dataset == name)] for name in results.datasets}
    tables: list[tuple[Table | None, pd.DataFrame]] = [
        *((_dataset_table(results, name), own) for name, own in of_dataset.items()),
        (_confidence_table(results), numbers[kind == "confidence"]),
        (diagnosis_table(results), numbers[kind == "diagnosis"]),
        (calibration_table(results), numbers[numbers.metric.isin(_CALIBRATED)]),
        (readings_table(results), numbers[numbers.loss.isin(_readings(results.runs))]),
        (difference_table(results), results.differences.drop(columns="score")),
        (length_table(results), results.along_lengths.drop(columns="score")),
        _claim_table(results),
        (main_table(results), numbers[numbers.metric == numbers.dataset.map(results.main_metrics)]),
    ]
    return [(table, own) for table, own in tables if table is not None and table.columns]


def _dataset_table(results: Results, dataset: str) -> Table:
    runs, failures = results.of(dataset)
    main = results.main_metrics[dataset].removeprefix("metrics.")
    sources = [
        # A dozen columns of intervals are nothing to read: the CSV has them all.
        _Source(Column(head_label(head), label, interval=name == main), f"metrics.{name}", dataset, head)
        for head in _heads(runs)
        for name, label in results.metrics(dataset).items()
    ]
    contents = DATASETS[dataset].measured if dataset in DATASETS else "all metrics"
    caption = f"{dataset_title(dataset)} val, {notes.data_kind(runs)}: {contents} (%)"
    return _table(dataset, caption, results, sources, _places(runs, failures), dataset)


def _confidence_table(results: Results) -> Table:
    by_type = {metric: column for metric, column in _BY_TYPE.items() if metric in results.runs}
    columns = {**_CORRELATIONS, **by_type}
    sources = [
        _Source(replace(column, group=head_label(head)), metric, head=head)
        for head in _heads(results.runs)
        for metric, column in columns.items()
    ]
    places = [
        (dataset, *place[1:]) for dataset in results.datasets for place in _places(*results.of(dataset))
    ]
    caption = f"Rank correlation between confidence and localisation quality, {notes.data_kind(results.runs)}"
    table = _table("confidence", caption, results, sources, places)
    if not by_type:
        return replace(table, notes=(_CORRELATED, *table.notes))
    rows = [each for row in table.rows for each in (row, *_with_constants(results, sources, row))]
    return replace(table, rows=tuple(rows), notes=(_CORRELATED, _TYPES, *table.notes))


def _with_constants(results: Results, sources: Sequence[_Source], row: Row) -> list[Row]:
    """The control that follows a row of MSE: its confidences times one constant a keypoint type."""
    pooled, constants = _CONSTANTS
    values = tuple(
        results.values.get((*cell, constants))
        if cell and cell[3] == REFERENCE and source.metric == pooled
        else None
        for source, cell in zip(sources, row.cells, strict=True)
    )
    if row.control or not any(values):
        return []
    stub = (*row.stub[:-1], f"{row.stub[-1]} with one constant a type")
    return [replace(row, stub=stub, control=True, values=values, cells=(None,) * len(values))]


def main_table(results: Results) -> Table:
    """The overview: the main metric of every dataset and head, on real data beside what is claimed."""
    sources, claims = [], []
    models = set(results.runs.model)
    for dataset, metric in results.main_metrics.items():
        for head in _heads(results.of(dataset)[0]):
            place = (dataset, head, metric.removeprefix("metrics."))
            found = [
                claim
                for claim in results.claims
                if dataset in results.real
                and (claim.dataset, claim.head, claim.metric) == place
                and claim.model in models
            ]
            claims += found
            title, label = dataset_title(dataset), f"{head_label(head)} {place[2]}"
            for kind in ("claimed", "measured", "verdict") if found else ("measured",):
                group, name = (f"{title} {label}", kind) if found else (title, label)
                column = Column(group, name, competes=kind == "measured", text=kind == "verdict")
                sources.append(_Source(column, metric, dataset, head, kind))
    caption = f"Overview, {notes.data_kind(results.runs)}: {notes.metrics_named(results.main_metrics)} (%)"
    table = _table("main", caption, results, sources, _places(results.runs, results.failures, claims))
    if claims:
        table = replace(table, notes=(*table.notes, f"{_VERDICTS} Table claimed has the commands."))
    return replace(table, notes=(*table.notes, *notes.gaps(results.runs[:0], results.unseen)))


def diagnosis_table(results: Results) -> Table | None:
    """What tells a gain in scoring from one in localisation: a row for each dataset, model, head and loss.

    None where no record has a diagnosis.
    """
    caption = "Scoring and localisation"
    return _table_of_means(results, "diagnosis", caption, _DIAGNOSIS, "diagnosis.", _DIAGNOSED)


def calibration_table(results: Results) -> Table | None:
    """Scores as a loss has them beside calibrated ones, otherwise as :func:`diagnosis_table`."""
    caption, only = "Scores as they are and calibrated", "confidence.calibrated."
    columns = _CALIBRATED
    if "confidence.calibrated.pooled.pose_on_truth_spearman" not in results.runs:
        columns = {name: column for name, column in columns.items() if "pose_on_truth" not in name}
    return _table_of_means(results, "calibration", caption, columns, only, _CALIBRATION)


def readings_table(results: Results) -> Table | None:
    """A row for each reading of an open point of a publication, below MSE and KL, which have none.

    None where no record has a reading.
    """
    runs, readings = results.runs, _readings(results.runs)
    if not readings:
        return None
    sources = [
        _Source(replace(column, group=f"{dataset_title(dataset)} {head_label(head)}"), metric, dataset, head)
        for dataset, main in results.main_metrics.items()
        for head in _heads(results.of(dataset)[0])
        for metric, column in {main: Column("", main.removeprefix("metrics.")), **_READ}.items()
        if metric in runs
    ]
    compared = {*readings, REFERENCE, "kl"}
    places = [
        place for place in _places(runs, results.failures) if place[3] in compared and place[1] != "control"
    ]
    caption = f"Readings of what was not available to us, {notes.data_kind(runs)} (%)"
    table = _table("readings", caption, results, sources, places)
    references = dict(zip(runs.loss, runs["loss.reference"], strict=True))
    rows = [
        replace(row, stub=(*row.stub, readings.get(place[3], ""), references.get(place[3], "")))
        for place, row in zip(places, table.rows, strict=True)
    ]
    return replace(table, stub=(*table.stub, "Open point", "Source"), rows=tuple(rows))


def _readings(runs: pd.DataFrame) -> dict[str, str]:
    """The open point that each loss fills, of those that fill one."""
    if "loss.reading" not in runs:
        return {}
    known = runs.dropna(subset="loss.reading")
    return dict(zip(known.loss, known["loss.reading"], strict=True))


def _table_of_means(
    results: Results, name: str, caption: str, columns: Mapping[str, Column], only: str, note: str
) -> Table | None:
    """A row for each dataset, model, head and loss with a number in a column that starts with ``only``."""
    sources = [_Source(column, metric, kind="mean") for metric, column in columns.items()]
    needed = [metric for metric in columns if metric.startswith(only)]
    places = [
        cell
        for cell in sorted(results.cells, key=lambda cell: cell_order(*cell))
        if cell[1] != "control" and any((*cell, metric) in results.values for metric in needed)
    ]
    if not places:
        return None
    table = _table(name, f"{caption}, {notes.data_kind(results.runs)}", results, sources, places)
    said = (
        note,
        *notes.gaps(results.runs, results.failures),
        " ".join(notes.marks(table.rows, results.region)),
    )
    return replace(table, notes=said)


def _claim_table(results: Results) -> tuple[Table | None, pd.DataFrame]:
    """A row a published number: claimed, measured, verdict, source, and the command where it was not run.

    LaTeX has the source in short and no commands: they are wider than a page. None without real data of which
    something is published.
    """
    claims = sorted(
        (claim for claim in results.claims if claim.model and claim.metric == main_metric(claim.dataset)),
        key=lambda claim: (
            dataset_order(claim.dataset),
            head_order(claim.head),
            claim.model,
            loss_order(claim.loss, False),
        ),
    )
    rows, lines = [], []
    for claim in claims:
        metric = f"metrics.{claim.metric}"
        value = results.values.get((*claim.cell, metric)) if claim.dataset in results.real else None
        mean, interval = (value.mean, value.interval) if value else (None, None)
        found = verdict(claim, mean)
        numbers = (*claim.cell, metric, claim.value, mean, *(interval or (None, None)), found)
        lines.append((*numbers, claim.source, claim.table, claim.row, claim.command))
        # Of a file of mmpose's documentation the name says no more than the row's labels.
        short = [claim.source, "" if "/" in claim.table else claim.table]
        entries = (
            Value(claim.value),
            value or "not run",
            found,
            ", ".join(filter(None, short)),
            f"{', '.join(filter(None, (claim.source, claim.table)))}: {claim.row}",
            "" if value else f"`{claim.command}`",
        )
        stub = (dataset_title(claim.dataset), claim.model, head_label(claim.head), claim.title)
        cells = (None, claim.cell, *[None] * 4)
        rows.append(Row(stub, f"{claim.dataset} {claim.model}", False, entries, cells))
    columns = (
        ("claimed", False, ""),
        ("measured", False, ""),
        ("verdict", True, ""),
        ("source", True, "paper"),
        ("source", True, "screen"),
        ("command", True, "screen"),
    )
    table = Table(
        "claimed",
        "Claimed and measured, real data: AP, on MPII PCKh (%)",
        _PLACE,
        tuple(Column("", label, text=text, only=only) for label, text, only in columns),
        tuple(rows),
        (
            _VERDICTS
            + " The sources in full, and the commands that run what was not run, are in claimed.md.",
            notes.spread(
                results.summary[results.summary.metric.isin({f"metrics.{claim.metric}" for claim in claims})]
            ),
        ),
    )
    numbers_of = ["claimed", "measured", "low", "high", "verdict", "source", "table", "row", "command"]
    compared = any(claim.dataset in results.real for claim in claims)
    return (table if compared else None), pd.DataFrame(lines, columns=[*KEY, "metric", *numbers_of])


def _table(
    name: str,
    caption: str,
    results: Results,
    sources: Sequence[_Source],
    places: Sequence[CellKey],
    of: str | None = None,
) -> Table:
    """A row a place and a column a source, with the notes of a dataset or of all.

    A place is a cell without what its columns say, dataset or head, or both.
    """
    runs, failures = results.of(of)
    several = runs.model[~runs.control].nunique() > 1
    metrics = {source.metric for source in sources}
    competing = {source.metric for source in sources if source.kind == "measured" and source.column.competes}
    standing = {metric: results.standing(metric) for metric in competing}
    used = (any(place[0] for place in places), several, any(place[2] for place in places), True)
    headers = tuple(header for header, use in zip(_PLACE, used, strict=True) if use)
    rows = []
    for place in places:
        dataset, model, head, loss = place
        control = model == "control"
        cells = tuple(
            (source.dataset or dataset, model, "control" if control else source.head or head, loss)
            for source in sources
        )
        values = tuple(
            _entry(results, source, cell, standing.get(source.metric, {}))
            for source, cell in zip(sources, cells, strict=True)
        )
        if control and not any(values):  # a constant confidence has no rank correlation
            continue
        labels = (dataset_title(dataset), model, head_label(head), results.labels[loss])
        stub = tuple(label for label, use in zip(labels, used, strict=True) if use)
        rows.append(Row(stub, " ".join(place[:3]), control, values, cells))
    shown = results.summary[results.summary.metric.isin(metrics)]
    if of is not None:
        shown = shown[shown.dataset == of]
    sentences = [*notes.provenance(runs), *notes.gaps(runs, failures)]
    sentences.append(" ".join([notes.spread(shown), *notes.marks(rows, results.region)]))
    columns = tuple(source.column for source in sources)
    return Table(name, caption, headers, columns, tuple(rows), tuple(sentences))


def _entry(
    results: Results, source: _Source, cell: CellKey, standing: Mapping[CellKey, Verdict | None]
) -> Entry:
    """What stands in the row of a cell; bold is what is the best of its column or not shown to be worse."""
    value = results.values.get((*cell, source.metric))
    if source.kind == "mean":
        return None if value is None else Value(value.mean)
    claim = None
    if cell[0] in results.real:
        claim = claimed(results.claims, cell, source.metric.removeprefix("metrics."))
    if source.kind == "claimed":
        return "" if claim is None else Value(claim.value)
    if source.kind == "verdict":
        return "" if claim is None else verdict(claim, None if value is None else value.mean)
    if value is not None:
        if cell not in standing:
            return value
        found = standing[cell]
        mark = EQUIVALENT if found is Verdict.EQUIVALENT else ""
        return replace(value, mark=mark, bold=found is not Verdict.WORSE)
    if cell not in results.cells and any(failure.cell[:4] == cell for failure in results.failures):
        return "failed"
    return None if claim is None else "not run"


def _places(runs: pd.DataFrame, failures: Iterable[Failure], claims: Iterable[Claim] = ()) -> list[CellKey]:
    """The losses of each model, then the controls, as cells without a dataset and a head."""
    lines = set(zip(runs.model, runs.loss, strict=True))
    lines |= {(failure.cell.model, failure.cell.loss) for failure in failures}
    lines |= {(claim.model, claim.loss) for claim in claims}
    cells = [("", model, "", loss) for model, loss in lines]
    return sorted(cells, key=lambda cell: cell_order("", cell[1], "", cell[3], cell[1] == "control"))


def _heads(runs: pd.DataFrame) -> list[str]:
    """The heads of the losses; controls have none, and a table of controls alone has one group for them."""
    return sorted(runs[~runs.control]["head"].unique(), key=head_order) or ["control"]
