"""A loss under watch in training: what goes wrong is said with its term and its keypoints."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from rspose.losses import HeatmapLoss, KeypointTarget, Maps, as_tuple, on_maps
from rspose.losses.interface import as_maps


class LossFailure(RuntimeError):
    """A loss that raised an error, or a value or gradient of it that is not finite.

    Attributes:
        loss: Registered name of the loss.
        problem: What went wrong, in words, with the term where one is to blame.
        keypoints: Indices of the keypoints at which it goes wrong also where they are alone.
        visible: Number of keypoints that were visible in the batch.
    """

    def __init__(self, loss: str, problem: str, keypoints: Sequence[int], visible: int) -> None:
        self.loss, self.problem, self.keypoints, self.visible = loss, problem, tuple(keypoints), visible
        super().__init__(self.message())

    def message(self, step: int | None = None, names: Sequence[str] = ()) -> str:
        """The failure in one line, with the step from 1, and the names of keypoints in place of indices."""
        where = f", step {step}" if step is not None else ""
        keypoints = [names[index] if names else str(index) for index in self.keypoints]
        if not keypoints:
            at = "no keypoint alone"
        elif len(keypoints) == self.visible > 1:
            at = f"every one of {self.visible} keypoints"
        else:
            more = f" and {len(keypoints) - 4} others" if len(keypoints) > 4 else ""
            at = f"keypoint{'s' if len(keypoints) > 1 else ''} {', '.join(keypoints[:4])}{more}"
        return f"loss {self.loss}{where}: {self.problem}, at {at}"


def watched_terms(
    loss: HeatmapLoss, prediction: Maps, target: KeypointTarget, gradients: bool = False
) -> dict[str, Tensor]:
    """The terms of a loss, all finite; with ``gradients`` the gradient of the prediction is watched too.

    All that there is to look at comes to the host in one transfer, with ``gradients`` in the backward pass:
    the later a GPU is waited for, the more it has to do meanwhile.

    Raises:
        LossFailure: The loss raised an error, or (with ``gradients`` in the backward pass) its input is not
            valid, or a term or the gradient is NaN or infinite.
    """
    maps = as_tuple(prediction)
    gradients = gradients and any(map_.requires_grad for map_ in maps)
    try:
        watch = _Watch(loss, prediction, target)
        if gradients:
            maps = _Watched.apply(watch.look, *maps)
        terms = loss.unchecked(as_maps(maps), target)
    except Exception as error:
        with _alone(loss):
            raise _failure_of_raised(
                loss, prediction, target, _first_error(loss, prediction, target, error)
            ) from error
    watch.terms = {term: value.detach() for term, value in terms.items()}
    if not (gradients and any(value.requires_grad for value in terms.values())):
        watch.look()
    return terms


class _Watch:
    """One step of a loss, and the look at it."""

    def __init__(self, loss: HeatmapLoss, prediction: Maps, target: KeypointTarget) -> None:
        # Detached: else the backward pass, which holds it, would keep the maps of every step in memory.
        self.loss, self.prediction, self.target = loss, on_maps(Tensor.detach, prediction), target
        self.extremes = [loss.extremes(self.prediction, target)] if loss.checks else []
        self.terms: dict[str, Tensor] = {}

    def look(self, *gradients: Tensor | None) -> None:
        """Raise what is wrong with the input, else with the terms, else with the gradients of the maps."""
        terms = [value.flatten() for value in self.terms.values()]
        # Where anything is NaN, both ends are.
        ends = [torch.stack(torch.aminmax(each)) for each in gradients if each is not None and each.numel()]
        seen = torch.cat([part.double() for part in (*self.extremes, *terms, *ends)]).tolist()
        number, last = sum(map(len, self.extremes)), len(seen) - sum(map(len, ends))
        loss, target = self.loss, self.target
        if loss.checks:
            try:
                loss.check(self.prediction, seen[:number])
            except ValueError as error:
                with _alone(loss):
                    raise _failure_of_raised(loss, self.prediction, target, error) from error
        if not all(map(math.isfinite, seen[number:last])):
            term, value = next((term, value) for term, value in self.terms.items() if not value.isfinite())
            problem = f"term {term!r} is {'NaN' if value.isnan() else 'infinite'}"

            def fails(alone: KeypointTarget) -> bool:
                return not loss(self.prediction, alone)[term].isfinite()

            with _alone(loss):
                raise LossFailure(loss.name, problem, *_keypoints_alone(target, fails))
        if not all(map(math.isfinite, seen[last:])):
            raise _failure_of_gradient(loss, as_tuple(self.prediction), target)


class _Watched(Function):
    """The maps as they are; when both have their gradients, or none is to come, these are looked at."""

    @staticmethod
    def forward(ctx: Any, look: Callable[..., None], *maps: Tensor) -> tuple[Tensor, ...]:
        ctx.look = look
        ctx.set_materialize_grads(False)
        return tuple(map_.view_as(map_) for map_ in maps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        ctx.look(*gradients)
        return None, *gradients


def _first_error(loss: HeatmapLoss, prediction: Maps, target: KeypointTarget, error: Exception) -> Exception:
    """The error of the loss as a user calls it, with its input checked first.

    If the input is invalid, that is the cause, and ``error`` only followed from it.
    """
    try:
        loss(prediction, target)
    except Exception as first:
        return first
    return error


def _failure_of_raised(
    loss: HeatmapLoss, prediction: Maps, target: KeypointTarget, error: Exception
) -> LossFailure:
    diverged = torch.stack([~map_.isfinite().flatten(2).all(-1) for map_ in as_tuple(prediction)]).any(0)
    if diverged.any():
        # Whatever the loss says about it, it is not to blame in this step.
        keypoints = diverged.any(0).nonzero().flatten().tolist()
        problem = "the model's output is NaN or infinite, training has diverged; lower the learning rate"
        return LossFailure(loss.name, problem, keypoints, diverged.shape[1])

    def fails(alone: KeypointTarget) -> bool:
        try:
            loss(prediction, alone)
        except Exception:
            return True
        return False

    problem = f"raises {type(error).__name__}: {' '.join(str(error).split())}"
    return LossFailure(loss.name, problem, *_keypoints_alone(target, fails))


def _failure_of_gradient(loss: HeatmapLoss, maps: tuple[Tensor, ...], target: KeypointTarget) -> LossFailure:
    with torch.enable_grad(), _alone(loss):
        again = as_maps(tuple(map_.requires_grad_() for map_ in maps))

        def is_finite(term: str, target: KeypointTarget) -> bool:
            found = torch.autograd.grad(loss(again, target)[term], maps, allow_unused=True)
            return all(each is None or bool(each.isfinite().all()) for each in found)

        terms = [term for term, value in loss(again, target).items() if value.requires_grad]
        term = next((term for term in terms if not is_finite(term, target)), None)
        if term is None:
            return LossFailure(loss.name, "the gradient of the sum of its terms is NaN or infinite", (), 0)
        keypoints = _keypoints_alone(target, lambda alone: not is_finite(term, alone))
    problem = f"the gradient of term {term!r} is NaN or infinite, though its value is not"
    return LossFailure(loss.name, problem, *keypoints)


@contextmanager
def _alone(loss: HeatmapLoss) -> Iterator[None]:
    """Let nothing be gathered from other processes, which do not take part in the search for the fault."""
    gathering = [module for module in loss.modules() if getattr(module, "gather", False)]
    for module in gathering:
        module.gather = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in gathering:
            module.gather = True  # type: ignore[assignment]


def _keypoints_alone(
    target: KeypointTarget, fails: Callable[[KeypointTarget], bool]
) -> tuple[list[int], int]:
    """The keypoints at which it fails also where all others are masked, and how many are visible."""
    visible = (target.weights > 0).any(dim=0).nonzero().flatten().tolist()
    failing = []
    for keypoint in visible:
        weights = torch.zeros_like(target.weights)
        weights[:, keypoint] = target.weights[:, keypoint]
        if fails(replace(target, weights=weights)):
            failing.append(keypoint)
    return failing, len(visible)
