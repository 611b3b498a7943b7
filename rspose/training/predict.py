"""Predict the validation split with a trained cell: keypoints and confidences per box, in one file."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpose.datasets.datasets import BaseCocoStyleDataset
from mmpose.registry import MODELS
from mmpose.structures.bbox import get_warp_matrix
from torch.utils.data import DataLoader

from rspose.datasets import Dataset, dataset
from rspose.evaluation.predictions import Predictions
from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig, Training
from rspose.grid.files import replacing
from rspose.training.compose import compose
from rspose.training.memory import hold_memory


def predict(config: GridConfig, cell: Cell, checkpoint: Path, predictions: Path, samples: Path) -> None:
    """Predict every validation instance of the cell's dataset.

    Ground-truth boxes are predicted on every dataset; detector boxes too where the protocol has them.

    Args:
        config: The config of the grid.
        cell: The trained cell.
        checkpoint: Its weights.
        predictions: Where the predictions go (:class:`rspose.evaluation.predictions.Predictions`).
        samples: Where crops and heatmaps of a few instances go, for drawing.
    """
    training = config.training_of(cell)
    torch.set_num_threads(training.threads)
    hold_memory()
    composed = compose(config, cell, checkpoint.parent, None)
    scope = DefaultScope.get_instance(f"predict {cell}", scope_name="mmpose")
    model = _load(composed, checkpoint, training)

    known = dataset(cell.dataset)
    truth = _loader(composed, None)
    rows = list(_rows(model, truth, known))
    detections = known.detections
    if detections is not None:
        rows += _rows(model, _loader(composed, detections), known, annotated=False)
    columns: dict[str, Any] = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    Predictions(
        **columns,
        protocol={
            "dataset": cell.dataset,
            "split": "val",
            "flip_test": config.evaluation.flip_test,
            "shift_heatmap": bool(composed["model"]["test_cfg"].get("shift_heatmap", False)),
            "detection_file": detections,
            "input_size": list(composed["codec"]["input_size"]),
        },
    ).save(predictions)
    _save_samples(model, truth.dataset, known, config.evaluation.drawn_samples, samples)
    del scope


def _load(composed: Any, checkpoint: Path, training: Training) -> BaseModel:
    device = "cuda" if training.device != "cpu" and torch.cuda.is_available() else "cpu"
    model = MODELS.build(composed["model"]).to(device)
    model.load_state_dict(torch.load(checkpoint, map_location=device, weights_only=True)["state_dict"])
    if training.channels_last:
        model.to(memory_format=torch.channels_last)
    # In the precision of the training.
    low_precision = torch.autocast(device, torch.bfloat16, enabled=training.precision == "bfloat16")
    model.forward = low_precision(model.forward)
    return model.eval()


def _loader(composed: Any, detections: str | None) -> DataLoader[Any]:
    """The validation split on detector boxes, or on ground-truth boxes if ``detections`` is None."""
    loader = composed["predict_dataloader"]
    dataset = dict(loader["dataset"])
    if detections is not None:
        dataset["bbox_file"] = str(Path(dataset["data_root"]) / detections)
    return Runner.build_dataloader({**loader, "dataset": dataset})


@torch.no_grad()
def _predict_batches(model: BaseModel, loader: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    for batch in loader:
        yield from zip(model.test_step(batch), batch["inputs"], strict=True)


def _rows(
    model: BaseModel, loader: DataLoader[Any], known: Dataset, annotated: bool = True
) -> Iterator[dict[str, np.ndarray | np.generic]]:
    for sample, _ in _predict_batches(model, loader):
        meta, truth, predicted = sample.metainfo, sample.gt_instances, sample.pred_instances
        x1, y1, x2, y2 = np.asarray(truth.bboxes, dtype=np.float32).reshape(4)
        # MPII's images have no ids: its protocol counts annotations.
        image_id = meta["id"] if known.format == "mpii" else meta["img_id"]
        yield {
            "image_id": np.int64(image_id),
            "annotation_id": np.int64(meta["id"] if annotated else -1),
            "box": np.array([x1, y1, x2 - x1, y2 - y1], dtype=np.float32),
            "area": np.float32(np.prod(truth.bbox_scales)),
            "box_score": np.float32(np.asarray(truth.bbox_scores).item()),
            "keypoints": _zero_based(predicted.keypoints[0, :, :2], known),
            "confidence": predicted.keypoint_scores[0].astype(np.float32),
        }


def _save_samples(
    model: BaseModel, dataset: BaseCocoStyleDataset, known: Dataset, count: int, path: Path
) -> None:
    """Save crops, heatmaps and truth of ``count`` well-labelled instances spread over the split."""
    labelled = [
        float(np.mean(dataset.get_data_info(i)["keypoints_visible"] > 0)) for i in range(len(dataset))
    ]
    candidates = [i for i, share in enumerate(labelled) if share >= 0.7] or list(range(len(dataset)))
    chosen = [
        candidates[i] for i in np.linspace(0, len(candidates) - 1, min(count, len(candidates))).astype(int)
    ]
    batch = [dataset[i] for i in chosen]
    previous = model.test_cfg
    model.test_cfg = {**previous, "output_heatmaps": True}
    collated = {key: [item[key] for item in batch] for key in ("inputs", "data_samples")}
    drawn = list(_predict_batches(model, [collated]))
    model.test_cfg = previous
    columns: dict[str, list[Any]] = {}
    for index, (sample, inputs) in zip(chosen, drawn, strict=True):
        meta = sample.metainfo
        warp = get_warp_matrix(meta["input_center"], meta["input_scale"], 0, output_size=meta["input_size"])
        row = {
            "image_path": Path(meta["img_path"]).name,
            "box_index": index,
            "heatmap": _drawable(sample.pred_fields.heatmaps, inputs),
            "crop": inputs.permute(1, 2, 0).numpy()[:, :, ::-1],
            "truth_keypoints": _annotated(sample, known),
            "crop_matrix": warp.astype(np.float32),
        }
        for key, value in row.items():
            columns.setdefault(key, []).append(value)
    arrays: dict[str, Any] = {key: np.stack(values) for key, values in columns.items()}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _zero_based(keypoints: np.ndarray, known: Dataset) -> np.ndarray:
    """Keypoints with the centre of the first pixel at 0.

    mmpose 1.3 shifts the box centres of MPII from MATLAB's 1-based pixels but not the joints, so that a model
    trained through its dataset class predicts 1-based ones (and its metric adds another 1).
    """
    return (keypoints - known.first_pixel).astype(np.float32)


def _annotated(sample: Any, known: Dataset) -> np.ndarray:
    """Annotated keypoints in image pixels and their flags 0, 1 or 2, ``[K, 3]``."""
    truth = sample.gt_instances
    flags = 2 * np.asarray(truth.keypoints_visible, dtype=np.float32).reshape(-1, 1)
    if "raw_ann_info" in sample.metainfo:  # mmpose keeps 0 and 1 only; MPII has no more than that
        raw = sample.metainfo["raw_ann_info"]
        values = [value for field in known.keypoints.fields for value in raw[field]]
        flags = np.asarray(values, dtype=np.float32).reshape(-1, 3)[:, 2:]
    return np.concatenate([_zero_based(truth.keypoints[0, :, :2], known), flags], axis=1).astype(np.float32)


def _drawable(maps: torch.Tensor, inputs: torch.Tensor) -> np.ndarray:
    # SimCC's outer product has several bins per input pixel: keep its peaks at a quarter of the input's size.
    height, width = inputs.shape[1] // 4, inputs.shape[2] // 4
    pooled = torch.nn.functional.adaptive_max_pool2d(maps[None].float(), (height, width))[0]
    return pooled.cpu().numpy().astype(np.float16)
