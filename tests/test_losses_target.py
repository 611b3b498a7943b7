"""A target made from keypoints: its labels, its scale, and what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from builders.losses import every_loss_and_head
from builders.targets import SIGMA, SIZE, gaussian_labels, random_prediction

from rspose.datasets import dataset
from rspose.losses import KeypointTarget, as_tuple, build

PLACES = [[[3.25, 4.5], [10.0, 20.5], [0.0, 0.0]], [[7.0, 7.75], [23.0, 31.0], [12.5, 16.0]]]


def made(head: str = "heatmap", **changes: Any) -> KeypointTarget:
    given = {"keypoints": PLACES, "size": SIZE[head], "sigma": SIGMA[head], "sigmas": 0.1, "areas": 64}
    return KeypointTarget.from_keypoints(**{**given, **changes}, head=head)


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_labels_are_gaussians_around_the_keypoints(head: str) -> None:
    expected = as_tuple(gaussian_labels(head, torch.tensor(PLACES)))
    for label, other in zip(as_tuple(made(head).heatmaps), expected, strict=True):
        torch.testing.assert_close(label, other)


def test_what_is_given_once_holds_for_all_and_lists_serve() -> None:
    target = made(areas=[64, 100], visible=[[1, 1, 0], [1, 0, 1]])
    assert (target.scale.tolist(), target.visible.tolist()) == ([8.0, 10.0], [0, 1, 3, 5])
    torch.testing.assert_close(target.sigmas, torch.full((3,), 0.1))
    assert made().weights.tolist() == [[1.0] * 3] * 2


def test_boxes_stand_for_areas_by_the_share_that_a_person_fills() -> None:
    torch.testing.assert_close(
        made(areas=None, boxes=[[10, 20], [30, 40]]).scale ** 2, 0.53 * torch.tensor([200.0, 1200])
    )


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_what_lies_far_outside_the_maps_is_masked_as_by_mmpose(head: str) -> None:
    from mmpose.codecs import MSRAHeatmap, SimCCLabel

    import rspose.training  # noqa: F401  (makes mmpose importable)

    w, h = SIZE[head]
    reach = 3 * (sigma := 2.0)
    beside, above = ([-1.5 * reach, 1 - reach, n / 2, n - 3 + reach, n + 1.5 * reach] for n in (w, h))
    places = [[x, h / 2] for x in beside] + [[w / 2, y] for y in above]
    ours = made(head, keypoints=[places], sigma=sigma)
    if head == "heatmap":
        codec: Any = MSRAHeatmap((w, h), (w, h), sigma=sigma)
    else:
        codec = SimCCLabel((w, h), sigma=sigma, simcc_split_ratio=1.0)
    theirs = codec.encode(np.array([places], dtype=np.float32), np.ones((1, len(places)), np.float32))
    assert ours.weights.tolist() == theirs["keypoint_weights"].tolist()
    assert ours.weights[0].tolist() == [0, 1, 1, 1, 0] * 2


def test_a_place_that_is_no_number_is_refused_unless_it_is_masked() -> None:
    places = [[[float("nan"), 1.0], [3.0, 4.0], [5.0, 6.0]]]
    for visible in ([[1, 1, 1]], [[0, 1, 1]]):
        target = made(keypoints=places, visible=visible)
        loss = build("mse")
        if visible[0][0]:
            with pytest.raises(ValueError, match=r"target.keypoints: expected finite places"):
                loss(torch.zeros_like(as_tuple(target.heatmaps)[0]), target)
        else:
            assert loss(torch.zeros_like(as_tuple(target.heatmaps)[0]), target)["mse"].isfinite()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"keypoints": [1.0, 2.0]}, r"keypoints: expected shape \[B, K, 2\], found \[2\]"),
        ({"sigmas": [0.1, 0.2]}, r"sigmas: expected a number or shape \[3\], found shape \[2\]"),
        ({"boxes": [[1, 2]] * 2}, "areas, boxes: expected one of them, found both"),
        ({"areas": None}, "areas, boxes: expected one of them, found neither"),
        ({"keypoints": "here"}, "keypoints: expected numbers, found 'here'"),
        ({"keypoints": [[[1.0, 2.0], [3.0]]]}, "keypoints: expected numbers, found"),
        ({"sigmas": "coco"}, "sigmas: expected numbers, found 'coco'"),
        ({"areas": [4, -1]}, r"areas: expected numbers of at least 0, found \[4.0, -1.0\]"),
        ({"size": 24}, "size: expected width and height, whole numbers above 0, found 24"),
        ({"size": (24.5, 32)}, "size: expected width and height, whole numbers above 0"),
        ({"size": (0, 32)}, "size: expected width and height, whole numbers above 0"),
        ({"size": (24, 32, 3)}, "size: expected width and height, whole numbers above 0"),
        ({"sigma": []}, "sigma: expected a number, or one along x and one along y"),
        ({"sigma": 0.0}, r"sigma \(x\): expected a number above 0, found 0.0"),
        ({"sigma": (1, 2, 3)}, "sigma: expected a number, or one along x and one along y"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"KeypointTarget: {said}"):
        made(**changes)


@pytest.mark.parametrize("sigma", [2, (2.0, 2.0), [2, 2], np.float32(2), np.full(2, 2.0), torch.tensor(2)])
def test_numbers_of_any_kind_say_the_same(sigma: Any) -> None:
    expected = as_tuple(made(sigma=2.0).heatmaps)
    given = made(sigma=sigma, size=np.array(SIZE["heatmap"]), keypoints=np.array(PLACES, dtype=np.float32))
    torch.testing.assert_close(as_tuple(given.heatmaps), expected)


def test_keypoints_in_pixels_of_the_image_are_told() -> None:
    with pytest.warns(UserWarning, match="found 4 of 6 visible outside the maps of 24 x 32"):
        made(keypoints=np.array(PLACES) * 8)
    with pytest.raises(ValueError, match=r"prediction: expected floating-point numbers, found torch\.int64"):
        build("kl")(torch.zeros(2, 3, 32, 24, dtype=torch.int64), made())


@every_loss_and_head
def test_a_loss_takes_it_with_defaults(name: str, head: str) -> None:
    target = made(head)
    terms = build(name, num_keypoints=3)(random_prediction(target), target)
    assert all(term.isfinite() for term in terms.values())


def test_a_loss_that_has_to_know_the_number_of_keypoints_says_so() -> None:
    with pytest.raises(
        ValueError, match="kal loss: num_keypoints: expected the number of keypoints, found none"
    ):
        build("kal")


def test_the_call_of_a_loss_is_traced_without_a_break() -> None:
    torch.compiler.reset()
    target, loss = made().to("cpu"), build("mse")
    prediction = random_prediction(target)
    traced = torch.compile(loss, backend="eager", fullgraph=True)
    assert traced(prediction, target)["mse"] == loss(prediction, target)["mse"]


def test_sigmas_of_a_dataset_are_found_by_its_name() -> None:
    keypoints = torch.rand(2, 17, 2)
    target = made(keypoints=keypoints, sigmas=dataset("coco").keypoints.sigmas)
    assert target.sigmas[0].item() == pytest.approx(0.026)
