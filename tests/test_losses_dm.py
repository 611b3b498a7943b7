"""DM against exact transport: POT's solver in 2D, scipy's Wasserstein distance in 1D."""

import dataclasses
import math
import re
from collections.abc import Iterator

import numpy as np
import ot
import pytest
import torch
from builders.targets import SIGMA, SIZE, make_target, on_maps, random_prediction
from scipy.optimize import linprog
from scipy.stats import wasserstein_distance

from rspose.baselines.dm import DMLoss, dm, dm_1d
from rspose.losses import KeypointTarget, as_tuple
from rspose.losses.instance_sort import peak

HEIGHT, WIDTH = 12, 10


def places(height: int, width: int) -> np.ndarray:
    """Row and column of every pixel, ``[H * W, 2]``."""
    return np.stack(np.mgrid[:height, :width], axis=-1).reshape(-1, 2).astype(np.float64)


def corners(x: float, y: float, height: int, width: int) -> tuple[list[int], np.ndarray]:
    """Indices of the four pixels around a point inside the map, and their bilinear weights."""
    left, top = min(math.floor(x), width - 2), min(math.floor(y), height - 2)
    across, down = x - left, y - top
    indices = [row * width + column for row in (top, top + 1) for column in (left, left + 1)]
    return indices, np.outer([1 - down, down], [1 - across, across]).ravel()


def emd(supply: np.ndarray, cost: np.ndarray, demand: np.ndarray) -> float:
    """The Earth Mover's Distance by POT's exact solver."""
    takers, givers = demand > 0, supply > 1e-12
    return ot.emd2(supply[givers] / supply[givers].sum(), demand[takers], cost[givers][:, takers])


def pots_distance(supply: np.ndarray, x: float, y: float, height: int, width: int) -> float:
    """The Earth Mover's Distance to a point inside the map, in pixels."""
    indices, demand = corners(x, y, height, width)
    pixels = places(height, width)
    return emd(supply, ot.dist(pixels, pixels[indices], metric="euclidean"), demand)


