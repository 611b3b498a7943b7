"""What every loss promises, as checks that say in words what is wrong: `rspose check-loss`, and the tests.

A check is a function of a :class:`Case`, a loss on a head. It raises a :class:`Violation` that says what was
found and what to do. :data:`CHECKS` has them by name; the first line of the docstring is the promise.
"""

import contextlib
import dataclasses
import doctest
import inspect
import io
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rspose.losses.interface import HeatmapLoss, KeypointTarget, Maps, as_tuple
from rspose.losses.registry import available, build
from rspose.losses.registry import parameters as parameters_of

SIGMA = {"heatmap": (2.0, 2.0), "simcc": (4.9, 5.66)}
SIZE = {"heatmap": (24, 32), "simcc": (48, 64)}
"""Width and height of the maps, in map units."""
KEYPOINTS = 5


class Violation(AssertionError):
    """A promise that a loss does not keep; the message says what was found and what to do."""


@dataclass(frozen=True)
class Case:
    """A loss on a head.

    Attributes:
        name: Registered name of the loss.
        head: ``"heatmap"`` or ``"simcc"``.
        parameters: What differs from the defaults.
    """

    name: str
    head: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def loss(self, keypoints: int = KEYPOINTS) -> HeatmapLoss:
        """A new loss for this number of keypoints."""
        return build(self.name, self.parameters, keypoints)


def gaussian_labels(head: str, keypoints: Tensor) -> Maps:
    """Gaussian labels with peak 1 around keypoints ``[B, K, 2]``, for ``"heatmap"`` or ``"simcc"``."""
    x, y = (
        torch.exp(-((torch.arange(n, dtype=keypoints.dtype) - k[..., None]) ** 2) / (2 * s**2))
        for n, k, s in zip(SIZE[head], keypoints.unbind(-1), SIGMA[head], strict=True)
    )
    return (x, y) if head == "simcc" else y[..., :, None] * x[..., None, :]


