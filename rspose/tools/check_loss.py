"""What every loss promises, as checks that say in words what is wrong: `rspose check-loss`, and the tests."""

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
from functools import partial
from itertools import groupby, pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rspose.losses.instance_sort import peak
from rspose.losses.interface import HeatmapLoss, KeypointTarget, Maps, as_maps, as_tuple, on_maps
from rspose.losses.registry import available, build, parameters
from rspose.tools.new_loss import still_to_say
from rspose.tools.pretended_gpu import Apart, OnGPU, pretended_gpu
from rspose.tools.targets import (
    SMALL,
    gaussian_labels,
    learnable,
    make_target,
    noise,
    random_prediction,
    squared_distance,
    target_around,
    with_noise,
)

KEYPOINTS = 5

# fmt: off
NOT_DETERMINISTIC_ON_A_GPU = frozenset({
    "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "_ctc_loss_backward",
    "adaptive_max_pool2d_backward", "avg_pool3d_backward", "fractional_max_pool2d_backward",
    "grid_sampler_2d_backward", "grid_sampler_3d_backward", "histc", "max_pool3d_with_indices_backward",
    "max_unpool2d", "median.dim", "nll_loss2d_forward", "put_", "reflection_pad1d_backward",
    "reflection_pad2d_backward", "upsample_bicubic2d_backward", "upsample_bilinear2d_backward",
    "upsample_linear1d_backward", "upsample_trilinear3d_backward",
})
# fmt: on
"""What raises an error on CUDA under ``torch.use_deterministic_algorithms(True)``, by aten's names.

From its documentation for torch 2.11, without ``cumsum``, which has no such error any more.
"""

_MUST_FALL = "the value must fall as the prediction gets better"


