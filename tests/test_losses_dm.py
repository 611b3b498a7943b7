"""DM against exact transport: linear programs in 2D, scipy's Wasserstein distance in 1D."""

import math

import numpy as np
import ot
import pytest
import torch
from losses_targets import SIGMA, make_target, on_maps, random_prediction
from scipy.optimize import linprog
from scipy.sparse import eye, hstack, kron
from scipy.stats import wasserstein_distance

from baselines.dm import DMLoss, dm, dm_1d
from rspose.losses import KeypointTarget, as_tuple

HEIGHT, WIDTH = 12, 10


def bilinear_demand(x: float, y: float) -> np.ndarray:
    """The four weights that represent a point between pixels, on the whole map."""
    demand = np.zeros((HEIGHT, WIDTH))
    left, top = min(math.floor(x), WIDTH - 2), min(math.floor(y), HEIGHT - 2)
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        demand[row, column] = (1 - abs(x - column)) * (1 - abs(y - row))
    return demand


def exact_emd(supply: np.ndarray, demand: np.ndarray) -> float:
    """Earth Mover's Distance in pixels between two maps, by the dual linear program."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    places = np.stack([rows.ravel(), columns.ravel()], axis=1)
    takers = np.flatnonzero(demand)
    cost = np.linalg.norm(places[:, None] - places[None, takers], axis=2)
    n, k = cost.shape
    constraints = hstack([kron(eye(n), np.ones((k, 1))), kron(np.ones((n, 1)), eye(k))])
    # Potentials are free up to a constant: the first demander's is fixed, the others are near it.
    bounds = [(None, None)] * n + [(0, 0)] + [(-3, 3)] * (k - 1)
    gain = np.concatenate([supply.ravel(), demand.ravel()[takers]])
    return -linprog(-gain, A_ub=constraints.tocsr(), b_ub=cost.ravel(), bounds=bounds).fun


def blob(x: float, y: float, width: float) -> torch.Tensor:
    """Logits of a Gaussian blob, for beta = 1."""
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return -((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2)


@pytest.mark.parametrize(
    ("keypoint", "centre", "width"),
    [
        ((4.3, 6.8), (4.3, 6.8), 0.5),
        ((4.3, 6.8), (4.9, 6.1), 0.7),
        ((4.0, 6.0), (4.0, 6.0), 0.2),
        ((4.5, 6.5), (4.0, 6.0), 0.2),
        ((4.3, 6.8), (8.0, 2.0), 1.0),
        ((2.2, 3.9), (5.0, 5.0), 50.0),
        ((9.0, 11.0), (7.0, 9.0), 2.0),
        ((0.0, 0.0), (1.0, 0.5), 1.0),
    ],
)
def test_2d_is_within_a_twelfth_of_a_pixel_below_the_exact_distance(
    keypoint: tuple[float, float], centre: tuple[float, float], width: float
) -> None:
    logits = blob(*centre, width).flatten()[None]
    found = dm(logits, torch.tensor([keypoint]), (HEIGHT, WIDTH), beta=1.0).item() * HEIGHT
    supply = logits.double().softmax(dim=-1).numpy().reshape(HEIGHT, WIDTH)
    exact = exact_emd(supply, bilinear_demand(*keypoint))
    assert exact - 1 / 12 <= found <= exact + 1e-4


def test_2d_between_two_pixels_is_a_distance() -> None:
    """All mass in one pixel, keypoint on another: the distance between them over the longer side."""
    logits = torch.full((1, HEIGHT * WIDTH), -100.0)
    logits[0, 2 * WIDTH + 1] = 100.0  # x = 1, y = 2
    assert dm(logits, torch.tensor([[4.0, 6.0]]), (HEIGHT, WIDTH)).item() == pytest.approx(
        5 / HEIGHT, abs=1e-4
    )


def test_2d_gradient_is_that_of_the_exact_distance() -> None:
    """Envelope theorem: no iteration is differentiated, yet each potential is within 0.1 pixels."""
    keypoint, demand = (4.3, 6.8), bilinear_demand(4.3, 6.8)
    logits = (blob(6.0, 5.0, 1.5).flatten()[None].double() + 0.3).requires_grad_()
    value = dm(logits, torch.tensor([keypoint], dtype=torch.float64), (HEIGHT, WIDTH), 1.0, 0.06, 500)
    (gradient,) = torch.autograd.grad(value.sum() * HEIGHT, logits)

    def exact(change: torch.Tensor) -> float:
        supply = (logits + change).detach().softmax(dim=-1).numpy().reshape(HEIGHT, WIDTH)
        return exact_emd(supply, demand)

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


def test_1d_squared_equals_a_loop() -> None:
    logits = torch.randn(1, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    supply, demand = logits[0].softmax(dim=-1).tolist(), [0, 0, 0.75, 0.25, 0, 0]
    expected = sum((sum(supply[: n + 1]) - sum(demand[: n + 1])) ** 2 for n in range(6)) / 6
    assert dm_1d(logits, torch.tensor([2.25]), power=2).item() == pytest.approx(expected)


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
    blank = KeypointTarget(
        on_maps(torch.zeros_like, target.heatmaps),
        target.keypoints,
        target.weights,
        target.scale,
        target.sigmas,
    )
    prediction = random_prediction(target)
    assert DMLoss()(prediction, target)["dm"] == DMLoss()(prediction, blank)["dm"]


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_mass_in_one_place_gives_the_gaussian_label_there(head: str) -> None:
    target = make_target(head)
    point = on_maps(
        lambda label: (
            1000.0 * (label == label.flatten(2).amax(-1).view(4, 5, *[1] * (label.ndim - 2))).float()
        ),
        target.heatmaps,
    )
    heatmaps = DMLoss().to_heatmaps(point, SIGMA[head])
    for found, label in zip(as_tuple(heatmaps), as_tuple(target.heatmaps), strict=True):
        torch.testing.assert_close(
            found, label, atol=math.exp(-4.5), rtol=0
        )  # the kernel ends at three sigma


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_it_localises_by_gradient_descent_on_the_logits(head: str) -> None:
    """From a flat map with noise, every peak ends within a pixel of its sub-pixel keypoint."""
    target = make_target(head)
    target = KeypointTarget(
        target.heatmaps, target.keypoints + 0.3, target.weights, target.scale, target.sigmas
    )
    prediction = on_maps(lambda p: (0.01 * p.detach()).requires_grad_(), random_prediction(target))
    optimiser = torch.optim.Adam(as_tuple(prediction), lr=0.2)
    loss = DMLoss()
    for _ in range(60):
        optimiser.zero_grad()
        loss(prediction, target)["dm"].backward()
        optimiser.step()
    heatmaps = loss.to_heatmaps(prediction, SIGMA[head])
    if isinstance(heatmaps, tuple):
        location = torch.stack([map_.argmax(dim=-1) for map_ in heatmaps], dim=-1)
    else:
        index = heatmaps.flatten(2).argmax(dim=-1)
        location = torch.stack([index % heatmaps.shape[3], index // heatmaps.shape[3]], dim=-1)
    assert (location - target.keypoints).abs().max() < 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"beta": 0.0}, "dm loss: beta: expected a number above 0, found 0.0"),
        ({"beta_simcc": -1.0}, "dm loss: beta_simcc: expected a number above 0, found -1.0"),
        ({"epsilon": 0.01}, "dm loss: epsilon: expected a number of at least 0.06, found 0.01"),
        ({"power": 3}, "dm loss: power: expected 1 or 2, found 3"),
        ({"iterations": 0}, "dm loss: iterations: expected a whole number of at least 1, found 0"),
    ],
)
def test_bad_parameters_are_named(parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DMLoss(**parameters)


def test_the_distance_is_that_of_pythons_optimal_transport() -> None:
    """POT's exact solver, on random maps of several sharpness."""
    generator = torch.Generator().manual_seed(0)
    places = np.stack(np.mgrid[:HEIGHT, :WIDTH], axis=-1).reshape(-1, 2).astype(np.float64)
    for sharpness in (0.3, 1.0, 3.0):
        logits = sharpness * torch.randn(1, HEIGHT * WIDTH, generator=generator)
        x, y = (torch.rand(2, generator=generator) * torch.tensor([WIDTH - 1.0, HEIGHT - 1.0])).tolist()
        supply = logits[0].double().softmax(0).numpy()
        demand = bilinear_demand(x, y).ravel()
        expected = ot.emd2(supply, demand, ot.dist(places, places, metric="euclidean"))
        found = dm(logits, torch.tensor([[x, y]]), (HEIGHT, WIDTH), beta=1.0).item() * HEIGHT
        assert found == pytest.approx(expected, abs=0.06)
        assert found <= expected + 1e-4  # a lower bound


