"""The Rank & Sort operator against its definition, written as loops, and values worked out by hand."""

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from builders.processes import python
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rspose.losses import ap_loss, rank_sort
from rspose.losses.rank_sort.reference import rank_sort_reference, step

DELTAS = [0.0, 1e-3, 0.1, 0.5, 2.0]

# Triton chooses its interpreter when it is imported: the kernels are compared in a process of their own.
TRITON_ON_A_CPU = """
import sys, torch
from rspose.losses import rank_sort

def run(scores, labels, valid, delta, implementation):
    scores = scores.clone().requires_grad_()
    rank, sort = rank_sort(scores, labels, valid, delta, implementation)
    sums = rank.sum(), sort.sum(), (2 * rank + 3 * sort).sum()
    gradients = [torch.autograd.grad(each, scores, retain_graph=True)[0] for each in sums]
    return [rank.detach(), sort.detach(), *gradients]

for scores, labels, valid, delta in torch.load(sys.argv[1]):
    found = run(scores, labels, valid, delta, "triton")
    expected = run(scores, labels, valid, delta, "reference")
    tolerance = 1e-5 if scores.dtype == torch.float32 else 1e-12
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance / 10)
print("compared")
"""

# What the compiler makes of the kernels for a GPU, which needs no GPU.
TRITON_FOR_A_GPU = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from rspose.losses.rank_sort import triton_kernels as rank_sort_triton

kinds = {"count": "*i32", "places": "*i32", "positive": "*i1", "negative": "*i1", "length": "i32"}
for name in ("pack_positives", "sum_errors", "push_negatives", "pull_positives"):
    kernel = getattr(rank_sort_triton, name)
    for number in ("*fp32", "*fp64"):
        signature = {argument: kinds.get(argument, number) for argument in kernel.arg_names}
        for slope in [1.0, 0.0] if "slope" in kernel.arg_names else [None]:
            constants = {} if slope is None else {"slope": slope}
            kind = signature | dict.fromkeys(constants, "constexpr")
            source = ASTSource(fn=kernel, signature=kind, constexprs=constants)
            assert ".entry " + name in triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
print("compiled")
"""


@pytest.fixture(params=["pairs", "segments"])
def both_forms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of few positives are compared pair by pair; here also as rows of many are."""
    if request.param == "segments":
        monkeypatch.setattr(importlib.import_module("rspose.losses.rank_sort.operator"), "_FEW", 0)


