"""LaTeX tables: they compile, fit the pages of papers, and print the same numbers as the Markdown tables."""

import os
import re
import shutil
import subprocess
from collections import Counter
from itertools import product
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

import numpy as np
import pytest
from builders.records import (
    COCO_METRICS,
    CROWDPOSE_METRICS,
    MPII_METRICS,
    fail,
    record,
    with_bootstrap,
    write,
)

from rspose.cli import main
from rspose.reporting.latex import escaped
from rspose.reporting.tables import make_tables

REFERENCE = Path(__file__).parents[1] / "results/reference"
INSTALL = "apt-get install --no-install-recommends texlive-latex-recommended poppler-utils"
TWO_COLUMNS = r"""\documentclass[10pt,twocolumn,letterpaper]{article}
\usepackage[textwidth=6.875in,textheight=8.875in]{geometry}"""  # the page of CVPR
ONE_COLUMN = r"\documentclass{article}"  # the narrowest: 345 points
PAGES = {"two columns": TWO_COLUMNS, "one column": ONE_COLUMN}
METRICS = {"coco": COCO_METRICS, "crowdpose": CROWDPOSE_METRICS, "mpii": MPII_METRICS}
TITLES = {"fowkal": "FoWKAL", "rspose": "RSPose", "dm": "DM"}
# Written so that the log says by how much a table is shrunk; \resizebox is used for nothing else.
WATCHED = r"""\AtBeginDocument{\let\shrink\resizebox
\renewcommand{\resizebox}[3]{\typeout{Shrunk from \the\wd0 \space to \the\linewidth.}\shrink{#1}{#2}{#3}}}"""


class Printed(NamedTuple):
    """What came out of LaTeX."""

    text: str
    complaints: list[str]  # errors, warnings, and boxes that are more than 2 points too wide or too high
    shrunk: list[float]  # of each table that was shrunk, to which share of its width


