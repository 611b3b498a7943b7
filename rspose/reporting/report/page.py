"""Makes ``report.html``: everything that the records say, in one file that asks nothing of anybody."""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from rspose.grid.cell import Cell
from rspose.reporting import notes
from rspose.reporting.chart_frames import losses
from rspose.reporting.charts import page_charts, vega_config
from rspose.reporting.html import address_of, to_html
from rspose.reporting.published import PUBLISHED
from rspose.reporting.report.cells import cell_details
from rspose.reporting.report.drawings import drawings
from rspose.reporting.report.pictures import heatmap_sheets, localisations
from rspose.reporting.results import Results, read_results
from rspose.reporting.style import dataset_title, head_label, loss_colour
from rspose.reporting.table import MISSING, Column, Table, Value, entry_text
from rspose.reporting.tables import all_tables

_SCRIPTS = ("theme.js", "libraries.js", "tables.js", "charts.js", "drawings.js", "panel.js", "main.js")
_STYLES = ("page.css", "tables.css", "panel.css")
_SECTIONS = {
    "main": ("overview", "Overview"),
    "claimed": ("claimed", "Claimed and measured"),
    "confidence": ("confidence", "Confidence"),
    "diagnosis": ("diagnosis", "Diagnosis"),
    "differences": ("differences", "Differences to MSE"),
}


@dataclass(frozen=True)
class Section:
    """A table with what stands around it.

    Attributes:
        id: Its place in the page's address.
        title: Its heading.
        table: As HTML; None where there is only something to say.
        notes: Sentences below the table.
    """

    id: str
    title: str
    table: Markup | None
    notes: Sequence[str]


def make_report(records: Path | Sequence[Path], out: Path, published: Path = PUBLISHED) -> Path:
    """Write the report of finished records as one HTML file.

    The same records give the same file. What lies beside the folders of records is used where it is there:
    the predictions of the cells (``cells/``), which the report draws, the sheets of heatmaps (``figures/``)
    and loss against localisation (``localisation/``).

    Args:
        records: Folder of records, or several, whose records are merged.
        out: The file; its folder is made if it is not there.
        published: Folder of published numbers.

    Returns:
        ``out``.

    Raises:
        FileNotFoundError: If there is no folder of records.
        ValueError: If it holds no usable record, or the published numbers are damaged.
    """
    results = read_results(records, published)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(report_page(results), encoding="utf-8")
    return out


