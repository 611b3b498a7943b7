"""The ranking operator and the losses on a GPU beside the CPU: for `rspose doctor` and the tests on a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rspose.losses import build, on_maps, rank_sort
from rspose.losses.interface import as_tuple
from rspose.tools.targets import learnable, make_target, noise

_KEYPOINTS = 5


def compare_operator(scores: Tensor, labels: Tensor, valid: Tensor | None, device: str) -> float:
    """The largest difference of the ranking operator on a device and on the CPU, in value or gradient.

    Args as for :func:`rspose.losses.rank_sort`. Raises an ``AssertionError`` where it is more than rounding,
    and where two runs on the device differ.
    """

    def run(device: str, implementation: Any) -> list[Tensor]:
        rows = scores.to(device).detach().requires_grad_()
        mask = None if valid is None else valid.to(device)
        rank, sort = rank_sort(rows, labels.to(device), mask, implementation=implementation)
        (rank.sum() + 2 * sort.sum()).backward()
        return [rank.detach(), sort.detach(), rows.grad]  # type: ignore[list-item]

    with _deterministic():
        return _difference(run("cpu", "torch"), run(device, "auto"), run(device, "auto"))


def compare_loss(name: str, head: str, device: str, half: bool) -> float:
    """The same of a loss, by its registered name, with small maps; ``half``: under autocast to bfloat16."""
    target = make_target(head, keypoints=_KEYPOINTS)
    target.weights[0, 1] = 0
    maps = noise(target.heatmaps, seed=1)

    def run(device: str) -> list[Tensor]:
        prediction = learnable(on_maps(lambda map_: map_.to(device), maps))
        loss = build(name, {}, _KEYPOINTS).to(device)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
            terms = loss(prediction, target.map(lambda each: each.to(device)))
        value = torch.stack(list(terms.values())).sum()
        value.backward()
        return [value.detach(), *(map_.grad for map_ in as_tuple(prediction))]  # type: ignore[list-item]

    with _deterministic():
        return _difference(run("cpu"), run(device), run(device))


def _difference(expected: list[Tensor], first: list[Tensor], second: list[Tensor]) -> float:
    relative, absolute = (1e-4, 1e-6) if expected[0].dtype == torch.float32 else (1e-8, 1e-10)
    for right, a, b in zip(expected, first, second, strict=True):
        torch.testing.assert_close(a.cpu(), right, rtol=relative, atol=absolute)
        assert torch.equal(a, b), "two runs differ"
    return max(float((a.cpu() - right).abs().max()) for right, a in zip(expected, first, strict=True))


@contextmanager
def _deterministic() -> Iterator[None]:
    """As in a training: an operation that has no deterministic form is an error."""
    import rspose.training  # noqa: F401  (sets what CUDA's matrix products need for it)

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
