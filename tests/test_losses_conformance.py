"""What every registered loss promises on every head it serves; a loss that is added is under it at once."""

import dataclasses
import doctest
import importlib
import pkgutil

import pytest
import torch
from losses_targets import SIGMA, make_target, on_maps, random_prediction
from torch import Tensor

import baselines
import rspose.losses
from rspose.losses import HeatmapLoss, KeypointTarget, Maps, as_tuple, available, build

KEYPOINTS = 5
CELLS = [(name, head) for name, loss in available().items() for head in loss.heads]
every_loss_and_head = pytest.mark.parametrize(("name", "head"), CELLS, ids=[f"{n}-{h}" for n, h in CELLS])


def total(loss: HeatmapLoss, prediction: Maps, target: KeypointTarget) -> Tensor:
    return sum(loss(prediction, target).values(), torch.zeros(()))


def gradients(prediction: Maps) -> list[Tensor]:
    return [map_.grad for map_ in as_tuple(prediction)]


def perfect(loss: HeatmapLoss, label: Maps, head: str) -> Maps:
    """Raw output whose heatmap comes closest to the label, among the label, its logit and its log."""
    floored = on_maps(lambda y: y.clamp(1e-4, 1 - 1e-4), label)
    candidates = [label, on_maps(torch.logit, floored), on_maps(torch.log, floored)]

    def distance(candidate: Maps) -> float:
        found = loss.to_heatmaps(candidate, SIGMA[head])
        return sum(
            (a - b).square().sum().item() for a, b in zip(as_tuple(found), as_tuple(label), strict=True)
        )

    return min(candidates, key=distance)


@every_loss_and_head
def test_terms_are_named_finite_scalars_with_gradients(name: str, head: str) -> None:
    target = make_target(head)
    prediction = random_prediction(target)
    terms = build(name, {}, KEYPOINTS)(prediction, target)
    assert terms and all(isinstance(term, str) for term in terms)
    for term in terms.values():
        assert term.shape == () and term.isfinite()
    sum(terms.values()).backward()
    for gradient in gradients(prediction):
        assert gradient.isfinite().all() and (gradient != 0).any()


@every_loss_and_head
def test_masked_keypoints_change_neither_value_nor_gradient(name: str, head: str) -> None:
    target = make_target(head)
    target.weights[1, 2] = target.weights[3] = 0
    masked = target.weights == 0
    loss = build(name, {}, KEYPOINTS)
    prediction, other = random_prediction(target), random_prediction(target)
    with torch.no_grad():
        for map_ in as_tuple(other):
            map_[masked] = 100 * torch.randn_like(map_[masked])
    value, other_value = total(loss, prediction, target), total(loss, other, target)
    assert value == other_value
    value.backward()
    for gradient in gradients(prediction):
        assert (gradient[masked] == 0).all() and (gradient[~masked] != 0).any()


@every_loss_and_head
def test_weights_are_relative(name: str, head: str) -> None:
    """A term is a weighted mean: twice the weights are the same loss."""
    target = make_target(head)
    doubled = dataclasses.replace(target, weights=2 * target.weights)
    prediction, loss = random_prediction(target), build(name, {}, KEYPOINTS)
    torch.testing.assert_close(total(loss, prediction, target), total(loss, prediction, doubled))


@every_loss_and_head
def test_a_batch_without_visible_keypoints_gives_zero(name: str, head: str) -> None:
    target = make_target(head)
    target.weights.zero_()
    prediction = random_prediction(target)
    value = total(build(name, {}, KEYPOINTS), prediction, target)
    value.backward()
    assert value == 0
    for gradient in gradients(prediction):
        assert (gradient == 0).all()


@every_loss_and_head
def test_an_empty_batch_gives_zero(name: str, head: str) -> None:
    target = make_target(head, instances=0)
    assert total(build(name, {}, KEYPOINTS), random_prediction(target), target) == 0


@every_loss_and_head
@pytest.mark.parametrize("shift", [1, 3, 6])
def test_a_perfect_prediction_beats_a_shifted_one(name: str, head: str, shift: int) -> None:
    target = make_target(head)
    loss = build(name, {}, KEYPOINTS)
    best = perfect(loss, target.heatmaps, head)
    shifted = on_maps(lambda map_: map_.roll(shift, dims=-1), best)
    assert total(loss, best, target) < total(loss, shifted, target)


@every_loss_and_head
def test_a_perfect_prediction_beats_noise_and_a_flat_map(name: str, head: str) -> None:
    target = make_target(head)
    loss = build(name, {}, KEYPOINTS)
    best = total(loss, perfect(loss, target.heatmaps, head), target)
    assert best < total(loss, random_prediction(target), target)
    assert best < total(loss, on_maps(torch.zeros_like, target.heatmaps), target)


@every_loss_and_head
def test_heatmaps_of_a_perfect_prediction_peak_at_the_keypoint_with_high_confidence(
    name: str, head: str
) -> None:
    target = make_target(head)
    loss = build(name, {}, KEYPOINTS)
    heatmaps = loss.to_heatmaps(perfect(loss, target.heatmaps, head), SIGMA[head])
    for found, label in zip(as_tuple(heatmaps), as_tuple(target.heatmaps), strict=True):
        assert found.shape == label.shape
        assert (found.flatten(2).argmax(-1) == label.flatten(2).argmax(-1)).all()
        # A little above 1 only where a distribution was normalised after the border had cut its tail.
        assert found.min() >= 0 and found.max() <= 1.05
        assert (found.flatten(2).amax(-1) > 0.5).all()


