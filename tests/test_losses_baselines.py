"""MSE, KL, AWing and FoWKAL against loops, values worked out by hand, and mmpose's own losses."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from builders.targets import make_target, random_prediction
from torch import Tensor

import rspose.training  # noqa: F401  (makes mmpose importable without its compiled operators)
from rspose.baselines.awing import AdaptiveWingLoss, awing
from rspose.baselines.fowkal import FoWKALLoss
from rspose.baselines.heuristic import HeuristicLoss
from rspose.baselines.kal import KALLoss
from rspose.baselines.kl import KLLoss, kl
from rspose.baselines.mse import MSELoss
from rspose.baselines.wahr import FWAHRLoss, WAHRLoss, fwahr_weight, wahr_weight
from rspose.losses import KeypointTarget, Maps, as_tuple, build, parameters


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
    power = (theta / epsilon) ** (alpha - y)
    a = omega / (1 + power) * (alpha - y) * (theta / epsilon) ** (alpha - y - 1) / epsilon
    return a * abs(y - p) - (theta * a - omega * math.log(1 + power))


def wahr_of_one_pixel(y: float, p: float, gamma: float) -> float:
    return y**gamma * abs(1 - p) + abs(p) * (1 - y**gamma)


def weight_of_one_pixel(y: float, p: float, gamma: float, tau: float) -> float:
    if y >= 2 ** (-1 / gamma):
        return wahr_of_one_pixel(y, p, gamma)
    return tau * abs(p)


def printed_weight_of_one_pixel(y: float, p: float, gamma: float, tau: float) -> float:
    """With y the poster's p and p its p-hat."""
    return wahr_of_one_pixel(y, p, gamma) if p >= 2 ** (-1 / gamma) else tau * y


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
    ("function", "pixel", "parameters"),
    [
        (awing, awing_of_one_pixel, (2.1, 14.0, 1.0, 0.5)),
        (awing, awing_of_one_pixel, (2.5, 3.0, 0.4, 0.2)),
        (wahr_weight, wahr_of_one_pixel, (0.3,)),
        (fwahr_weight, weight_of_one_pixel, (0.01, 0.3)),
        (partial(fwahr_weight, condition="prediction"), printed_weight_of_one_pixel, (0.01, 0.3)),
    ],
)
def test_functions_of_pixels_equal_the_formula(
    function: Callable[..., Tensor], pixel: Callable[..., float], parameters: tuple[float, ...]
) -> None:
    prediction, label = random_maps()
    label[:, 2] = 1e-40  # for FWAHR below 2 ** -100: background, though not 0
    pairs = zip(prediction.flatten().tolist(), label.flatten().tolist(), strict=True)
    expected = [pixel(y, p, *parameters) for p, y in pairs]
    assert function(prediction, label, *parameters).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
