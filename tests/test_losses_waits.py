"""A training step waits for a GPU once at most: what is known on the host is not asked of the device."""

import pytest
import torch
from builders.losses import every_loss_and_head
from builders.targets import make_target, on_maps, random_prediction
from builders.transfers import Transfers, comparing_elsewhere
from torch import Tensor

from rspose.losses import HeatmapLoss, KeypointTarget, Maps, build
from rspose.training.watch import watched_terms

KEYPOINTS = 5


def step(loss: HeatmapLoss, prediction: Maps, target: KeypointTarget) -> None:
    """Forward and backward as a head does, from a target that has come from the host."""
    terms = watched_terms(loss, prediction, target, gradients=True)
    sum(terms.values()).backward()


@every_loss_and_head
def test_a_step_transfers_once_to_the_host(name: str, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, loss = make_target(head), build(name, {}, KEYPOINTS)
    target.weights[0, 1] = 0
    prediction, target = random_prediction(target), target.to("cpu")
    with comparing_elsewhere(monkeypatch), Transfers(monkeypatch) as transfers:
        step(loss, prediction, target)
    assert transfers.found == ["tolist"]


def test_what_asks_the_device_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.ones(3, requires_grad=True)
    with Transfers(monkeypatch) as transfers:
        values[values > 0].sum().backward()  # one forward, one backward
        assert (values > 0).all()
        values.nonzero()
        values.sum().item()
    assert len(transfers.found) == 5, transfers.found


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch sees")
@every_loss_and_head
def test_on_a_gpu_nothing_waits_but_the_one_look(
    name: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, loss = make_target(head), build(name, {}, KEYPOINTS).cuda()
    target.weights[0, 1] = 0
    prediction = on_maps(lambda map_: map_.detach().cuda().requires_grad_(), random_prediction(target))
    step(loss, prediction, target.to("cuda"))  # kernels are compiled
    looks = []
    to_list = Tensor.tolist

    def look(numbers: Tensor) -> list[float]:
        looks.append(len(numbers))
        torch.cuda.set_sync_debug_mode("default")
        found = to_list(numbers)
        torch.cuda.set_sync_debug_mode("error")
        return found

    monkeypatch.setattr(Tensor, "tolist", look)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(loss, prediction, target.to("cuda"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(looks) == 1
