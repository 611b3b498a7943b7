"""Spatial-RS, Instance-Sort and their sum, against the loop definition and values worked out by hand."""

import dataclasses
import math
from typing import get_args

import pytest
import torch
from builders.losses import forget_later
from builders.targets import make_target, on_maps, random_prediction

from rspose.losses import (
    InstanceSort,
    KeypointTarget,
    RSPose,
    SpatialRS,
    Sum,
    ap_loss,
    as_tuple,
    build,
    instance_sort,
    keypoint_similarity,
    rank_sort,
    register,
)
from rspose.losses.instance_sort import peak
from rspose.losses.rank_sort.reference import rank_sort_row
from rspose.losses.spatial_rs import Ranking


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_spatial_rs_ranks_otherwise_if_asked_to(head: str) -> None:
    target = make_target(head)
    maps = random_prediction(target)
    found = {ranking: SpatialRS(delta=0.4, ranking=ranking)(maps, target) for ranking in get_args(Ranking)}
    rows = [
        (map_.flatten(0, 1).flatten(1), label.where(label > 0.3, 0).flatten(0, 1).flatten(1))
        for map_, label in zip(as_tuple(maps), as_tuple(target.heatmaps), strict=True)
    ]
    ap = sum(ap_loss(*row, delta=0.4) for row in rows).mean()
    bucketed = sum(rank_sort(*row, delta=0.4, implementation="bucketed")[0] for row in rows).mean()
    torch.testing.assert_close(found["ap_loss"]["rank"], ap)
    torch.testing.assert_close(found["bucketed"]["rank"], bucketed)
    assert len({terms["rank"].item() for terms in found.values()}) == 3
    for terms in found.values():
        torch.testing.assert_close(terms["sort"], found["rank_sort"]["sort"])
    assert RSPose(delta=0.4, ranking="ap_loss")(maps, target)["rank"] == found["ap_loss"]["rank"]


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_terms_are_weighted_means_over_keypoints_of_the_sum_over_axes(head: str) -> None:
    target = make_target(head, instances=2, keypoints=3)
    weights = torch.tensor([[1.0, 0.0, 0.5], [0.0, 2.0, 1.0]])
    target = dataclasses.replace(target, weights=weights)
    prediction = random_prediction(target)
    terms = SpatialRS(2.0, 3.0, label_threshold=0.1, delta=1.5)(prediction, target)
    expected = {"rank": 0.0, "sort": 0.0}
    for b, k in weights.nonzero().tolist():
        for map_, label in zip(as_tuple(prediction), as_tuple(target.heatmaps), strict=True):
            y = label[b, k].flatten()
            rank, sort, *_ = rank_sort_row(map_[b, k].flatten().tolist(), (y * (y > 0.1)).tolist(), 1.5)
            expected["rank"] += 2.0 * weights[b, k].item() * rank / weights.sum().item()
            expected["sort"] += 3.0 * weights[b, k].item() * sort / weights.sum().item()
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
@pytest.mark.parametrize("among", ["keypoint_type", "batch"])
def test_pixels_of_many_maps_are_ranked_together(head: str, among: str) -> None:
    """Those of visible keypoints; a keypoint type that is visible nowhere does not count."""
    target = make_target(head, instances=3, keypoints=3)
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [0.0, 1.0, 0.0]])
    target = dataclasses.replace(target, weights=weights)
    prediction = random_prediction(target)
    terms = SpatialRS(2.0, 3.0, label_threshold=0.1, delta=1.5, among=among)(prediction, target)
    visible = weights.nonzero().tolist()
    sets = [[pair for pair in visible if among == "batch" or pair[1] == k] for k in range(3)]
    sets = [members for members in sets[: 1 if among == "batch" else 3] if members]
    expected = {"rank": 0.0, "sort": 0.0}
    for map_, label in zip(as_tuple(prediction), as_tuple(target.heatmaps), strict=True):
        for members in sets:
            scores = torch.cat([map_[b, k].flatten() for b, k in members])
            y = torch.cat([label[b, k].flatten() for b, k in members])
            rank, sort, *_ = rank_sort_row(scores.tolist(), (y * (y > 0.1)).tolist(), 1.5)
            expected["rank"] += 2.0 * rank / len(sets)
            expected["sort"] += 3.0 * sort / len(sets)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, abs=1e-6)
    sum(terms.values()).backward()
    for map_ in as_tuple(prediction):
        unseen = map_.grad[weights == 0]
        assert (unseen == 0).all() and (map_.grad != 0).any()


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
def test_scores_in_units_of_delta_do_not_depend_on_the_scale_that_the_loss_does_not_know(head: str) -> None:
    target = make_target(head, instances=3, keypoints=3)
    small = random_prediction(target)
    large = on_maps(lambda map_: 4 * map_, small)
    losses = RSPose(delta=0.5, scores="delta"), RSPose(delta=2.0, scores="delta")
    (terms, scores), (same, others) = (
        (loss(maps, target), as_tuple(loss.to_heatmaps(maps, (1.5, 1.5))))
        for loss, maps in zip(losses, (small, large), strict=True)
    )
    assert {name: term.item() for name, term in same.items()} == pytest.approx(
        {name: term.item() for name, term in terms.items()}, abs=1e-6
    )
    for one, other, raw in zip(scores, others, as_tuple(small), strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(one, torch.sigmoid(2 * raw - 3))
    with pytest.raises(ValueError, match="delta: expected a number above 0"):
        RSPose(delta=0.0, scores="delta")


def test_instance_sort_worked_out_by_hand() -> None:
    """Three scores in the wrong order, far apart. Only those below a worse one have an error."""
    score = torch.tensor([0.0, 10.0, 20.0], requires_grad=True)
    quality = torch.tensor([0.9, 0.5, 0.1])
    best = (0.5 * 0.1 + 0.5 + 0.9) / 2.5 - 0.1
    middle = (0.5 * 0.5 + 0.9) / 1.5 - 0.5
    loss = instance_sort(score, quality)
    loss.backward()
    assert loss.item() == pytest.approx((best + middle) / 3, abs=1e-6)
    # The best is pulled up; its error is shared by the two above it, the middle's falls to the worst alone.
    expected = torch.tensor([-best, best / 2 - middle, best / 2 + middle]) / 3
    torch.testing.assert_close(score.grad, expected)


def test_instance_sort_of_the_right_order_of_equal_qualities_and_of_nothing_is_zero() -> None:
    assert instance_sort(torch.tensor([5.0, 3.0, 1.0]), torch.tensor([0.9, 0.5, 0.0])).item() == 0
    assert instance_sort(torch.randn(7), torch.full((7,), 0.4)).item() == pytest.approx(0, abs=1e-6)
    assert instance_sort(torch.zeros(0), torch.zeros(0)).item() == 0


def test_a_quality_of_zero_still_counts() -> None:
    """Qualities 1 and 0 in the wrong order: error 1 / 1.5 of the first, over two."""
    assert instance_sort(torch.tensor([0.0, 9.0]), torch.tensor([1.0, 0.0])).item() == pytest.approx(1 / 3)


def test_peak_is_the_highest_pixel_and_the_smaller_of_both_axes() -> None:
    heatmap = torch.zeros(1, 1, 4, 5)
    heatmap[0, 0, 3, 1] = 7.0
    score, location = peak(heatmap)
    assert score.item() == 7 and location.tolist() == [[[1, 3]]]
    x, y = torch.zeros(1, 1, 6), torch.zeros(1, 1, 8)
    x[0, 0, 4], y[0, 0, 7] = 3.0, 2.0
    score, location = peak((x, y))
    assert score.item() == 2 and location.tolist() == [[[4, 7]]]


def target_at(places: list[tuple[float, float]], scale: float, sigma: float) -> KeypointTarget:
    """An instance with keypoints at these places of a map of 6 by 6 pixels."""
    number = len(places)
    return KeypointTarget(
        heatmaps=torch.zeros(1, number, 6, 6),
        keypoints=torch.tensor([places]),
        weights=torch.ones(1, number),
        scale=torch.tensor([scale]),
        sigmas=torch.full((number,), sigma),
    )


def test_keypoint_similarity_is_the_summand_of_oks() -> None:
    """d = 5, s = 10, sigma = 0.25: k = 0.5 and exp(-25 / (2 * 100 * 0.25))."""
    target = target_at([(3.0, 4.0)], scale=10.0, sigma=0.25)
    assert keypoint_similarity(torch.zeros(1, 1, 2), target).item() == pytest.approx(math.exp(-0.5))


def test_only_a_perfect_location_is_similar_to_an_instance_of_scale_zero() -> None:
    target = target_at([(3.0, 4.0), (3.0, 4.01)], scale=0.0, sigma=0.1)
    assert keypoint_similarity(torch.tensor([[[3.0, 4.0], [3.0, 4.0]]]), target).tolist() == [[1, 0]]
    # In the loss: the one aside is more confident. Quality 1 at logit 0 below quality 0 at logit 9.
    prediction = torch.full((1, 2, 6, 6), -5.0)
    prediction[0, 0, 4, 3], prediction[0, 1, 4, 3] = 0, 9
    prediction.requires_grad_()
    (term,) = InstanceSort()(prediction, target).values()
    term.backward()
    assert term.item() == pytest.approx(1 / 1.5 / 2)
    assert prediction.grad[0, :, 4, 3].tolist() == pytest.approx([-1 / 3, 1 / 3])


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
@pytest.mark.parametrize("delta", [0.5, 0.1])
@pytest.mark.parametrize("sorts", ["keypoint", "pose", "keypoint_type"])
def test_instance_sort_moves_peaks_only_and_sorts_what_it_says(head: str, sorts: str, delta: float) -> None:
    target = make_target(head, instances=6, keypoints=3)
    weights = target.weights
    weights[0, 1], weights[2], weights[:, 0] = 0, 0, 0  # nobody's keypoint 0 is visible
    prediction = random_prediction(target)
    chosen = {"scope": sorts} if sorts == "keypoint_type" else {"level": sorts}
    (term,) = InstanceSort(delta=delta, **chosen)(prediction, target).values()
    term.backward()
    score, location = peak(prediction)
    quality = keypoint_similarity(location.float(), target)
    if sorts == "keypoint_type":
        seen = [(slice(None), keypoint) for keypoint in (1, 2)]
    else:
        seen = [(instance, slice(None)) for instance in (0, 1, 3, 4, 5)]
    sets = [(score[each][weights[each] > 0], quality[each][weights[each] > 0]) for each in seen]
    if sorts == "pose":
        sets = [(s.mean()[None], q.mean()[None]) for s, q in sets]
    if sorts != "keypoint_type":
        sets = [tuple(torch.cat(part) for part in zip(*sets, strict=True))]
    errors = [rank_sort_row(s.tolist(), q.tolist(), delta)[1] for s, q in sets]
    assert sum(errors) > 0
    assert term.item() == pytest.approx(sum(errors) / len(errors), abs=1e-6)
    for map_ in as_tuple(prediction):
        moved = map_.grad.flatten(2) != 0
        is_peak = map_.detach().flatten(2) == map_.detach().flatten(2).amax(dim=2, keepdim=True)
        assert moved.any()
        assert not (moved & ~is_peak).any()


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
@pytest.mark.parametrize(
    ("base", "keypoints"), [("mse", 5), ("kl", 5), ("kal", 5), ("kal", 3), ("heuristic", 133)]
)
def test_a_sum_has_the_terms_of_its_parts_and_is_read_as_its_first(
    head: str, base: str, keypoints: int
) -> None:
    target = make_target(head, keypoints=keypoints)
    prediction = random_prediction(target)
    below, spatial, sorting = build(base, {}, keypoints), SpatialRS(2.0), InstanceSort(delta=0.1)
    parts = {base: 2, "spatial_rs": {"rank_weight": 2.0}, "instance_sort": {"weight": 0.5, "delta": 0.1}}
    loss = build("sum", {"parts": parts}, keypoints)
    expected = {term: 2 * value for term, value in below(prediction, target).items()}
    expected |= spatial(prediction, target)
    expected["instance_sort"] = 0.5 * sorting(below.logits(prediction), target)["instance_sort"]
    found = loss(prediction, target)
    assert found == expected and list(found) == list(expected)
    if base == "kl":  # of which no constant added to a map counts
        logs = on_maps(lambda map_: map_.flatten(2).log_softmax(-1).view_as(map_), prediction)
        assert found["instance_sort"] == 0.5 * sorting(logs, target)["instance_sort"]
    for read in (lambda each: each.logits(prediction), lambda each: each.to_heatmaps(prediction, (2.0, 2.0))):
        pairs = zip(as_tuple(read(loss)), as_tuple(read(below)), strict=True)
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
    assert loss.learned() == below.learned()
    assert loss.reconstruction and loss.reference.startswith(below.reference)


@pytest.mark.parametrize("head", ["heatmap", "simcc"])
@pytest.mark.parametrize("base", ["kl", "dm"])
def test_added_to_a_loss_on_distributions_instance_sort_sorts_its_confidences(head: str, base: str) -> None:
    target = make_target(head)
    loss = Sum({base: 1, "instance_sort": 0.5})
    prediction = on_maps(lambda map_: 3 * map_, random_prediction(target))
    moved = on_maps(lambda map_: map_ + torch.arange(20.0).view(4, 5, *[1] * (map_.ndim - 2)), prediction)
    first, second = loss(prediction, target), loss(moved, target)
    torch.testing.assert_close(first["instance_sort"], second["instance_sort"])
    torch.testing.assert_close(first[base], second[base])
    if base == "dm":
        return  # its confidence is the mass around the peak, not the peak alone
    score, _ = peak(loss.logits(moved))
    confidence, _ = peak(loss.to_heatmaps(moved, (2.0, 2.0)))
    assert torch.equal(score.flatten().argsort(), confidence.flatten().argsort())


def test_a_sum_serves_the_heads_that_all_its_parts_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_later(monkeypatch)

    @register
    class Line(SpatialRS):
        """Has terms that Spatial-RS has too, and one head."""

        name, title, heads = "line", "Line", ("simcc",)

    @register
    class Plane(SpatialRS):
        name, title, heads = "plane", "Plane", ("heatmap",)

    for parts in ({"line": 1, "mse": 1}, {"mse": 1, "line": 1}):
        target = make_target("heatmap")
        with pytest.raises(ValueError, match=r"sum loss: prediction: expected the output of .*\('simcc',\)"):
            Sum(parts)(random_prediction(target), target)
    with pytest.raises(ValueError, match="expected losses that serve a head together, found line, plane"):
        Sum({"line": 1, "plane": 1})
    target = make_target("simcc")
    expected = (
        "sum loss: parts: expected losses with terms of different names, found rank, sort twice, in line"
    )
    with pytest.raises(ValueError, match=expected):
        Sum({"spatial_rs": 1, "line": 1})(random_prediction(target), target)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, r"sum loss: parts: expected names of losses with their weights, found \{\}"),
        ("mse", "sum loss: parts: expected names of losses with their weights, found 'mse'"),
        ({"mse": -1}, "sum loss: parts: mse: expected a number of at least 0, found -1"),
        ({"mse": {"weight": "a"}}, "sum loss: parts: mse: expected a number of at least 0, found 'a'"),
        ({"mse": 1, "sum": 1}, "sum loss: parts: a sum is no part of a sum: name its parts instead"),
        ({"mes": 1}, "unknown loss 'mes': expected one of"),
        ({"mse": {"delta": 1}}, "mse loss: unknown parameter 'delta': expected one of reduction"),
        ({"instance_sort": 1, "mse": 1}, "expected a loss that localises first, found 'instance_sort'"),
    ],
)
def test_parts_that_cannot_be_added_up_are_named(parts: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("sum", {"parts": parts}, 5)


@pytest.mark.parametrize("sorts", [{"level": "pose"}, {"scope": "keypoint_type"}])
def test_rspose_is_the_sum_of_its_parts(sorts: dict[str, str]) -> None:
    target = make_target("simcc")
    prediction = random_prediction(target)
    found = RSPose(2.0, 3.0, 0.7, label_threshold=0.2, delta=0.4, among="batch", **sorts)(prediction, target)
    expected = SpatialRS(2.0, 3.0, 0.2, 0.4, among="batch")(prediction, target)
    expected["instance_sort"] = 0.7 * InstanceSort(delta=0.4, **sorts)(prediction, target)["instance_sort"]
    assert found == expected and list(found) == ["rank", "sort", "instance_sort"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rank_weight": -1}, "rank_weight: expected a number of at least 0, found -1"),
        ({"label_threshold": 1.0}, "label_threshold: expected a number of at least 0 and below 1, found 1.0"),
        ({"delta": -0.5}, "delta: expected a number of at least 0, found -0.5"),
        (
            {"instance_weight": float("nan")},
            "rspose loss: instance_weight: expected a number of at least 0, found nan",
        ),
        ({"scope": "image"}, "scope: expected 'batch' or 'keypoint_type', found 'image'"),
        ({"level": "pose", "scope": "keypoint_type"}, "scope: expected 'batch' at pose level"),
        ({"ranking": "lap"}, "ranking: expected 'rank_sort', 'bucketed' or 'ap_loss', found 'lap'"),
        ({"among": "person"}, "among: expected 'map', 'keypoint_type' or 'batch', found 'person'"),
        ({"level": "image"}, "level: expected 'keypoint' or 'pose', found 'image'"),
    ],
)
def test_bad_parameters_are_named(parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RSPose(**parameters)
