"""In two processes every loss gives the gradient of one with the joint batch, Instance-Sort its value too."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from builders.targets import make_target, random_prediction
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rspose.losses import InstanceSort, KeypointTarget, available, build

pytestmark = pytest.mark.slow

KEYPOINTS, INSTANCES = 3, 6
LOSSES: dict[str, dict[str, Any]] = {
    **{name: {} for name in available()},
    "rspose": {"gather": True},
    "instance_sort": {"gather": True},
    "sum": {"parts": {"kl": 1, "instance_sort": {"weight": 0.5, "gather": True}}},
}
SORTED: list[dict[str, Any]] = [{}, {"scope": "keypoint_type"}, {"level": "pose"}]


class Trained(nn.Module):
    """A network of one layer and its loss, whose own weights are trained too."""

    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Conv2d(2, KEYPOINTS, 3, padding=1)
        self.loss = build(name, LOSSES[name], KEYPOINTS)

    def gradients(self, target: KeypointTarget, part: slice) -> dict[str, Tensor]:
        """Those of the parameters for some instances, in a batch in which both halves weigh the same."""
        size = target.heatmaps.shape[2:]
        image = torch.randn(INSTANCES, 2, *size, generator=torch.Generator().manual_seed(1))
        trained = DistributedDataParallel(self) if dist.is_initialized() else self
        trained(image[part], some(target, part)).backward()
        return {name: parameter.grad for name, parameter in self.named_parameters()}

    def forward(self, image: Tensor, target: KeypointTarget) -> Tensor:
        return sum(self.loss(self.network(image), target).values(), torch.zeros(()))


def some(target: KeypointTarget, part: slice) -> KeypointTarget:
    """Some instances of a batch."""
    rows = (each[part] for each in (target.heatmaps, target.keypoints, target.weights, target.scale))
    return KeypointTarget(*rows, target.sigmas)


def both_targets() -> tuple[KeypointTarget, KeypointTarget]:
    """One in which every keypoint is visible, and one in which the halves differ in that."""
    visible, partly = (make_target("heatmap", instances=INSTANCES, keypoints=KEYPOINTS) for _ in range(2))
    partly.weights[0, 1] = partly.weights[4, 2] = 0
    return visible, partly


def sorting(target: KeypointTarget, part: slice, chosen: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Value of Instance-Sort and its gradient for some instances."""
    prediction = random_prediction(target).detach()[part].requires_grad_()
    value = InstanceSort(gather=dist.is_initialized(), **chosen)(prediction, some(target, part))[
        "instance_sort"
    ]
    value.backward()
    return value.detach(), prediction.grad


def _half_of_a_batch(rank: int, store: str, results: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    half = slice(INSTANCES // 2 * rank, INSTANCES // 2 * (rank + 1))
    visible, partly = both_targets()
    trained = {name: Trained(name).gradients(visible, half) for name in LOSSES}
    torch.save((trained, [sorting(partly, half, chosen) for chosen in SORTED]), f"{results}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_get_the_gradient_of_one_and_sort_their_joint_batch(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_half_of_a_batch, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    found, sorted_ = zip(*(torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)), strict=True)
    visible, partly = both_targets()
    for name in LOSSES:
        expected = Trained(name).gradients(visible, slice(None))
        assert all((gradient != 0).any() for key, gradient in expected.items() if "network" in key), name
        for each in found:
            torch.testing.assert_close({name: each[name]}, {name: expected})
    for chosen, *halves in zip(SORTED, *sorted_, strict=True):
        value, gradient = sorting(partly, slice(None), chosen)
        assert value > 0
        for half in halves:
            torch.testing.assert_close(half[0], value)
        # Averaged as DistributedDataParallel does.
        torch.testing.assert_close(torch.cat([half[1] for half in halves]) / 2, gradient)