class Violation(AssertionError):
    """A promise that a loss does not keep; the message says what was found and what to do."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss, by its registered name, on a head, with what differs from its default parameters.

    Each public method is a check: its docstring is the promise, and it raises a :class:`Violation` where the
    loss does not keep it.
    """

    name: str
    head: str
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def _loss(self, keypoints: int = KEYPOINTS) -> HeatmapLoss:
        return build(self.name, self.parameters, keypoints)

    def _start(self) -> tuple[HeatmapLoss, KeypointTarget, Maps]:
        """A new loss, a target and random output for it."""
        target = make_target(self.head)
        return self._loss(), target, random_prediction(target)

    def _perfect(self) -> tuple[HeatmapLoss, KeypointTarget, Maps]:
        """A new loss, a target and the output that comes closest to it."""
        loss, target = self._loss(), make_target(self.head)
        return loss, target, perfect(loss, target.heatmaps, self.head)

    def terms(self) -> None:
        """Terms are named finite scalars with a gradient."""
        loss, target, prediction = self._start()
        found = loss(prediction, target)
        named = isinstance(found, dict) and found and all(isinstance(term, str) for term in found)
        kind = "an empty dict" if found == {} else type(found).__name__
        _require(named, f"terms: expected a dict of named terms, found {kind}")
        advice = (
            "take the mean over the keypoints with weighted_mean (map_loss returns one number a map, [M])"
        )
        for term, value in found.items():
            shape = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            scalar = f"term {term!r}: expected a scalar tensor, found {shape}"
            _require(shape == "shape []", f"{scalar}; {advice}")
            _require_finite(f"term {term!r}", value)
        value = sum(found.values(), torch.zeros(()))
        if value.requires_grad:
            value.backward()
        for gradient in _gradients(prediction):
            learns = gradient is not None and (gradient != 0).any()
            _require(learns, "no gradient reaches the prediction, nothing can be learned; is there a detach?")
            _require_finite("the gradient", gradient)

    def raw_output(self) -> None:
        """What the loss asks of the raw output is what to_heatmaps takes for a label."""
        loss, target = self._loss(), make_target(self.head)
        if type(loss).to_heatmaps is not HeatmapLoss.to_heatmaps:
            return
        floored = on_maps(lambda y: y.clamp(1e-4, 1 - 1e-4), target.heatmaps)
        at_label = total(loss, target.heatmaps, target)
        for what, form in {"logit": torch.logit, "log": torch.log}.items():
            raw = on_maps(form, floored)
            value, aside = (total(loss, each, target) for each in (raw, on_maps(_half_round, raw)))
            _require(
                value + 1e-4 >= min(at_label, aside),
                f"the loss is {value:.3g} where the output is the {what} of the label, {at_label:.3g} where "
                "it is the label: write to_heatmaps, which turns raw output into a map in [0, 1] (sigmoid, "
                "softmax, ...)",
            )

    def masked_keypoints(self) -> None:
        """Masked keypoints change neither value nor gradient."""
        loss, target, prediction = self._start()
        target.weights[1, 2] = target.weights[3] = 0
        masked = target.weights == 0

        def changed(map_: Tensor) -> Tensor:
            other = map_.detach().clone()
            other[masked] = 100 * other[masked].roll(1, 0)
            return other

        value, other = total(loss, prediction, target), total(loss, on_maps(changed, prediction), target)
        advice = "compute only visible_maps(...), those of weight above 0, and take their weighted_mean"
        found = f"{value:g} became {other:g} when only their maps changed"
        _require(value == other, f"the loss depends on masked keypoints (weight 0): {found}; {advice}")
        value.backward()
        for gradient in _gradients(prediction):
            most = gradient[masked].abs().max()
            _require(most == 0, f"masked keypoints (weight 0) get a gradient, up to {most:.2g}; {advice}")
            seen = (gradient[~masked] != 0).any()
            _require(seen, "visible keypoints get no gradient where others are masked")

    def weights(self) -> None:
        """Weights are relative: twice the weights are the same loss."""
        loss, target, prediction = self._start()
        doubled = dataclasses.replace(target, weights=2 * target.weights)
        once, twice = total(loss, prediction, target), total(loss, prediction, doubled)
        advice = "a term is a mean weighted by target.weights: use weighted_mean"
        changed = f"twice the weights change the loss from {once:g} to {twice:g}"
        _require(_close(once, twice), f"{changed}; {advice}")

    def nothing_visible(self) -> None:
        """A batch without visible keypoints gives 0 and no gradient."""
        loss, target, prediction = self._start()
        target.weights.zero_()
        what = "a batch without visible keypoints"
        value = total(loss, prediction, target)
        _require(value == 0, f"{what} gives {value:g}, not 0; weighted_mean does")
        value.backward()
        for gradient in _gradients(prediction):
            found = "none at all; sum over the (empty) maps" if gradient is None else "others"
            zero = gradient is not None and not gradient.any()
            _require(zero, f"{what}: expected a gradient of 0 in every place, found {found}")

    def empty_batch(self) -> None:
        """An empty batch gives 0."""
        target = make_target(self.head, instances=0)
        value = total(self._loss(), random_prediction(target), target)
        _require(value == 0, f"an empty batch gives {value:g}, not 0")

    def shapes(self) -> None:
        """Any number of instances and keypoints, and maps that are not contiguous, are taken."""
        for instances, keypoints in ((1, 1), (1, 7), (3, 1)):
            target = make_target(self.head, instances, keypoints)
            value = total(self._loss(keypoints), random_prediction(target), target)
            _require_finite(f"the loss of {instances} instance(s) with {keypoints} keypoint(s)", value)
        loss, target, prediction = self._start()
        # The same values with the dimensions laid out in memory the other way round, as channels_last does.
        strided = on_maps(lambda map_: map_.transpose(1, -1).contiguous().transpose(1, -1), prediction)
        expected, found = total(loss, prediction, target), total(loss, strided, target)
        what = "maps that are not contiguous in memory"
        _require(_close(expected, found), f"{what} give {found:g} instead of {expected:g}")

    def better_than_shifted(self) -> None:
        """A perfect prediction beats a shifted one."""
        for n in (1, 3, 6):
            aside = partial(on_maps, partial(torch.roll, shifts=n, dims=-1))
            self._require_least(f"one {n} pixels aside", aside)

    def better_than_noise(self) -> None:
        """A perfect prediction beats noise and a flat map."""
        self._require_least("noise", partial(noise, seed=1))
        self._require_least("a map of zeros", partial(on_maps, torch.zeros_like))

    def noise_never_helps(self) -> None:
        """No noise makes a perfect prediction better."""
        for seed, scale in product(range(5), (0.3, 1.0, 3.0)):
            noisy = partial(with_noise, seed=seed, scale=scale)
            self._require_least(f"the same with normal noise of {scale} added", noisy, ties=True)

    def _require_least(self, what: str, other: Callable[[Maps], Maps], ties: bool = False) -> None:
        loss, target, best = self._perfect()
        if loss.localises or ties:
            least, value = total(loss, best, target), total(loss, other(best), target)
            rule = "nothing may be better than perfect" if ties else _MUST_FALL
            holds = least <= value if ties else least < value
            _require(holds, f"a perfect prediction costs {least:g}, {what} {value:g}: {rule}")

    def moving_away(self) -> None:
        """A peak that moves away from the keypoint never lowers the loss, as long as it overlaps the
        label."""
        sigma = SMALL[self.head].sigma
        # Near a corner, so that the border does not cut the moved peak.
        centre = torch.tensor([[[int(2.5 * s) for s in sigma]]], dtype=torch.float32)
        target, loss = make_target(self.head, instances=1, keypoints=1), self._loss(1)
        target = dataclasses.replace(target, keypoints=centre, heatmaps=gaussian_labels(self.head, centre))
        for direction in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
            values = []
            for step in range(int(4 * min(sigma))):
                away = gaussian_labels(self.head, centre + step * torch.tensor(direction))
                values.append(total(loss, perfect(loss, away, self.head), target).item())
            for step, (before, after) in enumerate(pairwise(values)):
                way = f"from {step} to {step + 1} pixels beside the keypoint, in direction {direction}"
                falls = f"the loss falls from {before:g} to {after:g} when the peak moves {way}: {_MUST_FALL}"
                _require(after >= before - 1e-6, falls)

    def heatmap_of_a_perfect_prediction(self) -> None:
        """The heatmap of a perfect prediction peaks at the keypoint, with high confidence."""
        loss, target, best = self._perfect()
        what = "the heatmap of a perfect prediction"
        advice = "write to_heatmaps, which turns raw output into a map in [0, 1] (sigmoid, softmax, ...)"
        heatmaps = loss.to_heatmaps(best, SMALL[self.head].sigma)
        for found, label in zip(as_tuple(heatmaps), as_tuple(target.heatmaps), strict=True):
            shape = f"expected shape {list(label.shape)}, found {list(found.shape)}"
            _require(found.shape == label.shape, f"to_heatmaps: {shape}")
            there = (found.flatten(2).argmax(-1) == label.flatten(2).argmax(-1)).all()
            _require(there, f"{what} peaks beside the keypoint; {advice}")
            # A little above 1 only where a distribution was normalised after the border had cut its tail.
            low, high, least = found.min(), found.max(), _peaks(found).min()
            values = f"{what} has values from {low:g} to {high:g}, expected [0, 1]"
            _require(low >= 0 and high <= 1.05, f"{values}; {advice}")
            sure = f"the confidence of a perfect prediction is as low as {least:.2f}, expected above 0.5"
            _require(least > 0.5, f"{sure}; {advice}")

    def confidence_of_a_split_prediction(self) -> None:
        """A prediction split into two peaks of half the height is less confident than a perfect one."""
        loss, target, best = self._perfect()
        split = on_maps(lambda y: (y + _half_round(y)) / 2, target.heatmaps)
        both = (best, perfect(loss, split, self.head))
        sure, unsure = (as_tuple(loss.to_heatmaps(raw, SMALL[self.head].sigma)) for raw in both)
        for a, b in zip(sure, unsure, strict=True):
            found = f"has a confidence of up to {b.max():.2f}, a perfect one {a.max():.2f}"
            advice = "to_heatmaps must keep what tells the two apart"
            less = (_peaks(b) < _peaks(a)).all()
            _require(less, f"a prediction split into two peaks {found}: {advice}")

    def one_batch(self) -> None:
        """A small network learns one batch, of keypoints between pixels."""
        loss, layout, least_rise = self._loss(2), SMALL[self.head], 0.1
        if not loss.localises:
            return
        place = make_target(self.head, keypoints=2).keypoints + torch.tensor([0.3, -0.2])
        target = target_around(place, gaussian_labels(self.head, place), layout)
        images = as_tuple(with_noise(target.heatmaps, seed=1, scale=0.5))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            networks = nn.ModuleList(map(_small_network, images))
        optimizer = torch.optim.Adam([*networks.parameters(), *loss.parameters()], lr=0.01)
        values, seen = [], []
        for _ in range(61):
            raw = as_maps([network(image) for network, image in zip(networks, images, strict=True)])
            seen.append(peak(loss.to_heatmaps(on_maps(Tensor.detach, raw), layout.sigma)))
            values.append(value := total(loss, raw, target))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        (unsure, _), (sure, found) = seen[0], seen[-1]
        rise, distance = (sure - unsure).mean(), (found - place).norm(dim=-1).mean()
        _require(
            distance < min(layout.sigma) and rise > least_rise,
            f"after {len(values) - 1} steps on one batch a small network is {distance:.1f} pixels off "
            f"(expected below {min(layout.sigma):g}) and its confidence went from {unsure.mean():.2f} to "
            f"{sure.mean():.2f} (expected a rise of {least_rise:g}), while the loss went from "
            f"{values[0]:.3g} to {values[-1]:.3g}; between pixels no label is exactly 1: take the highest; "
            "where the background outweighs the keypoint at first, start lower: sigmoid(output - 2.2) in "
            "place of sigmoid(output)",
        )

    def no_positives_or_all(self) -> None:
        """Labels of 0 everywhere and of 1 everywhere give finite values and gradients, ties included."""
        for label, scale in product((0.0, 1.0), (0.0, 1.0)):
            loss, target, _ = self._start()
            filled = on_maps(partial(torch.full_like, fill_value=label), target.heatmaps)
            what = f"labels of {label:g} everywhere and {'random' if scale else 'equal'} output"
            target = dataclasses.replace(target, heatmaps=filled)
            _require_finite_training(what, loss, target, noise(filled, 0, scale))

    def perfect_output(self) -> None:
        """A perfect prediction gives a finite value and gradient."""
        _require_finite_training("a perfect prediction", *self._perfect())

    def huge_output(self) -> None:
        """Outputs of tens of thousands give finite values and gradients."""
        loss, target, _ = self._start()
        huge = noise(target.heatmaps, 0, 1e4)
        _require_finite_training("raw output of the order of 10000", loss, target, huge)

    def single_bin(self) -> None:
        """A map of a single bin (1D) gives a finite value and gradient."""
        loss, target, _ = self._start()
        if self.head == "simcc":
            bins = on_maps(lambda map_: map_[..., :1], target.heatmaps)
            target = dataclasses.replace(target, heatmaps=bins)
            _require_finite_training("a map of a single bin", loss, target, on_maps(torch.zeros_like, bins))

    def half_precision(self) -> None:
        """Half precision is computed in float32, also under autocast."""
        advice = "forward casts the input: write terms or map_loss instead of it, and cast nothing down"
        loss, target, prediction = self._start()
        for dtype in (torch.bfloat16, torch.float16):
            half, kind = on_maps(lambda map_: map_.detach().to(dtype), prediction), _dtype(dtype)  # noqa: B023
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found = loss(half, target)
            expected = loss(on_maps(Tensor.float, half), target)
            for term, value in found.items():
                numbers = f"expected {expected[term]:g} in float32, found {value:g} in {_dtype(value.dtype)}"
                same = value.dtype == torch.float32 and _close(value, expected[term])
                _require(same, f"{kind} input: term {term!r}: {numbers}; {advice}")
            for map_ in as_tuple(loss.to_heatmaps(half, SMALL[self.head].sigma)):
                finite = map_.isfinite().all()
                _require(finite, f"to_heatmaps of {kind} output is not finite; use full_precision")

    def double_precision(self) -> None:
        """float64 stays float64."""
        # The same numbers in both: rounded, labels at the same distance may no longer be equal.
        target = make_target(self.head)
        prediction = random_prediction(target)
        found = self._loss().double()(on_maps(Tensor.double, prediction), target.map(Tensor.double))
        expected = self._loss()(prediction, target)
        for term, value in found.items():
            what = f"float64 input: term {term!r}"
            _require(value.dtype == torch.float64, f"{what} comes out in {_dtype(value.dtype)}")
            same = torch.allclose(value.float(), expected[term], rtol=1e-4, atol=1e-6)
            why = "something is cast to a lower precision, or unstable"
            _require(same, f"{what} is {value:g}, in float32 {expected[term]:g}; {why}")

    def same_bits(self) -> None:
        """The same input gives the same bits."""
        same = all(map(torch.equal, _trained(*self._start()), _trained(*self._start())))
        _require(same, "twice the same input gives two different results; is something drawn at random?")

    def operations_on_a_gpu(self) -> None:
        """Every operation has a deterministic form on a GPU too, where a training stops at one that has
        none."""
        given = self._start()
        with _Operations() as operations:
            _trained(*given)
        found = sorted(operations.names & NOT_DETERMINISTIC_ON_A_GPU)
        _require(
            not found,
            f"uses {', '.join(found)}, of which torch has no deterministic form on a GPU: trainings run with "
            "torch.use_deterministic_algorithms, and would stop there; compute it by other operations",
        )

    def goes_to_a_gpu(self) -> None:
        """The loss goes along to a GPU, and makes what it needs there."""
        loss = self._loss()
        _require(not (lost := next(_unregistered(loss), None)), lost or "")
        target = make_target(self.head)
        with pretended_gpu():
            loss._apply(OnGPU)  # as Module.to does
            there = target.map(OnGPU)
            prediction = on_maps(lambda map_: OnGPU(map_).requires_grad_(), noise(target.heatmaps, seed=1))
            try:
                total(loss, prediction, there).backward()
                on_maps(Tensor.detach, loss.to_heatmaps(prediction, SMALL[self.head].sigma))
                loss.logits(prediction)
            except Apart as apart:
                advice = "make it where the prediction is: torch.arange(n, device=prediction.device)"
                raise Violation(f"on a GPU, {apart}{_line(apart, self.name)}; {advice}") from None

    def input_untouched(self) -> None:
        """Prediction and target are left as they were."""
        (loss, target, prediction), (_, untouched, original) = self._start(), self._start()
        _trained(loss, target, prediction)
        pairs = {f"target.{name}": (now, getattr(untouched, name)) for name, now in vars(target).items()}
        for what, (now, before) in {"the prediction": (prediction, original), **pairs}.items():
            _require(
                all(map(torch.equal, as_tuple(now), as_tuple(before))),
                f"{what} was changed in place; take a copy (no x += y, x[...] = y or y.add_())",
            )

    def compiled(self) -> None:
        """Traced by torch.compile, a loss has the same value and gradient."""
        loss, target, prediction = self._start()
        torch.compiler.reset()  # else torch gives up tracing after a few losses: the check could not fail
        # A break in the traced graph is no mistake.
        logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
        plain = _trained(loss, target, prediction)
        # The eager backend needs no compiler. There is one batch: symbols for its sizes only take time.
        compiled = torch.compile(loss, backend="eager", dynamic=False)
        traced = _trained(compiled, target, learnable(prediction))
        same = all(map(_close, traced, plain))
        _require(same, "under torch.compile the value or the gradient comes out different")