@pytest.mark.parametrize("spread", [0.7, 1.0, 2.0])
def test_the_confidence_of_kl_is_the_expected_closeness_to_the_peak(head: str, spread: float) -> None:
    """Of a joint drawn from a Gaussian, on a scale of two label widths: summed up pixel by pixel."""
    sigma = 3.0
    steps = torch.arange(80.0)
    along = -((steps - 40) ** 2) / (2 * (spread * sigma) ** 2)
    square = along if head == "simcc" else along[:, None] + along
    drawn = square.flatten().softmax(0)
    close = torch.exp(-((steps - 40) ** 2) / (2 * (2 * sigma) ** 2))
    expected = float(drawn @ (close if head == "simcc" else (close[:, None] * close).flatten()))
    maps = (along[None, None], along[None, None]) if head == "simcc" else square[None, None]
    for found in as_tuple(KLLoss().to_heatmaps(maps, (sigma, sigma))):
        assert found.amax().item() == pytest.approx(expected, rel=1e-3)
        torch.testing.assert_close(found.flatten() / found.amax(), drawn / drawn.amax())


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
@pytest.mark.parametrize("settings", [{}, {"beta": 10.0, "label_beta": 10.0}], ids=["simcc", "rtmpose"])
def test_confidences_of_kl_stay_below_one_and_apart(head: str, settings: dict[str, float]) -> None:
    """Ever sharper predictions, up to a single pixel, far beyond the label's own sharpness."""
    label = as_tuple(make_target(head).heatmaps)[0][:1, :1]
    loss = KLLoss(**settings)
    sharper = [factor / loss.beta * label.clamp_min(1e-6).log() for factor in (0.5, 1, 2, 4, 8)]
    if settings:  # its labels are the softmax of ten times the Gaussian
        sharper = [factor * label for factor in (0.5, 1, 1.5, 2)]
    peaks = []
    for map_ in sharper:
        maps = (map_, map_) if head == "simcc" else map_
        peaks.append(
            as_tuple(loss.to_heatmaps(maps, (4.9, 4.9) if head == "simcc" else (2, 2)))[0].amax().item()
        )
    assert all(a + 1e-3 < b < 1 for a, b in pairwise(peaks)), peaks
    assert peaks[1] == pytest.approx(2 / math.sqrt(5) if head == "simcc" else 0.8, abs=0.01)


def test_awing_stays_finite_far_away() -> None:
    prediction = torch.tensor([1e30, -1e30, 0.0], requires_grad=True)
    awing(prediction, torch.tensor([0.0, 1.0, 0.0])).sum().backward()
    assert prediction.grad.isfinite().all()


WHOLEBODY = {"body": (0, 17), "foot": (17, 23), "face": (23, 91), "hand": (91, 133)}


def test_the_heuristic_is_mse_where_the_body_is_the_only_part() -> None:
    target = make_target("heatmap", keypoints=17)
    prediction = random_prediction(target)
    torch.testing.assert_close(
        HeuristicLoss()(prediction, target)["heuristic"], MSELoss()(prediction, target)["mse"]
    )


Pixel = Callable[[float, float, int, float], float]
"""Loss of a pixel from its label, its prediction, its keypoint and the highest label up to a pixel away."""


def factor_of(keypoint: int) -> float:
    return 1 / (1 + math.exp(-(keypoint % 5 - 2)))


def squared(y: float, p: float, keypoint: int = 0, near: float = 0) -> float:
    return (y - p) ** 2


def adaptive(y: float, p: float, keypoint: int, near: float) -> float:
    share = factor_of(keypoint)
    return share * awing_of_one_pixel(y, p, *AWING) + (1 - share) * squared(y, p)


def heuristic(y: float, p: float, keypoint: int, near: float) -> float:
    """The whole-body keypoints from 23 on are those of face and hands."""
    return 0.7 * awing_of_one_pixel(y, p, *AWING) if keypoint >= 23 else 2 * squared(y, p)


def weighted(pixel: Pixel, weight: Callable[..., float], *parameters: float) -> Pixel:
    """The loss of a pixel times WAHR's or FWAHR's weight of it."""
    return lambda y, p, k, near: weight(y, p, *parameters) * pixel(y, p, k, near)


AWING = (2.1, 14.0, 1.0, 0.5)
PARTS = {"dense_weight": 0.7, "coarse_weight": 2.0}
FOCAL = {"gamma": 0.3, "tau": 0.8}
WAHR, FWAHR, PRINTED = wahr_of_one_pixel, weight_of_one_pixel, printed_weight_of_one_pixel

