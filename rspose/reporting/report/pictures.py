"""Figures that a run has drawn already, for the report: heatmaps by loss, localisation, pushes."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rspose.reporting.charts import LOCALISATION, specification, vega_config
from rspose.reporting.figures import image_address
from rspose.reporting.html import to_html
from rspose.reporting.localisation import localised_losses, tolerated_errors
from rspose.reporting.results import Results
from rspose.reporting.style import dataset_title, head_label

MOST_BYTES = 3_000_000
"""What all sheets of heatmaps together may take of the page."""
# Pixels, tried in turn until the sheets are small enough. Below, labels cannot be read.
_WIDTHS = (2000, 1400, 1000, 700)
_STRIP = 4000  # pixels: WebP ends at 16383, and a browser draws what it sees


def heatmap_sheets(results: Results) -> list[dict[str, Any]]:
    """The sheets of heatmaps (``figures/<dataset>_heatmaps.png``) beside the folders of records.

    Each has a ``title``, words of what is seen (``alt``), ``images`` from top to bottom, of each its
    address, width and height in pixels, and ``shape``, height by width of the highest, which paper has to
    hold. They become smaller where together they would take more than :data:`MOST_BYTES`. What is not
    usable, or still too large, is left out with one line on stderr.
    """
    return _sheets(
        (path, title, _described(results, dataset))
        for dataset in results.datasets
        for path, title in _files(results, f"figures/{dataset}_heatmaps.png", dataset_title(dataset))
    )


def pushes(results: Results) -> list[dict[str, Any]]:
    """Where the losses push three heatmaps (``localisation/pushes.png``), as :func:`heatmap_sheets`."""
    alt = "Three heatmaps of one person, and beside them, a column a loss, what a step adds to each."
    files = _files(results, "localisation/pushes.png", "Where each loss pushes")
    return _sheets((path, title, alt) for path, title in files)


def _sheets(files: Iterable[tuple[Path, str, str]]) -> list[dict[str, Any]]:
    found = []
    for path, title, alt in files:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        sheet = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if len(data) else None
        if sheet is None:
            print(f"sheet left out: {path}: not an image: draw it again", file=sys.stderr)
        else:
            found.append((path, title, alt, sheet))
    pictures = []
    for path, title, alt, sheet in found:
        images = _within(sheet, MOST_BYTES // len(found))
        if images:
            shape = max(height / width for _, width, height in images)
            pictures.append({"title": title, "alt": alt, "images": images, "shape": shape})
        else:
            print(f"sheet left out: {path}: too large for the report", file=sys.stderr)
    return pictures


def localisations(results: Results) -> list[dict[str, Any]]:
    """Loss against localisation (``localisation/``) beside the folders of records.

    Each has a ``title``, a ``chart`` that is ready for JSON, and a ``table`` with its ``notes``. What is
    not usable is left out with one line on stderr.
    """
    found: list[dict[str, Any]] = []
    for source, title in _files(results, "localisation/losses.json", LOCALISATION.title):
        try:
            content = json.loads(source.read_text(encoding="utf-8"))
            table = tolerated_errors(content)
            losses = localised_losses(content)
            spec = specification(LOCALISATION, LOCALISATION.frame(content), list(losses.values()))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            print(f"figure left out: {source}: not usable ({error!r}): make it again", file=sys.stderr)
            continue
        html = to_html(table, name=f"localisation-{len(found)}" if found else "localisation")
        chart = {"title": title, "spec": spec, "looks": vega_config(losses, page=True)}
        found.append({"title": title, "chart": chart, "table": html, "notes": table.notes})
    return found


def _files(results: Results, place: str, title: str) -> Iterator[tuple[Path, str]]:
    """The file of each run that has it, with the title; several runs are told apart by their folders."""
    runs = list(dict.fromkeys(record.run for record in results.records if record.run))
    for run in runs:
        if (run / place).is_file():
            yield run / place, title if len(runs) == 1 else f"{title}, {run.resolve().name}"


def _described(results: Results, dataset: str) -> str:
    drawn = dict.fromkeys(cell[1:] for cell in results.cells if cell[0] == dataset and cell[1] != "control")
    losses = ", ".join(dict.fromkeys(results.labels[loss] for _, _, loss in drawn))
    heads = " and ".join(dict.fromkeys(head_label(head) for _, head, _ in drawn))
    return (
        f"Heatmaps over people of {dataset_title(dataset)} val, a row a loss and head: "
        f"{losses or 'no loss'} ({heads}); crosses mark the annotated keypoints."
    )


def _within(sheet: NDArray, most: int) -> list[tuple[str, int, int]]:
    """The sheet in strips, as wide as fits into ``most`` bytes; nothing if it does not fit."""
    for width in sorted({min(width, sheet.shape[1]) for width in _WIDTHS}, reverse=True):
        height = max(1, round(sheet.shape[0] * width / sheet.shape[1]))
        smaller = cv2.resize(sheet, (width, height), interpolation=cv2.INTER_AREA)
        strips = [smaller[top : top + _STRIP] for top in range(0, height, _STRIP)]
        images = [(image_address(strip, ".webp"), width, len(strip)) for strip in strips]
        if sum(len(address) for address, *_ in images) <= most:
            return images
    return []