def blob(x: float, y: float, width: float) -> torch.Tensor:
    """Logits of a Gaussian blob, for beta = 1."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return -((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2)


def test_2d_gradient_is_that_of_the_exact_distance() -> None:
    """Envelope theorem: no iteration is differentiated, yet each potential is within 0.1 pixels."""
    keypoint = (4.3, 6.8)
    logits = (blob(6.0, 5.0, 1.5).flatten()[None].double() + 0.3).requires_grad_()
    value = dm(logits, torch.tensor([keypoint], dtype=torch.float64), (HEIGHT, WIDTH), 1.0, 0.06, 500)
    (gradient,) = torch.autograd.grad(value.sum() * HEIGHT, logits)

    def exact(change: torch.Tensor) -> float:
        supply = (logits + change).detach().softmax(dim=-1).numpy()[0]
        return pots_distance(supply, *keypoint, HEIGHT, WIDTH)

    for place in (5 * WIDTH + 6, 7 * WIDTH + 4, 3 * WIDTH + 8):
        change = torch.zeros_like(logits)
        change[0, place] = 1e-2
        difference = (exact(change) - exact(-change)) / 2e-2
        mass = logits.softmax(dim=-1)[0, place].item()
        assert abs(difference) > 0.2 * mass
        assert gradient[0, place].item() == pytest.approx(difference, abs=0.1 * mass)


@pytest.mark.parametrize("keypoint", [0.0, 3.0, 7.25, 15.0, 40.0, -3.0])
def test_1d_is_the_wasserstein_distance(keypoint: float) -> None:
    logits = torch.randn(3, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = dm_1d(logits, torch.full((3,), keypoint, dtype=torch.float64), beta=2.0, power=1) * 16
    place = min(max(keypoint, 0), 15)
    left = min(math.floor(place), 14)
    takers, demand = [left, left + 1], [left + 1 - place, place - left]
    expected = [
        wasserstein_distance(range(16), takers, row.numpy(), demand) for row in (2 * logits).softmax(dim=-1)
    ]
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("power", [1, 2])
def test_1d_gradient_equals_finite_differences(power: int) -> None:
    logits = torch.randn(
        2, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True
    )
    keypoints = torch.tensor([2.3, 6.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: dm_1d(z, keypoints, 1.0, power), logits)


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_the_labels_have_no_part_in_it(head: str) -> None:
    target = make_target(head)
    blank = dataclasses.replace(target, heatmaps=on_maps(torch.zeros_like, target.heatmaps))
    prediction = random_prediction(target)
    assert DMLoss()(prediction, target)["dm"] == DMLoss()(prediction, blank)["dm"]


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_mass_in_one_place_gives_the_gaussian_label_there(head: str) -> None:
    target = make_target(head)
    point = on_maps(lambda y: 1000.0 * (y == y.amax(tuple(range(2, y.ndim)), True)), target.heatmaps)
    found = DMLoss().to_heatmaps(point, SIGMA[head])
    # The kernel ends at three sigma.
    torch.testing.assert_close(found, target.heatmaps, atol=math.exp(-4.5), rtol=0)


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_it_localises_by_gradient_descent_on_the_logits(head: str) -> None:
    """From a flat map with noise, every peak ends within a pixel of its sub-pixel keypoint."""
    target = make_target(head)
    target = dataclasses.replace(target, keypoints=target.keypoints + 0.3)
    prediction = on_maps(lambda p: (0.01 * p.detach()).requires_grad_(), random_prediction(target))
    optimiser = torch.optim.Adam(as_tuple(prediction), lr=0.2)
    loss = DMLoss()
    for _ in range(60):
        optimiser.zero_grad()
        loss(prediction, target)["dm"].backward()
        optimiser.step()
    _, location = peak(loss.to_heatmaps(prediction, SIGMA[head]))
    assert (location - target.keypoints).abs().max() < 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"beta": 0.0}, "dm loss: beta: expected a number above 0, found 0.0"),
        ({"beta": math.inf}, "dm loss: beta: expected a number above 0, found inf"),
        ({"beta_simcc": -1.0}, "dm loss: beta_simcc: expected a number above 0, found -1.0"),
        ({"epsilon": 1e-4}, "dm loss: epsilon: expected a number of at least 0.001, found 0.0001"),
        ({"epsilon": math.nan}, "dm loss: epsilon: expected a number of at least 0.001, found nan"),
        ({"power": 3}, "dm loss: power: expected 1 or 2, found 3"),
        ({"iterations": 0}, "dm loss: iterations: expected a whole number of at least 1, found 0"),
        ({"iterations": 2.5}, "dm loss: iterations: expected a whole number of at least 1, found 2.5"),
        ({"demand": "sub"}, "dm loss: demand: expected 'subpixel' or 'nearest', found 'sub'"),
        ({"transport": "exact"}, "dm loss: transport: expected 'entropic' or 'expected', found 'exact'"),
    ],
)
def test_bad_parameters_are_named_by_the_module_and_by_the_functions(parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DMLoss(**parameters)
    (name,) = parameters
    if name not in ("beta_simcc", "power"):
        with pytest.raises(ValueError, match=message):
            dm(torch.zeros(1, 12), torch.zeros(1, 2), (4, 3), **parameters)
    if name in ("beta", "power", "demand"):
        with pytest.raises(ValueError, match=message):
            dm_1d(torch.zeros(1, 12), torch.zeros(1), **parameters)


@pytest.mark.parametrize(
    ("maps", "keypoints", "size", "message"),
    [
        ((2, 12), (2, 2), (4, 4), r"prediction: expected shape \[2, 16\], found \[2, 12\]"),
        ((2, 4, 3), (2, 2), (4, 3), r"prediction: expected shape \[2, 12\], found \[2, 4, 3\]"),
        ((2, 12), (1, 2), (4, 3), r"keypoints: expected shape \[2, 2\], found \[1, 2\]"),
        ((2, 12), (2,), (4, 3), r"keypoints: expected shape \[2, 2\], found \[2\]"),
        ((2, 12), (2, 2), (12, 1), r"size: expected a height and a width of at least 2, found \(12, 1\)"),
        ((2, 12), (2, 2), None, r"keypoints: expected shape \[2\], found \[2, 2\]"),
        ((2, 12), (1,), None, r"keypoints: expected shape \[2\], found \[1\]"),
        ((2, 4, 3), (2,), None, r"prediction: expected shape \[M, N\], found \[2, 4, 3\]"),
    ],
)
def test_wrong_shapes_are_named(maps: tuple, keypoints: tuple, size: tuple | None, message: str) -> None:
    with pytest.raises(ValueError, match=f"dm loss: {message}"):
        if size:
            dm(torch.zeros(maps), torch.zeros(keypoints), size)
        else:
            dm_1d(torch.zeros(maps), torch.zeros(keypoints))


LARGE, WIDE = 64, 48  # the height and the width of the heatmaps of a training

WORST = [
    # Two spikes (column, row, mass) and a keypoint, from searches for the largest error: of this solver,
    ([(20, 31, 0.00012328), (16, 34, 0.99987672)], (20.21498759, 30.22170755)),
    ([(20, 29, 1.0)], (20.78376090, 30.78265173)),
    # and of Sinkhorn's iterations, which were here before.
    ([(47, 55, 0.6414), (20, 30, 0.3586)], (20.4591, 30.1485)),
    ([(21, 30, 0.3582), (0, 53, 0.6418)], (20.8518, 30.46)),
    ([(21, 31, 0.3577), (0, 9, 0.6423)], (20.8509, 30.5401)),
    ([(29, 41, 0.5282), (20, 30, 0.4718)], (20.0, 30.4845)),
    ([(30, 23, 0.4933), (20, 31, 0.5067)], (20.4506, 30.9999)),
    ([(32, 21, 0.5795), (20, 31, 0.4205)], (20.5343, 30.9992)),
]


def suppliers() -> list[tuple[torch.Tensor, tuple[float, float]]]:
    """Mass of each pixel, ``[64, 48]``, beside a keypoint: of every kind, those of the search included."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:LARGE, :WIDE]

    def peak(x: float, y: float, width: float) -> np.ndarray:
        return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * width**2))

    def spikes(parts: list[tuple[int, int, float]]) -> np.ndarray:
        mass = np.zeros((LARGE, WIDE))
        for column, row, part in parts:
            mass[row, column] += part
        return mass

    found = [(spikes(parts), keypoint) for parts, keypoint in WORST]
    for _ in range(5):
        x, y, far_x, far_y = generator.random(4) * (2 * (WIDE - 1.001, LARGE - 1.001))
        away = generator.normal(size=2)
        corner = generator.random(2) * 1.5
        share = generator.random()
        noise = generator.normal(size=(LARGE, WIDE))
        found += [
            (np.ones((LARGE, WIDE)), (x, y)),
            (peak(x, y, 0.3 + share), (x, y)),
            (peak(x + away[0], y + away[1], 1 + 2 * share), (x, y)),
            (peak(far_x, far_y, 1 + 2 * share), (x, y)),
            (spikes([(round(far_x), round(far_y), share), (round(x), round(y), 1 - share)]), (x, y)),
            (spikes([(round(far_x), round(far_y), 1.0)]), (x, y)),
            *((np.exp(sharpness * noise), (x, y)) for sharpness in (0.3, 1, 3)),
            # As of a trained network: a peak beside the keypoint, a second one elsewhere, a background.
            (peak(x + away[0], y, 1.5) + share * peak(far_x, far_y, 2) + 1e-3 * np.exp(noise), (x, y)),
            (peak(corner[0] - 1, corner[1], 1 + share), tuple(corner)),
            (peak(WIDE - corner[0], LARGE - corner[1], 1 + share), (WIDE - 1.001, LARGE - 1 - corner[1])),
        ]
    return [(torch.from_numpy(mass).flatten(), keypoint) for mass, keypoint in found]


