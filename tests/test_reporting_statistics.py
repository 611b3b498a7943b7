"""Intervals, paired differences and ties: against definitions, scipy, and simulated experiments."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders.records import COCO_METRICS, record, with_bootstrap, write
from scipy import stats

from rspose.evaluation.mpii import pckh
from rspose.evaluation.pck import Judgement
from rspose.evaluation.resampling import Matches, draws, precision_and_recall, summary
from rspose.grid.record import Record
from rspose.reporting.frame import ordered_records
from rspose.reporting.statistics import (
    Paired,
    Verdict,
    crossed,
    difference,
    differences,
    estimate,
    paired,
    simultaneous,
    verdict,
)

AP = "metrics.AP"


def runs(loss: str, values: list[float], first_seed: int = 0, **changes: Any) -> list[Record]:
    """Records of one cell, a seed each."""
    return [
        Record.of(
            Path(f"{loss}{seed}"),
            record(loss=loss, seed=seed, metrics={**COCO_METRICS, "AP": value}, **changes),
        )
        for seed, value in enumerate(values, first_seed)
    ]


def replicated(run: Record, replicates: np.ndarray, images: int = 200) -> Record:
    return Record.of(run.path, with_bootstrap(run.content, {AP: replicates}, images))


def coverage(intervals: Iterable[tuple[float, ...]], truth: float) -> float:
    """The share of 95 % intervals that hold the truth."""
    return float(np.mean([low <= truth <= high for low, high, *_ in intervals]))


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_interval_over_seeds_covers_the_true_mean_in_95_of_100_experiments(seeds: int) -> None:
    experiments = np.random.default_rng(seeds).normal(0.4, 0.01, (1500, seeds))
    # Three standard errors of a share of 1500.
    assert coverage((crossed([one]) for one in experiments), 0.4) == pytest.approx(0.95, abs=0.017)


def test_the_interval_over_strata_covers_the_true_mean_of_datasets_that_spread_unequally() -> None:
    rng = np.random.default_rng(1)
    intervals = (
        crossed([rng.normal(0.4, 0.01, 5), rng.normal(0.8, 0.002, 5), rng.normal(0.6, 0.02, 4)])
        for _ in range(1500)
    )
    assert coverage(intervals, 0.6) == pytest.approx(0.95, abs=0.027)


@pytest.mark.parametrize(("of_seeds", "of_images"), [(0.02, 0.05), (0.05, 0.02), (0.001, 0.05)])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_interval_over_seeds_and_images_covers_what_neither_changes(
    seeds: int, of_seeds: float, of_images: float
) -> None:
    """Effects of seeds, of images and of both are known, and two strata share the images."""
    rng, images = np.random.default_rng([seeds, round(1000 * of_seeds)]), 100
    counts = draws("coco", images)
    intervals = []
    for _ in range(1200):
        seed_effects = rng.normal(0, of_seeds, (2, seeds, 1))
        image_effects = rng.normal(0, of_images * np.sqrt(images), (1, 1, images))
        own = rng.normal(0, 0.3 * of_images * np.sqrt(images), (2, seeds, images))
        scores = 0.1 + seed_effects + image_effects + own
        replicates = scores.mean(axis=1) @ counts / images
        intervals.append(crossed(list(scores.mean(axis=2)), list(replicates)))
    # Three standard errors of a share of 1200. Interaction is counted twice: wide by less than a point here.
    assert coverage(intervals, 0.1) == pytest.approx(0.955, abs=0.02)


def test_the_interval_over_images_covers_the_true_pckh_in_95_of_100_experiments() -> None:
    rng = np.random.default_rng(2)
    images = 150
    counts = draws("mpii", images)
    everywhere = np.ones((images, 16), dtype=bool)
    intervals = []
    for _ in range(400):
        # Images are harder or easier as a whole: keypoints of one image are not independent.
        right = rng.uniform(size=(images, 16)) < rng.beta(4, 2, (images, 1))
        judgement = Judgement(
            {0.5: right, 0.1: right}, everywhere, everywhere, np.arange(images), np.arange(images)
        )
        values = {"metrics.PCKh": pckh(judgement, counts)["PCKh"]}
        intervals.append(summary(values, {}, images)["intervals"]["metrics.PCKh"])
    assert coverage(intervals, 4 / 6) == pytest.approx(0.95, abs=0.04)


def matches(rng: np.random.Generator, images: int, models: int = 1) -> list[Matches]:
    """Models on the same images: what is hard for one is mostly hard for the next, which is better.

    The score of a detection knows a little of whether it is true.
    """
    persons = rng.poisson(2.0, images) + 1
    image = np.repeat(np.arange(images), persons + 1)
    ease, luck = rng.beta(5, 3, images)[image], rng.uniform(size=len(image))
    found = []
    for model in range(models):
        own = np.where(rng.uniform(size=len(image)) < 0.8, luck, rng.uniform(size=len(image)))
        true = own < ease + 0.05 * model
        # No more true detections than persons: the last detection of an image is a false one.
        true[np.cumsum(persons + 1) - 1] = False
        order = np.argsort(-(0.5 * true + rng.normal(0, 0.5, len(image))), kind="stable")
        found.append(Matches(image[order], true[order][None], ~true[order][None], persons))
    return found


def average_precision(found: Matches) -> float:
    return precision_and_recall(found, np.ones((len(found.persons), 1), dtype=np.int32))[0][0, 0]


def test_the_interval_over_images_covers_the_true_ap_in_95_of_100_experiments() -> None:
    rng = np.random.default_rng(3)
    (many,) = matches(rng, 200_000)
    counts = draws("coco", 200)
    intervals = (
        summary({AP: precision_and_recall(found, counts)[0][0]}, {}, 200)["intervals"][AP]
        for _ in range(300)
        for found in matches(rng, 200)
    )
    assert coverage(intervals, average_precision(many)) == pytest.approx(0.95, abs=0.045)


@pytest.mark.slow
def test_the_paired_interval_over_images_covers_the_true_difference_of_ap_in_95_of_100_experiments() -> None:
    rng = np.random.default_rng(5)
    first, second = map(average_precision, matches(rng, 200_000, models=2))
    assert second - first > 0.02
    counts = draws("coco", 200)
    intervals = []
    for _ in range(300):
        stratum = []
        for loss, found in zip(("mse", "kl"), matches(rng, 200, models=2), strict=True):
            (run,) = runs(loss, [average_precision(found)])
            stratum.append([replicated(run, precision_and_recall(found, counts)[0][0])])
        one = difference([(*stratum[::-1], AP)])
        intervals.append((one.low, one.high))
    # Two standard errors of a share of 300, and two points: over 200 images a bootstrap is a little narrow.
    assert coverage(intervals, second - first) == pytest.approx(0.95, abs=0.045)


def test_seeds_give_mean_deviation_and_students_interval() -> None:
    values = [0.41, 0.47, 0.44, 0.42, 0.45]
    found = estimate(runs("mse", values), AP)
    assert (found.mean, found.std) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))
    assert (found.seeds, found.basis) == (5, "seeds")
    expected = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)


def test_one_seed_has_the_interval_over_images_of_its_record() -> None:
    (run,) = runs("mse", [0.4])
    found = estimate([replicated(run, np.linspace(0.3, 0.5, 101))], AP)
    assert (found.low, found.high, found.basis) == (pytest.approx(0.305), pytest.approx(0.495), "images")
    without = estimate([run], AP)
    assert without.basis is None and np.isnan([without.low, without.high]).all()


def test_an_interval_ends_where_the_scale_does() -> None:
    found = [estimate(runs("mse", of), AP) for of in ([0.0, 0.2], [0.6, 1.0])]
    assert [(of.low, of.high) for of in found] == [(0, 1), (0, 1)], (
        "Student's t with one degree of freedom reaches much further"
    )
    either = runs("mse", [0.5, 0.5])
    for run, value in zip(either, (-0.2, 0.3), strict=True):
        run.scores["confidence.keypoint.spearman"] = value
    found = estimate(either, "confidence.keypoint.spearman")
    assert (found.low, found.high) == (-1, 1)
    for run, value in zip(either, (0.0, 0.3), strict=True):
        run.scores["diagnosis.errors.good"] = value
    assert estimate(either, "diagnosis.errors.good").low == 0


def test_the_difference_over_seeds_is_that_of_a_paired_t_test() -> None:
    mse, kl = [0.40, 0.42, 0.41, 0.44], [0.43, 0.44, 0.445, 0.45]
    found = difference([(runs("kl", kl), runs("mse", mse), AP)])
    assert found.difference == pytest.approx(np.mean(kl) - np.mean(mse))
    assert found.p == pytest.approx(stats.ttest_rel(kl, mse).pvalue)
    gains = np.subtract(kl, mse)
    assert found.probability == (gains > 0).mean() == 1
    ends = stats.binomtest(4, 4).proportion_ci(method="wilson")
    assert (found.probability_low, found.probability_high) == pytest.approx((ends.low, ends.high))
    exact = stats.permutation_test((gains,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert found.flip == pytest.approx(exact.pvalue) == 2 / 2**4
    assert (found.pairs, found.basis) == (4, "seeds")
    assert found.low < found.difference < found.high


def test_the_difference_over_seeds_and_images_holds_the_variance_of_both() -> None:
    rng = np.random.default_rng(1)
    mse, kl = [0.40, 0.42, 0.41, 0.44], [0.43, 0.44, 0.445, 0.45]
    hard = rng.normal(0, 0.03, 500)  # for both losses
    gained = rng.normal(0, 0.006, (4, 500))
    ours = [replicated(run, kl[at] + hard + gained[at]) for at, run in enumerate(runs("kl", kl))]
    theirs = [replicated(run, mse[at] + hard) for at, run in enumerate(runs("mse", mse))]
    found = difference([(ours, theirs, AP)])
    gains = np.subtract(kl, mse)
    of_seeds, of_images = gains.var(ddof=1) / 4, gained.mean(axis=0).var(ddof=1)
    error = np.sqrt(of_seeds + of_images)
    freedom = error**4 / (of_seeds**2 / 3 + of_images**2 / 499)
    assert (found.pairs, found.basis) == (4, "seeds and images")
    expected = stats.t.interval(0.95, freedom, gains.mean(), error)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-4)
    assert found.p == pytest.approx(2 * stats.t.sf(gains.mean() / error, freedom), rel=0.02)
    others = [replicated(run, np.full(500, mse[at]), images=90) for at, run in enumerate(runs("mse", mse))]
    assert difference([(ours, others, AP)]).basis == "seeds"
    of_each = [
        [replicated(run, np.full(500 - at, of[at]), images=200 - at) for at, run in enumerate(runs(loss, of))]
        for loss, of in (("kl", kl), ("mse", mse))
    ]
    assert difference([(*of_each, AP)]).basis == "seeds", "each seed on draws of its own"


def test_only_seeds_that_both_losses_have_pair_up() -> None:
    found = difference([(runs("kl", [0.5, 0.6, 0.9]), runs("mse", [0.55, 0.7], first_seed=1), AP)])
    assert (found.pairs, found.difference) == (2, pytest.approx(((0.6 - 0.55) + (0.9 - 0.7)) / 2))
    assert difference([(runs("kl", [0.5]), runs("mse", [0.5], first_seed=1), AP)]) is None


def test_numbers_of_other_copies_of_the_data_do_not_pair_up() -> None:
    assert difference([(runs("kl", [0.5], data={"checksum": "x"}), runs("mse", [0.4]), AP)]) is None


def test_the_difference_over_images_is_that_of_the_same_images() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 0.05, 500)  # images that are hard for both
    own = rng.normal(0, 0.004, 500)
    (mse,), (kl,) = runs("mse", [0.40]), runs("kl", [0.41])
    strata = (
        [replicated(kl, 0.41 + shared + own)],
        [replicated(mse, 0.40 + shared)],
        AP,
    )
    found = difference([strata])
    assert found.basis == "images"
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(0.01 + own, [0.025, 0.975])), abs=1e-4)
    assert found.probability == pytest.approx((own > -0.01).mean(), abs=0.003)
    assert found.p == pytest.approx(2 * stats.norm.sf(0.01 / own.std(ddof=1)), rel=0.02)


def test_replicates_of_other_draws_give_no_interval() -> None:
    (mse,), (kl,) = runs("mse", [0.40]), runs("kl", [0.41])
    ours, theirs = np.full(500, 0.41), np.full(500, 0.40)
    found = difference([([replicated(kl, ours)], [replicated(mse, theirs, images=100)], AP)])
    assert found.basis is None and np.isnan([found.low, found.high, found.p, found.probability]).all()


def test_equal_numbers_do_not_differ() -> None:
    found = difference([(runs("kl", [0.4, 0.5]), runs("mse", [0.4, 0.5]), AP)])
    assert (found.difference, found.low, found.high, found.probability, found.p) == (0, 0, 0, 0.5, 1)
    assert found.flip == 1 and verdict(found) is Verdict.EQUIVALENT


def experiment(
    rng: np.random.Generator,
    truths: list[float],
    seeds: int,
    of_seeds: float = 0.005,
    of_images: float = 0.008,
) -> list[Paired]:
    """Losses minus MSE: MSE's seeds are in every difference, and the images are the same for all."""
    images = 60
    counts = draws("coco", images)
    own = rng.normal(0, of_seeds, (len(truths) + 1, seeds))
    hard = rng.normal(0, of_images * np.sqrt(images), (len(truths) + 1, images))
    scores = own[:, :, None] + hard[:, None] + np.array([0, *truths])[:, None, None] + 0.4
    replicates = scores @ counts / images
    of_loss = [
        [replicated(run, drawn) for run, drawn in zip(runs(f"loss{number}", list(one)), of_run, strict=True)]
        for number, (one, of_run) in enumerate(zip(scores.mean(axis=2), replicates, strict=True))
    ]
    return [paired([(ours, of_loss[0], AP)]) for ours in of_loss[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 10])
