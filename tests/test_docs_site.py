"""The documentation as a website: what it is made from, and that it works where there is no network."""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from builders.grid import REPOSITORY
from builders.processes import run
from playwright.sync_api import Browser, expect

from rspose.grid.config import load_config
from rspose.losses import available, build
from rspose.tools.docstrings import markdown, prose
from rspose.tools.loss_pictures import numbers
from rspose.tools.pushes import losses_of_grid, losses_of_project, pushes, situations


def test_docstrings_become_markdown() -> None:
    docstring = """A mean.

    .. math:: L = \\frac{1}{N}

    With :math:`a_p` of :func:`mse` and
    .. math::
        A &= 1 \\\\
        B &= 2
    """
    assert " ".join(markdown(docstring).split()) == (
        r"A mean. $$ L = \frac{1}{N} $$ With $a_p$ of `mse` and "
        r"$$ \begin{aligned} A &= 1 \\ B &= 2 \end{aligned} $$"
    )


def test_a_loss_is_described_with_the_functions_that_it_names_each_once() -> None:
    told = list(prose(available()["dm"]))
    assert [text.splitlines()[0] for text in told] == [
        "Module form of `dm` (2D) and `dm_1d` (SimCC, x plus y). It sees no Gaussian label.",
        "Earth Mover's Distance ``[M]`` from each heatmap to its keypoint, in fractions of its longer side.",
        "Difference ``[M]`` of the cumulative sums of each SimCC map and its keypoint, squared or plain.",
    ]
    assert not any("Args:" in text for text in told)


@pytest.mark.parametrize("name", available())
def test_the_picture_of_a_loss_has_its_least_value_at_the_keypoint_and_pushes_the_peak_there(
    name: str,
) -> None:
    values, steps = numbers(name)
    assert values.value.idxmin() == len(values) // 2
    assert values.value.iloc[[0, -1]].min() > values.value.min()
    assert steps.step.abs().max() == pytest.approx(1)
    if name != "instance_sort":  # lowers the confidence of what is badly placed
        away = steps.place - 1.5
        assert (steps.step * (away < 0)).sum() > (steps.step * (away > 0)).sum()
    assert (REPOSITORY / "docs/figures/losses" / f"{name}.svg").is_file()


def test_every_loss_pushes_three_heatmaps_from_the_wrong_place_to_the_keypoint() -> None:
    prediction, target = situations()
    labels = torch.as_tensor(target.heatmaps)
    torch.testing.assert_close(
        (by_mse := pushes(build("mse"))) / by_mse.max(),
        (difference := (labels - prediction)[0]) / difference.max(),
    )
    losses = losses_of_project()
    assert len(losses) == len(available()) - 1
    for name in losses.keys() - {"Instance-Sort"}:
        clear, occluded, crowded = pushes(losses[name])
        # Around the keypoint the output rises, at the peak of somebody else's joint it falls.
        assert crowded[15:18, 7:10].sum() > 0 > crowded[16, 17], name
        assert occluded[14:18, 10:14].sum() > 0, name
        assert clear.abs().max() > 0, name
    grid = losses_of_grid(load_config(REPOSITORY / "config/readings.yaml"))
    assert [*grid][3] == "RSPose, 3 sigma"
    further = pushes(grid["RSPose, 3 sigma"])[0].abs() > 0  # what it ranks is wider
    assert further.sum() > (pushes(losses["RSPose"])[0].abs() > 0).sum()
    file = REPOSITORY / "docs/figures/losses/situations.png"
    assert file.stat().st_size < 100_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; a link that leads nowhere, or a warning, ends its building."""
    folder = tmp_path_factory.mktemp("site")
    command = [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--quiet", "--site-dir", folder]
    run(*command, folder=REPOSITORY, NO_MKDOCS_2_WARNING="1", HTTPS_PROXY="http://127.0.0.1:9")
    return folder


@pytest.mark.slow
def test_the_site_asks_no_server_but_its_own(site: Path, browser: Browser) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    own = f"http://127.0.0.1:{server.server_port}/"
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    known = (own, "data:", f"blob:{own}")
    page.on("request", lambda asked: None if asked.url.startswith(known) else requests.append(asked))
    for name in ("index", "losses", "findings", "config", "api/losses", "api/evaluation"):
        page.goto(f"{own}{name}.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        widths = page.locator("article img").evaluate_all("all => all.map((image) => image.naturalWidth)")
        assert all(widths)
    page.goto(f"{own}losses.html")
    assert page.locator("math").count() > 20 and page.locator("merror").count() == 0
    assert page.locator("math mfrac").first.bounding_box()["height"] > 10  # set as a formula, not as letters
    assert r"\frac" not in page.locator("article").inner_text()
    page.locator("label[for=__search]").first.click()
    page.get_by_role("textbox", name="Search").press_sequentially("Newton")
    expect(page.locator(".md-search-result__link").first).to_be_visible(timeout=60_000)
    assert (complaints, requests) == ([], [])
    context.close()
    server.shutdown()