def test_2d_errs_by_what_its_docstring_says_and_no_more() -> None:
    """The error against POT's exact solver."""
    masses, keypoints = zip(*suppliers(), strict=True)
    logits = torch.stack(masses).clamp_min(1e-30).log().float()
    supply = logits.double().softmax(dim=-1).numpy()
    exact = [pots_distance(a, *place, LARGE, WIDE) for a, place in zip(supply, keypoints, strict=True)]
    (limit,) = map(float, re.findall(r"found no error\s+above ([\d.]+) pixels", dm.__doc__ or ""))
    found = dm(logits, torch.tensor(keypoints), (LARGE, WIDE), beta=1.0) * LARGE
    error = torch.tensor(exact) - found
    assert 0.95 * limit < error.max() <= limit
    assert error.min() > -2e-4  # a lower bound
    assert found.min() > -2e-4


@pytest.mark.parametrize("epsilon", [0.005, 0.001])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_a_small_epsilon_is_stable_in_float32(epsilon: float, scale: float) -> None:
    """With mass in one pixel or everywhere, and demanders without demand: as in float64."""
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(8, LARGE * WIDE, generator=generator)
    keypoints = torch.rand(8, 2, generator=generator) * 40
    keypoints[::2] = keypoints[::2].round()
    values = []
    for dtype in (torch.float32, torch.float64):
        map_ = logits.to(dtype).requires_grad_()
        value = dm(map_, keypoints.to(dtype), (LARGE, WIDE), epsilon=epsilon, iterations=32)
        (gradient,) = torch.autograd.grad(value.sum(), map_)
        assert gradient.isfinite().all()
        values.append(value.detach().double() * LARGE)
    torch.testing.assert_close(*values, atol=2e-3, rtol=0)


