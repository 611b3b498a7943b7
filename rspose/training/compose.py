"""A cell becomes an mmpose config: the model's own, the dataset's own, and what the cell changes.

The model, optimizer and schedule come from the mmpose config that ``model_settings.<model>.base.<head>``
names; dataset classes, file names and augmentation from the dataset's mmpose config. So a model can be
trained on a dataset for which mmpose has no config (SimCC on CrowdPose, say), and with a head for which it
has none (``backbone``: SimCC on HRNet).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from rspose.datasets import dataset
from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig, ModelSettings, Source, Training
from rspose.training.mmpose_configs import mmpose_config, model_config
from rspose.training.mmpose_datasets import class_of
from rspose.training.pretrained import Pretrained, pretrained

_HEADS = ("HeatmapHead", "SimCCHead", "RTMCCHead")  # rspose.training.heads has a Benchmark one of each
# What takes the place of pipeline steps that are slow, or that only mmdet and albumentations have.
_TRANSFORMS = {
    "RandomBBoxTransform": "FastRandomBBoxTransform",
    "mmdet.YOLOXHSVRandomAug": "YOLOXHSVRandomAug",
    "Albumentation": "BlurAndDropout",
}


def compose(config: GridConfig, cell: Cell, work_dir: Path, initial_weights: Path | None) -> Config:
    """The mmpose config that trains ``cell``, with checkpoints and logs in ``work_dir``."""
    model_settings = config.model_settings[cell.model]
    training = config.training_of(cell)
    loss = config.loss_of(cell.loss, cell.head)
    known, data = dataset(cell.dataset), config.data[cell.dataset]
    keypoints = known.keypoints
    seed_of = {source: training.seed_of(source, cell.seed) for source in get_args(Source)}

    composed = model_config(model_settings, cell.head)
    dataset_config = mmpose_config(known.mmpose_config)
    published_epochs = composed["train_cfg"]["max_epochs"]

    codec = _codec(composed["codec"], cell, model_settings)
    composed["codec"] = codec
    model = composed["model"]
    _set_backbone(model["backbone"], codec, pretrained(config, cell.model, cell.head))
    _set_head(model["head"], cell, codec, model_settings, len(keypoints))
    model["head"].update(
        loss={"name": loss.loss, **loss.parameters}, sigmas=list(keypoints.sigmas), decoder=codec
    )
    flip_test = config.evaluation.flip_test
    model["test_cfg"] = {**model.get("test_cfg", {}), "flip_test": flip_test, "output_heatmaps": False}
    model["data_preprocessor"].update(type="CropPreprocessor", channels_last=training.channels_last)

    # Whether a model's crops and labels are unbiased (UDP), which its decoding has to match.
    steps = composed["train_dataloader"]["dataset"]["pipeline"]
    use_udp = any(step.get("use_udp", False) for step in steps)

    def pipeline(steps: Sequence[dict[str, Any]], split: str) -> list[dict[str, Any]]:
        seeding = [{"type": "SeedSample", "seed": seed_of["augmentation"]}] if split == "train" else []
        return [*seeding, *(_transform(step, split, codec, use_udp, training) for step in steps)]

    def dataloader(steps: Sequence[dict[str, Any]], split: str, batch_size: int) -> dict[str, Any]:
        loader = dataset_config[f"{split}_dataloader"].to_dict()
        loader.update(
            num_workers=training.workers, persistent_workers=training.workers > 0, batch_size=batch_size
        )
        settings = loader["dataset"]
        settings.update(
            type=class_of(known.name),
            split=split,
            data_root=str(data.folder),
            ann_file=known.annotations[split],
            data_prefix={"img": known.images[split]},
            pipeline=pipeline(steps, split),
        )
        if data.least_keypoints is not None:
            settings["least_keypoints"] = data.least_keypoints
        for key in ("bbox_file", "headbox_file"):  # which mmpose names with its own data root in front
            settings.pop(key, None)
        return loader

    if training.augmentation == "dataset":
        steps = dataset_config["train_dataloader"]["dataset"]["pipeline"]
    val_steps = dataset_config["val_dataloader"]["dataset"]["pipeline"]
    composed["train_dataloader"] = dataloader(steps, "train", training.batch_size // training.devices)
    composed["train_dataloader"]["sampler"]["seed"] = seed_of["order"]
    if "training_sample" in training.seeds_vary:
        composed["train_dataloader"]["dataset"]["sample_seed"] = seed_of["training_sample"]
    if training.held_out is not None:
        held_out, of_training = training.held_out.model_dump(), composed["train_dataloader"]["dataset"]
        of_training["held_out"] = held_out
        scoring = dataloader(val_steps, "val", config.evaluation.batch_size)
        for key in ("split", "ann_file", "data_prefix"):
            scoring["dataset"][key] = of_training[key]
        scoring["dataset"].update(held_out=held_out, only_held_out=True)
        composed["held_out_dataloader"] = scoring
    # Evaluation is a step of its own, from the predictions file, and nothing is selected on the reported
    # split: the runner gets no validation loop, and the prediction step reads its data from here.
    for part in ("dataloader", "evaluator", "cfg"):
        for split in ("val", "test"):
            composed.pop(f"{split}_{part}", None)
    composed["predict_dataloader"] = dataloader(val_steps, "val", config.evaluation.batch_size)

    rate = training.learning_rate
    composed["optim_wrapper"]["optimizer"]["lr"] = rate.value * loss.learning_rate_factor
    composed.pop("auto_scale_lr", None)
    if rate.base_batch_size is not None:
        composed["auto_scale_lr"] = {"base_batch_size": rate.base_batch_size, "enable": True}
    if composed["optim_wrapper"].get("type") == "AmpOptimWrapper":  # the precision is our config's
        for key in ("type", "loss_scale", "dtype", "use_fsdp"):
            composed["optim_wrapper"].pop(key, None)
    if training.precision == "bfloat16":
        composed["optim_wrapper"]["type"] = "Bfloat16OptimWrapper"
    epochs = training.epochs
    composed["train_cfg"] = {"by_epoch": True, "max_epochs": epochs, "val_interval": epochs + 1}
    composed["param_scheduler"] = _schedule(training)

    hooks = composed["default_hooks"]
    writing = {"interval": 1, "max_keep_ckpts": 2, "backend_args": {"backend": "whole_file"}}
    hooks["checkpoint"] = {"type": "CheckpointHook", **writing}
    hooks["logger"] = {"type": "LoggerHook", "interval": 20}
    for key in ("badcase", "visualization"):
        hooks.pop(key, None)
    custom_hooks = []
    for hook in composed.get("custom_hooks", []):
        if not hook["type"].endswith("PipelineSwitchHook"):
            custom_hooks.append(hook)
        elif training.augmentation == "model":
            first = max(0, epochs - (published_epochs - hook["switch_epoch"]))
            switched = pipeline(hook["switch_pipeline"], "train")
            custom_hooks.append({"type": "PipelineSwitchHook", "epoch": first, "pipeline": switched})
    custom_hooks += [
        {"type": "EpochSeedHook", "seed": seed_of["augmentation"]},
        {"type": "PlainCheckpointHook"},
    ]
    if training.channels_last:
        custom_hooks.append({"type": "ChannelsLastHook"})
    composed["custom_hooks"] = custom_hooks
    imports = ["rspose.training", "rspose.training.checkpoints"]
    imports += composed.get("custom_imports", {}).get("imports", [])
    if model["backbone"]["type"].startswith("Timm"):
        imports.append("rspose.training.timm_backbones")
    import_modules_from_strings(imports)
    composed["custom_imports"] = {"imports": imports, "allow_failed_imports": False}
    composed["randomness"] = {"seed": seed_of["initial_weights"], "deterministic": True}
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
    codec = {**base, "input_size": (width, height)}
    codec["sigma"] = tuple(sigma) if isinstance(sigma, list) else sigma
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
        backbone["img_size"] = codec["input_size"][::-1]
    if weights is None:
        backbone.pop("init_cfg", None)
    else:
        start = backbone.get("init_cfg") or {}
        backbone["init_cfg"] = {**start, "type": "Pretrained", "checkpoint": str(weights.file)}


def _set_head(
    head: dict[str, Any], cell: Cell, codec: dict[str, Any], model_settings: ModelSettings, num_keypoints: int
) -> None:
    head.pop("loss", None)
    if head["type"] not in _HEADS:
        raise ValueError(
            f"config key 'model_settings.{cell.model}.base.{cell.head}': the head of this mmpose config is "
            f"{head['type']}; expected one of {', '.join(_HEADS)}"
        )
    head["type"] = f"Benchmark{head['type']}"
    head["out_channels"] = num_keypoints
    if cell.head == "simcc":
        head["input_size"] = codec["input_size"]
        head["in_featuremap_size"] = tuple(size // model_settings.stride for size in codec["input_size"])
        head["simcc_split_ratio"] = codec["simcc_split_ratio"]


def _transform(
    step: dict[str, Any], split: str, codec: dict[str, Any], use_udp: bool, training: Training
) -> dict[str, Any]:
    step = {**step, **training.transforms.get(step["type"], {})}
    step["type"] = _TRANSFORMS.get(step["type"], step["type"])
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
    epochs, flat = training.epochs, training.schedule == "flat_cosine"
    schedule: list[dict[str, Any]] = []
    if training.warmup_iterations:
        warmup = {"begin": 0, "end": training.warmup_iterations, "start_factor": 1e-5 if flat else 0.001}
        schedule.append({"type": "LinearLR", **warmup, "by_epoch": False})
    if training.schedule == "step":
        milestones = sorted({max(1, round(epochs * fraction)) for fraction in training.milestones})
        schedule.append({"type": "MultiStepLR", "milestones": milestones, "gamma": 0.1, "by_epoch": True})
        return schedule
    begin = epochs // 2 if flat else 0
    decay = {"begin": begin, "end": epochs, "T_max": epochs - begin, "eta_min_ratio": 0.05 if flat else 0.01}
    by_step = {"by_epoch": True, "convert_to_iter_based": True}
    return [*schedule, {"type": "CosineAnnealingLR", **decay, **by_step}]