def report_page(results: Results) -> str:
    """The page as HTML."""
    details = cell_details(results)
    linked = {(cell[0], cell[1], cell[2], cell[3]) for cell in (key.split("/") for key in details)}
    localised = localisations(results)
    environment = Environment(
        loader=PackageLoader("rspose.reporting.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        summary=_summary(results),
        sections=_sections(results, all_tables(results), linked),
        localisations=localised,
        heatmaps=heatmap_sheets(results),
        cells=_cell_rows(results),
        generated=notes.data_kind(results.runs) == "generated data",
        kind=notes.data_kind(results.runs),
        style=Markup("\n".join(_asset(name) for name in _STYLES)),
        script=Markup("\n".join(_asset(name) for name in _SCRIPTS)),
        libraries=_libraries(),
        data={
            "cells": _json(details),
            "charts": _json(page_charts(results)),
            "localisations": _json([picture.chart for picture in localised]),
            "looks": _json(vega_config(losses(results), page=True)),
            "drawings": _json(drawings(results)),
        },
    )


def _sections(results: Results, tables: Sequence[tuple[Table, Any]], linked: set[Any]) -> list[Section]:
    """The overview and what is claimed first, then the datasets and the rest."""
    made = {table.name: table for table, _ in tables}
    order: list[str] = [name for name in ("main", "claimed") if name in made]
    order += [name for name in made if name not in order]
    sections = []
    for name in order:
        place, title = _SECTIONS.get(name, (f"dataset-{name}", dataset_title(name)))
        sections.append(Section(place, title, to_html(made[name], linked), made[name].notes))
    if "claimed" not in made:
        sentence = (
            "Every record here is of generated data. Such numbers compare losses with each other and are "
            "never comparable with published ones, so nothing is compared."
        )
        sections.insert(1, Section("claimed", "Claimed and measured", None, (sentence,)))
    return sections


def _summary(results: Results) -> dict[str, Any]:
    """What the head of the page says of all records together."""
    contents = [record.content for record in results.records]
    provenance = [content["provenance"] for content in contents]
    created = sorted(day["created"][:10] for day in provenance if day.get("created"))
    versions: dict[str, dict[str, None]] = {}
    for each in provenance:
        for package, version in each.get("versions", {}).items():
            versions.setdefault(package, {})[str(version)] = None
    commits = (
        f"{each['git_commit'][:10]}{'-dirty' if each.get('clean') is False else ''}"
        for each in provenance
        if each.get("git_commit")
    )
    return {
        "grids": list(dict.fromkeys(content["grid"] for content in contents if content.get("grid"))),
        "records": len(contents),
        "failed": len(results.failures),
        "missing": len(notes.missing(results.runs, results.failures)),
        "days": list(dict.fromkeys([created[0], created[-1]])) if created else [],
        "commits": list(dict.fromkeys(commits)),
        "devices": list(dict.fromkeys(str(each["device"]) for each in provenance if each.get("device"))),
        "versions": [f"{package} {' / '.join(found)}" for package, found in versions.items()],
        "reconstructions": any(content["loss"]["reconstruction"] for content in contents),
    }


def _cell_rows(results: Results) -> list[dict[str, Any]]:
    """A row a record, and a row a cell that failed or is missing, in the order of the tables."""
    percent, correlation = Column("", ""), Column("", "", 1, 2)
    rows = []
    for record in results.records:
        content, scores = record.content, record.scores
        metric = results.main_metrics[record.cell.dataset]
        training = content["training"] or {}
        rows.append(
            {
                **_place(results, record.cell),
                "data": "generated" if content["data"]["generated"] else "real",
                "status": "control" if content["control"] else "finished",
                "metric": metric.removeprefix("metrics."),
                "numbers": [
                    (MISSING, -9.0) if value is None else (entry_text(Value(value), column), value)
                    for value, column in (
                        (scores.get(metric), percent),
                        (scores.get("confidence.keypoint.spearman"), correlation),
                        (scores.get("confidence.pose.spearman"), correlation),
                    )
                ],
                "seconds": training.get("seconds"),
                "note": "",
            }
        )
    absent = notes.missing(results.runs, results.failures)
    for cell, status, note in (
        *((failure.cell, "failed", failure.error) for failure in results.failures),
        *((cell, "missing", "other cells of this dataset and model have the seed") for cell in absent),
    ):
        rows.append(
            {
                **_place(results, cell),
                "data": "",
                "status": status,
                "metric": "",
                "numbers": [(MISSING, -9.0)] * 3,
                "seconds": None,
                "note": note,
            }
        )
    return rows


def _place(results: Results, cell: Cell) -> dict[str, Any]:
    control = cell.model == "control"
    return {
        "address": address_of(cell[:4]),
        "dataset": dataset_title(cell.dataset),
        "model": "" if control else cell.model,
        "head": "" if control else head_label(cell.head),
        "loss": results.labels[cell.loss],
        "colour": loss_colour(cell.loss),
        "seed": "" if control else cell.seed,
    }


def _asset(name: str) -> str:
    return (files("rspose.reporting.report") / "assets" / name).read_text(encoding="utf-8")


@cache
def _libraries() -> dict[str, str]:
    """One script each, compressed: the page unpacks it when it is first needed."""
    found = find_spec("itables")  # not imported: that would take longer than all the rest
    if found is None or not found.submodule_search_locations:
        raise ImportError("itables is not installed, which the report needs: run make setup")
    datatables = Path(found.submodule_search_locations[0], "html/dt_bundle.js").read_bytes()
    vega = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").encode()
    return {
        name: base64.b64encode(gzip.compress(script, mtime=0)).decode()
        for name, script in (("datatables", datatables), ("vega", vega))
    }


def _json(content: Any) -> Markup:
    """``content`` for a script element, which only ``</script`` and ``<!--`` could end or change."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))