def test_simultaneous_intervals_hold_all_true_differences_in_95_of_100_experiments(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    truths = [0.0, 0.0, 0.01, 0.0, -0.02, 0.0]
    held, alone, found_all = [], [], []
    for _ in range(500):
        family = experiment(rng, truths, seeds)
        found = simultaneous(family)
        held.append(all(one.low <= true <= one.high for one, true in zip(found, truths, strict=True)))
        alone.append(
            all(one.found.low <= true <= one.found.high for one, true in zip(family, truths, strict=True))
        )
        found_all += found
        for one, single in zip(found, family, strict=True):
            assert (one.p < 0.05) == (not one.low <= 0 <= one.high)
            assert one.high - one.low >= single.found.high - single.found.low
    # Three standard errors of a share of 500; uncorrected intervals miss one of the six far more often.
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)
    assert np.mean(alone) < 0.89


@pytest.mark.slow
def test_a_difference_that_matters_is_found_and_a_family_of_equal_losses_is_not_told_apart() -> None:
    rng = np.random.default_rng(7)
    wrong, right, equal = [], [], []
    for _ in range(300):
        verdicts = [verdict(one) for one in simultaneous(experiment(rng, [0.0] * 4, 5, 0.002, 0.002))]
        wrong.append(any(one in (Verdict.BETTER, Verdict.WORSE) for one in verdicts))
        alike = simultaneous(experiment(rng, [0.0, 0.001], 5, 0.0007, 0.0007))
        equal.append([verdict(one) for one in alike] == [Verdict.EQUIVALENT] * 2)
        verdicts = [verdict(one) for one in simultaneous(experiment(rng, [0.02, -0.02], 5, 0.002, 0.002))]
        right.append(verdicts == [Verdict.BETTER, Verdict.WORSE])
    assert np.mean(wrong) < 0.03  # to lie beyond the region is rarer than to leave out 0
    assert np.mean(right) > 0.9 and np.mean(equal) > 0.8


