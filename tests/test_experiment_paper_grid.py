"""config/paper.yaml: every model of it builds and takes a step, and is trained as mmpose publishes it."""

import math
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.grid import REPOSITORY
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from rspose.datasets import DATASETS
from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig, load_config
from rspose.training.compose import compose, mmpose_config

# isort: split
from mmpose.registry import DATASETS as MMPOSE_DATASETS
from mmpose.registry import MODELS

pytestmark = pytest.mark.filterwarnings("ignore")

PAPER = load_config(REPOSITORY / "config" / "paper.yaml")
GRID = PAPER.cells()
ROWS = list(dict.fromkeys((cell.dataset, cell.model, cell.head) for cell in GRID))
COCO = [row for row in ROWS if row[0] == "coco"]

# Millions of parameters on COCO: Xiao et al. (SimpleBaseline), Sun et al. (HRNet), Li et al. (SimCC) and
# Jiang et al. (RTMPose).
PARAMETERS = {
    ("resnet50", "heatmap"): 34.0,
    ("resnet101", "heatmap"): 53.0,
    ("resnet152", "heatmap"): 68.6,
    ("hrnet-w32", "heatmap"): 28.5,
    ("hrnet-w48", "heatmap"): 63.6,
    ("resnet50", "simcc"): 36.8,
    ("rtmpose-m", "simcc"): 13.6,
}
# Backbones alone, which is what the paper of ViTPose counts.
BACKBONE_PARAMETERS = {"vitpose-b": 86, "vitpose-l": 307, "vitpose-h": 632}

# Fewer layers of the same width, for the step.
ONE_MODULE = {
    f"stage{stage}": {"num_modules": 1, "num_blocks": (1,) * branches}
    for stage, branches in ((1, 1), (2, 2), (3, 3), (4, 4))
}
WIDTHS = {"vitpose-s": (384, 12), "vitpose-b": (768, 12), "vitpose-l": (1024, 16), "vitpose-h": (1280, 16)}
SMALLER: dict[str, dict[str, Any]] = {
    "resnet101": {"depth": 50},
    "resnet152": {"depth": 50},
    "hrnet-w32": {"extra": ONE_MODULE},
    "hrnet-w48": {"extra": ONE_MODULE},
    **{
        model: {
            "arch": {"_delete_": True, "embed_dims": dims, "num_layers": 1, "num_heads": heads}
            | {"feedforward_channels": 4 * dims}
        }
        for model, (dims, heads) in WIDTHS.items()
    },
}


@pytest.fixture(autouse=True)
def mmpose_scope() -> None:
    DefaultScope.get_instance("paper tests", scope_name="mmpose")


@pytest.fixture(scope="module")
def on_generated_data(tiny_datasets: Path) -> GridConfig:
    return PAPER.changed(data={dataset: {"root": str(tiny_datasets / dataset)} for dataset in PAPER.data})


@pytest.fixture(scope="module")
def built() -> dict[tuple[str, str], Any]:
    """Datasets are built once for each pipeline, not once for each model."""
    return {}


