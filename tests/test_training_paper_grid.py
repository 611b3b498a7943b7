"""config/paper.yaml: every model of it builds and takes a step, and is trained as mmpose publishes it."""

import math
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders.grid import REPOSITORY
from builders.training import batch_of
from mmengine.optim import build_optim_wrapper

from rspose.datasets import DATASETS
from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig, load_config
from rspose.training.compose import compose
from rspose.training.mmpose_configs import mmpose_config

# isort: split
from mmpose.registry import MODELS

pytestmark = pytest.mark.filterwarnings("ignore")

Row = tuple[str, str, str]  # dataset, model, head

PAPER = load_config(REPOSITORY / "config" / "paper.yaml")
GRID = PAPER.cells()
ROWS = list(dict.fromkeys((cell.dataset, cell.model, cell.head) for cell in GRID))

# Millions of parameters on COCO: Xiao et al. (SimpleBaseline), Sun et al. (HRNet), Li et al. (SimCC) and
# Jiang et al. (RTMPose); of the backbone alone, which is what Xu et al. (ViTPose) count.
PARAMETERS = {
    ("resnet50", "heatmap", ""): 34.0,
    ("resnet101", "heatmap", ""): 53.0,
    ("resnet152", "heatmap", ""): 68.6,
    ("hrnet-w32", "heatmap", ""): 28.5,
    ("hrnet-w48", "heatmap", ""): 63.6,
    ("resnet50", "simcc", ""): 36.8,
    ("rtmpose-m", "simcc", ""): 13.6,
    ("vitpose-b", "heatmap", "backbone"): 86,
    ("vitpose-l", "heatmap", "backbone"): 307,
    ("vitpose-h", "heatmap", "backbone"): 632,
}

# Fewer layers of the same width, for the step.
ONE_MODULE = {
    f"stage{stage}": {"num_modules": 1, "num_blocks": (1,) * branches}
    for stage, branches in ((1, 1), (2, 2), (3, 3), (4, 4))
}
SMALLER: dict[str, dict[str, Any]] = {
    "resnet101": {"depth": 50},
    "resnet152": {"depth": 50},
    "hrnet-w32": {"extra": ONE_MODULE},
    "hrnet-w48": {"extra": ONE_MODULE},
}
for size, dims, heads in (("s", 384, 12), ("b", 768, 12), ("l", 1024, 16), ("h", 1280, 16)):
    arch = {"embed_dims": dims, "num_layers": 1, "num_heads": heads, "feedforward_channels": 4 * dims}
    SMALLER[f"vitpose-{size}"] = {"arch": {"_delete_": True, **arch}}


@pytest.fixture(scope="module")
def on_generated_data(tiny_datasets: Path) -> GridConfig:
    return PAPER.changed(data={dataset: {"root": str(tiny_datasets / dataset)} for dataset in PAPER.data})


# The rows that have an mmpose config, and where below body_2d_keypoint it is.
PUBLISHED = {
    tuple(line.split()[:3]): line.split()[3]
    for line in """
coco resnet50 heatmap topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py
coco resnet50 simcc simcc/coco/simcc_res50_8xb64-210e_coco-256x192.py
coco resnet101 heatmap topdown_heatmap/coco/td-hm_res101_8xb64-210e_coco-256x192.py
coco resnet152 heatmap topdown_heatmap/coco/td-hm_res152_8xb32-210e_coco-256x192.py
coco hrnet-w32 heatmap topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py
coco hrnet-w48 heatmap topdown_heatmap/coco/td-hm_hrnet-w48_8xb32-210e_coco-256x192.py
coco vitpose-s heatmap topdown_heatmap/coco/td-hm_ViTPose-small_8xb64-210e_coco-256x192.py
coco vitpose-b heatmap topdown_heatmap/coco/td-hm_ViTPose-base_8xb64-210e_coco-256x192.py
coco vitpose-l heatmap topdown_heatmap/coco/td-hm_ViTPose-large_8xb64-210e_coco-256x192.py
coco vitpose-h heatmap topdown_heatmap/coco/td-hm_ViTPose-huge_8xb64-210e_coco-256x192.py
coco resnet50-384x288 simcc simcc/coco/simcc_res50_8xb32-140e_coco-384x288.py
coco mobilenetv2 simcc simcc/coco/simcc_mobilenetv2_wo-deconv-8xb64-210e_coco-256x192.py
coco rtmpose-m simcc rtmpose/coco/rtmpose-m_8xb256-420e_coco-256x192.py
crowdpose resnet50 heatmap topdown_heatmap/crowdpose/td-hm_res50_8xb64-210e_crowdpose-256x192.py
crowdpose resnet101 heatmap topdown_heatmap/crowdpose/td-hm_res101_8xb64-210e_crowdpose-256x192.py
crowdpose resnet152 heatmap topdown_heatmap/crowdpose/td-hm_res152_8xb64-210e_crowdpose-256x192.py
crowdpose hrnet-w32 heatmap topdown_heatmap/crowdpose/td-hm_hrnet-w32_8xb64-210e_crowdpose-256x192.py
crowdpose rtmpose-m simcc rtmpose/crowdpose/rtmpose-m_8xb64-210e_crowdpose-256x192.py
mpii resnet50 heatmap topdown_heatmap/mpii/td-hm_res50_8xb64-210e_mpii-256x256.py
mpii resnet101 heatmap topdown_heatmap/mpii/td-hm_res101_8xb64-210e_mpii-256x256.py
mpii resnet152 heatmap topdown_heatmap/mpii/td-hm_res152_8xb32-210e_mpii-256x256.py
mpii hrnet-w32 heatmap topdown_heatmap/mpii/td-hm_hrnet-w32_8xb64-210e_mpii-256x256.py
mpii hrnet-w48 heatmap topdown_heatmap/mpii/td-hm_hrnet-w48_8xb64-210e_mpii-256x256.py
mpii rtmpose-m simcc rtmpose/mpii/rtmpose-m_8xb64-210e_mpii-256x256.py
""".strip().splitlines()
}