PARAMETERS: list[tuple[str, dict[str, Any], Pixel, str]] = [
    ("mse", {}, squared, "visible"),
    ("mse", {"reduction": "mmpose"}, squared, "all keypoints"),
    ("wahr", {}, weighted(squared, WAHR, 0.01), "visible"),
    ("wahr", {"gamma": 0.3}, weighted(squared, WAHR, 0.3), "visible"),
    ("fwahr", FOCAL, weighted(squared, FWAHR, 0.3, 0.8), "visible"),
    ("fwahr", {**FOCAL, "condition": "prediction"}, weighted(squared, PRINTED, 0.3, 0.8), "visible"),
    (
        "awing",
        {"alpha": 2.6, "omega": 5.0, "epsilon": 0.7, "theta": 0.3},
        lambda y, p, k, near: awing_of_one_pixel(y, p, 2.6, 5, 0.7, 0.3),
        "visible",
    ),
    (
        "awing",
        {"map_weight": 10.0, "reduction": "mmpose"},
        lambda y, p, k, near: awing_of_one_pixel(y, p, *AWING) * (11 if near >= 0.2 else 1),
        "all keypoints",
    ),
    ("kal", {"regulariser_weight": 0.6}, adaptive, "parts"),
    ("kal", {"regulariser": "mean"}, adaptive, "parts"),
    ("fowkal", {**FOCAL, "regulariser_weight": 0.6}, weighted(adaptive, FWAHR, 0.3, 0.8), "parts"),
    ("fowkal", {}, weighted(adaptive, FWAHR, 0.01, 0.5), "parts"),
    (
        "fowkal",
        {"gamma": 0.3, "weighting": "wahr", "regulariser": "mean"},
        weighted(adaptive, WAHR, 0.3),
        "parts",
    ),
    ("heuristic", PARTS, heuristic, "parts"),
    ("heuristic", {**PARTS, **FOCAL, "weighting": "fwahr"}, weighted(heuristic, FWAHR, 0.3, 0.8), "parts"),
    ("heuristic", {**PARTS, "weighting": "wahr", "gamma": 0.3}, weighted(heuristic, WAHR, 0.3), "parts"),
]


def between_pixels(head: str, keypoints: int) -> KeypointTarget:
    """Two instances on small maps: keypoints between pixels, so that labels peak below 1; weights 0 to 2."""
    generator = torch.Generator().manual_seed(0)
    size = {"heatmap": (6, 5), "simcc": (9, 8)}[head]
    places = torch.rand(2, keypoints, 2, generator=generator, dtype=torch.float64)
    places = places * (torch.tensor(size) - 1)
    x, y = (
        torch.exp(-((torch.arange(n) - place[..., None]) ** 2) / (2 * 1.5**2))
        for n, place in zip(size, places.unbind(-1), strict=True)
    )
    weights = torch.tensor([0, 0.5, 1, 2], dtype=torch.float64)
    return KeypointTarget(
        heatmaps=(x, y) if head == "simcc" else y[..., :, None] * x[..., None, :],
        keypoints=places,
        weights=weights[torch.randint(4, (2, keypoints), generator=generator)],
        scale=torch.full((2,), 5.0, dtype=torch.float64),
        sigmas=torch.full((keypoints,), 0.1, dtype=torch.float64),
    )


def looped(pixel: Pixel, prediction: Maps, target: KeypointTarget) -> dict[tuple[int, int], float]:
    """Loss of each visible keypoint: over its maps, the sum of the means of their pixels."""
    values = dict.fromkeys(map(tuple, target.weights.nonzero().tolist()), 0.0)
    for maps, labels in zip(as_tuple(prediction), as_tuple(target.heatmaps), strict=True):
        for b, k in values:
            label, map_ = labels[b, k], maps[b, k]
            total = 0.0
            for place in product(*(range(n) for n in label.shape)):
                near = label[tuple(slice(max(0, i - 1), i + 2) for i in place)].max().item()
                total += pixel(label[place].item(), map_[place].item(), k, near)
            values[b, k] += total / label.numel()
    return values


