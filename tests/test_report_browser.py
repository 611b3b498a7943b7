"""The report in a real browser: no error, no request, sorting, filtering, panels, keyboard, a phone."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import chain, product
from pathlib import Path

import cv2
import numpy as np
import pytest
from builders.records import (
    CURVE,
    HOSTILE,
    LOCALISATION,
    crowded,
    fail,
    predictions,
    record,
    samples,
    saved,
    three_losses,
    write,
)
from playwright.sync_api import Browser, Page, expect

from rspose.datasets import DATASETS
from rspose.reporting.localisation import make_localisation
from rspose.reporting.report.page import make_report
from rspose.reporting.study_figures import make_study_figures

pytestmark = pytest.mark.slow

PATIENCE = 120_000  # milliseconds: a machine may be busy
LETTER = 980  # pixels across a letter page on its side, which is narrower than A4

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a grid leaves: three losses, two heads, two seeds, figures, drawings of one, a failed cell."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    training = {"curve": CURVE, "seconds_per_iteration": 0.1, "seconds": 60}
    three_losses(folder / "records", "coco", "crowdpose", seeds=2, training=training)
    for path in folder.glob("records/*/*/*/kl/*.json"):
        content = json.loads(path.read_text())
        content["loss"]["title"] = HOSTILE
        path.write_text(json.dumps(content))
    drawn, predicted = samples(), predictions()
    predicted["keypoints"][:] = rng.uniform(30, 130, predicted["keypoints"].shape)
    predicted["confidence"][:] = 0.8
    drawn["truth_keypoints"][:] = [60, 90, 2]
    saved(folder / "cells/coco/tiny/heatmap/rspose/seed0", drawn, predicted)
    fail(folder / "records", "dm", 0, "train", "ValueError: the loss is not finite")
    (folder / "figures").mkdir()
    assert cv2.imwrite(str(folder / "figures/coco_heatmaps.png"), np.full((5000, 1200, 3), 128, np.uint8))
    source = folder / "localisation/losses.json"
    source.parent.mkdir()
    source.write_text(json.dumps(LOCALISATION))
    make_localisation(source, source.parent)
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> str:
    """The report of the grid."""
    return make_report(folder / "records", folder / "report.html").as_uri()


@pytest.fixture
def page(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The report, opened without a network; a parameter says with which options and at which cell.

    Nothing may stand on the console, and nothing be asked for but the file itself and what is within it.
    """
    options = dict(getattr(request, "param", {}))
    place = options.pop("place", "")
    context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options}, offline=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address + place, wait_until="load")
    page.wait_for_selector("#table-cells.dataTable", state="attached")
    yield page
    context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("data:", "blob:", address))] == []


def column(page: Page, table: str, index: int) -> list[str]:
    """The texts of a column of a table, as shown."""
    return page.locator(f"#{table} tbody tr > :nth-child({index})").all_inner_texts()


def test_nothing_is_asked_for_and_nothing_complains_on_the_way_through_the_page(page: Page) -> None:
    page.locator("#charts").scroll_into_view_if_needed()
    expect(page.locator("#chart-list svg.marks").first).to_be_visible()
    page.locator("#chart-choices select").select_option("CrowdPose")
    expect(page.locator("#chart-list svg.marks").first).to_be_visible()
    expect(page.locator("#prediction-list svg")).to_have_count(2)  # the truth and the one cell that drew
    widths = page.locator(".plates img").evaluate_all("images => images.map((image) => image.naturalWidth)")
    assert len(widths) == 2 and min(widths) > 0  # a sheet in two strips
    expect(page.locator("[data-localisation] svg.marks")).to_be_visible()
    assert page.locator("#table-main").inner_text().count("<script>") == 1  # a title, as text
    policy = page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    assert policy is not None and policy.startswith("default-src 'none';") and "http" not in policy


def test_a_click_or_enter_on_a_header_sorts(page: Page) -> None:
    assert [text[:4] for text in column(page, "table-main", 2)] == ["30.0", "45.0", "fail", "40.0"]
    header = page.locator("#table-main thead th", has_text="2D AP").first
    header.click()
    expect(header).to_have_attribute("aria-sort", "descending")
    assert [text[:4] for text in column(page, "table-main", 2)] == ["45.0", "40.0", "30.0", "fail"]
    header.locator("[role=button]").first.focus()
    page.keyboard.press("Enter")
    expect(header).to_have_attribute("aria-sort", "ascending")
    assert [text[:4] for text in column(page, "table-main", 2)] == ["fail", "30.0", "40.0", "45.0"]


def test_search_and_filters_leave_the_rows_that_fit(page: Page) -> None:
    page.locator("#overview input[type=search]").fill("rspose")
    expect(page.locator("#table-main tbody tr")).to_have_count(1)

    rows = page.locator("#table-cells tbody tr")
    expect(rows).to_have_count(25)
    filters = page.locator("#cell-filters")
    filters.get_by_label("Dataset").select_option("CrowdPose")
    expect(rows).to_have_count(12)
    filters.get_by_label("Head").select_option("1D")
    filters.get_by_label("Loss").select_option("RSPOSE †")
    expect(rows).to_have_count(2)
    for label in ("Dataset", "Head", "Loss"):
        filters.get_by_label(label).select_option("all")
    filters.get_by_label("Status").select_option("failed")
    assert "not finite" in rows.inner_text()


