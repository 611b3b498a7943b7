"""A cell becomes an mmpose config: the model's own, the dataset's own, and what the cell changes.

The model, optimizer and schedule come from the mmpose config that ``model_settings.<model>.base.<head>``
names; dataset classes, file names and augmentation from the dataset's mmpose config. So a model can be
trained on a dataset for which mmpose has no config (SimCC on CrowdPose, say), and with a head for which it
has none (``backbone``: SimCC on HRNet).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from rspose.datasets import dataset
from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig, ModelSettings, Training
from rspose.training.mmpose_configs import mmpose_config, model_config
from rspose.training.pretrained import Pretrained, pretrained

__all__ = ["compose", "mmpose_config"]

HEADS = {
    "HeatmapHead": "BenchmarkHeatmapHead",
    "SimCCHead": "BenchmarkSimCCHead",
    "RTMCCHead": "BenchmarkRTMCCHead",
}
"""The benchmark's form of each of mmpose's heads."""

TRANSFORMS = {
    "RandomBBoxTransform": "FastRandomBBoxTransform",
    "mmdet.YOLOXHSVRandomAug": "YOLOXHSVRandomAug",
    "Albumentation": "BlurAndDropout",
}
"""What takes the place of pipeline steps that are slow, or that only mmdet and albumentations have."""


def compose(config: GridConfig, cell: Cell, work_dir: Path, initial_weights: Path | None) -> Config:
    """The mmpose config that trains ``cell``.

    Args:
        config: The config of the grid.
        cell: The cell.
        work_dir: Folder for checkpoints and logs.
        initial_weights: Checkpoint that every cell of the model starts from, if there is one.
    """
    model_settings = config.model_settings[cell.model]
    training = config.training_of(cell)
    loss = config.loss_of(cell.loss, cell.head)
    data_root = config.data[cell.dataset].root
    known = dataset(cell.dataset)
    keypoints = known.keypoints

    composed = model_config(model_settings, cell.head)
    dataset_config = mmpose_config(known.mmpose_config)
    published_epochs = composed["train_cfg"]["max_epochs"]

    codec = _codec(composed["codec"], cell, model_settings)
    composed["codec"] = codec
    _set_backbone(composed["model"]["backbone"], codec, pretrained(config, cell.model, cell.head))
    _set_head(composed["model"]["head"], cell, codec, model_settings, len(keypoints))
    composed["model"]["head"].update(
        loss={"name": loss.loss, **loss.parameters}, sigmas=list(keypoints.sigmas), decoder=codec
    )
    composed["model"]["test_cfg"] = _test_settings(composed["model"].get("test_cfg", {}), config)
    composed["model"]["data_preprocessor"].update(
        type="CropPreprocessor", channels_last=training.channels_last
    )

    use_udp = _uses_udp(composed["train_dataloader"]["dataset"]["pipeline"])
    steps = (composed if training.augmentation == "model" else dataset_config)["train_dataloader"]

    def training_pipeline(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {"type": "SeedSample", "seed": cell.seed},
            *_pipeline(steps, "train", codec, use_udp, training),
        ]

    train_pipeline = training_pipeline(steps["dataset"]["pipeline"])
    val_pipeline = _pipeline(
        dataset_config["val_dataloader"]["dataset"]["pipeline"], "val", codec, use_udp, training
    )
    composed["train_dataloader"] = _dataloader(dataset_config, "train", train_pipeline, data_root, training)
    composed["train_dataloader"]["batch_size"] = training.batch_size // training.devices
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
    composed["predict_dataloader"] = _dataloader(dataset_config, "val", val_pipeline, data_root, training)
    composed["predict_dataloader"]["batch_size"] = config.evaluation.batch_size

    rate = training.learning_rate
    composed["optim_wrapper"]["optimizer"]["lr"] = rate.value * loss.learning_rate_factor
    composed.pop("auto_scale_lr", None)
    if rate.base_batch_size is not None:
        composed["auto_scale_lr"] = {"base_batch_size": rate.base_batch_size, "enable": True}
    if training.precision == "bfloat16":
        composed["optim_wrapper"]["type"] = "Bfloat16OptimWrapper"
    composed["train_cfg"] = {
        "by_epoch": True,
        "max_epochs": training.epochs,
        "val_interval": training.epochs + 1,
    }
    composed["param_scheduler"] = _schedule(training)

    composed["default_hooks"]["checkpoint"] = {
        "type": "CheckpointHook",
        "interval": 1,
        "max_keep_ckpts": 2,
        "backend_args": {"backend": "whole_file"},
    }
    composed["default_hooks"]["logger"] = {"type": "LoggerHook", "interval": 20}
    composed["default_hooks"].pop("badcase", None)
    composed["default_hooks"].pop("visualization", None)
    stages = []
    for hook in composed.get("custom_hooks", []):
        if not hook["type"].endswith("PipelineSwitchHook"):
            stages.append(hook)
        elif training.augmentation == "model":
            last_epochs = published_epochs - hook["switch_epoch"]
            switch = {"epoch": max(0, training.epochs - last_epochs)}
            switch["pipeline"] = training_pipeline(hook["switch_pipeline"])
            stages.append({"type": "PipelineSwitchHook", **switch})
    composed["custom_hooks"] = [
        *stages,
        {"type": "EpochSeedHook", "seed": cell.seed},
        {"type": "PlainCheckpointHook"},
        *([{"type": "ChannelsLastHook"}] if training.channels_last else []),
    ]
    imports = ["rspose.training", "rspose.training.checkpoints"]
    imports += composed.get("custom_imports", {}).get("imports", [])
    if composed["model"]["backbone"]["type"].startswith("Timm"):
        imports.append("rspose.training.timm_backbones")
    import_modules_from_strings(imports)
    composed["custom_imports"] = {"imports": imports, "allow_failed_imports": False}
    composed["randomness"] = {"seed": cell.seed, "deterministic": True}
    composed["env_cfg"]["cudnn_benchmark"] = False
    if training.devices > 1:
        composed["launcher"] = "pytorch"
        composed["model_wrapper_cfg"] = {
            "type": "MMDistributedDataParallel",
            "device_ids": None,  # that of the model: mmengine's default is a GPU
            "broadcast_buffers": False,
            "find_unused_parameters": True,  # a loss need not look at every output
        }
    composed["work_dir"] = str(work_dir)
    composed["load_from"] = None if initial_weights is None else str(initial_weights)
    composed["resume"] = False
    # The visualizer would write a copy of every scalar; the log and the record hold them already.
    composed["visualizer"] = {"type": "Visualizer", "vis_backends": []}
    composed["vis_backends"] = []
    # A runner writes its config down when it starts and with every checkpoint: not through yapf each time.
    return Config(composed.to_dict(), composed.text, composed.filename, format_python_code=False)


def _codec(base: dict[str, Any], cell: Cell, model_settings: ModelSettings) -> dict[str, Any]:
    width, height = model_settings.input_size[cell.dataset]
    sigma = model_settings.sigma_of(cell.head, cell.dataset)
    codec = {
        **base,
        "input_size": (width, height),
        "sigma": tuple(sigma) if isinstance(sigma, list) else sigma,
    }
    if cell.head == "heatmap":
        codec["heatmap_size"] = (width // 4, height // 4)
    else:
        codec["normalize"] = False
    return codec


def _set_backbone(backbone: dict[str, Any], codec: dict[str, Any], weights: Pretrained | None) -> None:
    backbone.pop("_scope_", None)  # of mmdet, for modules that mmpose has too
    if backbone["type"] == "mmpretrain.VisionTransformer":
        backbone["type"] = "TimmVisionTransformer"
        for key in ("with_cls_token", "out_type"):  # it has no other way
            backbone.pop(key, None)
    if backbone["type"] == "TimmVisionTransformer":
        width, height = codec["input_size"]
        backbone["img_size"] = (height, width)
    if weights is None:
        backbone.pop("init_cfg", None)
    else:
        backbone["init_cfg"] = {
            **(backbone.get("init_cfg") or {}),
            "type": "Pretrained",
            "checkpoint": str(weights.file),
        }


def _set_head(
    head: dict[str, Any],
    cell: Cell,
    codec: dict[str, Any],
    model_settings: ModelSettings,
    num_keypoints: int,
) -> None:
    head.pop("loss", None)
    if head["type"] not in HEADS:
        raise ValueError(
            f"config key 'model_settings.{cell.model}.base.{cell.head}': the head of this mmpose config is "
            f"{head['type']}; expected one of {', '.join(HEADS)}"
        )
    head["type"] = HEADS[head["type"]]
    head["out_channels"] = num_keypoints
    if cell.head == "simcc":
        head["input_size"] = codec["input_size"]
        stride = model_settings.stride
        head["in_featuremap_size"] = tuple(size // stride for size in codec["input_size"])
        head["simcc_split_ratio"] = codec["simcc_split_ratio"]


def _test_settings(base: dict[str, Any], config: GridConfig) -> dict[str, Any]:
    return {**base, "flip_test": config.evaluation.flip_test, "output_heatmaps": False}


def _dataloader(
    dataset_config: Config,
    split: str,
    pipeline: list[dict[str, Any]],
    data_root: Path,
    training: Training,
) -> dict[str, Any]:
    loader = dataset_config[f"{split}_dataloader"].to_dict()
    loader["num_workers"] = training.workers
    loader["persistent_workers"] = training.workers > 0
    dataset = loader["dataset"]
    dataset["type"] = f"Fast{dataset['type']}"  # of rspose.training.mmpose_datasets
    dataset["data_root"] = str(data_root)
    # Files that mmpose's configs name with their own data root in front.
    for key in ("bbox_file", "headbox_file"):
        dataset.pop(key, None)
    dataset["pipeline"] = pipeline
    return loader


def _uses_udp(pipeline: Sequence[dict[str, Any]]) -> bool:
    """Whether a model's crops and labels are unbiased (UDP), which its decoding has to match."""
    return any(step.get("use_udp", False) for step in pipeline)