def test_the_grid_has_the_papers_models_on_every_dataset() -> None:
    both = {"resnet50", "hrnet-w32", "hrnet-w48"}
    only_2d = {"resnet101", "resnet152", "vitpose-s", "vitpose-b", "vitpose-l", "vitpose-h"}
    only_1d = {"resnet50-384x288", "mobilenetv2", "rtmpose-m"}
    expected = {(model, "heatmap") for model in both | only_2d}
    expected |= {(model, "simcc") for model in both | only_1d}
    for dataset in ("coco", "crowdpose", "mpii"):
        assert {row[1:] for row in ROWS if row[0] == dataset} == expected
    assert set(PUBLISHED) <= set(ROWS)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids="-".join)
def test_every_model_builds_and_takes_a_step_on_every_dataset(
    on_generated_data: GridConfig, tmp_path: Path, row: Row
) -> None:
    cell = Cell(*row, "rspose", 0)
    whole = compose(on_generated_data, cell, tmp_path, None)
    batch = batch_of(whole, 2)
    width, height = PAPER.model_settings[cell.model].input_size[cell.dataset]
    keypoints = len(DATASETS[cell.dataset].keypoints)
    assert all(image.shape == (3, height, width) for image in batch["inputs"])
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
    terms = model.train_step(batch, optimizer)
    assert torch.isfinite(terms["loss"]) and terms["loss"] > 0
    assert any(not torch.equal(old, new) for old, new in zip(before, model.head.parameters(), strict=True))


@pytest.mark.parametrize(("model", "head", "part"), PARAMETERS)
def test_the_models_have_the_parameters_that_their_papers_say(
    model: str, head: str, part: str, tmp_path: Path
) -> None:
    with torch.device("meta"):
        built = MODELS.build(compose(PAPER, Cell("coco", model, head, "mse", 0), tmp_path, None)["model"])
    count = sum(parameter.numel() for parameter in built.get_submodule(part).parameters())
    expected = PARAMETERS[model, head, part]
    assert count / 1e6 == pytest.approx(expected, abs=0.015 * expected if part else 0.05)


def published(row: Row) -> Any:
    return mmpose_config(f"body_2d_keypoint/{PUBLISHED[row]}")


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