def sub_pixel_target(head: str) -> KeypointTarget:
    target = make_target(head)
    generator = torch.Generator().manual_seed(2)
    aside = torch.rand(target.keypoints.shape, generator=generator) - 0.5
    weights = torch.rand(target.weights.shape, generator=generator)
    return dataclasses.replace(target, keypoints=target.keypoints + aside, weights=weights)


def mean(values: list[float], target: KeypointTarget) -> float:
    return float(np.average(values, weights=target.weights.flatten().numpy()))


def each(map_: torch.Tensor, beta: float) -> np.ndarray:
    """The suppliers of every keypoint, in float64."""
    return (beta * map_.detach().double().flatten(2).flatten(0, 1)).softmax(dim=-1).numpy()


Transport = tuple[np.ndarray, np.ndarray, np.ndarray]


def transports(
    target: KeypointTarget, prediction: torch.Tensor, beta: float, demand: str
) -> Iterator[Transport]:
    """Supply ``[H * W]``, distances to the demanders ``[H * W, 4]`` and their demand, of every keypoint."""
    width, height = SIZE["heatmap"]
    pixels = places(height, width)
    for supply, (x, y) in zip(each(prediction, beta), target.keypoints.flatten(0, 1).tolist(), strict=True):
        if demand == "nearest":
            x, y = math.floor(x + 0.5), math.floor(y + 0.5)
        indices, wanted = corners(x, y, height, width)
        yield supply, ot.dist(pixels, pixels[indices], metric="euclidean"), wanted


def expect_2d(
    values: list[float], target: KeypointTarget, prediction: torch.Tensor, loss: DMLoss, off: float
) -> None:
    """Value of the module, in pixels."""
    found = loss(prediction, target)["dm"].item() * SIZE["heatmap"][1]
    assert found == pytest.approx(mean(values, target), abs=off)