def _pipeline(
    steps: Sequence[dict[str, Any]],
    split: str,
    codec: dict[str, Any],
    use_udp: bool,
    training: Training,
) -> list[dict[str, Any]]:
    return [_transform(step, split, codec, use_udp, training) for step in steps]


def _transform(
    step: dict[str, Any], split: str, codec: dict[str, Any], use_udp: bool, training: Training
) -> dict[str, Any]:
    step = {**step, **training.transforms.get(step["type"], {})}
    step["type"] = TRANSFORMS.get(step["type"], step["type"])
    if step["type"] == "TopdownAffine" and use_udp:
        step["use_udp"] = True
    if "input_size" in step:
        step["input_size"] = codec["input_size"]
    if "encoder" in step:
        step["encoder"] = codec
    if step["type"] == "LoadImage" and training.cache_images:
        step["type"] = "LoadCachedImage"
    if step["type"] == "PackPoseInputs":
        step = {"type": "PackPoseTargets", "with_annotation": split == "val"}
    return step


def _schedule(training: Training) -> list[dict[str, Any]]:
    epochs = training.epochs
    schedule: list[dict[str, Any]] = []
    if training.warmup_iterations:
        schedule.append(
            {
                "type": "LinearLR",
                "begin": 0,
                "end": training.warmup_iterations,
                "start_factor": 1e-5 if training.schedule == "flat_cosine" else 0.001,
                "by_epoch": False,
            }
        )
    if training.schedule == "cosine":
        decay = {"type": "CosineAnnealingLR", "T_max": epochs, "end": epochs, "eta_min_ratio": 0.01}
        schedule.append({**decay, "by_epoch": True, "convert_to_iter_based": True})
    elif training.schedule == "flat_cosine":
        half = epochs // 2
        decay = {"type": "CosineAnnealingLR", "begin": half, "end": epochs, "T_max": epochs - half}
        schedule.append({**decay, "eta_min_ratio": 0.05, "by_epoch": True, "convert_to_iter_based": True})
    else:
        milestones = sorted({max(1, round(epochs * fraction)) for fraction in training.milestones})
        schedule.append({"type": "MultiStepLR", "milestones": milestones, "gamma": 0.1, "by_epoch": True})
    return schedule
