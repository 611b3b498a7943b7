"""mmpose's heads, but they hand a loss its whole target, and decode what the loss says is the heatmap.

The loss maps its output to [0, 1] before anything is averaged over the flip test, decoded or scored. mmpose
decodes raw output, which for a loss on logits puts every peak that is below zero at (-1, -1) and hands the
evaluator scores outside [0, 1].
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData
from mmpose.models.heads import BaseHead, HeatmapHead, RTMCCHead, SimCCHead
from mmpose.models.utils.tta import flip_heatmaps, flip_vectors
from mmpose.registry import MODELS
from torch import Tensor

from rspose.losses import HeatmapLoss, KeypointTarget, Maps, as_tuple, build, on_maps
from rspose.training.memory import stacked
from rspose.training.watch import watched_terms


def build_loss(name: str, parameters: dict[str, Any], num_keypoints: int) -> HeatmapLoss:
    """Build a loss without touching the random state, so that every loss sees the same initial weights."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        return build(name, parameters, num_keypoints)


class _BenchmarkHead(BaseHead):
    """What the heads share: the call of the loss, and confidences in place of raw output."""

    watch_gradients = False

    def __init__(self, *, loss: dict[str, Any], sigmas: Sequence[float], **arguments: Any) -> None:
        super().__init__(**arguments)
        parameters = {key: value for key, value in loss.items() if key != "name"}
        self.loss_module = build_loss(loss["name"], parameters, self.out_channels)
        self.register_buffer("sigmas", torch.tensor(sigmas, dtype=torch.float32), persistent=False)

    def loss(self, feats: Any, batch_data_samples: Sequence[Any], train_cfg: Any = None) -> dict[str, Tensor]:
        """The named terms of the loss, each key prefixed ``loss_``."""
        prediction, target = self.forward(feats), self._target(batch_data_samples)
        terms = watched_terms(self.loss_module, prediction, target, self.watch_gradients)
        return {f"loss_{term}": value for term, value in terms.items()}

    def _target(self, samples: Sequence[Any]) -> KeypointTarget:
        input_per_map = self._input_per_map()  # x and y
        keypoints, scales = [], []
        for sample in samples:
            keypoints.append(sample.gt_instances.transformed_keypoints[0, :, :2] / input_per_map)
            meta = sample.metainfo
            input_per_image = meta["input_size"][0] / meta["input_scale"][0]
            scales.append(np.sqrt(np.asarray(meta["area"]).item()) * input_per_image / input_per_map[0])
        target = KeypointTarget(
            heatmaps=self._labels(samples),
            keypoints=torch.as_tensor(np.stack(keypoints), dtype=torch.float32),
            weights=torch.cat([each.gt_instance_labels.keypoint_weights for each in samples]),
            scale=torch.as_tensor(np.stack(scales), dtype=torch.float32),
            sigmas=self.sigmas,
        )
        return target.to(self.sigmas.device)

    def heatmaps(self, feats: Any, batch_data_samples: Sequence[Any], test_cfg: Any) -> Any:
        """Confidence maps, averaged over the flip test if ``test_cfg`` asks for one."""
        if not test_cfg.get("flip_test", False):
            return self._confidences(feats)
        straight, mirrored = (self._confidences(each) for each in feats)
        mirrored = self._flipped(mirrored, batch_data_samples[0].metainfo["flip_indices"], test_cfg)
        mean = tuple((a + b) / 2 for a, b in zip(as_tuple(straight), as_tuple(mirrored), strict=True))
        return mean if isinstance(straight, tuple) else mean[0]

    def _confidences(self, feats: Any) -> Maps:
        x, y = np.broadcast_to(self.decoder.sigma, 2)
        return on_maps(Tensor.float, self.loss_module.to_heatmaps(self.forward(feats), (float(x), float(y))))

    def predict(self, feats: Any, batch_data_samples: Sequence[Any], test_cfg: Any = None) -> Any:
        """Keypoints in input pixels and confidences in [0, 1].

        With ``output_heatmaps`` the maps too, for drawing; in 1D ``[K, Wy, Wx]``, the vectors' outer product.
        """
        test_cfg = test_cfg or {}
        maps = self.heatmaps(feats, batch_data_samples, test_cfg)
        predictions = self.decode(maps)
        for instances in predictions:
            # Where the raw output is the heatmap itself (MSE) it may overshoot 1; the location stays.
            instances.keypoint_scores = np.clip(instances.keypoint_scores, 0.0, 1.0)
        if not test_cfg.get("output_heatmaps", False):
            return predictions
        if isinstance(maps, tuple):
            x, y = (vectors.clamp(min=0) for vectors in maps)
            maps = y[:, :, :, None] * x[:, :, None, :]
        return predictions, [PixelData(heatmaps=each) for each in maps]


@MODELS.register_module()
class BenchmarkHeatmapHead(_BenchmarkHead, HeatmapHead):
    """mmpose's 2D ``HeatmapHead`` with a loss of the benchmark.

    Args:
        loss: ``dict(name=..., **parameters)``, a registered loss of the benchmark.
        sigmas: OKS sigma of each keypoint.
        arguments: As for ``HeatmapHead``; ``decoder`` is required.
    """

    def _labels(self, samples: Sequence[Any]) -> Maps:
        return stacked([sample.gt_fields.heatmaps for sample in samples], self.sigmas.device)

    def _input_per_map(self) -> np.ndarray:
        return self.decoder.scale_factor

    def _flipped(self, maps: Maps, flip_indices: list[int], test_cfg: Any) -> Maps:
        mode, shift = test_cfg.get("flip_mode", "heatmap"), test_cfg.get("shift_heatmap", False)
        return flip_heatmaps(maps, flip_mode=mode, flip_indices=flip_indices, shift_heatmap=shift)


class _SimCCOutput(_BenchmarkHead):
    """What the 1D heads share: vectors of x and y, however the head makes them."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        if self.decoder.normalize:
            raise ValueError(
                f"{type(self).__name__}: decoder.normalize must be False: losses expect labels of up to 1"
            )

    def _labels(self, samples: Sequence[Any]) -> Maps:
        keys = ("keypoint_x_labels", "keypoint_y_labels")
        labels = ([sample.gt_instance_labels[key][0] for sample in samples] for key in keys)
        x, y = (stacked(each, self.sigmas.device) for each in labels)
        return x, y

    def _input_per_map(self) -> np.ndarray:
        return np.full(2, 1.0 / self.simcc_split_ratio)

    def _flipped(self, maps: Maps, flip_indices: list[int], test_cfg: Any) -> Maps:
        return flip_vectors(*maps, flip_indices=flip_indices)


@MODELS.register_module()
class BenchmarkSimCCHead(_SimCCOutput, SimCCHead):
    """mmpose's 1D ``SimCCHead`` with a loss of the benchmark.

    Arguments as for :class:`BenchmarkHeatmapHead` and ``SimCCHead``; the decoder must be a ``SimCCLabel``
    with ``normalize=False`` (labels that are 1 at the keypoint, as every loss expects them).
    """


@MODELS.register_module()
class BenchmarkRTMCCHead(_SimCCOutput, RTMCCHead):
    """RTMPose's 1D ``RTMCCHead``, with its gated attention unit; otherwise as :class:`BenchmarkSimCCHead`."""
