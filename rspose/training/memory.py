"""How a process holds the memory of the host, and brings what a GPU is to have there without a wait."""

import ctypes
import gc
from collections.abc import Sequence

import torch
from torch import Tensor

# Of glibc's malloc.h, and the most that it takes for them.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_GIGABYTES, _LARGEST = 2**31 - 1, 32 * 2**20


def hold_memory() -> None:
    """Let this process keep the memory it frees, for the next step to use, and all that it has imported.

    By default glibc hands the maps of a step back to the kernel, which clears every page again for the next
    step: a sixth of the time of a small model's. The garbage collector leaves alone what is imported. And
    torch, where it is deterministic, fills what it allocates, in case somebody reads it unwritten, which
    nothing here does: up to a quarter of a step.
    """
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    gc.freeze()
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _GIGABYTES)


def stacked(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    """Stack tensors on the host, for a GPU in pinned memory, from which a copy does not wait for it."""
    shape, pinned = (len(tensors), *tensors[0].shape), device.type == "cuda"
    return torch.stack(list(tensors), out=torch.empty(shape, dtype=tensors[0].dtype, pin_memory=pinned))
