"""On a GPU every loss is what it is on a CPU, with deterministic kernels; these tests need one."""

from collections.abc import Iterator

import pytest
import torch
from builders.losses import every_loss_and_head
from builders.targets import make_target, on_maps, random_prediction

import rspose.training
from rspose.losses import KeypointTarget, Maps, build, rank_sort
from rspose.losses.interface import as_tuple

DEVICE = "cuda"
KEYPOINTS = 5
pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU that torch sees: a torch built for it, and its driver"
)


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """As in a training: an operation that has no deterministic form is an error."""
    assert rspose.training  # sets what CUDA's matrix products need for it
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


def run(name: str, maps: Maps, target: KeypointTarget, device: str, half: bool = False) -> list[torch.Tensor]:
    """Value and gradients of a loss on a device, brought back."""
    prediction = on_maps(lambda map_: map_.detach().to(device).requires_grad_(), maps)
    loss = build(name, {}, KEYPOINTS).to(device)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
        value = sum(loss(prediction, target.map(lambda each: each.to(device))).values())
    value.backward()
    return [value.detach().cpu(), *(map_.grad.cpu() for map_ in as_tuple(prediction))]


@every_loss_and_head
@pytest.mark.parametrize("half", [False, True], ids=["float32", "autocast"])
def test_a_loss_is_the_same_on_both_devices_and_to_the_bit_every_time(
    name: str, head: str, half: bool
) -> None:
    target = make_target(head)
    target.weights[0, 1] = 0
    maps = random_prediction(target)
    on_cpu = run(name, maps, target, "cpu", half)
    first, second = (run(name, maps, target, DEVICE, half) for _ in range(2))
    for a, b, expected in zip(first, second, on_cpu, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("positives", [169, 29])
def test_the_operator_is_the_same_on_both_devices_on_whole_heatmaps(positives: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(200, 3072, generator=generator)
    labels = torch.rand(200, 3072, generator=generator)
    labels = labels.where(labels.argsort(dim=1).argsort(dim=1) < positives, 0)
    found = []
    for device in ("cpu", DEVICE, DEVICE):
        rows = scores.to(device).detach().requires_grad_()
        rank, sort = rank_sort(rows, labels.to(device))
        (rank.sum() + 2 * sort.sum()).backward()
        found.append([rank.detach().cpu(), sort.detach().cpu(), rows.grad.cpu()])
    for expected, a, b in zip(*found, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, expected, rtol=1e-4, atol=1e-6)