def reduced(values: Mapping[tuple[int, int], float], weights: Tensor, over: str) -> float:
    """Weighted mean over the visible keypoints, over all, or summed over the parts of whole-body pose."""
    total = 0.0
    for first, last in WHOLEBODY.values() if over == "parts" else [(0, weights.shape[1])]:
        shares = [weights[b, k].item() * value for (b, k), value in values.items() if first <= k < last]
        among = weights.numel() if over == "all keypoints" else weights[:, first:last].sum().item()
        total += sum(shares) / among if among else 0
    return total


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
@pytest.mark.parametrize(
    ("name", "chosen", "pixel", "over"),
    PARAMETERS,
    ids=[f"{name}-{','.join(chosen)}" for name, chosen, *_ in PARAMETERS],
)
def test_parameters_mean_what_the_formula_says(
    name: str, chosen: dict[str, Any], pixel: Pixel, over: str, head: str
) -> None:
    keypoints = 133 if over == "parts" else 4
    target = between_pixels(head, keypoints)
    if over == "parts" and not chosen:
        target.weights[:, 91:] = 0  # no hand is visible
    prediction = random_prediction(target)
    loss = build(name, chosen, keypoints).double()
    learns = hasattr(loss, "factor_logits")
    if learns:
        with torch.no_grad():
            loss.factor_logits.copy_(torch.arange(keypoints) % 5 - 2)
    terms = loss(prediction, target)
    values = looped(pixel, prediction, target)
    expected = {name: reduced(values, target.weights, over)}
    if learns:
        held = {(b, k): (2 * factor_of(k) - 1) ** 2 for b, k in values}
        weight = chosen.get("regulariser_weight", 1)
        together = (2 * sum(map(factor_of, range(keypoints))) / keypoints - 1) ** 2
        each = chosen.get("regulariser", "each") == "each"
        expected["regulariser"] = weight * (reduced(held, target.weights, over) if each else together)
    assert {term: value.item() for term, value in terms.items()} == pytest.approx(expected, rel=1e-9)
    # The gradient, by how the value changes along a random direction.
    terms[name].backward()
    direction = random_prediction(target, seed=2)
    pairs = list(zip(as_tuple(prediction), as_tuple(direction), strict=True))
    slope = sum((map_.grad * along).sum() for map_, along in pairs)
    ends = []
    for step in (-1e-6, 1e-6):
        moved = [map_ + step * along for map_, along in pairs]
        ends.append(loss((moved[0], moved[1]) if head == "simcc" else moved[0], target)[name])
    assert ((ends[1] - ends[0]) / 2e-6).item() == pytest.approx(slope.item(), rel=1e-4)


@pytest.mark.parametrize("name", sorted({name for name, *_ in PARAMETERS}))
def test_no_parameter_is_left_out(name: str) -> None:
    defaults = parameters(name)
    chosen = [row for loss, row, *_ in PARAMETERS if loss == name]
    assert {key for row in chosen for key in row if row[key] != defaults[key]} == set(defaults)


def test_what_kal_learned_is_told_per_keypoint() -> None:
    loss = KALLoss(3)
    with torch.no_grad():
        loss.factor_logits.copy_(torch.tensor([-100.0, 0.0, 100.0]))
    assert loss.learned() == {"factor": [0.0, 0.5, 1.0]}
    assert MSELoss().learned() == {}


SMOOTH: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kl": kl,
    "kl beta 10": lambda p, y: kl(p, y, 10.0),
    "kl, RTMPose": lambda p, y: kl(p, y, 10.0, 10.0),
    "awing": awing,  # its gradient is written out
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


def test_the_factor_of_a_masked_keypoint_has_no_gradient() -> None:
    target = make_target("heatmap", instances=2, keypoints=3)
    target.weights[:, 2] = 0
    loss = FoWKALLoss(num_keypoints=3)
    sum(loss(random_prediction(target), target).values()).backward()
    assert (loss.factor_logits.grad[:2] != 0).all() and loss.factor_logits.grad[2] == 0


@pytest.mark.parametrize("regulariser", ["each", "mean"])
def test_a_batch_without_visible_keypoints_has_no_regulariser(regulariser: str) -> None:
    target = make_target("heatmap", keypoints=3)
    target.weights.zero_()
    loss = FoWKALLoss(3, regulariser=regulariser)
    torch.nn.init.constant_(loss.factor_logits, 2.0)
    assert [term.item() for term in loss(random_prediction(target), target).values()] == [0, 0]