def test_a_verdict_goes_by_where_the_interval_lies_to_the_region() -> None:
    (found,) = simultaneous([paired([(runs("kl", [0.41, 0.43]), runs("mse", [0.40, 0.41]), AP)])])
    for low, high, expected in (
        (0.006, 0.02, Verdict.BETTER),
        (0.004, 0.02, Verdict.UNDECIDED),  # more than 0, but perhaps not by much
        (-0.004, 0.004, Verdict.EQUIVALENT),
        (0.001, 0.004, Verdict.EQUIVALENT),
        (-0.006, 0.004, Verdict.UNDECIDED),
        (-0.02, -0.006, Verdict.WORSE),
    ):
        assert verdict(found._replace(low=low, high=high)) is expected
    assert verdict(found._replace(low=0.004, high=0.02), region=0.3) is Verdict.BETTER
    assert verdict(found._replace(low=0.1, high=0.2, basis="images")) is None


@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_comparisons_that_say_the_same_are_corrected_for_one(seeds: int) -> None:
    """Six copies of one comparison are no six chances, six unrelated ones are."""
    (one,) = experiment(np.random.default_rng(0), [0.01], seeds)
    for found in simultaneous([one] * 6):
        assert (found.low, found.high) == pytest.approx((one.found.low, one.found.high), rel=0.05)
    apart = [replace(one, place=(f"dataset{number}",)) for number in range(6)]
    sidak = 1 - 0.95 ** (1 / 6)
    reach = stats.t.isf(sidak / 2, one.freedom) * one.error
    for found in simultaneous(apart):
        assert found.high - found.difference == pytest.approx(reach, rel=0.05)


