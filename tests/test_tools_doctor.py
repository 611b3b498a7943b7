"""The doctor says what is wrong with a machine, and how fast it is."""

import json
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from builders.grid import put

from rspose.baselines.mse import MSELoss
from rspose.cli import main
from rspose.grid.config import complete
from rspose.losses import rank_sort
from rspose.tools import bench, devices, doctor, steps
from rspose.tools.doctor import PARTS, Line, Subject, examine, page
from rspose.tools.steps import Steps

pytestmark = pytest.mark.filterwarnings("ignore")

Settings = dict[str, Any]
on_a_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU here")


def look(part: str, *lines: dict[str, Any], **of: Any) -> list[Line]:
    """The lines of one part, with the CPU in the GPU's place."""
    subject = Subject(of.get("file"), of.get("config"), "cpu", list(lines))
    return list(PARTS[part][0](subject))


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets some parts alone be examined."""
    return lambda *parts: monkeypatch.setattr(doctor, "PARTS", {part: PARTS[part] for part in parts})


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts programs that print something in the place of all programs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put_there(*names: str, says: str = "") -> None:
        for name in names:
            (folder / name).write_text(f"#!/bin/sh\nprintf '{says}'\n")
            (folder / name).chmod(0o755)

    return put_there


def test_a_package_that_differs_from_its_pin_is_wrong(
    only: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    only("versions")
    envs, project = tmp_path / "envs", tmp_path / "pyproject.toml"
    envs.mkdir()
    project.write_text('[project]\nrequires-python = ">=3.11,<4"')
    right = f"# why\ntorch=={metadata.version('torch').partition('+')[0]}  # the losses\n\nnosuch==1.0\n"
    (envs / "requirements.txt").write_text(f"{right}numpy=={np.__version__}\n")
    (envs / "requirements-source.txt").write_text(
        f"pycocotools=={metadata.version('pycocotools')}\nno-older; python_version < '3'\n"
    )
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    assert main(["doctor"]) == 0
    assert "pins that are not installed: nosuch" in capsys.readouterr().out
    (envs / "requirements.txt").write_text(f"{right}numpy==1.26.4\n")
    assert main(["doctor"]) == 1
    assert f"expected 1.26.4, found {np.__version__}; make setup" in capsys.readouterr().out
    project.write_text('[project]\nrequires-python = ">=3.90"')
    assert [line.what for line in look("versions") if line.verdict == "wrong"] == ["Python", "numpy"]


def test_what_cannot_be_imported_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        if name == "xtcocotools.coco":
            raise ValueError("numpy.dtype size changed")

    monkeypatch.setattr(doctor, "import_module", refuse)
    (wrong,) = (line for line in look("versions") if line.verdict == "wrong")
    assert wrong.what == "import xtcocotools.coco" and wrong.found.startswith("numpy.dtype size changed;")


@pytest.mark.parametrize("broken", ["value", "gradient", "sometimes"])
def test_a_broken_kernel_is_wrong(
    broken: str,
    only: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The kernel of the device: what the CPU compares it with is asked for by its name."""
    only("ranking")
    monkeypatch.setattr(doctor, "_ROWS", 4)
    calls = 0

    def kernel(scores: torch.Tensor, *rest: Any, implementation: str) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        rank, sort = rank_sort(scores, *rest)
        if implementation == "auto":
            calls += 1
            if broken == "gradient":
                scores.register_hook(lambda gradient: gradient * 1.001)
            elif broken == "value" or calls % 2:
                factor = 1.001 if broken == "value" else 1 + 1e-6
                rank, sort = rank * factor, sort * factor
        return rank, sort

    assert main(["doctor", "--device", "cpu"]) == 0
    capsys.readouterr()
    monkeypatch.setattr(devices, "rank_sort", kernel)
    assert main(["doctor", "--device", "cpu", "--json"]) == 1
    lines = json.loads(capsys.readouterr().out)["lines"]
    assert len(lines) == 10
    for line in lines:
        assert line["verdict"] == "wrong" and line["found"].startswith("seed ")
        if broken == "sometimes" and "float32" in line["what"]:
            assert line["found"].endswith("two runs differ")
        else:
            assert "not close" in line["found"]


