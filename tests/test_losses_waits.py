"""A training step waits for a GPU once at most: what is known on the host is not asked of the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from builders.losses import every_loss_and_head
from builders.targets import make_target, on_maps, random_prediction
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rspose.losses import HeatmapLoss, KeypointTarget, Maps, build
from rspose.losses.rank_sort import operator
from rspose.training.watch import watched_terms

KEYPOINTS = 5
ASKING = (
    *("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique"),
    "_linalg_check_errors",
)


class Transfers(TorchDispatchMode):
    """Counts the operations whose result, or its shape, a GPU would have to be waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.found: list[str] = []
        to_list = Tensor.tolist
        monkeypatch.setattr(Tensor, "tolist", lambda each: self.found.append("tolist") or to_list(each))

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        indices = args[1] if name.startswith("index") and isinstance(args[1], list | tuple) else ()
        boolean = any(index is not None and index.dtype == torch.bool for index in indices)
        if boolean or name.removesuffix("_").startswith(ASKING):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


def step(loss: HeatmapLoss, prediction: Maps, target: KeypointTarget) -> None:
    """Forward and backward as a head does, from a target that has come from the host."""
    terms = watched_terms(loss, prediction, target, gradients=True)
    sum(terms.values()).backward()


@contextmanager
def comparing_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave out the comparison of pairs, which on a GPU is Triton's, whose kernels ask nothing."""

    def compare(scores: Tensor, *_: Any) -> tuple[Any, ...]:
        return *scores.new_zeros(2, len(scores)), *scores.new_zeros(2, *scores.shape), None

    with monkeypatch.context() as patch:
        patch.setattr(operator, "_compare", compare)
        yield


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
