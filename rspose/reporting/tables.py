"""The comparison tables, from records alone: one a dataset, one of confidence quality, one overview."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rspose.reporting import notes
from rspose.reporting.markup import DAGGER, Column, Row, Table, Value, to_latex, to_markdown
from rspose.reporting.records import collect
from rspose.reporting.statistics import KEY, over_seeds
from rspose.reporting.style import (
    DATASET_TITLES,
    HEAD_LABELS,
    MAIN_METRIC,
    METRICS,
    dataset_order,
    head_order,
    loss_order,
)

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
}


@dataclass(frozen=True)
class _Source:
    """Where the numbers of a column come from; the dataset is None where each row has its own."""

    dataset: str | None
    head: str
    metric: str


def make_tables(records: Path, out: Path) -> list[Path]:
    """Write every table as Markdown, LaTeX (booktabs) and CSV.

    A table per dataset (``coco.md``, ...), ``confidence`` and ``main``. Markdown and LaTeX show percent and
    correlations, rounded; the CSV holds what they are made from, one number a line, as fractions in full
    precision, with the standard deviation and the number of seeds.

    Args:
        records: Folder of records.
        out: Folder of the tables, made if it is not there.

    Returns:
        The files written.

    Raises:
        FileNotFoundError: If there is no folder of records.
        ValueError: If it holds no usable record.
    """
    runs = collect(records)
    if runs.empty:
        raise ValueError(f"no usable record under {records}: run the cells first, or name another folder")
    out.mkdir(parents=True, exist_ok=True)
    summary = over_seeds(runs)
    datasets = _datasets(runs)
    tables = [
        *(_dataset_table(runs, summary, dataset) for dataset in datasets),
        _confidence_table(runs, summary, datasets),
        _main_table(runs, summary, datasets),
    ]
    numbers = _numbers(runs, summary)
    is_metric = numbers.metric.str.startswith("metrics.")
    is_main = is_metric & (
        numbers.metric == numbers.dataset.map(lambda name: f"metrics.{_main_metric(runs, name)}")
    )
    selections = [*(is_metric & (numbers.dataset == dataset) for dataset in datasets), ~is_metric, is_main]
    written = []
    for table, selection in zip(tables, selections, strict=True):
        for suffix, text in (
            ("md", to_markdown(table)),
            ("tex", to_latex(table)),
            ("csv", numbers[selection].to_csv(index=False)),
        ):
            path = out / f"{table.name}.{suffix}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def main_table(runs: pd.DataFrame) -> str:
    """The overview in Markdown: a row a loss, a column a dataset and head, the main metric of each dataset.

    Args:
        runs: One row a record, as :func:`rspose.reporting.records.collect` gives it; at least one.
    """
    return to_markdown(_main_table(runs, over_seeds(runs), _datasets(runs)))


def _dataset_table(runs: pd.DataFrame, summary: pd.DataFrame, dataset: str) -> Table:
    runs = runs[runs.dataset == dataset]
    names = _metrics(runs, dataset)
    sources = [_Source(dataset, head, f"metrics.{name}") for head in _heads(runs) for name in names]
    columns = [
        Column(_head_label(source.head), names[source.metric.removeprefix("metrics.")]) for source in sources
    ]
    caption = f"{_title(dataset)} val, {notes.data_kind(runs)}: {_CONTENTS.get(dataset, 'all metrics')} (%)"
    return _table(dataset, caption, runs, summary, sources, columns)


def _confidence_table(runs: pd.DataFrame, summary: pd.DataFrame, datasets: list[str]) -> Table:
    sources = [_Source(None, head, metric) for head in _heads(runs) for metric in _CORRELATIONS]
    columns = [Column(_head_label(source.head), _CORRELATIONS[source.metric], 1, 2) for source in sources]
    caption = f"Rank correlation between confidence and localisation quality, {notes.data_kind(runs)}"
    explained = (
        "Spearman's ρ and Kendall's τ. Keypoint (kpt.): confidence of a keypoint against its keypoint "
        "similarity. Pose: score of an instance against its OKS."
    )
    return _table("confidence", caption, runs, summary, sources, columns, datasets, explained)


def _main_table(runs: pd.DataFrame, summary: pd.DataFrame, datasets: list[str]) -> Table:
    sources, columns = [], []
    for dataset in datasets:
        metric = _main_metric(runs, dataset)
        for head in _heads(runs[runs.dataset == dataset]):
            sources.append(_Source(dataset, head, f"metrics.{metric}"))
            columns.append(Column(_title(dataset), f"{_head_label(head)} {metric}"))
    what = ", ".join(f"{_main_metric(runs, dataset)} on {_title(dataset)} val" for dataset in datasets)
    return _table("main", f"Overview, {notes.data_kind(runs)}: {what} (%)", runs, summary, sources, columns)


def _table(
    name: str,
    caption: str,
    runs: pd.DataFrame,
    summary: pd.DataFrame,
    sources: list[_Source],
    columns: list[Column],
    row_datasets: list[str] | None = None,
    explained: str | None = None,
) -> Table:
    """A row for each model and loss, or, with ``row_datasets``, for each dataset, model and loss."""
    found = {
        tuple(key): Value(mean, None if pd.isna(std) else std)
        for *key, mean, std in summary[[*KEY, "metric", "mean", "std"]].itertuples(index=False)
    }
    labels = _labels(runs)
    with_models = runs[~runs.control].model.nunique() > 1
    rows = []
    blocks: Sequence[str | None] = row_datasets or [None]
    for dataset in blocks:
        subset = runs if dataset is None else runs[runs.dataset == dataset]
        for model, control, loss in _lines(subset):
            stub = [] if dataset is None else [_title(dataset)]
            keys = [
                (s.dataset or dataset, model, "control" if control else s.head, loss, s.metric)
                for s in sources
            ]
            values = tuple(found.get(key) for key in keys)
            if control and not any(values):  # a constant confidence has no rank correlation
                continue
            stub += [model, labels[loss]] if with_models else [labels[loss]]
            rows.append(Row(tuple(stub), f"{dataset} {model}", control, values))
    stub_headers = ["Dataset"] * bool(row_datasets) + ["Model"] * with_models + ["Loss"]
    sentences = [*notes.provenance(runs), " ".join([notes.spread(runs), *notes.marks(rows)])]
    if explained:
        sentences.insert(0, explained)
    return Table(name, caption, tuple(stub_headers), tuple(columns), tuple(rows), tuple(sentences))


def _numbers(runs: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """What the tables show, one number a line: the contents of the CSV files."""
    facts = runs[[*KEY, "control", "loss.title", "loss.reconstruction"]].drop_duplicates(KEY)
    facts = facts.rename(columns={"loss.title": "title", "loss.reconstruction": "reconstruction"})
    return facts.merge(summary, on=KEY)


def _lines(runs: pd.DataFrame) -> list[tuple[str, bool, str]]:
    """Model, whether a control, and loss of every row: the losses of each model, then the controls."""
    lines = set(zip(runs.model, runs.control, runs.loss, strict=True))
    return sorted(lines, key=lambda line: (line[1], line[0], loss_order(line[2], line[1])))


def _labels(runs: pd.DataFrame) -> dict[str, str]:
    """How each loss is written: its title, with its name where two losses share a title, and the dagger."""
    losses = runs.drop_duplicates("loss")
    titles = list(losses["loss.title"])
    labels = {}
    for loss, title, reconstruction in zip(losses.loss, titles, losses["loss.reconstruction"], strict=True):
        name = f"{title} ({loss})" if titles.count(title) > 1 else title
        labels[loss] = f"{name} {DAGGER}" if reconstruction else name
    return labels


def _datasets(runs: pd.DataFrame) -> list[str]:
    return sorted(runs.dataset.unique(), key=dataset_order)


def _heads(runs: pd.DataFrame) -> list[str]:
    """The heads of the losses; controls have none, and a table of controls alone has one group for them."""
    return sorted(runs[~runs.control]["head"].unique(), key=head_order) or ["control"]


def _metrics(runs: pd.DataFrame, dataset: str) -> dict[str, str]:
    """Name in the record and header of each metric; for a dataset unknown here, those in its records."""
    if dataset in METRICS:
        return METRICS[dataset]
    of_dataset = runs[runs.dataset == dataset].dropna(axis="columns", how="all")
    names = [name.removeprefix("metrics.") for name in of_dataset.columns if name.startswith("metrics.")]
    return {name: name for name in names}


def _main_metric(runs: pd.DataFrame, dataset: str) -> str:
    return MAIN_METRIC[dataset] if dataset in MAIN_METRIC else next(iter(_metrics(runs, dataset)), "AP")


def _title(dataset: str) -> str:
    return DATASET_TITLES.get(dataset, dataset)


def _head_label(head: str) -> str:
    return HEAD_LABELS.get(head, head)