@pytest.fixture(scope="session")
def programs() -> None:
    """The test is left out where LaTeX is not installed."""
    if missing := [name for name in ("pdflatex", "pdftotext") if shutil.which(name) is None]:
        reason = f"no {' and no '.join(missing)} installed; to run these tests: {INSTALL}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def printed(folder: Path, body: str, page: str, tables: str = "") -> Printed:
    """Typeset ``body`` with the packages that ``tables`` say they need."""
    packages = {line for line in tables.splitlines() if line.startswith("% Needs")}
    used = "\n".join(line.removeprefix("% Needs ").removesuffix(".") for line in sorted(packages))
    document = "\n".join([page, used, WATCHED if used else "", r"\begin{document}", body, r"\end{document}"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "paper.tex").write_text(document, encoding="utf-8")
    run = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    for _ in range(2 if r"\label" in tables else 1):  # labels are known the second time
        subprocess.run(
            run, cwd=folder, capture_output=True, check=False, env={**os.environ, "max_print_line": "1000"}
        )
    log = (folder / "paper.log").read_text(errors="replace")
    complaints = re.findall(r"(?m)^(?:!|LaTeX Warning|Missing character).*", log)
    for line, points in re.findall(r"(?m)^(Overfull .*?\(([\d.]+)pt too .*)", log):
        complaints += [line] * (float(points) > 2)
    widths = re.findall(r"Shrunk from ([\d.]+)pt to ([\d.]+)pt", log)
    words = subprocess.run(
        ["pdftotext", "-layout", "paper.pdf", "-"], cwd=folder, capture_output=True, text=True, check=False
    )
    return Printed(words.stdout, complaints, [float(to) / float(of) for of, to in widths])


def paper(folder: Path, tables: Path, page: str) -> Printed:
    """Typeset a small paper with every table of a folder, and a reference to each."""
    paths = sorted(tables.glob("*.tex"))
    assert paths
    texts = [path.read_text(encoding="utf-8") for path in paths]
    labels = re.findall(r"\\label\{(.*?)\}", "".join(texts))
    assert len(labels) == len(set(labels)) >= len(paths)
    inputs = [rf"Words of the paper. \input{{{path}}}" + r" More words.\clearpage" for path in paths]
    body = "\n".join([*inputs, *(rf"Table~\ref{{{label}}}." for label in labels)])
    return printed(folder, body, page, "".join(texts))


def demo(root: Path) -> None:
    """A grid as the demo's: three generated datasets, one seed, intervals over images, controls."""
    rng = np.random.default_rng(0)
    for dataset, metrics in METRICS.items():
        for head, loss in product(("heatmap", "simcc"), ("mse", "kl", "awing", "fowkal", "dm", "rspose")):
            written = {"title": TITLES.get(loss), "reconstruction": loss in TITLES}
            content = record(dataset, loss, head, 0, "resnet18-w24", metrics=metrics, **written)
            noise = {f"metrics.{name}": rng.normal(value, 0.02, 100) for name, value in metrics.items()}
            write(root, with_bootstrap(content, noise))
        for control, title in (("oracle", "Oracle keypoints"), ("mean_pose", "Mean pose")):
            write(root, record(dataset, control, title=title, metrics=dict(metrics), control=True))


def real(root: Path) -> None:
    """A grid as the papers': several models on real data, seeds, claims, a failed cell, hostile words."""
    rng = np.random.default_rng(0)
    for dataset, model, head, loss, seed in product(
        METRICS,
        ("resnet50", "hrnet-w48", "vitpose-h", "rtmpose-m"),
        ("heatmap", "simcc"),
        ("mse", "kl", "awing", "fowkal", "dm", "rspose"),
        (0, 1, 2),
    ):
        if (model, head) in (("vitpose-h", "simcc"), ("rtmpose-m", "heatmap")):
            continue
        metrics = {name: value + rng.normal(0, 0.01) for name, value in METRICS[dataset].items()}
        title = r"100% [loss]_#1 <β> \ü" if loss == "awing" else TITLES.get(loss)
        write(root, record(*(dataset, loss, head, seed), model, title=title, metrics=metrics,
                           reconstruction=loss in TITLES, data={"generated": False}))  # fmt: skip
    fail(root, "own", 0, "train", "RuntimeError: σ² → ∞ in {map_3}; try --lr=1e-4 & co. 漢")


@pytest.fixture(
    scope="session", params=["study", "ablation_rspose", "ablation_dm", "ablation_fowkal", demo, real]
)
def tables(programs: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tables of a grid."""
    folder = tmp_path_factory.mktemp("tables")
    if callable(request.param):
        request.param(folder / "records")
        records = folder / "records"
    else:
        records = REFERENCE / request.param
    make_tables(records, folder / "tables")
    return folder / "tables"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_table_compiles_and_fits_the_page(tables: Path, page: str, tmp_path: Path) -> None:
    found = paper(tmp_path, tables, PAGES[page])
    assert found.complaints == []
    # Letters of 8 points stay readable, also on the narrowest page.
    assert min(found.shrunk, default=1.0) > (0.75 if page == "two columns" else 0.55)


@pytest.mark.slow
def test_the_numbers_on_paper_are_those_of_the_markdown_tables(tables: Path, tmp_path: Path) -> None:
    names = [path.stem for path in tables.glob("*.tex") if path.stem != "claimed"]  # which has less on paper
    for name in names:
        (tmp_path / name).mkdir()
        shutil.copy(tables / f"{name}.tex", tmp_path / name)
        text = paper(tmp_path / "paper", tmp_path / name, TWO_COLUMNS).text
        rows = [line for line in (tables / f"{name}.md").read_text().splitlines() if line.startswith("|")]
        assert numbers("".join(rows[2:])) <= numbers(text), name


def numbers(text: str) -> Counter[str]:
    """How often each number with a decimal point occurs."""
    return Counter(re.findall(r"[-+]?[0-9]+[.][0-9]+", text.replace("\N{MINUS SIGN}", "-")))


@pytest.mark.slow
def test_two_losses_can_be_compared_in_a_paper(
    programs: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["versus", "rspose", "mse", "--latex", "--records", str(REFERENCE / "study")]) == 0
    (tmp_path / "versus.tex").write_text(capsys.readouterr().out)
    found = paper(tmp_path, tmp_path, ONE_COLUMN)
    assert found.complaints == []
    for expected in ("pose ρ", "AP with oracle scores", "+3.8", "< 0.001"):
        assert expected in found.text


@pytest.mark.slow
def test_every_character_is_printed_as_it_is_or_named(programs: None, tmp_path: Path) -> None:
    ascii_characters = "".join(chr(code) for code in range(33, 127) if code != ord("_"))  # which is a line
    others = "éüñçÅßøαβδλσωΓΣΩ±×≈≤→\N{MINUS SIGN}"
    lines = [" ".join(ascii_characters), " ".join(others)]
    lines += ["a_", "a--b", "[x]", "\u6f22", "e\u0301", "a\tb\xa0c"]
    found = printed(tmp_path, "".join(escaped(line) + r"\par " for line in lines), ONE_COLUMN)
    assert found.complaints == []
    words = normalize("NFKC", "".join(found.text.split()).translate(str.maketrans("ˆ˜’”", "^~'\"")))
    for expected in (ascii_characters, others, "a--b", "[x]", "U+6F22", "eU+0301", "abc"):
        assert expected in words


@pytest.mark.slow
def test_a_label_that_opens_with_a_bracket_does_not_end_up_in_the_row_above(
    programs: None, tmp_path: Path
) -> None:
    for loss in ("mse", "kl"):
        write(tmp_path / "records", record(loss=loss, title=f"[{loss}]"))
    make_tables(tmp_path / "records", tmp_path / "tables")
    found = paper(tmp_path / "paper", tmp_path / "tables", ONE_COLUMN)
    assert found.complaints == [] and "[mse]" in found.text and "[kl]" in found.text