CHECKS: dict[str, Callable[[Case], None]] = {
    name: check for name, check in vars(Case).items() if inspect.isfunction(check) and name[0] != "_"
}
"""The checks by name, in the order in which they are run."""

_NEEDED = {
    "terms": frozenset(CHECKS) - {"terms"},
    "raw_output": frozenset({
        "better_than_shifted", "better_than_noise", "noise_never_helps", "moving_away", "perfect_output",
        "heatmap_of_a_perfect_prediction", "confidence_of_a_split_prediction", "one_batch",
    }),
}  # fmt: skip
"""What a check has to find in order before others are run: they would say the same mistake in other words."""


def total(loss: Callable[..., Any], prediction: Maps, target: KeypointTarget) -> Tensor:
    """The loss: the sum of its terms."""
    return sum(loss(prediction, target).values(), torch.zeros(()))


def perfect(loss: HeatmapLoss, label: Maps, head: str) -> Maps:
    """Raw output whose heatmap comes closest to the label, among the label, its logit and its log."""
    floored = on_maps(lambda y: y.clamp(1e-4, 1 - 1e-4), label)
    candidates = [label, on_maps(torch.logit, floored), on_maps(torch.log, floored)]
    sigma = SMALL[head].sigma
    return min(candidates, key=lambda raw: squared_distance(loss.to_heatmaps(raw, sigma), label).item())