def make_target(
    head: str,
    instances: int = 4,
    keypoints: int = KEYPOINTS,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> KeypointTarget:
    """Keypoints at random places well inside the map, on whole pixels, all visible."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor(SIZE[head], dtype=dtype)
    place = (0.25 + 0.5 * torch.rand(instances, keypoints, 2, generator=generator, dtype=dtype)) * size
    place = place.round()
    return KeypointTarget(
        heatmaps=gaussian_labels(head, place),
        keypoints=place,
        weights=torch.ones(instances, keypoints, dtype=dtype),
        scale=torch.full((instances,), float(size.min()) / 2, dtype=dtype),
        sigmas=torch.full((keypoints,), 0.08, dtype=dtype),
    )


def on_maps(function: Callable[[Tensor], Tensor], maps: Maps) -> Maps:
    """Apply a function to the map tensor (2D), or to both of a SimCC pair."""
    return (function(maps[0]), function(maps[1])) if isinstance(maps, tuple) else function(maps)


def noise(like: Maps, seed: int, scale: float = 1.0) -> Maps:
    """Normal raw output in the shape of ``like``."""
    generator = torch.Generator().manual_seed(seed)
    return on_maps(lambda map_: scale * torch.randn(map_.shape, generator=generator, dtype=map_.dtype), like)


def random_prediction(target: KeypointTarget, seed: int = 1) -> Maps:
    """Standard normal raw output in the shape of the target, with gradients."""
    return on_maps(Tensor.requires_grad_, noise(target.heatmaps, seed))


def total(loss: HeatmapLoss, prediction: Maps, target: KeypointTarget) -> Tensor:
    """The loss: the sum of its terms."""
    return sum(loss(prediction, target).values(), torch.zeros(()))


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


NOT_DETERMINISTIC_ON_A_GPU = frozenset(
    {
        "_adaptive_avg_pool2d_backward",
        "_adaptive_avg_pool3d_backward",
        "_ctc_loss_backward",
        "adaptive_max_pool2d_backward",
        "avg_pool3d_backward",
        "fractional_max_pool2d_backward",
        "grid_sampler_2d_backward",
        "grid_sampler_3d_backward",
        "histc",
        "max_pool3d_with_indices_backward",
        "max_unpool2d",
        "median.dim",
        "nll_loss2d_forward",
        "put_",
        "reflection_pad1d_backward",
        "reflection_pad2d_backward",
        "upsample_bicubic2d_backward",
        "upsample_bilinear2d_backward",
        "upsample_linear1d_backward",
        "upsample_trilinear3d_backward",
    }
)
"""Operations that raise an error on CUDA under ``torch.use_deterministic_algorithms(True)``, by aten's names.

From the documentation of that function, for torch 2.11. It names ``cumsum`` too, for which the library of
that version has no such error any more.
"""


class _Operations(TorchDispatchMode):
    """The names of all operations that are run, those of the backward pass too."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(func).removeprefix("aten.").removesuffix(".default"))
        return func(*args, **(kwargs or {}))


_MUST_FALL = "the value must fall as the prediction gets better"

CHECKS: dict[str, Callable[[Case], None]] = {}
"""The checks by name, in the order in which they are run."""


def _check(function: Callable[[Case], None]) -> Callable[[Case], None]:
    CHECKS[function.__name__] = function
    return function


@_check
def terms(case: Case) -> None:
    """Terms are named finite scalars with a gradient."""
    target = make_target(case.head)
    prediction = random_prediction(target)
    found = case.loss()(prediction, target)
    if not (isinstance(found, dict) and found and all(isinstance(term, str) for term in found)):
        raise Violation(f"terms: expected a dict of named terms, found {_type(found)}")
    for term, value in found.items():
        if not isinstance(value, Tensor) or value.shape != ():
            shape = f"shape {list(value.shape)}" if isinstance(value, Tensor) else _type(value)
            raise Violation(
                f"term {term!r}: expected a scalar tensor, found {shape}; take the mean over the keypoints "
                "with weighted_mean (map_loss returns one number a map, [M])"
            )
        _require_finite(f"term {term!r}", value)
    value = sum(found.values(), torch.zeros(()))
    if value.requires_grad:
        value.backward()
    for gradient in _gradients(prediction):
        if gradient is None or not (gradient != 0).any():
            raise Violation("no gradient reaches the prediction, nothing can be learned; is there a detach?")
        _require_finite("the gradient", gradient)


@_check
def masked_keypoints(case: Case) -> None:
    """Masked keypoints change neither value nor gradient."""
    target = make_target(case.head)
    target.weights[1, 2] = target.weights[3] = 0
    masked = target.weights == 0
    loss = case.loss()
    prediction, other = random_prediction(target), random_prediction(target)
    with torch.no_grad():
        for map_ in as_tuple(other):
            map_[masked] = 100 * torch.randn(
                map_[masked].shape, generator=torch.Generator().manual_seed(2), dtype=map_.dtype
            )
    value, other_value = total(loss, prediction, target), total(loss, other, target)
    advice = "compute only visible_maps(...), those of weight above 0, and take their weighted_mean"
    if value != other_value:
        raise Violation(
            f"the loss depends on masked keypoints (weight 0): {value:g} became {other_value:g} when only "
            f"their maps changed; {advice}"
        )
    value.backward()
    for gradient in _gradients(prediction):
        if (gradient[masked] != 0).any():
            raise Violation(
                f"masked keypoints (weight 0) get a gradient, up to {gradient[masked].abs().max():.2g}; "
                f"{advice}"
            )
        if not (gradient[~masked] != 0).any():
            raise Violation("visible keypoints get no gradient where others are masked")


@_check
def weights(case: Case) -> None:
    """Weights are relative: twice the weights are the same loss."""
    target = make_target(case.head)
    doubled = dataclasses.replace(target, weights=2 * target.weights)
    prediction, loss = random_prediction(target), case.loss()
    once, twice = total(loss, prediction, target), total(loss, prediction, doubled)
    if not _close(once, twice):
        raise Violation(
            f"twice the weights change the loss from {once:g} to {twice:g}; a term is a mean weighted by "
            "target.weights: use weighted_mean"
        )


@_check
def nothing_visible(case: Case) -> None:
    """A batch without visible keypoints gives 0 and no gradient."""
    target = make_target(case.head)
    target.weights.zero_()
    prediction = random_prediction(target)
    value = total(case.loss(), prediction, target)
    if value != 0:
        raise Violation(f"a batch without visible keypoints gives {value:g}, not 0; weighted_mean does")
    value.backward()
    for gradient in _gradients(prediction):
        if gradient is None or (gradient != 0).any():
            raise Violation(
                "a batch without visible keypoints: expected a gradient of 0 in every place, found "
                + ("none at all; sum over the (empty) maps" if gradient is None else "others")
            )


@_check
def empty_batch(case: Case) -> None:
    """An empty batch gives 0."""
    target = make_target(case.head, instances=0)
    value = total(case.loss(), random_prediction(target), target)
    if value != 0:
        raise Violation(f"an empty batch gives {value:g}, not 0")


@_check
def shapes(case: Case) -> None:
    """Any number of instances and keypoints, and maps that are not contiguous, are taken."""
    for instances, keypoints in ((1, 1), (1, 7), (3, 1)):
        target = make_target(case.head, instances, keypoints)
        _require_finite(
            f"the loss of {instances} instance(s) with {keypoints} keypoint(s)",
            total(case.loss(keypoints), random_prediction(target), target),
        )
    target, loss = make_target(case.head), case.loss()
    prediction = noise(target.heatmaps, 1)
    # The same values with the dimensions laid out in memory the other way round, as channels_last does.
    strided = on_maps(lambda map_: map_.transpose(1, -1).contiguous().transpose(1, -1), prediction)
    expected, found = total(loss, prediction, target), total(loss, strided, target)
    if not _close(expected, found):
        raise Violation(f"maps that are not contiguous in memory give {found:g} instead of {expected:g}")


@_check
def better_than_shifted(case: Case) -> None:
    """A perfect prediction beats a shifted one."""
    target = make_target(case.head)
    loss = case.loss()
    if not loss.localises:
        return
    best = perfect(loss, target.heatmaps, case.head)
    least = total(loss, best, target)
    for shift in (1, 3, 6):
        shifted = total(loss, _shifted(best, shift), target)
        if not least < shifted:
            raise Violation(
                f"a perfect prediction costs {least:g}, one {shift} pixels aside {shifted:g}: {_MUST_FALL}"
            )


@_check
def better_than_noise(case: Case) -> None:
    """A perfect prediction beats noise and a flat map."""
    target = make_target(case.head)
    loss = case.loss()
    if not loss.localises:
        return
    best = total(loss, perfect(loss, target.heatmaps, case.head), target)
    for what, other in (
        ("noise", random_prediction(target)),
        ("a map of zeros", on_maps(torch.zeros_like, target.heatmaps)),
    ):
        value = total(loss, other, target)
        if not best < value:
            raise Violation(f"a perfect prediction costs {best:g}, {what} {value:g}: {_MUST_FALL}")


@_check
def noise_never_helps(case: Case) -> None:
    """No noise makes a perfect prediction better."""
    target = make_target(case.head)
    loss = case.loss()
    best = perfect(loss, target.heatmaps, case.head)
    least = total(loss, best, target)
    for seed in range(5):
        for scale in (0.3, 1.0, 3.0):
            value = total(loss, _sum(best, noise(target.heatmaps, seed, scale)), target)
            if not value >= least:
                raise Violation(
                    f"a perfect prediction costs {least:g}, the same with normal noise of {scale} added "
                    f"{value:g}: nothing may be better than perfect"
                )


@_check
def moving_away(case: Case) -> None:
    """A peak that moves away from the keypoint never lowers the loss, as long as it overlaps the label."""
    # Near a corner, so that the border does not cut the moved peak.
    centre = torch.tensor([[[int(2.5 * sigma) for sigma in SIGMA[case.head]]]], dtype=torch.float32)
    target = dataclasses.replace(
        make_target(case.head, instances=1, keypoints=1),
        keypoints=centre,
        heatmaps=gaussian_labels(case.head, centre),
    )
    loss = case.loss(1)
    steps = int(4 * min(SIGMA[case.head]))
    for direction in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        values = []
        for step in range(steps):
            away = gaussian_labels(case.head, centre + step * torch.tensor(direction))
            values.append(total(loss, perfect(loss, away, case.head), target).item())
        for step, (before, after) in enumerate(pairwise(values)):
            if not after >= before - 1e-6:
                raise Violation(
                    f"the loss falls from {before:g} to {after:g} when the peak moves from {step} to "
                    f"{step + 1} pixels beside the keypoint, in direction {direction}: {_MUST_FALL}"
                )


@_check
def heatmap_of_a_perfect_prediction(case: Case) -> None:
    """The heatmap of a perfect prediction peaks at the keypoint, with high confidence."""
    target = make_target(case.head)
    loss = case.loss()
    advice = "write to_heatmaps, which turns raw output into a map in [0, 1] (sigmoid, softmax, ...)"
    heatmaps = loss.to_heatmaps(perfect(loss, target.heatmaps, case.head), SIGMA[case.head])
    for found, label in zip(as_tuple(heatmaps), as_tuple(target.heatmaps), strict=True):
        if found.shape != label.shape:
            raise Violation(f"to_heatmaps: expected shape {list(label.shape)}, found {list(found.shape)}")
        if (found.flatten(2).argmax(-1) != label.flatten(2).argmax(-1)).any():
            raise Violation(f"the heatmap of a perfect prediction peaks beside the keypoint; {advice}")
        # A little above 1 only where a distribution was normalised after the border had cut its tail.
        if not (found.min() >= 0 and found.max() <= 1.05):
            raise Violation(
                f"the heatmap of a perfect prediction has values from {found.min():g} to {found.max():g}, "
                f"expected [0, 1]; {advice}"
            )
        peaks = found.flatten(2).amax(-1)
        if not (peaks > 0.5).all():
            raise Violation(
                f"the confidence of a perfect prediction is as low as {peaks.min():.2f}, expected above 0.5; "
                f"{advice}"
            )


@_check
def confidence_of_a_split_prediction(case: Case) -> None:
    """A prediction split into two peaks of half the height is less confident than a perfect one."""
    target = make_target(case.head)
    loss = case.loss()
    split = on_maps(lambda y: (y + y.roll(y.shape[-1] // 2, dims=-1)) / 2, target.heatmaps)
    sure = loss.to_heatmaps(perfect(loss, target.heatmaps, case.head), SIGMA[case.head])
    unsure = loss.to_heatmaps(perfect(loss, split, case.head), SIGMA[case.head])
    for a, b in zip(as_tuple(sure), as_tuple(unsure), strict=True):
        if not (b.flatten(2).amax(-1) < a.flatten(2).amax(-1)).all():
            raise Violation(
                f"a prediction split into two peaks has a confidence of up to {b.max():.2f}, a perfect one "
                f"{a.max():.2f}: to_heatmaps must keep what tells the two apart"
            )


@_check
def no_positives_or_all(case: Case) -> None:
    """Labels of 0 everywhere and of 1 everywhere give finite values and gradients, ties included."""
    for label in (0.0, 1.0):
        for scale in (0.0, 1.0):
            target = make_target(case.head)
            target = dataclasses.replace(target, heatmaps=_filled(target.heatmaps, label))
            what = f"labels of {label:g} everywhere and {'random' if scale else 'equal'} output"
            _require_finite_training(what, case.loss(), noise(target.heatmaps, 0, scale), target)


@_check
def perfect_output(case: Case) -> None:
    """A perfect prediction gives a finite value and gradient."""
    target, loss = make_target(case.head), case.loss()
    best = perfect(loss, target.heatmaps, case.head)
    _require_finite_training(
        "a perfect prediction", loss, on_maps(lambda map_: map_.detach().clone(), best), target
    )


@_check
def huge_output(case: Case) -> None:
    """Outputs of tens of thousands give finite values and gradients."""
    target = make_target(case.head)
    _require_finite_training(
        "raw output of the order of 10000", case.loss(), noise(target.heatmaps, 0, 1e4), target
    )


@_check
def single_bin(case: Case) -> None:
    """A map of a single bin (1D) gives a finite value and gradient."""
    if case.head != "simcc":
        return
    target = make_target(case.head)
    one = dataclasses.replace(target, heatmaps=on_maps(lambda map_: map_[..., :1], target.heatmaps))
    _require_finite_training(
        "a map of a single bin", case.loss(), on_maps(torch.zeros_like, one.heatmaps), one
    )


@_check
def half_precision(case: Case) -> None:
    """Half precision is computed in float32, also under autocast."""
    target, loss = make_target(case.head), case.loss()
    for dtype in (torch.bfloat16, torch.float16):
        half = _in(dtype, random_prediction(target))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = loss(half, target)
        expected = loss(on_maps(Tensor.float, half), target)
        for term, value in found.items():
            if value.dtype != torch.float32 or not _close(value, expected[term]):
                raise Violation(
                    f"{_dtype(dtype)} input: term {term!r}: expected {expected[term]:g} in float32, found "
                    f"{value:g} in {_dtype(value.dtype)}; forward casts the input: write terms or map_loss "
                    "instead of it, and cast nothing down"
                )
        for map_ in as_tuple(loss.to_heatmaps(half, SIGMA[case.head])):
            if not map_.isfinite().all():
                raise Violation(f"to_heatmaps of {_dtype(dtype)} output is not finite; use full_precision")


@_check
def double_precision(case: Case) -> None:
    """float64 stays float64."""
    target = make_target(case.head, dtype=torch.float64)
    prediction = random_prediction(target)
    found = case.loss().double()(prediction, target)
    single = dataclasses.replace(
        target,
        heatmaps=on_maps(Tensor.float, target.heatmaps),
        keypoints=target.keypoints.float(),
        weights=target.weights.float(),
        scale=target.scale.float(),
        sigmas=target.sigmas.float(),
    )
    expected = case.loss()(on_maps(Tensor.float, prediction), single)
    for term, value in found.items():
        if value.dtype != torch.float64:
            raise Violation(f"float64 input: term {term!r} comes out in {_dtype(value.dtype)}")
        if not torch.allclose(value.float(), expected[term], rtol=1e-4, atol=1e-6):
            raise Violation(
                f"float64 input: term {term!r} is {value:g}, in float32 {expected[term]:g}; something is "
                "cast to a lower precision, or unstable"
            )


@_check
def same_bits(case: Case) -> None:
    """The same input gives the same bits."""
    results = []
    for _ in range(2):
        target = make_target(case.head)
        prediction = random_prediction(target)
        value = total(case.loss(), prediction, target)
        value.backward()
        results.append([value.detach(), *_gradients(prediction)])
    if not all(torch.equal(a, b) for a, b in zip(*results, strict=True)):
        raise Violation("twice the same input gives two different results; is something drawn at random?")


@_check
def operations_on_a_gpu(case: Case) -> None:
    """Every operation has a deterministic form on a GPU too, where a training stops at one that has none."""
    target = make_target(case.head)
    with _Operations() as operations:
        total(case.loss(), random_prediction(target), target).backward()
    found = sorted(operations.names & NOT_DETERMINISTIC_ON_A_GPU)
    if found:
        raise Violation(
            f"uses {', '.join(found)}, of which torch has no deterministic form on a GPU: trainings run with "
            "torch.use_deterministic_algorithms, and would stop there; compute it by other operations"
        )


@_check
def input_untouched(case: Case) -> None:
    """Prediction and target are left as they were."""
    target, untouched = make_target(case.head), make_target(case.head)
    prediction, original = random_prediction(target), random_prediction(target)
    total(case.loss(), prediction, target).backward()
    pairs = [
        ("the prediction", as_tuple(prediction), as_tuple(original)),
        ("target.heatmaps", as_tuple(target.heatmaps), as_tuple(untouched.heatmaps)),
        *(
            (f"target.{name}", (getattr(target, name),), (getattr(untouched, name),))
            for name in ("keypoints", "weights", "scale", "sigmas")
        ),
    ]
    for what, now, before in pairs:
        if not all(torch.equal(a, b) for a, b in zip(now, before, strict=True)):
            raise Violation(f"{what} was changed in place; take a copy (no x += y, x[...] = y or y.add_())")


@_check
def compiled(case: Case) -> None:
    """Traced by torch.compile, a loss has the same value and gradient."""
    target, loss = make_target(case.head), case.loss()
    found = []
    torch.compiler.reset()  # else torch gives up tracing after a few losses, and the check could not fail
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)  # a break in the traced graph is no mistake
    # The eager backend needs no compiler.
    for call in (loss, torch.compile(loss, backend="eager")):
        prediction = on_maps(Tensor.requires_grad_, noise(target.heatmaps, 0))
        value = sum(call(prediction, target).values(), torch.zeros(()))
        value.backward()
        found.append([value.detach(), *_gradients(prediction)])
    for plain, traced in zip(*found, strict=True):
        if not _close(traced, plain):
            raise Violation("under torch.compile the value or the gradient comes out different")


def description(name: str) -> list[str]:
    """What is missing in what a loss file says about its loss, and whether its examples run; a line each.

    Args:
        name: Registered name of the loss.
    """
    loss = available()[name]
    problems = [
        f"class variable {variable!r} is empty"
        for variable in ("title", "reference")
        if not getattr(loss, variable)
    ]
    # A class without a docstring of its own would show its parent's.
    text = vars(loss).get("__doc__") or ""
    if not text.strip():
        problems.append("the class has no docstring: say what is compared with what, the formula, its source")
    described = set(re.findall(r"^\s*(\w+):", text.partition("Args:")[2], re.MULTILINE))
    for parameter, default in parameters_of(name).items():
        if parameter not in described:
            problems.append(f"the docstring lacks {parameter!r} under Args: its meaning and range")
        if default is inspect.Parameter.empty:
            problems.append(f"parameter {parameter!r} has no default: a config could not leave it out")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        examples = doctest.testmod(sys.modules[loss.__module__])
    if examples.failed:
        found = " ".join(printed.getvalue().partition("Failed example:")[2].partition("*" * 20)[0].split())
        problems.append(f"an example in a docstring does not print what it says: {found}")
    return problems


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        head: The head, or ``"description"`` for what the file says about the loss.
        check: The promise in words.
        problem: What is wrong with it and what to do; None if it is kept.
    """

    head: str
    check: str
    problem: str | None


def check_loss(name: str, parameters: Mapping[str, Any] | None = None) -> Iterator[Finding]:
    """Run every check over a loss, on every head that it serves.

    Args:
        name: Its registered name.
        parameters: What differs from the defaults.

    Raises:
        ValueError: There is no such loss.
    """
    if name not in available():
        build(name, {}, KEYPOINTS)  # says what there is
    lacking: list[str | None] = [*description(name)]
    for lack in lacking or [None]:
        yield Finding("description", "The loss says what it is.", lack)
    for head in available()[name].heads:
        for check in CHECKS.values():
            problem, raised = _problem(check, Case(name, head, parameters or {}))
            yield Finding(head, _promise(check), problem)
            if raised and check is terms:
                yield Finding(head, "The other checks.", "not run: they would stop at the same place")
                break


def described(name: str, findings: Iterable[Finding]) -> str:
    """The findings in words, head by head."""
    parts: dict[str, list[Finding]] = {}
    for finding in findings:
        parts.setdefault(finding.head, []).append(finding)
    titles = {"description": "description", "heatmap": "2D (heatmap)", "simcc": "1D (simcc)"}
    lines, failed = [], False
    for part, found in parts.items():
        problems = [finding for finding in found if finding.problem]
        failed |= bool(problems)
        lines.append(f"{titles[part]}: {len(found) - len(problems)} of {len(found)} checks passed")
        lines += [f"  - {finding.check}\n    {finding.problem}" for finding in problems]
    return "\n".join(
        [*lines, f"{name}: {'not yet a loss of the benchmark' if failed else 'all checks passed'}"]
    )


def _problem(check: Callable[[Case], None], case: Case) -> tuple[str | None, bool]:
    """What is wrong, and whether the loss raised an error."""
    try:
        check(case)
    except Violation as violation:
        return str(violation), False
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = sys.modules[available()[case.name].__module__].__file__
        line = next((frame.lineno for frame in reversed(frames) if frame.filename == own), None)
        where = f" ({Path(own).name}, line {line})" if own and line else ""
        maps = " and ".join(str(list(map_.shape)) for map_ in as_tuple(make_target(case.head).heatmaps))
        message = " ".join(str(error).split())
        return f"raises {type(error).__name__}: {message}{where}; maps were {maps}", True
    return None, False


def _promise(check: Callable[[Case], None]) -> str:
    return (check.__doc__ or "").partition("\n")[0]


def _gradients(prediction: Maps) -> list[Tensor]:
    return [map_.grad for map_ in as_tuple(prediction)]  # type: ignore[misc]


def _shifted(maps: Maps, shift: int) -> Maps:
    return on_maps(lambda map_: map_.roll(shift, dims=-1), maps)


def _filled(maps: Maps, value: float) -> Maps:
    return on_maps(lambda map_: torch.full_like(map_, value), maps)


def _in(dtype: torch.dtype, maps: Maps) -> Maps:
    return on_maps(lambda map_: map_.detach().to(dtype), maps)


def _sum(one: Maps, other: Maps) -> Maps:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return one[0] + other[0], one[1] + other[1]
    return one + other  # type: ignore[operator, return-value]


def _require_finite(what: str, value: Tensor) -> None:
    if not value.isfinite().all():
        bad = int((~value.isfinite()).sum())
        found = f"{value.item():g}" if value.numel() == 1 else f"{bad} of {value.numel()} NaN or infinite"
        raise Violation(f"{what}: expected finite numbers, found {found}")


def _require_finite_training(what: str, loss: HeatmapLoss, prediction: Maps, target: KeypointTarget) -> None:
    for map_ in as_tuple(prediction):
        map_.requires_grad_()
    value = total(loss, prediction, target)
    _require_finite(f"{what}: the loss", value)
    value.backward()
    for gradient in _gradients(prediction):
        _require_finite(
            f"{what}: the gradient (a root, a power or a logarithm at 0 has none: clamp before it)", gradient
        )


def _close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1.3e-6, atol=1e-5)


def _type(value: object) -> str:
    return "an empty dict" if value == {} else type(value).__name__


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
