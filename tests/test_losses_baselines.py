"""MSE, KL, AWing and FoWKAL against loops, values worked out by hand, and mmpose's own losses."""

import math
from collections.abc import Callable

import pytest
import torch
from losses_targets import make_target, on_maps, random_prediction
from torch import Tensor

import rspose.pose  # noqa: F401  (makes mmpose importable without its compiled operators)
from baselines.awing import AdaptiveWingLoss, awing
from baselines.fowkal import FoWKALLoss, fowkal, fwahr_weight
from baselines.kl import KLLoss, kl
from baselines.mse import MSELoss, mse
from rspose.losses import as_tuple


def random_maps(seed: int = 0, shape: tuple[int, int] = (3, 12)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randn(shape, generator=generator, dtype=torch.float64)
    label = torch.rand(shape, generator=generator, dtype=torch.float64)
    label[:, 0], label[:, 1] = 0, 1
    return prediction, label


def awing_of_one_pixel(y: float, p: float, alpha: float, omega: float, epsilon: float, theta: float) -> float:
    """The paper's two lines."""
    if abs(y - p) < theta:
        return omega * math.log(1 + (abs(y - p) / epsilon) ** (alpha - y))
    a = (
        omega
        / (1 + (theta / epsilon) ** (alpha - y))
        * (alpha - y)
        * (theta / epsilon) ** (alpha - y - 1)
        / epsilon
    )
    return a * abs(y - p) - (theta * a - omega * math.log(1 + (theta / epsilon) ** (alpha - y)))


def weight_of_one_pixel(y: float, p: float, gamma: float, tau: float) -> float:
    if y >= 2 ** (-1 / gamma):
        return y**gamma * abs(1 - p) + abs(p) * (1 - y**gamma)
    return tau * abs(p)


def test_mse_equals_a_loop() -> None:
    prediction, label = random_maps()
    expected = [
        sum((p - y) ** 2 for p, y in zip(ps, ys, strict=True)) / len(ps)
        for ps, ys in zip(prediction.tolist(), label.tolist(), strict=True)
    ]
    assert mse(prediction, label).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("beta", [1.0, 10.0])
def test_kl_equals_a_loop(beta: float) -> None:
    prediction, label = random_maps()
    expected = []
    for z, y in zip(prediction.tolist(), label.tolist(), strict=True):
        normaliser = sum(math.exp(beta * value) for value in z)
        q = [value / sum(y) for value in y]
        p = [math.exp(beta * value) / normaliser for value in z]
        expected.append(sum(a * math.log(a / b) for a, b in zip(q, p, strict=True) if a > 0))
    assert kl(prediction, label, beta).tolist() == pytest.approx(expected)


def test_kl_of_a_label_without_mass_is_zero_with_zero_gradient() -> None:
    prediction = torch.randn(1, 5, requires_grad=True)
    value = kl(prediction, torch.zeros(1, 5))
    value.sum().backward()
    assert value.item() == 0
    assert (prediction.grad == 0).all()


@pytest.mark.parametrize(
    "parameters", [(2.1, 14.0, 1.0, 0.5), (2.5, 3.0, 0.4, 0.2)], ids=["published", "other"]
)
def test_awing_equals_the_formula_pixel_by_pixel(parameters: tuple[float, float, float, float]) -> None:
    prediction, label = random_maps()
    expected = [
        awing_of_one_pixel(y, p, *parameters)
        for p, y in zip(prediction.flatten().tolist(), label.flatten().tolist(), strict=True)
    ]
    assert awing(prediction, label, *parameters).flatten().tolist() == pytest.approx(expected)


def test_awing_stays_finite_far_away() -> None:
    prediction = torch.tensor([1e30, -1e30, 0.0], requires_grad=True)
    awing(prediction, torch.tensor([0.0, 1.0, 0.0])).sum().backward()
    assert prediction.grad.isfinite().all()


def test_fwahr_weight_equals_the_formula_pixel_by_pixel() -> None:
    prediction, label = random_maps()
    label[:, 2] = 1e-40  # below 2 ** -100: background, though not 0
    expected = [
        weight_of_one_pixel(y, p, 0.01, 0.3)
        for p, y in zip(prediction.flatten().tolist(), label.flatten().tolist(), strict=True)
    ]
    assert fwahr_weight(prediction, label, 0.01, 0.3).flatten().tolist() == pytest.approx(expected)


def test_fowkal_equals_a_loop() -> None:
    prediction, label = random_maps()
    factor = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    expected = []
    for ps, ys, share in zip(prediction.tolist(), label.tolist(), factor.tolist(), strict=True):
        pixels = [
            weight_of_one_pixel(y, p, 0.01, 0.5)
            * (share * awing_of_one_pixel(y, p, 2.1, 14, 1, 0.5) + (1 - share) * (y - p) ** 2)
            for p, y in zip(ps, ys, strict=True)
        ]
        expected.append(sum(pixels) / len(pixels))
    assert fowkal(prediction, label, factor).tolist() == pytest.approx(expected)


SMOOTH: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": mse,
    "kl": kl,
    "kl beta 10": lambda p, y: kl(p, y, 10.0),
    "awing": awing,
    "fowkal": lambda p, y: fowkal(p, y, torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_equal_finite_differences(name: str) -> None:
    prediction, label = random_maps(seed=1)
    assert torch.autograd.gradcheck(lambda p: SMOOTH[name](p, label), prediction.requires_grad_())


def test_fowkal_learns_its_factors_and_the_regulariser_holds_them() -> None:
    target = make_target("heatmap")
    loss = FoWKALLoss(num_keypoints=5)
    assert loss.factors.tolist() == [0.5] * 5
    optimiser = torch.optim.SGD(loss.parameters(), lr=10.0)
    prediction = random_prediction(target)
    for _ in range(50):
        terms = loss(prediction, target)
        optimiser.zero_grad()
        sum(terms.values()).backward()
        optimiser.step()
    # MSE is the smaller loss everywhere, so the factors fall, and the regulariser bears a part of the sum.
    assert (loss.factors < 0.49).all() and (loss.factors > 0).all()
    factors = loss.factors.detach()
    assert loss(prediction, target)["regulariser"].item() == pytest.approx(
        ((2 * factors - 1) ** 2).mean().item(), rel=1e-5
    )


def test_fowkal_factors_belong_to_their_keypoints() -> None:
    """A factor of 0 leaves MSE, only for its own keypoint; a masked keypoint's factor has no gradient."""
    target = make_target("heatmap", instances=2, keypoints=3)
    target.weights[:, 2] = 0
    loss = FoWKALLoss(num_keypoints=3)
    with torch.no_grad():
        loss.factor_logits.copy_(torch.tensor([-100.0, 100.0, 0.0]))
    prediction = random_prediction(target)
    value = loss(prediction, target)["fowkal"]
    maps, labels = prediction[:, :2].flatten(2), target.heatmaps[:, :2].flatten(2)
    pixels = torch.stack([(maps[:, 0] - labels[:, 0]).square(), awing(maps[:, 1], labels[:, 1])], dim=1)
    torch.testing.assert_close(value, (fwahr_weight(maps, labels) * pixels).mean())
    with torch.no_grad():
        loss.factor_logits.zero_()
    sum(loss(prediction, target).values()).backward()
    assert (loss.factor_logits.grad[:2] != 0).all() and loss.factor_logits.grad[2] == 0


def test_fowkal_names_a_wrong_number_of_keypoints() -> None:
    target = make_target("heatmap", keypoints=5)
    with pytest.raises(ValueError, match=r"fowkal loss: .*expected 17 keypoints \(num_keypoints\), found 5"):
        FoWKALLoss(num_keypoints=17)(random_prediction(target), target)


def test_mse_is_mmposes_up_to_masked_keypoints_in_the_mean() -> None:
    from mmpose.models.losses import KeypointMSELoss

    target = make_target("heatmap")
    target.weights[:, ::2] = 0
    prediction = random_prediction(target)
    theirs = KeypointMSELoss(use_target_weight=True)(prediction, target.heatmaps, target.weights)
    torch.testing.assert_close(MSELoss()(prediction, target)["mse"] * target.weights.mean(), theirs)


def test_awing_is_mmposes() -> None:
    from mmpose.models.losses import AdaptiveWingLoss as TheirAdaptiveWingLoss

    target = make_target("heatmap")
    prediction = random_prediction(target)
    theirs = TheirAdaptiveWingLoss()(prediction, target.heatmaps)
    torch.testing.assert_close(AdaptiveWingLoss()(prediction, target)["awing"], theirs)


@pytest.mark.parametrize("beta", [1.0, 10.0])
def test_kl_is_mmposes_up_to_bins_batch_and_weight_sum(beta: float) -> None:
    """mmpose: mean over bins, sum over the batch over K; here: sum over bins, mean over visible keypoints."""
    from mmpose.models.losses import KLDiscretLoss

    target = make_target("simcc")
    target.weights[1, 3] = target.weights[0, 0] = 0
    prediction = random_prediction(target)
    normalised = on_maps(lambda label: label / label.sum(dim=-1, keepdim=True), target.heatmaps)
    theirs = [
        KLDiscretLoss(beta=beta)((p, p), (y, torch.zeros_like(y)), target.weights) * p.shape[-1] * p.shape[1]
        for p, y in zip(as_tuple(prediction), as_tuple(normalised), strict=True)
    ]
    ours = KLLoss(beta)(prediction, target)["kl"] * target.weights.sum()
    torch.testing.assert_close(ours, sum(theirs))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: KLLoss(beta=0), "kl loss: beta: expected a number above 0, found 0"),
        (lambda: AdaptiveWingLoss(alpha=2.0), "awing loss: alpha: expected a number above 2, found 2.0"),
        (lambda: AdaptiveWingLoss(theta=0), "awing loss: theta: expected a number above 0, found 0"),
        (lambda: FoWKALLoss(3, gamma=0), "fowkal loss: gamma: expected a number above 0, found 0"),
        (lambda: FoWKALLoss(3, tau=-1), "fowkal loss: tau: expected a number of at least 0, found -1"),
    ],
)
def test_bad_parameters_are_named(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