def published(cell: tuple[str, str, str]) -> str | None:
    """The mmpose config of a (dataset, model, head), or None if mmpose has none."""
    dataset, model, head = cell
    folder = f"body_2d_keypoint/{ {'heatmap': 'topdown_heatmap', 'simcc': 'simcc'}[head] }/{dataset}"
    size = "256x256" if dataset == "mpii" else "256x192"
    batch = "8xb64"
    if model.startswith("vitpose") and dataset == "coco":
        name = {"s": "small", "b": "base", "l": "large", "h": "huge"}[model[-1]]
        return f"{folder}/td-hm_ViTPose-{name}_8xb64-210e_coco-256x192.py"
    if model == "rtmpose-m":
        recipe = "8xb256-420e" if dataset == "coco" else "8xb64-210e"
        return f"body_2d_keypoint/rtmpose/{dataset}/rtmpose-m_{recipe}_{dataset}-{size}.py"
    if head == "simcc" and dataset == "coco":
        return {
            "resnet50": f"{folder}/simcc_res50_8xb64-210e_coco-256x192.py",
            "resnet50-384x288": f"{folder}/simcc_res50_8xb32-140e_coco-384x288.py",
            "mobilenetv2": f"{folder}/simcc_mobilenetv2_wo-deconv-8xb64-210e_coco-256x192.py",
        }.get(model)
    if head == "heatmap" and not model.startswith("vitpose"):
        if (model, dataset) in {("resnet152", "coco"), ("resnet152", "mpii"), ("hrnet-w48", "coco")}:
            batch = "8xb32"
        if (model, dataset) == ("hrnet-w48", "crowdpose"):
            return None
        return f"{folder}/td-hm_{model.replace('resnet', 'res')}_{batch}-210e_{dataset}-{size}.py"
    return None


PUBLISHED = [(row, path) for row in ROWS if (path := published(row)) is not None]


