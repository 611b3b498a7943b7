"""The charts of the study on paper, from records alone."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import vl_convert

from rspose.reporting.chart_frames import losses
from rspose.reporting.charts import CHARTS, Chart, specification, vega_config
from rspose.reporting.frame import ordered_records
from rspose.reporting.notes import data_kind
from rspose.reporting.results import results_of
from rspose.reporting.statistics import EQUIVALENCE
from rspose.reporting.style import dataset_title

_SCALE = 2.0  # pixels of a PNG for one of the figure
_LETTER = 6.0  # pixels of a letter below the title


def make_study_figures(records: Path | Sequence[Path], out: Path, region: float = EQUIVALENCE) -> list[Path]:
    """Draw every chart of every dataset, ``<dataset>_<chart>.png`` and ``.svg``; the files written.

    A chart for which the records have nothing is left out. FileNotFoundError if there is no such folder.
    """
    usable = ordered_records(*([records] if isinstance(records, Path) else records))
    out.mkdir(parents=True, exist_ok=True)
    if not usable:
        return []
    results = results_of(usable, region=region)
    written = []
    for chart in CHARTS:
        frame = chart.frame(results)
        for dataset in frame.dataset.unique() if len(frame) else ():
            part = frame[frame.dataset == dataset]
            runs = results.all_runs[results.all_runs.dataset == dataset]
            where = f"{dataset_title(dataset)}, {data_kind(runs)}. "
            written += draw(chart, part, losses(results), out / f"{dataset}_{chart.name}.png", where)
    return written


def draw(
    chart: Chart, frame: pd.DataFrame, losses: Mapping[str, str], path: Path, where: str = ""
) -> list[Path]:
    """Write the chart of a frame as PNG at ``path`` and as SVG beside it.

    ``losses`` are all of the results with their labels; ``where`` is said first below the title.
    """
    spec = specification(chart, frame, list(losses.values()))
    wide = int(spec["columns"] * spec["spec"]["width"] / _LETTER)
    config = vega_config(losses)
    config["legend"]["columns"] = max(2, min(6, wide // 16))
    said = textwrap.wrap(where + chart.explained, min(wide, 110))
    title = textwrap.wrap(chart.title, int(0.7 * wide))
    spec |= {"title": {"text": title, "subtitle": said}, "config": config}
    return write_svg(vl_convert.vegalite_to_svg(spec), path)


def write_svg(svg: str, path: Path) -> list[Path]:
    """Write a drawing as PNG at ``path`` and as SVG beside it; the same drawing gives the same bytes."""
    vector = path.with_suffix(".svg")
    path.parent.mkdir(parents=True, exist_ok=True)
    vector.write_text(svg, encoding="utf-8")
    path.write_bytes(vl_convert.svg_to_png(svg, scale=_SCALE))
    return [path, vector]
