"""What holds for any input: properties of every registered loss over random maps."""

import dataclasses
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from losses_targets import SIGMA, gaussian_labels, make_target, on_maps
from test_losses_conformance import every_loss_and_head, perfect, total
from torch import Tensor

from rspose.losses import HeatmapLoss, KeypointTarget, Maps, as_tuple, build, spatial_rs

KEYPOINTS = 5
few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**31 - 1)


def noise(like: Maps, seed: int, scale: float) -> Maps:
    generator = torch.Generator().manual_seed(seed)
    return on_maps(lambda map_: scale * torch.randn(map_.shape, generator=generator), like)


def added(one: Maps, other: Maps) -> Maps:
    if isinstance(one, tuple):
        return one[0] + other[0], one[1] + other[1]
    return one + other


def assert_finite(loss: HeatmapLoss, prediction: Maps, target: KeypointTarget) -> None:
    """Value and gradients are finite."""
    for map_ in as_tuple(prediction):
        map_.requires_grad_()
    value = total(loss, prediction, target)
    value.backward()
    assert value.isfinite()
    assert all(map_.grad.isfinite().all() for map_ in as_tuple(prediction))


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
        assert total(loss, added(best, noise(target.heatmaps, seed, scale)), target) >= least

    check()


@every_loss_and_head
def test_a_peak_that_moves_away_never_lowers_the_loss(name: str, head: str) -> None:
    """A peak of the label's own shape, step by step, as long as it overlaps the label (two sigma each)."""
    # Near a corner, so that the border does not cut the moved peak.
    centre = torch.tensor([[[int(2.5 * sigma) for sigma in SIGMA[head]]]], dtype=torch.float32)
    target = dataclasses.replace(
        make_target(head, instances=1, keypoints=1), keypoints=centre, heatmaps=gaussian_labels(head, centre)
    )
    loss = build(name, {}, 1)
    steps = int(4 * min(SIGMA[head]))
    for direction in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        values = []
        for step in range(steps):
            away = gaussian_labels(head, centre + step * torch.tensor(direction))
            values.append(total(loss, perfect(loss, away, head), target).item())
        assert all(after >= before - 1e-6 for before, after in pairwise(values)), (direction, values)


@every_loss_and_head
@pytest.mark.parametrize("label", [0.0, 1.0], ids=["no positive", "all positive"])
@pytest.mark.parametrize("scores", ["ties", "random"])
def test_maps_without_or_of_nothing_but_positives_are_finite(
    name: str, head: str, label: float, scores: str
) -> None:
    target = make_target(head)
    target = dataclasses.replace(
        target, heatmaps=on_maps(lambda map_: torch.full_like(map_, label), target.heatmaps)
    )
    prediction = noise(target.heatmaps, 0, 0.0 if scores == "ties" else 1.0)
    assert_finite(build(name, {}, KEYPOINTS), prediction, target)


@every_loss_and_head
def test_huge_outputs_are_finite(name: str, head: str) -> None:
    target = make_target(head)
    prediction = noise(target.heatmaps, 0, 1e4)
    assert_finite(build(name, {}, KEYPOINTS), prediction, target)


@pytest.mark.parametrize("name", ["mse", "kl", "awing", "wahr", "fwahr", "kal", "fowkal", "dm", "rspose"])
def test_a_single_bin_is_finite(name: str) -> None:
    target = make_target("simcc")
    one = dataclasses.replace(target, heatmaps=on_maps(lambda map_: map_[..., :1], target.heatmaps))
    prediction = on_maps(torch.zeros_like, one.heatmaps)
    assert_finite(build(name, {}, KEYPOINTS), prediction, one)


@every_loss_and_head
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_compiled_loss_has_the_same_value_and_gradient(name: str, head: str) -> None:
    """Traced by torch.compile and run by its eager backend, which needs no compiler."""
    target = make_target(head)
    loss = build(name, {}, KEYPOINTS)
    found = []
    for call in (loss, torch.compile(loss, backend="eager")):
        prediction = noise(target.heatmaps, 0, 1.0)
        for map_ in as_tuple(prediction):
            map_.requires_grad_()
        value = sum(call(prediction, target).values())
        value.backward()
        found.append((value.detach(), [map_.grad for map_ in as_tuple(prediction)]))
    torch.testing.assert_close(found[1], found[0])
