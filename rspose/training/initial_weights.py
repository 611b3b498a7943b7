"""Initial weights that favour no loss: backbone, neck and deconvolutions trained on part segmentation.

Pixel-wise classification into body parts says nothing about how a keypoint's heatmap should look, but teaches
the network to see figures, so that the short trainings of the demo can compare losses, not wait for edges.
"""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import rspose.training  # noqa: F401  # isort: skip  (makes mmpose importable)
import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmpose.registry import MODELS
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rspose.drawn import PART_FLIP, PART_NAMES, figure_crops
from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig
from rspose.grid.files import replacing
from rspose.grid.fingerprints import initial_weights_dataset, initial_weights_fingerprint
from rspose.training.compose import compose
from rspose.training.memory import hold_memory
from rspose.training.weights import load_safely

BATCH_SIZE = 16


def train_initial_weights(
    config: GridConfig, model_name: str, checkpoint: Path, terminal: TextIO = sys.stderr
) -> None:
    """Train the weights that every cell of ``model_name`` starts from, as its ``initial_weights`` says.

    Backbone, neck and deconvolutions go to ``checkpoint``, under the names of both heads; progress is printed
    on ``terminal``. What was stopped goes on from the file beside it, to the bit.
    """
    model = config.model_settings[model_name]
    settings = model.initial_weights
    assert settings is not None
    torch.set_num_threads(settings.threads)
    hold_memory()
    torch.manual_seed(settings.seed)
    dataset = initial_weights_dataset(config, model_name)
    width, height = model.input_size[dataset]
    images, parts = figure_crops(settings.crops, settings.seed, (width, height), dataset)

    cell = Cell(dataset, model_name, "heatmap", config.losses[0], config.seeds[0])
    half = config.training_of(cell).precision == "bfloat16"
    network = _Segmenter(config, cell).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    steps = settings.epochs * (len(images) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=steps, pct_start=0.1
    )
    weights = _class_weights(parts)
    states: dict[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    unfinished = checkpoint.with_suffix(".unfinished.pth")
    fingerprint = initial_weights_fingerprint(config, model_name)
    done = _restore(states, unfinished, fingerprint)
    batches = enumerate(_batches(images, parts, settings.epochs, settings.seed), start=1)
    for step, (batch, labels) in islice(batches, done, None):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            scores = network(batch)
        loss = cross_entropy(scores.float(), labels, weight=weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            kept = {name: each.state_dict() for name, each in states.items()}
            with replacing(unfinished) as temporary:
                torch.save({"fingerprint": fingerprint, "step": step, **kept}, temporary)
            accuracy = (scores.argmax(1) == labels).float().mean()
            line = f"initial weights of {model_name}: step {step}/{steps}, loss {float(loss.detach()):.3f}, "
            print(f"{line}pixel accuracy {float(accuracy):.3f}", file=terminal, flush=True)
    with replacing(checkpoint) as temporary:
        torch.save({"state_dict": network.shared_weights()}, temporary)
    unfinished.unlink()


def _restore(states: dict[str, Any], unfinished: Path, fingerprint: str) -> int:
    """Set the states to those of a stopped run of the same settings; return the steps it had done."""
    kept = torch.load(unfinished, weights_only=True) if unfinished.exists() else {}
    if kept.get("fingerprint") != fingerprint:
        return 0
    for name, each in states.items():
        each.load_state_dict(kept[name])
    return int(kept["step"])


class _Segmenter(nn.Module):
    """What does not depend on head and keypoints in a model, with a part classifier on top."""

    def __init__(self, config: GridConfig, cell: Cell) -> None:
        super().__init__()
        composed = compose(config, cell, Path(), None)
        DefaultScope.get_instance("initial weights", scope_name="mmpose")
        backbone = composed["model"]["backbone"]
        backbone.pop("frozen", None)
        if "frozen_stages" in backbone:
            backbone["frozen_stages"] = -1
        estimator = MODELS.build(composed["model"])
        load_safely()
        estimator.init_weights()
        self.preprocess = estimator.data_preprocessor
        self.backbone = estimator.backbone
        self.neck = estimator.neck if estimator.with_neck else nn.Identity()
        self.deconv_layers = estimator.head.deconv_layers
        self.classifier = nn.Conv2d(estimator.head.final_layer.in_channels, len(PART_NAMES), 1)

    def forward(self, images: Tensor) -> Tensor:  # in [0, 255], RGB
        images = (images - self.preprocess.mean) / self.preprocess.std
        features = self.neck(self.backbone(images.contiguous(memory_format=torch.channels_last)))
        return self.classifier(self.deconv_layers(features[-1]))

    def shared_weights(self) -> dict[str, Tensor]:
        parts = {
            "backbone": self.backbone,
            "neck": self.neck,
            "head.deconv_layers": self.deconv_layers,
            "head.deconv_head.deconv_layers": self.deconv_layers,
        }
        states = {name: part.state_dict() for name, part in parts.items()}
        return {f"{name}.{key}": value for name, state in states.items() for key, value in state.items()}


def _class_weights(parts: np.ndarray) -> Tensor:
    # By the inverse root of frequency: small parts (hands, feet) would vanish beside the background.
    frequency = np.bincount(parts.ravel(), minlength=len(PART_NAMES)) / parts.size
    weights = 1 / np.sqrt(np.maximum(frequency, 1e-4))
    return torch.tensor(weights / weights.mean(), dtype=torch.float32)


def _batches(
    images: np.ndarray, parts: np.ndarray, epochs: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    generator = np.random.default_rng(seed)
    flipped_part = np.asarray(PART_FLIP)
    labels = parts[:, 2::4, 2::4]  # the centre of each heatmap pixel
    for _ in range(epochs):
        order = generator.permutation(len(images))
        for start in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
            chosen = order[start : start + BATCH_SIZE]
            batch, target = images[chosen], labels[chosen]
            if generator.random() < 0.5:
                batch, target = batch[:, :, ::-1], flipped_part[target[:, :, ::-1]]
            yield (
                torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).float(),
                torch.from_numpy(np.ascontiguousarray(target)).long(),
            )