def test_the_grid_has_the_papers_models_on_every_dataset() -> None:
    both = {"resnet50", "hrnet-w32", "hrnet-w48"}
    only_2d = {"resnet101", "resnet152", "vitpose-s", "vitpose-b", "vitpose-l", "vitpose-h"}
    only_1d = {"resnet50-384x288", "mobilenetv2", "rtmpose-m"}
    expected = {(model, "heatmap") for model in both | only_2d} | {
        (model, "simcc") for model in both | only_1d
    }
    for dataset in ("coco", "crowdpose", "mpii"):
        assert {row[1:] for row in ROWS if row[0] == dataset} == expected
    assert len(PUBLISHED) == 12 + 6 + 6  # every config that mmpose has for a model of the grid


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids="-".join)
def test_every_model_builds_and_takes_a_step_on_every_dataset(
    on_generated_data: GridConfig, built: dict[Any, Any], tmp_path: Path, row: tuple[str, str, str]
) -> None:
    cell = Cell(*row, "rspose", 0)
    whole = compose(on_generated_data, cell, tmp_path, None)
    dataset = built.setdefault((row[0], str(whole["codec"]), row[1]), None) or MMPOSE_DATASETS.build(
        whole["train_dataloader"]["dataset"]
    )
    items = [dataset[index] for index in range(2)]
    width, height = PAPER.model_settings[cell.model].input_size[cell.dataset]
    keypoints = len(DATASETS[cell.dataset].keypoints)
    assert all(item["inputs"].shape == (3, height, width) for item in items)
    with torch.device("meta"):
        model = MODELS.build(whole["model"]).eval()
        output = model.head(model.extract_feat(torch.zeros(2, 3, height, width)))
    if cell.head == "heatmap":
        assert output.shape == (2, keypoints, height // 4, width // 4)
    else:
        assert [axis.shape for axis in output] == [(2, keypoints, 2 * width), (2, keypoints, 2 * height)]

    smaller = on_generated_data.model_copy(deep=True)
    overrides = smaller.model_settings[cell.model].overrides
    overrides.clear()
    overrides["model"] = {"backbone": SMALLER.get(cell.model, {})}
    composed = compose(smaller, cell, tmp_path, None)
    composed["model"]["backbone"].get("norm_cfg", {}).update(type="BN")  # as mmengine does in one process
    model = MODELS.build(composed["model"])
    optimizer = build_optim_wrapper(model, composed["optim_wrapper"])
    trained = {id(each) for group in optimizer.optimizer.param_groups for each in group["params"]}
    assert {id(each) for each in model.parameters() if each.requires_grad} == trained
    before = [parameter.detach().clone() for parameter in model.head.parameters()]
    batch = {key: [item[key] for item in items] for key in ("inputs", "data_samples")}
    terms = model.train_step(batch, optimizer)
    assert torch.isfinite(terms["loss"]) and terms["loss"] > 0
    assert any(not torch.equal(old, new) for old, new in zip(before, model.head.parameters(), strict=True))


@pytest.mark.parametrize("row", COCO, ids="-".join)
def test_the_models_have_the_parameters_that_their_papers_say(
    row: tuple[str, str, str], tmp_path: Path
) -> None:
    with torch.device("meta"):
        model = MODELS.build(compose(PAPER, Cell(*row, "mse", 0), tmp_path, None)["model"])
    if row[1:] in PARAMETERS:
        count = sum(parameter.numel() for parameter in model.parameters())
        assert round(count / 1e6, 1) == PARAMETERS[row[1:]]
    if row[1] in BACKBONE_PARAMETERS:
        count = sum(parameter.numel() for parameter in model.backbone.parameters())
        assert count / 1e6 == pytest.approx(BACKBONE_PARAMETERS[row[1]], rel=0.015)


def steps(pipeline: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The steps of a pipeline that change images and boxes, under mmpose's names."""
    renamed = {
        "FastRandomBBoxTransform": "RandomBBoxTransform",
        "BlurAndDropout": "Albumentation",
        "PackPoseTargets": "PackPoseInputs",
    }
    for step in pipeline:
        kind = step["type"].removeprefix("mmdet.")
        kind = renamed.get(kind, kind)
        if kind != "SeedSample":
            skipped = ("type", "encoder", "backend_args", "with_annotation")
            yield kind, {key: value for key, value in step.items() if key not in skipped}


def schedule(scheduler: Any, learning_rate: float) -> list[dict[str, Any]]:
    """A schedule without what changes nothing: where it begins and ends if that is the whole training."""
    result = []
    for part in deepcopy(list(scheduler)):
        if part["type"] == "MultiStepLR":
            part.pop("begin", None), part.pop("end", None)
        if "eta_min" in part:
            part["eta_min_ratio"] = part.pop("eta_min") / learning_rate
        result.append(
            {key: pytest.approx(part[key]) if isinstance(part[key], float) else part[key] for key in part}
        )
    return result


@pytest.mark.parametrize(("row", "path"), PUBLISHED, ids=[Path(path).stem for _, path in PUBLISHED])
def test_what_mmpose_has_a_config_for_is_trained_and_tested_as_it_says(
    row: tuple[str, str, str], path: str, tmp_path: Path
) -> None:
    theirs = mmpose_config(path)
    ours = compose(PAPER, Cell(*row, "mse", 0), tmp_path, None)
    gpus, per_gpu = map(int, re.search(r"(\d+)xb(\d+)-", path).groups())
    devices = PAPER.training_of(Cell(*row, "mse", 0)).devices
    assert ours["train_dataloader"]["batch_size"] * devices == gpus * per_gpu
    # At the published batch, whatever mmpose's config calls its base, nothing is scaled.
    assert ours["auto_scale_lr"] == {"enable": True, "base_batch_size": gpus * per_gpu}
    assert ours["train_cfg"]["max_epochs"] == theirs["train_cfg"]["max_epochs"]
    assert ours["optim_wrapper"] == theirs["optim_wrapper"]
    rate = theirs["optim_wrapper"]["optimizer"]["lr"]
    assert schedule(ours["param_scheduler"], rate) == schedule(theirs["param_scheduler"], rate)

    assert list(steps(ours["train_dataloader"]["dataset"]["pipeline"])) == list(
        steps(theirs["train_dataloader"]["dataset"]["pipeline"])
    )
    assert list(steps(ours["predict_dataloader"]["dataset"]["pipeline"])) == list(
        steps(theirs["val_dataloader"]["dataset"]["pipeline"])
    )
    for key in ("input_size", "heatmap_size", "type", "simcc_split_ratio"):
        assert ours["codec"].get(key) == theirs["codec"].get(key)
    assert sigmas(ours["codec"]) == sigmas(theirs["codec"])
    for key in ("flip_test", "flip_mode", "shift_heatmap"):
        assert ours["model"]["test_cfg"].get(key) == theirs["model"]["test_cfg"].get(key)
    changed = {"type", "loss", "decoder", "sigmas", "simcc_split_ratio", "input_size", "in_featuremap_size"}
    assert without(ours["model"]["head"], changed) == without(theirs["model"]["head"], changed)
    starts = {"init_cfg", "img_size", "type", "_scope_", "with_cls_token", "out_type"}
    assert without(ours["model"]["backbone"], starts) == without(theirs["model"]["backbone"], starts)
    assert ours["model"]["backbone"]["init_cfg"].keys() == theirs["model"]["backbone"]["init_cfg"].keys()


def sigmas(codec: Any) -> tuple[float, float]:
    sigma = codec["sigma"]
    return (sigma[0], sigma[1]) if isinstance(sigma, (tuple, list)) else (sigma, sigma)


def without(part: Any, keys: set[str]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key not in keys}


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii"])
def test_rtmpose_keeps_an_average_and_changes_its_augmentation_for_the_last_thirty_epochs(
    dataset: str, tmp_path: Path
) -> None:
    row = (dataset, "rtmpose-m", "simcc")
    theirs = mmpose_config(published(row) or "")
    ours = compose(PAPER, Cell(*row, "mse", 0), tmp_path, None)
    average, switch = ours["custom_hooks"][:2]
    assert average == theirs["custom_hooks"][0]
    assert switch["type"] == "PipelineSwitchHook"
    assert switch["epoch"] == theirs["custom_hooks"][1]["switch_epoch"]
    assert list(steps(switch["pipeline"])) == list(steps(theirs["custom_hooks"][1]["switch_pipeline"]))


@pytest.mark.parametrize("row", [row for row in COCO if row[1].startswith("hrnet")], ids="-".join)
def test_simcc_on_hrnet_takes_the_finest_map(row: tuple[str, str, str], tmp_path: Path) -> None:
    # 256 x 192 at a stride of 4: the 3072 places that the SimCC paper's head takes.
    head = compose(PAPER, Cell(*row, "mse", 0), tmp_path, None)["model"]["head"]
    if row[2] == "simcc":
        assert math.prod(head["in_featuremap_size"]) == 3072
        assert head["deconv_out_channels"] is None


@pytest.mark.parametrize("row", [row for row in ROWS if row[1].startswith("vitpose")], ids="-".join)
def test_vitpose_is_unbiased_on_every_dataset(row: tuple[str, str, str], tmp_path: Path) -> None:
    composed = compose(PAPER, Cell(*row, "mse", 0), tmp_path, None)
    for loader in ("train_dataloader", "predict_dataloader"):
        (affine,) = (s for s in composed[loader]["dataset"]["pipeline"] if s["type"] == "TopdownAffine")
        assert affine["use_udp"] is True
    assert composed["codec"]["type"] == "UDPHeatmap"


def test_within_a_row_only_the_loss_differs(tmp_path: Path) -> None:
    losses: dict[tuple[str, str, str], set[str]] = {}
    for cell in GRID:
        losses.setdefault((cell.dataset, cell.model, cell.head), set()).add(cell.loss)
    six = {"mse", "kl", "awing", "fowkal", "dm", "rspose"}
    for row in ROWS:
        assert losses[row] == six | ({"kl_rtmpose"} if row[1] == "rtmpose-m" else set())
    row = ("crowdpose", "vitpose-b", "heatmap")
    first, *others = (
        compose(PAPER, Cell(*row, loss, 0), tmp_path, None).to_dict() for loss in ("mse", "dm", "rspose")
    )
    for other in others:
        other["model"]["head"].pop("loss")
    first["model"]["head"].pop("loss")
    assert all(other == first for other in others)