def description(name: str) -> list[str]:
    """What is missing in what a loss file says about its loss, and whether its examples run; a line each."""
    loss = available()[name]
    empty = (variable for variable in ("title", "reference") if not getattr(loss, variable))
    problems = [f"class variable {variable!r} is empty" for variable in empty]
    # A class without a docstring of its own would show its parent's.
    text = vars(loss).get("__doc__") or ""
    if not text.strip():
        problems.append("the class has no docstring: say what is compared with what, the formula, its source")
    lines = re.findall(r"^\s*(\w[\w, ]*):", text.partition("Args:")[2], re.MULTILINE)
    described = {each for line in lines for each in line.split(", ")}
    for parameter, default in parameters(name).items():
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


class Finding(NamedTuple):
    """What one check found."""

    head: str  # or "description", for what the file says about the loss
    check: str  # the promise in words
    problem: str | None  # what is wrong with it and what to do; None if it is kept


def check_loss(name: str) -> Iterator[Finding]:
    """Run every check over a loss, by its registered name, on every head that it serves.

    Raises:
        ValueError: There is no such loss.
    """
    if name not in available():
        build(name, {}, KEYPOINTS)  # says what there is
    lacking: list[str | None] = [*description(name)]
    for lack in lacking or [None]:
        yield Finding("description", "The loss says what it is.", lack)
    for head in available()[name].heads:
        not_run: frozenset[str] = frozenset()
        for key, check in CHECKS.items():
            if key in not_run:
                continue
            problem = _found(check, name, head)
            if key == "terms" and (problem or "").startswith("raises"):
                others = {each for each in available()[name].heads if _found(check, name, each) is None}
                hint = '; if it is for the other head alone, say heads = ("{}",)'
                problem = f"{problem}{hint.format(*others) if others else ''}"
            yield Finding(head, " ".join((check.__doc__ or "").split()), problem)
            not_run |= _NEEDED.get(key, frozenset()) if problem else frozenset()
        if not_run:
            number = f"{len(not_run)} further check{'s were' if len(not_run) > 1 else ' was'} not run."
            yield Finding(head, number, "mend what is said above first")