def by_loss(folder: Path, dataset: str) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for run in ordered_records(folder):
        if run.cell.dataset == dataset and not run.control:
            found.setdefault(run.cell.loss, []).append(run)
    return found


def test_differences_compare_every_loss_with_mse_and_correct_for_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    for dataset, metric in (("coco", "AP"), ("mpii", "PCKh")):
        for loss, value in (("mse", 0.4), ("kl", 0.45), ("dm", 0.3)):
            for seed in range(4):
                metrics = {metric: value + rng.normal(0, 0.002)}
                write(tmp_path, record(dataset, loss, seed=seed, metrics=metrics))
    write(tmp_path, record("coco", "alone", model="other"))
    write(tmp_path, record("coco", "oracle", control=True))
    metrics = {"coco": "metrics.AP", "mpii": "metrics.PCKh"}
    found = differences(ordered_records(tmp_path), {"main": metrics})
    table = list(found.itertuples(index=False))
    assert [(one.dataset, one.loss) for one in table] == [
        ("coco", "kl"), ("coco", "dm"), ("mpii", "kl"), ("mpii", "dm"), ("all", "kl"), ("all", "dm"),
    ]  # fmt: skip
    family = [paired([(of["kl" if one.loss == "kl" else "dm"], of["mse"], metrics[one.dataset])])
              for one in table[:4] for of in [by_loss(tmp_path, one.dataset)]]  # fmt: skip
    assert [one.p for one in table[:4]] == [one.p for one in simultaneous(family)]
    for one in table[4:]:
        single = [other.difference for other in table[:4] if other.loss == one.loss]
        assert one.difference == pytest.approx(np.mean(single))
        assert one.low < one.difference < one.high
        assert np.isnan(one.p) and one.verdict is None
        assert one.probability == (one.loss == "kl")