@pytest.mark.parametrize("beta", [1.0, 4.0])
@pytest.mark.parametrize("demand", ["subpixel", "nearest"])
@pytest.mark.parametrize("transport", ["entropic", "expected"])
def test_every_choice_of_the_2d_module_is_what_it_says(beta: float, demand: str, transport: str) -> None:
    """Against POT and the definition, on keypoints between the pixels."""
    target = sub_pixel_target("heatmap")
    prediction = random_prediction(target)
    each = list(transports(target, prediction, beta, demand))
    values = exact = [emd(*parts) for parts in each]
    if transport == "expected":  # exact for one demander, else an upper bound
        values = [supply @ cost @ wanted for supply, cost, wanted in each]
        excess = np.subtract(values, exact)
        assert abs(excess).max() < 1e-6 if demand == "nearest" else excess.min() > 1e-3
    loss = DMLoss(beta=beta, epsilon=0.002, iterations=24, demand=demand, transport=transport)
    expect_2d(values, target, prediction, loss, 2e-3)


@pytest.mark.parametrize("epsilon", [0.1, 0.5])
def test_the_module_takes_its_epsilon(epsilon: float) -> None:
    """The formula of the docstring at the potentials that POT's Sinkhorn iterations find."""
    target = sub_pixel_target("heatmap")
    prediction = random_prediction(target)
    values = []
    for supply, cost, wanted in transports(target, prediction, 10.0, "subpixel"):
        solver = {"method": "sinkhorn_log", "numItermax": 500, "stopThr": 1e-9, "log": True}
        dual = epsilon * ot.sinkhorn(supply, wanted, cost, epsilon, **solver)[1]["log_v"]
        values.append(supply @ (cost - dual).min(axis=1) + wanted @ dual)
    expect_2d(values, target, prediction, DMLoss(epsilon=epsilon), 1e-4)


def test_more_iterations_come_nearer_from_below() -> None:
    target = sub_pixel_target("heatmap")
    prediction = random_prediction(target)
    one, four, all_ = (DMLoss(iterations=count)(prediction, target)["dm"] for count in (1, 4, 16))
    assert one < four < all_


@pytest.mark.parametrize("cut", [1, 2.5])
@pytest.mark.parametrize("transport", ["entropic", "expected"])
def test_mass_beyond_the_cut_costs_no_more(cut: float, transport: str) -> None:
    target = sub_pixel_target("heatmap")
    prediction = random_prediction(target)
    each = [
        (supply, np.minimum(cost, cut), wanted)
        for supply, cost, wanted in transports(target, prediction, 4.0, "subpixel")
    ]
    assert max(cost.max() for _, cost, _ in each) == cut
    entropic = transport == "entropic"
    values = [emd(*parts) if entropic else parts[0] @ parts[1] @ parts[2] for parts in each]
    expect_2d(values, target, prediction, DMLoss(beta=4.0, epsilon=0.005, cut=cut, transport=transport), 2e-3)


def test_the_gradient_on_sharp_peaks_is_that_of_the_exact_distance() -> None:
    """A peak as a trained network has it, beside the keypoint: potentials by scipy's linear programming."""
    generator = torch.Generator().manual_seed(0)
    keypoints = torch.rand(24, 2, generator=generator, dtype=torch.float64) * 7 + 1
    errors = []
    for keypoint in keypoints:
        away = keypoint + 0.7 * torch.randn(2, generator=generator)
        logits = 3 * (
            1.2 * blob(*away.tolist(), 1.0).exp() + 0.05 * torch.randn(HEIGHT, WIDTH, generator=generator)
        )
        logits = logits.flatten()[None].double().requires_grad_()
        (found,) = torch.autograd.grad(dm(logits, keypoint[None], (HEIGHT, WIDTH)).sum() * HEIGHT, logits)
        supply = (10 * logits.detach()).softmax(dim=-1)[0].numpy()
        assert supply.max() > 0.3
        pixels = places(HEIGHT, WIDTH)
        indices, wanted = corners(*keypoint.tolist(), HEIGHT, WIDTH)
        potential = exact_potential(supply, ot.dist(pixels, pixels[indices], metric="euclidean"), wanted)
        exact = 10 * supply * (potential - supply @ potential)
        errors.append(np.linalg.norm(found[0].numpy() - exact) / np.linalg.norm(exact))
    assert np.median(errors) < 0.03
    assert max(errors) < 0.1