def random_rows(seed: int, ties: bool, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Ten rows: without positives, all positive, with one positive, with one negative, and mixed ones."""
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(10, 30, generator=generator, dtype=dtype)
    labels = torch.rand(10, 30, generator=generator, dtype=dtype).clamp_min(0.01)
    positive = torch.rand(10, 30, generator=generator) < 0.3
    positive[0], positive[1] = False, True
    positive[2], positive[2, 7] = False, True
    positive[3], positive[3, 7] = True, False
    if ties:
        scores, labels = (scores * 2).round() / 2, (labels * 4).ceil() / 4
    return scores, labels.where(positive, 0)


def with_gradients(
    scores: Tensor, labels: Tensor, delta: float, implementation: str = "auto"
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    scores = scores.clone().requires_grad_()
    rank, sort = rank_sort(scores, labels, delta=delta, implementation=implementation)
    (rank_gradient,) = torch.autograd.grad(rank.sum(), scores, retain_graph=True)
    (sort_gradient,) = torch.autograd.grad(sort.sum(), scores)
    return rank.detach(), sort.detach(), rank_gradient, sort_gradient


def assert_as_defined(
    scores: Tensor, labels: Tensor, delta: float, implementation: str = "auto", tolerance: float = 1e-5
) -> None:
    """Values and gradients are those of the loops."""
    found = with_gradients(scores, labels, delta, implementation)
    expected = rank_sort_reference(scores.cpu(), labels.cpu(), delta)
    for name, a, b in zip(("rank", "sort", "rank gradient", "sort gradient"), found, expected, strict=True):
        close = {"rtol": tolerance, "atol": min(tolerance, 1e-6)}
        torch.testing.assert_close(a.cpu(), b, **close, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.usefixtures("both_forms")
@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_values_and_gradients_equal_the_definition(seed: int, ties: bool, delta: float) -> None:
    assert_as_defined(*random_rows(seed, ties), delta)


@pytest.mark.slow
def test_triton_kernels_equal_the_definition(tmp_path: Path) -> None:
    """In Triton's interpreter; rows of 700 elements with 35 positives fill several blocks."""
    inputs = [(*random_rows(1, ties), None, delta) for ties in (False, True) for delta in DELTAS]
    inputs += [(*random_rows(2, ties, torch.float64), None, 0.1) for ties in (False, True)]
    inputs += [(torch.zeros(shape), torch.zeros(shape), None, 0.5) for shape in ((0, 5), (3, 0), (3, 5))]
    scores, labels = random_rows(3, ties=False)
    valid = torch.rand(scores.shape, generator=torch.Generator().manual_seed(0)) < 0.6
    inputs.append((scores, labels, valid, 0.5))
    for mass in (1e-5, 3e-10, 3e-11):  # more than the published eps of misplaced mass, and less
        barely = torch.tensor([[0.0, mass - 0.5, -9.0], [0.0, -9.0, mass - 0.5]], dtype=torch.float64)
        inputs.append((barely, torch.tensor([[1.0, 0.5, 0.0]] * 2, dtype=torch.float64), None, 0.5))
    generator = torch.Generator().manual_seed(4)
    long = torch.randn(2, 700, generator=generator)
    inputs.append((long, torch.rand(2, 700, generator=generator) * (torch.arange(700) % 20 < 1), None, 0.5))
    torch.save(inputs, tmp_path / "inputs.pt")
    said = python("-c", TRITON_ON_A_CPU, tmp_path / "inputs.pt", TRITON_INTERPRET="1")
    assert said.endswith("compared\n"), said


@pytest.mark.slow
def test_triton_kernels_compile_for_a_gpu(tmp_path: Path) -> None:
    said = python("-c", TRITON_FOR_A_GPU, TRITON_CACHE_DIR=str(tmp_path))
    assert said.endswith("compiled\n"), said


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch sees")
@pytest.mark.parametrize("implementation", ["triton", "torch"])
@pytest.mark.parametrize("delta", DELTAS)
def test_on_a_gpu_values_and_gradients_equal_the_definition(delta: float, implementation: str) -> None:
    scores, labels = random_rows(1, ties=True)
    assert_as_defined(scores.cuda(), labels.cuda(), delta, implementation)


def test_the_reference_is_an_implementation_too() -> None:
    assert_as_defined(*random_rows(1, ties=False), 0.5, "reference", tolerance=0)


@pytest.mark.usefixtures("both_forms")
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_bucketed_ranking_is_exact_without_smoothing(seed: int, ties: bool) -> None:
    """Theorem 4.1 of the paper."""
    assert_as_defined(*random_rows(seed, ties), 0.0, "bucketed")


def test_bucketed_ranking_is_close_with_smoothing() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 3072, generator=generator)
    labels = torch.rand(3, 3072, generator=generator) * (torch.arange(3072) < 169)
    approximate, exact = (with_gradients(scores, labels, 0.5, name) for name in ("bucketed", "torch"))
    torch.testing.assert_close(approximate[0], exact[0], rtol=1e-3, atol=0)
    # Single pixels in a wide gap between positives are off by half, all of them together by a hundredth.
    assert ((approximate[2] - exact[2]).abs().sum(1) < 0.02 * exact[2].abs().sum(1)).all()


def bucketed_row(scores: list[float], labels: list[float], delta: float) -> tuple[float, list[float]]:
    """Ranking error of one row and its gradient, each negative at the mean of those between two positives."""
    positives = [i for i, y in enumerate(labels) if y > 0]
    gradient = [0.0] * len(scores)
    if not positives:
        return 0.0, gradient
    lowest = min(scores[i] for i in positives) - delta
    buckets: dict[int, list[int]] = {}
    for j, y in enumerate(labels):
        if y == 0 and scores[j] >= lowest:
            buckets.setdefault(sum(scores[i] <= scores[j] for i in positives), []).append(j)
    means = {b: sum(scores[j] for j in members) / len(members) for b, members in buckets.items()}
    total = 0.0
    for i in positives:
        rank_plus = sum(step(scores[j] - scores[i], delta) for j in positives)
        above = {j: step(means[b] - scores[i], delta) for b, members in buckets.items() for j in members}
        rank = rank_plus + sum(above.values())
        total += sum(above.values()) / rank
        gradient[i] -= sum(above.values()) / rank
        for j, value in above.items():
            gradient[j] += value / rank
    return total / len(positives), [value / len(positives) for value in gradient]


