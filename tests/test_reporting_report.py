"""The report: the numbers of the tables, in one file that fetches nothing and runs nothing of a record."""

import base64
import gzip
import json
import re
import shlex
from functools import cache
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from builders.grid import REPOSITORY
from builders.processes import python
from builders.records import (
    COCO_METRICS,
    CURVE,
    HEIGHT,
    HOSTILE,
    LOCALISATION,
    WIDTH,
    fail,
    predictions,
    record,
    samples,
    saved,
    studied,
    three_losses,
    with_bootstrap,
    write,
)

from rspose.datasets import DATASETS
from rspose.reporting.answers import answers
from rspose.reporting.localisation import make_localisation, tolerated_errors
from rspose.reporting.report import page as module
from rspose.reporting.report import pictures
from rspose.reporting.report.cells import rerun_command
from rspose.reporting.report.page import make_report
from rspose.reporting.results import read_results
from rspose.reporting.table import Table, entry_text
from rspose.reporting.tables import all_tables, make_tables


class Page(HTMLParser):
    """What a browser would find in a page.

    Attributes:
        elements: Tag and attributes of each.
        tables: Of each table by its id the texts of its rows.
        scripts: The text of each by its id.
        words: The visible text.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.scripts: dict[str, str] = {}
        self.words = ""
        self._name = ""
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag in ("script", "table"):
            self._name = attributes.get("id") or ""
        if tag == "tr":
            self.tables.setdefault(self._name, []).append([])
        elif tag in ("td", "th"):
            self.tables[self._name][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[self._name] = self.scripts.get(self._name, "") + data
        elif self.cdata_elem is None:
            self.words += data
            if self._in_cell:
                self.tables[self._name][-1][-1] += data

    def data(self, name: str) -> Any:
        """The JSON that the page carries under a name."""
        return json.loads(self.scripts[f"data-{name}"])

    def panels(self) -> dict[str, "Page"]:
        """What the page shows of each cell."""
        text = gzip.decompress(base64.b64decode(self.scripts["packed-panels"])).decode()
        articles = re.split('(?=<article id="cell/)', text)[1:]
        return {re.search('id="cell/([^"]*)"', each)[1]: Page(each) for each in articles}  # type: ignore[index]

    def facts(self) -> dict[str, list[str]]:
        """Of each row of the tables its values by its first word."""
        return {row[0]: row[1:] for row in self.tables.get("", [])}


def report(folder: Path, *more: Path) -> Page:
    """The report of the records in ``folder/records``, or in these folders."""
    path = make_report(more or folder / "records", folder / "report.html")
    return Page(path.read_text(encoding="utf-8"))


def images(page: Page) -> list[np.ndarray]:
    """The images with pixels, decoded."""
    addresses = [attributes.get("src") or "" for tag, attributes in page.elements if tag == "img"]
    bytes_of = [
        base64.b64decode(each.partition(",")[2]) for each in addresses if each.startswith("data:image/webp")
    ]
    return [cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR) for each in bytes_of]


def sheet(folder: Path, dataset: str, pixels: np.ndarray) -> Path:
    """A sheet of heatmaps where a run leaves it."""
    path = folder / "figures" / f"{dataset}_heatmaps.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def assert_shows(page: Page, table: Table) -> None:
    """The page has the rows and notes of a table."""
    table = table.on("screen")
    shown = [[" ".join(cell.split()) for cell in row] for row in page.tables[f"table-{table.name}"]]
    for row, found in zip(table.rows, shown[-len(table.rows) :], strict=True):
        entries = map(entry_text, row.values, table.columns)
        assert found == [*row.stub, *(entry.strip("`") for entry in entries)]
    for note in table.notes:
        assert note in page.words


def seeds_of_losses(root: Path, real: bool = False) -> None:
    """Three seeds of three losses on two heads and two datasets, and a control of each."""
    generated = {"data": {"generated": not real}}
    three_losses(root, "coco", "mpii", seeds=3, model="resnet50" if real else "tiny", **generated)
    for dataset, metric in (("coco", "AP"), ("mpii", "PCKh")):
        known = {"control": True, "title": "Oracle", "metrics": {metric: 0.9}, **generated}
        write(root, record(dataset, "oracle", **known))


@pytest.mark.parametrize("real", [False, True])
def test_every_table_is_in_the_page(tmp_path: Path, real: bool) -> None:
    seeds_of_losses(tmp_path / "records", real)
    page = report(tmp_path)
    tables = [table for table, _ in all_tables(read_results([tmp_path / "records"]))]
    names = {"main", "coco", "mpii", "confidence", "differences", *(["claimed"] if real else [])}
    assert {table.name for table in tables} == names
    for table in tables:
        assert_shows(page, table)


def test_the_numbers_of_a_panel_are_those_of_the_records(tmp_path: Path) -> None:
    for seed, value in enumerate((0.40, 0.46)):
        content = record(seed=seed, metrics={"AP": value}, loss="kl")
        write(tmp_path / "records", with_bootstrap(content, {"metrics.AP": np.linspace(0.3, 0.5, 101)}))
    facts = report(tmp_path).panels()["coco/tiny/heatmap/kl"].facts()
    assert facts["AP"][0].startswith("43.0 ± 4.2 [")
    assert facts["AP"][1:] == ["40.0 [30.5, 49.5]", "46.0 [30.5, 49.5]"]
    assert facts["SHA-256 of the config"] == ["c"] and facts["nms threshold"] == ["0.9"]
    assert facts["alpha"] == ["2"] and facts["versions"] == ["torch 2.11.0"]
    assert facts["resumed"] == ["no"] and facts["kind of data"] == ["generated data"]


def test_the_page_begins_with_what_the_records_answer(tmp_path: Path) -> None:
    gains = {"kl": 0.03, "awing": 0.0, "dm": -0.05, "fowkal": 0.004, "mse": 0.0}
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.01, 200)
    for (loss, gain), seed in product(gains.items(), range(12)):
        noise = 0.02 * rng.normal() if loss == "fowkal" else 0.0
        value = 0.40 + gain + 0.001 * seed + noise
        content = record(loss=loss, seed=seed, metrics={"AP": value})
        write(tmp_path / "records", with_bootstrap(content, {"metrics.AP": value + shared}))
    write(tmp_path / "records", record(loss="rspose", metrics={"AP": 0.5}, title="R"))
    (answer,) = answers(read_results([tmp_path / "records"]))
    found = re.fullmatch(
        r"AP of MSE 40\.5; better: KL \(\+3\.0\); worse: DM \(−5\.0\); equivalent: AWING \(\+0\.0\); "
        r"undecided: FOWKAL \([^)]*\); one seed, which decides nothing: R\.",
        answer.text,
    )
    assert found, answer.text
    assert answer.place == "COCO val, 2D"
    assert answer.conditions == f"generated data; not tuned; {TRAINED}; 12 seeds"
    page = report(tmp_path).words
    assert page.index(answer.text) < page.index("Overview, generated data")


def test_packages_that_the_page_needs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "records", record())
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(module, "_libraries", cache(module._libraries.__wrapped__))
    with pytest.raises(ImportError, match=r"^itables and vl_convert not installed, which the report needs"):
        report(tmp_path)


def test_one_seed_answers_nothing_but_the_numbers(tmp_path: Path) -> None:
    for loss, value in (("mse", 0.4), ("kl", 0.45)):
        tuned = {"training": {"tuning": {"trials": 6, "dataset": "coco"}}}
        write(tmp_path / "records", record(loss=loss, metrics={"AP": value}, **tuned))
    (answer,) = answers(read_results([tmp_path / "records"]))
    assert answer.text == "AP: KL 45.0, MSE 40.0; one seed decides nothing."
    assert answer.conditions == f"generated data; tuned on COCO, 6 trials a loss; {TRAINED}; one seed"


def test_what_was_loaded_of_which_weights_stands_in_the_panel_and_below_the_tables(tmp_path: Path) -> None:
    for loss, left_out in (("mse", ["fc", "aux"]), ("kl", [])):
        loaded = {"file": "resnet50.pth", "matched": 318, "left_out": left_out}
        write(tmp_path / "records", record(loss=loss, training={"pretrained": loaded}))
    page = report(tmp_path)
    mse, kl = (page.panels()[f"coco/tiny/heatmap/{loss}"].facts() for loss in ("mse", "kl"))
    assert mse["pretrained weights"] == ["resnet50.pth, 318 tensors; not loaded: fc, aux"]
    assert kl["pretrained weights"] == ["resnet50.pth, 318 tensors"]
    assert "; pretrained weights resnet50.pth; " in page.words
    write(tmp_path / "records", record(loss="dm"))
    assert "; pretrained weights resnet50.pth / none; " in report(tmp_path).words


def test_a_panel_says_that_there_is_no_learning_curve_only_where_there_is_none(tmp_path: Path) -> None:
    write(tmp_path / "records", record(training={"curve": {"iteration": [1, 2], "loss": [0.5, 0.4]}}))
    write(tmp_path / "records", record(loss="kl"))
    panels = report(tmp_path).panels()
    said = "The records hold no learning curve."
    assert said in panels["coco/tiny/heatmap/kl"].words and said not in panels["coco/tiny/heatmap/mse"].words


def test_generated_data_and_reconstructions_are_said(tmp_path: Path) -> None:
    seeds_of_losses(tmp_path / "records")
    page = report(tmp_path)
    assert (
        "Generated data. These numbers compare losses with each other, never with publications." in page.words
    )
    assert "table-claimed" not in page.tables
    assert any("RSPOSE †" in cell for row in page.tables["table-main"] for cell in row)
    panels = page.panels()
    assert "† Reconstruction" in panels["coco/tiny/heatmap/rspose"].words
    assert "Reconstruction" not in panels["coco/tiny/heatmap/mse"].words
    assert "Generated data." in panels["coco/tiny/heatmap/mse"].words


def test_real_data_are_compared_with_what_is_claimed(tmp_path: Path) -> None:
    seeds_of_losses(tmp_path / "records", real=True)
    page = report(tmp_path)
    assert "never with publications" not in page.words
    panel = page.panels()["coco/resnet50/heatmap/mse"]
    assert "Real data." in panel.words
    _, claim = [row for row in panel.tables[""] if row[0] == "AP"]  # measured, then claimed
    assert claim[3] in ("below", "above", "reproduced") and claim[4]


def test_failed_and_missing_cells_are_rows_that_say_why(tmp_path: Path) -> None:
    for seed in (0, 1):
        write(tmp_path / "records", record(seed=seed))
    write(tmp_path / "records", record(loss="kl"))
    fail(tmp_path / "records", "dm", 0, "train", "ValueError: the loss is not finite")
    page = report(tmp_path)
    states = {(row[3], row[4]): (row[6], row[-1]) for row in page.tables["table-cells"][1:]}
    assert states[("MSE", "0")] == ("finished", "")
    assert states[("KL", "1")][0] == "missing"
    assert states[("dm", "0")] == ("failed", "ValueError: the loss is not finite")
    words = page.panels()["coco/tiny/heatmap/dm"].words
    assert "Seed 0 failed in the step train: ValueError: the loss is not finite" in words


TRAINED = "600 iterations of batch 32"
_MARKUP = "<img src=x onerror=alert(2)>"
_QUOTED = '" onmouseover="alert(3)'
_SIGNS = r"|`]($\input{x}\write18{id}$%{{7*7}}&#_^~ "


def _hostile(value: Any, *above: str) -> Any:
    """A record whose words are hostile, but for names, a date and what is encoded, and some of its keys."""
    if isinstance(value, dict):
        own = {key: _hostile(inner, *above, key) for key, inner in value.items()}
        open_to_any_key = {*above[-1:]} & {"parameters", "ordering", "gain", "metrics"}
        return own | ({_MARKUP: 0.25} if open_to_any_key else {})
    kept = {"cell", "grid", "bootstrap", "changes", "checksum", "created"} & {*above}
    return f"{value}{HOSTILE}{_QUOTED}{_SIGNS}" if isinstance(value, str) and not kept else value


def test_words_of_a_record_stay_words(tmp_path: Path) -> None:
    write(tmp_path / "records", record())
    calm = report(tmp_path)
    for dataset in ("coco", "hands"):
        content = studied("kl", dataset=dataset, metrics={"AP": 0.4})
        content["provenance"] |= {"device": "", "git_commit": "", "versions": {_MARKUP: "1"}}
        content["loss"]["learned"] = {_MARKUP: [0.1] * 17}
        content["training"]["pretrained"] = {"file": "", "matched": 3, "left_out": [""]}
        write(tmp_path / "records", _hostile({**content, "grid": "demo"}))
    fail(tmp_path / "records", "dm", 0, "train", HOSTILE + _SIGNS)
    page = report(tmp_path)
    scripts = [[tag for tag, _ in each.elements].count("script") for each in (page, calm)]
    assert scripts[0] == scripts[1]
    assert any(HOSTILE in cell for row in page.tables["table-main"] for cell in row)
    panels = page.panels()
    assert HOSTILE in panels["coco/tiny/heatmap/dm"].words
    panel = panels["coco/tiny/heatmap/kl"]
    title = f"KL{HOSTILE}{_QUOTED}{_SIGNS}"
    assert dict(panel.elements)["article"]["data-title"] == title
    for each in (page, *panels.values()):
        assert not [
            tag
            for tag, attributes in each.elements
            if tag == "img" or {"onerror", "onmouseover"} & {*attributes}
        ]
    assert not any(each.scripts for each in panels.values())
    for path in make_tables(tmp_path / "records", tmp_path / "tables"):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".tex":
            assert not re.search(r"\\(input|write18)\b", text) and r"{\textbackslash}input" in text, path
        elif path.suffix == ".md":
            assert not re.search("<[a-z/!]|](?=[(])", text), path
            rows = [re.sub(r"\\\\|\\[|]", "", line) for line in text.splitlines() if line.startswith("|")]
            assert len({row.count("|") for row in rows}) == 1, path


def test_predictions_beside_the_records_are_drawn_in_pixels_of_the_crop(tmp_path: Path) -> None:
    drawn, predicted = samples(6), predictions(7)
    predicted["keypoints"][1, 0] = (60, 80)
    predicted["confidence"][1, 0] = 0.75
    drawn["truth_keypoints"][0, 0] = (64, 90, 2)
    for loss in ("mse", "kl"):
        write(tmp_path / "records", record(loss=loss))
        saved(tmp_path / "cells/coco/tiny/heatmap" / loss / "seed0", drawn, predicted)
    write(tmp_path / "records", record(loss="dm"))
    page = report(tmp_path)
    panels = {key: panel.elements for key, panel in page.panels().items() if "use" in dict(panel.elements)}
    assert sorted(panels) == ["coco/tiny/heatmap/kl", "coco/tiny/heatmap/mse"]
    elements = panels["coco/tiny/heatmap/kl"]
    noses = [path["d"] for tag, path in elements if tag == "path" and path["class"] == "joint middle"]
    # To the crop: half the size, then 10 to the left and 20 up; drawn twice as large. The truth comes first.
    assert noses[:2] == ["M45.0 51.0h0", "M41.0 41.0h0"]
    groups = [attributes for tag, attributes in elements if tag == "g"]
    assert groups[0] == {"opacity": "1.0"} and {"opacity": "0.79"} in groups  # 0.15 + 0.85 * 0.75
    # The crops of a dataset are there once: here all are alike.
    assert [a["width"] for tag, a in page.elements if tag == "image"] == [str(128 * WIDTH / HEIGHT)]


def test_sheets_of_heatmaps_beside_the_records_are_in_the_page_with_words(tmp_path: Path) -> None:
    for loss in ("mse", "rspose"):
        write(tmp_path / "records", record(loss=loss, reconstruction=loss == "rspose"))
    gradient = np.broadcast_to(np.linspace(0, 255, 9000)[:, None, None], (9000, 600, 3)).astype(np.uint8)
    sheet(tmp_path, "coco", gradient)
    sheet(tmp_path, "mpii", np.zeros((20, 20, 3), np.uint8))  # of another grid: no record here is of MPII
    page = report(tmp_path)
    assert ("a", {"href": "#heatmaps"}) in page.elements
    assert "No sheets of heatmaps" not in page.words
    (described,) = [a["alt"] for tag, a in page.elements if tag == "img" and a["alt"]]
    assert described is not None
    assert all(word in described for word in ("COCO val", "MSE", "RSPOSE †", "2D", "keypoints"))
    shown = np.concatenate(images(page))
    assert shown.shape == gradient.shape
    assert np.abs(shown.astype(int) - gradient).max() < 12


def test_where_the_losses_of_a_grid_push_is_in_the_page(tmp_path: Path) -> None:
    write(tmp_path / "records", record())
    drawn = np.full((430, 600, 3), 200, np.uint8)
    (tmp_path / "localisation").mkdir()
    assert cv2.imwrite(str(tmp_path / "localisation/pushes.png"), drawn)
    page = report(tmp_path)
    assert "Where each loss pushes" in page.words
    (shown,) = images(page)
    assert shown.shape == drawn.shape and np.abs(shown.astype(int) - 200).max() < 3


def test_loss_against_localisation_is_in_the_page_as_figure_and_table(tmp_path: Path) -> None:
    write(tmp_path / "records", record())
    source = tmp_path / "localisation/losses.json"
    source.parent.mkdir()
    source.write_text(json.dumps(LOCALISATION))
    make_localisation(source, source.parent)
    page = report(tmp_path)
    (chart,) = page.data("localisations")
    (rows,) = chart["spec"]["datasets"].values()
    assert {row["loss"] for row in rows} == {"MSE", "RSPOSE †"} and len(rows) == 3 * 4 * 3
    assert ("a", {"href": "#localisation"}) in page.elements
    assert_shows(page, tolerated_errors(LOCALISATION))
    assert "No figure was at hand" not in page.words


def test_what_is_not_there_or_damaged_beside_the_records_is_a_short_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "records", record())
    cell = "cells/coco/tiny/heatmap/mse/seed0"
    for damaged in (None, b"{}", b""):
        page = report(tmp_path)
        assert "No sheets of heatmaps were at hand" in page.words
        assert "No figure was at hand: it would lie beside the folder of records" in page.words
        assert "No prediction files were at hand" in page.panels()["coco/tiny/heatmap/mse"].words
        complaints = capsys.readouterr().err.splitlines()
        assert len(complaints) == (0 if damaged is None else 3)
        saved(tmp_path / cell, samples(), predictions())
        for name in ("localisation/losses.json", f"{cell}/predictions.npz", "figures/coco_heatmaps.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"{}" if damaged is None else b"")
    for line, said, name in zip(
        complaints,
        ("figure left out: ", "drawing left out: ", "sheet left out: "),
        ("losses.json", "predictions.npz", "coco_heatmaps.png"),
        strict=True,
    ):
        assert line.startswith(said) and name in line


def test_the_figures_of_merged_runs_are_named_after_their_folders(tmp_path: Path) -> None:
    for machine, head in (("one", "heatmap"), ("two", "simcc")):
        write(tmp_path / machine / "records", record(head=head))
        sheet(tmp_path / machine, "coco", np.zeros((20, 20, 3), np.uint8))
    folders = [tmp_path / "one/records", tmp_path / "two/records"]
    page = report(tmp_path, *folders)
    assert "COCO, one" in page.words and "COCO, two" in page.words and str(tmp_path) not in page.words


def test_large_sheets_become_smaller_or_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MOST_BYTES", 1_600_000)
    rng = np.random.default_rng(0)
    for dataset in ("coco", "mpii"):
        metrics = {"PCKh": 0.5} if dataset == "mpii" else None
        write(tmp_path / "records", record(dataset, metrics=metrics))
    darker = np.linspace(0, 155, 1050)[:, None, None] + rng.integers(0, 100, (1050, 350, 3))
    large = cv2.resize(darker.astype(np.uint8), (1400, 4200), interpolation=cv2.INTER_NEAREST)
    sheet(tmp_path, "coco", large)
    sheet(tmp_path, "mpii", rng.integers(0, 256, (3000, 700, 3), dtype=np.uint8))
    parts = images(report(tmp_path))
    assert len({part.shape[1] for part in parts}) == 1 and parts[0].shape[1] < 1400
    height = sum(part.shape[0] for part in parts)
    assert height == 3 * parts[0].shape[1]  # as before, from top to bottom
    shown, whole = (
        cv2.resize(each, (1, 50), interpolation=cv2.INTER_AREA) for each in (np.concatenate(parts), large)
    )
    assert np.abs(shown.astype(int) - whole).max() < 8
    assert (tmp_path / "report.html").stat().st_size < 2.5e6 + pictures.MOST_BYTES
    (line,) = capsys.readouterr().err.splitlines()
    assert "mpii_heatmaps.png: too large for the report" in line


def test_the_same_records_give_the_same_file(tmp_path: Path) -> None:
    seeds_of_losses(tmp_path / "records")
    first = make_report(tmp_path / "records", tmp_path / "first.html").read_bytes()
    assert make_report(tmp_path / "records", tmp_path / "second.html").read_bytes() == first


@pytest.mark.slow
def test_five_hundred_records_with_curves_and_drawings_stay_below_fifteen_megabytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (4, 256, 192, 3), dtype=np.uint8)  # noise: larger than any photograph
    losses = [f"loss{index}" for index in range(125)]
    for dataset, head, loss in product(("coco", "crowdpose"), ("heatmap", "simcc"), losses):
        content = record(dataset, loss, head, training={"curve": CURVE})
        values = {f"metrics.{name}": rng.normal(of_all, 0.01, 20) for name, of_all in COCO_METRICS.items()}
        path = write(tmp_path / "records", with_bootstrap(content, values))
        folder = tmp_path / "cells" / path.relative_to(tmp_path / "records").with_suffix("")
        count = len(DATASETS[dataset].keypoints)
        predicted = {
            "keypoints": rng.uniform(0, 100, (5, count, 2)).astype(np.float32),
            "confidence": rng.uniform(0, 1, (5, count)),
        }
        saved(folder, {**samples(4, count), "crop": crops}, predicted)
    page = report(tmp_path)
    panels = gzip.decompress(base64.b64decode(page.scripts["packed-panels"])).decode()
    assert panels.count('<article id="cell/') == 500 and panels.count("prediction of") == 500 * 4
    assert (tmp_path / "report.html").stat().st_size < 15e6


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "length"), [([0], 1.0), ([0, 1], 1.0), ([0], 4.0)])
def test_the_command_of_a_cell_runs_that_cell_alone(seeds: list[int], length: float) -> None:
    cell = ("coco", "resnet18-w24", "heatmap", "mse")
    given = {"files": ["config/comparison.yaml"], "directory": None, "changes": ["lengths=[1, 4]"]}
    command = rerun_command("comparison", cell, seeds, control=False, given=given, length=length)
    planned = python("-m", *shlex.split(command), "--dry-run", "--cores", "1", folder=REPOSITORY)
    jobs = dict(re.findall(r"^(train|predict|evaluate|record|tables) +(\d+)$", planned, re.MULTILINE))
    assert jobs == dict.fromkeys(("train", "predict", "evaluate", "record"), str(len(seeds)))


def test_a_command_has_the_config_that_the_record_names_and_what_was_changed_of_it(tmp_path: Path) -> None:
    given = {
        "files": ["grids/my grid.yaml", "/elsewhere/b.yaml"],
        "directory": "/elsewhere",
        "changes": ['losses_from=["a.py"]'],
    }
    write(tmp_path / "records", {**record(seed=0), "grid": "mine", "config": given})
    write(tmp_path / "records", {**record(seed=1), "grid": "mine", "config": given})
    write(tmp_path / "records", {**record(seed=2), "grid": "mine"})
    panel = report(tmp_path).panels()["coco/tiny/heatmap/mse"]
    for command in (
        "snakemake --directory /elsewhere --configfile 'grids/my grid.yaml' /elsewhere/b.yaml --config "
        "'losses_from=[\"a.py\"]' datasets=coco models=tiny heads=heatmap losses=mse 'seeds=[0,1]' "
        "'lengths=[1]' --forcerun train --until record",
        "snakemake --configfile config/mine.yaml --config datasets=coco models=tiny heads=heatmap losses=mse "
        "seeds=2 'lengths=[1]' --forcerun train --until record",
    ):
        assert command in panel.words
    assert panel.facts()["config files"] == ["grids/my grid.yaml, /elsewhere/b.yaml"] * 2 + ["—"]
