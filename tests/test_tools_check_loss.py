"""What every registered loss promises on every head it serves; a loss that is added is under it at once.

The promises are the checks of :mod:`rspose.tools.check_loss`, which `rspose check-loss` runs too. That each
of them can fail is shown here on losses that break it.
"""

import dataclasses
import doctest
import pkgutil
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from builders.grid import REPOSITORY
from builders.losses import every_loss_and_head
from builders.targets import gaussian_labels, make_target, on_maps, random_prediction
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

import rspose.baselines as baselines
import rspose.losses
from rspose.grid.config import load_config
from rspose.losses import (
    HeatmapLoss,
    KeypointTarget,
    Maps,
    PerMapLoss,
    as_tuple,
    available,
    build,
    load,
    parameters,
    register,
    visible_maps,
    visible_weights,
)
from rspose.tools.check_loss import (
    CHECKS,
    KEYPOINTS,
    Case,
    Finding,
    Violation,
    check_loss,
    described,
    description,
)
from rspose.tools.new_loss import new_loss


@every_loss_and_head
@pytest.mark.parametrize(
    "check",
    [pytest.param("compiled", marks=pytest.mark.slow), *(name for name in CHECKS if name != "compiled")],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_every_loss_keeps_what_a_check_asks(name: str, head: str, check: str) -> None:
    CHECKS[check](Case(name, head))


def cases_of_the_configs() -> dict[str, Case]:
    """Each loss with parameters other than its defaults that a config trains, on every head it serves."""
    found = {}
    for path in sorted((REPOSITORY / "config").glob("*.yaml")):
        config = load_config(path)
        for key in config.loss_settings:
            loss = config.loss_of(key, "heatmap")
            defaults = parameters(loss.loss)
            chosen = {name: value for name, value in loss.parameters.items() if value != defaults[name]}
            for head in available()[loss.loss].heads if chosen else ():
                said = ",".join(f"{name}={value}" for name, value in sorted(chosen.items()))
                found[f"{loss.loss}-{head}-{said}"] = Case(loss.loss, head, chosen)
    return found


CONFIGURED = cases_of_the_configs()


@pytest.mark.parametrize("case", CONFIGURED.values(), ids=list(CONFIGURED))
def test_the_losses_of_the_configs_keep_what_the_checks_ask(case: Case) -> None:
    for name, check in CHECKS.items():
        if name not in ("compiled", "one_batch"):  # slow, and run above for every loss
            check(case)


@pytest.mark.parametrize("name", available())
def test_every_loss_says_what_it_is_and_its_parameters_mean(name: str) -> None:
    assert description(name) == []


def terms_with_and_without_autocast(
    loss: HeatmapLoss, head: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    target = make_target(head)
    # Between pixels, where DM weighs four of them.
    place = target.keypoints + torch.tensor([0.3, -0.2])
    target = dataclasses.replace(target, keypoints=place, heatmaps=gaussian_labels(head, place))
    prediction = random_prediction(target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(prediction, target)
    # Not by calling the loss: what it does about autocast, it may do wrongly without autocast too.
    return inside, loss.terms(prediction, target)


@every_loss_and_head
def test_single_precision_stays_so_under_autocast(name: str, head: str) -> None:
    inside, outside = terms_with_and_without_autocast(build(name, {}, KEYPOINTS), head)
    assert inside == outside
    assert {term.dtype for term in inside.values()} == {torch.float32}


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
    # "as the prediction has": either may be the wrong one.
    expect(r"target.weights: expected shape \[4, 5\], as .*, found \[4, 1\]", weights=target.weights[:, :1])
    for wrong, said in ((-1.0, "-1"), (float("inf"), "inf"), (float("nan"), "nan")):
        for argument in ("weights", "scale", "sigmas"):
            changed = getattr(target, argument).clone().fill_(wrong)
            expected = f"target.{argument}: expected finite values of at least 0, found {said}"
            expect(expected, **{argument: changed})
    places = target.keypoints.clone()
    places[0, 0, 1] = float("nan")
    expect("target.keypoints: expected finite places of visible keypoints, found NaN", keypoints=places)
    hidden = dataclasses.replace(target, keypoints=places, weights=target.weights.clone())
    hidden.weights[0, 0] = 0
    assert all(term.isfinite() for term in loss(prediction, hidden).values())
    flat = on_maps(lambda map_: map_[..., :0], prediction)
    expect("prediction: expected maps with pixels, found shape", flat, heatmaps=flat)
    expect(r"target.keypoints: expected shape \[4, 5, 2\], as .*, found \[4, 5\]", keypoints=target.weights)
    expect(r"target.scale: expected shape \[4\], as .*, found \[3\]", scale=target.scale[1:])
    expect(r"target.sigmas: expected shape \[5\], as .*, found \[4\]", sigmas=target.sigmas[1:])
    with pytest.raises(ValueError, match=f"{name} loss: target: expected a KeypointTarget, found a Tensor"):
        loss(prediction, torch.zeros(4, 5))
    expect("prediction: expected a tensor, or a tuple of two, found a list", [prediction])
    expect("target.scale: expected a tensor, found a float", scale=3.0)
    for rounded in (lambda y: y * (1 + 1e-6), lambda y: y - 1e-6):
        labels = on_maps(rounded, target.heatmaps)
        terms = loss(prediction, dataclasses.replace(target, heatmaps=labels)).values()
        gradients = torch.autograd.grad(sum(terms), as_tuple(prediction), allow_unused=True)
        assert all(each.isfinite().all() for each in (*terms, *gradients) if each is not None)
    other = make_target("heatmap" if head == "simcc" else "simcc").heatmaps
    expect(f"target.heatmaps: expected labels for a {head} head", heatmaps=other)


def test_the_checks_of_each_step_can_be_left_out() -> None:
    loss, target = build("mse", {}, KEYPOINTS), make_target("heatmap")
    prediction = random_prediction(target)
    expected = loss(prediction, target)
    target.scale[0] = -1
    with pytest.raises(ValueError, match=r"mse loss: target\.scale"):
        loss(prediction, target)
    loss.checks = False
    assert loss(prediction, target) == expected


def test_a_loss_refuses_a_head_it_does_not_serve() -> None:
    class HeatmapOnly(type(build("mse", {}, KEYPOINTS))):  # type: ignore[misc]
        name = "flat"
        heads = ("heatmap",)

    target = make_target("simcc")
    with pytest.raises(
        ValueError, match=r"flat loss: prediction: expected .*'heatmap'.*found that of a simcc head"
    ):
        HeatmapOnly()(random_prediction(target), target)


@pytest.mark.parametrize(
    "module",
    [
        module.name
        for package in (rspose.losses, baselines)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ],
)
def test_examples_in_docstrings_run_as_printed(module: str) -> None:
    assert doctest.testmod(pytest.importorskip(module)).failed == 0  # Triton is not everywhere installed


class Squared(PerMapLoss):
    """Squared error, kept whole: what breaks it is put over it."""

    name = "broken"
    title = "Broken"
    reference = "none"

    def map_loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        return (prediction - label).square().mean(dim=-1)


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_a_loss_that_multiplies_matrices_need_not_know_of_autocast(head: str) -> None:
    class Product(Squared):
        """Autocast would compute the product in bfloat16."""

        def map_loss(self, prediction: Tensor, label: Tensor) -> Tensor:
            difference = prediction - label
            return (difference[:, None] @ difference[:, :, None]).flatten() / difference.shape[1]

    inside, outside = terms_with_and_without_autocast(Product(), head)
    assert inside == outside
    assert inside["broken"].dtype == torch.float32


def unmasked(self: HeatmapLoss, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
    return {"x": (prediction[0] - target.heatmaps[0]).square().mean() + prediction[1].square().mean()}


def values(prediction: Maps, target: KeypointTarget) -> Tensor:
    pairs = zip(visible_maps(prediction, target), visible_maps(target.heatmaps, target), strict=True)
    return sum((p - y).square().mean(-1) for p, y in pairs)


def leaking(self: HeatmapLoss, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
    map_ = prediction[0]
    return {"x": values(prediction, target).mean() + 0.5 * (map_ - map_.detach()).sum()}


def overwriting(self: HeatmapLoss, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
    terms = Squared.terms(self, prediction, target)
    target.scale.mul_(2)
    return terms


def swallowing_the_dtype(self: HeatmapLoss, prediction: Maps, target: KeypointTarget) -> dict[str, Tensor]:
    return {"x": sum(Squared.terms(self, prediction, target).values()).to(torch.float32)}


def holding(made: Callable[[], object]) -> dict[str, Callable]:
    """The constructor of a loss that keeps something as ``own``."""

    def __init__(self: HeatmapLoss) -> None:
        HeatmapLoss.__init__(self)
        self.own = made()

    return {"__init__": __init__}


BROKEN: dict[str, tuple[str, Callable | dict[str, Callable], str]] = {
    "NaN": (
        "terms",
        lambda self, p, y: (p - y).mean(-1) * float("nan"),
        "term 'broken': expected finite numbers, found nan",
    ),
    "detached": (
        "terms",
        lambda self, p, y: (p.detach() - y).square().mean(-1),
        "no gradient reaches the prediction",
    ),
    "no scalar": (
        "terms",
        {"terms": lambda self, p, target: {"x": values(p, target)}},
        r"term 'x': expected a scalar tensor, found shape \[20\]",
    ),
    "the sum of everything": (
        "terms",
        lambda self, p, y: (p - y).square().sum(),
        r"raises ValueError: broken loss: map_loss: expected a number a map, shape \[20\], found shape \[\]",
    ),
    "a float": (
        "terms",
        lambda self, p, y: 0.5,
        r"raises ValueError: broken loss: map_loss: expected a number a map, shape \[20\], found a float",
    ),
    "no dict": ("terms", {"terms": lambda self, p, target: p[0].sum()}, "dict of named terms, found Tensor"),
    "a shape it cannot take": (
        "terms",
        lambda self, p, y: (p.view(-1, 7) - 1).square().mean(-1),
        r"raises RuntimeError: .*invalid.*\(test_tools_check_loss.py, line \d+\); maps were \[4, 5, 48\]",
    ),
    "logits without a sigmoid": (
        "raw_output",
        lambda self, p, y: binary_cross_entropy_with_logits(p, y, reduction="none").mean(-1),
        "the loss is .* where the output is the logit of the label, .* is the label: write to_heatmaps",
    ),
    "log-likelihoods without a softmax": (
        "raw_output",
        lambda self, p, y: -(y * p.log_softmax(-1)).sum(-1),
        "where the output is the log of the label, .*: write to_heatmaps",
    ),
    "masked keypoints in the mean": ("masked_keypoints", {"terms": unmasked}, "depends on masked keypoints"),
    "a gradient on masked keypoints": (
        "masked_keypoints",
        {"terms": leaking},
        r"masked keypoints \(weight 0\) get a gradient, up to 0.5",
    ),
    "a sum instead of a mean": (
        "weights",
        {"terms": lambda self, p, target: {"x": (visible_weights(target) * values(p, target)).sum()}},
        "twice the weights change the loss",
    ),
    "the mean of nothing": (
        "nothing_visible",
        {"terms": lambda self, p, target: {"x": values(p, target).mean()}},
        "without visible keypoints gives nan, not 0",
    ),
    "a constant for nothing": (
        "empty_batch",
        {"terms": lambda self, p, target: {"x": Squared.terms(self, p, target)["broken"] + (len(p[0]) == 0)}},
        "an empty batch gives 1, not 0",
    ),
    "a deviation over keypoints": (
        "shapes",
        lambda self, p, y: (p - y).square().mean(-1) / (p - y).std(dim=0).mean(),
        r"1 instance\(s\) with 1 keypoint\(s\): expected finite numbers, found nan",
    ),
    "the wrong sign": (
        "better_than_shifted",
        lambda self, p, y: -(p - y).square().mean(-1),
        "a perfect prediction costs -?0, one 1 pixels aside -.*: the value must fall",
    ),
    "the lower the output the better": (
        "better_than_noise",
        lambda self, p, y: p.mean(-1),
        "a map of zeros .*: the value must fall as the prediction gets better|noise",
    ),
    "better than perfect": (
        "noise_never_helps",
        lambda self, p, y: -(p - y).abs().mean(-1),
        "nothing may be better than perfect",
    ),
    "a peak that is welcome aside": (
        "moving_away",
        lambda self, p, y: ((p.argmax(-1) - y.argmax(-1)).abs() != 3) + 0 * p.sum(-1),
        "the loss falls from 2 to 1 when the peak moves from 2 to 3 pixels beside",
    ),
    "a heatmap aside": (
        "heatmap_of_a_perfect_prediction",
        {"to_heatmaps": lambda self, p, sigma: (p[0].roll(1, -1), p[1])},
        "peaks beside the keypoint; write to_heatmaps",
    ),
    "a heatmap beyond 1": (
        "heatmap_of_a_perfect_prediction",
        {"to_heatmaps": lambda self, p, sigma: (2 + p[0], 2 + p[1])},
        r"values from .* to .*, expected \[0, 1\]; write to_heatmaps",
    ),
    "a low confidence": (
        "heatmap_of_a_perfect_prediction",
        {"to_heatmaps": lambda self, p, sigma: (p[0].softmax(-1), p[1].softmax(-1))},
        "confidence of a perfect prediction is as low as 0.0",
    ),
    "a confidence that is always 1": (
        "confidence_of_a_split_prediction",
        {"to_heatmaps": lambda self, p, sigma: tuple(m / m.amax(-1, keepdim=True).clamp_min(0.1) for m in p)},
        "split into two peaks has a confidence of up to 1.00",
    ),
    "a positive that no pixel is": (
        "one_batch",
        {
            "map_loss": lambda self, p, y: focal(p.sigmoid(), y, y == 1),
            "to_heatmaps": lambda self, p, sigma: on_maps(torch.sigmoid, p),
        },
        r"a small network is \d\d\.\d pixels off .* to 0\.\d* \(expected .*: take the highest; ",
    ),
    "a division by the mass of the label": (
        "no_positives_or_all",
        lambda self, p, y: (p - y).square().sum(-1) / y.sum(-1),
        "labels of 0 everywhere .*: the loss: expected finite numbers, found (inf|nan)",
    ),
    "a root of 0": (
        "perfect_output",
        lambda self, p, y: (p - y).square().sum(-1).sqrt(),
        "the gradient .*a root.*: expected finite numbers, found .* NaN",
    ),
    "an exponential": (
        "huge_output",
        lambda self, p, y: (p - y).square().mean(-1).exp(),
        "of the order of 10000: the loss: expected finite numbers, found inf",
    ),
    "a deviation over bins": (
        "single_bin",
        lambda self, p, y: (p - y).square().mean(-1) + (p - y).std(-1),
        "a map of a single bin: the loss: expected finite numbers, found nan",
    ),
    "float16 inside": (
        "half_precision",
        {"terms": lambda self, p, target: {"x": values(p, target).mean().bfloat16()}},
        "bfloat16 input: term 'x': expected .* in float32, found .* in bfloat16",
    ),
    "float32 inside": ("double_precision", {"terms": swallowing_the_dtype}, "'x' comes out in float32"),
    "noise": (
        "same_bits",
        lambda self, p, y: (p + 0.1 * torch.rand_like(p) - y).square().mean(-1),
        "twice the same input gives two different results",
    ),
    "an interpolation": (
        "operations_on_a_gpu",
        lambda self, p, y: (interpolate((p - y)[None], scale_factor=2, mode="linear")[0] ** 2).mean(-1),
        "uses upsample_linear1d_backward, of which torch has no deterministic form on a GPU",
    ),
    "another formula when compiled": (
        "compiled",
        lambda self, p, y: (p - (0 if torch.compiler.is_compiling() else y)).square().mean(-1),
        "under torch.compile the value or the gradient comes out different",
    ),
    "a plain tensor": (
        "goes_to_a_gpu",
        holding(lambda: torch.ones(3)),
        r"self\.own is a plain tensor, which stays when .* self\.register_buffer\('own', tensor, persist",
    ),
    "a tensor to be learned": (
        "goes_to_a_gpu",
        holding(lambda: [torch.ones(3, requires_grad=True)]),
        r"self\.own requires a gradient, but no optimizer gets it; make it an nn\.Parameter",
    ),
    "a list of modules": (
        "goes_to_a_gpu",
        holding(lambda: [nn.Linear(2, 2)]),
        r"self\.own holds a module with weights that no optimizer gets; .*nn\.ModuleList",
    ),
    "a place on the CPU": (
        "goes_to_a_gpu",
        lambda self, p, y: ((p - y).square() * (1 + torch.arange(p.shape[1]))).mean(-1),
        r"on a GPU, mul mixes a tensor on the GPU with one on the CPU, of shape \[48\] "
        r"\(test_.*, line \d+\); make it where the prediction is",
    ),
    "input overwritten": ("input_untouched", {"terms": overwriting}, "target.scale was changed in place"),
}


def focal(confidence: Tensor, label: Tensor, positive: Tensor) -> Tensor:
    """CornerNet's focal loss, equation 1 (Law and Deng, ECCV 2018)."""
    p = confidence.clamp(1e-4, 1 - 1e-4)
    each = torch.where(positive, (1 - p) ** 2 * p.log(), (1 - label) ** 4 * p**2 * (1 - p).log())
    return -each.sum(-1) / positive.sum(-1).clamp_min(1)


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
@pytest.mark.parametrize("start", [0.0, 2.2])
def test_a_focal_loss_learns_only_from_a_start_as_low_as_cornernets(
    fresh_registry: None, head: str, start: float
) -> None:
    def map_loss(self: HeatmapLoss, p: Tensor, y: Tensor) -> Tensor:
        return focal((p - start).sigmoid(), y, y == y.amax(-1, keepdim=True))

    def to_heatmaps(self: HeatmapLoss, p: Maps, sigma: tuple[float, float]) -> Maps:
        return on_maps(lambda map_: (map_ - start).sigmoid(), p)

    broken({"map_loss": map_loss, "to_heatmaps": to_heatmaps})
    told = pytest.raises(Violation, match=r"background outweighs .* start lower: sigmoid\(output - 2.2\)")
    with nullcontext() if start else told:
        Case("broken", head).one_batch()


def broken(parts: dict[str, object]) -> None:
    register(type("Broken", (Squared,), {"__module__": __name__, "__doc__": "Broken.", **parts}))


def failures() -> list[Finding]:
    return [finding for finding in check_loss("broken") if finding.problem]


@pytest.mark.parametrize("why", BROKEN)
def test_a_loss_that_breaks_a_promise_is_told_which_and_how(fresh_registry: None, why: str) -> None:
    check, parts, words = BROKEN[why]
    broken({"heads": ("simcc",), **(parts if isinstance(parts, dict) else {"map_loss": parts})})
    if words.startswith("raises"):
        found = failures()[0].problem
    else:
        with pytest.raises(Violation) as raised:
            CHECKS[check](Case("broken", "simcc"))
        found = str(raised.value)
    assert re.search(words, found), found
    assert "\n" not in found


def test_every_check_is_shown_to_fail() -> None:
    assert {check for check, *_ in BROKEN.values()} == set(CHECKS)


def test_a_loss_that_cannot_be_run_is_not_reported_by_every_check(fresh_registry: None) -> None:
    broken({"terms": lambda self, prediction, target: 1 / 0})
    found = failures()
    assert [finding.head for finding in found] == ["heatmap", "heatmap", "simcc", "simcc"]
    assert "raises ZeroDivisionError: division by zero (test_tools_check_loss.py, line" in found[0].problem


@pytest.mark.parametrize(
    ("map_loss", "others"),
    [
        (lambda self, p, y: (p.detach() - y).square().mean(-1), len(CHECKS) - 1),
        (lambda self, p, y: binary_cross_entropy_with_logits(p, y, reduction="none").mean(-1), 8),
    ],
    ids=["detached", "no sigmoid"],
)
def test_one_mistake_is_said_once(
    fresh_registry: None, map_loss: Callable, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(CHECKS, "compiled")  # takes seconds
    broken({"map_loss": map_loss, "heads": ("simcc",)})
    _, not_run = failures()
    assert not_run.check == f"{others} further checks were not run."


def test_a_loss_that_serves_one_head_alone_is_told_how_to_say_so(
    fresh_registry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for slow in ("compiled", "one_batch"):
        monkeypatch.delitem(CHECKS, slow)
    broken({"map_loss": lambda self, p, y: (p - y).view(len(p), 32, 24).square().mean((1, 2))})
    said = next(finding for finding in check_loss("broken") if finding.head == "simcc").problem
    assert said.endswith('; if it is for the other head alone, say heads = ("heatmap",)'), said


class Undescribed(Squared):
    name = "broken"
    reference = ""

    def __init__(self, alpha: float, beta: float = 1.0) -> None:
        super().__init__()


def test_what_a_loss_does_not_say_of_itself_is_named(fresh_registry: None) -> None:
    register(Undescribed)
    assert description("broken") == [
        "class variable 'reference' is empty",
        "the class has no docstring: say what is compared with what, the formula, its source",
        "the docstring lacks 'alpha' under Args: its meaning and range",
        "parameter 'alpha' has no default: a config could not leave it out",
        "the docstring lacks 'beta' under Args: its meaning and range",
    ]


def test_an_example_that_does_not_print_what_it_says_is_named(fresh_registry: None, tmp_path: Path) -> None:
    path = new_loss("example_loss", tmp_path)
    path.write_text(path.read_text().replace("    Args:", "    >>> 1 + 1\n    3\n\n    Args:"))
    load(str(path))
    (found,) = description("example_loss")
    assert found == "an example in a docstring does not print what it says: 1 + 1 Expected: 3 Got: 2"


def test_what_both_heads_have_is_said_once() -> None:
    found = [("heatmap", "A.", "bad"), ("simcc", "A.", "bad"), ("simcc", "B.", "worse")]
    said = described("mse", [Finding(*each) for each in found])
    assert said.count("bad") == 1 and "  - B.\n    worse\n  - 1 as above\n" in said