@pytest.mark.parametrize("row", PUBLISHED, ids=[Path(path).stem for path in PUBLISHED.values()])
def test_what_mmpose_has_a_config_for_is_trained_and_tested_as_it_says(row: Row, tmp_path: Path) -> None:
    theirs = published(row)
    ours = compose(PAPER, Cell(*row, "mse", 0), tmp_path, None)
    gpus, per_gpu = map(int, re.search(r"(\d+)xb(\d+)-", PUBLISHED[row]).groups())
    devices = PAPER.training_of(Cell(*row, "mse", 0)).devices
    assert ours["train_dataloader"]["batch_size"] * devices == gpus * per_gpu
    # At the published batch, whatever mmpose's config calls its base, nothing is scaled.
    assert ours["auto_scale_lr"] == {"enable": True, "base_batch_size": gpus * per_gpu}
    assert ours["train_cfg"]["max_epochs"] == theirs["train_cfg"]["max_epochs"]
    assert ours["optim_wrapper"] == theirs["optim_wrapper"]
    rate = theirs["optim_wrapper"]["optimizer"]["lr"]
    assert schedule(ours["param_scheduler"], rate) == schedule(theirs["param_scheduler"], rate)

    for split, of_mmpose in (("train", "train"), ("predict", "val")):
        expected = theirs[f"{of_mmpose}_dataloader"]["dataset"]["pipeline"]
        assert list(steps(ours[f"{split}_dataloader"]["dataset"]["pipeline"])) == list(steps(expected))
    for key in ("input_size", "heatmap_size", "type", "simcc_split_ratio"):
        assert ours["codec"].get(key) == theirs["codec"].get(key)
    np.testing.assert_array_equal(ours["codec"]["sigma"], theirs["codec"]["sigma"])  # one for x and y, or two
    for key in ("flip_test", "flip_mode", "shift_heatmap"):
        assert ours["model"]["test_cfg"].get(key) == theirs["model"]["test_cfg"].get(key)
    changed = {
        "head": "type loss decoder sigmas simcc_split_ratio input_size in_featuremap_size",
        "backbone": "init_cfg img_size type _scope_ with_cls_token out_type",
    }
    for part, keys in changed.items():
        one, other = ({**made["model"][part], **dict.fromkeys(keys.split())} for made in (ours, theirs))
        assert one == other
    assert ours["model"]["backbone"]["init_cfg"].keys() == theirs["model"]["backbone"]["init_cfg"].keys()


@pytest.mark.parametrize("dataset", ["coco", "crowdpose", "mpii"])
def test_rtmpose_keeps_an_average_and_changes_its_augmentation_for_the_last_thirty_epochs(
    dataset: str, tmp_path: Path
) -> None:
    row = (dataset, "rtmpose-m", "simcc")
    theirs = published(row)
    ours = compose(PAPER, Cell(*row, "mse", 0), tmp_path, None)
    average, switch = ours["custom_hooks"][:2]
    assert average == theirs["custom_hooks"][0]
    assert switch["type"] == "PipelineSwitchHook"
    assert switch["epoch"] == theirs["custom_hooks"][1]["switch_epoch"]
    assert list(steps(switch["pipeline"])) == list(steps(theirs["custom_hooks"][1]["switch_pipeline"]))


@pytest.mark.parametrize("model", ["hrnet-w32", "hrnet-w48"])
def test_simcc_on_hrnet_takes_the_finest_map(model: str, tmp_path: Path) -> None:
    # 256 x 192 at a stride of 4: the 3072 places that the SimCC paper's head takes.
    head = compose(PAPER, Cell("coco", model, "simcc", "mse", 0), tmp_path, None)["model"]["head"]
    assert math.prod(head["in_featuremap_size"]) == 3072
    assert head["deconv_out_channels"] is None


@pytest.mark.parametrize("row", [row for row in ROWS if row[1].startswith("vitpose")], ids="-".join)
def test_vitpose_is_unbiased_on_every_dataset(row: Row, tmp_path: Path) -> None:
    composed = compose(PAPER, Cell(*row, "mse", 0), tmp_path, None)
    for loader in ("train_dataloader", "predict_dataloader"):
        (affine,) = (s for s in composed[loader]["dataset"]["pipeline"] if s["type"] == "TopdownAffine")
        assert affine["use_udp"] is True
    assert composed["codec"]["type"] == "UDPHeatmap"


def test_within_a_row_only_the_loss_differs(tmp_path: Path) -> None:
    six = {"mse", "kl", "awing", "fowkal", "dm", "rspose"}
    for row in ROWS:
        losses = {cell.loss for cell in GRID if (cell.dataset, cell.model, cell.head) == row}
        assert losses == six | ({"kl_rtmpose"} if row[1] == "rtmpose-m" else set())
    cells = [Cell("crowdpose", "vitpose-b", "heatmap", loss, 0) for loss in ("mse", "dm", "rspose")]
    first, *others = (compose(PAPER, cell, tmp_path, None).to_dict() for cell in cells)
    for each in (first, *others):
        each["model"]["head"].pop("loss")
    assert all(other == first for other in others)