def _found(check: Callable[[Case], None], name: str, head: str) -> str | None:
    """What a check finds wrong, in one line."""
    try:
        check(Case(name, head))
    except Violation as violation:
        return str(violation)
    except Exception as error:
        return _what_was_raised(error, name, head)
    return None


def _what_was_raised(error: Exception, name: str, head: str) -> str:
    maps = " and ".join(str(list(map_.shape)) for map_ in as_tuple(make_target(head).heatmaps))
    said = " ".join(str(error).split())
    return f"raises {type(error).__name__}: {said}{_line(error, name)}; maps were {maps}"


def _line(error: Exception, name: str) -> str:
    """Where in the file of a loss an error comes from, in brackets; nothing if from elsewhere."""
    own = sys.modules[available()[name].__module__].__file__
    frames = reversed(traceback.extract_tb(error.__traceback__))
    line = next((frame.lineno for frame in frames if frame.filename == own), None)
    return f" ({Path(own).name}, line {line})" if own and line else ""


def described(name: str, findings: Iterable[Finding]) -> str:
    """The findings in words, head by head; what the head before has too is only counted."""
    titles = {"description": "description", "heatmap": "2D (heatmap)", "simcc": "1D (simcc)"}
    lines, end, said = [], "all checks passed", set[Finding]()
    for part, group in groupby(findings, key=lambda finding: finding.head):
        found = list(group)
        problems = [each for each in found if each.problem]
        lines.append(f"{titles[part]}: {len(found) - len(problems)} of {len(found)} checks passed")
        new = [each for each in problems if each._replace(head="") not in said]
        lines += [f"  - {each.check}\n    {each.problem}" for each in new]
        if again := len(problems) - len(new):
            lines.append(f"  - {again} as above")
        said |= {each._replace(head="") for each in problems}
        end = "not yet a loss of the benchmark" if problems else end
    source = inspect.getsource(sys.modules[available()[name].__module__])
    lines += [f'note: the file still has "{each}", of the template' for each in still_to_say(source)]
    return "\n".join([*lines, f"{name}: {end}"])