def test_fowkal_names_a_wrong_number_of_keypoints() -> None:
    target = make_target("heatmap", keypoints=5)
    with pytest.raises(ValueError, match=r"fowkal loss: .*expected 17 keypoints \(num_keypoints\), found 5"):
        FoWKALLoss(num_keypoints=17)(random_prediction(target), target)


@pytest.mark.parametrize(("name", "theirs"), [("mse", "KeypointMSELoss"), ("awing", "AdaptiveWingLoss")])
def test_mse_and_awing_with_mmposes_reduction_are_mmposes(name: str, theirs: str) -> None:
    from mmpose.models import losses as mmposes

    target = make_target("heatmap")
    prediction = random_prediction(target)
    for masked in (slice(0), slice(None, None, 2)):
        target.weights[:, masked] = 0
        loss = getattr(mmposes, theirs)(use_target_weight=True)
        expected = loss(prediction, target.heatmaps, target.weights)
        found = build(name, {"reduction": "mmpose"}, 5)(prediction, target)[name]
        torch.testing.assert_close(found, expected)
        # Ours counts visible keypoints only.
        visible = build(name, {}, 5)(prediction, target)[name]
        torch.testing.assert_close(visible * target.weights.mean(), expected)


@pytest.mark.parametrize("beta", [1.0, 10.0])
def test_kl_with_mmposes_reduction_is_mmposes(beta: float) -> None:
    """mmpose: mean over bins, sum over the batch over K; here: sum over bins, mean over visible keypoints."""
    from mmpose.models.losses import KLDiscretLoss

    target = make_target("simcc")
    target.weights[1, 3] = target.weights[0, 0] = 0
    prediction = random_prediction(target)
    x, y = (label / label.sum(dim=-1, keepdim=True) for label in as_tuple(target.heatmaps))
    theirs = KLDiscretLoss(beta=beta)(prediction, (x, y), target.weights)
    torch.testing.assert_close(KLLoss(beta, reduction="mmpose")(prediction, target)["kl"], theirs)
    theirs = KLDiscretLoss(beta=beta, label_softmax=True)(prediction, target.heatmaps, target.weights)
    ours = KLLoss(beta, label_beta=10.0, reduction="mmpose")(prediction, target)["kl"]
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: KLLoss(beta=0), "kl loss: beta: expected a number above 0, found 0"),
        (lambda: AdaptiveWingLoss(alpha=2.0), "awing loss: alpha: expected a number above 2, found 2.0"),
        (lambda: AdaptiveWingLoss(theta=0), "awing loss: theta: expected a number above 0, found 0"),
        (lambda: FoWKALLoss(3, gamma=0), "fowkal loss: gamma: expected a number above 0, found 0"),
        (lambda: MSELoss(reduction="sum"), "mse loss: reduction: expected .* found 'sum'"),
        (lambda: KLLoss(label_beta=0), "kl loss: label_beta: expected a number above 0, found 0"),
        (lambda: AdaptiveWingLoss(map_weight=-1), "map_weight: expected a number of at least 0, found -1"),
        (lambda: HeuristicLoss(dense_weight=-1), "dense_weight: expected a number .* found -1"),
        (lambda: HeuristicLoss(weighting="x"), "heuristic loss: weighting: expected 'none', .* found 'x'"),
        (lambda: KALLoss(3, regulariser_weight=-1), "kal loss: regulariser_weight: expected .* found -1"),
        (lambda: WAHRLoss(gamma=-1), "wahr loss: gamma: expected a number above 0, found -1"),
        (lambda: FWAHRLoss(tau=-1), "fwahr loss: tau: expected a number of at least 0, found -1"),
        (lambda: FoWKALLoss(3, tau=-1), "fowkal loss: tau: expected a number of at least 0, found -1"),
    ],
)
def test_bad_parameters_are_named(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