@pytest.mark.parametrize("transport", ["entropic", "expected"])
def test_the_naive_demander_is_the_nearest_pixel(transport: str) -> None:
    logits = blob(4.0, 6.0, 1.5).reshape(1, -1)
    near, on = torch.tensor([[6.6, 2.3]]), torch.tensor([[7.0, 2.0]])
    size = (HEIGHT, WIDTH)
    naive = dm(logits, near, size, beta=1.0, demand="nearest", transport=transport)
    torch.testing.assert_close(naive, dm(logits, on, size, beta=1.0, transport=transport))
    x = torch.tensor([3.4])
    found = dm_1d(logits[:, :12], x, demand="nearest")
    torch.testing.assert_close(found, dm_1d(logits[:, :12], torch.tensor([3.0])))


def test_the_closed_form_is_the_expected_distance_and_exact_for_one_demander() -> None:
    logits = blob(4.0, 6.0, 1.5)
    supply = logits.double().flatten().softmax(0).reshape(HEIGHT, WIDTH).numpy()
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for x, y in ((7.0, 2.0), (6.3, 2.8)):
        demand = bilinear_demand(x, y)
        expected = sum(
            demand[row, column] * (supply * np.hypot(rows - row, columns - column)).sum()
            for row, column in zip(*np.nonzero(demand), strict=True)
        )
        found = dm(
            logits.reshape(1, -1), torch.tensor([[x, y]]), (HEIGHT, WIDTH), beta=1.0, transport="expected"
        )
        assert found.item() * HEIGHT == pytest.approx(expected, rel=1e-5)
        exact = exact_emd(supply, demand)
        if np.count_nonzero(demand) == 1:
            assert expected == pytest.approx(exact, rel=1e-6)
        else:
            assert expected > exact