def exact_potential(supply: np.ndarray, cost: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """What the mass of each pixel costs at an optimum of the transport's dual."""
    pixels, takers = cost.shape
    below = np.hstack([np.repeat(np.eye(pixels), takers, axis=0), np.tile(np.eye(takers), (pixels, 1))])
    found = linprog(-np.r_[supply, wanted], below, cost.ravel(), bounds=(None, None))
    dual = found.x[pixels:]
    return (cost - dual).min(axis=1)


@pytest.mark.parametrize("beta", [1.0, 4.0])
@pytest.mark.parametrize("demand", ["subpixel", "nearest"])
@pytest.mark.parametrize("power", [1, 2])
def test_every_choice_of_the_1d_module_is_what_it_says(beta: float, demand: str, power: int) -> None:
    """Power 1 against scipy's Wasserstein distance, 2 against a loop, on keypoints between the bins."""
    target = sub_pixel_target("simcc")
    prediction = random_prediction(target)
    values = np.zeros(target.weights.numel())
    for axis, map_ in enumerate(prediction):
        bins = map_.shape[2]
        points = target.keypoints[..., axis].flatten().tolist()
        for index, (supply, place) in enumerate(zip(each(map_, beta), points, strict=True)):
            wanted = np.zeros(bins)
            if demand == "nearest":
                wanted[math.floor(place + 0.5)] = 1
            else:
                left = math.floor(place)
                wanted[left], wanted[left + 1] = left + 1 - place, place - left
            if power == 1:
                distance = wasserstein_distance(range(bins), range(bins), supply, wanted)
            else:
                distance = sum((supply[: n + 1].sum() - wanted[: n + 1].sum()) ** 2 for n in range(bins))
            values[index] += distance / bins
    found = DMLoss(beta_simcc=beta, power=power, demand=demand)(prediction, target)["dm"].item()
    assert found == pytest.approx(mean(list(values), target), rel=1e-5)


@pytest.mark.parametrize("transport", ["entropic", "expected"])
def test_the_naive_demander_is_the_nearest_pixel_or_halfway_the_one_to_the_right_or_below(
    transport: str,
) -> None:
    """For each of them alike: rounding to even numbers would put two keypoints a pixel apart on one pixel."""
    logits = torch.linspace(-1, 1, HEIGHT * WIDTH)[None]
    for between, on in ((4.5, 5.0), (5.5, 6.0), (6.6, 7.0), (2.3, 2.0)):
        found, expected = (
            dm(logits, torch.tensor([[place, place]]), (HEIGHT, WIDTH), demand=demand, transport=transport)
            for place, demand in ((between, "nearest"), (on, "subpixel"))
        )
        torch.testing.assert_close(found, expected)
        found = dm_1d(logits[:, :WIDTH], torch.tensor([between]), demand="nearest")
        torch.testing.assert_close(found, dm_1d(logits[:, :WIDTH], torch.tensor([on])))


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_the_heatmaps_are_the_same_under_autocast(head: str) -> None:
    target, loss = make_target(head), DMLoss()
    prediction = on_maps(torch.Tensor.detach, random_prediction(target))
    expected = loss.to_heatmaps(prediction, SIGMA[head])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss.to_heatmaps(prediction, SIGMA[head])
        half = loss.to_heatmaps(on_maps(torch.Tensor.bfloat16, prediction), SIGMA[head])
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert {low.dtype for low in (half if head == "simcc" else (half,))} == {torch.float32}
