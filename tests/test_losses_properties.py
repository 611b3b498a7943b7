"""What holds for any input: properties of every registered loss over random maps."""

import torch
from builders.losses import every_loss_and_head
from builders.targets import make_target
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rspose.losses import build, spatial_rs
from rspose.tools.check_loss import KEYPOINTS, perfect, total
from rspose.tools.targets import with_noise

few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**31 - 1)


def random_map(seed: int) -> tuple[Tensor, Tensor]:
    """Scores and labels of three maps, with ties among both."""
    generator = torch.Generator().manual_seed(seed)
    scores = (4 * torch.randn(3, 40, generator=generator, dtype=torch.float64)).round() / 4
    labels = (5 * torch.rand(3, 40, generator=generator, dtype=torch.float64)).floor() / 5
    return scores, labels


@few
@given(seed=seeds, constant=st.floats(-100, 100))
def test_a_constant_added_to_a_map_changes_no_ranking_term(seed: int, constant: float) -> None:
    scores, labels = random_map(seed)
    moved = spatial_rs(scores + constant, labels)
    for found, expected in zip(moved, spatial_rs(scores, labels), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@few
@given(seed=seeds)
def test_the_order_of_the_pixels_changes_no_ranking_term(seed: int) -> None:
    scores, labels = random_map(seed)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(seed))
    moved = spatial_rs(scores[:, order], labels[:, order])
    for found, expected in zip(moved, spatial_rs(scores, labels), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@every_loss_and_head
def test_no_noise_makes_a_perfect_prediction_better(name: str, head: str) -> None:
    target = make_target(head)
    loss = build(name, {}, KEYPOINTS)
    best = perfect(loss, target.heatmaps, head)
    least = total(loss, best, target)

    @few
    @given(seed=seeds, scale=st.sampled_from([0.3, 1.0, 3.0]))
    def check(seed: int, scale: float) -> None:
        assert total(loss, with_noise(best, seed, scale), target) >= least

    check()
