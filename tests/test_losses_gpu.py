"""On a GPU every loss is what it is on a CPU, with deterministic kernels; these tests need one."""

import pytest
import torch
from builders.losses import every_loss_and_head

from rspose.tools.devices import compare_loss, compare_operator

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU that torch sees: a torch built for it, and its driver"
)


@every_loss_and_head
@pytest.mark.parametrize("half", [False, True], ids=["float32", "autocast"])
def test_a_loss_is_the_same_on_both_devices_and_to_the_bit_every_time(
    name: str, head: str, half: bool
) -> None:
    compare_loss(name, head, "cuda", half)


@pytest.mark.parametrize("positives", [169, 29])
def test_the_operator_is_the_same_on_both_devices_on_whole_heatmaps(positives: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(200, 3072, generator=generator)
    labels = torch.rand(200, 3072, generator=generator)
    labels = labels.where(labels.argsort(dim=1).argsort(dim=1) < positives, 0)
    compare_operator(scores, labels, None, "cuda")