def test_a_click_on_a_number_shows_where_it_comes_from(page: Page) -> None:
    page.locator("#overview tbody tr", has_text="RSPOSE").locator("td a").first.click()
    panel = page.get_by_role("dialog")
    expect(panel).to_be_visible()
    expect(panel.get_by_role("heading", name="RSPOSE †")).to_be_visible()
    words = panel.inner_text()
    for expected in (
        "Generated data.",
        "Reconstruction",
        "SHA-256 of the config",
        "torch 2.11.0",
        "bbox_keypoint",
        "snakemake --configfile config/demo.yaml --config datasets=coco models=tiny heads=heatmap",
        "Difference to MSE in AP",
        "seed 1",
    ):
        assert expected in words
    panel.locator(".plot").first.scroll_into_view_if_needed()
    expect(panel.locator(".plot svg.marks").first).to_be_visible()
    assert panel.locator(".pair svg").count() == 6  # three people, truth and prediction
    assert panel.locator(".pair svg").nth(1).locator("path").count() > 10
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()


def test_a_panel_is_opened_left_and_kept_by_the_keyboard(page: Page) -> None:
    link = page.locator("#overview tbody tr", has_text="MSE").locator("td a").first
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    within = "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate(within)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(link).to_be_focused()
    assert "#cell" not in page.url
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()


@pytest.mark.parametrize("page", [{"place": "#cell/coco/tiny/heatmap/dm"}], indirect=True)
def test_the_address_of_a_cell_opens_it_and_a_failed_one_says_why(page: Page) -> None:
    panel = page.get_by_role("dialog")
    expect(panel).to_be_visible()
    assert "Seed 0 failed in the step train: ValueError: the loss is not finite" in panel.inner_text()


@pytest.mark.parametrize("page", [{"color_scheme": "dark"}], indirect=True)
def test_the_page_is_dark_where_the_system_is_and_the_button_changes_it(page: Page) -> None:

    def lightness(of: str) -> float:
        text = page.evaluate(f"getComputedStyle(document.body).{of}")
        return sum(map(float, text[text.index("(") + 1 : -1].split(",")[:3])) / 765

    assert lightness("backgroundColor") < 0.2 and lightness("color") > 0.8
    page.get_by_role("button", name="Theme").click()
    assert lightness("backgroundColor") > 0.9 and lightness("color") < 0.2
    page.get_by_role("button", name="Theme").click()
    assert lightness("backgroundColor") < 0.2


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_on_a_phone_the_tables_scroll_and_the_page_does_not(page: Page) -> None:
    page.locator("#charts").scroll_into_view_if_needed()
    expect(page.locator("#chart-list svg.marks").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#overview .scroll")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    box.evaluate("box => { box.scrollLeft = 200; }")
    pinned = page.locator("#table-main tbody th").first.bounding_box()
    assert pinned is not None and pinned["x"] >= 0
    box.evaluate("box => { box.scrollLeft = 0; }")
    # What is above a table is seen without scrolling, and a long name leaves room for the numbers.
    for name in ("th.group .dt-column-header", "caption span", "tbody tr:nth-child(2) .pinned"):
        seen = page.locator(f"#table-main {name}").first.bounding_box()
        assert seen is not None and seen["x"] >= 0 and seen["x"] + seen["width"] <= 390
    assert page.locator("#table-main th.group .dt-column-order").count() == 0  # a group does not sort
    page.locator("#overview tbody td a").first.evaluate("link => link.click()")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate("document.getElementById('panel').scrollWidth") <= 390


@pytest.fixture(scope="module")
def long_report(folder: Path) -> Path:
    """A report with more rows than the page shows at a time, the widest tables, figures and a sheet."""
    losses = [f"loss{index}" for index in range(30)]
    for loss in losses:
        write(folder / "more/records", record("mpii", loss, metrics={"PCKh": 0.5}))
    for seed in (0, 1):  # many metrics, claims with commands
        for loss, head in product(("mse", "kl"), ("heatmap", "simcc")):
            metrics = {**dict.fromkeys(DATASETS["mpii"].metrics, 0.5), "PCKh": 0.5 + 0.1 * seed}
            real = record(
                "mpii", loss, head, seed, model="resnet50", metrics=metrics, data={"generated": False}
            )
            write(folder / "more/records", real)
    return make_report([folder / "records", folder / "more/records"], folder / "more/report.html")


def test_on_paper_every_table_is_whole_light_and_without_controls(
    browser: Browser, long_report: Path
) -> None:
    context = browser.new_context(viewport={"width": LETTER, "height": 700}, offline=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(long_report.as_uri())
    page.wait_for_selector("#table-cells.dataTable", state="attached")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    rows = "document.querySelectorAll('#table-cells tbody tr').length"
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.rowsOnPaper = {rows}; }})")
    page.pdf(prefer_css_page_size=True)
    assert page.evaluate("window.rowsOnPaper") == 63 and page.evaluate(rows) == 50
    page.locator("#overview td a").first.click()
    page.emulate_media(media="print")
    for table in page.locator("main table").all():
        box = table.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= LETTER
    for hidden in ("#panel", "#theme", ".dt-search input", ".contents", "#cell-filters", ".dt-column-order"):
        expect(page.locator(hidden).first).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    context.close()


