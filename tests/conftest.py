"""The tiny grid and a browser as fixtures."""

import os
import shutil
import sys
from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

# One thread a process: the test processes share the cores. Before anything loads an OpenMP library.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import yaml
from builders.grid import IMAGE_SIZE, SETTINGS, TRAIN_IMAGES, VAL_IMAGES
from builders.losses import forget_later

from rspose.datasets import DATASETS
from rspose.drawn import make_dataset
from rspose.evaluation import evaluate
from rspose.evaluation.resampling import draws

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Of the tests that want photographs alone: the others look for data where their configs say.
# Test processes inherit it from the one that starts them, under another name.
PHOTOGRAPHS = os.environ.pop("RSPOSE_DATA", os.environ.get("RSPOSE_PHOTOGRAPHS"))
if PHOTOGRAPHS:
    os.environ["RSPOSE_PHOTOGRAPHS"] = PHOTOGRAPHS

if find_spec("xtcocotools") is None:
    from rspose.training import import_standins  # noqa: F401  (mmpose is importable without it then)

    def _skip(*_: Any, **__: Any) -> None:
        pytest.skip("compares with xtcocotools, which does not build on Python 3.13: use 3.11 or 3.12")

    sys.modules["xtcocotools.cocoeval"].COCOeval = _skip  # type: ignore[attr-defined]

# Of several processes each takes a module at a time: what takes longest must not be left for the end.
LONGEST = (
    "test_workflow_slurm",
    "test_workflow_end_to_end",
    "test_losses_rank_sort",
    "test_workflow_slurm_accounting",
    "test_tools_check_loss",
    "test_report_browser",
    "test_workflow_compare",
    "test_training_distributed",
    "test_training_paper_grid",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest modules come first, the others as they are."""
    items.sort(key=lambda item: (*LONGEST, item.path.stem).index(item.path.stem))


@pytest.fixture(scope="session")
def photographs() -> Path:
    """Folder of the photographs of LSP and LSPET."""
    folder = Path(PHOTOGRAPHS or "data")
    if not (folder / "lsp/joints.mat").is_file():
        pytest.skip(
            "no photographs: `rspose data fetch lsp` fetches them, RSPOSE_DATA=FOLDER says where they are"
        )
    return folder.resolve()


@pytest.fixture(scope="session")
def tiny_config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a grid of 8 cells, alone in a folder that its paths are relative to."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.yaml"
    path.write_text(yaml.safe_dump(SETTINGS, sort_keys=False))
    return path


@pytest.fixture(scope="session")
def tiny_datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the generated datasets of the tiny config, one below each dataset's name."""
    folder = tmp_path_factory.mktemp("tiny_data")
    for dataset, entry in SETTINGS["data"].items():
        seed = entry["generate"]["seed"]
        make_dataset(dataset, folder / dataset, TRAIN_IMAGES, seed, VAL_IMAGES, IMAGE_SIZE)
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with six training and four validation pictures of every dataset, each below its name."""
    folder = tmp_path_factory.mktemp("made")
    for dataset in DATASETS:
        make_dataset(dataset, folder / dataset, 6, 3, 4, (128, 96))
    return folder


@pytest.fixture
def settings() -> dict[str, Any]:
    """The tiny config as a dictionary of one's own, not yet completed."""
    return deepcopy(SETTINGS)


@pytest.fixture
def trainable(settings: dict[str, Any], tiny_datasets: Path, tmp_path: Path) -> dict[str, Any]:
    """The tiny config, not yet completed, with datasets that are there and a results folder of its own."""
    settings["results"] = str(tmp_path / "results")
    for dataset, entry in settings["data"].items():
        entry["root"] = str(tiny_datasets / dataset)
    return settings


@pytest.fixture
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    forget_later(monkeypatch)


@pytest.fixture
def few_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time of an evaluation goes into its 500 replicates: here there are two."""
    monkeypatch.setattr(evaluate, "draws", partial(draws, replicates=2))


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Any Chromium; where there is none its tests are left out, with CI=true they fail."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        reason = "no Chromium is installed; to run these tests: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    # The last ones keep the browser itself from asking for updates and the like.
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    from playwright.sync_api import sync_playwright  # a GPU machine without a registry has none

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags, timeout=120_000)
        yield browser
        browser.close()