class _Operations(TorchDispatchMode):
    """The names of all operations that are run, those of the backward pass too."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(func).removeprefix("aten.").removesuffix(".default"))
        return func(*args, **(kwargs or {}))


def _unregistered(loss: nn.Module) -> Iterator[str]:
    """What a loss holds that neither a GPU nor an optimizer gets to see, and what to do."""
    for module in loss.modules():
        for name, value in vars(module).items():
            for each in tree_leaves(value) if name not in ("_parameters", "_buffers", "_modules") else ():
                if isinstance(each, nn.Module) and any(True for _ in (*each.parameters(), *each.buffers())):
                    advice = "keep it in an nn.ModuleList or nn.ModuleDict"
                    yield f"self.{name} holds a module with weights that no optimizer gets; {advice}"
                elif isinstance(each, Tensor) and each.requires_grad:
                    advice = "make it an nn.Parameter"
                    yield f"self.{name} requires a gradient, but no optimizer gets it; {advice}"
                elif isinstance(each, Tensor):
                    advice = f"self.register_buffer({name!r}, tensor, persistent=False)"
                    yield f"self.{name} is a plain tensor, which stays when the loss moves; {advice}"


def _small_network(image: Tensor) -> nn.Module:
    """Two convolutions, from images ``[B, K, W]`` or ``[B, K, H, W]`` to maps that start near 0."""
    convolution = nn.Conv1d if image.ndim == 3 else nn.Conv2d
    keypoints, width = image.shape[1], 8
    last = convolution(width, keypoints, 5, padding=2)
    nn.init.normal_(last.weight, std=0.001)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]  # it has one
    return nn.Sequential(convolution(keypoints, width, 5, padding=2), nn.ReLU(), last)


def _require(holds: object, problem: str) -> None:
    if not holds:
        raise Violation(problem)


def _require_finite(what: str, value: Tensor) -> None:
    bad = int((~value.isfinite()).sum())
    found = f"{value.item():g}" if value.numel() == 1 else f"{bad} of {value.numel()} NaN or infinite"
    _require(bad == 0, f"{what}: expected finite numbers, found {found}")


def _require_finite_training(what: str, loss: HeatmapLoss, target: KeypointTarget, prediction: Maps) -> None:
    value, *gradients = _trained(loss, target, learnable(prediction))
    _require_finite(f"{what}: the loss", value)
    for gradient in gradients:
        advice = "a root, a power or a logarithm at 0 has none: clamp before it"
        _require_finite(f"{what}: the gradient ({advice})", gradient)


def _trained(loss: Callable[..., Any], target: KeypointTarget, prediction: Maps) -> list[Tensor]:
    """The value, and the gradients of the prediction."""
    value = total(loss, prediction, target)
    value.backward()
    return [value.detach(), *_gradients(prediction)]


def _gradients(prediction: Maps) -> list[Tensor]:
    return [map_.grad for map_ in as_tuple(prediction)]  # type: ignore[misc]


def _half_round(maps: Tensor) -> Tensor:
    """The maps moved by half their width, what leaves on the right coming in on the left."""
    return maps.roll(maps.shape[-1] // 2, dims=-1)


def _peaks(heatmaps: Tensor) -> Tensor:
    return heatmaps.flatten(2).amax(-1)


def _close(found: Tensor, expected: Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1.3e-6, atol=1e-5)


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
