"""Makes ``report.html``: everything that the records say, in one file that asks nothing of anybody."""

import base64
import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from markupsafe import Markup

from rspose.grid.cell import Cell
from rspose.grid.files import replacing
from rspose.grid.record import Failure, Record
from rspose.reporting import notes
from rspose.reporting.answers import answers
from rspose.reporting.chart_frames import losses
from rspose.reporting.charts import LOCALISATION, page_charts, vega_config
from rspose.reporting.figures import READ
from rspose.reporting.html import address_of, render, to_html
from rspose.reporting.report.cells import cell_details
from rspose.reporting.report.drawings import drawings
from rspose.reporting.report.pictures import heatmap_sheets, localisations, pushes
from rspose.reporting.results import Results, read_results
from rspose.reporting.statistics import EQUIVALENCE
from rspose.reporting.style import dataset_title, head_label, loss_colour
from rspose.reporting.table import MISSING, Column, Value, entry_text
from rspose.reporting.tables import all_tables

_SPEARMAN = ("confidence.keypoint.spearman", "confidence.pose.spearman")
_SECTIONS = {
    "main": ("overview", "Overview"),
    "claimed": ("claimed", "Claimed and measured"),
    "confidence": ("confidence", "Confidence"),
    "diagnosis": ("diagnosis", "Diagnosis"),
    "calibration": ("calibration", "Calibration"),
    "readings": ("readings", "Readings"),
    "differences": ("differences", "Differences to MSE"),
    "lengths": ("lengths", "Along the training length"),
}


def make_report(records: Path | Sequence[Path], out: Path, region: float = EQUIVALENCE) -> Path:
    """Write the report of finished records as one HTML file, ``out``; the same records give the same file.

    What lies beside the folders of records is used where it is there: the predictions of the cells
    (``cells/``), which the report draws, the sheets of heatmaps (``figures/``), loss against localisation
    and where the losses push (``localisation/``).
    Errors as :func:`rspose.reporting.results.read_results` has them.
    """
    results = read_results(records, region)
    libraries = _libraries()
    details = cell_details(results)
    localised = localisations(results)
    crops, drawn = drawings(results)
    panels = render("panels.html", cells=details, drawn=drawn, read=READ)
    kind = notes.data_kind(results.all_runs)
    page = render(
        "report.html",
        summary=_summary(results),
        answers=answers(results),
        sections=_sections(results, {tuple(key.split("/")) for key in details}),
        localisations=localised,
        localisation=LOCALISATION,
        pushes=pushes(results),
        heatmaps=heatmap_sheets(results),
        cells=_cell_rows(results, set(details)),
        generated=kind == "generated data",
        kind=kind,
        crops=crops,
        drawn=bool(drawn),
        read=READ,
        data={
            "charts": _json(page_charts(results)),
            "localisations": _json([picture["chart"] for picture in localised]),
            "looks": _json(vega_config(losses(results), page=True)),
        },
        packed={**libraries.result(), "panels": _packed(panels)},
    )
    with replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out


def _sections(results: Results, linked: set[Any]) -> list[dict[str, Any]]:
    """The overview first, then the datasets and the rest: tables with their headings."""
    made = {table.name: table for table, _ in all_tables(results)}
    sections = []
    for name in dict.fromkeys(["main", *made]):
        if name in made and made[name].rows:
            place, title = _SECTIONS.get(name, (f"dataset-{name}", dataset_title(name)))
            table = to_html(made[name], linked)
            sections.append({"id": place, "title": title, "table": table, "notes": made[name].notes})
    return sections


def _summary(results: Results) -> dict[str, Any]:
    """What the head of the page says of all records together."""
    records = _all_records(results)
    made_by = [record.provenance for record in records]
    days = sorted(each.created[:10] for each in made_by if each.created)
    commits = [f"{one.git_commit[:10]}{'-dirty' * (one.clean is False)}" for one in made_by if one.git_commit]
    versions: dict[str, dict[str, None]] = {}
    for package, version in chain.from_iterable(each.versions.items() for each in made_by):
        versions.setdefault(package, {})[str(version)] = None
    return {
        "grids": list(dict.fromkeys(record.grid for record in records if record.grid)),
        "records": len(records),
        "failed": len(_all_failures(results)),
        "missing": len(_all_missing(results)),
        "days": list(dict.fromkeys(days[:1] + days[-1:])),
        "commits": list(dict.fromkeys(commits)),
        "devices": list(dict.fromkeys(each.device for each in made_by if each.device)),
        "versions": [f"{package} {' / '.join(found)}" for package, found in versions.items()],
        "reconstructions": any(record.loss.reconstruction for record in records),
    }


