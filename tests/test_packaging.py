"""What is installed: an extra is enough for what it is for, and the baselines are a part of rspose."""

import shutil
import zipfile
from pathlib import Path

import pytest
from builders.grid import REPOSITORY
from builders.processes import python
from builders.records import COCO_METRICS, record, write
from builders.sites import EXTRAS, make_site, run_in_site
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

COMMAND = """
import importlib.util
assert not any(importlib.util.find_spec(name) for name in {missing})
from rspose.cli import main
sys.exit(main())
"""


def site_of(extra: str, folder: Path) -> Path:
    return make_site(folder, *(Requirement(text).name for text in EXTRAS[extra]))


BARE = (
    "torch", "torchvision", "timm", "numpy", "scipy", "pandas", "matplotlib", "opencv-python-headless",
    "pillow", "pytest", "hypothesis", "pyyaml", "jinja2", "tabulate", "tqdm", "psutil", "requests",
    "networkx", "rich", "cython", "setuptools",
)  # fmt: skip
"""What a GPU machine without a registry has, and with it what these require."""


def test_losses_need_torch_alone(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    assert [Requirement(text).name for text in EXTRAS["losses"]] == ["torch"]
    site = site_of("losses", tmp_path_factory.mktemp("site"))
    code = COMMAND.format(missing=("numpy", "cv2", "scipy", "pandas", "yaml", "mmpose"))
    assert "| `rspose` | " in run_in_site(site, code, "list", "losses", cwd=tmp_path)
    # Loading torch's compiler takes two seconds of every command and job.
    loads = "import sys, rspose.losses; rspose.losses.available(); print('torch._dynamo' in sys.modules)"
    assert run_in_site(site, loads) == "False\n"
    run_in_site(site, code, "new-loss", "mine", "--folder", tmp_path, cwd=tmp_path)
    said = run_in_site(site, code, "check-loss", "mine", "--from", tmp_path / "mine.py", cwd=tmp_path)
    assert said.endswith("mine: all checks passed\n")


def test_tables_need_no_torch(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    site = site_of("tables", tmp_path_factory.mktemp("site"))
    code = COMMAND.format(missing=("torch", "mmpose", "mmengine", "snakemake"))
    for loss, ap in (("mse", 0.4), ("kl", 0.5)):
        for seed in range(2):
            better = {**COCO_METRICS, "AP": ap + seed / 100}
            write(tmp_path / "records", record(loss=loss, seed=seed, metrics=better))
    records = tmp_path / "records"
    assert "KL" in run_in_site(site, code, "tables", records, "--out", tmp_path / "tables", cwd=tmp_path)
    assert "MB" in run_in_site(site, code, "report", records, "--out", tmp_path / "r.html", cwd=tmp_path)
    assert "AP" in run_in_site(site, code, "versus", "kl", "mse", "--records", records, cwd=tmp_path)
    assert "2" in run_in_site(site, code, "diff", records, records, cwd=tmp_path)


def test_the_pinned_environment_is_one_that_the_extras_allow() -> None:
    lines = (REPOSITORY / "envs" / "requirements.txt").read_text().splitlines()
    pins = [line.split("#")[0].strip().split("==") for line in lines if "==" in line]
    pinned = {name.lower().replace("_", "-"): version for name, version in pins}
    for text in (text for extra in EXTRAS.values() for text in extra if not text.startswith("rspose-bench")):
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), text


def test_a_wheel_has_the_baselines_within_rspose(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for folder in ("rspose", "baselines"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / folder, source / folder, symlinks=True, ignore=ignored)
    shutil.copytree(REPOSITORY / "results/published", source / "results/published")
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / file, source)
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir")
    python(*build, tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        assert archive.read("rspose/baselines/kl.py") == (REPOSITORY / "baselines/kl.py").read_bytes()
    assert {name.split("/")[0] for name in held} == {"rspose", wheel.name.rsplit("-", 3)[0] + ".dist-info"}
    for numbers in (REPOSITORY / "results/published").glob("*.csv"):
        assert f"rspose/reporting/published_numbers/{numbers.name}" in held
    files = (path for path in (source / "rspose").rglob("*") if path.is_file())
    assert {path.relative_to(source).as_posix() for path in files} <= held


def test_a_gpu_machine_without_a_registry_has_all_that_trains_with_what_is_carried_there(
    tmp_path: Path,
) -> None:
    lines = (REPOSITORY / "envs/gpu/packages.txt").read_text().splitlines()
    carried = [line for line in lines if not line.startswith("#")]
    (tmp_path / "site").mkdir()
    site = make_site(tmp_path / "site", *BARE, alone=[*carried, "xtcocotools"])
    needed = (
        "rspose.training.predict, rspose.evaluation.evaluate, rspose.reporting.tables, rspose.tools.doctor"
    )
    workflow = "snakemake.cli, snakemake.workflow, snakemake.notebook, jsonschema"
    assert run_in_site(site, f"import {needed}, {workflow}; print('all')").endswith("all\n")