def assert_as_looped(row: Callable[..., Any], scores: Tensor, labels: Tensor, *found: Tensor) -> None:
    """Value and gradient of each row are those of a loop over it."""
    for ours, *given in zip(zip(*found, strict=True), scores.tolist(), labels.tolist(), strict=True):
        value, gradient = row(*given)
        assert ours[0].item() == pytest.approx(value, abs=1e-9)
        assert ours[1].tolist() == pytest.approx(gradient, abs=1e-9)


@pytest.mark.usefixtures("both_forms")
@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_bucketed_ranking_equals_a_loop(ties: bool, delta: float) -> None:
    rows = random_rows(1, ties, torch.float64)
    rank, _, gradient, _ = with_gradients(*rows, delta, "bucketed")
    assert_as_looped(partial(bucketed_row, delta=delta), *rows, rank, gradient)


@pytest.mark.parametrize("implementation", ["torch", "bucketed"])
def test_no_tensor_holds_all_pairs_of_a_row_of_positives(implementation: str) -> None:
    sizes = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, operation: Any, _: Any, given: Any = (), named: Any = None) -> Any:
            found = operation(*given, **(named or {}))
            sizes.append(found.numel() if isinstance(found, Tensor) else 0)
            return found

    with Sizes():
        rank_sort(torch.randn(1, 3000), torch.rand(1, 3000), implementation=implementation)
    assert 3000 <= max(sizes) < 3000**2 / 30  # blocks of 2^18


@pytest.mark.parametrize(("mass", "passed_on"), [(1e-2, True), (1e-5, True), (3e-10, True), (3e-11, False)])
@pytest.mark.parametrize("form", ["reference", "pairs", "segments", "bucketed", "ap_loss"])
def test_errors_are_passed_on_down_to_the_published_eps(
    monkeypatch: pytest.MonkeyPatch, form: str, mass: float, passed_on: bool
) -> None:
    """A single false positive, or a single rival, with H = mass: no gradient if that is 1e-10 or less."""
    if form == "segments":
        monkeypatch.setattr(importlib.import_module("rspose.losses.rank_sort.operator"), "_FEW", 0)
    implementation = "torch" if form in ("pairs", "segments") else form
    # H(x) = x + 0.5 within delta = 0.5
    scores = torch.tensor([[0.0, mass - 0.5]], dtype=torch.float64, requires_grad=True)
    for label, which in ((0.0, 0), (0.5, 1)):
        labels = torch.tensor([[1.0, label]], dtype=torch.float64)
        if form == "ap_loss":  # of which the label says no more than that it is a positive
            error, value = mass / (1 + mass), ap_loss(scores, labels.floor(), delta=0.5)
        else:
            # Ranking error N_FP / rank; sorting error of the first of two positives (1 - label) H / rank+.
            error = mass / (0.5 + mass) * (1 - label) / (2 if label else 1)
            value = rank_sort(scores, labels, delta=0.5, implementation=implementation)[which]
        assert value.tolist() == pytest.approx([error], rel=1e-5, abs=0)
        (gradient,) = torch.autograd.grad(value.sum(), scores)
        expected = [-error, error] if passed_on else [0, 0]
        assert gradient[0].tolist() == pytest.approx(expected, rel=1e-5, abs=0)


def ap_loss_row(scores: list[float], labels: list[float], delta: float) -> tuple[float, list[float]]:
    """AP loss of one row and its gradient, as the published code goes: positives from the lowest score up."""
    positives = [i for i, y in enumerate(labels) if y > 0]
    negatives = [j for j, y in enumerate(labels) if y == 0]
    best, precisions, gradient = 0.0, 0.0, [0.0] * len(scores)
    for i in sorted(positives, key=lambda i: scores[i]):
        rank_plus = 1 + sum(step(scores[j] - scores[i], delta) for j in positives if j != i)
        above = {j: step(scores[j] - scores[i], delta) for j in negatives}
        rank = rank_plus + sum(above.values())
        share = {j: value / rank for j, value in above.items()}
        precision = rank_plus / rank
        if best <= precision:
            best = precision
        else:
            share = {j: value * (1 - best) / (1 - precision) for j, value in share.items()}
        precisions += best
        gradient[i] = -sum(share.values())
        for j, value in share.items():
            gradient[j] += value
    if not positives:
        return 0.0, gradient
    return 1 - precisions / len(positives), [value / len(positives) for value in gradient]


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("seed", [0, 1])
def test_ap_loss_equals_a_loop(seed: int, delta: float) -> None:
    scores, labels = random_rows(seed, ties=False, dtype=torch.float64)
    scores.requires_grad_()
    value = ap_loss(scores, labels, delta=delta)
    (gradient,) = torch.autograd.grad(value.sum(), scores)
    assert_as_looped(partial(ap_loss_row, delta=delta), scores, labels, value, gradient)


