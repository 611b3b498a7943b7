"""Predict the validation split with a trained cell: keypoints and confidences per box, in one file."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, set_random_seed
from mmpose.datasets.datasets import BaseCocoStyleDataset
from mmpose.registry import MODELS
from mmpose.structures.bbox import get_warp_matrix
from torch.utils.data import DataLoader

from rspose.datasets import Dataset, dataset
from rspose.evaluation.predictions import Predictions
from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig
from rspose.grid.files import replacing
from rspose.grid.job import LastingError
from rspose.training.compose import compose
from rspose.training.memory import hold_memory
from rspose.training.weights import read_checkpoint


def predict(config: GridConfig, cell: Cell, checkpoint: Path, predictions: Path, samples: Path) -> None:
    """Predict the validation split: annotated boxes, and detector boxes where the protocol has them.

    Args:
        config: The config of the grid.
        cell: The trained cell.
        checkpoint: Its weights.
        predictions: Where the :class:`rspose.evaluation.predictions.Predictions` go.
        samples: Where crops and heatmaps of a few instances go, for drawing.
    """
    composed, model = _load(config, cell, checkpoint)
    known = dataset(cell.dataset)
    truth = Runner.build_dataloader(composed["predict_dataloader"])
    rows = list(_rows(model, truth, known))
    if known.detections is not None:
        root = Path(composed["predict_dataloader"]["dataset"]["data_root"])
        composed["predict_dataloader"]["dataset"]["bbox_file"] = str(root / known.detections)
        loader = Runner.build_dataloader(composed["predict_dataloader"])
        rows += _rows(model, loader, known, annotated=False)
    Predictions(
        **_stacked(rows),
        protocol={
            "dataset": cell.dataset,
            "split": "val",
            "flip_test": config.evaluation.flip_test,
            "shift_heatmap": bool(composed["model"]["test_cfg"].get("shift_heatmap", False)),
            "detection_file": known.detections,
            "input_size": list(composed["codec"]["input_size"]),
        },
    ).save(predictions)
    _save_samples(model, truth.dataset, known, config.evaluation.drawn_samples, samples)


def predict_held_out(config: GridConfig, cell: Cell, checkpoint: Path) -> Predictions:
    """Predict the training images that the cell was not trained on, in their annotated boxes."""
    composed, model = _load(config, cell, checkpoint)
    loader = Runner.build_dataloader(composed["held_out_dataloader"])
    rows = list(_rows(model, loader, dataset(cell.dataset)))
    if not rows:
        raise nobody_held_out(cell.dataset)
    return Predictions(**_stacked(rows), protocol={"dataset": cell.dataset, "split": "held out"})


def nobody_held_out(dataset: str) -> LastingError:
    """What a trial fails with that there is nobody to score on."""
    return LastingError(f"config key 'tuning.held_out.share': no person of {dataset} is held out")


def _load(config: GridConfig, cell: Cell, checkpoint: Path) -> tuple[Any, BaseModel]:
    """The mmpose config of a cell, and its model with the weights, in a process made ready to predict."""
    training = config.training_of(cell)
    torch.set_num_threads(training.threads)
    hold_memory()
    set_random_seed(cell.seed, deterministic=True)  # as in the process of the training, which may be this one
    composed = compose(config, cell, checkpoint.parent, None)
    DefaultScope.get_instance(f"predict {cell}", scope_name="mmpose")
    device = "cuda" if training.device != "cpu" and torch.cuda.is_available() else "cpu"
    model = MODELS.build(composed["model"]).to(device)
    model.load_state_dict(read_checkpoint(checkpoint)["state_dict"])
    if training.channels_last:
        model.to(memory_format=torch.channels_last)
    # In the precision of the training.
    low_precision = torch.autocast(device, torch.bfloat16, enabled=training.precision == "bfloat16")
    model.forward = low_precision(model.forward)
    return composed, model.eval()


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
    # Of well-labelled instances, spread over the split.
    everyone = range(len(dataset))
    labelled = [i for i in everyone if np.mean(dataset.get_data_info(i)["keypoints_visible"] > 0) >= 0.7]
    candidates = labelled or everyone
    spread = np.linspace(0, len(candidates) - 1, min(count, len(candidates))).astype(int)
    chosen = [candidates[i] for i in spread]
    batch = [dataset[i] for i in chosen]
    previous = model.test_cfg
    model.test_cfg = {**previous, "output_heatmaps": True}
    collated = {key: [item[key] for item in batch] for key in ("inputs", "data_samples")}
    drawn = list(_predict_batches(model, [collated]))
    model.test_cfg = previous
    rows: list[dict[str, Any]] = []
    for index, (sample, inputs) in zip(chosen, drawn, strict=True):
        meta = sample.metainfo
        warp = get_warp_matrix(meta["input_center"], meta["input_scale"], 0, output_size=meta["input_size"])
        rows.append(
            {
                "image_path": Path(meta["img_path"]).name,
                "box_index": index,
                "heatmap": _drawable(sample.pred_fields.heatmaps, inputs),
                "crop": inputs.permute(1, 2, 0).numpy()[:, :, ::-1],
                "truth_keypoints": _annotated(sample, known),
                "crop_matrix": warp.astype(np.float32),
            }
        )
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **_stacked(rows))


def _stacked(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: np.stack([row[key] for row in rows]) for key in rows[0]}


def _zero_based(keypoints: np.ndarray, known: Dataset) -> np.ndarray:
    # mmpose 1.3 shifts the box centres of MPII from MATLAB's 1-based pixels but not the joints, so that a
    # model trained through its dataset class predicts 1-based ones (and its metric adds another 1).
    return (keypoints - known.first_pixel).astype(np.float32)


def _annotated(sample: Any, known: Dataset) -> np.ndarray:
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
