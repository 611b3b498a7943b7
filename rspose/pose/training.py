"""What mmengine's training lacks: low precision on the CPU, and seeds that survive a resume."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from mmpose.models.data_preprocessors import PoseDataPreprocessor
from mmpose.registry import MODELS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """Forward passes under bfloat16 autocast, on CPU and CUDA alike.

    mmengine's ``AmpOptimWrapper`` refuses to run without an accelerator. bfloat16 has float32's range, so
    that no loss scaling is needed.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around a training step."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield


@MODELS.register_module()
class ChannelsLastPreprocessor(PoseDataPreprocessor):
    """mmpose's preprocessor, handing images on in the layout that CPU convolutions are fastest in."""

    def forward(self, data: Any, training: bool = False) -> Any:
        """Normalise and batch the images."""
        data = super().forward(data, training)
        data["inputs"] = data["inputs"].contiguous(memory_format=torch.channels_last)
        return data


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed every random generator at the start of each epoch with a function of (seed, epoch, rank).

    Checkpoints hold no generator state. With this hook the random numbers of an epoch do not depend on what
    was drawn before it, so that a resumed run, and a run with another loss, sees the same augmentation.

    Args:
        seed: Seed of the cell.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_epoch(self, runner: Any) -> None:
        """Seed Python, numpy and torch."""
        sequence = np.random.SeedSequence([self.seed, runner.epoch, runner.rank])
        value = int(sequence.generate_state(1)[0])
        random.seed(value)
        np.random.seed(value)  # noqa: NPY002 (mmpose draws from the global generator)
        torch.manual_seed(value)


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the model's weights in the memory layout of the images."""

    def before_run(self, runner: Any) -> None:
        """Convert once, before weights are loaded into the model."""
        runner.model.to(memory_format=torch.channels_last)
