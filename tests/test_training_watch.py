"""A loss that goes wrong in training is named, with the term and the keypoints to blame."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from builders.targets import make_target, on_maps, random_prediction
from torch import Tensor

from rspose.losses import HeatmapLoss, KeypointTarget, Maps, as_tuple, build
from rspose.training.watch import LossFailure, watched_terms

both_heads = pytest.mark.parametrize("head", ["heatmap", "simcc"])
Terms = dict[str, Tensor]


class Custom(HeatmapLoss):
    """Whatever a test makes of each keypoint's mean squared output, ``[K]``."""

    name = title = reference = "custom"

    def __init__(self, make: Callable[[Tensor], Terms]) -> None:
        super().__init__()
        self.make = make

    def terms(self, prediction: Maps, target: KeypointTarget) -> Terms:
        squares = sum(map_.square().flatten(2).mean(-1) for map_ in as_tuple(prediction))
        return self.make((target.weights * squares).sum(0))


def failure(head: str, make: Callable[[Tensor], Terms], **changes: Tensor) -> LossFailure:
    target = replace(make_target(head), **changes)
    with pytest.raises(LossFailure) as raised:
        terms = watched_terms(Custom(make), random_prediction(target), target, gradients=True)
        sum(terms.values()).backward()
    assert "\n" not in str(raised.value)
    return raised.value


@both_heads
def test_the_terms_and_gradients_of_a_sound_loss_are_those_of_the_loss(head: str) -> None:
    target = make_target(head)
    watched, plain = random_prediction(target), random_prediction(target)
    loss = build("rspose", {}, 5)
    found, expected = watched_terms(loss, watched, target, gradients=True), loss(plain, target)
    assert found.keys() == expected.keys()
    for terms in (found, expected):
        sum(terms.values()).backward()
    for one, other in zip(as_tuple(watched), as_tuple(plain), strict=True):
        assert torch.equal(one.grad, other.grad)


@both_heads
def test_a_term_that_is_not_finite_is_named_with_its_keypoint(head: str) -> None:
    def make(each: Tensor) -> Terms:
        # Keypoint 3 alone: 0 where it is masked.
        bad = torch.log(-each[3]).nan_to_num(nan=torch.nan, neginf=0)
        return {"good": each.sum(), "bad": each.sum() + bad}

    found = failure(head, make)
    assert (found.loss, found.problem, found.keypoints) == ("custom", "term 'bad' is NaN", (3,))
    names = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
    assert found.message(37, names) == "loss custom, step 37: term 'bad' is NaN, at keypoint left_ear"
    infinite = failure(head, lambda each: {"bad": each.sum() / (each[1] - each[1])})
    assert infinite.problem == "term 'bad' is infinite"


@both_heads
def test_a_loss_that_raises_is_named_with_its_error_and_keypoints(head: str) -> None:
    def make(each: Tensor) -> Terms:
        if (each[[1, 4]] > 0).any():
            raise IndexError("no\nsuch bin")
        return {"x": each.sum()}

    assert str(failure(head, make)) == "loss custom: raises IndexError: no such bin, at keypoints 1, 4"


def test_a_loss_that_fails_everywhere_or_only_over_all_keypoints_says_so() -> None:
    def everywhere(each: Tensor) -> Terms:
        return {"x": each.sum() * torch.nan}

    def together(each: Tensor) -> Terms:
        return {"x": each.sum() * (torch.nan if (each > 0).sum() > 1 else 1)}

    said = "loss custom: term 'x' is NaN, at"
    assert str(failure("simcc", everywhere)) == f"{said} every one of 5 keypoints"
    assert str(failure("simcc", together)) == f"{said} no keypoint alone"
    one_visible = torch.eye(5)[2].expand(4, 5)
    assert str(failure("simcc", everywhere, weights=one_visible)) == f"{said} keypoint 2"


@both_heads
def test_a_gradient_that_is_not_finite_is_named_with_its_term_and_keypoint(head: str) -> None:
    def make(each: Tensor) -> Terms:
        return {"good": each.sum(), "root": (each[2] * 0).sqrt() if each[2] > 0 else each.sum()}

    found = failure(head, make)
    assert found.problem == "the gradient of term 'root' is NaN or infinite, though its value is not"
    assert found.keypoints == (2,)
    target = make_target(head)
    sum(watched_terms(Custom(make), random_prediction(target), target).values()).backward()  # not watched


@both_heads
def test_an_output_that_is_not_finite_is_laid_to_the_training(head: str) -> None:
    target = make_target(head)
    prediction = on_maps(lambda map_: map_.detach().clone(), random_prediction(target))
    for map_ in as_tuple(prediction):
        map_[0, 1] = torch.nan
    with pytest.raises(LossFailure) as raised:
        watched_terms(build("mse", {}, 5), prediction, target)
    assert "output is NaN or infinite, training has diverged" in str(raised.value)
    assert raised.value.keypoints == (1,)


@both_heads
def test_the_maps_of_a_step_are_freed_after_it(head: str) -> None:
    loss, target = build("mse", {}, 5), make_target(head)
    prediction = on_maps(torch.clone, random_prediction(target))  # no leaf, as a network's output
    watched = weakref.ref(as_tuple(prediction)[0])
    gc.disable()  # a cycle that waits for it holds gigabytes meanwhile
    try:
        sum(watched_terms(loss, prediction, target, gradients=True).values(), torch.zeros(())).backward()
        del prediction
        assert watched() is None
    finally:
        gc.enable()