def test_ap_loss_is_one_minus_the_average_precision_of_a_ranked_list() -> None:
    """Without smoothing and interpolation: the mean, over positives, of the precision at their score."""
    scores, labels = random_rows(3, ties=False, dtype=torch.float64)
    found = ap_loss(scores, labels, delta=0, interpolate=False)
    for m in range(len(scores)):
        ranked = [labels[m, j].item() > 0 for j in scores[m].argsort(descending=True).tolist()]
        precisions = [sum(ranked[: n + 1]) / (n + 1) for n, positive in enumerate(ranked) if positive]
        expected = 1 - sum(precisions) / len(precisions) if precisions else 0
        assert found[m].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.usefixtures("both_forms")
@pytest.mark.parametrize("delta", DELTAS)
def test_float64_stays_float64_and_is_exact(delta: float) -> None:
    scores, labels = random_rows(3, ties=True, dtype=torch.float64)
    assert_as_defined(scores, labels, delta, tolerance=1e-9)


@pytest.mark.usefixtures("both_forms")
def test_more_rows_than_a_block_holds() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 900, generator=generator)
    labels = torch.rand(40, 900, generator=generator) * (torch.arange(900) % 11 == 0)
    assert_as_defined(scores, labels, 0.5)


def test_more_positives_than_a_block_holds() -> None:
    """A row of 1,100 positives is compared block by block; a row beside it has few."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 1100, generator=generator, dtype=torch.float64)
    labels = torch.rand(2, 1100, generator=generator, dtype=torch.float64).clamp_min(0.01)
    labels[1, 5:] = 0
    assert_as_defined(scores, labels, 0.5, tolerance=1e-9)


@pytest.mark.parametrize(
    ("scores", "errors", "gradients"),
    [
        # Positive (y 1) above negative above positive (y .5): the last has rank+ 1.5 and one false positive.
        ([30.0, 10.0, 20.0], (1 / 2.5, 0), ([0, -1, 1], [0, 0, 0])),
        # The better (y 1) below the worse (y .5): l_S = (.5*0 + 1*.5) / 1.5, its target 0; no other error.
        ([10.0, 20.0, 0.0], (0, 0.5 / 1.5), ([0, 0, 0], [-1, 1, 0])),
    ],
)
def test_a_misplaced_or_missorted_positive_worked_out_by_hand(
    scores: list[float], errors: tuple[float, float], gradients: tuple[list[float], list[float]]
) -> None:
    rank, sort, *found = with_gradients(torch.tensor([scores]), torch.tensor([[1.0, 0.5, 0.0]]), 0.5)
    for value, gradient, error, signs in zip((rank, sort), found, errors, gradients, strict=True):
        torch.testing.assert_close(value, torch.tensor([error / 2]))
        torch.testing.assert_close(gradient, torch.tensor([signs]) * error / 2)


@pytest.mark.usefixtures("both_forms")
def test_without_smoothing_ties_count_in_full() -> None:
    """H(0) = 1 for delta = 0: a positive and a negative with equal scores make rank 2, ranking error 1/2."""
    rank, _ = rank_sort(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), delta=0)
    assert rank.item() == 0.5


@pytest.mark.usefixtures("both_forms")
def test_equal_scores_give_the_known_error_at_initialisation() -> None:
    """N negatives, P positives, all scores equal: ranking error N / (N + P), for any delta above 0."""
    labels = torch.zeros(1, 3072)
    labels[0, :169] = 0.7
    for delta in (0.1, 0.5, 2.0):
        rank, sort = rank_sort(torch.zeros(1, 3072), labels, delta=delta)
        assert rank.item() == pytest.approx((3072 - 169) / 3072, abs=1e-6)
        assert sort.item() == pytest.approx(0, abs=1e-6)


def test_rank_and_sort_are_weighted_separately() -> None:
    scores, labels = random_rows(5, ties=False, dtype=torch.float64)
    _, _, rank_gradient, sort_gradient = with_gradients(scores, labels, 0.5)
    scores.requires_grad_()
    rank, sort = rank_sort(scores, labels)
    weights = torch.linspace(0, 3, 10, dtype=torch.float64)
    (weights * rank + 7 * sort).sum().backward()
    torch.testing.assert_close(scores.grad, weights[:, None] * rank_gradient + 7 * sort_gradient)


@pytest.mark.usefixtures("both_forms")
def test_invalid_elements_are_as_good_as_removed() -> None:
    generator = torch.Generator().manual_seed(6)
    scores = torch.randn(1, 40, generator=generator).requires_grad_()
    labels = torch.rand(1, 40, generator=generator) * (torch.rand(1, 40, generator=generator) < 0.4)
    valid = torch.rand(1, 40, generator=generator) < 0.6
    rank, sort = rank_sort(scores, labels, valid)
    (gradient,) = torch.autograd.grad((rank + 2 * sort).sum(), scores)
    kept = scores.detach()[valid][None].requires_grad_()
    kept_rank, kept_sort = rank_sort(kept, labels[valid][None])
    (kept_gradient,) = torch.autograd.grad((kept_rank + 2 * kept_sort).sum(), kept)
    torch.testing.assert_close((rank, sort), (kept_rank, kept_sort))
    torch.testing.assert_close(gradient[valid][None], kept_gradient)
    assert (gradient[~valid] == 0).all()


@pytest.mark.usefixtures("both_forms")
@pytest.mark.parametrize("shift", [-1000.0, 3.0, 1000.0])
def test_a_constant_added_to_a_row_changes_nothing(shift: float) -> None:
    scores, labels = random_rows(7, ties=True, dtype=torch.float64)
    found, expected = (with_gradients(each, labels, 0.5) for each in (scores + shift, scores))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("both_forms")
@pytest.mark.parametrize("delta", [0.0, 0.5])
@pytest.mark.parametrize("extreme", [1e15, torch.finfo(torch.float32).max])
def test_scores_far_out_count_like_all_others(extreme: float, delta: float) -> None:
    """Masked scores are often the lowest number that there is."""
    scores, labels = random_rows(7, ties=False)
    scores[labels == 0] += torch.tensor([-extreme, 0.0, extreme])[torch.arange(int((labels == 0).sum())) % 3]
    assert_as_defined(scores, labels, delta)


@pytest.mark.usefixtures("both_forms")
def test_rows_without_positives_need_not_be_contiguous() -> None:
    scores = torch.randn(30, 10).t().requires_grad_()
    for values in (rank_sort(scores, torch.zeros(10, 30)), [ap_loss(scores, torch.zeros(10, 30))]):
        (gradient,) = torch.autograd.grad(sum(value.sum() for value in values), scores)
        assert not gradient.any()


@pytest.mark.usefixtures("both_forms")
@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (3, 1), (1, 1)])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_degenerate_shapes_are_finite(shape: tuple[int, int], label: float) -> None:
    scores = torch.randn(shape, requires_grad=True)
    rank, sort = rank_sort(scores, torch.full(shape, label))
    (rank.sum() + sort.sum()).backward()
    assert rank.shape == sort.shape == shape[:1]
    assert (rank == 0).all() and (sort == 0).all() and (scores.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_under_autocast_too(dtype: torch.dtype) -> None:
    scores, labels = random_rows(9, ties=False)
    given = scores.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = *rank_sort(given, labels), ap_loss(given, labels)
    rows = zip(given.tolist(), labels.tolist(), strict=True)
    average_precision = torch.tensor([ap_loss_row(*row, delta=1.0)[0] for row in rows])
    expected = *rank_sort_reference(given.float(), labels, 0.5)[:2], average_precision
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)  # of one type too


@pytest.mark.parametrize(
    ("function", "shapes", "given", "message"),
    [
        (rank_sort, [(2, 3), (3, 2)], {}, r"scores and labels \[M, N\], found \[2, 3\] and \[3, 2\]"),
        (rank_sort, [(2, 3), (2, 3), (2, 2)], {}, r"valid shaped like scores, found \[2, 3\] and \[2, 2\]"),
        (rank_sort, [(2, 3)] * 2, {"delta": -1}, "delta: expected a number of at least 0, found -1"),
        (rank_sort, [(2, 3)] * 2, {"implementation": "cuda"}, "one of auto, reference, .* found 'cuda'"),
        (rank_sort, [(2, 3)] * 2, {"dtype": torch.int64}, "in floating point, found int64 and float32"),
        (ap_loss, [(2, 3)] * 2, {"dtype": torch.int64}, "in floating point, found int64 and float32"),
    ],
)
def test_wrong_arguments_are_named(
    function: Callable[..., Any], shapes: list[tuple[int, int]], given: dict[str, Any], message: str
) -> None:
    scores, *others = (torch.zeros(shape) for shape in shapes)
    options = {key: value for key, value in given.items() if key != "dtype"}
    with pytest.raises(ValueError, match=message):
        function(scores.to(given.get("dtype")), *others, **options)