def test_rows_are_as_long_as_those_that_losses_rank_and_new_every_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_ROWS", 4)
    once, again = look("ranking"), look("ranking")
    assert {line.verdict for line in (*once, *again)} == {"ok"}
    assert once[0].found != again[0].found
    width, height = bench.FULL["heatmap"].size
    lengths = {width * height, *bench.FULL["simcc"].size, bench.BATCH * bench.KEYPOINTS}
    assert {int(line.what.partition(",")[0]) for line in once} == lengths


def test_a_loss_that_is_another_one_on_a_device_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {line.verdict for line in look("losses")} == {"ok"}
    usual = MSELoss.map_loss

    def random(self: MSELoss, *maps: torch.Tensor) -> torch.Tensor:
        return usual(self, *maps) * (1 + torch.rand(()))

    monkeypatch.setattr(MSELoss, "map_loss", random)
    found = {line.what: line.verdict for line in look("losses") if line.what.startswith("mse")}
    assert found == dict.fromkeys(
        ("mse, heatmap", "mse, heatmap, autocast", "mse, simcc", "mse, simcc, autocast"), "wrong"
    )

    def refused(self: MSELoss, *maps: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("cumsum_cuda_kernel does not have a deterministic implementation")

    monkeypatch.setattr(MSELoss, "map_loss", refused)
    lines = {line.what: line for line in look("losses")}
    assert "deterministic implementation" in lines["mse, simcc"].found and lines["kl"].verdict == "ok"


def test_what_a_config_lacks_is_named_with_the_command_that_fetches_it(
    trainable: Settings, tmp_path: Path
) -> None:
    trainable["datasets"] = ["coco", "crowdpose", "mpii"]
    for dataset in ("coco", "mpii"):
        trainable["data"][dataset].pop("generate")
    put(trainable, "data/coco/root", str(tmp_path / "coco"))
    put(trainable, "model_settings/tiny/pretrained", "https://example.org/weights-1234abcd.pth")
    config, file = complete(trainable), tmp_path / "grid.yaml"
    coco, crowdpose, mpii, weights = look("data", config=config, file=file)
    assert (coco.what, coco.verdict) == ("coco", "not here")
    assert coco.found.endswith(f"rspose data fetch coco --root {tmp_path}/coco")
    assert (crowdpose.verdict, mpii.verdict) == ("ok", "not here")
    assert mpii.found.endswith("mpii: drawn; the config asks for the real one")
    assert weights[1:3] == (f"pretrained/weights-1234abcd.pth; rspose pretrained {file}", "not here")


def test_a_dataset_that_is_there_and_damaged_is_wrong(trainable: Settings, tmp_path: Path) -> None:
    trainable["datasets"] = ["mpii"]
    entry = trainable["data"]["mpii"]
    entry.pop("generate")
    root = shutil.copytree(entry["root"], tmp_path / "mpii")
    entry["root"] = str(root)
    shutil.rmtree(root / "images")
    (line,) = look("data", config=complete(trainable))
    assert line.verdict == "wrong"
    assert line.found.endswith(f"rspose data check {root} --dataset mpii")
    trainable.update(datasets=["crowdpose"], tuning={"trials": 2, "dataset": "mpii"})
    lines = look("data", config=complete(trainable))
    assert [(each.what, each.verdict) for each in lines] == [("crowdpose", "ok"), ("mpii", "wrong")]


def test_json_has_the_lines_of_the_table(
    only: Callable[..., None], trainable: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only("machine", "workflow", "data")
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump(trainable))
    assert main(["doctor", str(file), "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)["lines"]
    assert main(["doctor", str(file)]) == 0
    table = capsys.readouterr().out.splitlines()
    rows = [row for row in table if row.startswith(("machine", "workflow", "data"))]
    assert len(rows) == len(lines)
    for row, line in zip(rows, lines, strict=True):
        assert " ".join(row.split()).startswith(f"{line['part']} {line['what']} ")
        assert row.rpartition("  ")[2].startswith(line["verdict"])
    verdicts = [line["verdict"] for line in lines]
    counts = (f"{verdicts.count(each)} {each}" for each in ("ok", "slow", "wrong", "not here"))
    assert table[-1].endswith(f": {', '.join(counts)}")


def test_a_check_that_fails_itself_is_wrong_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(subject: Subject) -> Any:
        yield Line("first", "found")
        raise OSError("no such device")

    parts = {"one": (failing, False), "two": (lambda _: iter([Line("second", "found")]), False)}
    monkeypatch.setattr(doctor, "PARTS", parts)
    lines = examine(None, None)["lines"]
    assert [(line["part"], line["what"], line["verdict"]) for line in lines] == [
        ("one", "first", "ok"),
        ("one", "the check itself", "wrong"),
        ("two", "second", "ok"),
    ]
    assert lines[1]["found"] == "OSError: no such device"


def test_a_package_that_is_missing_is_said_once(
    only: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Any:
        raise ModuleNotFoundError("No module named 'six'")

    monkeypatch.setattr(doctor, "import_module", refuse)
    monkeypatch.setattr(doctor, "compare_loss", refuse)
    only("versions", "losses")
    lines = examine(None, "cpu")["lines"]
    assert [(line["what"], line["verdict"]) for line in lines if line["part"] == "losses"] == [
        ("not run", "not here")
    ]
    only("losses")
    (line,) = examine(None, "cpu")["lines"]
    assert (line["what"], line["verdict"]) == ("the check itself", "wrong")


@on_a_cpu
def test_a_gpu_that_torch_does_not_see_is_wrong_unless_it_is_hidden(
    programs: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (seen,) = look("GPU")
    assert seen.verdict == "not here"
    programs("nvidia-smi", says="NVIDIA H100, 81559 MiB, 580.65.06\\n")
    gpu, seen = look("GPU")
    assert gpu.found == "NVIDIA H100, 81559 MiB, 580.65.06" and seen.verdict == "wrong"
    assert torch.__version__ in seen.found and "found none" in seen.found
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert look("GPU")[1].verdict == "not here"


@pytest.mark.parametrize(
    ("version", "arch", "verdict"), [("", 90, "ok"), ("2.0.0", 90, "wrong"), ("", 80, "wrong")]
)
def test_triton_is_the_one_that_torch_wants_and_compiles_for_the_gpu(
    version: str, arch: int, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    triton = pytest.importorskip("triton")
    gpu = SimpleNamespace(name="NVIDIA H100", total_memory=85e9, major=9, minor=0)
    for name, value in {"is_available": True, "device_count": 2, "get_device_properties": gpu}.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    driver = SimpleNamespace(get_current_target=lambda: SimpleNamespace(backend="cuda", arch=arch))
    monkeypatch.setattr(triton.runtime, "driver", SimpleNamespace(active=driver))
    monkeypatch.setattr(triton, "__version__", version or triton.__version__)
    seen, line = look("GPU")[-2:]
    assert seen.found.endswith("sees 2; the first: NVIDIA H100, 85 GB, capability 9.0")
    assert (line.what, line.verdict) == ("Triton", verdict)
    assert f"torch wants triton=={metadata.version('triton')}" in line.found


@on_a_cpu
def test_without_a_gpu_what_needs_one_is_not_here(
    only: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    only("ranking", "losses", "loss times", "training step")
    assert [line["verdict"] for line in examine(None, None)["lines"]] == ["not here"] * 4
    capsys.readouterr()
    assert main(["doctor", "--device", "cuda"]) == 1
    assert capsys.readouterr().err == "error: --device cuda: torch sees no GPU\n"


def test_a_partition_that_slurm_does_not_have_is_wrong(
    programs: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("", "CPU_"):
        monkeypatch.delenv(f"RSPOSE_SLURM_{part}PARTITION", raising=False)
    assert look("workflow")[-1][:3] == ("Slurm", "no sbatch: jobs run on this machine", "not here")
    programs("sbatch")
    assert ("Slurm", "without squeue, scancel, sinfo", "wrong") in [line[:3] for line in look("workflow")]
    programs("squeue", "scancel")
    programs(
        "sinfo",
        says="gpu*|1-00:00:00|4|gpu:a100:8\\ngpu*|1-00:00:00|2|gpu:h100:4\\nlong|infinite|2|(null)\\n",
    )
    monkeypatch.setenv("RSPOSE_SLURM_PARTITION", "gpu")
    lines = look("workflow")
    assert {line.verdict for line in lines} == {"ok"}
    assert [line.found for line in lines if line.what == "partition gpu"] == [
        "4 nodes, devices of each gpu:a100:8, at most 1-00:00:00",
        "2 nodes, devices of each gpu:h100:4, at most 1-00:00:00",
    ]
    monkeypatch.setenv("RSPOSE_SLURM_PARTITION", "gpus")
    (wrong,) = (line for line in look("workflow") if line.verdict == "wrong")
    assert wrong[:2] == ("RSPOSE_SLURM_PARTITION", "expected of gpu, long, found gpus")


@pytest.mark.parametrize(("times", "verdict"), [(4.9, "ok"), (5.1, "slow (against 5 times MSE)")])
def test_a_loss_is_slow_against_mse(
    times: float, verdict: str, only: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    only("loss times")
    row = {"forward_ms": 1.0, "backward_ms": 2.0, "times_mse": times}
    monkeypatch.setattr(bench.Bench, "loss", lambda *_: row)
    monkeypatch.setattr(bench, "BATCH", 2)
    examined = examine(None, "cpu")
    assert {line["numbers"]["ms"] for line in examined["lines"]} == {3.0}
    rows = [row for row in page(examined).splitlines() if row.startswith("loss times")]
    assert len(rows) == len(examined["lines"]) and all(row.endswith(verdict) for row in rows)


def test_a_step_tells_how_fast_the_machine_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = pd.DataFrame({"mse": [0.04, 0.04, 0.08], "rspose": [0.041, 0.041, 0.1]})
    monkeypatch.setattr(steps, "measure_steps", lambda *_: Steps(64, seconds, {}))
    mse, rspose, *_ = look("training step")
    backbone = 4.09e9 * (256 * 192) / 224**2  # multiply-adds, from those of ImageNet's size
    deconvolutions = 4 * 4 * 256 * (2048 * 8 * 6 + 256 * 16 * 12 + 256 * 32 * 24)
    operations = 3 * 2 * (backbone + deconvolutions)
    assert mse.numbers["tflops"] == pytest.approx(operations * 64 / 0.04 / 1e12, rel=0.02)
    assert mse.numbers["images_a_second"] == pytest.approx(64 / 0.04)
    assert rspose.verdict == "ok" and rspose.numbers["times_mse"] == pytest.approx(1.025)
    monkeypatch.setattr(steps, "measure_steps", lambda *_: Steps(64, seconds[2:], {}))
    assert look("training step")[1][2:4] == ("slow", "1.03 times MSE's")


@pytest.mark.slow
def test_the_data_pipeline_is_slow_against_a_training_step(settings: Settings) -> None:
    put(settings, "training/workers", 2)
    (line,) = look("data pipeline", {"numbers": {"images_a_second": 1e9}}, config=complete(settings))
    assert line[2:4] == ("slow", "the 1000000000 of a training step")
    assert line.numbers["workers"] == 2 and 1 < line.numbers["instances_a_second"] < 1e6


@on_a_cpu
@pytest.mark.slow
def test_this_machine_is_examined_within_a_minute() -> None:
    examined = examine(Path("config/demo.yaml"), None)
    assert {line["part"] for line in examined["lines"]} == PARTS.keys()
    assert examined["seconds"] < 60
    assert [line for line in examined["lines"] if line["verdict"] == "wrong"] == []