def _cell_rows(results: Results, linked: set[str]) -> list[dict[str, Any]]:
    """A row a record, and a row a cell that failed or is missing, in the order of the tables.

    Those at the length of ``results`` lead to the panel of their cell, if it is ``linked``.
    """
    row, rows = partial(_row, results, linked), []
    for record in _all_records(results):
        metric = results.all_metrics[record.cell.dataset]
        numbers = []
        columns = {metric: Column("", ""), **dict.fromkeys(_SPEARMAN, Column("", "", 1, 2))}
        for name, column in columns.items():
            value = record.scores.get(name)
            text = MISSING if value is None else entry_text(Value(value), column)
            numbers.append((text, -9.0 if value is None else value))
        seconds = record.training.seconds if record.training else None
        numbers.append(("", -9.0) if seconds is None else (f"{seconds:.0f}", seconds))
        data = "generated" if record.data.generated else "real"
        status, named = "control" if record.control else "finished", metric.removeprefix("metrics.")
        rows.append(row(record.cell, status, "", data=data, metric=named, numbers=numbers))
    rows += [row(one.cell, "failed", one.error) for one in _all_failures(results)]
    why = "other cells of this dataset and model have the seed"
    return rows + [row(cell, "missing", why) for cell in _all_missing(results)]


def _all_records(results: Results) -> list[Record]:
    """Those of all training lengths, controls once."""
    others = chain.from_iterable(each.records for each in results.others)
    return [*results.records, *(record for record in others if not record.control)]


def _all_failures(results: Results) -> list[Failure]:
    return [*chain.from_iterable(each.failures for each in results.lengths), *results.unseen]


def _all_missing(results: Results) -> list[Cell]:
    return [cell for each in results.lengths for cell in notes.missing(each.runs, each.failures)]


def _row(
    results: Results, linked: set[str], cell: Cell, status: str, note: str, **known: Any
) -> dict[str, Any]:
    control = cell.model == "control"
    has_panel = "/".join(cell[:4]) in linked and (control or cell.length == results.length)
    return {
        "address": address_of(cell[:4]) if has_panel else "",
        "dataset": dataset_title(cell.dataset),
        "model": "" if control else cell.model,
        "head": "" if control else head_label(cell.head),
        "loss": results.labels[cell.loss],
        "colour": loss_colour(cell.loss),
        "seed": "" if control else notes.run_name(cell).removeprefix("seed "),
        "status": status,
        "note": note,
        **({"data": "", "metric": "", "numbers": [(MISSING, -9.0)] * 3 + [("", -9.0)]} | known),
    }


@cache
def _libraries() -> Future[dict[str, str]]:
    """One script each, compressed: the page unpacks it when it is first needed. Made meanwhile."""
    pool = ThreadPoolExecutor(1)
    made = pool.submit(_packed_libraries)
    pool.shutdown(wait=False)
    return made


def _packed_libraries() -> dict[str, str]:
    found = find_spec("itables")  # not imported: that would take longer than all the rest
    missing = [name for name in ("itables", "vl_convert") if find_spec(name) is None]
    if found is None or not found.submodule_search_locations or missing:
        raise ImportError(f"{' and '.join(missing)} not installed, which the report needs: run make setup")
    datatables = Path(found.submodule_search_locations[0], "html/dt_bundle.js").read_text(encoding="utf-8")
    # Seconds, in which it would let no other thread run.
    bundle = "import vl_convert; print(vl_convert.javascript_bundle('window.vegaEmbed = vegaEmbed;'))"
    made = subprocess.run([sys.executable, "-c", bundle], stdout=subprocess.PIPE, text=True, check=True)
    return {"datatables": _packed(datatables), "vega": _packed(made.stdout)}


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _json(content: Any) -> Markup:
    """``content`` for a script element, which only ``</script`` and ``<!--`` could end or change."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))
