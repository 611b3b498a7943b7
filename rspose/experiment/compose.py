"""A cell becomes an mmpose config: the model's own, the dataset's own, and what the cell changes.

The model, optimizer and schedule come from the mmpose config that ``model_settings.<model>.base.<head>``
names; dataset classes, file names and augmentation from the dataset's mmpose config. So a model can be
trained on a dataset for which mmpose has no config (SimCC on CrowdPose, say).
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import rspose.pose  # noqa: F401  # isort: skip  (makes mmpose importable)
from mmengine.config import Config
from mmengine.utils import get_installed_path

from rspose.experiment.cell import Cell
from rspose.experiment.config import loss_settings
from rspose.experiment.datasets import DATASET_CONFIGS
from rspose.keypoints import keypoint_set

HEADS = {"heatmap": "BenchmarkHeatmapHead", "simcc": "BenchmarkSimCCHead"}


def mmpose_config(path: str) -> Config:
    """One of mmpose's own configs, by its path below ``configs``.

    Raises:
        ValueError: If mmpose has no such config.
    """
    file = Path(get_installed_path("mmpose")) / ".mim" / "configs" / path
    if not file.is_file():
        raise ValueError(f"mmpose has no config {path!r}: expected a path below its folder configs/")
    return Config.fromfile(file)


def compose(config: dict[str, Any], cell: Cell, work_dir: Path, initial_weights: Path | None) -> Config:
    """The mmpose config that trains ``cell``.

    Args:
        config: A completed config (:func:`rspose.experiment.config.complete`).
        cell: The cell.
        work_dir: Folder for checkpoints and logs.
        initial_weights: Checkpoint that every cell of the model starts from, if there is one.
    """
    model_settings = config["model_settings"][cell.model]
    training = config["training"]
    loss = loss_settings(config, cell.loss, cell.head)
    data_root = Path(config["data"][cell.dataset]["root"])
    keypoints = keypoint_set(cell.dataset)

    composed = mmpose_config(model_settings["base"][cell.head])
    dataset_config = mmpose_config(DATASET_CONFIGS[cell.dataset])
    # mmengine removes `_delete_` from what it merges.
    composed.merge_from_dict(deepcopy(model_settings.get("overrides", {})))
    composed.merge_from_dict(deepcopy(model_settings.get("head_overrides", {}).get(cell.head, {})))

    codec = _codec(composed["codec"], cell, model_settings)
    composed["codec"] = codec
    _set_head(composed["model"]["head"], cell, codec, model_settings, len(keypoints))
    composed["model"]["head"].update(
        loss={"name": loss["loss"], **loss["parameters"]}, sigmas=list(keypoints.sigmas), decoder=codec
    )
    composed["model"]["test_cfg"] = _test_settings(composed["model"].get("test_cfg", {}), config)
    composed["model"]["data_preprocessor"].update(
        type="CropPreprocessor", channels_last=training["channels_last"]
    )

    composed["train_dataloader"] = _dataloader(dataset_config, "train", codec, data_root, training)
    composed["train_dataloader"]["batch_size"] = training["batch_size"]
    composed["train_dataloader"]["dataset"]["pipeline"].insert(0, {"type": "SeedSample", "seed": cell.seed})
    # Evaluation is a step of its own, from the predictions file, and nothing is selected on the reported
    # split: the runner gets no validation loop, and the prediction step reads its data from here.
    for key in (
        "val_dataloader",
        "test_dataloader",
        "val_evaluator",
        "test_evaluator",
        "val_cfg",
        "test_cfg",
    ):
        composed.pop(key, None)
    composed["predict_dataloader"] = _dataloader(dataset_config, "val", codec, data_root, training)
    composed["predict_dataloader"]["batch_size"] = config["evaluation"]["batch_size"]

    rate = (
        training["head_learning_rate"].get(cell.head, training["learning_rate"])
        * loss["learning_rate_factor"]
    )
    composed["optim_wrapper"]["optimizer"]["lr"] = rate
    if training["precision"] == "bfloat16":
        composed["optim_wrapper"]["type"] = "Bfloat16OptimWrapper"
    composed["train_cfg"] = {
        "by_epoch": True,
        "max_epochs": training["epochs"],
        "val_interval": training["epochs"] + 1,
    }
    composed["param_scheduler"] = _schedule(training)

    composed["default_hooks"]["checkpoint"] = {"type": "CheckpointHook", "interval": 1, "max_keep_ckpts": 2}
    composed["default_hooks"]["logger"] = {"type": "LoggerHook", "interval": 20}
    composed["default_hooks"].pop("badcase", None)
    composed["default_hooks"].pop("visualization", None)
    composed["custom_hooks"] = [
        *composed.get("custom_hooks", []),
        {"type": "EpochSeedHook", "seed": cell.seed},
        *([{"type": "ChannelsLastHook"}] if training["channels_last"] else []),
    ]
    composed["custom_imports"] = {"imports": ["rspose.pose"], "allow_failed_imports": False}
    composed["randomness"] = {"seed": cell.seed, "deterministic": True}
    composed["env_cfg"]["cudnn_benchmark"] = False
    composed["work_dir"] = str(work_dir)
    composed["load_from"] = None if initial_weights is None else str(initial_weights)
    composed["resume"] = False
    # The visualizer would write a copy of every scalar; the log and the record hold them already.
    composed["visualizer"] = {"type": "Visualizer", "vis_backends": []}
    composed["vis_backends"] = []
    return composed


def _codec(base: dict[str, Any], cell: Cell, model_settings: dict[str, Any]) -> dict[str, Any]:
    width, height = model_settings["input_size"][cell.dataset]
    codec = {**base, "input_size": (width, height), "sigma": model_settings["sigma"][cell.head]}
    if cell.head == "heatmap":
        codec["heatmap_size"] = (width // 4, height // 4)
    else:
        codec["normalize"] = False
    return codec


def _set_head(
    head: dict[str, Any],
    cell: Cell,
    codec: dict[str, Any],
    model_settings: dict[str, Any],
    num_keypoints: int,
) -> None:
    head.pop("loss", None)
    head["type"] = HEADS[cell.head]
    head["out_channels"] = num_keypoints
    if cell.head == "simcc":
        head["input_size"] = codec["input_size"]
        stride = model_settings["stride"]
        head["in_featuremap_size"] = tuple(size // stride for size in codec["input_size"])
        head["simcc_split_ratio"] = codec["simcc_split_ratio"]


def _test_settings(base: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    return {**base, "flip_test": config["evaluation"]["flip_test"], "output_heatmaps": False}


def _dataloader(
    dataset_config: Config, split: str, codec: dict[str, Any], data_root: Path, training: dict[str, Any]
) -> dict[str, Any]:
    loader = dataset_config[f"{split}_dataloader"].to_dict()
    loader["num_workers"] = training["workers"]
    loader["persistent_workers"] = training["workers"] > 0
    dataset = loader["dataset"]
    dataset["data_root"] = str(data_root)
    # Files that mmpose's configs name with their own data root in front.
    for key in ("bbox_file", "headbox_file"):
        dataset.pop(key, None)
    dataset["pipeline"] = [_transform(step, split, codec, training) for step in dataset["pipeline"]]
    return loader


def _transform(
    step: dict[str, Any], split: str, codec: dict[str, Any], training: dict[str, Any]
) -> dict[str, Any]:
    step = {**step, **training["transforms"].get(step["type"], {})}
    if "input_size" in step:
        step["input_size"] = codec["input_size"]
    if "encoder" in step:
        step["encoder"] = codec
    if step["type"] == "LoadImage" and training["cache_images"]:
        step["type"] = "LoadCachedImage"
    if step["type"] == "RandomBBoxTransform":
        step["type"] = "FastRandomBBoxTransform"
    if step["type"] == "PackPoseInputs":
        step = {"type": "PackPoseTargets", "with_annotation": split == "val"}
    return step


def _schedule(training: dict[str, Any]) -> list[dict[str, Any]]:
    epochs = training["epochs"]
    schedule: list[dict[str, Any]] = []
    if training["warmup_iterations"]:
        schedule.append(
            {
                "type": "LinearLR",
                "begin": 0,
                "end": training["warmup_iterations"],
                "start_factor": 0.001,
                "by_epoch": False,
            }
        )
    if training["schedule"] == "cosine":
        decay = {"type": "CosineAnnealingLR", "T_max": epochs, "end": epochs, "eta_min_ratio": 0.01}
        schedule.append({**decay, "by_epoch": True, "convert_to_iter_based": True})
    else:
        milestones = sorted({max(1, round(epochs * fraction)) for fraction in training["milestones"]})
        schedule.append({"type": "MultiStepLR", "milestones": milestones, "gamma": 0.1, "by_epoch": True})
    return schedule
