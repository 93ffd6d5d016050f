from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from tlcli.evaluation.intervals import (
    area_of_counts,
    bootstrap,
    corrected_resampled_t,
    freedom_of,
    logit_interval,
    mean_of_shares,
    wilson,
    wilson_of_units,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlcli.evaluation.intervals import Statistic


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3 (score without continuity correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # one side is n / (n + z²), with z = 1.96
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_gives_the_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_a_higher_confidence_gives_a_wider_interval_around_the_same_share() -> None:
    narrow, wide = wilson(30, 40, confidence=0.8), wilson(30, 40, confidence=0.99)
    assert wide[0] < narrow[0] < 0.75 < narrow[1] < wide[1]


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_the_interval_contains_the_share_and_stays_between_0_and_1(n: int) -> None:
    for successes in range(n + 1):
        low, high = wilson(successes, n)
        assert 0 <= low <= successes / n <= high <= 1


def test_images_that_are_copies_are_worth_one_of_them() -> None:
    correct = np.arange(60) % 6 > 0
    alone = wilson_of_units(correct, np.arange(60))
    assert alone == wilson(50, 60)
    copies = wilson_of_units(np.repeat(correct, 5), np.repeat(np.arange(60), 5))
    assert copies == pytest.approx(alone, abs=0.006)  # wider by Student's t and the 1 in 60 of the variance
    assert copies[1] - copies[0] > alone[1] - alone[0]


def test_units_whose_images_have_nothing_in_common_change_little() -> None:
    correct = np.random.default_rng(0).random(2000) < 0.8
    apart = wilson_of_units(correct, np.repeat(np.arange(500), 4))
    assert apart == pytest.approx(wilson(int(correct.sum()), 2000), abs=0.004)


@pytest.mark.parametrize("right", [True, False])
def test_where_all_are_right_or_wrong_units_count_once(right: bool) -> None:
    found = wilson_of_units(np.full(80, right), np.repeat(np.arange(20), 4))
    whole = wilson(20 * right, 20)
    assert found[0] <= whole[0]
    assert found[1] >= whole[1]
    assert found == pytest.approx(whole, abs=0.03)


def test_one_unit_alone_tells_nearly_nothing() -> None:
    low, high = wilson_of_units(np.array([True, True, False]), np.zeros(3, np.int64))
    assert 0 <= low < 0.05
    assert high > 0.95


@pytest.mark.parametrize("n", [10.5, 200.25])
def test_parts_of_images_lie_between_whole_ones(n: float) -> None:
    below, found, above = (wilson(0.8 * size, size) for size in (n // 5 * 5, n, n // 5 * 5 + 5))
    assert below[0] < found[0] < above[0]
    assert below[1] > found[1] > above[1]


# The bootstrap


def mean_of(values: "NDArray[np.float64]") -> "Statistic":
    """The mean of one column of values [N]."""
    return lambda weights: (weights @ values / weights.sum(axis=1))[:, None]


@pytest.mark.parametrize("seed", range(3))
def test_of_a_mean_it_is_the_interval_that_scipy_gives_of_the_same_draws(seed: int) -> None:
    values = np.random.default_rng(3).exponential(size=200)
    expected = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=2000, rng=seed).confidence_interval
    found = bootstrap(mean_of(values), np.arange(200), seed=seed)
    assert found.shape == (1, 2)
    assert found[0].tolist() == pytest.approx([expected.low, expected.high], rel=1e-9)


def test_of_a_mean_of_many_it_is_about_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(3, 2, 5000)
    low, high = bootstrap(mean_of(values), np.arange(5000))[0]
    error = values.std() / 5000**0.5
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_copies_in_units_tell_no_more_than_one_of_them() -> None:
    values = np.random.default_rng(1).exponential(size=60)
    alone = bootstrap(mean_of(values), np.arange(60))
    unit = np.repeat(np.arange(60), 5)
    copies = bootstrap(mean_of(np.repeat(values, 5)), unit + 1000)  # whatever the units' numbers are
    assert copies == pytest.approx(alone)
    taken_for_alone = bootstrap(mean_of(np.repeat(values, 5)), np.arange(300))
    width = (alone[0, 1] - alone[0, 0]) / (taken_for_alone[0, 1] - taken_for_alone[0, 0])
    assert width == pytest.approx(5**0.5, rel=0.15)


def test_equal_seeds_give_equal_intervals_and_others_others() -> None:
    values = np.random.default_rng(2).normal(size=50)
    one, same, other = (bootstrap(mean_of(values), np.arange(50), seed=seed) for seed in (4, 4, 5))
    assert (one == same).all()
    assert (one != other).any()


def test_several_numbers_are_measured_at_once_and_what_is_not_defined_is_nan() -> None:
    values = np.random.default_rng(2).normal(size=50)

    def both(weights: "NDArray[np.float64]") -> "NDArray[np.float64]":
        mean = mean_of(values)(weights)
        return np.concatenate([mean, np.full_like(mean, np.nan), np.ones_like(mean)], axis=1)

    found = bootstrap(both, np.arange(50))
    assert (found[0] == bootstrap(mean_of(values), np.arange(50))[0]).all()
    assert np.isnan(found[1]).all()
    assert found[2].tolist() == [1, 1]


def test_resamples_without_a_value_are_passed_over() -> None:
    rare = np.arange(30) < 2  # one resample in eight has none of these two

    def of_the_rare(weights: "NDArray[np.float64]") -> "NDArray[np.float64]":
        with np.errstate(invalid="ignore"):
            return (weights @ (rare * np.arange(30)) / (weights @ rare))[:, None]

    low, high = bootstrap(of_the_rare, np.arange(30))[0]
    assert 0 <= low <= 0.5 <= high <= 1


# Nadeau & Bengio


def test_the_corrected_interval_is_the_one_of_the_formula() -> None:
    scores = [0.8, 0.9, 0.85, 0.95, 0.75]
    variance = np.var(scores, ddof=1)
    low, high = corrected_resampled_t(scores, 0.2)
    assert (low + high) / 2 == pytest.approx(0.85)
    assert (high - low) / 2 == pytest.approx(2.7764451 * (variance * (1 / 5 + 0.2 / 0.8)) ** 0.5)


def test_more_repeats_do_not_make_it_narrower_than_the_images_allow() -> None:
    scores = np.random.default_rng(0).normal(0.8, 0.03, 5)
    few, many = corrected_resampled_t(scores, 0.2), corrected_resampled_t(np.tile(scores, 1000), 0.2)
    assert many[1] - many[0] < few[1] - few[0]
    assert many[1] - many[0] > 2 * 1.959 * (0.25 * scores.var()) ** 0.5


def test_equal_scores_give_no_width() -> None:
    assert corrected_resampled_t([1.0, 1.0, 1.0], 1 / 3) == (1.0, 1.0)


def test_the_mean_of_one_share_has_the_interval_of_the_share() -> None:
    assert mean_of_shares([0.7], [(0.6, 0.75)]) == pytest.approx((0.6, 0.75))


def test_the_mean_of_shares_is_surer_than_each_and_stays_a_share() -> None:
    low, high = mean_of_shares([1.0, 1.0], [(0.8, 1.0), (0.8, 1.0)])
    assert low == pytest.approx(1 - 0.2 / 2**0.5)
    assert high == 1


@pytest.mark.parametrize(("area", "positives", "negatives"), [(0.5, 20, 20), (0.9, 10, 40), (0.75, 100, 30)])
def test_an_area_lies_inside_the_interval_of_its_counts(area: float, positives: int, negatives: int) -> None:
    low, high = area_of_counts(area, positives, negatives)
    assert 0 < low < area < high < 1
    wider_low, wider_high = area_of_counts(area, positives // 2, negatives // 2)
    assert wider_low < low
    assert wider_high > high
    turned = area_of_counts(1 - area, positives, negatives)
    assert turned == pytest.approx((1 - high, 1 - low), abs=0.02)


def test_the_ends_of_an_area_are_those_at_which_newcombes_variance_would_just_allow_it() -> None:
    low, _ = area_of_counts(1.0, 20, 20)
    half = 19
    variance = low * (1 - low) * (1 + half * (1 - low) / (2 - low) + half * low / (1 + low)) / 400
    assert (1 - low) / variance**0.5 == pytest.approx(1.959964, abs=1e-4)


def test_a_perfect_or_hopeless_area_has_an_interval_on_one_side() -> None:
    assert area_of_counts(1.0, 20, 20)[1] == 1
    assert area_of_counts(0.0, 20, 20)[0] == 0
    assert area_of_counts(0.0, 20, 20)[1] > 0.05


def test_the_logit_interval_is_the_plain_one_where_the_share_is_far_from_its_ends() -> None:
    right = np.arange(400) % 2
    without = (right.sum() - right) / 399
    low, high = logit_interval(0.5, without, 10_000)
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.001)
    assert 0.99 < logit_interval(0.9999, without / 10 + 0.9, 3)[1] <= 1


def test_freedom_is_that_of_welch_for_two_strata() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=8), random.normal(0, 3, size=20)
    moved = np.concatenate([(a - a.mean()) / 8, (b - b.mean()) / 20])  # what leaving one out does to a difference
    v, w = (a - a.mean()) @ (a - a.mean()) / 64, (b - b.mean()) @ (b - b.mean()) / 400
    expected = (v + w) ** 2 / (v**2 / 7 + w**2 / 19)
    assert freedom_of(moved, np.array([0] * 8 + [1] * 20)) == pytest.approx(expected)
