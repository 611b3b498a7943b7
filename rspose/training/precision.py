"""Whether a CPU computes in bfloat16 as fast as it should: many have to emulate it."""

from time import perf_counter

import torch
from torch import nn

_SLOW = 1.5


def bfloat16_slowness() -> float:
    """How many times as long as in float32 a convolution takes in bfloat16 on this CPU."""
    layer = nn.Conv2d(32, 32, 3, padding=1)
    images = torch.zeros(8, 32, 32, 24)

    @torch.no_grad()
    def seconds(dtype: torch.dtype) -> float:
        own, batch = layer.to(dtype), images.to(dtype)
        times = []
        for _ in range(4):  # the first compiles
            start = perf_counter()
            own(batch)
            times.append(perf_counter() - start)
        return min(times)

    return seconds(torch.bfloat16) / seconds(torch.float32)


def slow_precision() -> str | None:
    """A line for people whose CPU emulates bfloat16; None where it does not."""
    slowness = bfloat16_slowness()
    if slowness < _SLOW:
        return None
    return (
        f"this CPU computes bfloat16, training.precision, {slowness:.0f} times as slowly as float32: "
        "`--config training='{precision: float32}'` trains sooner, to slightly other numbers"
    )
