"""Every loss trains under DistributedDataParallel as it does in one process."""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from builders.targets import make_target
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rspose.losses import KeypointTarget, available, build

KEYPOINTS, INSTANCES = 3, 6
LOSSES: dict[str, dict[str, Any]] = {
    **{name: {} for name in available()},
    "rspose": {"gather": True},
    "instance_sort": {"gather": True},
    "sum": {"parts": {"kl": 1, "instance_sort": {"weight": 0.5, "gather": True}}},
}


class Trained(nn.Module):
    """A network of one layer and its loss, whose own weights are trained too."""

    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Conv2d(2, KEYPOINTS, 3, padding=1)
        self.loss = build(name, LOSSES[name], KEYPOINTS)

    def forward(self, image: Tensor, target: KeypointTarget) -> Tensor:
        return sum(self.loss(self.network(image), target).values(), torch.zeros(()))


def batch(part: slice) -> tuple[Tensor, KeypointTarget]:
    """Some instances of a batch in which every keypoint is visible: both halves weigh the same."""
    target = make_target("heatmap", instances=INSTANCES, keypoints=KEYPOINTS)
    maps = target.heatmaps
    assert isinstance(maps, Tensor)
    image = torch.randn(INSTANCES, 2, *maps.shape[2:], generator=torch.Generator().manual_seed(1))
    kept = KeypointTarget(
        maps[part], target.keypoints[part], target.weights[part], target.scale[part], target.sigmas
    )
    return image[part], kept


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in module.named_parameters()}


def _train_on_half_of_a_batch(rank: int, store: str, results: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    half = INSTANCES // 2
    found = {}
    for name in LOSSES:
        trained = DistributedDataParallel(Trained(name))
        trained(*batch(slice(half * rank, half * (rank + 1)))).backward()
        found[name] = gradients(trained.module)
    torch.save(found, f"{results}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_get_the_gradient_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_train_on_half_of_a_batch, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    both = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for name in LOSSES:
        trained = Trained(name)
        trained(*batch(slice(None))).backward()
        expected = gradients(trained)
        assert all((gradient != 0).any() for key, gradient in expected.items() if "network" in key), name
        for found in both:
            torch.testing.assert_close({name: found[name]}, {name: expected})
