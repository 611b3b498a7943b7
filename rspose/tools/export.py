"""A trained model as one ONNX file: from crops to the maps that predictions are decoded from."""

import json
import warnings
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.registry import DATASETS, MODELS
from mmpose.structures import PoseDataSample
from torch import Tensor, nn

from rspose import __version__
from rspose.grid.files import replacing
from rspose.grid.record import tree
from rspose.losses import as_tuple
from rspose.training.weights import load_whole, read_checkpoint

_TOLERANCE = 1e-5


class _Network(nn.Module):
    """From crops ``[B, 3, H, W]`` as OpenCV reads them, BGR of uint8, to the maps of ``predict``."""

    def __init__(self, model: Any, flip_indices: list[int]) -> None:
        super().__init__()
        self.model = model
        self.samples = [PoseDataSample(metainfo={"flip_indices": flip_indices})]

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        preprocessor, settings = self.model.data_preprocessor, self.model.test_cfg
        crops = crops[:, [2, 1, 0]] if preprocessor._channel_conversion else crops
        images = (crops.float() - preprocessor.mean) / preprocessor.std
        features = self.model.extract_feat(images)
        if settings.get("flip_test", False):
            features = [features, self.model.extract_feat(images.flip(-1))]
        return as_tuple(self.model.head.heatmaps(features, self.samples, settings))


def export(folder: Path, out: Path) -> str:
    """Write a trained model as an ONNX file; what it takes and gives, in one line.

    The input ``crops``, uint8 ``[B, 3, H, W]`` in BGR, is what mmpose's pipeline hands to the data
    preprocessor. Normalisation, the loss's ``to_heatmaps`` and, where the config asks for it, the flip test
    are in the graph. The output is ``heatmaps`` ``[B, K, H', W']``, or ``x`` ``[B, K, Wx]`` and ``y``
    ``[B, K, Wy]``, float32: the maps that ``predict`` decodes, whose peaks, clamped to [0, 1], are the
    confidences. The metadata have the codec that decodes them.

    Args:
        folder: That of a finished cell, below ``cells``, or mmpose's work directory of a training with a head
            of :mod:`rspose.training.heads`.
        out: The file.

    Raises:
        ValueError: The folder holds no trained model, or one with another head, or weights of another model;
            or ONNX lacks an operation; or ONNX Runtime computes other maps than torch.
    """
    config = _config(folder)
    head = config.get("model", {}).get("head", {}).get("type", "none")
    if not head.startswith("Benchmark"):
        raise ValueError(
            f"{config.filename}: model.head: expected a head of the benchmark, found {head}: "
            "docs/mmpose.md has a config with one, which takes the same weights"
        )
    checkpoint = _checkpoint(folder)
    weights = read_checkpoint(checkpoint)["state_dict"]
    with (
        DefaultScope.overwrite_default_scope("mmpose"),
        warnings.catch_warnings(action="ignore"),  # mmpose's of its own configs, torch's of what is constant
        torch.no_grad(),
    ):
        data = (config.get("predict_dataloader") or config.val_dataloader).dataset
        metainfo = parse_pose_metainfo(DATASETS.get(data.type).METAINFO)
        model = MODELS.build(config.model)
        load_whole(model, checkpoint, weights)
        network = _Network(model, metainfo["flip_indices"]).eval()
        width, height = model.head.decoder.input_size
        generator = torch.Generator().manual_seed(0)
        crops = torch.randint(256, (3, 3, height, width), dtype=torch.uint8, generator=generator)
        maps = network(crops)
        names = ["heatmaps"] if len(maps) == 1 else ["x", "y"]
        with replacing(out) as temporary:
            try:
                torch.onnx.export(
                    network,
                    (crops[:2],),
                    temporary,
                    dynamo=False,  # the other exporter needs two more packages
                    input_names=["crops"],
                    output_names=names,
                    dynamic_axes={name: {0: "batch"} for name in ("crops", *names)},
                )
            except torch.onnx.errors.OnnxExporterError as error:
                raise ValueError(f"expected operations that ONNX has: {str(error).splitlines()[0]}") from None
            written = onnx.load(temporary)
            for output, map_ in zip(written.graph.output, maps, strict=True):
                for size, number in zip(output.type.tensor_type.shape.dim[1:], map_.shape[1:], strict=True):
                    size.dim_value = number
            onnx.helper.set_model_props(written, _metadata(config, metainfo, data.pipeline))
            onnx.save(written, temporary)
            _compare(temporary, crops, maps)
    shapes = " and ".join(f"{name} {list(map_.shape[1:])}" for name, map_ in zip(names, maps, strict=True))
    return f"{out}: of each crop {list(crops.shape[1:])}, uint8 in BGR, {shapes}"


def _config(folder: Path) -> Config:
    files = sorted(folder.glob("*.py"))
    if len(files) != 1:
        raise ValueError(
            f"{folder}: expected the folder of a trained cell, results/cells/DATASET/MODEL/HEAD/LOSS/seedN, "
            f"or a work directory of mmpose, with one config (*.py) in it; found {len(files) or 'none'}"
        )
    return Config.fromfile(files[0])


def _checkpoint(folder: Path) -> Path:
    """The weights of a cell, or those that mmengine names as its last."""
    last = folder / "last_checkpoint"
    found = folder / (Path(last.read_text()).name if last.is_file() else "checkpoint.pth")
    if not found.is_file():
        raise ValueError(
            f"{folder}: expected checkpoint.pth of a cell, or last_checkpoint of mmpose and the file of it; "
            "found none: the training has not ended, or has not saved yet"
        )
    return found


def _metadata(config: Config, metainfo: dict[str, Any], pipeline: list[dict[str, Any]]) -> dict[str, str]:
    head, steps = config.model.head, {step["type"]: step for step in pipeline}
    keypoints = [metainfo["keypoint_id2name"][index] for index in range(metainfo["num_keypoints"])]
    plain = {
        "loss": dict(head.loss),
        "head": head.type,
        "dataset": metainfo["dataset_name"],
        "keypoints": keypoints,
        "sigmas": list(head.sigmas),
        "flip_test": bool(config.model.test_cfg.get("flip_test", False)),
        "codec": dict(head.decoder),
        "padding": steps["GetBBoxCenterScale"].get("padding", 1.25),
        "use_udp": steps["TopdownAffine"].get("use_udp", False),
        "rspose": __version__,
        "commit": tree()["git_commit"],
    }
    return {key: each if isinstance(each, str) else json.dumps(each) for key, each in plain.items()}


def _compare(file: Path, crops: Tensor, maps: tuple[Tensor, ...]) -> None:
    """Compare with maps of torch, of another number of crops than were traced."""
    found = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(
        None, {"crops": crops.numpy()}
    )
    pairs = zip(found, maps, strict=True)
    largest = np.max([np.abs(one - other.numpy()).max() for one, other in pairs])  # NaN where one is NaN
    if not largest <= _TOLERANCE:
        raise ValueError(
            f"expected maps of ONNX Runtime within {_TOLERANCE:g} of torch's, found a difference of "
            f"{largest:.3g}: to_heatmaps of the loss does something that cannot be exported"
        )
