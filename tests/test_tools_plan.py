"""What a grid takes is said before it is launched, and agrees with what trainings then take."""

import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from builders.grid import REPOSITORY, SnakemakeRun, put
from mmengine.registry import DefaultScope

import rspose.training  # noqa: F401  (makes mmpose importable)
from rspose.cli import main
from rspose.grid.cell import Cell
from rspose.grid.config import complete, load_config
from rspose.grid.tuning import folder
from rspose.tools.plan import make_plan, network_cost, plan_page
from rspose.training.compose import compose
from rspose.training.pretrained import missing_weights, pretrained
from rspose.training.train import Training

# isort: split
from mmpose.registry import MODELS

pytestmark = pytest.mark.filterwarnings("ignore")

Settings = dict[str, Any]


@pytest.fixture(autouse=True)
def mmpose_scope() -> None:
    DefaultScope.get_instance("plan tests", scope_name="mmpose")


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_what_a_network_takes_is_what_it_takes_when_it_runs(
    trainable: Settings, tmp_path: Path, head: str
) -> None:
    composed = compose(complete(trainable), Cell("coco", "tiny", head, "mse", 0), tmp_path, None)
    counted = network_cost(composed)
    model = MODELS.build(composed["model"]).train()
    operations, kept, alive = 0, {}, []

    def count(layer: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal operations
        operations += 2 * output[0].numel() * layer.weight[0].numel()  # multiplications with additions

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        alive.append(tensor)
        return tensor

    for layer in model.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            layer.register_forward_hook(count)
    width, height = composed["codec"]["input_size"]
    weights = {each.data_ptr() for each in (*model.parameters(), *model.buffers())}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.head(model.extract_feat(torch.zeros(4, 3, height, width)))
    assert counted.flops == operations
    per_instance = sum(size for place, size in kept.items() if place not in weights) / 4
    assert counted.kept_bytes == pytest.approx(per_instance, rel=0.02)
    assert counted.parameters == sum(each.numel() for each in model.parameters() if each.requires_grad)


@pytest.mark.parametrize(
    ("model", "head", "gigaflops"),
    # Multiplications with their additions, as the papers count them (HRNet; RTMPose).
    [("hrnet-w32", "heatmap", 7.1), ("rtmpose-m", "simcc", 1.93)],
)
def test_the_papers_networks_take_about_what_their_papers_say(
    model: str, head: str, gigaflops: float, tmp_path: Path
) -> None:
    paper = load_config(REPOSITORY / "config" / "paper.yaml")
    cost = network_cost(compose(paper, Cell("coco", model, head, "mse", 0), tmp_path, None))
    assert cost.flops / 2e9 == pytest.approx(gigaflops, rel=0.1)


@pytest.mark.slow
def test_a_plan_agrees_with_the_training_that_follows(trainable: Settings, tmp_path: Path) -> None:
    trainable.update(datasets=["mpii"], heads=["simcc"], losses=["fowkal"])
    config = complete(trainable)
    (row,) = make_plan(config)["rows"]
    cell = Cell("mpii", "tiny", "simcc", "fowkal", 0)
    with open(tmp_path / "progress.txt", "w") as terminal:
        checkpoint = config.results / "cells" / cell.path / "checkpoint.pth"
        Training(config, cell, checkpoint).train(terminal)
    said = json.loads(checkpoint.with_name("training.json").read_text())
    assert (row["instances"], row["instances_from"]) == (said["train_instances"], "files")
    assert (row["epochs"], row["batch_size"]) == (said["epochs"], said["batch_size"])
    files = sum(path.stat().st_size for path in config.results.rglob("*.pth"))
    assert row["disk_gb"] == pytest.approx(files / 1e9, rel=0.1)


def test_the_overnight_grid_takes_a_night_on_a_gpu_of_24_gb() -> None:
    plan = make_plan(load_config(REPOSITORY / "config" / "overnight.yaml"), device_memory_gb=24)
    assert plan["totals"]["cells"] == 12 and plan["totals"]["hours"] < 14
    backbone = 4.09e9 * (256 * 192) / 224**2  # multiply-adds, from those of ImageNet's size
    deconvolutions = 4 * 4 * 256 * (2048 * 8 * 6 + 256 * 16 * 12 + 256 * 32 * 24)
    instances = 12 * 14 * 149_813  # each forward, and twice that backward
    by_hand = instances * 3 * 2 * (backbone + deconvolutions) / 20e12 / 3600
    assert plan["totals"]["hours"] == pytest.approx(by_hand, rel=0.02)
    assert [(row["devices"], row["devices_needed"]) for row in plan["rows"]] == [(1, 1), (1, 1)]


def test_a_plan_takes_the_speed_that_the_doctor_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overnight, machine = REPOSITORY / "config" / "overnight.yaml", tmp_path / "node.json"
    steps = [{"numbers": {"tflops": 60.0}}, {"numbers": {}}, {"numbers": {"tflops": 40.0}}]
    machine.write_text(json.dumps({"device": "NVIDIA H100", "seconds": 9.0, "lines": steps}))
    assumed, measured = (make_plan(load_config(overnight), machine=each) for each in (None, machine))
    assert measured["totals"]["hours"] == pytest.approx(assumed["totals"]["hours"] * 20 / 40)
    assert measured["hours_on"] == "NVIDIA H100 that reaches 40 TFLOP/s"
    assert f"at what ResNet-50 reached on NVIDIA H100 ({machine}), 40 TFLOP/s" in measured["time_from"]
    capsys.readouterr()
    for text in ('{"device": "AMD EPYC", "lines": [{"numbers": {}}]}', "{", "[]"):
        machine.write_text(text)
        assert main(["plan", str(overnight), "--machine", str(machine)]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"error: {machine}: expected what rspose doctor --json prints")
        assert said.count("\n") == 1


def test_the_overnight_grid_is_the_papers_but_for_what_it_says() -> None:
    overnight, paper, demo = (
        load_config(REPOSITORY / "config" / f"{name}.yaml") for name in ("overnight", "paper", "demo")
    )
    assert overnight.losses == demo.losses
    for head in ("heatmap", "simcc"):
        cell = Cell("coco", "resnet50", head, "mse", 0)
        changed, published = (config.training_of(cell).model_dump() for config in (overnight, paper))
        assert changed.pop("learning_rate")["value"] == published.pop("learning_rate")["value"]
        differing = {key for key, value in changed.items() if value != published[key]}
        assert differing == {"epochs", "batch_size", "precision", "channels_last", "workers"}
    assert overnight.model_settings["resnet50"] == paper.model_settings["resnet50"]


@pytest.mark.slow
def test_what_is_done_is_counted_and_takes_no_more_time(trainable: Settings) -> None:
    trainable["losses"] = ["mse", "kl"]
    config = complete(trainable)
    before = make_plan(config, tflops=2.0)
    assert [(row["dataset"], row["model"], row["head"]) for row in before["rows"]] == [
        (dataset, "tiny", head) for dataset in ("coco", "mpii") for head in ("heatmap", "simcc")
    ]
    record = config.results / "records" / Cell("coco", "tiny", "simcc", "kl", 0).path
    record.parent.mkdir(parents=True)
    record.with_suffix(".json").write_text("{}")
    after = make_plan(config, tflops=2.0)
    assert [row["done"] for row in after["rows"]] == [0, 1, 0, 0]
    left = before["rows"][1]["hours_left"] / 2
    assert after["rows"][1]["hours_left"] == after["rows"][1]["hours"] == pytest.approx(left)
    assert after["totals"]["cells"] == 8 and after["totals"]["done"] == 1
    row = after["rows"][0]
    # Three forward passes of every instance in every epoch.
    assert row["hours"] == pytest.approx(3 * row["flops"] * row["instances"] * 2 / 2e12 / 3600)
    assert after["missing_datasets"] == [] and after["missing_weights"] == []
    assert "assumed 2 TFLOP/s" in after["time_from"] and after["hours_on"] == "a GPU that reaches 2 TFLOP/s"
    assert torch.cuda.is_available() or "Here the CPU would train" in after["time_from"]
    assert row["devices"] == row["devices_needed"] == 1
    # A batch of 4: with half of it on a device, the weights are still there as a whole.
    fixed = 16 * row["parameters"] / 1e9
    half = fixed + (row["memory_gb"] - fixed) / 2
    assert make_plan(config, device_memory_gb=half * 1.01)["rows"][0]["devices_needed"] == 2
    assert make_plan(config, device_memory_gb=half * 0.99)["rows"][0]["devices_needed"] == 4


@pytest.mark.slow
def test_measured_hours_are_those_of_each_loss(trainable: Settings) -> None:
    trainable.update(datasets=["mpii"], heads=["simcc"], losses=["mse", "rspose"])
    put(trainable, "training/device", "cpu")
    plan = make_plan(complete(trainable), measure=True)
    assert plan["time_from"].startswith("measured on this machine")
    assert plan["hours_on"].startswith("this machine's ")
    (row,) = plan["rows"]
    assert 0 < row["hours"] < 1
    assert row["hours_left"] == pytest.approx(2 * row["hours"])


def test_trials_count_once_for_all_lengths_until_they_are_done(trainable: Settings, tmp_path: Path) -> None:
    trainable.update(datasets=["mpii"], heads=["simcc"], losses=["mse", "rspose"], lengths=[1, 2])
    trainable["tuning"] = {"trials": 4, "length": 0.5, "held_out": {"share": 0.2, "seed": 0}}
    config = complete(trainable)
    first, second = make_plan(config)["rows"]
    assert (first["epochs"] * 2, first["trials"], second["trials"]) == (second["epochs"], 8, 0)
    assert first["hours_left"] == pytest.approx(first["hours"] * (first["cells"] + 8 * 0.5 * 0.8))
    place = folder(config, Cell("mpii", "tiny", "simcc", "mse", 0))
    place.mkdir(parents=True)
    (place / "trial1.json").touch()
    assert make_plan(config)["totals"]["trials"] == 7
    (place / "choice.json").touch()
    assert make_plan(config)["totals"]["trials"] == 4
    (longer,) = make_plan(config.changed(lengths=[2]))["rows"]  # a trial is as long whatever is made of it
    assert longer["hours_left"] == pytest.approx(first["hours"] * (2 * longer["cells"] + 4 * 0.5 * 0.8))
    for cell in config.cells():
        if cell.loss == "rspose":
            record = config.results / "records" / f"{cell.path}.json"
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text("{}")
    assert make_plan(config)["totals"]["trials"] == 0, "nobody waits for them"


def test_trials_on_a_dataset_that_serves_the_others_count_once_and_it_has_to_be_there(
    trainable: Settings, tmp_path: Path
) -> None:
    trainable.update(datasets=["mpii", "crowdpose"], heads=["simcc"], losses=["mse", "rspose"])
    trainable["tuning"] = {"trials": 4, "dataset": "coco"}
    trainable["data"]["coco"] = {"root": str(tmp_path / "nowhere")}
    plan = make_plan(complete(trainable))
    assert [row["trials"] for row in plan["rows"]] == [8, 0]
    (missing,) = plan["missing_datasets"]
    assert missing.startswith("coco: ")


def test_trials_take_the_hours_of_the_dataset_that_they_are_on(trainable: Settings, tmp_path: Path) -> None:
    trainable.update(datasets=["mpii"], heads=["simcc"], losses=["mse"])
    trainable["tuning"] = {"trials": 4, "dataset": "coco"}
    coco = trainable["data"]["coco"]
    coco["root"] = str(tmp_path / "nowhere")

    def hours_of_trials(images: int) -> float:
        coco["generate"]["train_images"] = images
        (row,) = make_plan(complete(trainable))["rows"]
        return row["hours_left"] - row["cells"] * row["hours"]

    assert hours_of_trials(88_000) == pytest.approx(100 * hours_of_trials(880), rel=0.01)


def test_real_datasets_that_are_not_there_are_planned_from_published_numbers(trainable: Settings) -> None:
    for entry in trainable["data"].values():
        entry.pop("generate")
    put(trainable, "data/coco/root", "nowhere/coco")
    trainable["heads"] = ["simcc"]
    plan = make_plan(complete(trainable))
    coco, mpii = plan["rows"]
    assert (coco["instances"], coco["instances_from"]) == (149813, "published")
    assert mpii["instances_from"] == "published", "those of drawn files say nothing of the real ones"
    missing, drawn = plan["missing_datasets"]
    assert missing.startswith("coco: nowhere/coco: expected the folder of the coco dataset")
    assert drawn.endswith("mpii: drawn, where the config asks for real data")


def test_the_page_shows_every_row_and_what_is_missing(tmp_path: Path) -> None:
    said = {"parameters": 34 * 10**6, "flops": 10**10, "memory_gb": 48.0, "disk_gb": 0.95}
    said |= {"instances": 149813, "instances_from": "published", "epochs": 210, "batch_size": 512}
    said |= {"learning_rate": 0.0005, "devices": 2, "devices_needed": 2}
    cell = {"dataset": "coco", "model": "net", "head": "simcc", "cells": 6, "done": 2, "trials": 9}
    row = {**cell, "hours": 14.25, "hours_left": 57.0, **said}
    cell.update(dataset="mpii", cells=1, done=0, trials=0)
    small = {**row, **cell, "devices": 1, "hours": 0.25, "hours_left": 0.25}
    totals = {"cells": 7, "done": 2, "trials": 9, "hours_left": 57.25, "disk_gb": 6.65}
    plan = {"rows": [row, small], "time_from": "guessed", "memory_from": "guessed too", "totals": totals}
    plan |= {"hours_on": "this machine's CPU", "losses": ["mse", "kl"], "seeds": [0, 5]}
    plan |= {"device_memory_gb": 24.0, "missing_datasets": ["coco: not there"], "missing_weights": []}
    text = plan_page(plan, Path("c.yaml"))
    (line,) = (line.split() for line in text.splitlines() if line.startswith("coco "))
    assert " ".join(line) == "coco net simcc 6 2 9 210 512 0.0005 34.0 10.0 14.2 57.0 48.0 2 7.1 0.95"
    (line,) = (line.split() for line in text.splitlines() if line.startswith("mpii "))
    assert line[14:] == ["1", "<", "2", "0.25", "0.95"]
    assert "c.yaml: 2 of 7 cells done; the others take about 57.2 hours of training steps on this " in text
    assert "\nLosses: mse, kl; seeds: 0, 5\n" in text
    assert "not there, published: coco 149,813, mpii 149,813" in text
    assert "the config gives each cell m GPUs, its batch needs n of 24 GB; set training.devices" in text
    assert "  trials  " in text
    untuned = plan_page({**plan, "totals": {**totals, "trials": 0}}, Path("c.yaml"))
    assert "trials" not in untuned
    enough = plan_page({**plan, "rows": [row]}, Path("c.yaml"))
    assert "Devices: as the config says. The batches fit into as many of 24 GB." in enough
    assert "Missing datasets: 1\n  coco: not there" in text
    assert "Missing pretrained weights: none" in text
    assert "7 in all" in text  # 7 x 0.95


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on this machine with one file of weights; its address."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "weights-1234abcd.pth").write_bytes(b"weights")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_weights_are_downloaded_once_and_a_failure_names_the_address(
    trainable: Settings, server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "grid.yaml"
    put(trainable, "pretrained_folder", str(tmp_path / "weights"))
    put(trainable, "model_settings/tiny/pretrained", f"{server}/weights-1234abcd.pth?download=1")
    path.write_text(yaml.safe_dump(trainable))
    expected = tmp_path / "weights" / "weights-1234abcd.pth"
    config = load_config(path)
    (missing,) = missing_weights(config, [Cell("coco", "tiny", "simcc", "mse", 0)])
    assert missing.file == expected and missing.url in missing.problem() and "\n" not in missing.problem()
    assert main(["pretrained", str(path)]) == 0
    assert expected.read_bytes() == b"weights"
    written = expected.stat().st_mtime_ns
    assert main(["pretrained", str(path)]) == 0
    assert expected.stat().st_mtime_ns == written
    assert missing_weights(config, [Cell("coco", "tiny", "simcc", "mse", 0)]) == []

    put(trainable, "model_settings/tiny/pretrained", f"{server}/nothing.pth")
    path.write_text(yaml.safe_dump(trainable))
    capsys.readouterr()
    assert main(["pretrained", str(path)]) == 1
    assert (
        f"error: {server}/nothing.pth: no download: expected a file, found HTTP 404"
        in capsys.readouterr().err
    )
    assert sorted(each.name for each in (tmp_path / "weights").iterdir()) == ["weights-1234abcd.pth"]


def test_names_of_weights_are_looked_up_where_mmengine_keeps_them(settings: Settings) -> None:
    def weights(source: str) -> Any:
        put(settings, "model_settings/tiny/pretrained", source)
        return pretrained(complete(settings), "tiny", "simcc")

    resnet = weights("torchvision://resnet50")
    assert resnet.file == Path("pretrained/resnet50-0676ba61.pth")
    assert resnet.url == "https://download.pytorch.org/models/resnet50-0676ba61.pth"
    for name in ("pytorch_model.bin", "model-20230913.bin"):
        page = f"https://huggingface.co/{{}}/resolve/main/{name}"
        one, again, two = (weights(page.format(place)) for place in ("a/one", "a/one", "b/two"))
        assert one == again and one.file != two.file
        assert {each.file.suffix for each in (one, two)} == {".bin"}
    assert weights("folder/own.pth").file == Path("folder/own.pth")
    assert weights("folder/own.pth").problem() == (
        "folder/own.pth: expected pretrained weights, found no file; "
        "pretrained: none in the model's settings starts from random ones"
    )
    assert weights("none") is None
    with pytest.raises(ValueError, match=r"'ftp://a/b': expected a file, a URL, or a name that starts with"):
        weights("ftp://a/b")
    with pytest.raises(ValueError, match=r"mmengine knows no torchvision weights of that name"):
        weights("torchvision://resnet7")


def test_the_plan_is_printed_as_a_table_and_as_json(
    trainable: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainable.update(datasets=["mpii"], heads=["simcc"])
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(trainable))
    assert main(["plan", str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: 0 of 2 cells done")
    assert main(["plan", str(path), "--json", "--tflops", "1"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["totals"]["cells"] == 2
    assert plan["rows"][0]["model"] == "tiny"
    for option, wrong in (("--tflops", "0"), ("--tflops", "inf"), ("--device-memory", "nan")):
        assert main(["plan", str(path), option, wrong]) == 1
        assert f"{option}: expected a number above 0" in capsys.readouterr().err


@pytest.mark.slow
def test_weights_that_are_missing_stop_the_workflow_before_its_first_job(
    settings: Settings, tmp_path: Path
) -> None:
    put(settings, "model_settings/tiny/pretrained", "https://example.org/net-1234abcd.pth")
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(settings))
    run = SnakemakeRun(tmp_path, path)
    assert run.returncode != 0
    assert "error: pretrained/net-1234abcd.pth: expected pretrained weights, found no file; " in run.output
    assert "rspose pretrained CONFIG fetches them from https://example.org/net-1234abcd.pth; " in run.output
    assert "Traceback" not in run.output
    assert not (tmp_path / "results").exists()