def test_pages_of_paper_break_between_rows_under_repeated_headers_and_none_is_blank(
    browser: Browser, long_report: Path, tmp_path: Path
) -> None:
    if shutil.which("pdftotext") is None:
        reason = "no pdftotext is installed; to run this test: apt-get install poppler-utils"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    page = browser.new_page()
    page.goto(long_report.as_uri())
    page.wait_for_selector("#table-cells.dataTable", state="attached")
    paper = tmp_path / "paper.pdf"
    page.pdf(path=paper, prefer_css_page_size=True)
    titles = page.locator("main h2").all_inner_texts()
    page.close()
    text = subprocess.run(["pdftotext", "-layout", paper, "-"], capture_output=True, text=True, check=True)
    pages = [[line.strip() for line in one.splitlines() if line.strip()] for one in text.stdout.split("\f")]
    assert pages.pop() == []  # behind the last page

    of_cells = re.compile(
        r"(COCO|CrowdPose|MPII) +(tiny|resnet50) +(2D|1D) +(\S.*?) +(\d) +(generated|real) "
    )
    found = []
    for lines in pages:
        rows = [index for index, line in enumerate(lines) if of_cells.match(line)]
        headers = [i for i, line in enumerate(lines) if re.match("Dataset +Model +Head +Loss +Seed", line)]
        assert len(headers) == bool(rows)
        assert not rows or headers[0] < rows[0]
        found += [of_cells.match(lines[index]).groups()[:5] for index in rows]
    assert (
        len(set(found)) == len(found) == 25 - 1 + 30 + 8
    )  # all but the failed one, which has no kind of data
    assert sum(any(map(of_cells.match, lines)) for lines in pages) > 1
    every = list(chain.from_iterable(pages))
    overview = "\n".join(every[every.index("Overview") : every.index(titles[titles.index("Overview") + 1])])
    for index in range(30):
        assert len(re.findall(rf"(?m)^(tiny +)?LOSS{index} .*50\.0", overview)) == 1

    for lines in pages:  # a title stands above what it is the title of
        assert not lines or lines[-1] not in titles
    words = "\n".join(chain.from_iterable(pages))
    for control in ("Theme:", "Search", "63 rows", "Versions"):
        assert control not in words

    subprocess.run(["pdftoppm", "-r", "25", "-gray", paper, tmp_path / "page"], check=True)
    images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(tmp_path.glob("page*.pgm"))]
    assert len(images) == len(pages)
    for image in images:
        assert (image < 250).mean() > 0.003 and (image < 60).mean() < 0.5  # neither blank nor dark
    # The sheet of heatmaps, which is higher than wide, is whole on upright pages.
    upright = [image for image in images if image.shape[0] > image.shape[1]]
    assert len(upright) == 2
    grey = [np.flatnonzero((abs(image.astype(int) - 128) < 10).sum(axis=1) > 20).size for image in upright]
    width = max((abs(image.astype(int) - 128) < 10).sum(axis=1).max() for image in upright)
    assert sum(grey) == pytest.approx(width * 5000 / 1200, rel=0.05)


# Pairs of words of a drawing that overlap, and words that leave it.
IN_THE_WAY = """() => {
  const page = document.documentElement.getBoundingClientRect();
  const words = [...document.querySelectorAll("text")]
    .filter((text) => text.textContent.trim() && text.getAttribute("opacity") !== "0")
    .map((text) => [text.textContent, text.getBoundingClientRect()]);
  const out = words.filter(([, a]) => a.left < -1 || a.right > page.right + 1 || a.bottom > page.bottom + 1);
  const apart = (a, b, room) => a.right < b.left + room || a.bottom < b.top + 2 * room;
  const over = words.flatMap(([one, a], i) =>
    words.slice(i + 1).filter(([, b]) => !apart(a, b, 1) && !apart(b, a, 1)).map(([two]) => [one, two]));
  return [...out.map(([text]) => text), ...over];
}"""
GRIDS = {
    "many losses": crowded(),
    "two models": crowded(("mse", "kal", "rspose"), ("resnet50-256x192", "vitpose-b")),
    "one head": [content for content in crowded(("mse", "kal")) if content["cell"]["head"] == "simcc"],
}


@pytest.mark.parametrize("grid", GRIDS)
def test_no_words_of_a_figure_overlap_or_leave_it(browser: Browser, grid: str, tmp_path: Path) -> None:
    for content in GRIDS[grid]:
        write(tmp_path / "records", content)
    page = browser.new_page()
    for figure in make_study_figures(tmp_path / "records", tmp_path / "figures"):
        if figure.suffix == ".svg":
            page.goto(figure.as_uri())
            assert page.evaluate(IN_THE_WAY) == [], figure.name
    page.close()