@every_loss_and_head
def test_a_blurred_prediction_is_no_more_confident_than_a_perfect_one(name: str, head: str) -> None:
    """Two equally high peaks of half the height each: a split prediction."""
    target = make_target(head)
    loss = build(name, {}, KEYPOINTS)
    split = on_maps(lambda y: (y + y.roll(y.shape[-1] // 2, dims=-1)) / 2, target.heatmaps)
    sure = loss.to_heatmaps(perfect(loss, target.heatmaps, head), SIGMA[head])
    unsure = loss.to_heatmaps(perfect(loss, split, head), SIGMA[head])
    for a, b in zip(as_tuple(sure), as_tuple(unsure), strict=True):
        assert (b.flatten(2).amax(-1) < a.flatten(2).amax(-1)).all()


@every_loss_and_head
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name: str, head: str, dtype: torch.dtype) -> None:
    target = make_target(head)
    half = on_maps(lambda map_: map_.detach().to(dtype), random_prediction(target))
    loss = build(name, {}, KEYPOINTS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(half, target)
    expected = loss(on_maps(Tensor.float, half), target)
    for term, value in found.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[term])
    assert all(map_.isfinite().all() for map_ in as_tuple(loss.to_heatmaps(half, SIGMA[head])))


@every_loss_and_head
def test_float64_stays_float64(name: str, head: str) -> None:
    target = make_target(head, dtype=torch.float64)
    prediction = random_prediction(target)
    found = build(name, {}, KEYPOINTS).double()(prediction, target)
    single = dataclasses.replace(
        target,
        heatmaps=on_maps(Tensor.float, target.heatmaps),
        keypoints=target.keypoints.float(),
        weights=target.weights.float(),
        scale=target.scale.float(),
        sigmas=target.sigmas.float(),
    )
    expected = build(name, {}, KEYPOINTS)(on_maps(Tensor.float, prediction), single)
    for term, value in found.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(value.float(), expected[term], rtol=1e-4, atol=1e-6)


@every_loss_and_head
def test_the_same_input_gives_the_same_bits(name: str, head: str) -> None:
    results = []
    for _ in range(2):
        target = make_target(head)
        prediction = random_prediction(target)
        value = total(build(name, {}, KEYPOINTS), prediction, target)
        value.backward()
        results.append([value.detach(), *gradients(prediction)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@every_loss_and_head
def test_input_is_left_as_it_was(name: str, head: str) -> None:
    target, untouched = make_target(head), make_target(head)
    prediction, original = random_prediction(target), random_prediction(target)
    total(build(name, {}, KEYPOINTS), prediction, target).backward()
    for a, b in zip(as_tuple(prediction), as_tuple(original), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(as_tuple(target.heatmaps), as_tuple(untouched.heatmaps), strict=True):
        assert torch.equal(a, b)


@every_loss_and_head
def test_wrong_input_is_named(name: str, head: str) -> None:
    target = make_target(head)
    prediction = random_prediction(target)
    loss = build(name, {}, KEYPOINTS)

    def expect(message: str, maps: Maps = prediction, **changes: object) -> None:
        with pytest.raises(ValueError, match=rf"{name} loss: {message}"):
            loss(maps, dataclasses.replace(target, **changes))

    def first(value: float) -> Maps:
        def change(map_: Tensor) -> Tensor:
            map_ = map_.detach().clone()
            map_.view(-1)[0] = value
            return map_

        return on_maps(change, prediction)

    number = 2 if head == "simcc" else 1
    expect(f"prediction: expected finite values, found {number} NaN or infinite", first(float("nan")))
    expect(f"prediction: expected finite values, found {number} NaN or infinite", first(float("inf")))
    for value in (1.5, -0.25, float("nan")):
        labels = on_maps(
            lambda map_, value=value: map_.clone().index_fill_(0, torch.tensor([0]), value), target.heatmaps
        )
        expect(rf"target.heatmaps: expected labels in \[0, 1\], found {value:g}", heatmaps=labels)
    expect(
        r"target.heatmaps: expected shape .*found", heatmaps=on_maps(lambda y: y[..., 1:], target.heatmaps)
    )
    expect(r"target.weights: expected shape \[4, 5\], found \[4, 1\]", weights=target.weights[:, :1])
    expect("target.weights: expected values of at least 0, found -1", weights=-target.weights)
    expect(r"target.keypoints: expected shape \[4, 5, 2\], found \[4, 5\]", keypoints=target.weights)
    expect(r"target.scale: expected shape \[4\], found \[3\]", scale=target.scale[1:])
    expect(r"target.sigmas: expected shape \[5\], found \[4\]", sigmas=target.sigmas[1:])
    other = make_target("heatmap" if head == "simcc" else "simcc").heatmaps
    expect(f"target.heatmaps: expected labels for a {head} head", heatmaps=other)


def test_a_loss_refuses_a_head_it_does_not_serve() -> None:
    class HeatmapOnly(type(build("mse", {}, KEYPOINTS))):  # type: ignore[misc]
        name = "flat"
        heads = ("heatmap",)

    target = make_target("simcc")
    with pytest.raises(
        ValueError, match=r"flat loss: prediction: expected .*'heatmap'.*found that of a simcc head"
    ):
        HeatmapOnly()(random_prediction(target), target)


def modules_with_examples() -> list[str]:
    return [
        f"{package.__name__}.{module.name}"
        for package in (rspose.losses, baselines)
        for module in pkgutil.iter_modules(package.__path__)
    ]


@pytest.mark.parametrize("module", modules_with_examples())
def test_examples_in_docstrings_run_as_printed(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0
